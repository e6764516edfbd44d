package cloakroom_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/conformance/sidebyside"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

const appURL = "https://app.example.com"

func TestMain(m *testing.M) { os.Exit(sidebyside.Run(m)) }

// resting is where the rig's sessions rest, unless a test says so itself: the suite runs once for each storage.
func resting() string { return cmp.Or(os.Getenv("CLOAKROOM_TEST_STORAGE"), "store") }

// holding is the name of the cookie without which there is no session.
func holding() string { return map[string]string{"store": sessionCookie, "sealed": part(0)}[resting()] }

// inStore is for tests of what only tickets do.
func inStore(c *cloakroom.Config) { c.Cookie.Storage = "store" }

// rig is a gateway with everything around it: a provider, an API that says what it got, and a place for logs.
type rig struct {
	t       *testing.T
	op      *fakeop.Provider
	api     *httptest.Server
	gateway *cloakroom.Gateway
	store   *memory.Store
	server  *httptest.Server
	logs    *safeBuffer

	mu     sync.Mutex
	events []audit.Event
	seen   []*http.Request // what reached the API
	answer http.HandlerFunc
}

// newRig starts all of it. change adapts the configuration and may be nil.
func newRig(t *testing.T, change func(*cloakroom.Config), lies ...fakeop.Lie) *rig {
	t.Helper()
	r := &rig{t: t, op: fakeop.New(t, lies...), store: memory.New(), logs: &safeBuffer{}}
	r.api = httptest.NewServer(http.HandlerFunc(r.serveAPI))
	t.Cleanup(r.api.Close)
	cfg := cloakroom.Config{
		URL: appURL, Keys: []string{cloakroom.NewKey()}, Store: r.store,
		Providers: map[string]cloakroom.Provider{"main": {Issuer: r.op.Issuer(), ClientID: fakeop.ClientID, ClientSecret: fakeop.ClientSecret}},
		Routes: []cloakroom.Route{
			{Path: "/api/", Upstream: r.api.URL},
			{Path: "/optional/", Upstream: r.api.URL, Auth: cloakroom.AuthOptional},
			{Path: "/open/", Upstream: r.api.URL, Auth: cloakroom.AuthOff},
			{Path: "/page/", Upstream: r.api.URL},
		},
		Observe: cloakroom.Observe{
			Log:    slog.New(slog.NewTextHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
			Access: slog.New(slog.NewTextHandler(r.logs, nil)),
			Audit:  audit.SinkFunc(r.record),
		},
	}
	cfg.Cookie.Storage = resting()
	if change != nil {
		change(&cfg)
	}
	gw, err := cloakroom.New(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.gateway = gw
	r.server = httptest.NewServer(gw)
	t.Cleanup(func() {
		r.server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := gw.Close(ctx); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

// short is how long access tokens live that a test outlives: long enough to sign in on a busy machine.
const short = 4 * time.Second

// outlive waits until access tokens with a short life are over, in real time as the sockets are. Those that follow live for an hour.
func (r *rig) outlive() {
	r.op.Tell(fakeop.AccessLifetime(time.Hour))
	time.Sleep(short + 100*time.Millisecond)
}

func (r *rig) record(_ context.Context, e audit.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// actions are the audit events so far.
func (r *rig) actions() []audit.Action {
	r.mu.Lock()
	defer r.mu.Unlock()
	var actions []audit.Action
	for _, e := range r.events {
		actions = append(actions, e.Action)
	}
	return actions
}

func (r *rig) count(action audit.Action) int {
	n := 0
	for _, a := range r.actions() {
		if a == action {
			n++
		}
	}
	return n
}

// serveAPI answers with what it was asked, or as a test has it.
func (r *rig) serveAPI(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	req.Body = io.NopCloser(bytes.NewReader(body))
	r.mu.Lock()
	r.seen = append(r.seen, req)
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, req)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"method": req.Method, "path": req.RequestURI, "header": req.Header, "host": req.Host, "body": string(body)})
}

func (r *rig) answerWith(h http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = h
}

// hits are the requests that reached the API.
func (r *rig) hits() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

func (r *rig) last() *http.Request {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		r.t.Fatal("nothing reached the API")
	}
	return r.seen[len(r.seen)-1]
}

// browser is a browser as far as the gateway can tell: it keeps cookies by their rules, knows which site began a request, and
// follows redirects and meta refreshes.
type browser struct {
	r *rig
	t *testing.T

	mu      sync.Mutex
	cookies map[string]*http.Cookie
	refuses bool        // keeps no cookies at all
	says    http.Header // of itself, with every request
	largest int         // the most bytes that the header of an answer has had
}

func (r *rig) browser() *browser { return &browser{r: r, t: r.t, cookies: map[string]*http.Cookie{}} }

// page is what a browser got.
type page struct {
	Status int
	Header http.Header
	Body   string
	URL    string // on the gateway: path and query
}

func (p *page) json(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(p.Body), &v); err != nil {
		t.Fatalf("no JSON in %d %s: %.200s", p.Status, p.URL, p.Body)
	}
	return v
}

// varies are the request headers that an answer says it depends on. None is said twice.
func (p *page) varies(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, line := range p.Header["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); slices.Contains(names, name) {
				t.Errorf("%s: Vary says %s twice: %q", p.URL, name, p.Header["Vary"])
			}
			names = append(names, name)
		}
	}
	return names
}

