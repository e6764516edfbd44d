package cloakroom_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
)

// withFront lists a front end on another origin of the same site.
func withFront(c *cloakroom.Config) { c.Guard.Origins = []string{frontURL} }

// from is what a page on another origin of the same site does by fetch, with credentials.
func (b *browser) from(origin, method, path string, more http.Header) *page {
	b.t.Helper()
	h := http.Header{"Origin": {origin}}
	for name, values := range more {
		h[name] = values
	}
	return b.do(request{method: method, path: path, site: "same-site", header: h})
}

// grants are what a browser may do with an answer, as far as CORS is concerned.
func (p *page) grants() http.Header {
	granted := http.Header{}
	for name, values := range p.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			granted[name] = values
		}
	}
	return granted
}

// readableBy reports whether the script of an origin may read an answer, cookies included.
func (p *page) readableBy(origin string) bool {
	g := p.grants()
	return slices.Equal(g["Access-Control-Allow-Origin"], []string{origin}) && slices.Equal(g["Access-Control-Allow-Credentials"], []string{"true"})
}

var strangers = []string{
	"https://evil.example", "https://evil.example.com", "null", "*", frontURL + ".evil.example", "https://evil-front.example.com", "https://sub.front.example.com",
	"http://front.example.com", frontURL + ":8443", frontURL + "/", "HTTPS://FRONT.EXAMPLE.COM", "https://front.example.com@evil.example",
}

// appsOwn is an API that shares itself with everyone.
func appsOwn(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Allow-Credentials", "true")
	w.Header().Set("Access-Control-Expose-Headers", "X-Secret")
	w.Header().Set("Vary", "Origin")
	w.WriteHeader(http.StatusEarlyHints) // and forgets what is set before this
	w.Header().Set("Access-Control-Allow-Methods", "*")
}

func TestCORS_K1_K4_WhoMayReadAnswers(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "index.html", "app")
	r := newRig(t, func(c *cloakroom.Config) {
		withFront(c)
		withRoutes(cloakroom.Route{Path: "/", Files: dir, Auth: cloakroom.AuthOff})(c)
	})
	r.answerWith(appsOwn)
	b := r.browser().signIn()
	for _, q := range []struct {
		method, path string
		guarded      bool
	}{
		{"GET", "/api/me", true}, {"POST", "/api/notes", true}, {"GET", "/optional/x", true}, {"GET", "/auth/session", true}, {"POST", "/auth/refresh", true},
		{"GET", "/open/x", false}, {"GET", "/", false}, {"GET", "/auth/client.js", false}, {"DELETE", "/auth/session", false},
	} {
		p := b.from(frontURL, q.method, q.path, nil)
		if !p.readableBy(frontURL) || !strings.Contains(p.Header.Get("Access-Control-Expose-Headers"), "Cloakroom") || len(p.grants()) != 3 {
			t.Errorf("%s %s: a listed origin gets %d %v", q.method, q.path, p.Status, p.grants())
		}
		if !slices.Contains(p.varies(t), "Origin") {
			t.Errorf("K2: %s %s: Vary %q", q.method, q.path, p.Header["Vary"])
		}
		for _, origin := range strangers {
			p := b.from(origin, q.method, q.path, nil)
			if len(p.grants()) != 0 || q.guarded && p.Status != http.StatusForbidden {
				t.Errorf("%s %s: %s gets %d %v", q.method, q.path, origin, p.Status, p.grants())
			}
			if !slices.Contains(p.varies(t), "Origin") {
				t.Errorf("K2: %s %s from %s: Vary %q", q.method, q.path, origin, p.Header["Vary"])
			}
		}
	}
	for _, path := range []string{"/auth/login", "/auth/continue", "/auth/callback", "/auth/logout/next"} {
		if p := b.from(frontURL, "GET", path, nil); len(p.grants()) != 0 {
			t.Errorf("%s is for navigations: %v", path, p.grants())
		}
	}

	plain := newRig(t, nil)
	plain.answerWith(appsOwn)
	pb := plain.browser().signIn()
	for _, path := range []string{"/api/me", "/open/x", "/auth/session", "/auth/client.js"} {
		for _, origin := range append(strangers, frontURL, appURL) {
			for _, method := range []string{"GET", "OPTIONS"} {
				p := pb.from(origin, method, path, http.Header{"Access-Control-Request-Method": {"GET"}})
				if len(p.grants()) != 0 {
					t.Errorf("without a list: %s %s for %s: %v", method, path, origin, p.grants())
				}
			}
		}
	}
}

