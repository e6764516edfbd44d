package cloakroom_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

// forEach adds a route for each of two APIs, and one to the API that the session's own token is for.
func forEach(own string, change func(*cloakroom.Config)) func(*cloakroom.Config) {
	return func(c *cloakroom.Config) {
		up := c.Routes[0].Upstream
		c.Routes = append(c.Routes,
			cloakroom.Route{Path: "/a/", Upstream: up, Audience: apiA, Identity: map[string]string{"X-User": "sub"}},
			cloakroom.Route{Path: "/b/", Upstream: up, Audience: apiB},
			cloakroom.Route{Path: "/own/", Upstream: up, Audience: own})
		if change != nil {
			change(c)
		}
	}
}

// toProvider changes the only provider.
func toProvider(change func(*cloakroom.Provider)) func(*cloakroom.Config) {
	return func(c *cloakroom.Config) {
		main := c.Providers["main"]
		change(&main)
		c.Providers["main"] = main
	}
}

// got asks for a path and returns the bearer that its API got.
func (b *browser) got(path string) string {
	b.t.Helper()
	if p := b.fetch("GET", path); p.Status != http.StatusOK {
		b.t.Fatalf("%s: %d %s\n%s", path, p.Status, p.Body, b.r.logs)
	}
	return b.r.currentToken()
}

// Each API gets a token that is for it alone, from whoever made the session; one is made for each, however often it is asked for.
func TestProxy_P8_EachUpstreamGetsItsOwnToken(t *testing.T) {
	ofAccounts := func(format string) func(*testing.T) func(*cloakroom.Config) {
		return func(t *testing.T) func(*cloakroom.Config) {
			return bySwitchThen(t, format, forEach(appURL, nil))
		}
	}
	byProvider := func(change func(*cloakroom.Provider)) func(*testing.T) func(*cloakroom.Config) {
		return func(*testing.T) func(*cloakroom.Config) { return forEach("urn:own", toProvider(change)) }
	}
	for _, c := range []struct {
		name   string
		config func(*testing.T) func(*cloakroom.Config)
		lie    fakeop.Lie
		word   string // with which the provider was asked; "": there is none
		jwt    bool
	}{
		{"accounts, JWTs", ofAccounts("jwt"), fakeop.All(), "", true},
		{"accounts, opaque", ofAccounts("opaque"), fakeop.All(), "", false},
		{"a provider by resource", byProvider(func(p *cloakroom.Provider) { p.Resource = []string{"urn:own"} }), fakeop.All(), "resource", true},
		{"a provider by audience", byProvider(func(p *cloakroom.Provider) { p.Audience = "urn:own" }), fakeop.All(), "audience", true},
		{"a provider's opaque ones", byProvider(func(p *cloakroom.Provider) { p.Resource = []string{"urn:own"} }), fakeop.Opaque(), "resource", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.config(t), c.lie)
			b := r.browser()
			if c.word == "" {
				b.join()
			} else {
				b.signIn()
			}
			r.op.Forget()
			own := b.got("/api/me")
			before := r.hits()
			var all sync.WaitGroup
			for i := range 30 {
				all.Go(func() {
					if p := b.fetch("GET", []string{"/a/x", "/b/x", "/own/x"}[i%3]); p.Status != http.StatusOK {
						t.Errorf("%d %s", p.Status, p.Body)
					}
				})
			}
			all.Wait()
			if n := r.hits() - before; n != 30 {
				t.Errorf("%d requests arrived", n)
			}
			a, bb := b.got("/a/x"), b.got("/b/x")
			if again := b.got("/a/y"); again != a || r.count(audit.Narrowed) != 2 {
				t.Errorf("another token at the second request: %v; %d were made", again != a, r.count(audit.Narrowed))
			}
			if got := b.got("/own/x"); got != own || b.got("/api/me") != own {
				t.Error("the session's own token will do, and another goes along")
			}
			if a == bb || a == own || bb == own {
				t.Error("two APIs get the same token")
			}
			if c.jwt {
				for token, want := range map[string]string{a: apiA, bb: apiB} {
					if claims := claimsOf(t, token); claims["aud"] != want || claims["sub"] == nil || claims["sub"] != claimsOf(t, own)["sub"] {
						t.Errorf("for %s: %v", want, claims)
					}
				}
			}
			if c.word == "" {
				r.introspects(t, a, apiA)
				r.introspects(t, own, appURL)
				return
			}
			asked := map[string]int{}
			for _, q := range r.op.Requests() {
				if q.Endpoint == "token" {
					asked[strings.Join(q.Form[c.word], " ")]++
				}
			}
			if asked[apiA] != 1 || asked[apiB] != 1 || len(asked) != 2 {
				t.Errorf("the provider was asked for %v", asked)
			}
		})
	}
}

