package cloakroom_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/session"
)

// app is an authenticator app as people have it.
type app struct {
	secret []byte
	step   int64 // of time, in which it began
}

// newApp returns an app that begins now. Its codes are those of this half of a minute, also once the next has begun: a code is good then
// too, and one that was used is no other. Where this half is as good as over it waits, so that the first is in time.
func newApp(secret []byte) *app {
	const step = 30 * time.Second
	now := time.Now()
	if left := now.Truncate(step).Add(step).Sub(now); left < 2*time.Second {
		time.Sleep(left)
	}
	return &app{secret, time.Now().Unix() / 30}
}

// code is what it shows, so many steps from when it began.
func (a *app) code(steps int64) string {
	mac := hmac.New(sha1.New, a.secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(a.step+steps)))
	sum := mac.Sum(nil)
	at := sum[19] & 0xf
	return fmt.Sprintf("%06d", (binary.BigEndian.Uint32(sum[at:])&0x7fffffff)%1_000_000)
}

var (
	secretOnPage = regexp.MustCompile(`<code class="secret">([A-Z2-7 ]+)</code>`)
	codesOnPage  = regexp.MustCompile(`<li><code>([a-z2-7-]+)</code></li>`)
)

// setsUp turns the second step on, and leaves the browser where the recovery codes are.
func (b *browser) setsUp() (*app, []string) {
	b.t.Helper()
	p := b.fill(b.visit("/auth/account/authenticator"), map[string]string{"password": adasPassword})
	m := secretOnPage.FindStringSubmatch(p.Body)
	if m == nil {
		b.t.Fatalf("no secret in %d %s", p.Status, p.Body)
	}
	secret, err := base32.StdEncoding.DecodeString(strings.ReplaceAll(m[1], " ", ""))
	if err != nil {
		b.t.Fatal(err)
	}
	phone := newApp(secret)
	p = b.fill(p, map[string]string{"code": phone.code(-1)})
	var codes []string
	for _, m := range codesOnPage.FindAllStringSubmatch(p.Body, -1) {
		codes = append(codes, m[1])
	}
	if p.Status != http.StatusOK || len(codes) != 10 {
		b.t.Fatalf("%d recovery codes: %d %s\n%s", len(codes), p.Status, p.Body, b.r.logs)
	}
	return phone, codes
}

func inTwoSteps(password, code string) map[string]string {
	return map[string]string{"identifier": adasAddress, "password": password, "code": code}
}

// Setting up takes the password, shows a QR code that needs neither script nor another request, and ends every other session.
func TestFactors_U8_U13_SetUp(t *testing.T) {
	for _, csrf := range []string{"origin", "header", "token"} {
		t.Run(csrf, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Guard.CSRF = csrf }))
			b := r.browser().join()
			other := r.browser()
			other.fill(other.visit("/auth/login"), adas(adasPassword))
			start := b.visit("/auth/account/authenticator")
			if p := b.fill(start, map[string]string{"password": "wrong password"}); p.Status != http.StatusForbidden || secretOnPage.MatchString(p.Body) {
				t.Errorf("a wrong password: %d %s", p.Status, p.Body)
			}
			p := b.fill(start, map[string]string{"password": adasPassword})
			if !strings.Contains(p.Body, "<svg viewBox=") || strings.Contains(p.Header.Get("Content-Security-Policy"), "script-src") || p.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%v %s", p.Header, p.Body)
			}
			if p := b.fill(p, map[string]string{"code": "abcdef"}); p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Body, "This is another code.") || !secretOnPage.MatchString(p.Body) {
				t.Errorf("a wrong code: %d %s", p.Status, p.Body)
			}
			ticket := b.ticket()
			_, codes := b.setsUp()
			if b.ticket() == ticket {
				t.Error("the ticket is the one from before")
			}
			if p := b.askAPI(); p.Status != http.StatusOK {
				t.Errorf("this session: %d", p.Status)
			}
			if p := other.askAPI(); p.Status != http.StatusUnauthorized {
				t.Errorf("the other session: %d", p.Status)
			}
			if p := b.visit("/auth/account"); !strings.Contains(p.Body, "10 left") || strings.Contains(p.Body, codes[0]) {
				t.Errorf("%s", p.Body)
			}
			if strings.Contains(r.logs.String(), codes[0]) {
				t.Error("a recovery code is in the log")
			}
		})
	}
}

