package cloakroom_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
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
	t.Parallel()
	r := newRig(t, byCSRF("token"), fakeop.AccessLifetime(short))
	b, other := r.browser().signIn(), r.browser().signIn()
	token, hits := b.csrfToken(), r.hits()
	if len(token) < 40 || other.csrfToken() == token {
		t.Fatalf("token %q", token)
	}
	wrong := map[string]string{
		"none": "", "another session's": other.csrfToken(), "cut short": token[:20], "by one": token[:len(token)-1], "any": "1", "its form": "1." + strings.Repeat("A", 43),
		"twice": token + ", " + token,
	}
	refuse := func(when string) {
		for name, wrong := range wrong {
			p := b.write("/api/notes", wrong)
			if p.Status != http.StatusForbidden || p.json(t)["type"] != "urn:cloakroom:cross_site" {
				t.Errorf("%s, %s: %d %s", name, when, p.Status, p.Body)
			}
		}
	}
	refuse("at once")
	r.outlive()
	refuse("when the access token is over")
	if r.hits() != hits || r.op.Refreshes() != 0 || r.count(audit.Refused) != 2*len(wrong) {
		t.Errorf("X10: %d requests reached the API, %d the provider, %d were noted", r.hits()-hits, r.op.Refreshes(), r.count(audit.Refused))
	}
	if !strings.Contains(r.logs.String(), "the CSRF token is not that of this session") || !strings.Contains(r.logs.String(), "a page takes it from GET session") {
		t.Errorf("the operator is not told: %s", r.logs)
	}
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
	if p := b.write("/optional/notes", before); p.Status != http.StatusForbidden {
		t.Errorf("where a session is optional: %d", p.Status)
	}
	if p := r.browser().write("/optional/notes", ""); p.Status != http.StatusOK {
		t.Errorf("nobody is signed in, so there is nothing to misuse: %d", p.Status)
	}
}

// A sibling host can set cookies for the whole site, and a form can send any field: a pair that agrees with itself is worth nothing,
// since the token is compared with the session and not with a cookie.
func TestCSRF_X8_TossedPair(t *testing.T) {
	for _, tokens := range []cloakroom.TokenOptions{{}, {Delivery: "cookie", Domain: "example.com"}, {Delivery: "split"}} {
		r := newRig(t, func(c *cloakroom.Config) { byCSRF("token")(c); c.Tokens = tokens })
		b, eve := r.browser().signIn(), r.browser().signIn()
		evil, hits := eve.csrfToken(), r.hits()
		toss := func(name, value string) *page {
			h := http.Header{"Cookie": {b.cookie() + "; " + name + "=" + value}, "X-Csrf-Token": {evil}}
			return b.do(request{method: "POST", path: "/api/notes", site: "same-origin", header: h})
		}
		for _, name := range []string{"csrf", "_csrf", "__Secure-csrf", "__Host-csrf", "__Host-Http-csrf", "XSRF-TOKEN"} {
			values := []string{evil}
			if c := eve.cookies[name]; c != nil {
				values = append(values, c.Value)
			}
			for _, value := range values {
				if p := toss(name, value); p.Status != http.StatusForbidden && p.Status != http.StatusBadRequest {
					t.Errorf("%q: %s=%s: %d", tokens.Delivery, name, value, p.Status)
				}
			}
		}
		if r.hits() != hits {
			t.Errorf("%q: %d reached the API", tokens.Delivery, r.hits()-hits)
		}
	}
}

