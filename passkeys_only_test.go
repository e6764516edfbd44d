package cloakroom_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
	"golang.org/x/net/html"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/passkeys"
	"github.com/cloakroom-go/cloakroom/session"
)

// registers makes an account of a passkey alone, on the pages.
func (b *browser) registers(d *device, identifier string) *page {
	b.t.Helper()
	p := b.visit("/auth/register?return_to=/page/")
	link := regexp.MustCompile(`href="(/auth/sign-up/passkey[^"]*)"`).FindStringSubmatch(p.Body)
	if link == nil {
		b.t.Fatalf("no way to register with a passkey: %s", p.Body)
	}
	p = b.fill(b.visit(html.UnescapeString(link[1])), map[string]string{"identifier": identifier})
	if p.Status != http.StatusOK {
		return p
	}
	action, fields := d.makes(b.t, p)
	return b.follow(b.post(action, "same-origin", fields))
}

// shows does something on the account page after a passkey shows who the person is.
func (b *browser) shows(d *device, p *page) *page {
	b.t.Helper()
	action, fields := d.uses(b.t, p)
	return b.follow(b.post(action, "same-origin", fields))
}

// A person registers with a passkey alone, and has no password: none signs in. What a password shows otherwise, a passkey does.
func TestPasskeyOnly_U8_U13_RegisterAndChange(t *testing.T) {
	t.Parallel()
	r := newRig(t, withPasskeys(t, func(c *cloakroom.Config) { c.Endpoints.Claims = []string{"amr", "email"} }))
	b, phone, spare := r.browser(), newDevice(), newDevice()
	if p := b.registers(phone, adasAddress); p.URL != "/page/" || p.Status != http.StatusOK {
		t.Fatalf("%d %s %s\n%s", p.Status, p.URL, p.Body, r.logs)
	}
	if got := amrOf(t, b); !slices.Equal(got, []any{"pop", "mfa"}) {
		t.Errorf("amr %v", got)
	}
	for _, word := range []string{"", adasPassword} {
		if p := r.browser().sendJSON("/auth/login", adas(word)); p.code(t) != session.WrongCredentials {
			t.Errorf("signing in by the password %q: %d %s", word, p.Status, p.Body)
		}
	}
	if p := r.browser().enters(phone); p.URL != "/page/" {
		t.Errorf("%d %s", p.Status, p.URL)
	}

	// The last way in stays: the page offers nothing else, and a form that was made up is refused.
	p := b.visit("/auth/account")
	if strings.Contains(p.Body, "passkey-remove") || strings.Contains(p.Body, "/auth/account/password\"") || !strings.Contains(p.Body, "None. You sign in with a passkey") {
		t.Errorf("%s", p.Body)
	}
	id := b.fetch("GET", "/auth/factors").json(t)["passkeys"].([]any)[0].(map[string]any)["id"].(string)
	if p := b.shows(phone, b.visit("/auth/account/passkey-remove?id="+id)); p.Status != http.StatusConflict {
		t.Errorf("the last passkey: %d %s", p.Status, p.Body)
	}

	// Another passkey, after the first. A password shows nothing here, and nor does a passkey of somebody else's.
	eve, hers := r.browser(), newDevice()
	eve.registers(hers, "eve@example.com")
	asked := b.fill(b.visit("/auth/account/passkey"), map[string]string{"name": "spare"})
	if p := b.shows(hers, asked); p.Status != http.StatusUnprocessableEntity || strings.Contains(p.Body, `data-ceremony="create"`) {
		t.Errorf("another's passkey: %d %s", p.Status, p.Body)
	}
	_, _, fields := asked.ceremony(t)
	fields.Set("proof", "")
	fields.Set("password", adasPassword)
	if p := b.post("/auth/account/passkey", "same-origin", fields); p.Status != http.StatusForbidden {
		t.Errorf("a password: %d %s", p.Status, p.Body)
	}
	asked = b.fill(b.visit("/auth/account/passkey"), map[string]string{"name": "spare"})
	action, proof := phone.uses(t, asked)
	theirs, _ := url.ParseQuery(proof.Encode())
	theirs.Set("_csrf", func() string {
		_, _, f := eve.visit("/auth/account/passkey-password").ceremony(t)
		return f.Get("_csrf")
	}())
	if p := eve.post(action, "same-origin", theirs); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("in another's session: %d %s", p.Status, p.Body)
	}
	action, made := spare.makes(t, b.post(action, "same-origin", proof))
	if p := b.follow(b.post(action, "same-origin", made)); p.URL != "/auth/account?done=passkey" || !strings.Contains(p.Body, "spare") {
		t.Fatalf("%d %s %s", p.Status, p.URL, p.Body)
	}
	if p := b.post(action, "same-origin", proof); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("the proof once more: %d", p.Status)
	}

	// One of two goes, the other signs in.
	other := r.browser()
	other.enters(phone)
	if p := b.shows(spare, b.visit("/auth/account/passkey-remove?id="+id)); p.URL != "/auth/account?done=passkey-remove" {
		t.Errorf("%d %s %s", p.Status, p.URL, p.Body)
	}
	if p := other.askAPI(); p.Status != http.StatusUnauthorized {
		t.Errorf("what was signed in with it: %d", p.Status)
	}
	if p := r.browser().enters(spare); p.URL != "/page/" {
		t.Errorf("%d %s", p.Status, p.URL)
	}
}