// The password leads to the second step and to nothing else. A code is good once; a recovery code stands in for it.
func TestFactors_U13_TwoSteps(t *testing.T) {
	t.Parallel()
	r := newRig(t, withAccounts(t, nil))
	phone, codes := r.browser().join().setsUp()
	b := r.browser()
	first := b.fill(b.visit("/auth/login?return_to=/page/"), adas(adasPassword))
	if first.Status != http.StatusOK || !strings.Contains(first.Body, "Enter your code") || b.ticket() != "" || first.Header.Get("Location") != "" {
		t.Fatalf("the first step: %d %s %q", first.Status, first.Body, b.ticket())
	}
	_, fields := first.form(t)
	// The half-way token is no code for the callback.
	if p := b.navigate("/auth/callback/accounts?"+url.Values{"state": {fields.Get("state")}, "code": {fields.Get("step")}, "iss": {appURL + "/auth"}}.Encode(), "same-origin"); b.ticket() != "" {
		t.Errorf("the first step opens a session: %d %s", p.Status, p.URL)
	}
	b = r.browser()
	first = b.fill(b.visit("/auth/login?return_to=/page/"), adas(adasPassword))
	for _, wrong := range []string{"", "abcdef", phone.code(-1), "aaaaaa-aaaaaa-aaaaaa-aaaaaa"} {
		p := b.fill(first, map[string]string{"code": wrong})
		if p.Status != http.StatusUnprocessableEntity || b.ticket() != "" || !strings.Contains(p.Body, `id="code-wrong"`) {
			t.Errorf("%q: %d %s", wrong, p.Status, p.Body)
		}
	}
	// Another browser has the page, but not the login.
	thief := r.browser()
	thief.visit("/auth/login")
	if p := thief.fill(first, map[string]string{"code": phone.code(1)}); thief.ticket() != "" || p.Status != http.StatusBadRequest {
		t.Errorf("in another browser: %d %s", p.Status, p.Body)
	}
	code := phone.code(0)
	if p := b.fill(first, map[string]string{"code": code}); p.URL != "/page/" || b.ticket() == "" {
		t.Fatalf("the code: %d %s %s", p.Status, p.URL, p.Body)
	}
	if user := b.fetch("GET", "/auth/session").json(t)["authenticated"]; user != true {
		t.Error("not signed in")
	}
	b = r.browser()
	first = b.fill(b.visit("/auth/login?return_to=/page/"), adas(adasPassword))
	if p := b.fill(first, map[string]string{"code": code}); p.Status != http.StatusUnprocessableEntity || b.ticket() != "" {
		t.Errorf("the same code again: %d", p.Status)
	}
	if p := b.fill(first, map[string]string{"code": strings.ToUpper(codes[0])}); p.URL != "/page/" {
		t.Errorf("a recovery code: %d %s", p.Status, p.Body)
	}
	b = r.browser()
	first = b.fill(b.visit("/auth/login?return_to=/page/"), adas(adasPassword))
	if p := b.fill(first, map[string]string{"code": codes[0]}); p.Status != http.StatusUnprocessableEntity || b.ticket() != "" {
		t.Errorf("the same recovery code again: %d", p.Status)
	}
}