// What is not an ordinary answer can be read as well: a front end has to know that it should sign in, or come back later.
func TestCORS_K1_OurOwnProblems(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) {
		withFront(c)
		c.Guard.CSRF = "token"
		withRoutes(
			cloakroom.Route{Path: "/down/", Upstream: "http://127.0.0.1:1"},
			cloakroom.Route{Path: "/staff/", Upstream: "http://127.0.0.1:1", Allow: &cloakroom.Allow{Groups: []string{"nobody"}}},
			cloakroom.Route{Path: "/some/", Upstream: "http://127.0.0.1:1", Methods: []string{"GET"}},
		)(c)
		c.Session.CacheStale = time.Nanosecond
	})
	b := r.browser().signIn()
	nobody := r.browser()
	for _, c := range []struct {
		b            *browser
		method, path string
		status       int
	}{
		{nobody, "GET", "/api/me", 401}, {nobody, "POST", "/auth/refresh", 401}, {b, "POST", "/api/notes", 403}, {b, "POST", "/auth/logout", 403},
		{b, "GET", "/staff/", 403}, {b, "GET", "/nowhere", 404}, {b, "POST", "/some/x", 405}, {b, "GET", "/api//me", 400}, {b, "GET", "/down/", 502},
	} {
		p := c.b.from(frontURL, c.method, c.path, nil)
		if p.Status != c.status || !p.readableBy(frontURL) || p.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d %v, want %d", c.method, c.path, p.Status, p.grants(), c.status)
		}
		if c.status == 401 && (p.Header.Get("Cloakroom") != "login-required" || !strings.Contains(p.Header.Get("Access-Control-Expose-Headers"), "Cloakroom")) {
			t.Errorf("%s %s: nobody tells the client that it is our 401: %v", c.method, c.path, p.Header)
		}
	}
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the gateway notices", func() bool { return b.fetch("GET", "/api/me").Status == http.StatusServiceUnavailable })
	for _, path := range []string{"/api/me", "/auth/session"} {
		if p := b.from(frontURL, "GET", path, nil); p.Status != http.StatusServiceUnavailable || !p.readableBy(frontURL) {
			t.Errorf("%s, the store away: %d %v", path, p.Status, p.grants())
		}
	}
	hits := r.hits()
	if p := b.write("/api/notes", "1"); p.Status != http.StatusServiceUnavailable || r.hits() != hits {
		t.Errorf("a write whose token nobody can judge: %d", p.Status)
	}
}