// The token is the same in every tab, on every replica, with every key that was added, wherever sessions rest; and it does not change
// when the ticket does.
func TestCSRF_X8_StaysForTheSession(t *testing.T) {
	t.Parallel()
	for _, storage := range []string{"store", "sealed"} {
		t.Run(storage, func(t *testing.T) {
			t.Parallel()
			var cfg cloakroom.Config
			r := newRig(t, func(c *cloakroom.Config) { byCSRF("token")(c); c.Cookie.Storage = storage; cfg = *c }, fakeop.AccessLifetime(short))
			b := r.browser().signIn()
			token, tab := b.csrfToken(), b.copy()
			if tab.csrfToken() != token {
				t.Error("another tab has another")
			}
			cfg.Keys = append([]string{cloakroom.NewKey()}, cfg.Keys...)
			replica, err := cloakroom.New(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = replica.Close(context.Background()) })
			server := httptest.NewServer(replica)
			t.Cleanup(server.Close)
			there := b.copy()
			there.r = &rig{t: t, server: server, op: r.op}
			if p := there.write("/api/notes", token); p.Status != http.StatusOK || there.csrfToken() != token {
				t.Errorf("on a replica with a newer key: %d %s", p.Status, p.Body)
			}
			r.outlive()
			if p := b.write("/api/notes", token); p.Status != http.StatusOK || r.op.Refreshes() == 0 || b.csrfToken() != token {
				t.Errorf("after a renewal: %d %s", p.Status, p.Body)
			}
		})
	}
}

func TestCSRF_X7_PlainForms(t *testing.T) {
	t.Parallel()
	const kind = "application/x-www-form-urlencoded"
	multi := func(fields string) (string, string) {
		body := ""
		for field := range strings.SplitSeq(fields, "&") {
			name, value, _ := strings.Cut(field, "=")
			body += "--b\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
		}
		return "multipart/form-data; boundary=b", body + "--b--\r\n"
	}
	plain := func(fields string) (string, string) { return kind, fields }
	large := strings.Repeat("x", 1<<20)
	for _, mode := range []string{"origin", "header", "token"} {
		r := newRig(t, byCSRF(mode))
		b := r.browser().signIn()
		token := b.do(request{method: "GET", path: "/auth/session", site: "same-origin", header: http.Header{"X-Csrf-Token": {"1"}}}).json(t)["csrf_token"]
		if (token != nil) != (mode == "token") {
			t.Fatalf("%s: the page is told %v", mode, token)
		}
		good, _ := token.(string)
		for _, c := range []struct {
			name   string
			kind   func(string) (string, string)
			fields string
			chunks bool
			proves bool // that the session's own page sent it
		}{
			{"a form with it", plain, "_csrf=" + good + "&email=a%40b.example", false, true},
			{"a form with it last", plain, "email=a%40b.example&_csrf=" + good, false, true},
			{"a form of unknown length", plain, "_csrf=" + good + "&email=a%40b.example", true, true},
			{"a long form", plain, "_csrf=" + good + "&text=" + large, false, true},
			{"an upload with it", multi, "_csrf=" + good + "&file=" + large, false, true},
			{"an upload of unknown length", multi, "_csrf=" + good + "&file=" + large, true, true},
			{"a form without it", plain, "email=a%40b.example", false, false},
			{"a form with an empty one", plain, "_csrf=&email=a%40b.example", false, false},
			{"a form with any", plain, "_csrf=1", false, false},
			{"an upload with it last", multi, "file=x&_csrf=" + good, false, false},
			{"text", func(s string) (string, string) { return "text/plain", s }, "_csrf=" + good, false, false},
		} {
			contentType, body := c.kind(c.fields)
			want := http.StatusOK
			if mode == "header" || mode == "token" && !c.proves { // a form cannot send a header
				want = http.StatusForbidden
			}
			hits := r.hits()
			q := request{
				method: "POST", path: "/page/email", site: "same-origin", nav: true, header: http.Header{"Content-Type": {contentType}}, body: body, chunks: c.chunks,
			}
			p := b.do(q)
			if p.Status != want || want == http.StatusOK && p.json(t)["body"] != body || want != http.StatusOK && (r.hits() != hits || !strings.Contains(p.Header.Get("Content-Type"), "text/html")) {
				t.Errorf("%s: %s: %d, the API got %d bytes of %d", mode, c.name, p.Status, len(p.Body), len(body))
			}
		}
		out := func(body string) *page {
			return b.do(request{method: "POST", path: "/auth/logout", site: "same-origin", nav: true, header: http.Header{"Content-Type": {kind}}, body: body})
		}
		if mode != "origin" {
			if p := out(""); p.Status != http.StatusForbidden || b.ticket() == "" {
				t.Errorf("%s: a logout by a form that proves nothing: %d", mode, p.Status)
			}
		}
		if mode == "header" {
			continue
		}
		if p := out("_csrf=" + good); p.Status != http.StatusSeeOther || b.ticket() != "" {
			t.Errorf("%s: a logout by a form: %d", mode, p.Status)
		}
		if p := out(""); p.Status != http.StatusSeeOther {
			t.Errorf("%s: a logout of whoever is signed out: %d", mode, p.Status)
		}
	}
}

