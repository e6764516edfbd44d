package cloakroom_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

// What nobody's browser sends and anybody can, with every pair of storage and delivery, at every kind of address. Each has one answer,
// the same wherever sessions rest and however the token goes on, and none is a fault of ours. What is wrong with cookies of a sealed session
// piece by piece is in TestSealed_S6_CookiesNobodyCanUse, tokens at an API elsewhere in package verify, its issuer's failures in
// TestIntrospection_A5_TheIssuerFails, files of keys in TestNewKeyring_S8_WhatIsRefused.
func TestBadInput_OneAnswerNeverA500(t *testing.T) {
	for _, storage := range []string{"store", "sealed"} {
		for _, delivery := range []string{"proxy", "cookie", "split", "memory"} {
			t.Run(storage+" "+delivery, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, taking(func(c *cloakroom.Config) { c.Cookie.Storage, c.Tokens.Delivery = storage, delivery }), padded(2000))
				b := r.browser()
				b.visit("/auth/login?return_to=/open/")
				cookies := b.cookie()
				first := sessionCookie
				if storage == "sealed" {
					first = part(0)
				}
				value := b.cookies[first].Value
				but := func(changed string) string { return strings.Replace(cookies, first+"="+value, changed, 1) }
				machine := r.machine(apiA)
				with := func(cookie, bearer string) http.Header {
					h := http.Header{"Cookie": {cookie}}
					if bearer != "" {
						h["Authorization"] = []string{bearer}
					}
					return h
				}
				const theirs = "theirs=1" // for a request without a cookie of ours
				// What an address that needs a session answers. A route that takes bearers has its own word where one comes.
				inputs := []struct {
					name        string
					header      http.Header
					status, api int // api: 0 is the same
				}{
					{"nothing", with(theirs, ""), 401, 0},
					{"a part missing", with(but("x=1"), ""), 401, 0},
					{"a part doubled", with(cookies+"; "+first+"="+value, ""), 400, 0},
					{"a part doubled, once empty", with(first+"=; "+cookies, ""), 400, 0},
					{"empty", with(but(first+"="), ""), 401, 0},
					{"one byte", with(but(first+"=1"), ""), 401, 0},
					{"64 kB", with(but(first+"=2"+strings.Repeat("A", 64<<10)), ""), 401, 0},
					{"altered", with(but(first+"="+flip(value, len(value)/2)), ""), 401, 0},
					{"of the other storage", with(sessionCookie+"=2AAAA; "+part(0)+"=2AAAA; "+part(1)+"=AAAA", ""), 401, 0},
					{"bytes that are no text", with(but(first+"=\xff\xfe\x80"), ""), 401, 0},
					{"a bearer of one byte", with(theirs, "Bearer x"), 401, 0},
					{"a bearer of 64 kB", with(theirs, "Bearer "+strings.Repeat("x", 64<<10)), 401, 0},
					{"a bearer that is not there", with(theirs, "Bearer"), 401, 400},
					{"alg none", with(theirs, "Bearer "+r.op.Signer().Unsigned(map[string]any{"alg": "none", "typ": "at+jwt"}, claimsOf(t, machine), "")), 401, 0},
					{"for another audience", with(theirs, "Bearer "+r.machine(apiB)), 401, 0},
					{"an ID token", with(theirs, "Bearer "+r.op.Signer().Honest(map[string]any{
						"iss": r.op.Issuer(), "sub": "ada", "aud": fakeop.ClientID, "nonce": "n", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix(),
					})), 401, 0},
				}
				for _, in := range inputs {
					for _, to := range []struct{ method, path string }{
						{"GET", "/api/me"}, {"POST", "/api/me"}, {"GET", "/a/me"}, {"POST", "/a/me"}, {"POST", "/auth/refresh"}, {"POST", "/auth/token"},
						{"GET", "/auth/sessions"}, {"DELETE", "/auth/sessions/x"},
					} {
						want := in.status
						switch {
						case to.path == "/auth/token" && delivery != "memory":
							want = http.StatusNotFound
						case to.path == "/a/me" && in.api != 0:
							want = in.api
						}
						p := b.do(request{method: to.method, path: to.path, site: "same-origin", header: maps.Clone(in.header)})
						if p.Status != want {
							t.Errorf("%s, %s %s: %d, want %d: %.200s", in.name, to.method, to.path, p.Status, want, p.Body)
						}
					}
					// Looking is for everyone, unless which session is meant cannot be told.
					want := map[bool]int{true: 400, false: 200}[in.status == 400]
					if p := b.do(request{method: "GET", path: "/auth/session", site: "same-origin", header: maps.Clone(in.header)}); p.Status != want || strings.Contains(p.Body, "true") {
						t.Errorf("%s, session: %d, want %d: %.200s", in.name, p.Status, want, p.Body)
					}
					if p := b.do(request{method: "GET", path: "/api/me", site: "none", nav: true, header: maps.Clone(in.header)}); p.Status != 302 && p.Status != 303 && p.Status != in.status && p.Status != in.api {
						t.Errorf("%s, as a page: %d %.200s", in.name, p.Status, p.Body)
					}
				}
				// Two answers to the question who it is.
				want := map[bool]int{true: 401, false: 400}[delivery == "memory"] // there the page brings one, and it is the session's own
				if p := b.do(request{method: "GET", path: "/a/me", site: "same-origin", header: with(cookies, "Bearer "+machine)}); p.Status != want {
					t.Errorf("a header token beside cookies: %d, want %d", p.Status, want)
				}
				if r.hits() != 1 { // the page at which the login ended
					t.Errorf("%d requests reached the API", r.hits()-1)
				}
				if p := b.fetch("GET", "/auth/session"); !strings.Contains(p.Body, `"authenticated":true`) {
					t.Errorf("the session itself: %s", p.Body)
				}
				lines := slices.DeleteFunc(strings.Split(r.logs.String(), "\n"), func(line string) bool { return !strings.Contains(line, "level=ERROR") })
				if len(lines) > 0 {
					t.Errorf("a fault of ours: %s", lines[0])
				}
			})
		}
	}
}

