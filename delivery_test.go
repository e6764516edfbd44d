package cloakroom_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

type deliveryCase struct {
	name    string
	options cloakroom.TokenOptions
	token   string // of the cookie with the token, or all but its signature
	sig     string // of the cookie with the signature; "" where the token is whole
}

// tokenDeliveries are the deliveries that put the token into the browser, and the names of its cookies.
var tokenDeliveries = []deliveryCase{
	{"cookie", cloakroom.TokenOptions{Delivery: "cookie"}, "__Host-Http-access_token", ""},
	{"cookie of a domain", cloakroom.TokenOptions{Delivery: "cookie", Domain: "example.com"}, "__Secure-access_token", ""},
	{"split", cloakroom.TokenOptions{Delivery: "split"}, "__Host-access_token", "__Host-Http-access_token.sig"},
	{"split of a domain", cloakroom.TokenOptions{Delivery: "split", Domain: "example.com"}, "__Secure-access_token", "__Secure-access_token.sig"},
}

// ofEachKind are two of them, for tests that have to wait.
var ofEachKind = []deliveryCase{tokenDeliveries[0], tokenDeliveries[3]}

// tokenIn is the access token as an API puts it together from cookies; "" if there is none, or only a part.
func tokenIn(cookies []*http.Cookie, name, sig string) string {
	values := map[string]string{}
	for _, c := range cookies {
		if _, twice := values[c.Name]; twice {
			return "twice"
		}
		values[c.Name] = c.Value
	}
	switch token, signature := values[name], values[sig]; {
	case sig == "":
		return token
	case token != "" && signature != "":
		return token + "." + signature
	}
	return ""
}

func (b *browser) kept() (cookies []*http.Cookie) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.cookies {
		cookies = append(cookies, c)
	}
	return cookies
}

// sessionOnly are the cookies of the session alone, as a header.
func (b *browser) sessionOnly() (lines []string) {
	for _, c := range b.kept() {
		if strings.HasPrefix(c.Name, sessionCookie) {
			lines = append(lines, c.Name+"="+c.Value)
		}
	}
	return lines
}

// claimsOf reads an access token without verifying it.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("no JWT: %q", token)
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// awaitEnd waits until an access token is over.
func awaitEnd(t *testing.T, token string) {
	t.Helper()
	exp, _ := claimsOf(t, token)["exp"].(float64)
	end := time.Unix(int64(exp)+1, 0) // exp is in whole seconds, and the gateway counts by expires_in
	await(t, "the token is over", func() bool { return time.Now().After(end) })
}

// What a thief gets by a copy of the session's cookies alone, as docs/security.md says. It is over with the session.
func TestDelivery_WhatASessionCookieIsWorth(t *testing.T) {
	for _, delivery := range []string{"proxy", "cookie", "split", "memory"} {
		t.Run(delivery, func(t *testing.T) {
			r := newRig(t, func(c *cloakroom.Config) { c.Tokens.Delivery = delivery })
			b := r.browser()
			b.visit("/auth/login?return_to=/open/")
			token := "" // whatever is handed out is the session's own
			for _, tt := range []struct{ method, path string }{{"GET", "/auth/session"}, {"GET", "/api/me"}, {"POST", "/auth/refresh"}, {"POST", "/auth/token"}} {
				thief := r.browser()
				p := thief.do(request{method: tt.method, path: tt.path, site: "same-origin", header: http.Header{"Cookie": {strings.Join(b.sessionOnly(), "; ")}}})
				got := ""
				if strings.Contains(p.Body, `"access_token"`) {
					got, _ = p.json(t)["access_token"].(string)
				}
				for _, c := range thief.kept() {
					if strings.Contains(c.Name, "access_token") {
						got += "." + c.Value
					}
				}
				want := delivery == "memory" && tt.path == "/auth/token" || (delivery == "cookie" || delivery == "split") && tt.path != "/auth/token"
				if (got != "") != want {
					t.Errorf("%s %s: %d, a token: %v, want %v", tt.method, tt.path, p.Status, got != "", want)
				}
				token += got
			}
			if (token == "") != (delivery == "proxy") {
				t.Errorf("in all: %q", token)
			}
			old := strings.Join(b.sessionOnly(), "; ")
			logout(t, b, "")
			for _, path := range []string{"/auth/session", "/api/me"} {
				thief := r.browser()
				thief.do(request{method: "GET", path: path, site: "same-origin", header: http.Header{"Cookie": {old}}})
				if len(thief.kept()) != 0 {
					t.Errorf("after the logout %s sets %v", path, thief.kept())
				}
			}
		})
	}
}

