package cloakroom_test

import (
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/postbox"
	"github.com/cloakroom-go/cloakroom/session"
)

// byMail is withMail where people may sign in by mail, and Ada has an account.
func byMail(t *testing.T) (*rig, *postbox.Server) {
	r, mail := withMail(t, func(c *cloakroom.Config) { c.Accounts.EmailLink = true })
	r.browser().enrolled()
	return r, mail
}

var (
	mailedCode = regexp.MustCompile(`(?m)^\d{6}$`)
	askForMail = regexp.MustCompile(`href="(/auth/sign-in/mail\?[^"]*)"`)
)

// askMail asks for a mail on the page, and returns the one to enter the code on.
func (b *browser) askMail(identifier string) *page {
	b.t.Helper()
	m := askForMail.FindStringSubmatch(b.visit("/auth/login?return_to=/page/").Body)
	if m == nil {
		b.t.Fatal("no way to sign in by mail")
	}
	p := b.fill(b.navigate(m[1], "same-origin"), map[string]string{"identifier": identifier})
	if p.Status != http.StatusOK {
		b.t.Fatalf("%d %s", p.Status, p.Body)
	}
	return p
}

func codeIn(t *testing.T, l postbox.Letter) string {
	t.Helper()
	code := mailedCode.FindString(l.Text)
	if code == "" || !strings.Contains(l.HTML, ">"+code+"<") {
		t.Fatalf("no code in %q", l.Text)
	}
	return code
}

// another is a code that is not this one.
func another(code string) string {
	if code[0] == '9' {
		return "0" + code[1:]
	}
	return string(code[0]+1) + code[1:]
}

// A mailed code signs in where it was asked for, once, and then the link does not.
func TestEmailLink_U9_Code(t *testing.T) {
	r, mail := byMail(t)
	b := r.browser()
	p := b.askMail("ADA@example.com")
	l := mail.Next()
	code := codeIn(t, l)
	if p := r.browser().sendJSON("/auth/login/code", map[string]string{"state": fieldOf(t, p, "state"), "code": code}); p.Status != http.StatusBadRequest || p.code(t) != session.LoginLost {
		t.Errorf("in another browser: %d %s", p.Status, p.Body)
	}
	if wrong := b.fill(p, map[string]string{"code": another(code)}); wrong.Status != http.StatusUnprocessableEntity || !strings.Contains(wrong.Body, `aria-invalid="true"`) {
		t.Errorf("another code: %d %s", wrong.Status, wrong.Body)
	}
	if done := b.fill(p, map[string]string{"code": code[:3] + " " + code[3:]}); done.Status != http.StatusOK || done.URL != "/page/" {
		t.Fatalf("%d %s %s", done.Status, done.URL, done.Body)
	}
	for name, p := range map[string]*page{"the link": b.fromMail(linkIn(t, l)), "the link elsewhere": r.browser().fromMail(linkIn(t, l))} {
		if p.Status != http.StatusGone {
			t.Errorf("%s afterwards: %d", name, p.Status)
		}
	}
	if strings.Contains(r.logs.String(), code) {
		t.Error("the code is in the log")
	}
}

func fieldOf(t *testing.T, p *page, name string) string {
	t.Helper()
	_, fields := p.form(t)
	return fields.Get(name)
}

// A mailed link signs in once, in the browser that asked for it and in any other, which is told. Opening it spends nothing.
func TestEmailLink_U9_Link(t *testing.T) {
	t.Parallel()
	r, mail := byMail(t)
	for _, elsewhere := range []bool{false, true} {
		asking := r.browser()
		codePage := asking.askMail(adasAddress)
		l := mail.Next()
		link, b := linkIn(t, l), asking
		if elsewhere {
			b = r.browser()
		}
		r.browser().do(request{method: "GET", path: link}) // a scanner
		p := b.fromMail(link)
		if told := strings.Contains(p.Body, "in another browser"); told != elsewhere || p.Header.Get("Referrer-Policy") != "no-referrer" || !strings.Contains(p.Body, adasAddress) {
			t.Errorf("elsewhere %v: %v %s", elsewhere, p.Header, p.Body)
		}
		want := map[bool]string{false: "/page/", true: "/"}[elsewhere]
		if done := b.fill(p, nil); done.URL != want || b.ticket() == "" {
			t.Fatalf("elsewhere %v: %d %s %s", elsewhere, done.Status, done.URL, done.Body)
		}
		if again := b.fill(p, nil); again.Status != http.StatusGone {
			t.Errorf("again: %d", again.Status)
		}
		if elsewhere {
			if late := asking.fill(codePage, map[string]string{"code": codeIn(t, l)}); late.Status != http.StatusGone {
				t.Errorf("the code after the link: %d %s", late.Status, late.Body)
			}
		}
	}
}

