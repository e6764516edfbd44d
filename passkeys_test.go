package cloakroom_test

import (
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"golang.org/x/net/html"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/passkeys"
	"github.com/cloakroom-go/cloakroom/session"
)

func withPasskeys(t *testing.T, change func(*cloakroom.Config)) func(*cloakroom.Config) {
	t.Helper()
	return withAccounts(t, func(c *cloakroom.Config) {
		c.Accounts.Passkeys = passkeys.New()
		if change != nil {
			change(c)
		}
	})
}

// device is a person's, which makes passkeys and uses them.
type device struct {
	party virtualwebauthn.RelyingParty
	auth  virtualwebauthn.Authenticator
	key   virtualwebauthn.Credential
}

func newDevice() *device {
	return &device{
		party: virtualwebauthn.RelyingParty{ID: "app.example.com", Name: "app.example.com", Origin: appURL},
		auth:  virtualwebauthn.NewAuthenticator(), key: virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeRSA),
	}
}

// ceremony is the form of a page that has one, and what the browser is asked to do.
func (p *page) ceremony(t *testing.T) (action, options string, fields url.Values) {
	t.Helper()
	fields = url.Values{}
	for n, attrs := range p.elements(t) {
		if n.Data != "form" || attrs["data-options"] == "" {
			continue
		}
		action, options = attrs["action"], attrs["data-options"]
		for d := range n.Descendants() {
			if input := attributes(d); input["name"] != "" {
				fields.Set(input["name"], input["value"])
			}
		}
	}
	if action == "" {
		t.Fatalf("no ceremony in %d %s: %s", p.Status, p.URL, p.Body)
	}
	return action, options, fields
}

// makes answers a page that asks for a new passkey.
func (d *device) makes(t *testing.T, p *page) (action string, fields url.Values) {
	t.Helper()
	action, options, fields := p.ceremony(t)
	asked, err := virtualwebauthn.ParseAttestationOptions(options)
	if err != nil {
		t.Fatal(err)
	}
	d.auth.Options.UserHandle = []byte(asked.UserID)
	fields.Set("response", virtualwebauthn.CreateAttestationResponse(d.party, d.auth, d.key, *asked))
	return action, fields
}

// uses answers a page that one can sign in on.
func (d *device) uses(t *testing.T, p *page) (action string, fields url.Values) {
	t.Helper()
	action, options, fields := p.ceremony(t)
	asked, err := virtualwebauthn.ParseAssertionOptions(options)
	if err != nil {
		t.Fatal(err)
	}
	d.key.Counter++
	fields.Set("response", virtualwebauthn.CreateAssertionResponse(d.party, d.auth, d.key, *asked))
	return action, fields
}

// adds makes a passkey for the person who is signed in. more are fields beside the password.
func (b *browser) adds(d *device, name string, more map[string]string) *page {
	b.t.Helper()
	fields := map[string]string{"name": name, "password": adasPassword}
	for k, v := range more {
		fields[k] = v
	}
	action, form := d.makes(b.t, b.fill(b.visit("/auth/account/passkey"), fields))
	return b.follow(b.post(action, "same-origin", form))
}

func (b *browser) enters(d *device) *page {
	b.t.Helper()
	action, fields := d.uses(b.t, b.visit("/auth/login?return_to=/page/"))
	return b.follow(b.post(action, "same-origin", fields))
}

// A person makes two passkeys, after the password, and signs in with either without saying who they are. What signs in is told to the
// application; script comes from our own origin alone.
func TestPasskeys_U8_U13_MakeAndSignIn(t *testing.T) {
	t.Parallel()
	for _, csrf := range []string{"origin", "header", "token"} {
		t.Run(csrf, func(t *testing.T) {
			r := newRig(t, withPasskeys(t, func(c *cloakroom.Config) {
				c.Guard.CSRF = csrf
				c.Endpoints.Claims = []string{"amr", "email"}
			}))
			b := r.browser().join()
			phone, key := newDevice(), newDevice()
			if p := b.fill(b.visit("/auth/account/passkey"), map[string]string{"name": "phone", "password": "wrong password"}); p.Status != http.StatusForbidden || strings.Contains(p.Body, "data-options") || !strings.Contains(p.Body, `value="phone"`) {
				t.Errorf("a wrong password: %d %s", p.Status, p.Body)
			}
			for name, d := range map[string]*device{"my phone": phone, "<blue key>": key} {
				if p := b.adds(d, name, nil); p.URL != "/auth/account?done=passkey" || !strings.Contains(p.Body, html.EscapeString(name)) {
					t.Fatalf("%d %s %s\n%s", p.Status, p.URL, p.Body, r.logs)
				}
			}
			for _, d := range []*device{phone, key, phone} {
				c := r.browser()
				p := c.visit("/auth/login")
				if policy := p.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self'") || !strings.Contains(p.Body, `<script src="/auth/assets/passkey-`) {
					t.Errorf("%s: %s", policy, p.Body)
				}
				if p := c.enters(d); p.URL != "/page/" || p.Status != http.StatusOK {
					t.Fatalf("%d %s %s\n%s", p.Status, p.URL, p.Body, r.logs)
				}
				user := c.fetch("GET", "/auth/session").json(t)["user"]
				if csrf == "header" {
					continue // this fetch needs the header
				}
				if m := user.(map[string]any); m["email"] != adasAddress || len(m["amr"].([]any)) != 2 || m["amr"].([]any)[1] != "mfa" {
					t.Errorf("%v", user)
				}
			}
		})
	}
}

