package cloakroom_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

func logout(t *testing.T, b *browser, query string) (*page, string) {
	t.Helper()
	p := b.fetch("POST", "/auth/logout"+query)
	var answer struct {
		URL string `json:"logout_url"`
	}
	if err := json.Unmarshal([]byte(p.Body), &answer); err != nil || p.Status != http.StatusOK {
		t.Fatalf("logout: %d %.300s", p.Status, p.Body)
	}
	return p, answer.URL
}

// await waits for something that happens behind an answer.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
		time.Sleep(time.Millisecond) // a poll, not a wait: the loop ends as soon as it is done
	}
}

func TestLogout_O1_OnlyByPost(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	if p := b.do(request{method: "GET", path: "/auth/logout", site: "cross-site"}); p.Status != http.StatusMethodNotAllowed || !strings.Contains(p.Header.Get("Allow"), "POST") {
		t.Errorf("GET: %d, Allow %q", p.Status, p.Header.Get("Allow"))
	}
	thief := b.copy()
	if p := thief.do(request{method: "POST", path: "/auth/logout", site: "cross-site", header: b.header()}); p.Status != http.StatusForbidden {
		t.Errorf("cross-site POST: %d", p.Status)
	}
	if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("the session is gone: %d", p.Status)
	}
}

func TestLogout_O2_HereFirstThenRevoked(t *testing.T) {
	hang := make(chan struct{})
	r := newRig(t, nil, fakeop.Instead("revoke", func(w http.ResponseWriter, req *http.Request) {
		<-hang
		w.WriteHeader(http.StatusOK)
	}))
	b := r.browser().signIn()
	copied := b.copy()
	started := time.Now()
	p, _ := logout(t, b, "")
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("a hanging provider held the logout up for %s", took)
	}
	if b.ticket() != "" {
		t.Error("the cookie is still there")
	}
	if got := p.Header.Get("Clear-Site-Data"); got != `"cache"` {
		t.Errorf("O10: Clear-Site-Data %q", got)
	}
	if p := copied.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
		t.Errorf("the old ticket still answers %d", p.Status)
	}
	close(hang)
	await(t, "the refresh token is revoked", func() bool { return r.count(audit.Revoked) == 1 })
	if form := r.op.Last("revoke").Form; form.Get("token_type_hint") != "refresh_token" || form.Get("token") == "" {
		t.Errorf("revocation request: %v", form)
	}
}

func TestLogout_O3_EndSessionByFetch(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	p, next := logout(t, b, "")
	if strings.Contains(p.Body, "eyJ") || !strings.HasPrefix(next, "/auth/logout/next?id=") {
		t.Errorf("script sees more than a URL of ours: %s", p.Body)
	}
	hop := b.do(request{method: "GET", path: next, site: "same-origin", nav: true})
	target := mustURL(t, hop.next(t))
	q := target.Query()
	if !strings.HasPrefix(target.String(), r.op.Issuer()+"/end?") || q.Get("id_token_hint") == "" || q.Get("client_id") != fakeop.ClientID ||
		q.Get("post_logout_redirect_uri") != appURL+"/auth/signed-out" {
		t.Errorf("went to %s", target)
	}
	if again := b.do(request{method: "GET", path: next, site: "same-origin", nav: true}); again.next(t) != "/auth/signed-out" {
		t.Errorf("the URL works twice: %d %s", again.Status, again.next(t))
	}
}

