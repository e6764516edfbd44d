package cloakroom_test

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

const apiA, apiB = "https://a.example.com", "https://b.example.com"

// taking adds routes that take bearers: /a/ and /b/ for two APIs, /maybe/ that is optional, /staff/ with a rule.
func taking(change func(*cloakroom.Config)) func(*cloakroom.Config) {
	return func(c *cloakroom.Config) {
		up := c.Routes[0].Upstream
		c.Routes = append(c.Routes,
			cloakroom.Route{Path: "/a/", Upstream: up, Bearer: cloakroom.BearerAccept, Audience: apiA, Identity: map[string]string{"X-User": "sub"}},
			cloakroom.Route{Path: "/b/", Upstream: up, Bearer: cloakroom.BearerAccept, Audience: apiB},
			cloakroom.Route{Path: "/maybe/", Upstream: up, Auth: cloakroom.AuthOptional, Bearer: cloakroom.BearerAccept, Audience: apiA},
			cloakroom.Route{Path: "/staff/", Upstream: up, Bearer: cloakroom.BearerAccept, Audience: apiA, Allow: &cloakroom.Allow{Groups: []string{"staff"}}},
		)
		if change != nil {
			change(c)
		}
	}
}

// machine makes the access token of a machine.
func (r *rig) machine(audience string, changes ...func(map[string]any)) string {
	now := time.Now()
	claims := map[string]any{
		"iss": r.op.Issuer(), "sub": "machine-1", "aud": audience, "client_id": "machine-1", "scope": "notes:read",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": "1",
	}
	for _, change := range changes {
		change(claims)
	}
	return r.op.Signer().Typed("at+jwt", claims)
}

// plain is a request of a program that is no browser.
func (r *rig) plain(method, path string, h http.Header) *page {
	r.t.Helper()
	return r.browser().do(request{method: method, path: path, header: h})
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func TestBearer_P2_P8_OfAMachine(t *testing.T) {
	for _, delivery := range []string{"proxy", "cookie", "split", "memory"} {
		t.Run(delivery, func(t *testing.T) {
			r := newRig(t, taking(func(c *cloakroom.Config) { c.Tokens.Delivery = delivery }))
			a, b := r.machine(apiA), r.machine(apiB)
			// No header says where it comes from, and it may write: nothing here was added by a browser.
			for _, method := range []string{"GET", "POST", "DELETE"} {
				h := bearer(a)
				h.Set("Cookie", "theirs=1")
				h.Set("X-User", "root")
				p := r.plain(method, "/a/notes", h)
				got := r.last()
				if p.Status != http.StatusOK || got.Method != method || got.Header.Get("Authorization") != "Bearer "+a || got.Header.Get("Cookie") != "theirs=1" || got.Header.Get("X-User") != "machine-1" {
					t.Errorf("%s: %d, the API got %s %v", method, p.Status, got.Method, got.Header)
				}
				if p.Header.Get("Cache-Control") != "no-store" || len(p.Header["Set-Cookie"]) != 0 || !strings.Contains(strings.Join(p.Header["Vary"], ","), "Authorization") {
					t.Errorf("%s: answered with %v", method, p.Header)
				}
			}
			before := r.hits()
			for _, c := range []struct {
				name, path string
				h          http.Header
				status     int
				says       string // WWW-Authenticate
			}{
				{"for the other API", "/b/", bearer(a), http.StatusUnauthorized, `Bearer error="invalid_token"`},
				{"for this API, there", "/a/", bearer(b), http.StatusUnauthorized, `Bearer error="invalid_token"`},
				{"nothing", "/a/", nil, http.StatusUnauthorized, "Bearer"},
				{"another scheme", "/a/", http.Header{"Authorization": {"Basic eDp5"}}, http.StatusUnauthorized, "Bearer"},
				{"one byte", "/a/", bearer("x"), http.StatusUnauthorized, `Bearer error="invalid_token"`},
				{"64 kB", "/a/", bearer(strings.Repeat("x", 64<<10)), http.StatusUnauthorized, `Bearer error="invalid_token"`},
				{"expired", "/a/", bearer(r.machine(apiA, fakeop.Set("exp", time.Now().Add(-time.Minute).Unix()))), http.StatusUnauthorized, `Bearer error="invalid_token"`},
				{"nothing behind the scheme", "/a/", http.Header{"Authorization": {"Bearer "}}, http.StatusBadRequest, ""},
				{"two", "/a/", http.Header{"Authorization": {"Bearer " + a, "Bearer " + a}}, http.StatusBadRequest, ""},
				{"not staff", "/staff/", bearer(a), http.StatusForbidden, ""},
				{"a bad one where none is needed", "/maybe/", bearer(b), http.StatusUnauthorized, `Bearer error="invalid_token"`},
				{"TRACE", "/a/", bearer(a), http.StatusMethodNotAllowed, ""},
			} {
				method := map[bool]string{true: "TRACE", false: "GET"}[c.name == "TRACE"]
				p := r.plain(method, c.path, c.h)
				if p.Status != c.status || p.Header.Get("WWW-Authenticate") != c.says {
					t.Errorf("%s: %d, WWW-Authenticate %q", c.name, p.Status, p.Header.Get("WWW-Authenticate"))
				}
				if login := p.Header.Get("Cloakroom") == "login-required"; login != (c.says == "Bearer") {
					t.Errorf("%s: Cloakroom %q", c.name, p.Header.Get("Cloakroom"))
				}
			}
			if r.hits() != before {
				t.Errorf("%d refused requests reached an API", r.hits()-before)
			}
			if p := r.plain("GET", "/staff/", bearer(r.machine(apiA, fakeop.Set("groups", []string{"staff"})))); p.Status != http.StatusOK {
				t.Errorf("staff: %d", p.Status)
			}
			if p := r.plain("GET", "/maybe/", nil); p.Status != http.StatusOK || r.last().Header.Get("Authorization") != "" {
				t.Errorf("anonymous where that is fine: %d, %q", p.Status, r.last().Header.Get("Authorization"))
			}
			if p := r.plain("GET", "/maybe/", bearer(a)); p.Status != http.StatusOK || r.last().Header.Get("Authorization") != "Bearer "+a {
				t.Errorf("a good one where none is needed: %d", p.Status)
			}
			// A route that does not say so takes none: there the header is dropped as ever.
			if p := r.plain("GET", "/api/", bearer(r.machine("api"))); p.Status != http.StatusUnauthorized || p.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("a route that takes none: %d, %q", p.Status, p.Header.Get("WWW-Authenticate"))
			}
			for line := range strings.Lines(r.logs.String()) {
				if strings.Contains(line, a[len(a)-20:]) || strings.Contains(line, "level=ERROR") {
					t.Errorf("the log: %s", line)
				}
			}
			if n := r.count(audit.Refused); n == 0 {
				t.Error("no refusal in the audit record")
			}
		})
	}
}