// Another site cannot take the second step for somebody (U10), and who tries too often waits.
func TestFactors_U10_U13_SecondStepIsGuarded(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	phone, _ := r.browser().join().setsUp()
	b := r.browser()
	first := b.fill(b.visit("/auth/login"), adas(adasPassword))
	action, fields := first.form(t)
	fields.Set("code", phone.code(1))
	for _, site := range []string{"cross-site", "same-site"} {
		if p := b.post(action, site, fields); p.Status != http.StatusForbidden || b.ticket() != "" {
			t.Errorf("from %s: %d", site, p.Status)
		}
	}
	for range 10 {
		p := b.fill(first, map[string]string{"code": "abcdef"})
		if p.Status == http.StatusTooManyRequests {
			if p.Header.Get("Retry-After") == "" || !strings.Contains(p.Body, "too many attempts") {
				t.Errorf("%v %s", p.Header, p.Body)
			}
			return
		}
	}
	t.Error("ten wrong codes, and no end")
}

// A front end with a form of its own sends everything again, with the code.
func TestFactors_U13_JSON(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	phone, codes := r.browser().join().setsUp()
	b := r.browser()
	for _, v := range []struct {
		body any
		want session.Code
	}{
		{adas(adasPassword), session.CodeRequired}, {inTwoSteps(adasPassword, ""), session.CodeRequired}, {inTwoSteps(adasPassword, "abcdef"), session.WrongCode},
		{inTwoSteps("wrong password", codes[1]), session.WrongCredentials},
	} {
		if p := b.sendJSON("/auth/login", v.body); p.Status != http.StatusUnprocessableEntity || p.code(t) != v.want || b.ticket() != "" {
			t.Errorf("%v: %d %s, want %s", v.body, p.Status, p.Body, v.want)
		}
	}
	if p := b.sendJSON("/auth/login", inTwoSteps(adasPassword, phone.code(0))); p.Status != http.StatusOK || p.json(t)["authenticated"] != true {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := r.browser().sendJSON("/auth/login", inTwoSteps(adasPassword, phone.code(0))); p.code(t) != session.WrongCode {
		t.Errorf("the same code again: %d %s", p.Status, p.Body)
	}
	// A password that was changed in such a session leaves it what it is: signed in by two steps.
	if p := b.sendJSON("/auth/password", map[string]string{"current_password": adasPassword, "new_password": "another good password", "code": codes[2]}); p.Status != http.StatusOK {
		t.Errorf("change password: %d %s", p.Status, p.Body)
	}
	if p := r.browser().sendJSON("/auth/login", inTwoSteps("another good password", codes[1])); p.Status != http.StatusOK {
		t.Errorf("the new password with a recovery code that a wrong one did not spend: %d %s", p.Status, p.Body)
	}
}

// Turning it off, and new recovery codes, take password and code (U8).
func TestFactors_U8_TurnOff(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	b := r.browser().join()
	if p := b.fill(b.visit("/auth/account/recovery"), map[string]string{"password": adasPassword}); p.Status != http.StatusNotFound {
		t.Errorf("recovery codes for nothing: %d", p.Status)
	}
	_, codes := b.setsUp()
	for _, path := range []string{"/auth/account/recovery", "/auth/account/authenticator-off"} {
		for _, v := range []struct {
			password, code string
			status         int
		}{{"wrong password", codes[9], 403}, {adasPassword, "", 422}, {adasPassword, "abcdef", 422}} {
			if p := b.fill(b.visit(path), map[string]string{"password": v.password, "code": v.code}); p.Status != v.status {
				t.Errorf("%s with %q, %q: %d", path, v.password, v.code, p.Status)
			}
		}
	}
	p := b.fill(b.visit("/auth/account/recovery"), map[string]string{"password": adasPassword, "code": codes[9]})
	fresh := codesOnPage.FindAllStringSubmatch(p.Body, -1)
	if p.Status != http.StatusOK || len(fresh) != 10 {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	off := b.visit("/auth/account/authenticator-off")
	if p := b.fill(off, map[string]string{"password": adasPassword, "code": codes[8]}); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("an old recovery code: %d", p.Status)
	}
	if p := b.fill(off, map[string]string{"password": adasPassword, "code": fresh[0][1]}); p.URL != "/auth/account?done=authenticator-off" {
		t.Errorf("%d %s %s", p.Status, p.URL, p.Body)
	}
	c := r.browser()
	if p := c.fill(c.visit("/auth/login?return_to=/page/"), adas(adasPassword)); p.URL != "/page/" {
		t.Errorf("the password alone then: %d %s", p.Status, p.URL)
	}
}

// A new phone takes the place of the old one, for who has a code of it, or a recovery code; both are worth nothing then.
func TestFactors_U8_U13_Replace(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	b := r.browser().join()
	old, codes := b.setsUp()
	if p := b.visit("/auth/account"); !strings.Contains(p.Body, ">Replace</a>") {
		t.Errorf("no way to another app: %s", p.Body)
	}
	form := b.visit("/auth/account/authenticator")
	if p := b.fill(form, map[string]string{"password": adasPassword}); p.Status != http.StatusUnprocessableEntity || secretOnPage.MatchString(p.Body) {
		t.Fatalf("without a code: %d %s", p.Status, p.Body)
	}
	p := b.fill(form, map[string]string{"password": adasPassword, "code": codes[0]})
	secret, err := base32.StdEncoding.DecodeString(strings.ReplaceAll(secretOnPage.FindStringSubmatch(p.Body)[1], " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	phone := newApp(secret)
	if p := b.fill(p, map[string]string{"code": phone.code(-1)}); p.Status != http.StatusOK || len(codesOnPage.FindAllString(p.Body, -1)) != 10 {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	for name, code := range map[string]string{"the old app": old.code(0), "an old recovery code": codes[1]} {
		if p := r.browser().sendJSON("/auth/login", inTwoSteps(adasPassword, code)); p.code(t) != session.WrongCode {
			t.Errorf("%s: %d %s", name, p.Status, p.Body)
		}
	}
	if p := r.browser().sendJSON("/auth/login", inTwoSteps(adasPassword, phone.code(0))); p.Status != http.StatusOK {
		t.Errorf("the new app: %d %s", p.Status, p.Body)
	}
}

// Who has a second step changes the password by both: whoever found the password, and a screen that is not locked, has neither a new password nor
// the account. The page and the JSON refuse alike, and a code that came with a bad new password is still good.
func TestFactors_U8_ChangePasswordTakesBoth(t *testing.T) {
	for name, change := range map[string]func(b *browser, current, code, next string) *page{
		"Page": func(b *browser, current, code, next string) *page {
			return b.fill(b.visit("/auth/account/password"), map[string]string{"current_password": current, "code": code, "new_password": next})
		},
		"JSON": func(b *browser, current, code, next string) *page {
			body := map[string]string{"current_password": current, "new_password": next}
			if code != "" {
				body["code"] = code
			}
			return b.sendJSON("/auth/password", body)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Endpoints.Claims = []string{"amr"} }))
			b := r.browser().join()
			if p := b.visit("/auth/account/password"); strings.Contains(p.Body, `name="code"`) {
				t.Errorf("a code, of somebody who has none: %s", p.Body)
			}
			_, codes := b.setsUp()
			if p := b.visit("/auth/account/password"); !strings.Contains(p.Body, `name="code"`) {
				t.Errorf("no field for the code: %s", p.Body)
			}
			other := r.browser()
			if p := other.sendJSON("/auth/login", inTwoSteps(adasPassword, codes[1])); p.Status != http.StatusOK {
				t.Fatalf("%d %s", p.Status, p.Body)
			}
			for _, v := range []struct {
				name                string
				current, code, next string
				status              int
				want                session.Code
				says                string
			}{
				{"NoCode", adasPassword, "", nextPassword, 422, session.CodeRequired, "This account has a second step"},
				{"WrongCode", adasPassword, "AAAAA-AAAAA", nextPassword, 422, session.WrongCode, "or a recovery code that you have not used"},
				{"UsedCode", adasPassword, codes[1], nextPassword, 422, session.WrongCode, "or a recovery code that you have not used"},
				{"WrongPassword", "not the password", codes[0], nextPassword, 403, session.WrongPassword, "The current password is not right"},
				{"Short", adasPassword, codes[0], "short", 422, session.PasswordShort, "at least 8 characters"},
				{"Common", adasPassword, codes[0], "password1", 422, session.PasswordCommon, "tried first"},
			} {
				p := change(b, v.current, v.code, v.next)
				if p.Status != v.status || name == "JSON" && p.code(t) != v.want {
					t.Errorf("%s: %d %s, want %d %s", v.name, p.Status, p.Body, v.status, v.want)
				}
				if name == "Page" && !strings.Contains(p.Body, v.says) {
					t.Errorf("%s: the page does not say %q: %s", v.name, v.says, p.Body)
				}
			}
			if p := other.askAPI(); p.Status != http.StatusOK {
				t.Fatalf("refused changes ended a session: %d", p.Status)
			}
			if p := change(b, adasPassword, codes[0], nextPassword); p.Status != http.StatusOK {
				t.Fatalf("%d %s", p.Status, p.Body)
			}
			if got := amrOf(t, b); !slices.Equal(got, []any{"pwd", "otp", "mfa"}) {
				t.Errorf("amr %v", got)
			}
			if p := other.askAPI(); p.Status != http.StatusUnauthorized {
				t.Errorf("the other session: %d", p.Status)
			}
			if p := r.browser().sendJSON("/auth/login", inTwoSteps(nextPassword, codes[2])); p.Status != http.StatusOK {
				t.Errorf("the new password: %d %s", p.Status, p.Body)
			}
		})
	}
}