// Anybody may ask where a logout goes on, with any id. Only one of ours is worth a look into the store.
func TestLogout_UnknownIDsNeverReachTheStore(t *testing.T) {
	store := &countingStore{Store: memory.New()}
	r := newRig(t, func(c *cloakroom.Config) { c.Store = store })
	b := r.browser().signIn()
	_, next := logout(t, b, "")
	id := mustURL(t, next).Query().Get("id")
	before := store.gets.Load()
	made := []string{"", "x", strings.Repeat("A", len(id)), strings.Repeat("A", 32), id + "A", id[:len(id)-4]}
	for i := range len(id) {
		made = append(made, flip(id, i))
	}
	for _, id := range made {
		p := b.do(request{method: "GET", path: "/auth/logout/next?id=" + id, site: "none", nav: true})
		if p.Status != http.StatusSeeOther || p.next(t) != "/auth/signed-out" {
			t.Errorf("%q: %d %s", id, p.Status, p.next(t))
		}
	}
	if n := store.gets.Load() - before; n != 0 {
		t.Errorf("the store was read %d times for %d made-up ids", n, len(made))
	}
	if p := b.do(request{method: "GET", path: next, site: "same-origin", nav: true}); !strings.HasPrefix(p.next(t), r.op.Issuer()+"/end?") || store.gets.Load() == before {
		t.Errorf("ours leads to %s", p.next(t))
	}
}

func TestLogout_O3_EndSessionByForm(t *testing.T) {
	for _, tt := range []struct {
		name string
		lie  fakeop.Lie
		want int
	}{
		{"L16: a redirect with 303", fakeop.All(), http.StatusSeeOther},
		{"a large ID token goes as a form", fakeop.IDToken(func(c map[string]any) { c["padding"] = strings.Repeat("x", 6<<10) }), http.StatusOK},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, inStore, tt.lie) // cookies have no room for such a token
			b := r.browser().signIn()
			p := b.do(request{method: "POST", path: "/auth/logout", site: "same-origin", nav: true})
			if p.Status != tt.want || tt.want == http.StatusOK && !strings.Contains(p.Body, "id_token_hint") {
				t.Errorf("%d: %.300s", p.Status, p.Body)
			}
		})
	}
}

func TestSignedOut_O4_State(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Endpoints.SignedOut = "/bye" })
	b := r.browser().signIn()
	_, next := logout(t, b, "?return_to=/thanks")
	hop := b.do(request{method: "GET", path: next, site: "same-origin", nav: true})
	state := mustURL(t, hop.next(t)).Query().Get("state")
	for _, tt := range []struct{ name, state, to string }{
		{"as it was", state, "/thanks"},
		{"altered", state + "_INVALID", ""},
		{"missing", "", ""},
		{"made up", "https://evil.example", ""},
	} {
		p := b.do(request{method: "GET", path: "/auth/signed-out?state=" + url.QueryEscape(tt.state), site: "cross-site", nav: true})
		if got := p.next(t); got != tt.to || tt.to == "" && (p.Status != http.StatusOK || !strings.Contains(p.Body, "signed out")) {
			t.Errorf("%s: %d, leads to %q, want %q", tt.name, p.Status, got, tt.to)
		}
	}
}

func TestLogout_ReturnToStaysHere(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	_, next := logout(t, b, "?return_to=https://evil.example/")
	hop := b.do(request{method: "GET", path: next, site: "same-origin", nav: true})
	state := mustURL(t, hop.next(t)).Query().Get("state")
	p := b.do(request{method: "GET", path: "/auth/signed-out?state=" + url.QueryEscape(state), site: "cross-site", nav: true})
	if got := p.next(t); got != "/" {
		t.Errorf("leads to %q", got)
	}
}

func TestLogout_Everywhere(t *testing.T) {
	r := newRig(t, nil)
	phone, laptop := r.browser().signIn(), r.browser().signIn()
	logout(t, phone, "?everywhere=1")
	if p := laptop.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
		t.Errorf("the other device still answers %d", p.Status)
	}
}

func TestLogout_WithoutASession(t *testing.T) {
	r := newRig(t, nil)
	if _, next := logout(t, r.browser(), ""); !strings.HasPrefix(next, "/auth/signed-out") {
		t.Errorf("leads to %s", next)
	}
}

func TestLogout_O11_OtherTabHears(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	other := b.copy() // the same browser, a tab that does not know yet
	logout(t, b, "")
	p := other.fetch("GET", "/api/me")
	if p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" {
		t.Errorf("%d, Cloakroom %q", p.Status, p.Header.Get("Cloakroom"))
	}
	if v := other.fetch("GET", "/auth/session").json(t); v["authenticated"] != false {
		t.Errorf("session: %v", v)
	}
}