// One request, one answer to the question who it is.
func TestBearer_P2_A7_NeverWithACookie(t *testing.T) {
	for _, delivery := range []string{"proxy", "cookie", "split", "memory"} {
		t.Run(delivery, func(t *testing.T) {
			r := newRig(t, taking(func(c *cloakroom.Config) { c.Tokens.Delivery = delivery }))
			b := r.browser()
			b.visit("/auth/login?return_to=/open/")
			machine := r.machine(apiA)
			before := r.hits()
			want := http.StatusBadRequest
			if delivery == "memory" {
				want = http.StatusUnauthorized // there a bearer beside the cookie is the session's own or nothing
			}
			if p := b.bearing("GET", "/a/", machine); p.Status != want {
				t.Errorf("with the session: %d", p.Status)
			}
			// Neither does a cookie that opens nothing any more.
			p := r.plain("GET", "/a/", http.Header{"Authorization": {"Bearer " + machine}, "Cookie": {sessionCookie + "=x"}})
			if p.Status != want {
				t.Errorf("with a dead cookie: %d", p.Status)
			}
			if delivery == "cookie" || delivery == "split" {
				for _, c := range b.kept() {
					if c.Name == sessionCookie {
						continue
					}
					p := r.plain("GET", "/a/", http.Header{"Authorization": {"Bearer " + machine}, "Cookie": {c.Name + "=" + c.Value}})
					if p.Status != http.StatusBadRequest {
						t.Errorf("with %s: %d", c.Name, p.Status)
					}
				}
			}
			if r.hits() != before {
				t.Error("it reached the API")
			}
			if delivery == "memory" {
				token, _ := b.handed("")
				if p := b.bearing("GET", "/a/", token); p.Status != http.StatusOK || r.last().Header.Get("X-User") != fakeop.Subject {
					t.Errorf("the page's own: %d", p.Status)
				}
				return
			}
			if p := b.fetch("GET", "/a/"); p.Status != http.StatusOK || r.last().Header.Get("X-User") != fakeop.Subject {
				t.Errorf("with the session alone: %d", p.Status)
			}
		})
	}
}

