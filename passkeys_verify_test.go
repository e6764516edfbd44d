package cloakroom_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/postbox"
	"github.com/cloakroom-go/cloakroom/passkeys"
	"github.com/cloakroom-go/cloakroom/session"
)

// verifyingPasskeys is verifying where people may register with a passkey alone.
func verifyingPasskeys(t *testing.T) (*rig, *postbox.Server, *cloakroom.Accounts) {
	var people *cloakroom.Accounts
	r, mail := withMail(t, func(c *cloakroom.Config) {
		c.Accounts.VerifyEmailOff, c.Accounts.Passkeys, people = false, passkeys.New(), c.Accounts
		c.Endpoints.Claims = []string{"amr", "email", "email_verified"}
	})
	return r, mail, people
}

// Who registers with a passkey alone gets a mail, and neither an account nor a passkey. The link makes both, and in the same browser the login
// goes on.
func TestPasskeyVerify_U9_RegisterInOneBrowser(t *testing.T) {
	r, mail, people := verifyingPasskeys(t)
	b, phone := r.browser(), newDevice()
	if p := b.registers(phone, "Ada@Example.com"); p.Status != http.StatusOK || !strings.Contains(p.Body, "A mail is on its way to Ada@Example.com") || b.ticket() != "" {
		t.Fatalf("%d %s\n%s", p.Status, p.Body, r.logs)
	}
	link := linkIn(t, mail.Next())
	if n := count(t, people, "account") + count(t, people, "account_passkey"); n != 0 {
		t.Errorf("%d rows before the address is verified", n)
	}
	if p := r.browser().enters(phone); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("signing in before: %d %s", p.Status, p.URL)
	}
	r.browser().do(request{method: "GET", path: link}) // a scanner
	if p := b.fill(b.fromMail(link), nil); p.Status != http.StatusOK || p.URL != "/page/" {
		t.Fatalf("%d %s %s\n%s", p.Status, p.URL, p.Body, r.logs)
	}
	user := b.fetch("GET", "/auth/session").json(t)["user"].(map[string]any)
	if amr := user["amr"].([]any); !slices.Equal(amr, []any{"pop", "mfa"}) || user["email_verified"] != true || user["email"] != "Ada@Example.com" {
		t.Errorf("%v", user)
	}
	if !slices.Contains(r.actions(), audit.Registered) {
		t.Errorf("audit: %v", r.actions())
	}
	if p := b.fromMail(link); p.Status != http.StatusGone {
		t.Errorf("the link again: %d", p.Status)
	}
	if p := r.browser().enters(phone); p.URL != "/page/" {
		t.Errorf("signing in afterwards: %d %s %s", p.Status, p.URL, p.Body)
	}
}

// On another device the passkey shows that whoever clicks is who registered, as the password does otherwise. It is asked for once, for this link.
func TestPasskeyVerify_U8_U9_AnotherDeviceNeedsThePasskey(t *testing.T) {
	r, mail, people := verifyingPasskeys(t)
	phone, stranger := newDevice(), newDevice()
	r.browser().registers(phone, adasAddress)
	link := linkIn(t, mail.Next())
	r.browser().registers(stranger, "eve@example.com")
	evesLink := linkIn(t, mail.Next())
	other := r.browser()
	refused := func(name string, p *page) {
		t.Helper()
		if p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Body, "data-options") || count(t, people, "account") != 0 {
			t.Errorf("%s: %d %s", name, p.Status, p.Body)
		}
	}
	action, fields := phone.uses(t, other.fromMail(link))
	without := url.Values{"token": fields["token"]}
	refused("a click alone", other.post(action, "same-origin", without))
	refused("a password", other.post(action, "same-origin", url.Values{"token": fields["token"], "password": {""}}))
	_, wrong := stranger.uses(t, other.fromMail(link))
	refused("another passkey", other.post(action, "same-origin", wrong))
	_, mixed := phone.uses(t, other.fromMail(evesLink))
	mixed.Set("token", fields.Get("token"))
	refused("asked for another link", other.post(action, "same-origin", mixed))
	if p := other.post(action, "cross-site", fields); p.Status != http.StatusForbidden {
		t.Errorf("from another site: %d", p.Status)
	}
	if p := other.post(action, "same-origin", fields); p.Status != http.StatusOK || !strings.Contains(p.Body, "Your account is ready") || other.ticket() != "" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := other.post(action, "same-origin", fields); p.Status != http.StatusGone {
		t.Errorf("once more: %d", p.Status)
	}
	if p := other.enters(phone); p.URL != "/page/" {
		t.Errorf("%d %s %s", p.Status, p.URL, p.Body)
	}
}

