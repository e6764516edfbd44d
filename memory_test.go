package cloakroom_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

func inMemory(c *cloakroom.Config) { c.Tokens.Delivery = "memory" }

// handed is what POST token hands out.
func (b *browser) handed(body string) (token string, p *page) {
	b.t.Helper()
	q := request{method: "POST", path: "/auth/token", site: "same-origin", body: body}
	if body != "" {
		q.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	}
	p = b.do(q)
	var answer struct {
		Token string `json:"access_token"`
	}
	if p.Status == http.StatusOK {
		if err := json.Unmarshal([]byte(p.Body), &answer); err != nil || answer.Token == "" {
			b.t.Fatalf("no token in %s", p.Body)
		}
	}
	return answer.Token, p
}

func (b *browser) bearing(method, path, token string) *page {
	b.t.Helper()
	h := http.Header{}
	if token != "" {
		h["Authorization"] = []string{"Bearer " + token}
	}
	return b.do(request{method: method, path: path, site: "same-origin", header: h})
}

func TestToken_M1_NothingElse(t *testing.T) {
	for _, storage := range []string{"store", "sealed"} {
		t.Run(storage, func(t *testing.T) {
			r := newRig(t, func(c *cloakroom.Config) { inMemory(c); c.Cookie.Storage = storage })
			b := r.browser()
			b.visit("/auth/login?return_to=/open/")
			token, p := b.handed("")
			if claimsOf(t, token)["sub"] != fakeop.Subject {
				t.Fatalf("%d %s", p.Status, p.Body)
			}
			got := p.json(t)
			if keys := slices.Sorted(maps.Keys(got)); !slices.Equal(keys, []string{"access_token", "expires_in", "token_type"}) || got["token_type"] != "Bearer" {
				t.Errorf("handed out: %v", keys)
			}
			// An hour for the token, half of one for an idle session: the page has to come back by then.
			if in, _ := got["expires_in"].(float64); in < 1790 || in > 1800 {
				t.Errorf("expires_in %v", in)
			}
			if p.Header.Get("Cache-Control") != "no-store" || p.Header.Get("Content-Type") != "application/json" {
				t.Errorf("header %v", p.Header)
			}
			if !strings.Contains(p.Header.Get("Cross-Origin-Resource-Policy"), "same-origin") || p.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("others may read it: %v", p.Header)
			}
			for _, c := range b.kept() {
				if !strings.HasPrefix(c.Name, sessionCookie) {
					t.Errorf("a cookie more: %v", c)
				}
			}
			if v := b.fetch("GET", "/auth/session").json(t); v["delivery"] != "memory" || strings.Contains(fmt.Sprint(v), token) {
				t.Errorf("session: %v", v)
			}
		})
	}
}

func TestToken_M1_GuardedAndByPostOnly(t *testing.T) {
	r := newRig(t, inMemory)
	b := r.browser()
	b.visit("/auth/login?return_to=/open/")
	cookie := b.header()
	with := func(more http.Header) http.Header { h := cookie.Clone(); maps.Copy(h, more); return h }
	for _, c := range []struct {
		name   string
		q      request
		status int
	}{
		{"GET", request{method: "GET", site: "same-origin", header: cookie}, http.StatusMethodNotAllowed},
		{"HEAD", request{method: "HEAD", site: "same-origin", header: cookie}, http.StatusMethodNotAllowed},
		{"another site", request{method: "POST", site: "cross-site", header: cookie}, http.StatusForbidden},
		{"a sibling", request{method: "POST", site: "same-site", header: cookie}, http.StatusForbidden},
		{"no word where from", request{method: "POST", header: cookie}, http.StatusForbidden},
		{"only a foreign Origin", request{method: "POST", header: with(http.Header{"Origin": {"https://evil.example"}})}, http.StatusForbidden},
		{"Origin null", request{method: "POST", header: with(http.Header{"Origin": {"null"}})}, http.StatusForbidden},
		{"our own, without Fetch Metadata", request{method: "POST", header: with(http.Header{"Origin": {appURL}})}, http.StatusOK},
		{"signed out", request{method: "POST", site: "same-origin", header: http.Header{"Cookie": {"a=1"}}}, http.StatusUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.q.path = "/auth/token"
			p := b.do(c.q)
			if p.Status != c.status || (p.Status == http.StatusOK) != strings.Contains(p.Body, "access_token") {
				t.Errorf("%d %s", p.Status, p.Body)
			}
			if c.status == http.StatusUnauthorized && p.Header.Get("Cloakroom") != "login-required" {
				t.Errorf("Cloakroom: %q", p.Header.Get("Cloakroom"))
			}
		})
	}
	for _, delivery := range []string{"proxy", "cookie", "split"} {
		r := newRig(t, func(c *cloakroom.Config) { c.Tokens.Delivery = delivery })
		b := r.browser().signIn()
		for _, method := range []string{"POST", "GET"} {
			if p := b.fetch(method, "/auth/token"); p.Status != http.StatusNotFound {
				t.Errorf("%s, %s: %d %s", delivery, method, p.Status, p.Body)
			}
		}
	}
}