// The ID token of a real login opens nothing, and its access token only what it is for. Many providers write JWT into all of them.
func TestBearer_A2_P8_TokensOfALogin(t *testing.T) {
	withType := func(typ string) *rig {
		return newRig(t, taking(func(c *cloakroom.Config) {
			main := c.Providers["main"]
			main.Audience, main.AccessType = apiA, typ
			c.Providers["main"] = main
			c.Tokens.Delivery = "memory"
		}))
	}
	r := withType("JWT")
	b := r.browser()
	b.visit("/auth/login?return_to=/open/")
	token, _ := b.handed("")
	if p := r.plain("GET", "/a/", bearer(token)); p.Status != http.StatusOK {
		t.Errorf("its access token, at its API: %d", p.Status)
	}
	if p := r.plain("GET", "/b/", bearer(token)); p.Status != http.StatusUnauthorized {
		t.Errorf("its access token, at another: %d", p.Status)
	}
	_, next := logout(t, b, "")
	to, err := url.Parse(b.do(request{method: "GET", path: next, site: "same-origin", nav: true}).Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	hint := to.Query().Get("id_token_hint")
	if claimsOf(t, hint)["nonce"] == nil {
		t.Fatalf("no ID token in %s", to)
	}
	if p := r.plain("GET", "/a/", bearer(hint)); p.Status != http.StatusUnauthorized {
		t.Errorf("its ID token: %d", p.Status)
	}

	r = withType("")
	b = r.browser()
	b.visit("/auth/login?return_to=/open/")
	token, _ = b.handed("")
	if p := r.plain("GET", "/a/", bearer(token)); p.Status != http.StatusUnauthorized {
		t.Errorf("typ JWT without the option: %d", p.Status)
	}
}

// While the provider is away, tokens that were just verified go on; about others nobody can say, and that is no 500.
func TestBearer_ProviderAway(t *testing.T) {
	r := newRig(t, taking(nil))
	r.op.Tell(fakeop.Down())
	if p := r.plain("GET", "/a/", bearer(r.machine(apiA))); p.Status != http.StatusServiceUnavailable {
		t.Errorf("keys that were never had: %d %s", p.Status, p.Body)
	}
}

// Streams end with the token.
func TestBearer_StreamsEndWithTheToken(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	r := newRig(t, func(c *cloakroom.Config) {
		c.Routes = append(c.Routes,
			cloakroom.Route{Path: "/ws/", Upstream: echoServer(t, &hits), Bearer: cloakroom.BearerAccept, Audience: apiA},
			cloakroom.Route{Path: "/events/", Upstream: c.Routes[0].Upstream, Bearer: cloakroom.BearerAccept, Audience: apiA})
	})
	r.answerWith(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		<-req.Context().Done()
	})
	token := r.machine(apiA, fakeop.Set("exp", time.Now().Add(2*time.Second).Unix()))
	c, _, err := websocket.Dial(t.Context(), r.server.URL+"/ws/", &websocket.DialOptions{Host: "app.example.com", HTTPHeader: bearer(token)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	req, err := http.NewRequestWithContext(t.Context(), "GET", r.server.URL+"/events/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = bearer(token)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Errorf("the socket ended with %v", err)
	}
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the stream ended as if it were complete")
	}
}

func TestNew_BearerRoutesThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name  string
		route cloakroom.Route
		want  string
	}{
		{"no audience", cloakroom.Route{Path: "/", Upstream: "http://127.0.0.1:1", Bearer: cloakroom.BearerAccept}, "bearer needs an audience"},
		{"an audience of files", cloakroom.Route{Path: "/", Files: ".", Audience: apiA}, "audience is for an upstream that gets the session's token"},
		{"an audience, and auth off", cloakroom.Route{Path: "/", Upstream: "http://127.0.0.1:1", Auth: cloakroom.AuthOff, Audience: apiA}, "audience is for an upstream that gets the session's token"},
		{"a long audience", cloakroom.Route{Path: "/", Upstream: "http://127.0.0.1:1", Audience: "urn:" + strings.Repeat("x", 509)}, "audience: 513 bytes are too many"},
		{"files", cloakroom.Route{Path: "/", Files: ".", Bearer: cloakroom.BearerAccept, Audience: apiA}, "bearer is for an upstream"},
		{"off", cloakroom.Route{Path: "/", Upstream: "http://127.0.0.1:1", Auth: cloakroom.AuthOff, Bearer: cloakroom.BearerAccept, Audience: apiA}, "bearer is for an upstream"},
		{"another word", cloakroom.Route{Path: "/", Upstream: "http://127.0.0.1:1", Bearer: "yes", Audience: apiA}, `bearer is "yes"`},
		{"the client's own id", cloakroom.Route{Path: "/", Upstream: "http://127.0.0.1:1", Bearer: cloakroom.BearerAccept, Audience: "app"}, "ID tokens are for that"},
	} {
		store := memory.New()
		t.Cleanup(func() { store.Close() })
		_, err := cloakroom.New(t.Context(), cloakroom.Config{
			URL: appURL, Keys: []string{cloakroom.NewKey()}, Store: store, Routes: []cloakroom.Route{c.route},
			Providers: map[string]cloakroom.Provider{"main": {Issuer: "https://login.example.com/", ClientID: "app", ClientSecret: "s"}},
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
