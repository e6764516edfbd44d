package cloakroom_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

func TestAnswers_P11_WithoutASession(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser()
	p := b.fetch("GET", "/api/me")
	v := p.json(t)
	if p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" ||
		p.Header.Get("Content-Type") != "application/problem+json" || v["login_url"] != "/auth/login" || v["type"] != "urn:cloakroom:none" {
		t.Errorf("fetch: %d %v %s", p.Status, p.Header, p.Body)
	}
	for _, name := range []string{"type", "title", "detail"} {
		if v[name] == "" {
			t.Errorf("the problem has no %s: %s", name, p.Body)
		}
	}
	p = b.do(request{method: "GET", path: "/page/7?tab=2", site: "none", nav: true})
	if p.Status != http.StatusFound || p.next(t) != "/auth/login?return_to=%2Fpage%2F7%3Ftab%3D2" {
		t.Errorf("navigation: %d to %s", p.Status, p.next(t))
	}
	p = b.do(request{method: "POST", path: "/page/7", site: "same-origin", nav: true, body: "a=b"})
	if p.Status != http.StatusSeeOther {
		t.Errorf("L16: a form is sent to the login with %d, want 303", p.Status)
	}
	if r.hits() != 0 {
		t.Error("the API was reached")
	}
}

func TestSession_NeverATokenNeverCached(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	bearer := strings.TrimPrefix(r.last().Header.Get("Authorization"), "Bearer ")
	p := b.fetch("GET", "/auth/session")
	if strings.Contains(p.Body, bearer) || strings.Contains(p.Body, "eyJ") {
		t.Error("a token")
	}
	for name, want := range map[string]string{
		"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Content-Type": "application/json",
	} {
		if got := p.Header.Get(name); got != want {
			t.Errorf("H1 H3 H8 K5: %s is %q, want %q", name, got, want)
		}
	}
	if p := b.do(request{method: "GET", path: "/auth/session", site: "cross-site"}); p.Status != http.StatusForbidden {
		t.Errorf("another site reads it: %d", p.Status)
	}
	v := p.json(t)
	for _, name := range []string{"expires_at", "idle_expires_at", "access_expires_at"} {
		if _, err := time.Parse(time.RFC3339, v[name].(string)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSession_CookiesNobodyCanUse(t *testing.T) {
	r, other := newRig(t, inStore), newRig(t, inStore)
	b := r.browser().signIn()
	good := b.ticket()
	for _, tt := range []struct {
		name, cookie string
		status       int
	}{
		{"truncated", sessionCookie + "=" + good[:40], http.StatusUnauthorized},
		{"altered", sessionCookie + "=" + flip(good, 60), http.StatusUnauthorized},
		{"empty", sessionCookie + "=", http.StatusUnauthorized},
		{"another installation's", sessionCookie + "=" + other.browser().signIn().ticket(), http.StatusUnauthorized},
		{"a login cookie in its place", sessionCookie + "=" + strings.Repeat("A", 76), http.StatusUnauthorized},
		{"C8: twice", sessionCookie + "=" + good + "; " + sessionCookie + "=" + good, http.StatusBadRequest},
		{"C9: another case", strings.ToLower(sessionCookie) + "=" + good, http.StatusUnauthorized},
		{"C9: nameless", "=" + sessionCookie + "=" + good, http.StatusUnauthorized},
		{"as it was", sessionCookie + "=" + good, http.StatusOK},
	} {
		p := r.browser().do(request{method: "GET", path: "/api/me", site: "same-origin", header: http.Header{"Cookie": {tt.cookie}}})
		if p.Status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, p.Status, tt.status)
		}
	}
}

func TestRenewal_R1_OneForAll(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, fakeop.AccessLifetime(short))
	b := r.browser().signIn()
	r.outlive()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
				t.Errorf("a query failed: %d %.200s", p.Status, p.Body)
			}
		})
	}
	all.Wait()
	if n := r.op.Refreshes(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

func TestRenewal_R4_GrantIsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, fakeop.AccessLifetime(short))
	b := r.browser().signIn()
	r.op.EndGrants()
	r.outlive()
	if p := b.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if r.count(audit.Ended) != 1 {
		t.Errorf("audit: %v", r.actions())
	}
	if b.ticket() != "" {
		t.Error("the cookie is still there")
	}
}

