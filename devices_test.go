package cloakroom_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	firefoxOnLinux = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"
	safariOnIPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"
)

// device is a browser that says what it is.
func (r *rig) device(agent string) *browser {
	b := r.browser()
	b.says = http.Header{"User-Agent": {agent}}
	return b
}

// devices is what GET sessions tells.
func (b *browser) devices() []map[string]any {
	b.t.Helper()
	p := b.fetch("GET", "/auth/sessions")
	if p.Status != http.StatusOK || p.Header.Get("Cache-Control") != "no-store" {
		b.t.Fatalf("GET sessions: %d %v %s", p.Status, p.Header, p.Body)
	}
	var list []map[string]any
	for _, v := range p.json(b.t)["sessions"].([]any) {
		list = append(list, v.(map[string]any))
	}
	return list
}

// idOf is the id of the person's own session that is, or is not, the browser's own.
func (b *browser) idOf(current bool) string {
	b.t.Helper()
	for _, d := range b.devices() {
		if d["current"] == current {
			return d["id"].(string)
		}
	}
	b.t.Fatalf("no session with current: %v", current)
	return ""
}

// reasons are those of the audit events of one action.
func (r *rig) reasons(action audit.Action) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var reasons []string
	for _, e := range r.events {
		if e.Action == action {
			reasons = append(reasons, e.Reason)
		}
	}
	return reasons
}

func TestDevices_T6_TheListShowsDeviceAndTime(t *testing.T) {
	r := newRig(t, inStore)
	phone := r.device(safariOnIPhone).signIn()
	r.op.Tell(fakeop.Person("somebody-else", map[string]any{}))
	r.browser().signIn()
	r.op.Tell(fakeop.Person(fakeop.Subject, map[string]any{}))
	laptop := r.device(firefoxOnLinux).signIn()

	list := laptop.devices()
	if len(list) != 2 {
		t.Fatalf("%d sessions, want the person's own 2: %v", len(list), list)
	}
	for i, want := range []string{"Firefox Linux true", "Safari iPhone false"} {
		d := list[i]
		if got := fmt.Sprint(d["browser"], " ", d["system"], " ", d["current"]); got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
		for _, name := range []string{"created", "last_seen"} {
			at, err := time.Parse(time.RFC3339, fmt.Sprint(d[name]))
			if err != nil || time.Since(at) > time.Minute || time.Until(at) > 0 {
				t.Errorf("%d: %s is %v, %v", i, name, d[name], err)
			}
		}
		if len(d) != 6 {
			t.Errorf("%d: it tells %v", i, d)
		}
	}
	if a, b := phone.idOf(true), laptop.idOf(false); a != b {
		t.Errorf("two names for one session: %s and %s", a, b)
	}
	p := r.browser().fetch("GET", "/auth/sessions")
	if p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" {
		t.Errorf("nobody signed in: %d %s", p.Status, p.Body)
	}
	if p := laptop.do(request{method: "GET", path: "/auth/sessions", site: "cross-site"}); p.Status != http.StatusForbidden {
		t.Errorf("another site reads it: %d", p.Status)
	}
}

