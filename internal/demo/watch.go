package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/demo/lab"
	"github.com/cloakroom-go/cloakroom/internal/origin"
)

const (
	keptEvents = 200
	maxWatcher = 32
)

// event is what the page's log shows: an audit record reduced to what the one person at a demonstration may see, or
// something that the demo provider did.
type event struct {
	ID      int64     `json:"id"`
	Time    time.Time `json:"time"`
	From    string    `json:"from"` // gateway or provider
	Action  string    `json:"action"`
	Reason  string    `json:"reason,omitempty"`
	Session string    `json:"session,omitempty"` // the first characters of a keyed hash
	Own     bool      `json:"own,omitempty"`     // of somebody whose account is the gateway's own: there is no provider
}

// journal keeps the latest events and tells those who watch.
type journal struct {
	closing <-chan struct{}

	mu       sync.Mutex
	next     int64
	events   []event
	added    chan struct{} // closed and replaced by every event
	watchers int
}

func newJournal(closing <-chan struct{}) *journal {
	// Numbers go on from the clock, so that a page that outlived a restart does not take new events for old ones.
	return &journal{closing: closing, next: time.Now().UnixMilli(), added: make(chan struct{})}
}

// Record makes a journal an audit.Sink.
func (j *journal) Record(_ context.Context, e audit.Event) {
	j.add(event{Time: e.Time, From: "gateway", Action: string(e.Action), Reason: e.Reason, Session: e.Session[:min(8, len(e.Session))], Own: e.Provider == ownAccounts})
}

// note takes what the provider did.
func (j *journal) note(what, why string) {
	j.add(event{Time: time.Now(), From: "provider", Action: what, Reason: why})
}

func (j *journal) add(e event) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.next++
	e.ID = j.next
	j.events = append(j.events[max(0, len(j.events)+1-keptEvents):], e)
	close(j.added)
	j.added = make(chan struct{})
}

// since returns the events behind id, and what tells of the next one.
func (j *journal) since(id int64) ([]event, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i, e := range j.events {
		if e.ID > id {
			return append([]event(nil), j.events[i:]...), j.added
		}
	}
	return nil, j.added
}

func (j *journal) enter(by int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if by > 0 && j.watchers >= maxWatcher {
		return false
	}
	j.watchers += by
	return true
}