// Five tries, also at the same instant; then the right one is no good either. Where there is no account it is the same.
func TestEmailLink_U6_U7_FiveTries(t *testing.T) {
	r, mail := byMail(t)
	for _, identifier := range []string{adasAddress, "nobody@example.com"} {
		b := r.browser()
		p := b.sendJSON("/auth/login/mail", map[string]string{"identifier": identifier})
		if p.Status != http.StatusAccepted {
			t.Fatalf("%s: %d %s", identifier, p.Status, p.Body)
		}
		state, code := p.json(t)["state"].(string), "123456"
		if identifier == adasAddress {
			code = codeIn(t, mail.Next())
		}
		var wg sync.WaitGroup
		answers := make([]*page, 12)
		for i := range answers {
			wg.Go(func() {
				answers[i] = b.sendJSON("/auth/login/code", map[string]string{"state": state, "code": another(code)})
			})
		}
		wg.Wait()
		for _, p := range answers {
			if code := p.code(t); code != session.WrongMailCode && code != session.LinkOver && code != session.TooMany {
				t.Errorf("%s: %d %s", identifier, p.Status, p.Body)
			}
		}
		for range 5 { // what the instant left
			p = b.sendJSON("/auth/login/code", map[string]string{"state": state, "code": another(code)})
		}
		if p.code(t) != session.LinkOver {
			t.Errorf("%s: after more than five: %s", identifier, p.Body)
		}
		if p := b.sendJSON("/auth/login/code", map[string]string{"state": state, "code": code}); p.Status != http.StatusGone || b.ticket() != "" {
			t.Errorf("%s: the right one afterwards: %d %s", identifier, p.Status, p.Body)
		}
	}
	mail.None()
}

// Another mail is no new start for who guesses. Codes then wait, of an account or of none, and the person has the link.
func TestEmailLink_U6_U7_ManyMails(t *testing.T) {
	r, mail := byMail(t)
	for _, identifier := range []string{adasAddress, "nobody@example.com"} {
		known := identifier == adasAddress
		begin := func(b *browser) (state, code string, l postbox.Letter) {
			p := b.sendJSON("/auth/login/mail", map[string]string{"identifier": identifier})
			if p.Status != http.StatusAccepted {
				t.Fatalf("%s: %d %s", identifier, p.Status, p.Body)
			}
			if code = "123456"; known {
				l = mail.Next()
				code = codeIn(t, l)
			}
			return p.json(t)["state"].(string), code, l
		}
		send := func(b *browser, state, code string) *page {
			return b.sendJSON("/auth/login/code", map[string]string{"state": state, "code": code})
		}
		guessing := r.browser()
		for i := range 2 {
			state, code, _ := begin(guessing)
			for range 5 - 4*i {
				if p := send(guessing, state, another(code)); p.code(t) != session.WrongMailCode && p.code(t) != session.LinkOver {
					t.Fatalf("%s: %d %s", identifier, p.Status, p.Body)
				}
			}
			if p := send(guessing, state, another(code)); i == 1 && (p.Status != http.StatusTooManyRequests || p.code(t) != session.TooMany || p.Header.Get("Retry-After") == "") {
				t.Errorf("%s: a seventh guess: %d %s", identifier, p.Status, p.Body)
			}
		}
		if !known {
			continue
		}
		b := r.browser()
		p := b.askMail(identifier)
		l := mail.Next()
		if p := b.fill(p, map[string]string{"code": codeIn(t, l)}); p.Status != http.StatusTooManyRequests || !strings.Contains(p.Body, "The link in the mail works all the same.") {
			t.Errorf("the page: %d %s", p.Status, p.Body)
		}
		if p := b.fill(b.fromMail(linkIn(t, l)), nil); p.URL != "/page/" {
			t.Errorf("the link: %d %s %s", p.Status, p.URL, p.Body)
		}
	}
}

func TestEmailLink_U9_JSON(t *testing.T) {
	r, mail := byMail(t)
	b := r.browser()
	state := b.sendJSON("/auth/login/mail", map[string]string{"identifier": adasAddress}).json(t)["state"].(string)
	code := codeIn(t, mail.Next())
	send := func() *page { return b.sendJSON("/auth/login/code", map[string]string{"state": state, "code": code}) }
	if p := send(); p.Status != http.StatusOK || p.json(t)["authenticated"] != true || b.ticket() == "" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := send(); p.Status != http.StatusGone || p.code(t) != session.LinkOver {
		t.Errorf("again: %d %s", p.Status, p.Body)
	}
}

func TestEmailLink_OffAndDown(t *testing.T) {
	r, _ := withMail(t, nil)
	if p := r.browser().visit("/auth/login"); askForMail.MatchString(p.Body) {
		t.Error("a page leads to what is off")
	}
	if p := r.browser().sendJSON("/auth/login/mail", map[string]string{"identifier": adasAddress}); p.Status != http.StatusNotFound {
		t.Errorf("%d", p.Status)
	}
	r, mail := byMail(t)
	mail.Down()
	if p := r.browser().sendJSON("/auth/login/mail", map[string]string{"identifier": adasAddress}); p.Status != http.StatusServiceUnavailable || p.code(t) != session.MailDown {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// Who mistypes a mailed code is told of the mail, on the page and by JSON, and never of an app.
func TestEmailLink_U13_WordsOfItsOwn(t *testing.T) {
	r, mail := byMail(t)
	b := r.browser()
	p := b.askMail(adasAddress)
	wrong := another(codeIn(t, mail.Next()))
	p = b.fill(p, map[string]string{"code": wrong})
	c := r.browser()
	state := c.sendJSON("/auth/login/mail", map[string]string{"identifier": adasAddress}).json(t)["state"]
	sent := c.sendJSON("/auth/login/code", map[string]any{"state": state, "code": another(codeIn(t, mail.Next()))})
	if sent.code(t) != session.WrongMailCode {
		t.Errorf("%d %s", sent.Status, sent.Body)
	}
	for name, p := range map[string]*page{"page": p, "JSON": sent} {
		if p.Status != http.StatusUnprocessableEntity || !strings.Contains(p.Body, "the six digits of the newest mail") || strings.Contains(p.Body, "app ") || strings.Contains(p.Body, "recovery") {
			t.Errorf("%s: %d %s", name, p.Status, p.Body)
		}
	}
}