func TestCORS_K3_Preflights(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "index.html", "app")
	const usual = "GET, HEAD, POST, PUT, PATCH, DELETE"
	for _, delivery := range []string{"proxy", "memory"} {
		r := newRig(t, func(c *cloakroom.Config) {
			withFront(c)
			c.Guard.OriginHeaders = []string{"apollo-require-preflight"}
			c.Tokens.Delivery = delivery
			withRoutes(
				cloakroom.Route{Path: "/", Files: dir, Auth: cloakroom.AuthOff},
				cloakroom.Route{Path: "/some/", Upstream: c.Routes[0].Upstream, Methods: []string{"GET", "POST"}},
			)(c)
		})
		r.answerWith(appsOwn)
		b := r.browser()
		if delivery == "proxy" {
			b.signIn()
		}
		hits, events := r.hits(), len(r.actions())
		ask := func(origin, path, method, headers string) *page {
			h := http.Header{"Access-Control-Request-Method": {method}}
			if headers != "" {
				h.Set("Access-Control-Request-Headers", headers)
			}
			// No browser sends cookies along; who does gets no other answer.
			return b.from(origin, "OPTIONS", path, h)
		}
		bearer := ""
		if delivery == "memory" {
			bearer = usual
		}
		for _, c := range []struct{ path, method, headers, methods string }{
			{"/api/me", "POST", "content-type,x-csrf-token", usual},
			{"/api/me", "DELETE", "", usual},
			{"/api/me", "POST", "apollo-require-preflight", usual},
			{"/api/me", "GET", "authorization", bearer},
			{"/optional/x", "PUT", "content-type", usual},
			{"/open/x", "POST", "content-type", usual},
			{"/some/x", "POST", "content-type", "GET, POST"},
			{"/auth/session", "GET", "x-csrf-token", "GET"},
			{"/auth/refresh", "POST", "x-csrf-token", "POST"},
			{"/auth/logout", "POST", "x-csrf-token", "POST"},
			{"/page.html", "GET", "x-requested-with", "GET, HEAD"},
			{"/api/me", "POST", "content-type,x-evil", ""},
			{"/api/me", "POST", "cookie", ""},
			{"/api/me", "TRACE", "", ""},
			{"/some/x", "DELETE", "", ""},
			{"/auth/session", "DELETE", "", ""},
			{"/page.html", "POST", "", ""},
		} {
			p := ask(frontURL, c.path, c.method, c.headers)
			if p.Status != http.StatusNoContent || p.Header.Get("Access-Control-Allow-Methods") != c.methods || p.readableBy(frontURL) != (c.methods != "") || p.Header["Set-Cookie"] != nil {
				t.Errorf("%s: %s %s with %q: %d %v", delivery, c.method, c.path, c.headers, p.Status, p.Header)
			}
			if want := strings.ReplaceAll(c.headers, ",", ", "); c.methods != "" && p.Header.Get("Access-Control-Allow-Headers") != want {
				t.Errorf("%s: %s %s: headers %q, want %q", delivery, c.method, c.path, p.Header.Get("Access-Control-Allow-Headers"), want)
			}
			if vary := p.varies(t); !slices.Contains(vary, "Origin") || !slices.Contains(vary, "Access-Control-Request-Method") {
				t.Errorf("K2: %s %s: Vary %q", c.method, c.path, vary)
			}
			for _, origin := range strangers {
				if p := ask(origin, c.path, c.method, c.headers); p.Status != http.StatusNoContent || len(p.grants()) != 0 {
					t.Errorf("%s: %s for %s: %d %v", delivery, c.path, origin, p.Status, p.grants())
				}
			}
		}
		for path, status := range map[string]int{"/auth/login": 405, "/auth/nowhere": 404, "/api//me": 400} {
			if p := ask(frontURL, path, "GET", ""); p.Status != status || p.Header.Get("Access-Control-Allow-Methods") != "" {
				t.Errorf("%s: %d %v", path, p.Status, p.Header)
			}
		}
		if r.hits() != hits || len(r.actions()) != events {
			t.Errorf("%s: %d preflights reached the API, %d were events", delivery, r.hits()-hits, len(r.actions())-events)
		}
		if p := b.do(request{method: "OPTIONS", path: "/open/x", site: "same-origin"}); p.Status != http.StatusOK || r.hits() != hits+1 {
			t.Errorf("%s: OPTIONS that is no preflight: %d", delivery, p.Status)
		}
	}
}

// A page on a listed origin does all that one of ours does, with the same cookie.
func TestCORS_AFrontEndOnAnotherOrigin(t *testing.T) {
	for _, mode := range []string{"origin", "header", "token"} {
		r := newRig(t, func(c *cloakroom.Config) { withFront(c); c.Guard.CSRF = mode })
		b := r.browser().signIn()
		brings := http.Header{"X-Csrf-Token": {"1"}}
		p := b.from(frontURL, "GET", "/auth/session", brings)
		if token, ok := p.json(t)["csrf_token"].(string); ok {
			brings.Set("X-CSRF-Token", token)
		}
		for _, q := range [][2]string{{"GET", "/api/me"}, {"POST", "/api/notes"}, {"POST", "/auth/refresh"}, {"POST", "/auth/logout"}} {
			p := b.from(frontURL, q[0], q[1], brings)
			if p.Status != http.StatusOK && p.Status != http.StatusNoContent || !p.readableBy(frontURL) {
				t.Errorf("csrf: %s, %s: %d %v", mode, q, p.Status, p.grants())
			}
		}
	}
}

// sharedCache is what stands in front of a gateway in bad company: it keeps whatever it may, under the headers that Vary names
// (RFC 9111 §4.1), for everyone.
type sharedCache struct {
	next http.Handler
	mu   sync.Mutex
	kept map[string][]kept
	hits int
}