// What the page is told is neither the ticket nor what the store calls the session, and nothing of it opens a session.
func TestDevices_S1_TheIDOpensNothing(t *testing.T) {
	r := newRig(t, inStore)
	b := r.browser().signIn()
	body := b.fetch("GET", "/auth/sessions").Body
	records, err := r.store.Scan(t.Context(), session.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{b.ticket(), b.bearer(), fakeop.Subject, "eyJ"}
	for _, rec := range records {
		raw := rec.ID[:]
		for _, part := range [][]byte{raw[:9], raw} {
			secrets = append(secrets, hex.EncodeToString(part), base64.RawURLEncoding.EncodeToString(part), base64.StdEncoding.EncodeToString(part))
		}
	}
	for _, secret := range secrets {
		if strings.Contains(body, secret) {
			t.Errorf("it tells %s: %s", secret, body)
		}
	}
	id := b.idOf(true)
	for _, value := range []string{id, id + strings.Repeat("A", len(b.ticket())-len(id))} {
		if p := r.browser().do(request{method: "GET", path: "/api/me", site: "same-origin", header: http.Header{"Cookie": {sessionCookie + "=" + value}}}); p.Status != http.StatusUnauthorized {
			t.Errorf("the id opens a session: %d", p.Status)
		}
	}
	if !strings.Contains(r.logs.String(), id) {
		t.Error("the logs call the session otherwise")
	}
}

func TestDevices_T4_LookingIsNoActivity(t *testing.T) {
	r := newRig(t, inStore)
	b := r.browser().signIn()
	before := r.store
	rec := func() time.Time {
		t.Helper()
		records, err := before.Scan(t.Context(), session.ID{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range records {
			if len(rec.Index) > 0 {
				return rec.Expires
			}
		}
		t.Fatal("no session")
		return time.Time{}
	}
	was := rec()
	for range 3 {
		b.devices()
	}
	if now := rec(); !now.Equal(was) {
		t.Errorf("looking moved the end from %s to %s", was, now)
	}
}

func TestDevices_T6_EndingAnother(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	r := newRig(t, func(c *cloakroom.Config) {
		inStore(c)
		withRoutes(cloakroom.Route{Path: "/ws/", Upstream: echoServer(t, &hits)})(c)
	})
	phone, laptop := r.device(safariOnIPhone).signIn(), r.device(firefoxOnLinux).signIn()
	if p := phone.fetch("GET", "/api/me"); p.Status != http.StatusOK { // it is in the cache now
		t.Fatalf("the phone: %d", p.Status)
	}
	socket, _, err := phone.socket("/ws/", appURL)
	if err != nil {
		t.Fatal(err)
	}
	id := laptop.idOf(false)
	if p := laptop.fetch("DELETE", "/auth/sessions/"+id); p.Status != http.StatusNoContent || p.Body != "" {
		t.Fatalf("DELETE: %d %s", p.Status, p.Body)
	}
	if p := phone.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
		t.Errorf("the ended session answers %d", p.Status)
	}
	if _, _, err = socket.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Errorf("its socket: %v", err)
	}
	if p := laptop.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("the session that ended it answers %d", p.Status)
	}
	if n := len(laptop.devices()); n != 1 {
		t.Errorf("%d sessions are left, want 1", n)
	}
	if got := fmt.Sprint(r.reasons(audit.Ended)); got != "[by the person, from another device]" {
		t.Errorf("audit: %s", got)
	}
	if p := laptop.fetch("DELETE", "/auth/sessions/"+id); p.Status != http.StatusNotFound {
		t.Errorf("ending it again: %d", p.Status)
	}
}

func TestDevices_T6_EndingThisOne(t *testing.T) {
	r := newRig(t, inStore)
	b := r.browser().signIn()
	copied := b.copy()
	p := b.fetch("DELETE", "/auth/sessions/"+b.idOf(true))
	if p.Status != http.StatusNoContent || p.Header.Get("Clear-Site-Data") != `"cache"` {
		t.Errorf("DELETE: %d %v", p.Status, p.Header)
	}
	if b.ticket() != "" {
		t.Error("the cookie is still there")
	}
	if p := copied.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
		t.Errorf("a copy of its ticket answers %d", p.Status)
	}
	await(t, "its tokens are revoked", func() bool { return len(r.op.Revoked()) == 1 })
	if n := r.count(audit.Logout); n != 1 {
		t.Errorf("%d logouts in the audit log, want 1", n)
	}
}

// What is another's and what does not exist cannot be told apart, and a request that the person did not make ends nothing.
func TestDevices_X1_NobodyElseEndsIt(t *testing.T) {
	r := newRig(t, inStore)
	mine := r.browser().signIn()
	r.op.Tell(fakeop.Person("somebody-else", map[string]any{}))
	other := r.browser().signIn()
	path := "/auth/sessions/" + mine.idOf(true)
	var answers []string
	for _, path := range []string{path, "/auth/sessions/AAAAAAAAAAAA", "/auth/sessions/" + strings.Repeat("A", 4000), "/auth/sessions/%00"} {
		p := other.fetch("DELETE", path)
		v := p.json(t)
		delete(v, "request_id")
		answers = append(answers, fmt.Sprint(p.Status, v))
		if p.Status != http.StatusNotFound {
			t.Errorf("DELETE %.60s: %d", path, p.Status)
		}
	}
	for _, a := range answers {
		if a != answers[0] {
			t.Errorf("the answers differ:\n%s\n%s", answers[0], a)
		}
	}
	for name, q := range map[string]request{
		"another site":    {method: "DELETE", path: path, site: "cross-site", header: mine.header()},
		"a sibling host":  {method: "DELETE", path: path, site: "same-site", header: mine.header()},
		"not from a page": {method: "DELETE", path: path, header: mine.header()},
	} {
		if p := mine.do(q); p.Status != http.StatusForbidden {
			t.Errorf("%s: %d", name, p.Status)
		}
	}
	if p := r.browser().fetch("DELETE", path); p.Status != http.StatusUnauthorized {
		t.Errorf("nobody signed in: %d", p.Status)
	}
	if p := mine.fetch("GET", path); p.Status != http.StatusMethodNotAllowed || p.Header.Get("Allow") != "DELETE" {
		t.Errorf("GET: %d, Allow %q", p.Status, p.Header.Get("Allow"))
	}
	if p := mine.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("the session is gone: %d", p.Status)
	}
}