// request is one request to make.
type request struct {
	method string
	path   string
	site   string // Sec-Fetch-Site; "" sends no Fetch Metadata at all
	nav    bool
	header http.Header
	body   string
	chunks bool   // the body says nothing of its length
	host   string // in the place of the gateway's own
}

func (b *browser) jar(path, site, method string, nav bool) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var pairs []string
	for name, c := range b.cookies {
		cross := site == "cross-site"
		if cross && c.SameSite == http.SameSiteStrictMode || cross && c.SameSite == http.SameSiteLaxMode && (!nav || method != "GET") {
			continue
		}
		if below, ok := strings.CutPrefix(path, c.Path); !ok || below != "" && below[0] != '/' && below[0] != '?' && !strings.HasSuffix(c.Path, "/") {
			continue
		}
		pairs = append(pairs, name+"="+c.Value)
	}
	return strings.Join(pairs, "; ")
}

func (b *browser) keep(res *http.Response) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuses {
		return
	}
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c
	}
}

// do makes one request and follows nothing.
func (b *browser) do(q request) *page {
	b.t.Helper()
	req, err := http.NewRequest(q.method, b.r.server.URL+q.path, strings.NewReader(q.body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Host = cmp.Or(q.host, "app.example.com")
	maps.Copy(req.Header, b.says)
	for name, values := range q.header {
		req.Header[name] = values
	}
	if q.chunks {
		req.ContentLength = -1
	}
	if q.site != "" {
		req.Header.Set("Sec-Fetch-Site", q.site)
		if req.Header.Get("Sec-Fetch-Dest") == "" { // else it is what a test has it
			req.Header.Set("Sec-Fetch-Mode", "cors")
			req.Header.Set("Sec-Fetch-Dest", "empty")
		}
		if q.nav {
			req.Header.Set("Sec-Fetch-Mode", "navigate")
			req.Header.Set("Sec-Fetch-Dest", "document")
			req.Header.Set("Accept", "text/html")
		}
		if q.method != "GET" && req.Header.Get("Origin") == "" {
			req.Header.Set("Origin", map[bool]string{true: appURL, false: "https://evil.example"}[q.site == "same-origin"])
		}
	}
	if jar := b.jar(q.path, q.site, q.method, q.nav); jar != "" && req.Header.Get("Cookie") == "" {
		req.Header.Set("Cookie", jar)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		b.t.Fatalf("%s %s: %v", q.method, q.path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.keep(res)
	var head bytes.Buffer
	res.Header.Write(&head)
	b.mu.Lock()
	b.largest = max(b.largest, head.Len())
	b.mu.Unlock()
	return &page{res.StatusCode, res.Header, string(body), q.path}
}

// fetch is what the page's script does.
func (b *browser) fetch(method, path string) *page {
	b.t.Helper()
	return b.do(request{method: method, path: path, site: "same-origin"})
}

// visit navigates as a person does, from the address bar, and follows wherever it leads.
func (b *browser) visit(path string) *page { b.t.Helper(); return b.navigate(path, "none") }

func (b *browser) navigate(path, site string) *page {
	b.t.Helper()
	for range 30 {
		p := b.do(request{method: "GET", path: path, site: site, nav: true})
		next := p.next(b.t)
		if next == "" {
			return p
		}
		u, err := url.Parse(next)
		if err != nil {
			b.t.Fatalf("%s leads to %q: %v", path, next, err)
		}
		if strings.HasPrefix(next, b.r.op.Issuer()) {
			path, site = b.provider(u)
			continue
		}
		if p.Status == http.StatusOK { // a meta refresh begins within our own origin
			site = "same-origin"
		}
		path = u.RequestURI()
	}
	b.t.Fatalf("a loop: 30 steps and still at %s", path)
	return nil
}

// provider goes to the provider and comes back from its site.
func (b *browser) provider(u *url.URL) (path, site string) {
	b.t.Helper()
	if !strings.HasPrefix(u.Path, "/authorize") {
		b.t.Fatalf("the browser was sent to %s", u)
	}
	return "/auth/callback?" + b.r.op.Visit(u).Encode(), "cross-site"
}

var refreshTarget = regexp.MustCompile(`^0;url=(.*)$`)

// next is where an answer leads by itself.
func (p *page) next(t *testing.T) string {
	t.Helper()
	if p.Status >= 300 && p.Status < 400 {
		return p.Header.Get("Location")
	}
	if !strings.HasPrefix(p.Header.Get("Content-Type"), "text/html") {
		return ""
	}
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "meta" {
			continue
		}
		attrs := map[string]string{}
		for _, a := range n.Attr {
			attrs[a.Key] = a.Val
		}
		if m := refreshTarget.FindStringSubmatch(attrs["content"]); m != nil && strings.EqualFold(attrs["http-equiv"], "refresh") {
			return m[1]
		}
	}
	return ""
}

// signIn signs the browser in and leaves it at the API's page.
func (b *browser) signIn() *browser {
	b.t.Helper()
	if p := b.visit("/auth/login?return_to=/page/"); p.Status != http.StatusOK || p.URL != "/page/" {
		b.t.Fatalf("signing in ended at %d %s: %.300s\n%s", p.Status, p.URL, p.Body, b.r.logs)
	}
	return b
}

// ticket is what the browser holds of its session: the cookie's value, or those of all cookies that the session rests in.
func (b *browser) ticket() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.cookies[sessionCookie]; c != nil {
		return c.Value
	}
	value := ""
	for i := 0; b.cookies[part(i)] != nil; i++ {
		value += b.cookies[part(i)].Value
	}
	return value
}

// header is a request's header with the browser's session and nothing else.
func (b *browser) header() http.Header {
	b.mu.Lock()
	defer b.mu.Unlock()
	var pairs []string
	for name, c := range b.cookies {
		if strings.HasPrefix(name, sessionCookie) {
			pairs = append(pairs, name+"="+c.Value)
		}
	}
	return http.Header{"Cookie": {strings.Join(pairs, "; ")}}
}

// part names the cookies of a sealed session.
func part(i int) string { return sessionCookie + "." + strconv.Itoa(i) }

// copy is a second browser with the same cookies: a thief's.
func (b *browser) copy() *browser {
	b.mu.Lock()
	defer b.mu.Unlock()
	thief := b.r.browser()
	for name, c := range b.cookies {
		thief.cookies[name] = c
	}
	return thief
}

// safeBuffer is a buffer for many writers.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