type kept struct {
	asked  http.Header
	answer *httptest.ResponseRecorder
}

func (c *sharedCache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.kept[r.URL.Path] {
		if k.fits(r.Header) {
			c.hits++
			k.send(w)
			return
		}
	}
	k := kept{r.Header.Clone(), httptest.NewRecorder()}
	c.next.ServeHTTP(k.answer, r)
	if control := k.answer.Header().Get("Cache-Control"); r.Method == "GET" && strings.Contains(control, "public") && !strings.Contains(control, "private") {
		c.kept[r.URL.Path] = append(c.kept[r.URL.Path], k)
	}
	k.send(w)
}

func (k kept) fits(asked http.Header) bool {
	for _, line := range k.answer.Header()["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if name == "*" || !slices.Equal(k.asked[name], asked[name]) {
				return false
			}
		}
	}
	return true
}

func (k kept) send(w http.ResponseWriter) {
	for name, values := range k.answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(k.answer.Code)
	_, _ = w.Write(k.answer.Body.Bytes())
}

func TestCORS_K2_ACacheInFront(t *testing.T) {
	const second = "https://second.example.com"
	r := newRig(t, func(c *cloakroom.Config) { c.Guard.Origins = []string{frontURL, second} })
	r.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=600")
		_, _ = io.WriteString(w, "same for all")
	})
	cache := &sharedCache{next: r.gateway, kept: map[string][]kept{}}
	front := httptest.NewServer(cache)
	defer front.Close()
	b := r.browser()
	b.r = &rig{t: t, server: front, op: r.op}
	for _, path := range []string{"/open/x", "/optional/x"} {
		for range 2 {
			for _, origin := range []string{"", frontURL, second, "https://evil.example", frontURL} {
				q := request{method: "GET", path: path}
				if origin != "" {
					q.header = http.Header{"Origin": {origin}}
				}
				p := b.do(q)
				if p.Status != http.StatusOK || p.readableBy(origin) != (origin == frontURL || origin == second) || !p.readableBy(origin) && len(p.grants()) != 0 {
					t.Errorf("%s for %q: %d %v", path, origin, p.Status, p.grants())
				}
			}
		}
		if cache.hits < 5 {
			t.Errorf("%s: only %d answers came from the cache", path, cache.hits)
		}
	}
}

// What the guard looks at decides the answer, so each answer says so; and no page of another origin loads it past CORS.
func TestGuard_X11_K5_WhatAnswersDependOn(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { withFront(c) })
	b := r.browser().signIn()
	for _, says := range []string{"", "Accept", "origin, Sec-Fetch-Site", "Cookie", "*"} {
		r.answerWith(func(w http.ResponseWriter, _ *http.Request) {
			if says != "" {
				w.Header().Set("Vary", says)
			}
			w.WriteHeader(http.StatusOK)
		})
		for _, q := range []request{
			{method: "GET", path: "/api/me", site: "same-origin"}, {method: "GET", path: "/api/me", site: "cross-site"}, {method: "GET", path: "/optional/x", site: "same-origin"},
			{method: "GET", path: "/auth/session", site: "same-origin"}, {method: "POST", path: "/auth/refresh", site: "cross-site"},
		} {
			p := b.do(q)
			vary := strings.ToLower(strings.Join(p.varies(t), ","))
			if p.Header.Get("Vary") != "*" && (!strings.Contains(vary, "origin") || !strings.Contains(vary, "sec-fetch-site") || !strings.Contains(vary, "cookie") || strings.Count(vary, "origin") != 1) {
				t.Errorf("%s from %s, the API says %q: Vary %q", q.path, q.site, says, p.Header["Vary"])
			}
			if got := p.Header["Cross-Origin-Resource-Policy"]; !slices.Equal(got, []string{"same-origin"}) {
				t.Errorf("K5: %s from %s: %q", q.path, q.site, got)
			}
		}
	}
	r.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cross-Origin-Resource-Policy", "same-site")
	})
	if got := b.fetch("GET", "/api/me").Header["Cross-Origin-Resource-Policy"]; !slices.Equal(got, []string{"same-site"}) {
		t.Errorf("what the application says itself: %q", got)
	}
}