// A password comes later, after a passkey, and goes again, after the password: never without a passkey in its place.
func TestPasskeyOnly_U8_PasswordSetAndRemoved(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b, phone := r.browser(), newDevice()
	b.registers(phone, adasAddress)
	other := r.browser()
	other.enters(phone)
	p := b.visit("/auth/account/password")
	if p.URL != "/auth/account/passkey-password" {
		t.Fatalf("%d %s", p.Status, p.URL)
	}
	p = b.shows(phone, p)
	if p := b.fill(p, map[string]string{"new_password": "short"}); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("short: %d", p.Status)
	}
	_, stolen := p.form(t)
	if p := other.post("/auth/account/passkey-password", "same-origin", url.Values{"_csrf": {other.csrfOf("/auth/account/passkey")}, "allowed": stolen["allowed"], "new_password": {adasPassword}}); p.Status != http.StatusBadRequest {
		t.Errorf("in another session: %d %s", p.Status, p.Body)
	}
	if p := b.fill(p, map[string]string{"new_password": adasPassword}); p.URL != "/auth/account?done=passkey-password" {
		t.Fatalf("%d %s %s", p.Status, p.URL, p.Body)
	}
	if p := other.askAPI(); p.Status != http.StatusUnauthorized {
		t.Errorf("the other session: %d", p.Status)
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.Status != http.StatusOK {
		t.Errorf("the password: %d %s", p.Status, p.Body)
	}
	if p := b.fill(b.visit("/auth/account/passkey-only"), map[string]string{"password": "wrong password"}); p.Status != http.StatusForbidden {
		t.Errorf("a wrong password: %d", p.Status)
	}
	if p := b.fill(b.visit("/auth/account/passkey-only"), map[string]string{"password": adasPassword}); p.URL != "/auth/account?done=passkey-only" {
		t.Fatalf("%d %s %s", p.Status, p.URL, p.Body)
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.code(t) != session.WrongCredentials {
		t.Errorf("the password that was removed: %d %s", p.Status, p.Body)
	}
	if p := r.browser().enters(phone); p.URL != "/page/" {
		t.Errorf("%d %s", p.Status, p.URL)
	}
	eve := r.browser()
	eve.sendJSON("/auth/register", map[string]string{"identifier": "eve@example.com", "password": adasPassword})
	if p := eve.sendJSON("/auth/passkeys/only", map[string]string{"current_password": adasPassword}); p.Status != http.StatusConflict || p.code(t) != session.LastWay {
		t.Errorf("without a passkey: %d %s", p.Status, p.Body)
	}
}

// csrfOf is the token of a page's form.
func (b *browser) csrfOf(path string) string {
	b.t.Helper()
	_, fields := b.visit(path).form(b.t)
	return fields.Get("_csrf")
}

// What came of making a passkey is good once, in the login in which it began, and for one name: who is second is told so, and has no account.
func TestPasskeyOnly_U6_U13_BoundToTheLogin(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	r := newRig(t, withPasskeys(t, func(c *cloakroom.Config) { c.Accounts.Database = accountsFile(t, path) }))
	begin := func(b *browser) *page {
		state := regexp.MustCompile(`state=([^"&]+)`).FindStringSubmatch(b.visit("/auth/register?return_to=/page/").Body)[1]
		return b.fill(b.visit("/auth/sign-up/passkey?state="+state), map[string]string{"identifier": adasAddress})
	}
	b, second := r.browser(), r.browser()
	action, fields := newDevice().makes(t, begin(b))
	_, others := newDevice().makes(t, begin(second))
	mixed := url.Values{"state": others["state"], "passkey": fields["passkey"], "response": fields["response"], "identifier": fields["identifier"]}
	if p := second.post(action, "same-origin", mixed); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("in another login: %d %s", p.Status, p.Body)
	}
	if p := r.browser().post(action, "same-origin", fields); p.Status != http.StatusBadRequest {
		t.Errorf("in another browser: %d", p.Status)
	}
	if p := b.post(action, "cross-site", fields); p.Status != http.StatusForbidden {
		t.Errorf("from another site: %d", p.Status)
	}
	fields.Set("identifier", "mallory@example.com") // what counts is sealed
	if p := b.follow(b.post(action, "same-origin", fields)); p.Status != http.StatusOK || b.ticket() == "" {
		t.Fatalf("%d %s %s", p.Status, p.URL, p.Body)
	}
	if p := second.post(action, "same-origin", others); p.Status != http.StatusConflict || second.ticket() != "" {
		t.Errorf("who is second: %d %s", p.Status, p.Body)
	}
	if p := begin(r.browser()); p.Status != http.StatusConflict || strings.Contains(p.Body, "data-options") {
		t.Errorf("a name that is taken: %d %s", p.Status, p.Body)
	}
	var n int
	if err := accountsFile(t, path).QueryRow("SELECT COUNT(*) FROM account WHERE email = ? AND password = ''", adasAddress).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d accounts without a password: %v", n, err)
	}
	if err := accountsFile(t, path).QueryRow("SELECT COUNT(*) FROM account_passkey").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d passkeys: %v", n, err)
	}
}