// Browsers offer passkeys where the name is filled in. That asks for nothing more: the challenge is the button's, and no script may connect
// to anything. What was refused just now is not offered again, and nothing is where there are none, or where people register.
func TestPasskeys_U13_OfferedInTheField(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	phone := newDevice()
	r.browser().join().adds(phone, "phone", nil)
	looks := func(name string, p *page, offered bool) {
		t.Helper()
		autocomplete, forms := "", 0
		for n, attrs := range p.elements(t) {
			if attrs["name"] == "identifier" {
				autocomplete = attrs["autocomplete"]
			}
			if _, is := attrs["data-autofill"]; n.Data == "form" && is {
				forms++
			}
		}
		want, wantForms := "username", 0
		if offered {
			want, wantForms = "username webauthn", 1
		}
		if autocomplete != want || forms != wantForms {
			t.Errorf("%s: %q and %d forms, want %q and %d", name, autocomplete, forms, want, wantForms)
		}
		if policy := p.Header.Get("Content-Security-Policy"); strings.Contains(policy, "connect-src") || !strings.HasPrefix(policy, "default-src 'none'") {
			t.Errorf("%s: %s", name, policy)
		}
	}
	b := r.browser()
	first := b.visit("/auth/login")
	looks("to sign in", first, true)
	_, _, fields := first.ceremony(t)
	wrong := url.Values{"state": fields["state"], "return_to": fields["return_to"], "identifier": {adasAddress}, "password": {"wrong password"}}
	looks("a wrong password", b.post("/auth/sign-in", "same-origin", wrong), true)
	looks("a passkey that was refused", b.enters(newDevice()), false)
	looks("to register", b.visit("/auth/register"), false)
	looks("without passkeys", newRig(t, withAccounts(t, nil)).browser().visit("/auth/login"), false)
}

// What came back from a ceremony is good once, for the login in which it was asked for, and for the page that is ours.
func TestPasskeys_U13_BoundToTheLogin(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	phone := newDevice()
	r.browser().join().adds(phone, "phone", nil)
	refused := func(name string, b *browser, p *page) {
		t.Helper()
		if b.ticket() != "" || p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Body, "removed here, or the page was open for too long") {
			t.Errorf("%s: %d %s %.1500s", name, p.Status, p.URL, p.Body)
		}
	}
	// Of another login in the same browser.
	b := r.browser()
	_, fields := phone.uses(t, b.visit("/auth/login"))
	action, other := phone.uses(t, b.visit("/auth/login"))
	other.Set("passkey", fields.Get("passkey"))
	other.Set("response", fields.Get("response"))
	refused("AnotherLogin", b, b.post(action, "same-origin", other))
	// The challenge of another page of the same login.
	b = r.browser()
	first := b.visit("/auth/login")
	_, fields = phone.uses(t, first)
	second := b.visit(first.URL)
	_, other = phone.uses(t, second)
	fields.Set("passkey", other.Get("passkey"))
	refused("AnotherChallenge", b, b.post(action, "same-origin", fields))
	// In another browser.
	b = r.browser()
	_, fields = phone.uses(t, b.visit("/auth/login"))
	thief := r.browser()
	thief.visit("/auth/login")
	if p := thief.post(action, "same-origin", fields); thief.ticket() != "" || p.Status != http.StatusBadRequest {
		t.Errorf("in another browser: %d", p.Status)
	}
	for _, site := range []string{"cross-site", "same-site"} {
		if p := b.post(action, site, fields); p.Status != http.StatusForbidden || b.ticket() != "" {
			t.Errorf("from %s: %d", site, p.Status)
		}
	}
	// Twice: the first time it is good.
	sent := b.post(action, "same-origin", fields)
	if sent.Status != http.StatusSeeOther {
		t.Fatalf("%d %s", sent.Status, sent.Body)
	}
	refused("Twice", b, b.post(action, "same-origin", fields))
	// On a page that is not ours, with an authenticator that did not verify, unknown, or malformed.
	phish, lazy, stranger := *phone, *phone, newDevice()
	phish.party.Origin = "https://app.example.com.evil.example"
	lazy.auth.Options.UserNotVerified = true
	stranger.auth.Options.UserHandle = phone.auth.Options.UserHandle
	for name, d := range map[string]*device{"AnotherOrigin": &phish, "NotVerified": &lazy, "Unknown": stranger} {
		b := r.browser()
		d.key.Counter += 100
		refused(name, b, b.enters(d))
	}
	for name, response := range map[string]string{"Nothing": "", "NoJSON": "x", "Large": strings.Repeat("x", 40_000)} {
		b := r.browser()
		action, _, fields := b.visit("/auth/login").ceremony(t)
		fields.Set("response", response)
		refused(name, b, b.post(action, "same-origin", fields))
	}
	// A copy of the key, whose counter is behind.
	if p := r.browser().enters(phone); p.URL != "/page/" {
		t.Errorf("the right one: %d %s", p.Status, p.Body)
	}
	copied := *phone
	copied.key.Counter = 1
	b = r.browser()
	refused("Copy", b, b.enters(&copied))
}