// The page that asks for less gets no more, whatever lies in the session; and the session keeps what it had.
func TestToken_M2_NeverWiderThanAskedFor(t *testing.T) {
	for _, storage := range []string{"store", "sealed"} {
		t.Run(storage, func(t *testing.T) {
			r := newRig(t, func(c *cloakroom.Config) { inMemory(c); c.Cookie.Storage = storage })
			b := r.browser()
			b.visit("/auth/login?return_to=/open/")
			wide, _ := b.handed("")
			r.op.Forget()

			narrow, p := b.handed("scope=profile")
			if got := claimsOf(t, narrow)["scope"]; got != "profile" {
				t.Errorf("asked for profile, got %q: %d", got, p.Status)
			}
			if r.op.Refreshes() != 1 || r.op.Last("token").Form.Get("scope") != "profile" {
				t.Errorf("the provider was asked for %q", r.op.Last("token").Form.Get("scope"))
			}
			// The refresh token was rotated by that. What comes next works with its successor.
			if again, _ := b.handed("scope=openid email"); claimsOf(t, again)["scope"] != "email openid" {
				t.Errorf("asked for two, got %v", claimsOf(t, again)["scope"])
			}
			if got, _ := b.handed(""); got != wide {
				t.Error("the session's own token is another one now")
			}
			// All that was granted, in any order, is the session's own, and so is nothing at all.
			if got, _ := b.handed("scope=offline_access+email+profile+openid+openid"); got != wide {
				t.Error("asking for all did not give the session's token")
			}
			if got, _ := b.handed("scope="); got != wide {
				t.Error("an empty scope did not give the session's token")
			}
			if n := r.op.Refreshes(); n != 2 {
				t.Errorf("%d refreshes", n)
			}
			// The narrower one opens nothing here: it is for elsewhere.
			if p := b.bearing("GET", "/api/me", narrow); p.Status != http.StatusUnauthorized {
				t.Errorf("a narrower token: %d", p.Status)
			}
			if p := b.bearing("GET", "/api/me", wide); p.Status != http.StatusOK {
				t.Errorf("the session's token: %d", p.Status)
			}
			if r.count(audit.Narrowed) != 2 || r.count(audit.Renewed) != 0 {
				t.Errorf("audit: %v", r.actions())
			}
		})
	}
}

func TestToken_M2_Refused(t *testing.T) {
	for _, c := range []struct {
		name, kind, body, query string
		lie                     fakeop.Lie
		status                  int
	}{
		{"wider", "application/x-www-form-urlencoded", "scope=openid+admin", "", nil, http.StatusBadRequest},
		{"unknown", "application/json", `{"scope":"admin"}`, "", nil, http.StatusBadRequest},
		{"twice", "application/x-www-form-urlencoded", "scope=openid&scope=email", "", nil, http.StatusBadRequest},
		{"misspelt", "application/x-www-form-urlencoded", "scopes=openid", "", nil, http.StatusBadRequest},
		{"misspelt JSON", "application/json", `{"scopes":"openid"}`, "", nil, http.StatusBadRequest},
		{"a list", "application/json", `{"scope":["openid"]}`, "", nil, http.StatusBadRequest},
		{"two objects", "application/json", `{"scope":"openid"}{}`, "", nil, http.StatusBadRequest},
		{"no JSON", "application/json", `scope`, "", nil, http.StatusBadRequest},
		{"another type", "text/plain", "scope=openid", "", nil, http.StatusBadRequest},
		{"in the query", "", "", "?scope=openid", nil, http.StatusBadRequest},
		{"no scope", "application/json", `{"scope":"a\\b"}`, "", nil, http.StatusBadRequest},
		{"too long", "application/json", `{"scope":"` + strings.Repeat("a", 5000) + `"}`, "", nil, http.StatusRequestEntityTooLarge},
		{"the provider does not know it", "application/json", `{"scope":"email"}`, "", fakeop.Status("token", http.StatusBadRequest, "invalid_scope"), http.StatusBadRequest},
		{"the provider gives more, and says so", "application/json", `{"scope":"email"}`, "", fakeop.Widens(), http.StatusBadGateway},
		{"the provider gives more, and says nothing", "application/json", `{"scope":"email"}`, "", fakeop.All(fakeop.Widens(), fakeop.Tokens(fakeop.Drop("scope"))), http.StatusBadGateway},
		{"the provider is down", "application/json", `{"scope":"email"}`, "", fakeop.Down(), http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, inMemory)
			b := r.browser()
			b.visit("/auth/login?return_to=/open/")
			wide, _ := b.handed("")
			if c.lie != nil {
				r.op.Tell(c.lie)
			}
			h := http.Header{}
			if c.kind != "" {
				h.Set("Content-Type", c.kind)
			}
			p := b.do(request{method: "POST", path: "/auth/token" + c.query, site: "same-origin", header: h, body: c.body})
			if p.Status != c.status || strings.Contains(p.Body, "access_token") {
				t.Errorf("%d %s", p.Status, p.Body)
			}
			// Whatever came of it, the session goes on.
			r.op.Tell(fakeop.Up(), fakeop.Instead("token", nil))
			if got, _ := b.handed(""); got != wide {
				t.Error("the session has lost its token")
			}
		})
	}
}