func TestDevices_CSRFToken(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { inStore(c); c.Guard.CSRF = "token" })
	b := r.browser().signIn()
	path := "/auth/sessions/" + b.idOf(true)
	if p := b.fetch("DELETE", path); p.Status != http.StatusForbidden {
		t.Errorf("without the token: %d", p.Status)
	}
	token := fmt.Sprint(b.fetch("GET", "/auth/session").json(t)["csrf_token"])
	if p := b.do(request{method: "DELETE", path: path, site: "same-origin", header: http.Header{"X-Csrf-Token": {token}}}); p.Status != http.StatusNoContent {
		t.Errorf("with the token: %d %s", p.Status, p.Body)
	}
}

// A person who signs in again and again has a list that ends.
func TestDevices_TheListIsBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(c *cloakroom.Config) { inStore(c); c.Endpoints.LoginsPer = 1000 })
	b := r.browser().signIn()
	for range 230 {
		r.browser().signIn()
	}
	p := b.fetch("GET", "/auth/sessions")
	v := p.json(t)
	if n := len(v["sessions"].([]any)); n != 100 || v["more"] != true {
		t.Errorf("%d sessions, more %v", n, v["more"])
	}
	logout(t, b, "?everywhere=1")
	if n := r.count(audit.Ended); n != 230 {
		t.Errorf("signing out everywhere: %d others ended, want 230", n)
	}
	if n := len(r.browser().signIn().devices()); n != 1 {
		t.Errorf("afterwards %d sessions, want 1", n)
	}
}

func TestDevices_T6_NotWhereSessionsRestInBrowsers(t *testing.T) {
	r := newRig(t, inCookies)
	b := r.browser().signIn()
	for _, p := range []*page{b.fetch("GET", "/auth/sessions"), b.fetch("DELETE", "/auth/sessions/AAAAAAAAAAAA")} {
		if v := p.json(t); p.Status != http.StatusNotFound || v["type"] != "urn:cloakroom:unlisted" {
			t.Errorf("%d %s", p.Status, p.Body)
		}
	}
	if p := r.browser().fetch("GET", "/auth/sessions"); p.Status != http.StatusUnauthorized {
		t.Errorf("nobody signed in: %d", p.Status)
	}
	if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("the session: %d", p.Status)
	}
}

func TestMaxSessions_T6_TheOldestEnds(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { inStore(c); c.Session.MaxSessions = 2 })
	first, second, third := r.browser().signIn(), r.browser().signIn(), r.browser().signIn()
	for b, want := range map[*browser]int{first: http.StatusUnauthorized, second: http.StatusOK, third: http.StatusOK} {
		if p := b.fetch("GET", "/api/me"); p.Status != want {
			t.Errorf("%d, want %d", p.Status, want)
		}
	}
	if got := fmt.Sprint(r.reasons(audit.Ended)); got != "[session_limit]" {
		t.Errorf("audit: %s", got)
	}
	third.signIn() // in the same browser: it takes its own place
	if p := second.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("somebody else's place was taken: %d", p.Status)
	}
}

func TestMaxSessions_T6_TheLoginIsRefused(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { inStore(c); c.Session.MaxSessions, c.Session.WhenFull = 1, "refuse" })
	first := r.browser().signIn()
	second := r.browser()
	p := second.visit("/auth/login?return_to=/page/")
	if p.Status != http.StatusForbidden || !strings.Contains(p.Body, "as many devices as this application allows") || !strings.Contains(p.Body, "Try again") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if second.ticket() != "" {
		t.Error("the refused browser has a cookie")
	}
	if got := fmt.Sprint(r.reasons(audit.LoginFailed)); got != "[session_limit]" {
		t.Errorf("audit: %s", got)
	}
	if logs := r.logs.String(); !strings.Contains(logs, "code=session_limit") || !strings.Contains(logs, "level=WARN") {
		t.Error("the log does not say why")
	}
	await(t, "the tokens of the refused login are revoked", func() bool { return len(r.op.Revoked()) == 1 })
	if p := first.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("the first: %d", p.Status)
	}
	first.signIn() // in the same browser
	logout(t, first, "")
	second.signIn()
}