// A new passkey belongs to the session in which the password was given.
func TestPasskeys_U8_MakingIsBoundToTheSession(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b := r.browser().join()
	eve := r.browser()
	eve.fill(eve.visit("/auth/register"), map[string]string{"identifier": "eve@example.com", "password": adasPassword})
	form := map[string]string{"name": "phone", "password": adasPassword}
	phone := newDevice()
	action, fields := phone.makes(t, b.fill(b.visit("/auth/account/passkey"), form))
	_, _, hers := eve.fill(eve.visit("/auth/account/passkey"), form).ceremony(t)
	theirs := url.Values{"_csrf": hers["_csrf"], "name": {"x"}, "passkey": fields["passkey"], "response": fields["response"]}
	if p := eve.post(action, "same-origin", theirs); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("in another's session: %d %s", p.Status, p.Body)
	}
	if p := b.post(action, "cross-site", fields); p.Status != http.StatusForbidden {
		t.Errorf("from another site: %d", p.Status)
	}
	// What another tried spent nothing. It is good once, for whatever key.
	if p := b.post(action, "same-origin", fields); p.Header.Get("Location") != "/auth/account?done=passkey" {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	_, spare := newDevice().makes(t, b.fill(b.visit("/auth/account/passkey"), form))
	fields.Set("response", spare.Get("response"))
	if p := b.post(action, "same-origin", fields); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("a ceremony that was used: %d", p.Status)
	}
	if p := b.adds(phone, "the same again", nil); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("the same key twice: %d %s", p.Status, p.URL)
	}
}