// Login, the browser's cookies, what the API gets, renewal, and logout, in each of these deliveries.
func TestDelivery_C1_C2_C14_P2_FromLoginToLogout(t *testing.T) {
	for i, d := range slices.Repeat(tokenDeliveries, 2) {
		storage := map[bool]string{true: "store", false: "sealed"}[i < len(tokenDeliveries)]
		t.Run(d.name+" "+storage, func(t *testing.T) {
			r := newRig(t, func(c *cloakroom.Config) { c.Tokens, c.Cookie.Storage = d.options, storage })
			b := r.browser().signIn()
			token := tokenIn(b.kept(), d.token, d.sig)
			if claimsOf(t, token)["sub"] != fakeop.Subject {
				t.Fatalf("the browser has %v", b.kept())
			}
			for _, c := range b.kept() {
				if strings.HasPrefix(c.Name, sessionCookie) {
					continue
				}
				readable := c.Name == d.token && d.sig != ""
				if c.HttpOnly == readable || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != d.options.Domain {
					t.Errorf("cookie: %v", c)
				}
				if c.MaxAge < 1790 || c.MaxAge > 1800 { // a token of an hour in a session that idles out after half of one
					t.Errorf("Max-Age of %s: %d", c.Name, c.MaxAge)
				}
			}
			// The API behind the gateway reads the same cookies, and no bearer.
			got := r.last()
			if tokenIn(got.Cookies(), d.token, d.sig) != token || got.Header.Get("Authorization") != "" {
				t.Errorf("the API got Cookie %q, Authorization %q", got.Header.Get("Cookie"), got.Header.Get("Authorization"))
			}
			if strings.Contains(got.Header.Get("Cookie"), "session") {
				t.Errorf("the API got our cookies: %q", got.Header.Get("Cookie"))
			}
			// A browser that has it all is set nothing, and what it got may be cached by its own rules.
			if p := b.fetch("GET", "/api/me"); len(p.Header["Set-Cookie"]) != 0 {
				t.Errorf("once more: %q", p.Header["Set-Cookie"])
			}
			v := b.fetch("GET", "/auth/session").json(t)
			if v["delivery"] != d.options.Delivery {
				t.Errorf("session: %v", v)
			}
			// Who lost them gets them again by asking who is signed in, as the client does first.
			p := b.do(request{method: "GET", path: "/auth/session", site: "same-origin", header: http.Header{"Cookie": b.sessionOnly()}})
			if got := tokenIn((&http.Response{Header: p.Header}).Cookies(), d.token, d.sig); got != token {
				t.Errorf("asked for the session without them: %v", p.Header["Set-Cookie"])
			}
			// Routes that look at no session get no token, whatever the browser sends.
			b.fetch("GET", "/open/")
			if got := r.last().Header.Get("Cookie"); got != "" {
				t.Errorf("an open route got %q", got)
			}

			p, _ = logout(t, b, "")
			if left := b.kept(); len(left) != 0 {
				t.Errorf("after the logout the browser has %v", left)
			}
			for _, line := range p.Header["Set-Cookie"] {
				if !strings.Contains(line, "Max-Age=0") || !strings.Contains(line, "Secure") || !strings.Contains(line, "Path=/") {
					t.Errorf("cleared by %q", line)
				}
				if of := strings.Contains(line, "Domain=example.com"); of != (strings.HasPrefix(line, "__Secure-")) {
					t.Errorf("cleared by %q", line)
				}
			}
			if v := b.fetch("GET", "/auth/session").json(t); v["authenticated"] != false || v["delivery"] != d.options.Delivery {
				t.Errorf("session: %v", v)
			}
		})
	}
}