// Each narrower token is a call to the provider, where all people of the gateway are one client. One of them cannot use up its patience;
// nor does a program that keeps no cookie, and so is ever more renewals behind, do the person any harm.
func TestToken_M2_NotWithoutEnd(t *testing.T) {
	for _, storage := range []string{"store", "sealed"} {
		t.Run(storage, func(t *testing.T) {
			r := newRig(t, func(c *cloakroom.Config) { inMemory(c); c.Cookie.Storage = storage })
			b, other := r.browser(), r.browser()
			b.visit("/auth/login?return_to=/open/")
			other.visit("/auth/login?return_to=/open/")
			hostile := b.copy()
			hostile.refuses = true
			r.op.Forget()
			answers := map[int]int{}
			for range 61 { // the limit is one for each minute by the clock, of which this may see two
				_, p := hostile.handed("scope=email")
				answers[p.Status]++
				if p.Status == http.StatusTooManyRequests && p.Header.Get("Retry-After") == "" {
					t.Error("it is not told when to come again")
				}
			}
			if answers[http.StatusTooManyRequests] == 0 || answers[http.StatusOK] < 30 || answers[http.StatusOK]+answers[http.StatusTooManyRequests] != 61 || r.op.Refreshes() > 60 {
				t.Errorf("answered %v, the provider was asked %d times", answers, r.op.Refreshes())
			}
			if _, p := other.handed("scope=email"); p.Status != http.StatusOK {
				t.Errorf("another session: %d %s", p.Status, p.Body)
			}
			token, p := b.handed("")
			if p.Status != http.StatusOK {
				t.Fatalf("the whole token: %d %s", p.Status, p.Body)
			}
			if p := b.bearing("GET", "/api/me", token); p.Status != http.StatusOK || r.count(audit.Theft) != 0 {
				t.Errorf("the session: %d, audit %v", p.Status, r.actions())
			}
		})
	}
}

// Many narrower tokens at once, and a renewal among them: the provider kills a family whose refresh token comes twice.
func TestToken_M2_R1_OneRefreshAtATime(t *testing.T) {
	for _, storage := range []string{"store", "sealed"} {
		t.Run(storage, func(t *testing.T) {
			r := newRig(t, func(c *cloakroom.Config) { inMemory(c); c.Cookie.Storage = storage })
			b := r.browser()
			b.visit("/auth/login?return_to=/open/")
			var all sync.WaitGroup
			for i := range 5 {
				all.Go(func() {
					if token, p := b.handed([]string{"scope=email", "scope=profile"}[i%2]); token == "" {
						t.Errorf("%d %s", p.Status, p.Body)
					}
				})
			}
			all.Wait()
			if token, p := b.handed("scope=openid"); claimsOf(t, token)["scope"] != "openid" {
				t.Errorf("%d %s\n%s", p.Status, p.Body, r.logs)
			}
		})
	}
}