func TestRefresh_YoungTokenStays(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	if p := b.fetch("POST", "/auth/refresh"); p.Status != http.StatusNoContent || r.op.Refreshes() != 0 {
		t.Errorf("%d after %d refreshes", p.Status, r.op.Refreshes())
	}
	if p := r.browser().fetch("POST", "/auth/refresh"); p.Status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", p.Status)
	}
	if p := b.do(request{method: "POST", path: "/auth/refresh", site: "same-site"}); p.Status != http.StatusForbidden {
		t.Errorf("from a sibling: %d", p.Status)
	}
}

func TestSession_T3_WithoutRefreshTokenItEndsWithTheAccessToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, fakeop.AccessLifetime(short), fakeop.Tokens(fakeop.Drop("refresh_token")))
	b := r.browser().signIn()
	await(t, "the session ends", func() bool { return b.fetch("GET", "/api/me").Status == http.StatusUnauthorized })
}

func TestClientScript(t *testing.T) {
	r := newRig(t, nil)
	p := r.browser().fetch("GET", "/auth/client.js")
	if p.Status != http.StatusOK || p.Header.Get("Content-Type") != "text/javascript; charset=utf-8" || p.Header.Get("ETag") == "" {
		t.Errorf("%d %v", p.Status, p.Header)
	}
	again := r.browser().do(request{method: "GET", path: "/auth/client.js", header: http.Header{"If-None-Match": {p.Header.Get("ETag")}}})
	if again.Status != http.StatusNotModified {
		t.Errorf("a second time: %d", again.Status)
	}
}

// One rule for every endpoint: what it is not made for is refused in words, and nothing is kept by a cache.
func TestEndpoints_H_Headers(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	for _, path := range []string{"login", "callback", "continue", "session", "refresh", "logout", "logout/next", "nowhere"} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE", "HEAD"} {
			p := b.do(request{method: method, path: "/auth/" + path, site: "same-origin"})
			if p.Status >= 500 {
				t.Errorf("%s %s: %d", method, path, p.Status)
			}
			if cache := p.Header.Get("Cache-Control"); cache != "no-store" {
				t.Errorf("H1: %s %s: Cache-Control %q", method, path, cache)
			}
			if method != "HEAD" && p.Header.Get("X-Content-Type-Options") != "nosniff" && p.Body != "" {
				t.Errorf("H3: %s %s has no nosniff", method, path)
			}
			for _, banner := range []string{"Server", "X-Powered-By"} {
				if p.Header.Get(banner) != "" {
					t.Errorf("H7: %s %s says %s", method, path, banner)
				}
			}
		}
	}
}

func TestProblem_H7_NothingInternal(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Routes[0].Upstream = "http://127.0.0.1:1" })
	b := r.browser()
	b.visit("/auth/login?return_to=/page/")
	p := b.fetch("GET", "/api/me")
	if p.Status != http.StatusBadGateway || strings.Contains(p.Body, "127.0.0.1") || strings.Contains(p.Body, "refused") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if !strings.Contains(r.logs.String(), "is the upstream of route /api/ running") {
		t.Error("the log has no hint for the operator")
	}
}

// Canaries: whatever is secret must not be in any log, at any level (G1), nor in a URL that a browser keeps (G5).
func TestLogs_G1_NoSecrets(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil, fakeop.AccessLifetime(short))
	b := r.browser()
	answer := begun(t, r, b)
	callback(b, answer)
	b.fetch("GET", "/api/me")
	secrets := []string{answer.Get("code"), answer.Get("state"), b.ticket(), fakeop.ClientSecret}
	secrets = append(secrets, strings.TrimPrefix(r.last().Header.Get("Authorization"), "Bearer "))
	callback(b, answer) // spent
	r.outlive()
	b.fetch("GET", "/api/me")
	secrets = append(secrets, strings.TrimPrefix(r.last().Header.Get("Authorization"), "Bearer "))
	for _, req := range r.op.Requests() {
		for _, name := range []string{"code_verifier", "refresh_token", "nonce", "token", "client_secret"} {
			secrets = append(secrets, req.Form.Get(name), req.Query.Get(name))
		}
	}
	logout(t, b, "")
	logs := r.logs.String()
	for _, secret := range secrets {
		if secret != "" && strings.Contains(logs, secret) {
			t.Errorf("the logs hold %.12s…", secret)
		}
	}
	if !strings.Contains(logs, "path=/auth/callback") {
		t.Error("the logs do not even hold the request: the test looks at the wrong place")
	}
}

