package cloakroom_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

const frontURL = "https://front.example.com"

func byCSRF(mode string) func(*cloakroom.Config) {
	return func(c *cloakroom.Config) { c.Guard.CSRF = mode }
}

// write posts JSON as the page's script does, with a token unless it is "".
func (b *browser) write(path, token string) *page {
	b.t.Helper()
	h := http.Header{"Content-Type": {"application/json"}}
	if token != "" {
		h.Set("X-CSRF-Token", token)
	}
	return b.do(request{method: "POST", path: path, site: "same-origin", header: h, body: `{"a":1}`})
}

func (b *browser) csrfToken() string {
	b.t.Helper()
	token, _ := b.fetch("GET", "/auth/session").json(b.t)["csrf_token"].(string)
	return token
}

func TestCSRF_X8_TokenOfTheSession(t *testing.T) {
	r := newRig(t, byCSRF("token"), fakeop.AccessLifetime(time.Second))
	b, other := r.browser().signIn(), r.browser().signIn()
	token, hits := b.csrfToken(), r.hits()
	if len(token) < 40 || other.csrfToken() == token {
		t.Fatalf("token %q", token)
	}
	for name, wrong := range map[string]string{"none": "", "another session's": other.csrfToken(), "cut short": token[:20]} {
		p := b.write("/api/notes", wrong)
		if p.Status != http.StatusForbidden || p.json(t)["type"] != "urn:cloakroom:cross_site" {
			t.Errorf("%s: %d %s", name, p.Status, p.Body)
		}
	}
	if r.hits() != hits || r.op.Refreshes() != 0 || r.count(audit.Refused) != 3 {
		t.Errorf("X10: %d requests reached the API, %d the provider, %d were noted", r.hits()-hits, r.op.Refreshes(), r.count(audit.Refused))
	}
	time.Sleep(1100 * time.Millisecond) // real sockets: the access token expires in real time
	if p := b.write("/api/notes", token); p.Status != http.StatusOK || r.op.Refreshes() == 0 {
		t.Errorf("after a renewal: %d", p.Status)
	}
	if b.csrfToken() != token {
		t.Error("the token went stale within a session")
	}
	if p := b.fetch("GET", "/api/notes"); p.Status != http.StatusOK {
		t.Errorf("a read without it: %d", p.Status)
	}
	if strings.Contains(r.logs.String(), token) {
		t.Error("the log has it")
	}
	if p := b.fetch("POST", "/auth/logout"); p.Status != http.StatusForbidden {
		t.Errorf("a logout without it: %d", p.Status)
	}
	before := token
	if p := b.write("/auth/logout", token); p.Status != http.StatusOK {
		t.Errorf("a logout with it: %d %s", p.Status, p.Body)
	}
	b.signIn()
	if p := b.write("/api/notes", before); p.Status != http.StatusForbidden {
		t.Errorf("the token of an earlier login: %d", p.Status)
	}
	if p := r.browser().write("/optional/notes", ""); p.Status != http.StatusOK {
		t.Errorf("nobody is signed in, so there is nothing to misuse: %d", p.Status)
	}
}

func TestCSRF_X7_PlainForms(t *testing.T) {
	r := newRig(t, byCSRF("token"))
	b := r.browser().signIn()
	form := func(body string) *page {
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		return b.do(request{method: "POST", path: "/page/email", site: "same-origin", nav: true, header: h, body: body})
	}
	body := url.Values{"_csrf": {b.csrfToken()}, "email": {"a@b.example"}}.Encode()
	if p := form(body); p.Status != http.StatusOK || p.json(t)["body"] != body {
		t.Errorf("the API got %d %s", p.Status, p.Body)
	}
	if p := form("email=a%40b.example"); p.Status != http.StatusForbidden || !strings.Contains(p.Header.Get("Content-Type"), "text/html") {
		t.Errorf("a form without it: %d %s", p.Status, p.Header)
	}
}

func TestCSRF_X2_Header(t *testing.T) {
	r := newRig(t, byCSRF("header"))
	b := r.browser().signIn()
	for _, token := range []string{"", "1"} {
		want := map[string]int{"": http.StatusForbidden, "1": http.StatusOK}[token]
		h := http.Header{}
		if token != "" {
			h.Set("X-CSRF-Token", token)
		}
		for _, q := range []request{{method: "GET", path: "/api/me"}, {method: "DELETE", path: "/api/me"}, {method: "GET", path: "/auth/session"}, {method: "POST", path: "/auth/refresh"}} {
			q.site, q.header = "same-origin", h.Clone()
			p := b.do(q)
			if got := p.Status; got != want && !(want == http.StatusOK && got == http.StatusNoContent) {
				t.Errorf("%q %s %s: %d", token, q.method, q.path, got)
			}
		}
	}
}