// bySwitchThen is bySwitch and more.
func bySwitchThen(t *testing.T, format string, then func(*cloakroom.Config)) func(*cloakroom.Config) {
	first := bySwitch(t, format)
	return func(c *cloakroom.Config) { first(c); then(c) }
}

// introspects asks what the accounts say of a token; for "" it is not active.
func (r *rig) introspects(t *testing.T, token, audience string) {
	t.Helper()
	status, _, body := r.ask(t, "/auth/introspect", billing, billingSecret, url.Values{"token": {token}}, nil)
	want := `"aud":"` + audience + `"`
	if audience == "" {
		want = `{"active":false}`
	}
	if status != http.StatusOK || !strings.Contains(body, want) {
		t.Errorf("introspection: %d %s, want %s", status, body, want)
	}
}

// Whatever carries the token: what goes to an API is its own, and the browser keeps the session's.
func TestDelivery_P8_EachUpstreamGetsItsOwnToken(t *testing.T) {
	for _, d := range append([]deliveryCase{{name: "memory", options: cloakroom.TokenOptions{Delivery: "memory"}}}, tokenDeliveries...) {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, forEach("urn:own", func(c *cloakroom.Config) { c.Tokens = d.options }))
			b := r.browser()
			fetch := func(path string) string {
				t.Helper()
				if p := b.fetch("GET", path); p.Status != http.StatusOK {
					t.Fatalf("%s: %d %s", path, p.Status, p.Body)
				}
				return tokenIn(r.last().Cookies(), d.token, d.sig)
			}
			if d.name == "memory" {
				b.visit("/auth/login?return_to=/open/")
				own, _ := b.handed("")
				fetch = func(path string) string {
					t.Helper()
					if p := b.bearing("GET", path, own); p.Status != http.StatusOK {
						t.Fatalf("%s: %d %s", path, p.Status, p.Body)
					}
					return r.currentToken()
				}
			} else {
				b.signIn()
			}
			own := fetch("/api/me")
			if got := claimsOf(t, fetch("/a/x"))["aud"]; got != apiA || r.last().Header.Get("X-User") != fakeop.Subject {
				t.Errorf("A got a token for %v, of %q", got, r.last().Header.Get("X-User"))
			}
			if got := claimsOf(t, fetch("/b/x"))["aud"]; got != apiB {
				t.Errorf("B got a token for %v", got)
			}
			if fetch("/api/me") != own {
				t.Error("the session has another token")
			}
			if d.token != "" && tokenIn(b.kept(), d.token, d.sig) != own {
				t.Error("the browser has another token than the session's own")
			}
		})
	}
}