func TestRequire_Embedded(t *testing.T) {
	r := newRig(t, nil)
	mux := http.NewServeMux()
	mux.Handle("/auth/", r.gateway)
	mux.Handle("/page/", r.gateway.Require(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s, ok := cloakroom.FromContext(req.Context())
		if !ok {
			t.Error("no session in the context")
			return
		}
		_, _ = io.WriteString(w, s.Grant.Subject)
	})))
	r.server.Config.Handler = mux
	b := r.browser()
	if p := b.fetch("GET", "/page/"); p.Status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", p.Status)
	}
	p := b.visit("/page/")
	if p.Body != fakeop.Subject || p.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%q, Cache-Control %q", p.Body, p.Header.Get("Cache-Control"))
	}
	if p := b.do(request{method: "POST", path: "/page/", site: "cross-site", header: b.header()}); p.Status != http.StatusForbidden {
		t.Errorf("a cross-site POST: %d", p.Status)
	}
}

func TestSecureFirst_C13_PlainHTTPGetsNoCookie(t *testing.T) {
	r := newRig(t, nil)
	p := r.browser().do(request{method: "GET", path: "/auth/login", header: http.Header{"X-Forwarded-Proto": {"http"}}})
	if p.Status != http.StatusFound || p.Header.Get("Cache-Control") != "no-store" || p.next(t) != appURL+"/auth/login" || p.Header.Get("Set-Cookie") != "" {
		t.Errorf("%d to %s, Set-Cookie %q", p.Status, p.next(t), p.Header.Get("Set-Cookie"))
	}
}

func TestHeaders_H4_StrictTransportEverywhere(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser()
	for _, path := range []string{"/auth/login", "/auth/session", "/auth/client.js", "/auth/nowhere", "/api/me", "/open/x", "/nowhere"} {
		if got := b.fetch("GET", path).Header.Get("Strict-Transport-Security"); got != "max-age=31536000; includeSubDomains" {
			t.Errorf("%s: %q", path, got)
		}
	}
	b.signIn()
	if got := b.fetch("GET", "/api/me").Header.Get("Strict-Transport-Security"); got == "" {
		t.Error("not on an answer of the API")
	}
}

// countingStore counts what reaches the store.
type countingStore struct {
	*memory.Store
	gets atomic.Int64
}

func (s *countingStore) Get(ctx context.Context, id session.ID) (session.Record, error) {
	s.gets.Add(1)
	return s.Store.Get(ctx, id)
}

// Ten thousand tickets that nobody was given: each costs a MAC, and nothing reaches the store.
func TestSession_UnknownTicketsNeverReachTheStore(t *testing.T) {
	t.Parallel()
	store := &countingStore{Store: memory.New()}
	r := newRig(t, func(c *cloakroom.Config) { c.Store = store })
	good := r.browser().signIn().ticket()
	before := store.gets.Load()
	for i := range 10_000 {
		req := httptest.NewRequest("GET", "/api/me", nil)
		req.Header.Set("Cookie", sessionCookie+"="+flip(flip(good, 10+i%60), 8+i%50))
		w := httptest.NewRecorder()
		r.gateway.ServeHTTP(w, req)
		if w.Code != http.StatusUnauthorized {
			t.Fatalf("ticket %d: %d", i, w.Code)
		}
	}
	if n := store.gets.Load() - before; n != 0 {
		t.Errorf("the store was read %d times", n)
	}
}

// The store goes away while people work. Nobody passes as anonymous, nobody is signed out; until the gateway knows again, it
// says so.
func TestStoreAway_G4_FailsClosed(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Session.CacheStale = time.Nanosecond })
	b := r.browser().signIn()
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	await(t, "the gateway notices", func() bool { return b.fetch("GET", "/api/me").Status == http.StatusServiceUnavailable })
	hits := r.hits()
	for _, path := range []string{"/api/me", "/optional/x", "/auth/session"} {
		p := b.fetch("GET", path)
		if p.Status != http.StatusServiceUnavailable || p.Header.Get("Retry-After") == "" || p.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d, Retry-After %q, Set-Cookie %q", path, p.Status, p.Header.Get("Retry-After"), p.Header.Get("Set-Cookie"))
		}
	}
	if p := b.visit("/auth/login?return_to=/page/"); p.Status != http.StatusServiceUnavailable {
		t.Errorf("a new login: %d", p.Status)
	}
	if r.hits() != hits || b.ticket() == "" {
		t.Errorf("%d requests reached the API; ticket %q", r.hits()-hits, b.ticket())
	}
	if p := b.fetch("GET", "/open/x"); p.Status != http.StatusOK {
		t.Errorf("what needs no session still works: %d", p.Status)
	}
}

