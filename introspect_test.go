package cloakroom_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/store/memory"
	"github.com/cloakroom-go/cloakroom/verify"
)

const (
	billing       = "billing: the API"
	billingSecret = "what billing proves itself with: 100% secret"
)

// bySwitch gives a rig accounts with tokens of a format.
func bySwitch(t *testing.T, format string) func(*cloakroom.Config) {
	return withAccounts(t, func(c *cloakroom.Config) {
		c.Accounts.Tokens.Format = format
		c.Accounts.Tokens.Claims = []string{"email"}
		c.Accounts.APIs = map[string]string{billing: billingSecret}
	})
}

// currentToken is what the API got last.
func (r *rig) currentToken() string {
	return strings.TrimPrefix(r.last().Header.Get("Authorization"), "Bearer ")
}

// The same API, with the same options of package verify, takes tokens of both formats: what differs is one line of the gateway's
// configuration.
func TestAccounts_U11_A5_NoAPINoticesTheFormat(t *testing.T) {
	for _, format := range []string{"jwt", "opaque"} {
		t.Run(format, func(t *testing.T) {
			r := newRig(t, bySwitch(t, format))
			b := r.browser().join()
			user := b.fetch("GET", "/auth/session").json(t)["user"].(map[string]any)
			v, err := verify.New(verify.Options{
				Issuers: []verify.Issuer{{
					URL: appURL + "/auth", Introspection: verify.Introspection{ClientID: billing, ClientSecret: billingSecret, JWTs: true},
				}},
				Audience: appURL, Client: r.through(),
			})
			if err != nil {
				t.Fatal(err)
			}
			var found *verify.Token
			api := v.Require(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) { found, _ = verify.FromContext(q.Context()) }))
			call := func(token string) int {
				found = nil
				w, q := httptest.NewRecorder(), httptest.NewRequest("GET", "/notes", nil)
				q.Header.Set("Authorization", "Bearer "+token)
				api.ServeHTTP(w, q)
				return w.Code
			}
			token := r.currentToken()
			if isJWT := strings.Count(token, ".") == 2; isJWT != (format == "jwt") {
				t.Fatalf("the token is %q", token)
			}
			if status := call(token); status != http.StatusOK || found.Issuer != appURL+"/auth" || found.Subject != user["sub"] || found.ClientID == "" || found.Expires.IsZero() || found.Claims["email"] != adasAddress {
				t.Errorf("%d %+v", status, found)
			}
			if status := call(token + "x"); status != http.StatusUnauthorized {
				t.Errorf("altered: %d", status)
			}
		})
	}
}

