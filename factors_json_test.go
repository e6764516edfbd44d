package cloakroom_test

import (
	"encoding/base32"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/session"
)

// setsUpJSON turns the second step on without a page of ours.
func (b *browser) setsUpJSON() (*app, []string) {
	b.t.Helper()
	shown := b.sendJSON("/auth/authenticator", map[string]string{"current_password": adasPassword})
	offer := shown.json(b.t)
	secret, err := base32.StdEncoding.DecodeString(strings.ReplaceAll(offer["secret"].(string), " ", ""))
	if err != nil {
		b.t.Fatal(err)
	}
	phone := newApp(secret)
	p := b.sendJSON("/auth/authenticator/confirm", map[string]any{"offer": offer["offer"], "code": phone.code(-1)})
	if p.Status != http.StatusOK {
		b.t.Fatalf("%d %s", p.Status, p.Body)
	}
	for _, p := range []*page{shown, p} { // neither the secret nor the codes stay in a cache
		if got := p.Header.Get("Cache-Control"); got != "no-store" {
			b.t.Errorf("Cache-Control: %s", got)
		}
	}
	return phone, codesOf(p.json(b.t))
}

func codesOf(body map[string]any) (codes []string) {
	all, _ := body["recovery_codes"].([]any)
	for _, one := range all {
		codes = append(codes, one.(string))
	}
	return codes
}

func amrOf(t *testing.T, b *browser) []any {
	t.Helper()
	methods, _ := b.fetch("GET", "/auth/session").json(t)["user"].(map[string]any)["amr"].([]any)
	return methods
}