// Whatever the browser lost, or script changed, or an older tab left behind: the upstream gets the current token, and the browser
// gets it again.
func TestDelivery_C7_C8_WrongCookiesAreMended(t *testing.T) {
	d := tokenDeliveries[2]
	r := newRig(t, func(c *cloakroom.Config) { c.Tokens = d.options })
	b := r.browser().signIn()
	token, ticket := tokenIn(b.kept(), d.token, d.sig), strings.Join(b.sessionOnly(), "; ")
	whole := d.token + "=" + token[:strings.LastIndex(token, ".")]
	half := d.sig + "=" + token[strings.LastIndex(token, ".")+1:]
	older := d.token + "=eyJhbGciOiJFUzI1NiJ9.e30"
	for _, c := range []struct {
		name    string
		cookies string
		mended  bool
	}{
		{"none", "", true},
		{"all", whole + "; " + half, false},
		{"the signature is missing", whole, true},
		{"only the signature", half, true},
		{"halves of two tokens", older + "; " + half, true},
		{"the other half of two tokens", whole + "; " + d.sig + "=b2xk", true},
		{"two of one name", whole + "; " + older + "; " + half, true},
		{"the names of the other delivery", "__Host-Http-access_token=" + token, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := b.do(request{method: "GET", path: "/api/me", site: "same-origin", header: http.Header{"Cookie": {"a=1; " + ticket + "; " + c.cookies}}})
			if p.Status != http.StatusOK {
				t.Fatalf("%d %s", p.Status, p.Body)
			}
			got := r.last()
			if tokenIn(got.Cookies(), d.token, d.sig) != token || len(got.Header["Cookie"]) != 1 || len(got.Cookies()) != 3 {
				t.Errorf("the API got %q", got.Header["Cookie"])
			}
			set := (&http.Response{Header: p.Header}).Cookies()
			if c.mended != (tokenIn(set, d.token, d.sig) == token) || !c.mended && len(set) != 0 {
				t.Errorf("the answer sets %v", set)
			}
			if c.mended && p.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("Cache-Control is %q on an answer that sets a cookie", p.Header.Get("Cache-Control"))
			}
		})
	}
}

// When the token is over, however many tabs ask, the provider is asked once, and each tab ends up with the new token.
func TestDelivery_R1_ParallelExpiry(t *testing.T) {
	t.Parallel()
	for _, d := range ofEachKind {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *cloakroom.Config) { c.Tokens = d.options }, fakeop.AccessLifetime(short))
			b := r.browser().signIn()
			before := tokenIn(b.kept(), d.token, d.sig)
			r.op.Tell(fakeop.AccessLifetime(time.Hour))
			awaitEnd(t, before)
			var tabs sync.WaitGroup
			for range 20 {
				tabs.Go(func() { b.fetch("GET", "/api/me") })
			}
			tabs.Wait()
			after := tokenIn(b.kept(), d.token, d.sig)
			if after == before || after == "" {
				t.Errorf("the browser still has the old token: %v", after == before)
			}
			if n := r.op.Refreshes(); n != 1 {
				t.Errorf("the provider was asked %d times", n)
			}
			b.fetch("GET", "/api/me")
			if tokenIn(r.last().Cookies(), d.token, d.sig) != after {
				t.Error("the API gets another token than the browser has")
			}
		})
	}
}