// The provider that does not do as it is asked: nothing reaches the API, the session goes on, and so do the other routes.
func TestProxy_P8_NeverAnotherToken(t *testing.T) {
	for _, c := range []struct {
		name   string
		lie    fakeop.Lie
		status int
		log    string
	}{
		{"it goes by its own mind", fakeop.AccessToken(fakeop.Set("aud", "urn:own")), http.StatusBadGateway, "RFC 8707"},
		{"it names another API as well", fakeop.AccessToken(fakeop.Set("aud", []string{apiA, apiB})), http.StatusBadGateway, "RFC 8707"},
		{"a JWT for nobody", fakeop.AccessToken(fakeop.Drop("aud")), http.StatusBadGateway, "RFC 8707"},
		{"it knows no such API", fakeop.Targets("urn:own"), http.StatusBadGateway, "does not know audience or resource"},
		{"it is down", fakeop.Status("token", http.StatusServiceUnavailable, "temporarily_unavailable"), http.StatusServiceUnavailable, "answered 503"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, forEach("urn:own", nil))
			b := r.browser().signIn()
			own := b.got("/api/me")
			r.op.Tell(c.lie)
			r.op.Forget()
			before := r.hits()
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if p := b.fetch("GET", "/a/x"); p.Status != c.status || p.Header.Get("Cloakroom") == "login-required" {
						t.Errorf("%d %s", p.Status, p.Body)
					}
				})
			}
			all.Wait()
			if r.hits() != before {
				t.Error("a request reached the API")
			}
			if !strings.Contains(r.logs.String(), c.log) {
				t.Errorf("the log does not say %q: %s", c.log, r.logs)
			}
			if n := r.op.Refreshes(); n != 1 {
				t.Errorf("the provider was asked %d times", n)
			}
			if b.got("/api/me") != own {
				t.Error("the session has another token")
			}
		})
	}
	// An opaque token cannot be read, but one that comes twice is for two.
	opaque := func(t *testing.T) (r *rig, b *browser, answers func(token string)) {
		r = newRig(t, forEach("urn:own", toProvider(func(p *cloakroom.Provider) { p.Resource = []string{"urn:own"} })), fakeop.Opaque())
		return r, r.browser().signIn(), func(token string) {
			r.op.Tell(fakeop.All(fakeop.Tokens(fakeop.Set("access_token", token)), fakeop.Tokens(fakeop.Drop("id_token"))))
		}
	}
	t.Run("an opaque token that is the session's own", func(t *testing.T) {
		r, b, answers := opaque(t)
		own := b.got("/own/x")
		answers(own)
		before := r.hits()
		if p := b.fetch("GET", "/a/x"); p.Status != http.StatusBadGateway || r.hits() != before || !strings.Contains(r.logs.String(), "RFC 8707") {
			t.Errorf("%d %s", p.Status, p.Body)
		}
		if b.got("/own/x") != own {
			t.Error("the session has another token")
		}
	})
	t.Run("one opaque token for every API", func(t *testing.T) {
		r, b, answers := opaque(t)
		answers("one-for-all")
		before := r.hits()
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() { b.fetch("GET", []string{"/a/x", "/b/x"}[i%2]) })
		}
		all.Wait()
		if n := r.hits() - before; n != 10 || !strings.Contains(r.logs.String(), "RFC 8707") {
			t.Errorf("%d requests arrived, those for one API would be 10", n)
		}
	})
	t.Run("there is no refresh token", func(t *testing.T) {
		r := newRig(t, forEach("urn:own", nil), fakeop.Tokens(fakeop.Drop("refresh_token")))
		b := r.browser().signIn()
		before := r.hits()
		if p := b.fetch("GET", "/a/x"); p.Status != http.StatusBadGateway || r.hits() != before {
			t.Errorf("%d %s", p.Status, p.Body)
		}
		if !strings.Contains(r.logs.String(), "offline_access") {
			t.Error("the log does not say what to do")
		}
	})
}