// The second step is set up, renewed and turned off by a front end with forms of its own. Each takes the password first, and what ends
// sessions answers with the one that goes on.
func TestFactorsJSON_U8_U13_Authenticator(t *testing.T) {
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Endpoints.Claims = []string{"sub", "amr"} }))
	b, other := r.browser().enrolled(), r.browser()
	other.sendJSON("/auth/login", adas(adasPassword))
	if p := b.fetch("GET", "/auth/factors"); p.Body != `{"password":true,"authenticator":null,"recovery_codes":0,"passkeys":[]}`+"\n" {
		t.Errorf("before: %d %s", p.Status, p.Body)
	}
	offer := b.sendJSON("/auth/authenticator", map[string]string{"current_password": adasPassword}).json(t)
	if uri, _ := offer["uri"].(string); !strings.HasPrefix(uri, "otpauth://totp/app.example.com:") {
		t.Errorf("offer %v", offer)
	}
	for _, v := range []struct {
		name, path string
		body       any
		status     int
		code       session.Code
	}{
		{"WrongPassword", "authenticator", map[string]string{"current_password": "not the password"}, 403, session.WrongPassword},
		{"WrongCode", "authenticator/confirm", map[string]any{"offer": offer["offer"], "code": "abcdef"}, 422, session.WrongCode},
		{"NoOffer", "authenticator/confirm", map[string]any{"offer": "made up", "code": "123456"}, 400, session.LoginLost},
		{"NothingToRecover", "recovery-codes", map[string]string{"current_password": adasPassword}, 404, session.NotFound},
		{"UnknownField", "authenticator", `{"password":"x"}`, 400, session.BadRequest},
	} {
		if p := b.sendJSON("/auth/"+v.path, v.body); p.Status != v.status || p.code(t) != v.code {
			t.Errorf("%s: %d %s", v.name, p.Status, p.Body)
		}
	}
	if p := r.browser().sendJSON("/auth/authenticator", map[string]string{"current_password": adasPassword}); p.Status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", p.Status)
	}

	ticket := b.ticket()
	phone, codes := b.setsUpJSON()
	if len(codes) != 10 || b.ticket() == ticket {
		t.Errorf("%d codes, the same ticket: %t", len(codes), b.ticket() == ticket)
	}
	if p := other.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the other session: %d", p.Status)
	}
	if got := amrOf(t, b); !slices.Equal(got, []any{"pwd", "otp", "mfa"}) {
		t.Errorf("amr %v", got)
	}
	if p := b.sendJSON("/auth/authenticator/confirm", map[string]any{"offer": offer["offer"], "code": phone.code(0)}); p.Status < 400 {
		t.Errorf("an offer to the session from before: %d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/recovery-codes", map[string]string{"current_password": adasPassword}); p.code(t) != session.CodeRequired {
		t.Errorf("new codes without a code: %d %s", p.Status, p.Body)
	}
	fresh := codesOf(b.sendJSON("/auth/recovery-codes", map[string]string{"current_password": adasPassword, "code": codes[0]}).json(t))
	if len(fresh) != 10 || slices.Contains(fresh, codes[1]) {
		t.Errorf("new codes: %d", len(fresh))
	}
	if got := b.fetch("GET", "/auth/factors").json(t); got["recovery_codes"] != 10.0 || got["authenticator"].(map[string]any)["created"] == nil {
		t.Errorf("factors %v", got)
	}
	for _, code := range append(codes, fresh...) {
		if strings.Contains(r.logs.String(), code) {
			t.Error("a recovery code is in the log")
		}
	}
	if p := b.sendJSON("/auth/authenticator/remove", map[string]string{"current_password": adasPassword, "code": fresh[0]}); p.Status != http.StatusOK || p.json(t)["authenticated"] != true {
		t.Errorf("off: %d %s", p.Status, p.Body)
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.Status != http.StatusOK {
		t.Errorf("the password alone: %d %s", p.Status, p.Body)
	}
}

// Passkeys, by what navigator.credentials takes and returns.
func TestFactorsJSON_U8_U13_Passkeys(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b, d := r.browser().enrolled(), newDevice()
	begun := b.sendJSON("/auth/passkeys", map[string]string{"current_password": adasPassword}).json(t)
	asked, err := virtualwebauthn.ParseAttestationOptions(textOf(t, begun["options"]))
	if err != nil {
		t.Fatal(err)
	}
	d.auth.Options.UserHandle = []byte(asked.UserID)
	made := map[string]any{"ceremony": begun["ceremony"], "name": "blue key", "response": json.RawMessage(virtualwebauthn.CreateAttestationResponse(d.party, d.auth, d.key, *asked))}
	if p := b.sendJSON("/auth/passkeys/finish", made); p.Status != http.StatusNoContent {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/passkeys/finish", made); p.code(t) != session.WrongPasskey {
		t.Errorf("again: %d %s", p.Status, p.Body)
	}

	phone := r.browser()
	begin := func(b *browser) map[string]any {
		begun := b.sendJSON("/auth/login/passkey", map[string]bool{"remember": true}).json(t)
		asked, err := virtualwebauthn.ParseAssertionOptions(textOf(t, begun["options"]))
		if err != nil {
			t.Fatal(err)
		}
		d.key.Counter++
		return map[string]any{"state": begun["state"], "ceremony": begun["ceremony"], "response": json.RawMessage(virtualwebauthn.CreateAssertionResponse(d.party, d.auth, d.key, *asked))}
	}
	used := begin(phone)
	if p := r.browser().sendJSON("/auth/login/passkey/finish", used); p.code(t) != session.LoginLost {
		t.Errorf("in another browser: %d %s", p.Status, p.Body)
	}
	if p := phone.sendJSON("/auth/login/passkey/finish", used); p.Status != http.StatusOK || p.json(t)["authenticated"] != true {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if c := phone.cookies[holding()]; c == nil || c.MaxAge == 0 {
		t.Errorf("cookie %v", c)
	}
	if p := phone.sendJSON("/auth/login/passkey/finish", used); p.Status < 400 {
		t.Errorf("again: %d %s", p.Status, p.Body)
	}

	key := b.fetch("GET", "/auth/factors").json(t)["passkeys"].([]any)[0].(map[string]any)
	if key["name"] != "blue key" || key["used"] == nil {
		t.Errorf("%v", key)
	}
	remove := func(password string) *page {
		return b.sendJSON("/auth/passkeys/remove", map[string]any{"current_password": password, "id": key["id"]})
	}
	if p := remove("not the password"); p.code(t) != session.WrongPassword {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := remove(adasPassword); p.Status != http.StatusOK || p.json(t)["authenticated"] != true {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := phone.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the session that it began: %d", p.Status)
	}
	if p := phone.sendJSON("/auth/login/passkey/finish", begin(phone)); p.code(t) != session.WrongPasskey {
		t.Errorf("removed: %d %s", p.Status, p.Body)
	}
	if p := newRig(t, withAccounts(t, nil)).browser().sendJSON("/auth/login/passkey", "{}"); p.Status != http.StatusNotFound {
		t.Errorf("without passkeys: %d", p.Status)
	}
}

func textOf(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A mailed code is used up by the first step, so the second has a request of its own. No session begins before it, and the session says
// that no password was asked for.
func TestFactorsJSON_U13_SecondStepAfterMail(t *testing.T) {
	r, mail := withMail(t, func(c *cloakroom.Config) {
		c.Accounts.EmailLink, c.Endpoints.Claims = true, []string{"sub", "amr"}
	})
	phone, _ := r.browser().join().setsUp()
	b := r.browser()
	state := b.sendJSON("/auth/login/mail", map[string]string{"identifier": adasAddress}).json(t)["state"]
	p := b.sendJSON("/auth/login/code", map[string]any{"state": state, "code": codeIn(t, mail.Next())})
	if p.Status != http.StatusAccepted || p.json(t)["state"] != state || b.ticket() != "" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	step := p.json(t)["step"]
	send := func(b *browser, code string) *page {
		return b.sendJSON("/auth/login/step", map[string]any{"state": state, "step": step, "code": code})
	}
	if p := send(b, ""); p.code(t) != session.CodeRequired {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := send(b, "abcdef"); p.code(t) != session.WrongCode {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := send(r.browser(), phone.code(0)); p.code(t) != session.LoginLost {
		t.Errorf("in another browser: %d %s", p.Status, p.Body)
	}
	if p := send(b, phone.code(0)); p.Status != http.StatusOK || p.json(t)["authenticated"] != true {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if got := amrOf(t, b); !slices.Equal(got, []any{"otp", "mfa"}) {
		t.Errorf("amr %v", got)
	}
	if p := send(b, phone.code(1)); p.Status < 400 {
		t.Errorf("again: %d", p.Status)
	}
}

// No other site does any of it for somebody: not by a script, and not by a form, which cannot have the content type.
func TestFactorsJSON_U10_CrossSite(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b := r.browser().enrolled()
	for _, path := range []string{
		"authenticator", "authenticator/confirm", "authenticator/remove", "recovery-codes", "passkeys", "passkeys/finish", "passkeys/remove",
		"login/step", "login/passkey", "login/passkey/finish",
	} {
		body := map[string]string{"current_password": adasPassword}
		for _, site := range []string{"cross-site", "same-site"} {
			if p := b.sendJSON("/auth/"+path, body, func(q *request) { q.site = site }); p.Status != http.StatusForbidden || p.code(t) != session.CrossSite {
				t.Errorf("%s from %s: %d %s", path, site, p.Status, p.Body)
			}
		}
		form := func(q *request) { q.header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}} }
		if p := b.sendJSON("/auth/"+path, "current_password=x", form); p.Status != http.StatusBadRequest || p.code(t) != session.BadRequest {
			t.Errorf("%s as a form: %d %s", path, p.Status, p.Body)
		}
	}
}

// Whoever is signed in brings what csrf asks for, too; where a session begins there is nothing to bring yet.
func TestFactorsJSON_X8_CSRF(t *testing.T) {
	for _, mode := range []string{"header", "token"} {
		t.Run(mode, func(t *testing.T) {
			r := newRig(t, withAccounts(t, byCSRF(mode)))
			b := r.browser().enrolled()
			proof := map[string]string{"current_password": adasPassword}
			for _, token := range map[string][]string{"header": {""}, "token": {"", "1"}}[mode] {
				p := b.sendJSON("/auth/authenticator", proof, func(q *request) {
					if token != "" {
						q.header.Set("X-CSRF-Token", token)
					}
				})
				if p.Status != http.StatusForbidden || p.code(t) != session.CrossSite {
					t.Errorf("with %q: %d %s", token, p.Status, p.Body)
				}
			}
			token := "1"
			if mode == "token" {
				token = b.csrfToken()
			}
			if p := b.sendJSON("/auth/authenticator", proof, func(q *request) { q.header.Set("X-CSRF-Token", token) }); p.Status != http.StatusOK {
				t.Errorf("%d %s", p.Status, p.Body)
			}
		})
	}
}