// An API on a sibling host, or on a path that the gateway's endpoints are not on: POST refresh brings the cookies again, also when
// there is nothing to renew yet, and although it cannot see whether they are there.
func TestDelivery_RefreshForThoseThatDoNotPassThrough(t *testing.T) {
	for _, d := range tokenDeliveries {
		for _, path := range []string{"", "/api"} {
			t.Run(d.name+" "+path, func(t *testing.T) {
				options := d.options
				options.Path = path
				name, sig := d.token, d.sig
				if path != "" {
					name, sig = "__Secure-access_token", map[bool]string{true: "__Secure-access_token.sig"}[d.sig != ""]
				}
				r := newRig(t, func(c *cloakroom.Config) { c.Tokens = options })
				b := r.browser().signIn()
				token := tokenIn(b.kept(), name, sig)
				if claimsOf(t, token)["sub"] != fakeop.Subject {
					t.Fatalf("the browser has %v", b.kept())
				}
				p := b.fetch("POST", "/auth/refresh")
				set := (&http.Response{Header: p.Header}).Cookies()
				if p.Status != http.StatusNoContent || tokenIn(set, name, sig) != token {
					t.Errorf("%d, and the answer sets %v", p.Status, set)
				}
				if r.op.Refreshes() != 0 {
					t.Error("a token younger than 10 s was renewed")
				}
				for _, c := range set {
					if c.Path != "/"+strings.TrimPrefix(path, "/") {
						t.Errorf("cookie: %v", c)
					}
				}
			})
		}
	}
}

// Refused at login, and nothing of it is kept: no session, no cookie, and the provider gets its tokens back.
func TestDelivery_C4_RefusedAtLogin(t *testing.T) {
	grown := func(n int) fakeop.Lie {
		return fakeop.AccessToken(fakeop.Set("groups", strings.Repeat("g", n)))
	}
	for _, c := range []struct {
		name     string
		delivery string
		lie      fakeop.Lie
		title    string
		hint     string
	}{
		{"too large for one cookie", "cookie", grown(3000), "This sign-in does not fit", "tokens.delivery proxy or memory"},
		{"too large for the first half", "split", grown(3000), "This sign-in does not fit", "sealed"},
		{"64 kB", "cookie", grown(45 << 10), "This sign-in does not fit", "proxy or memory"},
		{"opaque, and to be split", "split", fakeop.Opaque(), "The sign-in service refused us", "audience or resource"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(cfg *cloakroom.Config) { cfg.Tokens.Delivery = c.delivery }, c.lie)
			b := r.browser()
			p := b.visit("/auth/login?return_to=/page/")
			if p.Status != http.StatusBadGateway || !strings.Contains(p.Body, c.title) {
				t.Fatalf("%d %.300s", p.Status, p.Body)
			}
			if left := b.kept(); len(left) != 0 {
				t.Errorf("the browser has %v", left)
			}
			if log := r.logs.String(); !strings.Contains(log, "hint=") || !strings.Contains(log, c.hint) || strings.Contains(log, "ggggg") {
				t.Errorf("the log: %.2000s", log)
			}
			if r.count(audit.Login) != 0 || r.count(audit.LoginFailed) != 1 {
				t.Errorf("audit: %v", r.actions())
			}
			await(t, "the tokens are revoked", func() bool { return len(r.op.Revoked()) > 0 })
		})
	}
	// What does not fit into cookies fits elsewhere.
	r := newRig(t, nil, grown(3000))
	r.browser().signIn()
}