// Registering with a passkey tells nobody whether there is an account, neither before the passkey is made nor after; who has one is told by mail.
func TestPasskeyVerify_U6_RegisteringTellsNothing(t *testing.T) {
	r, mail, people := verifyingPasskeys(t)
	b := r.browser()
	b.apply(adasAddress, adasPassword)
	b.fill(b.fromMail(linkIn(t, mail.Next())), nil)
	var pages, bodies []string
	for _, identifier := range []string{adasAddress, "eve@example.com"} {
		p := r.browser().registers(newDevice(), identifier)
		if p.Status != http.StatusOK {
			t.Errorf("%s: %d %s", identifier, p.Status, p.Body)
		}
		said, _, _ := strings.Cut(p.Body, "Back to signing in")
		said = said[:strings.LastIndex(said, "<a")] // its address has the login's state
		pages = append(pages, strings.ReplaceAll(said, identifier, "somebody"))
		c, d := r.browser(), newDevice()
		begun := c.sendJSON("/auth/register/passkey", map[string]string{"identifier": identifier}).json(t)
		sent := c.sendJSON("/auth/register/passkey/finish", map[string]any{"state": begun["state"], "ceremony": begun["ceremony"], "response": d.madeFor(t, begun)})
		if sent.Status != http.StatusAccepted || c.ticket() != "" {
			t.Errorf("%s: %d %s", identifier, sent.Status, sent.Body)
		}
		bodies = append(bodies, sent.Body)
	}
	if pages[0] != pages[1] || bodies[0] != bodies[1] {
		t.Errorf("%q %q", pages, bodies)
	}
	subjects := map[string]int{}
	for range 4 {
		l := mail.Next()
		subjects[l.To+": "+l.Subject]++
	}
	if subjects[adasAddress+": You have an account at app.example.com"] != 2 || subjects["eve@example.com: Confirm your address at app.example.com"] != 2 {
		t.Errorf("%v", subjects)
	}
	if n := count(t, people, "account_passkey"); n != 0 {
		t.Errorf("%d passkeys", n)
	}
}

// Somebody registers a passkey with the address of another. Nothing of it is left to whoever owns the address, whatever they click: not by the
// stranger's link, which asks for the stranger's passkey, and not once they have an account of their own.
func TestPasskeyVerify_U8_AddressOfAnother(t *testing.T) {
	r, mail, people := verifyingPasskeys(t)
	eve, evesPhone := r.browser(), newDevice()
	eve.registers(evesPhone, adasAddress)
	evesLink := linkIn(t, mail.Next())
	ada, adasPhone := r.browser(), newDevice()
	p := ada.fromMail(evesLink)
	action, fields := adasPhone.uses(t, p)
	if p := ada.post(action, "same-origin", fields); p.Status != http.StatusUnprocessableEntity || count(t, people, "account") != 0 {
		t.Errorf("by the stranger's link: %d %s", p.Status, p.Body)
	}
	ada.registers(adasPhone, adasAddress)
	if p := ada.fill(ada.fromMail(linkIn(t, mail.Next())), nil); p.URL != "/page/" {
		t.Fatalf("%d %s %s", p.Status, p.URL, p.Body)
	}
	if p := r.browser().enters(evesPhone); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("the stranger signs in: %d %s", p.Status, p.URL)
	}
	if p := eve.fill(eve.fromMail(evesLink), nil); p.Status != http.StatusConflict || eve.ticket() != "" {
		t.Errorf("the stranger's link, in the stranger's browser: %d %s", p.Status, p.Body)
	}
	if accounts, keys := count(t, people, "account"), count(t, people, "account_passkey"); accounts != 1 || keys != 1 {
		t.Errorf("%d accounts, %d passkeys", accounts, keys)
	}
}