// ServeHTTP streams the events, also those that a reader who comes back has missed.
func (j *journal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !j.enter(1) {
		http.Error(w, "too many pages watch", http.StatusServiceUnavailable)
		return
	}
	defer j.enter(-1)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	// A browser that reconnects says where it was by the header, a page that was hidden by the parameter; 0 is from the start.
	last, err := strconv.ParseInt(r.Header.Get("Last-Event-ID"), 10, 64)
	if err != nil {
		last, _ = strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	}
	out := http.NewResponseController(w)
	pulse := time.NewTicker(20 * time.Second)
	defer pulse.Stop()
	fmt.Fprint(w, "retry: 1000\n\n")
	for {
		events, added := j.since(last)
		for _, e := range events {
			text, err := json.Marshal(e)
			if err != nil {
				return
			}
			fmt.Fprintf(w, "id: %d\ndata: %s\n\n", e.ID, text)
			last = e.ID
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-added:
		case <-pulse.C:
			fmt.Fprint(w, ":\n\n") // finds out that the page is gone
		case <-j.closing:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// front stands before the gateway. It answers /demo/ itself, because the gateway lets nobody behind it see its cookies, and
// watches the cookies that the gateway sets, to describe them. It never keeps a value.
type front struct {
	gateway *house
	lab     http.Handler // the gateway, which brings the laboratory's tab home
	url     *url.URL
	journal *journal
	own     *http.ServeMux

	mu  sync.Mutex
	set map[string][]string // attributes by cookie name, as the gateway last set them
}

func newFront(gateway *house, base *url.URL, j *journal, l *lab.Lab) *front {
	f := &front{gateway: gateway, lab: l.Homeward(gateway), url: base, journal: j, own: http.NewServeMux(), set: make(map[string][]string)}
	f.own.Handle("GET /demo/events", j)
	f.own.Handle("/demo/lab/", l.Handler())
	f.own.HandleFunc("GET /demo/cookies", f.cookies)
	f.own.HandleFunc("GET /demo/mode", gateway.serveMode)
	f.own.HandleFunc("POST /demo/mode", gateway.serveMode)
	return f
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// One name, so that one cookie jar; and a page elsewhere whose name resolves to this address gets nothing.
	if r.Host != f.url.Host {
		if name, port, err := net.SplitHostPort(r.Host); err == nil && r.Method == http.MethodGet && origin.IsLocal(name) && port == f.url.Port() {
			http.Redirect(w, r, f.url.String()+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			return
		}
		http.Error(w, "This demonstration is at "+f.url.String(), http.StatusMisdirectedRequest)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/demo/") {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		site := r.Header.Get("Sec-Fetch-Site")
		if site != "" && site != "same-origin" && site != "none" || http.NewCrossOriginProtection().Check(r) != nil {
			http.Error(w, "for the demonstration's own page", http.StatusForbidden)
			return
		}
		f.own.ServeHTTP(w, r)
		return
	}
	f.lab.ServeHTTP(&watched{ResponseWriter: w, front: f}, r)
}

// cookieView describes a cookie without its value.
type cookieView struct {
	Name       string   `json:"name"`
	Bytes      int      `json:"bytes"`
	Purpose    string   `json:"purpose"`
	Attributes []string `json:"attributes"`
	Readable   bool     `json:"readable"` // by script
}

// cookies describes the cookies that came with the request: all that the browser has for this host.
func (f *front) cookies(w http.ResponseWriter, r *http.Request) {
	views := []cookieView{}
	f.mu.Lock()
	for _, c := range r.Cookies() {
		v := cookieView{Name: c.Name, Bytes: len(c.Name) + 1 + len(c.Value), Attributes: f.set[c.Name]}
		v.describe(c.Name)
		views = append(views, v)
		if len(views) == 20 {
			break
		}
	}
	f.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]any{"cookies": views})
}

// purposes say what our cookies are for, by the end of their names, and what they have if nobody saw how they were set.
var purposes = []struct{ name, purpose, sameSite string }{
	{"session", "The ticket. Random, says nothing; opens the session at the gateway, nowhere else.", "Strict"},
	{"session.t", "When the session was last used, sealed.", "Strict"},
	{"session.*", "The session itself, sealed: only the gateway's key opens it.", "Strict"},
	{"login.*", "A sign-in under way, sealed. Gone when it is finished, or after ten minutes.", "Lax"},
	{"access_token.sig", "The signature of the access token. Without it the other half is no token.", "Strict"},
	{"access_token", "The access token, for an API that reads it here.", "Strict"},
	{"csrf", "What an API on another host checks a CSRF token with.", "Strict"},
}

// prefixes are what the gateway's cookies begin with, over https and over http. Behind the last stands the port.
var prefixes = []string{"__Host-Http-", "__Host-", "cloakroom-"}

// describe says what a cookie is for.
func (v *cookieView) describe(name string) {
	for _, prefix := range prefixes {
		base, ours := strings.CutPrefix(name, prefix)
		if _, behind, cut := strings.Cut(base, "-"); ours && cut {
			base = behind
		}
		for _, p := range purposes {
			start, wild := strings.CutSuffix(p.name, "*")
			if !ours || base != p.name && !(wild && strings.HasPrefix(base, start)) {
				continue
			}
			v.Purpose = p.purpose
			if v.Attributes == nil { // set before this process began
				v.Attributes = []string{"HttpOnly", "Path=/", "SameSite=" + p.sameSite}
			}
			if v.Readable = !slices.Contains(v.Attributes, "HttpOnly"); v.Readable {
				v.Purpose = "The claims of the access token, for the page to read. Its signature is in a cookie of its own."
			}
			return
		}
	}
	v.Purpose = "Not the gateway's: another program on this host set it. Cookies ignore ports."
	v.Attributes, v.Readable = []string{"unknown here"}, true
}

// watched lets front see which cookies an answer sets, when its final headers go out.
type watched struct {
	http.ResponseWriter
	front *front
	done  bool
}

// Unwrap is for http.ResponseController.
func (w *watched) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *watched) WriteHeader(status int) {
	if status >= 200 {
		w.look()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(b []byte) (int, error) {
	w.look()
	return w.ResponseWriter.Write(b)
}

// FlushError is for http.ResponseController.
func (w *watched) FlushError() error {
	w.look()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// look notes the attributes of the cookies that the answer sets.
func (w *watched) look() {
	if w.done {
		return
	}
	w.done = true
	for _, line := range w.Header()["Set-Cookie"] {
		pair, rest, _ := strings.Cut(line, ";")
		name, value, _ := strings.Cut(pair, "=")
		if value == "" || strings.Contains(name, "-login.") { // cleared, or one of very many
			continue
		}
		attributes := strings.Split(rest, ";")
		for i := range attributes {
			attributes[i] = strings.TrimSpace(attributes[i])
		}
		w.front.mu.Lock()
		if len(w.front.set) < 20 {
			w.front.set[name] = attributes
		}
		w.front.mu.Unlock()
	}
}