// Tokens of one byte: what can carry them does.
func TestDelivery_OneByte(t *testing.T) {
	for delivery, works := range map[string]bool{"proxy": true, "cookie": true, "split": false, "memory": true} {
		t.Run(delivery, func(t *testing.T) {
			r := newRig(t, func(c *cloakroom.Config) {
				main := c.Providers["main"]
				main.UserinfoOff = true // it knows only the tokens that it made
				c.Providers["main"] = main
				c.Tokens.Delivery = delivery
			}, fakeop.Tokens(fakeop.Set("access_token", "x")), fakeop.IDToken(fakeop.Drop("at_hash")))
			b := r.browser()
			p := b.visit("/auth/login?return_to=/open/")
			if !works {
				if p.Status != http.StatusBadGateway || len(b.kept()) != 0 {
					t.Errorf("%d, the browser has %v", p.Status, b.kept())
				}
				return
			}
			token := ""
			if delivery == "memory" {
				token, _ = b.handed("")
			}
			if p := b.bearing("GET", "/api/me", token); p.Status != http.StatusOK {
				t.Fatalf("%d %s", p.Status, p.Body)
			}
			got := r.last()
			if delivery == "cookie" {
				token = tokenIn(got.Cookies(), "__Host-Http-access_token", "")
			} else {
				token = strings.TrimPrefix(got.Header.Get("Authorization"), "Bearer ")
			}
			if token != "x" {
				t.Errorf("the API got %v", got.Header)
			}
		})
	}
}

// A token that grows at a renewal is withdrawn from the browser and still reaches the API through the gateway; when it shrinks
// again, the browser gets it again.
func TestDelivery_C4_C7_GrowsAndShrinks(t *testing.T) {
	t.Parallel()
	for _, d := range ofEachKind {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *cloakroom.Config) { c.Tokens = d.options }, fakeop.AccessLifetime(2*time.Second))
			b := r.browser().signIn()
			r.op.Tell(fakeop.AccessToken(fakeop.Set("groups", strings.Repeat("g", 4000))))
			await(t, "the larger token reaches the API", func() bool {
				b.fetch("GET", "/api/me")
				return len(r.last().Header.Get("Cookie")) > 4000
			})
			await(t, "the browser has none", func() bool {
				b.fetch("GET", "/api/me")
				return len(b.kept()) == len(b.sessionOnly())
			})
			if log := r.logs.String(); !strings.Contains(log, "no longer delivered") || strings.Contains(log, "gggg") {
				t.Errorf("the log: %.2000s", log)
			}
			r.op.Tell(fakeop.AccessToken(fakeop.Drop("groups")))
			await(t, "the browser has one again", func() bool {
				b.fetch("GET", "/api/me")
				token := tokenIn(b.kept(), d.token, d.sig)
				return token != "" && claimsOf(t, token)["sub"] == fakeop.Subject
			})
		})
	}
}

// What ends a session takes the token away with it: a dead grant, a stolen ticket.
func TestDelivery_R4_WithdrawnWithTheSession(t *testing.T) {
	t.Parallel()
	for _, d := range ofEachKind {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(c *cloakroom.Config) { c.Tokens = d.options }, fakeop.AccessLifetime(2*time.Second))
			b := r.browser().signIn()
			token := tokenIn(b.kept(), d.token, d.sig)
			r.op.EndGrants()
			awaitEnd(t, token)
			if p := b.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
				t.Fatalf("%d", p.Status)
			}
			if left := b.kept(); len(left) != 0 {
				t.Errorf("the browser has %v", left)
			}
		})
	}
}

// An answer that was under way when the person signed out must not bring the token back.
func TestDelivery_SlowAnswerAfterLogout(t *testing.T) {
	for i, d := range slices.Repeat(ofEachKind, 2) {
		storage := map[bool]string{true: "store", false: "sealed"}[i < len(ofEachKind)]
		t.Run(d.name+" "+storage, func(t *testing.T) {
			under, release := make(chan struct{}), make(chan struct{})
			r := newRig(t, func(c *cloakroom.Config) { c.Tokens, c.Cookie.Storage = d.options, storage })
			b := r.browser().signIn()
			r.answerWith(func(http.ResponseWriter, *http.Request) { close(under); <-release })
			slow := make(chan *page)
			lost := http.Header{"Cookie": b.sessionOnly()} // it lacks the token: the answer would bring it
			go func() {
				slow <- r.browser().do(request{method: "GET", path: "/api/me", site: "same-origin", header: lost})
			}()
			<-under
			logout(t, b, "")
			close(release)
			if p := <-slow; p.Status != http.StatusOK || len(p.Header["Set-Cookie"]) != 0 {
				t.Errorf("%d, and the answer sets %q", p.Status, p.Header["Set-Cookie"])
			}
		})
	}
}