// What opens an API and what does not. The cookie alone never does.
func TestMemory_P2_X1_CookieAndBearer(t *testing.T) {
	r := newRig(t, inMemory)
	b := r.browser()
	b.visit("/auth/login?return_to=/open/")
	token, _ := b.handed("")
	other := r.browser()
	r.op.Tell(fakeop.Person("user-2", nil))
	other.visit("/auth/login?return_to=/open/")
	theirs, _ := other.handed("")
	cookies := b.header()["Cookie"]
	for _, c := range []struct {
		name     string
		path     string
		cookie   []string
		bearer   []string
		site     string
		nav      bool
		status   int
		says     string // the header Cloakroom
		upstream string // Authorization there; "-": it is not reached
	}{
		{"both", "/api/", cookies, []string{"Bearer " + token}, "same-origin", false, 200, "", "Bearer " + token},
		{"in small letters", "/api/", cookies, []string{"bearer " + token}, "same-origin", false, 200, "", "Bearer " + token},
		{"the cookie alone", "/api/", cookies, nil, "same-origin", false, 401, "token-required", "-"},
		{"a navigation", "/api/", cookies, nil, "same-origin", true, 401, "", "-"},
		{"the bearer alone", "/api/", []string{"a=1"}, []string{"Bearer " + token}, "same-origin", false, 401, "login-required", "-"},
		{"another person's bearer", "/api/", cookies, []string{"Bearer " + theirs}, "same-origin", false, 401, "token-required", "-"},
		{"a part of it", "/api/", cookies, []string{"Bearer " + token[:len(token)-1]}, "same-origin", false, 401, "token-required", "-"},
		{"one byte", "/api/", cookies, []string{"Bearer x"}, "same-origin", false, 401, "token-required", "-"},
		{"64 kB", "/api/", cookies, []string{"Bearer " + strings.Repeat("x", 64<<10)}, "same-origin", false, 401, "token-required", "-"},
		{"nothing behind Bearer", "/api/", cookies, []string{"Bearer"}, "same-origin", false, 400, "", "-"},
		{"another scheme", "/api/", cookies, []string{"Basic " + token}, "same-origin", false, 401, "token-required", "-"},
		{"two of them", "/api/", cookies, []string{"Bearer " + token, "Bearer " + token}, "same-origin", false, 400, "", "-"},
		{"X_both, from another site", "/api/", cookies, []string{"Bearer " + token}, "cross-site", false, 403, "cross-site", "-"},
		{"optional, both", "/optional/", cookies, []string{"Bearer " + token}, "same-origin", false, 200, "", "Bearer " + token},
		{"optional, the cookie alone", "/optional/", cookies, nil, "same-origin", false, 200, "", ""},
		{"optional, nothing", "/optional/", []string{"a=1"}, nil, "same-origin", false, 200, "", ""},
		{"optional, a bearer that is no good", "/optional/", cookies, []string{"Bearer x"}, "same-origin", false, 401, "token-required", "-"},
		{"optional, the bearer alone", "/optional/", []string{"a=1"}, []string{"Bearer " + token}, "same-origin", false, 401, "login-required", "-"},
		{"off", "/open/", cookies, []string{"Bearer " + token}, "same-origin", false, 200, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := r.hits()
			h := http.Header{"Cookie": c.cookie}
			if c.bearer != nil {
				h["Authorization"] = c.bearer
			}
			p := b.do(request{method: "GET", path: c.path, site: c.site, nav: c.nav, header: h})
			if p.Status != c.status || p.Header.Get("Cloakroom") != c.says {
				t.Errorf("%d, Cloakroom %q: %.300s", p.Status, p.Header.Get("Cloakroom"), p.Body)
			}
			if c.upstream == "-" {
				if r.hits() != before {
					t.Error("it reached the API")
				}
			} else if got := r.last(); got.Header.Get("Authorization") != c.upstream || strings.Contains(got.Header.Get("Cookie"), "session") {
				t.Errorf("the API got %q, %q", got.Header.Get("Authorization"), got.Header.Get("Cookie"))
			}
			if c.says == "token-required" && p.Header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("WWW-Authenticate %q", p.Header.Get("WWW-Authenticate"))
			}
			if c.path != "/open/" && p.Status == 200 && !strings.Contains(strings.Join(p.Header["Vary"], ","), "Authorization") {
				t.Errorf("Vary %q", p.Header["Vary"])
			}
		})
	}
	for line := range strings.Lines(r.logs.String()) {
		if strings.Contains(line, token[:60]) || strings.Contains(line, "token_required") && !strings.Contains(line, "level=DEBUG") {
			t.Errorf("a token in the log, or a warning for a request that merely lacks one: %s", line)
		}
	}
}