// The mechanism is where a request comes from, not a header of ours: so reads are checked like writes, and what cannot send
// headers (EventSource, images, downloads) passes from our own origin only.
func TestGuard_X2_ReadsAreCheckedToo(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	stolen := b.header()
	stolen.Set("Accept", "text/event-stream")
	for site, want := range map[string]int{"same-origin": http.StatusOK, "same-site": http.StatusForbidden, "cross-site": http.StatusForbidden} {
		if p := b.do(request{method: "GET", path: "/api/events", site: site, header: stolen.Clone()}); p.Status != want {
			t.Errorf("%s: %d, want %d", site, p.Status, want)
		}
	}
}

func TestNew_Refuses(t *testing.T) {
	good := func() cloakroom.Config {
		return cloakroom.Config{
			URL: appURL, Keys: []string{cloakroom.NewKey()}, Store: memory.New(),
			Providers: map[string]cloakroom.Provider{"main": {Issuer: "https://op.example", ClientID: "a", ClientSecret: "b"}},
		}
	}
	for _, tt := range []struct {
		name   string
		spoil  func(*cloakroom.Config)
		reason string
	}{
		{"P12: trusts everyone", func(c *cloakroom.Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }, "trusted"},
		{"plain http on the network", func(c *cloakroom.Config) { c.URL = "http://app.example.com" }, "InsecureHTTP"},
		{"a URL with a path", func(c *cloakroom.Config) { c.URL = appURL + "/app" }, "url"},
		{"G3: no key", func(c *cloakroom.Config) { c.Keys = nil }, "keys"},
		{"G3: a short key", func(c *cloakroom.Config) { c.Keys = []string{"c2hvcnQ"} }, "keys"},
		{"G3: a key that is not random", func(c *cloakroom.Config) { c.Keys = []string{strings.Repeat("00", 32)} }, "keys"},
		{"T1: idle of seconds", func(c *cloakroom.Config) { c.Session.Idle = time.Second }, "idle"},
		{"T6: fewer sessions than none", func(c *cloakroom.Config) { c.Session.MaxSessions = -1 }, "max_sessions"},
		{"T6: a word that is none", func(c *cloakroom.Config) { c.Session.MaxSessions, c.Session.WhenFull = 1, "oldest" }, "when_full"},
		{"T6: counting what is in browsers", func(c *cloakroom.Config) { c.Session.MaxSessions, c.Cookie.Storage = 1, "sealed" }, "cannot be counted"},
		{"T6: counting in a store that cannot find", func(c *cloakroom.Config) { c.Session.MaxSessions, c.Store = 1, struct{ session.Store }{c.Store} }, "no session.Index"},
		{"stale for hours", func(c *cloakroom.Config) { c.Session.CacheStale = time.Hour }, "cache_stale"},
		{"everything is ours", func(c *cloakroom.Config) { c.Endpoints.Prefix = "/" }, "prefix"},
		{"a prefix without a slash", func(c *cloakroom.Config) { c.Endpoints.Prefix = "auth" }, "prefix"},
		{"no store", func(c *cloakroom.Config) { c.Store = nil }, "store"},
		{"no provider", func(c *cloakroom.Config) { c.Providers = nil }, "provider"},
		{"C14: SameSite=None", func(c *cloakroom.Config) { c.Cookie.SameSite = "none" }, "same_site"},
		{"K1: any origin", func(c *cloakroom.Config) { c.Guard.Origins = []string{"*"} }, "guard"},
	} {
		c := good()
		tt.spoil(&c)
		if _, err := cloakroom.New(t.Context(), c); err == nil || !strings.Contains(err.Error(), tt.reason) {
			t.Errorf("%s: %v, want something about %s", tt.name, err, tt.reason)
		}
	}
	if _, err := cloakroom.New(t.Context(), good()); err != nil {
		t.Errorf("nothing wrong with it: %v", err)
	}
}