// Whatever comes into a field of the accounts' endpoints is no fault of ours, and whatever may be a secret is in no log and no header.
func TestBadInput_G3_AccountsNeverA500(t *testing.T) {
	t.Parallel()
	const canary = "canary-of-the-coal-mine"
	odd := map[string]any{
		"nul": canary + "\x00", "surrogate": json.RawMessage(`"` + canary + `\ud800"`), "controls": canary + "\r\nX: 1\u0085\u2028\u202e",
		"long": canary + strings.Repeat("ü", 4000), "object": map[string]any{"a": canary},
	}
	for path, fields := range map[string][]string{
		"login": {"identifier", "password", "code", "remember"}, "login/mail": {"identifier"}, "login/code": {"state", "code"}, "login/step": {"state", "step", "code"},
		"login/passkey": {"remember"}, "login/passkey/finish": {"state", "ceremony", "response"}, "register": {"identifier", "password", "name"},
		"password": {"current_password", "new_password"}, "password/forgot": {"identifier"}, "password/reset": {"token", "password"},
		"email": {"current_password", "email", "code"}, "email/confirm": {"token", "password"}, "recovery-codes": {"current_password", "code"},
		"authenticator": {"current_password", "code"}, "authenticator/confirm": {"offer", "code"}, "authenticator/remove": {"current_password", "code"},
		"passkeys": {"current_password", "code"}, "passkeys/finish": {"ceremony", "name", "response"}, "passkeys/remove": {"current_password", "id", "code"},
		"sign-in form": {"state", "identifier", "password"}, "sign-in/code form": {"state", "step", "code"}, "sign-in/passkey form": {"state", "passkey", "response"},
		"sign-in/mail form": {"state", "identifier"}, "sign-in/mail/code form": {"state", "code"}, "sign-in/link form": {"token"}, "sign-up form": {"state", "identifier", "password"},
		"forgot-password form": {"identifier", "state"}, "reset-password form": {"token", "password"}, "verify-email form": {"token", "password"},
		"account/password form": {"current_password", "new_password"}, "account/authenticator form": {"password", "code", "offer"},
		"account/passkey form": {"password", "name", "passkey", "response"}, "account/passkey-remove form": {"password", "id"}, "account/email form": {"email", "password"},
		"account/device form": {"id"},
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, withPasskeys(t, func(c *cloakroom.Config) {
				c.Accounts.Mail, c.Accounts.EmailLink, c.Accounts.VerifyEmailOff = &cloakroom.MailOptions{Server: "127.0.0.1:1", From: "a@example.com"}, true, true
			}))
			for kind, v := range odd { // each with somebody of their own: nobody's guesses make another wait
				usual := map[string]any{
					"identifier": kind + "@example.com", "password": adasPassword, "current_password": adasPassword, "email": "other@example.com", "remember": true,
				}
				b := r.browser()
				if p := b.sendJSON("/auth/register", map[string]any{"identifier": usual["identifier"], "password": adasPassword}); p.Status != http.StatusOK {
					t.Fatalf("%d %s", p.Status, p.Body)
				}
				for _, field := range fields {
					p := b.odd(path, fields, usual, field, v)
					if p.Status >= 500 && p.Status != http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
						t.Errorf("%s in %s: %d %.300s", kind, field, p.Status, p.Body)
					}
					for name, values := range p.Header {
						if name == "X" || strings.Contains(strings.Join(values, ""), canary) {
							t.Errorf("%s in %s: %s: %q", kind, field, name, values)
						}
					}
				}
			}
			for line := range strings.Lines(r.logs.String()) {
				if strings.Contains(line, canary) || strings.Contains(line, "level=ERROR") && !strings.Contains(line, "code=mail_down") { // there is no mail server
					t.Errorf("log: %s", line)
				}
			}
		})
	}
}

// odd sends what is usual to an endpoint, with something else in one field.
func (b *browser) odd(path string, fields []string, usual map[string]any, field string, v any) *page {
	b.t.Helper()
	body := map[string]any{}
	for _, name := range fields {
		if body[name] = usual[name]; body[name] == nil {
			body[name] = "x"
		}
	}
	page, isForm := strings.CutSuffix(path, " form")
	if !isForm {
		body[field] = v
		return b.sendJSON("/auth/"+path, body)
	}
	from := "/auth/login"
	if strings.HasPrefix(page, "account/") {
		from = "/auth/account/password"
	}
	_, form := b.visit(from).form(b.t)
	for _, name := range fields {
		if name != "state" || !form.Has(name) {
			form.Set(name, body[name].(string))
		}
	}
	text, _ := v.(string)
	form.Set(field, text)
	return b.post("/auth/"+page, "same-origin", form)
}