// A stranger who registered with the address of another, and set up a second step, does not keep the owner out by it. What the owner sets up then
// is theirs: a mailed link takes nobody past it.
func TestFactors_U8_U9_AddressOfAnother(t *testing.T) {
	r, mail := withMail(t, nil)
	stranger := r.browser().join()
	stranger.setsUp()
	reset := func(b *browser, password string) {
		t.Helper()
		b.forget(adasAddress)
		if p := b.fill(b.fromMail(linkIn(t, mail.Next())), map[string]string{"password": password}); !strings.Contains(p.Body, "The new password is set") {
			t.Fatalf("%d %s", p.Status, p.Body)
		}
	}
	b := r.browser()
	reset(b, nextPassword)
	if p := stranger.askAPI(); p.Status != http.StatusUnauthorized {
		t.Errorf("the stranger's session: %d", p.Status)
	}
	if p := b.sendJSON("/auth/login", adas(nextPassword)); p.Status != http.StatusOK {
		t.Fatalf("the owner: %d %s", p.Status, p.Body)
	}
	if p := b.fetch("GET", "/auth/factors"); p.Body != `{"password":true,"authenticator":null,"recovery_codes":0,"passkeys":[]}`+"\n" {
		t.Errorf("%s", p.Body)
	}
	reset(b, adasPassword)
	b = r.browser()
	b.sendJSON("/auth/login", adas(adasPassword))
	_, codes := b.setsUp()
	reset(b, nextPassword)
	if p := r.browser().sendJSON("/auth/login", adas(nextPassword)); p.code(t) != session.CodeRequired {
		t.Errorf("by a mailed link alone: %d %s", p.Status, p.Body)
	}
	if p := r.browser().sendJSON("/auth/login", inTwoSteps(nextPassword, codes[0])); p.Status != http.StatusOK {
		t.Errorf("by both: %d %s", p.Status, p.Body)
	}
	var reasons []string
	r.mu.Lock()
	for _, e := range r.events {
		if e.Action == audit.Changed && strings.Contains(e.Reason, "mailed link") {
			reasons = append(reasons, e.Reason)
		}
	}
	r.mu.Unlock()
	const again = "password, by a mailed link"
	if !slices.Equal(reasons, []string{"password and whatever was beside it, by a mailed link that verified the address", again, again}) {
		t.Errorf("audit: %q", reasons)
	}
}