// A form that takes its time does not hold anything up for long, and a body that is no form is not waited for.
func TestCSRF_TokenInTheHeaderNeedsNoBody(t *testing.T) {
	arrived := make(chan string, 1)
	upstream := upstreamAt(t, func(w http.ResponseWriter, r *http.Request) {
		first := make([]byte, 5)
		_, _ = io.ReadFull(r.Body, first)
		arrived <- string(first) + r.Header.Get("X-Csrf-Token")
	})
	r := newRig(t, func(c *cloakroom.Config) {
		byCSRF("token")(c)
		withRoutes(cloakroom.Route{Path: "/slow/", Upstream: upstream})(c)
	})
	b := r.browser().signIn()
	token := b.csrfToken()
	body, send := io.Pipe()
	defer send.Close()
	req, err := http.NewRequest("POST", r.server.URL+"/slow/", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{
		"Cookie": {b.cookie()}, "Origin": {appURL}, "X-Csrf-Token": {token}, "Content-Type": {"application/x-www-form-urlencoded"},
	}
	go func() {
		if res, err := http.DefaultTransport.RoundTrip(req); err == nil {
			res.Body.Close()
		}
	}()
	if _, err := io.WriteString(send, "a=1&b"); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-arrived:
		if got != "a=1&b"+token {
			t.Errorf("the API got %q", got)
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits for the whole body")
	}
}

// Every kind of request, in every mode, from every place. The table of the guard stays on in all of them.
func TestCSRF_X1_X2_X3_X9_EveryMode(t *testing.T) {
	var sockets atomic.Int32
	echo := echoServer(t, &sockets)
	modes := []string{"origin", "header", "token"}
	rigs, browsers, tokens := map[string]*rig{}, map[string]*browser{}, map[string]string{}
	for _, mode := range modes {
		r := newRig(t, func(c *cloakroom.Config) {
			byCSRF(mode)(c)
			c.Guard.Origins = []string{frontURL}
			withRoutes(cloakroom.Route{Path: "/ws/", Upstream: echo})(c)
		})
		rigs[mode], browsers[mode] = r, r.browser().signIn()
		tokens[mode], _ = browsers[mode].do(request{method: "GET", path: "/auth/session", site: "same-origin", header: http.Header{"X-Csrf-Token": {"1"}}}).json(t)["csrf_token"].(string)
	}
	const none, any, own = "", "any", "own" // what is in the header: the token of the session where there is one, else 1
	image := http.Header{"Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}}
	events := http.Header{"Accept": {"text/event-stream"}}
	for _, c := range []struct {
		name, method, path, site, from, brings string
		nav                                    bool
		header                                 http.Header
		passes                                 string // origin, header, token: + passes, . is refused
	}{
		{"X2 a read", "GET", "/api/me", "same-origin", "", none, false, nil, "+.+"},
		{"X2 a read with it", "GET", "/api/me", "same-origin", "", own, false, nil, "+++"},
		{"X2 a read by a program", "GET", "/api/me", "", "", none, false, nil, "+.+"},
		{"X2 a read of an endpoint", "GET", "/auth/session", "same-origin", "", none, false, nil, "+.+"},
		{"X1 a write", "POST", "/api/notes", "same-origin", appURL, none, false, nil, "+.."},
		{"X1 a write with it", "POST", "/api/notes", "same-origin", appURL, own, false, nil, "+++"},
		{"X1 a write with any", "POST", "/api/notes", "same-origin", appURL, any, false, nil, "++."},
		{"X1 DELETE", "DELETE", "/api/notes/1", "same-origin", appURL, none, false, nil, "+.."},
		{"X1 DELETE with it", "DELETE", "/api/notes/1", "same-origin", appURL, own, false, nil, "+++"},
		{"X1 a method of its own", "PURGE", "/api/notes", "same-origin", appURL, none, false, nil, "+.."},
		{"X1 refresh", "POST", "/auth/refresh", "same-origin", appURL, none, false, nil, "+.."},
		{"X1 refresh with it", "POST", "/auth/refresh", "same-origin", appURL, own, false, nil, "+++"},
		{"X1 an optional route", "POST", "/optional/x", "same-origin", appURL, none, false, nil, "+.."},
		{"X1 an optional route with it", "POST", "/optional/x", "same-origin", appURL, own, false, nil, "+++"},
		{"no session is used", "POST", "/open/x", "cross-site", "https://evil.example", none, false, nil, "+++"},
		{"X2 an image", "GET", "/api/i.png", "same-origin", "", none, false, image, "+++"},
		{"X2 an image of a sibling", "GET", "/api/i.png", "same-site", "", none, false, image, "..."},
		{"X2 EventSource", "GET", "/api/events", "same-origin", "", none, false, events, "+++"},
		{"X2 EventSource of a listed front end", "GET", "/api/events", "same-site", frontURL, none, false, events, "+.+"},
		{"a link from another site", "GET", "/page/", "cross-site", "", none, true, nil, "+++"},
		{"a form of our own", "POST", "/page/", "same-origin", appURL, none, true, nil, "+.."},
		{"X3 a sibling's write with it", "POST", "/api/notes", "same-site", "https://evil.example.com", own, false, nil, "..."},
		{"X3 another site's read with it", "GET", "/api/me", "cross-site", "https://evil.example", own, false, nil, "..."},
		{"X5 null with it", "POST", "/api/notes", "cross-site", "null", own, false, nil, "..."},
		{"X4 no proof, with it", "POST", "/api/notes", "", "", own, false, nil, "..."},
		{"X3 a listed front end's write", "POST", "/api/notes", "same-site", frontURL, none, false, nil, "+.."},
		{"X3 a listed front end's write with it", "POST", "/api/notes", "same-site", frontURL, own, false, nil, "+++"},
	} {
		for i, mode := range modes {
			r, b := rigs[mode], browsers[mode]
			h := http.Header{"Cookie": {b.cookie()}}
			for name, values := range c.header {
				h[name] = values
			}
			if c.from != "" {
				h.Set("Origin", c.from)
			}
			switch {
			case c.brings == own && tokens[mode] != "":
				h.Set("X-CSRF-Token", tokens[mode])
			case c.brings != none:
				h.Set("X-CSRF-Token", "1")
			}
			hits := r.hits()
			p := b.do(request{method: c.method, path: c.path, site: c.site, nav: c.nav, header: h})
			if passes := p.Status == http.StatusOK || p.Status == http.StatusNoContent; passes != (c.passes[i] == '+') || !passes && (p.Status != http.StatusForbidden || r.hits() != hits) {
				t.Errorf("%s, csrf: %s: %d, %d reached the API", c.name, mode, p.Status, r.hits()-hits)
			}
		}
	}
	for _, mode := range modes { // a page cannot give a WebSocket a header
		for from, want := range map[string]int{
			appURL: http.StatusSwitchingProtocols, frontURL: http.StatusSwitchingProtocols,
			"https://evil.example": http.StatusForbidden, "https://evil.example.com": http.StatusForbidden, "null": http.StatusForbidden,
		} {
			c, res, err := browsers[mode].socket("/ws/", from)
			if res == nil || res.StatusCode != want {
				t.Errorf("X9 csrf: %s, a WebSocket of %s: %v, %v", mode, from, res, err)
			}
			if c != nil {
				_ = c.CloseNow()
			}
		}
	}
	if r := rigs["origin"]; r.op.Refreshes() != 0 {
		t.Errorf("X10: %d refreshes", r.op.Refreshes())
	}
	for _, mode := range modes {
		if strings.Contains(rigs[mode].logs.String(), tokens[mode]) && tokens[mode] != "" {
			t.Errorf("%s: a token is in the log", mode)
		}
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