// The grant that is over ends the session here as it does anywhere.
func TestProxy_P8_R4_TheGrantIsOver(t *testing.T) {
	r := newRig(t, forEach("urn:own", nil))
	b := r.browser().signIn()
	r.op.EndGrants()
	if p := b.fetch("GET", "/a/x"); p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" || b.ticket() != "" {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// With the session's next token come next ones for others, one for each however many ask; and the token of a session that has ended
// opens nothing and is revoked.
func TestProxy_P8_R1_WithTheSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, forEach("urn:own", nil), fakeop.AccessLifetime(short))
	b := r.browser().signIn()
	own, a := b.got("/api/me"), b.got("/a/x")
	awaitEnd(t, own)
	awaitEnd(t, a)
	r.op.Tell(fakeop.AccessLifetime(time.Hour))
	r.op.Forget()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { b.fetch("GET", "/a/x") })
	}
	all.Wait()
	next := b.got("/a/x")
	if n := r.op.Refreshes(); n != 2 || next == a || claimsOf(t, next)["aud"] != apiA || b.got("/api/me") == own {
		t.Errorf("%d refreshes, another token: %v", n, next != a)
	}
	b.fetch("POST", "/auth/logout")
	before := r.hits()
	if p := b.fetch("GET", "/a/x"); p.Status != http.StatusUnauthorized || r.hits() != before {
		t.Errorf("signed out: %d", p.Status)
	}
	r.gateway.Close(context.Background()) // waits for what the logout began
	if !strings.Contains(strings.Join(r.op.Revoked(), " "), next) {
		t.Error("the API's token was not revoked")
	}
}

// A token that lives on after its session: those who ask are told that it is over.
func TestProxy_P8_U11_OpaqueTokensEndWithTheSession(t *testing.T) {
	r := newRig(t, bySwitchThen(t, "opaque", forEach(appURL, nil)))
	b := r.browser().join()
	a := b.got("/a/x")
	r.introspects(t, a, apiA)
	b.fetch("POST", "/auth/logout")
	r.gateway.Close(context.Background())
	r.introspects(t, a, "")
}

// With the option every API learns by sid which session it serves: the same name in all of its tokens, another one in the next session's.
// Nothing that the browser has or the log says is made of it.
func TestAccounts_U11_TokensNameTheSession(t *testing.T) {
	r := newRig(t, withAccounts(t, forEach(appURL, func(c *cloakroom.Config) { c.Accounts.Tokens.Session = true })))
	b, other := r.browser().join(), r.browser()
	other.sendJSON("/auth/login", adas(adasPassword))
	sid := func(b *browser, path string) string {
		t.Helper()
		text, _ := claimsOf(t, b.got(path))["sid"].(string)
		return text
	}
	first := sid(b, "/api/x")
	if len(first) != 22 || sid(b, "/a/x") != first || sid(b, "/b/x") != first || sid(other, "/api/x") == first {
		t.Errorf("sid %q, at A %q, at B %q; the other's %q", first, sid(b, "/a/x"), sid(b, "/b/x"), sid(other, "/api/x"))
	}
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range b.kept() {
		value, err := base64.RawURLEncoding.DecodeString(c.Value)
		if strings.Contains(c.Value, first) || err == nil && bytes.Contains(value, raw) {
			t.Errorf("the cookie %s has it", c.Name)
		}
	}
	if strings.Contains(r.logs.String(), first) {
		t.Error("the log has it")
	}
	if p := b.fetch("GET", "/auth/session"); strings.Contains(p.Body, first) {
		t.Error("the page is told")
	}
}

// A WebSocket begins with the token of its API.
func TestProxy_P8_WebSocket(t *testing.T) {
	got := make(chan string, 1)
	up := upstreamAt(t, func(w http.ResponseWriter, r *http.Request) {
		got <- strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}); err == nil {
			c.CloseNow()
		}
	})
	r := newRig(t, withRoutes(cloakroom.Route{Path: "/ws/", Upstream: up, Audience: apiA}))
	c, _, err := r.browser().signIn().socket("/ws/", appURL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if aud := claimsOf(t, <-got)["aud"]; aud != apiA {
		t.Errorf("it is for %v", aud)
	}
}

// A token for one API opens no route of another, also where it comes without the session.
func TestBearer_P8_TokensForOneAPI(t *testing.T) {
	for _, format := range []string{"jwt", "opaque"} {
		t.Run(format, func(t *testing.T) {
			r := newRig(t, bySwitchThen(t, format, taking(nil)))
			a := r.browser().join().got("/a/x")
			for path, want := range map[string]int{"/a/x": http.StatusOK, "/b/x": http.StatusUnauthorized} {
				if p := r.plain("GET", path, bearer(a)); p.Status != want {
					t.Errorf("%s: %d, want %d", path, p.Status, want)
				}
			}
		})
	}
}