// A new login in the same browser leaves nothing of the person before.
func TestDelivery_AnotherPerson(t *testing.T) {
	d := tokenDeliveries[2]
	r := newRig(t, func(c *cloakroom.Config) { c.Tokens = d.options })
	b := r.browser().signIn()
	r.op.Tell(fakeop.Person("user-2", map[string]any{"name": "Bo"}))
	b.signIn()
	if sub := claimsOf(t, tokenIn(b.kept(), d.token, d.sig))["sub"]; sub != "user-2" {
		t.Errorf("the browser has the token of %v", sub)
	}
	if sub := claimsOf(t, tokenIn(r.last().Cookies(), d.token, d.sig))["sub"]; sub != "user-2" {
		t.Errorf("the API got the token of %v", sub)
	}
}

// Next, in a server that embeds the gateway, finds the token where an upstream would.
func TestRequire_P2_TheTokenGoesIn(t *testing.T) {
	for _, c := range []struct{ delivery, header string }{{"proxy", "Authorization"}, {"cookie", "Cookie"}} {
		t.Run(c.delivery, func(t *testing.T) {
			r := newRig(t, func(cfg *cloakroom.Config) { cfg.Tokens.Delivery = c.delivery })
			b := r.browser().signIn()
			var got http.Header
			next := r.gateway.Require(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { got = req.Header }))
			server := httptest.NewServer(next)
			defer server.Close()
			r.server.URL = server.URL
			b.do(request{method: "GET", path: "/", site: "same-origin", header: http.Header{"Authorization": {"Bearer planted"}}})
			other := map[string]string{"Cookie": "Authorization", "Authorization": "Cookie"}[c.header]
			if !strings.Contains(got.Get(c.header), "eyJ") || got.Get(other) != "" {
				t.Errorf("next got %v", got)
			}
		})
	}
}

// The command and the log say what an operator should know (C14, M5).
func TestDelivery_C14_M5_SaidToTheOperator(t *testing.T) {
	findings := func(o cloakroom.TokenOptions) string {
		r := newRig(t, func(c *cloakroom.Config) { c.Tokens = o })
		text := ""
		for _, f := range r.gateway.Check(context.Background()) {
			if f.Subject == "token cookies" {
				if !f.OK {
					t.Error("a choice is called a failure")
				}
				text += f.Text + " " + f.Hint
			}
		}
		return text
	}
	if text := findings(cloakroom.TokenOptions{}); text != "" {
		t.Errorf("without token cookies: %q", text)
	}
	if text := findings(cloakroom.TokenOptions{Delivery: "cookie"}); strings.Contains(text, "sibling risk") || !strings.Contains(text, "only app.example.com") {
		t.Errorf("without a domain: %q", text)
	}
	if text := findings(cloakroom.TokenOptions{Delivery: "split", Domain: "example.com"}); !strings.Contains(text, "sibling risk") || !strings.Contains(text, "below example.com") {
		t.Errorf("with a domain: %q", text)
	}
	for _, c := range []struct {
		delivery string
		life     time.Duration
		want     bool
	}{{"proxy", time.Hour, false}, {"cookie", time.Hour, true}, {"split", 10 * time.Minute, false}} {
		r := newRig(t, func(cfg *cloakroom.Config) { cfg.Tokens.Delivery = c.delivery }, fakeop.AccessLifetime(c.life))
		r.browser().signIn()
		r.browser().signIn()
		if n := strings.Count(r.logs.String(), "access token lives long"); n != map[bool]int{true: 1}[c.want] {
			t.Errorf("%s, a token of %s: said %d times", c.delivery, c.life, n)
		}
	}
}