// A front end with a page of its own does the same.
func TestPasskeyVerify_U8_U9_JSON(t *testing.T) {
	r, mail, people := verifyingPasskeys(t)
	b, phone := r.browser(), newDevice()
	begun := b.sendJSON("/auth/register/passkey", map[string]string{"identifier": adasAddress, "name": "Ada"}).json(t)
	finish := map[string]any{"state": begun["state"], "ceremony": begun["ceremony"], "name": "my phone", "response": phone.madeFor(t, begun)}
	if p := b.sendJSON("/auth/register/passkey/finish", finish); p.Status != http.StatusAccepted || p.json(t)["expires_in"] != 600.0 {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/register/passkey/finish", finish); p.code(t) != session.LoginLost {
		t.Errorf("once more: %d %s", p.Status, p.Body)
	}
	tokenIn := func(link string) string { return link[strings.Index(link, "token=")+len("token="):] }
	token := tokenIn(linkIn(t, mail.Next()))
	for name, v := range map[string]struct {
		body map[string]any
		want session.Code
	}{
		"nothing":          {map[string]any{"token": token}, session.WrongPasskey},
		"a password":       {map[string]any{"token": token, "password": ""}, session.WrongPasskey},
		"made up":          {map[string]any{"token": token, "ceremony": "x", "response": map[string]any{}}, session.WrongPasskey},
		"no token of ours": {map[string]any{"token": "x"}, session.LinkOver},
	} {
		if p := b.sendJSON("/auth/email/confirm", v.body); p.code(t) != v.want {
			t.Errorf("%s: %d %s", name, p.Status, p.Body)
		}
	}
	if p := b.sendJSON("/auth/email/confirm/ask", map[string]string{"token": "x"}); p.code(t) != session.LinkOver {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	asked := b.sendJSON("/auth/email/confirm/ask", map[string]string{"token": token}).json(t)
	proof := map[string]any{"token": token, "ceremony": asked["ceremony"], "response": json.RawMessage(phone.usedFor(t, asked))}
	if p := b.sendJSON("/auth/email/confirm", proof, func(q *request) { q.site = "cross-site" }); p.code(t) != session.CrossSite {
		t.Errorf("from another site: %d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/email/confirm", proof); p.Status != http.StatusOK || p.json(t)["authenticated"] != true || b.ticket() == "" {
		t.Fatalf("%d %s\n%s", p.Status, p.Body, r.logs)
	}
	if p := b.sendJSON("/auth/email/confirm", proof); p.code(t) != session.LinkOver {
		t.Errorf("once more: %d %s", p.Status, p.Body)
	}
	if p := b.fetch("GET", "/auth/factors"); p.json(t)["password"] != false || !strings.Contains(p.Body, `"name":"my phone"`) || count(t, people, "account WHERE name = 'Ada'") != 1 {
		t.Errorf("%s", p.Body)
	}
	// Of an account that is made of a password there is no passkey to ask for.
	r.browser().sendJSON("/auth/register", map[string]string{"identifier": "eve@example.com", "password": adasPassword})
	if p := b.sendJSON("/auth/email/confirm/ask", map[string]string{"token": tokenIn(linkIn(t, mail.Next()))}); p.code(t) != session.NotFound {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// No mail can be sent: the person is told, and nothing half-made is left. What a ceremony never made is told, too.
func TestPasskeyVerify_U9_ServerDownAndRefused(t *testing.T) {
	r, mail, people := verifyingPasskeys(t)
	b := r.browser()
	for _, identifier := range []string{"nobody", "ada@example.com, eve@example.com"} {
		if p := b.sendJSON("/auth/register/passkey", map[string]string{"identifier": identifier}); p.code(t) != session.BadIdentifier {
			t.Errorf("%s: %d %s", identifier, p.Status, p.Body)
		}
	}
	begun := b.sendJSON("/auth/register/passkey", map[string]string{"identifier": adasAddress}).json(t)
	made := map[string]any{"state": begun["state"], "ceremony": begun["ceremony"], "response": map[string]any{}}
	if p := b.sendJSON("/auth/register/passkey/finish", made); p.code(t) != session.WrongPasskey {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	mail.Down()
	made["response"] = newDevice().madeFor(t, begun)
	if p := b.sendJSON("/auth/register/passkey/finish", made); p.Status != http.StatusServiceUnavailable || p.code(t) != session.MailDown {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := r.browser().registers(newDevice(), adasAddress); p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Body, "try again in a few minutes") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if n := count(t, people, "account") + count(t, people, "account_link") + count(t, people, "account_passkey"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// Where nobody's address is verified first, somebody may register a passkey with the address of another. The owner, who signs in by mail, is shown
// to have read a mail and no more: a second mail makes the address no more the account's than the first did, and a new password takes the stranger's
// passkey away.
func TestPasskeyVerify_U8_U9_ReadingMailsIsNoPasskey(t *testing.T) {
	r, mail := withMail(t, func(c *cloakroom.Config) {
		c.Accounts.EmailLink, c.Accounts.Passkeys = true, passkeys.New()
		c.Endpoints.Claims = []string{"email_verified"}
	})
	eve, phone := r.browser(), newDevice()
	if p := eve.registers(phone, adasAddress); p.URL != "/page/" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	ada := r.browser()
	code := ada.askMail(adasAddress)
	if p := ada.fill(code, map[string]string{"code": codeIn(t, mail.Next())}); p.URL != "/page/" {
		t.Fatalf("%d %s %s", p.Status, p.URL, p.Body)
	}
	verified := func(b *browser) bool {
		t.Helper()
		return b.fetch("GET", "/auth/session").json(t)["user"].(map[string]any)["email_verified"] == true
	}
	if p := ada.sendJSON("/auth/email/verify", map[string]string{}); p.Status != http.StatusAccepted {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	link := linkIn(t, mail.Next())
	if p := ada.fill(ada.fromMail(link), nil); !strings.Contains(p.Body, "sign in with your passkey in this browser first") {
		t.Errorf("by a session that a mail began: %d %s", p.Status, p.Body)
	}
	token := link[strings.Index(link, "token=")+len("token="):]
	if p := ada.sendJSON("/auth/email/confirm", map[string]string{"token": token}); p.code(t) != session.WrongPassword {
		t.Errorf("the same by JSON: %d %s", p.Status, p.Body)
	}
	ada = r.browser()
	ada.forget(adasAddress)
	if p := ada.fill(ada.fromMail(linkIn(t, mail.Next())), map[string]string{"password": nextPassword}); !strings.Contains(p.Body, "The new password is set") {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := r.browser().enters(phone); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("the stranger's passkey, after the owner set a password: %d %s", p.Status, p.URL)
	}
	if ada.sendJSON("/auth/login", adas(nextPassword)); !verified(ada) {
		t.Error("the address is not verified")
	}
}