// ask calls an endpoint for APIs. user "" sends no Authorization.
func (r *rig) ask(t *testing.T, path, user, secret string, form url.Values, change func(*http.Request)) (int, http.Header, string) {
	t.Helper()
	q, err := http.NewRequest("POST", appURL+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if user != "" {
		q.SetBasicAuth(url.QueryEscape(user), url.QueryEscape(secret))
	}
	if change != nil {
		change(q)
	}
	res, err := r.through().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, strings.TrimSpace(string(body))
}

func TestIntrospection_U11_WhoMayAsk(t *testing.T) {
	r := newRig(t, bySwitch(t, "opaque"))
	r.browser().join()
	token := url.Values{"token": {r.currentToken()}}
	with := func(more ...string) url.Values {
		form := url.Values{"token": token["token"]}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	for _, v := range []struct {
		name, user, secret string
		form               url.Values
		change             func(*http.Request)
		status             int
		says               string
	}{
		{"by Authorization", billing, billingSecret, token, nil, 200, `"active":true`},
		{"by the form", "", "", with("client_id", billing, "client_secret", billingSecret), nil, 200, `"active":true`},
		{"with a hint that is wrong", billing, billingSecret, with("token_type_hint", "refresh_token"), nil, 200, `"active":true`},
		{"about nothing of ours", billing, billingSecret, url.Values{"token": {"8xLOxBtZp8"}}, nil, 200, `{"active":false}`},
		{"another secret", billing, "another", token, nil, 401, `{"error":"invalid_client"}`},
		{"another API", "orders", billingSecret, token, nil, 401, `{"error":"invalid_client"}`},
		{"nobody", "", "", token, nil, 401, `{"error":"invalid_client"}`},
		{"no secret", "", "", with("client_id", billing), nil, 401, `{"error":"invalid_client"}`},
		{"with the token it asks about", "", "", token, func(q *http.Request) { q.Header.Set("Authorization", "Bearer "+token.Get("token")) }, 401, `{"error":"invalid_client"}`},
		{"two secrets", billing, billingSecret, with("client_secret", billingSecret), nil, 400, `{"error":"invalid_request"}`},
		{"two Authorizations", billing, billingSecret, token, func(q *http.Request) { q.Header.Add("Authorization", "Basic eDp5") }, 400, `{"error":"invalid_request"}`},
		{"no token", billing, billingSecret, nil, nil, 400, `{"error":"invalid_request"}`},
		{"two tokens", billing, billingSecret, url.Values{"token": {"a", "b"}}, nil, 400, `{"error":"invalid_request"}`},
		{"in the query", billing, billingSecret, token, func(q *http.Request) { q.URL.RawQuery = "token=x" }, 400, `{"error":"invalid_request"}`},
		{"JSON", billing, billingSecret, token, func(q *http.Request) { q.Header.Set("Content-Type", "application/json") }, 400, `{"error":"invalid_request"}`},
		{"huge", billing, billingSecret, with("more", strings.Repeat("x", 100_000)), nil, 400, `{"error":"invalid_request"}`},
		{"a page", billing, billingSecret, token, func(q *http.Request) { q.Header.Set("Origin", appURL) }, 403, "cross_site"},
		{"a browser", billing, billingSecret, token, func(q *http.Request) { q.Header.Set("Sec-Fetch-Site", "same-origin") }, 403, "cross_site"},
		{"by GET", billing, billingSecret, nil, func(q *http.Request) { q.Method = "GET" }, 405, "bad_method"},
	} {
		for _, path := range []string{"/auth/introspect", "/auth/revoke"} {
			if path == "/auth/revoke" && v.status == http.StatusOK {
				continue
			}
			status, h, body := r.ask(t, path, v.user, v.secret, v.form, v.change)
			if status != v.status || !strings.Contains(body, v.says) {
				t.Errorf("%s, %s: %d %s, want %d %s", path, v.name, status, body, v.status, v.says)
			}
			if h.Get("Set-Cookie") != "" || h.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(h.Get("Cache-Control"), "no-store") || strings.HasPrefix(h.Get("WWW-Authenticate"), "Basic ") != (status == 401) {
				t.Errorf("%s, %s: %v", path, v.name, h)
			}
		}
	}
	if logs := r.logs.String(); strings.Contains(logs, billingSecret) || strings.Contains(logs, token.Get("token")) {
		t.Error("a secret or token is in the log")
	}
}

// A token is over at once for those who ask: revoked by an API, or with its session.
func TestRevocation_U11_EndsATokenAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, bySwitch(t, "opaque"))
	active := func(token string) bool {
		t.Helper()
		status, _, body := r.ask(t, "/auth/introspect", billing, billingSecret, url.Values{"token": {token}}, nil)
		if status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		return strings.Contains(body, `"active":true`)
	}
	b := r.browser().join()
	token := r.currentToken()
	if !active(token) {
		t.Fatal("it is not active at first")
	}
	for _, known := range []string{token, token, "8xLOxBtZp8"} {
		if status, _, body := r.ask(t, "/auth/revoke", billing, billingSecret, url.Values{"token": {known}}, nil); status != http.StatusOK || body != "" {
			t.Errorf("%d %q", status, body)
		}
	}
	if active(token) {
		t.Error("active, and was revoked")
	}
	b.fetch("POST", "/auth/logout")
	b = r.browser()
	b.fill(b.visit("/auth/login?return_to=/page/"), adas(adasPassword))
	if token = r.currentToken(); !active(token) {
		t.Fatal("the next one is not active")
	}
	b.fetch("POST", "/auth/logout")
	r.gateway.Close(context.Background()) // waits for what a logout began
	if active(token) {
		t.Error("active, and its session has ended")
	}
}

// Whoever ends a session from another device ends its tokens, without ever having had one of them: opaque ones, and JWTs that say which
// session they are of.
func TestRevocation_U11_T6_EndedFromElsewhere(t *testing.T) {
	for _, format := range []string{"jwt", "opaque"} {
		t.Run(format, func(t *testing.T) {
			r := newRig(t, bySwitchThen(t, format, forEach(appURL, func(c *cloakroom.Config) {
				inStore(c)
				c.Accounts.Tokens.Session = format == "jwt"
			})))
			b, other := r.browser().join(), r.browser()
			other.sendJSON("/auth/login", adas(adasPassword))
			mine, theirs, a := b.got("/api/x"), other.got("/api/x"), other.got("/a/x")
			r.introspects(t, theirs, appURL)
			r.introspects(t, a, apiA)
			if p := b.fetch("DELETE", "/auth/sessions/"+b.idOf(false)); p.Status != http.StatusNoContent {
				t.Fatalf("%d %s", p.Status, p.Body)
			}
			r.introspects(t, theirs, "")
			r.introspects(t, a, "")
			r.introspects(t, mine, appURL)
			if n := r.count(audit.Revoked); n != 1 {
				t.Errorf("%d in the audit record: %v", n, r.actions())
			}
		})
	}
}