// The companion is what an API on another host checks with. It comes with the token, of the same domain and path, and goes with it.
func TestCSRF_CompanionCookie(t *testing.T) {
	for _, delivery := range []string{"cookie", "split"} {
		r := newRig(t, func(c *cloakroom.Config) {
			byCSRF("token")(c)
			c.Tokens = cloakroom.TokenOptions{Delivery: delivery, Domain: "example.com", Path: "/api"}
		})
		b := r.browser().signIn()
		c := b.cookies["__Secure-csrf"]
		if c == nil || !c.HttpOnly || !c.Secure || c.Domain != "example.com" || c.Path != "/api" || c.SameSite != http.SameSiteStrictMode || len(strings.Split(c.Value, ".")) != 3 {
			t.Fatalf("%s: %v", delivery, c)
		}
		if token := b.csrfToken(); strings.Contains(c.Value, token[2:]) {
			t.Errorf("%s: the cookie has the token itself", delivery)
		}
		b.write("/auth/logout", b.csrfToken())
		if b.cookies["__Secure-csrf"] != nil {
			t.Errorf("%s: it stays after the logout", delivery)
		}
	}
}

func TestCORS_K1_K3_K4(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Guard.Origins = []string{frontURL} })
	r.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Methods", "*")
		w.WriteHeader(http.StatusEarlyHints)
	})
	b := r.browser().signIn()
	ask := func(method, path, from string, more http.Header) *page {
		h := http.Header{"Origin": {from}}
		for name, values := range more {
			h[name] = values
		}
		return b.do(request{method: method, path: path, site: "same-site", header: h})
	}
	hits := r.hits()
	for _, path := range []string{"/api/me", "/open/x", "/auth/session", "/auth/refresh"} {
		for from, want := range map[string]string{frontURL: frontURL, "https://evil.example": "", "null": "", appURL + ".evil.example": ""} {
			method := map[bool]string{true: "POST", false: "GET"}[path != "/auth/session"]
			p := ask("OPTIONS", path, from, http.Header{"Access-Control-Request-Method": {method}, "Access-Control-Request-Headers": {"x-csrf-token"}})
			if p.Status != http.StatusNoContent || p.Header.Get("Access-Control-Allow-Origin") != want || (p.Header.Get("Access-Control-Allow-Methods") == method) != (want != "") {
				t.Errorf("K3: preflight for %s from %s: %d %v", path, from, p.Status, p.Header)
			}
		}
	}
	if r.hits() != hits {
		t.Error("K3: a preflight reached the API")
	}
	for _, path := range []string{"/api/me", "/auth/session"} {
		p := ask("GET", path, frontURL, nil)
		if p.Status != http.StatusOK || p.Header.Get("Access-Control-Allow-Origin") != frontURL || p.Header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("K1 K4: %s from a listed origin: %d %v", path, p.Status, p.Header)
		}
		if vary := strings.Join(p.Header["Vary"], ", "); !strings.Contains(vary, "Origin") {
			t.Errorf("K2: %s: Vary %s", path, vary)
		}
		if p := ask("GET", path, "https://evil.example", nil); p.Status != http.StatusForbidden || p.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("K1: %s from another origin: %d %v", path, p.Status, p.Header)
		}
	}
	if p := r.browser().do(request{method: "GET", path: "/api/me", site: "same-site", header: http.Header{"Origin": {frontURL}}}); p.Status != http.StatusUnauthorized ||
		p.Header.Get("Access-Control-Allow-Origin") != frontURL || !strings.Contains(p.Header.Get("Access-Control-Expose-Headers"), "Cloakroom") {
		t.Errorf("a listed front end cannot read that it should sign in: %d %v", p.Status, p.Header)
	}
	plain := newRig(t, nil)
	if p := plain.browser().do(request{method: "GET", path: "/api/me", site: "same-origin", header: http.Header{"Origin": {frontURL}}}); slices.ContainsFunc(
		[]string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"}, func(name string) bool { return p.Header[name] != nil }) {
		t.Errorf("K1: without a list: %v", p.Header)
	}
}