// A renewal in one tab leaves the others their token for one round; the API gets the current one.
func TestMemory_PreviousTokenStillGood(t *testing.T) {
	for _, storage := range []string{"store", "sealed"} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *cloakroom.Config) { inMemory(c); c.Cookie.Storage = storage }, fakeop.AccessLifetime(1500*time.Millisecond))
			b := r.browser()
			b.visit("/auth/login?return_to=/open/")
			tokens := []string{""}
			for len(tokens) < 4 {
				await(t, "the next token", func() bool {
					token, _ := b.handed("")
					if token != tokens[len(tokens)-1] {
						tokens = append(tokens, token)
						return true
					}
					return false
				})
			}
			first, previous, current := tokens[1], tokens[2], tokens[3]
			r.op.Tell(fakeop.AccessLifetime(time.Hour))
			if p := b.bearing("GET", "/api/me", current); p.Status != http.StatusOK || r.last().Header.Get("Authorization") != "Bearer "+current {
				t.Errorf("current: %d", p.Status)
			}
			if p := b.bearing("GET", "/api/me", previous); p.Status != http.StatusOK || r.last().Header.Get("Authorization") != "Bearer "+current {
				t.Errorf("previous: %d, and the API got %q", p.Status, r.last().Header.Get("Authorization"))
			}
			if p := b.bearing("GET", "/api/me", first); p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "token-required" {
				t.Errorf("the one before: %d", p.Status)
			}
			// What the page does about that: ask, and come again.
			token, _ := b.handed("")
			if p := b.bearing("POST", "/api/me", token); p.Status != http.StatusOK {
				t.Errorf("come again: %d", p.Status)
			}
		})
	}
}

// Files are asked for by the browser itself, which has no bearer to bring.
func TestMemory_FilesOpenByTheCookie(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("<p>hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, func(c *cloakroom.Config) {
		inMemory(c)
		c.Routes = append(c.Routes, cloakroom.Route{Path: "/", Files: dir})
	})
	b := r.browser()
	if p := b.visit("/"); p.Status != http.StatusOK || !strings.Contains(p.Body, "hello") { // by the login and back
		t.Errorf("%d %.200s", p.Status, p.Body)
	}
	if p := r.browser().fetch("GET", "/"); p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" {
		t.Errorf("signed out: %d", p.Status)
	}
}

// A WebSocket cannot bring a bearer. The cookie opens it, and Origin, which no page can choose, keeps others out.
func TestMemory_X9_WebSocket(t *testing.T) {
	var hits atomic.Int32
	r := newRig(t, func(c *cloakroom.Config) {
		inMemory(c)
		withRoutes(cloakroom.Route{Path: "/ws/", Upstream: echoServer(t, &hits)})(c)
	})
	b := r.browser()
	b.visit("/auth/login?return_to=/open/")
	for _, from := range []string{"https://evil.example", "https://other.example.com", "null", ""} {
		if _, res, err := b.socket("/ws/", from); err == nil || res == nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("from %q: %v %v", from, res, err)
		}
	}
	// What only looks like a handshake is none.
	p := b.do(request{method: "POST", path: "/ws/", site: "same-origin", header: http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}})
	if p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "token-required" {
		t.Errorf("POST as a handshake: %d", p.Status)
	}
	if hits.Load() != 0 {
		t.Errorf("%d reached the API", hits.Load())
	}
	c, res, err := b.socket("/ws/", appURL) // the API looks for the bearer
	if err != nil {
		t.Fatalf("our own page: %v, %v", err, res)
	}
	c.CloseNow()
}

func TestMemory_Require(t *testing.T) {
	r := newRig(t, inMemory)
	b := r.browser()
	b.visit("/auth/login?return_to=/open/")
	token, _ := b.handed("")
	var got string
	server := httptest.NewServer(r.gateway.Require(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { got = req.Header.Get("Authorization") })))
	defer server.Close()
	r.server.URL = server.URL
	if p := b.fetch("GET", "/"); p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "token-required" {
		t.Errorf("the cookie alone: %d", p.Status)
	}
	if p := b.bearing("GET", "/", token); p.Status != http.StatusOK || got != "Bearer "+token {
		t.Errorf("both: %d, %q", p.Status, got)
	}
}

// A logout ends the way by which tokens come; the one that was handed out opens nothing here any more.
func TestMemory_Logout(t *testing.T) {
	r := newRig(t, inMemory)
	b := r.browser()
	b.visit("/auth/login?return_to=/open/")
	token, _ := b.handed("")
	thief := b.copy()
	logout(t, b, "")
	for _, one := range []*browser{b, thief} {
		if p := one.bearing("GET", "/api/me", token); p.Status != http.StatusUnauthorized {
			t.Errorf("after the logout: %d", p.Status)
		}
		if _, p := one.handed(""); p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" {
			t.Errorf("after the logout: %d %s", p.Status, p.Body)
		}
	}
}