// Nobody fills the store with ceremonies that never were: of those that come to nothing nothing is kept.
func TestPasskeys_U13_MadeUpOnesLeaveNothing(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b := r.browser().join()
	records := func() int {
		t.Helper()
		all, err := r.store.Scan(t.Context(), session.ID{}, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	stranger := r.browser()
	action, _, fields := stranger.visit("/auth/login").ceremony(t)
	before := records()
	for i := range 5 {
		fields.Set("passkey", strings.Repeat("x", i))
		fields.Set("response", "{}")
		if p := stranger.post(action, "same-origin", fields); p.Status != http.StatusUnprocessableEntity {
			t.Fatalf("%d %s", p.Status, p.Body)
		}
		made := map[string]any{"ceremony": strings.Repeat("x", i), "response": map[string]string{}}
		if p := b.sendJSON("/auth/passkeys/finish", made); p.code(t) != session.WrongPasskey {
			t.Fatalf("%d %s", p.Status, p.Body)
		}
	}
	if after := records(); after != before {
		t.Errorf("%d records, before there were %d", after, before)
	}
}

// Removing takes the password, and ends what was signed in elsewhere: the device may be lost.
func TestPasskeys_U8_Remove(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b := r.browser().join()
	phone := newDevice()
	b.adds(phone, "phone", nil)
	lost := r.browser()
	if p := lost.enters(phone); p.URL != "/page/" {
		t.Fatalf("%d %s", p.Status, p.URL)
	}
	p := b.visit("/auth/account")
	at := strings.Index(p.Body, "/auth/account/passkey-remove?id=")
	if at < 0 {
		t.Fatal(p.Body)
	}
	address := html.UnescapeString(p.Body[at : at+strings.IndexByte(p.Body[at:], '"')])
	page := b.visit(address)
	if p := b.fill(page, map[string]string{"password": "wrong password"}); p.Status != http.StatusForbidden {
		t.Errorf("a wrong password: %d", p.Status)
	}
	eve := r.browser()
	eve.fill(eve.visit("/auth/register"), map[string]string{"identifier": "eve@example.com", "password": adasPassword})
	if p := eve.visit(address); p.URL != "/auth/account" || strings.Contains(p.Body, "phone") {
		t.Errorf("the page of another's passkey: %d %s %s", p.Status, p.URL, p.Body)
	}
	_, form := eve.visit("/auth/account/password").form(t)
	form.Set("password", adasPassword)
	form.Set("id", strings.TrimPrefix(address, "/auth/account/passkey-remove?id="))
	if p := eve.follow(eve.post("/auth/account/passkey-remove", "same-origin", form)); p.URL != "/auth/account" {
		t.Errorf("another's passkey: %d %s", p.Status, p.URL)
	}
	if !strings.Contains(page.Body, "“phone”: nobody can sign in with it any more.") {
		t.Errorf("which passkey? %s", page.Body)
	}
	if p := b.fill(page, map[string]string{"password": adasPassword}); p.URL != "/auth/account?done=passkey-remove" || strings.Contains(p.Body, address) {
		t.Errorf("%d %s %s", p.Status, p.URL, p.Body)
	}
	if p := b.askAPI(); p.Status != http.StatusOK {
		t.Errorf("this session: %d", p.Status)
	}
	if p := b.visit(address); p.URL != "/auth/account" {
		t.Errorf("once more, in another tab: %d %s", p.Status, p.URL)
	}
	if p := lost.askAPI(); p.Status != http.StatusUnauthorized {
		t.Errorf("what was signed in with it: %d", p.Status)
	}
	if p := lost.enters(phone); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("signing in with it: %d", p.Status)
	}
}

// A passkey is two factors in one: it needs no code. Adding one to an account with a second step takes that step.
func TestPasskeys_U13_BesideASecondStep(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b := r.browser().join()
	_, codes := b.setsUp()
	phone := newDevice()
	if p := b.fill(b.visit("/auth/account/passkey"), map[string]string{"name": "phone", "password": adasPassword}); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("without a code: %d", p.Status)
	}
	if p := b.adds(phone, "phone", map[string]string{"code": codes[0]}); p.URL != "/auth/account?done=passkey" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	c := r.browser()
	if p := c.enters(phone); p.URL != "/page/" {
		t.Errorf("%d %s %s", p.Status, p.URL, p.Body)
	}
}

// Nobody who is disabled gets in with a passkey, and its answer is that of an unknown one.
func TestPasskeys_T7_Disabled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	r := newRig(t, withPasskeys(t, func(c *cloakroom.Config) { c.Accounts.Database = accountsFile(t, path) }))
	phone := newDevice()
	r.browser().join().adds(phone, "phone", nil)
	if _, err := accountsFile(t, path).Exec("UPDATE account SET disabled = 1"); err != nil {
		t.Fatal(err)
	}
	b := r.browser()
	if p := b.enters(phone); p.Status != http.StatusUnprocessableEntity || b.ticket() != "" {
		t.Errorf("%d %s", p.Status, p.URL)
	}
}

// Without them there is no button, no script and no endpoint. An IP address is no relying party.
func TestPasskeys_NotHere(t *testing.T) {
	for name, change := range map[string]func(*cloakroom.Config){
		"Off": withAccounts(t, nil),
	} {
		r := newRig(t, change)
		b := r.browser().join()
		if p := r.browser().visit("/auth/login"); strings.Contains(p.Body, "passkey") || strings.Contains(p.Header.Get("Content-Security-Policy"), "script-src") {
			t.Errorf("%s: %s", name, p.Body)
		}
		if p := b.visit("/auth/account"); strings.Contains(p.Body, "asskey") {
			t.Errorf("%s: %s", name, p.Body)
		}
		if p := b.visit("/auth/account/passkey"); p.Status != http.StatusNotFound {
			t.Errorf("%s: %d", name, p.Status)
		}
		if p := b.post("/auth/sign-in/passkey", "same-origin", url.Values{}); p.Status != http.StatusNotFound {
			t.Errorf("%s: %d", name, p.Status)
		}
	}
}