// A front end with forms of its own does the same.
func TestPasskeyOnly_U8_U13_JSON(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b, phone := r.browser(), newDevice()
	if p := b.sendJSON("/auth/register/passkey", map[string]string{"identifier": "nobody"}); p.code(t) != session.BadIdentifier {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	begun := b.sendJSON("/auth/register/passkey", map[string]string{"identifier": adasAddress, "name": "Ada"}).json(t)
	p := b.sendJSON("/auth/register/passkey/finish", map[string]any{"state": begun["state"], "ceremony": begun["ceremony"], "name": "phone", "response": phone.madeFor(t, begun)})
	if p.Status != http.StatusOK || p.json(t)["authenticated"] != true {
		t.Fatalf("%d %s\n%s", p.Status, p.Body, r.logs)
	}
	if p := b.fetch("GET", "/auth/factors"); p.json(t)["password"] != false || !strings.Contains(p.Body, `"name":"phone"`) {
		t.Errorf("%s", p.Body)
	}
	if p := r.browser().sendJSON("/auth/register/passkey", map[string]string{"identifier": adasAddress}); p.code(t) != session.IdentifierTaken {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/passkeys", map[string]string{"current_password": ""}); p.code(t) != session.WrongPassword {
		t.Errorf("no proof: %d %s", p.Status, p.Body)
	}
	proof := func(more map[string]any) map[string]any {
		asked := b.sendJSON("/auth/passkeys/ask", map[string]any{}).json(t)
		more["ceremony"], more["response"] = asked["ceremony"], phone.usedFor(t, asked)
		return more
	}
	id := b.fetch("GET", "/auth/factors").json(t)["passkeys"].([]any)[0].(map[string]any)["id"]
	if p := b.sendJSON("/auth/passkeys/remove", proof(map[string]any{"id": id})); p.Status != http.StatusConflict || p.code(t) != session.LastWay {
		t.Errorf("the last one: %d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/passkeys", proof(map[string]any{})); p.Status != http.StatusOK {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	used := proof(map[string]any{"new_password": adasPassword})
	if p := b.sendJSON("/auth/password", used); p.Status != http.StatusOK || p.json(t)["authenticated"] != true {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/password", used); p.Status < 400 {
		t.Errorf("once more: %d", p.Status)
	}
	// Who has a password shows that.
	if p := b.sendJSON("/auth/passkeys", proof(map[string]any{})); p.code(t) != session.WrongPassword {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/passkeys/only", map[string]string{"current_password": adasPassword}); p.Status != http.StatusOK {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.code(t) != session.WrongCredentials {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

func optionsOf(t *testing.T, begun map[string]any) string {
	t.Helper()
	text, err := json.Marshal(begun["options"])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// madeFor answers what a front end is told to ask for.
func (d *device) madeFor(t *testing.T, begun map[string]any) json.RawMessage {
	t.Helper()
	asked, err := virtualwebauthn.ParseAttestationOptions(optionsOf(t, begun))
	if err != nil {
		t.Fatal(err)
	}
	d.auth.Options.UserHandle = []byte(asked.UserID)
	return json.RawMessage(virtualwebauthn.CreateAttestationResponse(d.party, d.auth, d.key, *asked))
}

func (d *device) usedFor(t *testing.T, begun map[string]any) json.RawMessage {
	t.Helper()
	asked, err := virtualwebauthn.ParseAssertionOptions(optionsOf(t, begun))
	if err != nil {
		t.Fatal(err)
	}
	d.key.Counter++
	return json.RawMessage(virtualwebauthn.CreateAssertionResponse(d.party, d.auth, d.key, *asked))
}

// Where nobody registers, and where there are no passkeys, there is no such page and no such endpoint.
func TestPasskeyOnly_NotHere(t *testing.T) {
	without, _ := withMail(t, func(c *cloakroom.Config) { c.Accounts.VerifyEmailOff = false })
	closed := newRig(t, withPasskeys(t, func(c *cloakroom.Config) { c.Accounts.RegisterOff = true }))
	for name, r := range map[string]*rig{"Without": without, "Closed": closed} {
		b := r.browser()
		if p := b.visit("/auth/register"); strings.Contains(p.Body, "sign-up/passkey") {
			t.Errorf("%s: %s", name, p.Body)
		}
		for _, path := range []string{"/auth/register/passkey", "/auth/register/passkey/finish", "/auth/email/confirm/ask"} {
			if p := b.sendJSON(path, map[string]string{"identifier": adasAddress}); p.Status != http.StatusNotFound {
				t.Errorf("%s %s: %d", name, path, p.Status)
			}
		}
		if p := b.post("/auth/sign-up/passkey", "same-origin", url.Values{"identifier": {adasAddress}}); p.Status != http.StatusNotFound {
			t.Errorf("%s: %d", name, p.Status)
		}
	}
}

// Who has no password confirms another address where they are signed in.
func TestPasskeyOnly_U8_U9_ChangeOfAddress(t *testing.T) {
	r, mail := withMail(t, func(c *cloakroom.Config) { c.Accounts.Passkeys = passkeys.New() })
	b, phone := r.browser(), newDevice()
	b.registers(phone, adasAddress)
	if p := b.shows(phone, b.fill(b.visit("/auth/account/email"), map[string]string{"email": "ada@elsewhere.example"})); !strings.Contains(p.Body, "Look into your mail") {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	link := linkIn(t, mail.Next())
	eve := r.browser()
	eve.registers(newDevice(), "eve@example.com")
	for name, other := range map[string]*browser{"nobody": r.browser(), "another": eve} {
		if p := other.fill(other.fromMail(link), nil); !strings.Contains(p.Body, "Please sign in with your passkey in this browser first") {
			t.Errorf("%s: %d %s", name, p.Status, p.Body)
		}
		token := link[strings.Index(link, "token=")+len("token="):]
		if p := other.sendJSON("/auth/email/confirm", map[string]string{"token": token, "password": ""}); p.code(t) != session.WrongPassword {
			t.Errorf("%s: %d %s", name, p.Status, p.Body)
		}
	}
	if p := b.fill(b.fromMail(link), nil); !strings.Contains(p.Body, "Your address is changed") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := r.browser().enters(phone); p.URL != "/page/" {
		t.Errorf("%d %s", p.Status, p.URL)
	}
}