// Another password ends the tokens that were made under the one before, of either format, for those who ask and for a route that takes
// them by themselves.
func TestAccess_U11_AnotherPasswordEndsTokens(t *testing.T) {
	for _, format := range []string{"jwt", "opaque"} {
		t.Run(format, func(t *testing.T) {
			r := newRig(t, bySwitchThen(t, format, taking(nil)))
			b, other := r.browser().join(), r.browser()
			other.sendJSON("/auth/login", adas(adasPassword))
			own, a := other.got("/api/x"), other.got("/a/x")
			r.introspects(t, own, appURL)
			r.introspects(t, a, apiA)
			if p := b.sendJSON("/auth/password", map[string]string{"current_password": adasPassword, "new_password": "quite another phrase"}); p.Status != http.StatusOK {
				t.Fatalf("%d %s", p.Status, p.Body)
			}
			r.introspects(t, own, "")
			r.introspects(t, a, "")
			before := r.hits()
			if p := r.plain("GET", "/a/x", bearer(a)); p.Status != http.StatusUnauthorized || p.Header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` || r.hits() != before {
				t.Errorf("by itself: %d %v", p.Status, p.Header)
			}
			next := b.got("/a/x")
			r.introspects(t, next, apiA)
			if p := r.plain("GET", "/a/x", bearer(next)); p.Status != http.StatusOK {
				t.Errorf("the next one: %d %s", p.Status, p.Body)
			}
		})
	}
}

// The same, where somebody else's user table says that the credentials are others.
func TestAccess_U11_AnotherVersionEndsTokens(t *testing.T) {
	for _, format := range []string{"jwt", "opaque"} {
		t.Run(format, func(t *testing.T) {
			p := &table{user: adasRow()}
			r := newRig(t, bySwitchThen(t, format, func(c *cloakroom.Config) { c.Accounts.Users, c.Accounts.Login = p, "username" }))
			b := r.browser()
			b.sendJSON("/auth/login", map[string]any{"identifier": "ada", "password": adasPassword})
			token := b.got("/api/x")
			r.introspects(t, token, appURL)
			p.change(func(p *table) { p.user.Version = "2" })
			r.introspects(t, token, "")
		})
	}
}

// A route that takes bearers from native apps takes opaque ones of our accounts, too.
func TestBearer_P8_OpaqueTokensOfAccounts(t *testing.T) {
	const audience = "https://api.example.com"
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) {
		c.Accounts.Tokens.Format, c.Accounts.Tokens.Audience = "opaque", []string{audience, appURL}
		c.Routes = append(c.Routes,
			cloakroom.Route{Path: "/native/", Upstream: c.Routes[0].Upstream, Bearer: cloakroom.BearerAccept, Audience: audience},
			cloakroom.Route{Path: "/other/", Upstream: c.Routes[0].Upstream, Bearer: cloakroom.BearerAccept, Audience: "https://other.example.com"})
	}))
	b := r.browser().join()
	h := http.Header{"Authorization": {"Bearer " + r.currentToken()}}
	for path, want := range map[string]int{"/native/x": http.StatusOK, "/other/x": http.StatusUnauthorized} {
		if p := r.browser().do(request{method: "GET", path: path, header: h}); p.Status != want {
			t.Errorf("%s: %d %s", path, p.Status, p.Body)
		}
	}
	b.fetch("POST", "/auth/logout?everywhere=1")
	r.gateway.Close(context.Background())
	if p := r.browser().do(request{method: "GET", path: "/native/x", header: h}); p.Status != http.StatusUnauthorized {
		t.Errorf("signed out: %d", p.Status)
	}
}

// The discovery document names the endpoints that are there, and go-oidc reads it.
func TestIntrospection_IsPublishedWhereItIs(t *testing.T) {
	for format, asked := range map[string]bool{"jwt": false, "opaque": true} {
		r := newRig(t, withAccounts(t, func(c *cloakroom.Config) {
			c.Accounts.Tokens.Format = format
			if asked {
				c.Accounts.APIs = map[string]string{billing: billingSecret}
			}
		}))
		p, err := oidc.NewProvider(oidc.ClientContext(context.Background(), r.through()), appURL+"/auth")
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			Introspection string   `json:"introspection_endpoint"`
			Revocation    string   `json:"revocation_endpoint"`
			Methods       []string `json:"introspection_endpoint_auth_methods_supported"`
		}
		if err := p.Claims(&m); err != nil {
			t.Fatal(err)
		}
		if asked != (m.Introspection == appURL+"/auth/introspect") || asked != (m.Revocation == appURL+"/auth/revoke") || asked != (len(m.Methods) == 2) {
			t.Errorf("%s: %+v", format, m)
		}
		if status, _, body := r.ask(t, "/auth/introspect", billing, billingSecret, url.Values{"token": {"x"}}, nil); (status == http.StatusOK) != asked {
			t.Errorf("%s: %d %s", format, status, body)
		}
	}
}

// What cannot work is refused before anybody signs in.
func TestNew_RefusesOpaqueTokensToSplit(t *testing.T) {
	c := cloakroom.Config{URL: appURL, Keys: []string{cloakroom.NewKey()}, Store: memory.New(), Accounts: people(t)}
	c.Accounts.Tokens.Format, c.Tokens.Delivery = "opaque", "split"
	if _, err := cloakroom.New(context.Background(), c); err == nil || !strings.Contains(err.Error(), "opaque tokens have no claims") {
		t.Error(err)
	}
}
