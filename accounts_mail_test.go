package cloakroom_test

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/postbox"
	"github.com/cloakroom-go/cloakroom/session"
)

const nextPassword = "quite another phrase"

// withMail gives a rig people of its own, and a mail server. change may be nil.
func withMail(t *testing.T, change func(*cloakroom.Config), lies ...postbox.Lie) (*rig, *postbox.Server) {
	t.Helper()
	server := postbox.New(t, lies...)
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) {
		c.Accounts.VerifyEmailOff = true
		c.Accounts.Mail = &cloakroom.MailOptions{
			Server: server.Address(), From: "Example <no-reply@example.com>", Roots: server.Roots(), Username: postbox.Username, Password: postbox.Password,
		}
		if change != nil {
			change(c)
		}
	}))
	return r, server
}

var mailedLink = regexp.MustCompile(`https://app\.example\.com(/auth/[^\s"<]+\?token=[A-Za-z0-9_-]{32})`)

// linkIn is the link of a letter, the same in its text and its page, and nothing else to follow or to load.
func linkIn(t *testing.T, l postbox.Letter) string {
	t.Helper()
	link := mailedLink.FindStringSubmatch(l.Text)
	if link == nil {
		t.Fatalf("no link in %q", l.Text)
	}
	page := mailedLink.FindAllStringSubmatch(l.HTML, -1)
	if len(page) == 0 || slices.ContainsFunc(page, func(m []string) bool { return m[0] != link[0] }) || strings.Count(l.HTML, "http") != len(page) || strings.Contains(l.HTML, "src=") {
		t.Errorf("the page of the letter has another link than its text, or loads something: %s", l.HTML)
	}
	return link[1]
}

// forget asks for a mail to set a new password with, from the page to sign in on.
func (b *browser) forget(identifier string) *page {
	b.t.Helper()
	p := b.visit("/auth/login?return_to=/page/")
	forgot := regexp.MustCompile(`href="(/auth/forgot-password[^"]*)"`).FindStringSubmatch(p.Body)
	if forgot == nil {
		b.t.Fatalf("no way to a new password: %.500s", p.Body)
	}
	return b.fill(b.navigate(forgot[1], "same-origin"), map[string]string{"identifier": identifier})
}

// fromMail opens a link as a mail program does: from elsewhere, in a new tab.
func (b *browser) fromMail(link string) *page { b.t.Helper(); return b.navigate(link, "cross-site") }

// Who forgot the password sets a new one by a mailed link. All sessions end, and nobody is signed in by it.
func TestMail_U9_ForgottenPassword(t *testing.T) {
	t.Parallel()
	r, mail := withMail(t, nil)
	b, other := r.browser().join(), r.browser()
	other.sendJSON("/auth/login", adas(adasPassword))
	asking := r.browser()
	if p := asking.forget(" ADA@example.com "); p.Status != http.StatusOK || !strings.Contains(p.Body, "a mail is on its way") {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	l := mail.Next()
	if l.To != adasAddress || l.From != "no-reply@example.com" || !l.Encrypted || l.Username != postbox.Username || l.Subject != "Set a new password at app.example.com" {
		t.Errorf("%+v", l)
	}
	link := linkIn(t, l)
	phone := r.browser() // on another device
	p := phone.fromMail(link)
	if p.Status != http.StatusOK || p.Header.Get("Referrer-Policy") != "no-referrer" || p.Header.Get("Cache-Control") != "no-store" || !strings.Contains(p.Body, adasAddress) {
		t.Fatalf("%d %v %s", p.Status, p.Header, p.Body)
	}
	for _, v := range []struct{ password, says string }{{"short", "at least 8 characters"}, {"password1", "tried first"}} {
		if refused := phone.fill(p, map[string]string{"password": v.password}); refused.Status != http.StatusUnprocessableEntity || !strings.Contains(refused.Body, v.says) || refused.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %d %s", v.password, refused.Status, refused.Body)
		}
	}
	if done := phone.fill(p, map[string]string{"password": nextPassword}); done.Status != http.StatusOK || !strings.Contains(done.Body, "The new password is set") || len(phone.cookies) != 0 {
		t.Fatalf("%d, %d cookies: %s", done.Status, len(phone.cookies), done.Body)
	}
	for name, b := range map[string]*browser{"the first": b, "the second": other} {
		if p := b.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
			t.Errorf("%s session goes on: %d", name, p.Status)
		}
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("the old password: %d", p.Status)
	}
	p = r.browser().sendJSON("/auth/login", adas(nextPassword))
	if p.Status != http.StatusOK {
		t.Errorf("the new password: %d", p.Status)
	}
	if !slices.Contains(r.actions(), audit.Changed) {
		t.Errorf("audit: %v", r.actions())
	}
	token := link[strings.Index(link, "=")+1:]
	for _, secret := range []string{nextPassword, token, adasAddress} {
		if strings.Contains(r.logs.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// A link works once: whoever opens it again, or too late, or made one up, gets the same clear page, and a way to another.
func TestMail_U9_LinkIsOver(t *testing.T) {
	r, mail := withMail(t, nil)
	r.browser().join()
	b := r.browser()
	b.forget(adasAddress)
	b.forget(adasAddress)
	link, second := linkIn(t, mail.Next()), linkIn(t, mail.Next())
	if link == second {
		t.Fatal("two mails with one link")
	}
	form := b.fromMail(link)
	if p := b.fill(form, map[string]string{"password": nextPassword}); p.Status != http.StatusOK {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	for name, p := range map[string]*page{
		"OpenedAgain":      b.fromMail(link),
		"SentAgain":        b.fill(form, map[string]string{"password": "a third phrase of words"}),
		"AnotherOfTheSame": b.fromMail(second), // the password was changed since
		"MadeUp":           b.fromMail("/auth/reset-password?token=" + strings.Repeat("A", 32)),
		"None":             b.fromMail("/auth/reset-password"),
	} {
		if p.Status != http.StatusGone || !strings.Contains(p.Body, "This link is over") || !strings.Contains(p.Body, `href="/auth/forgot-password"`) {
			t.Errorf("%s: %d %s", name, p.Status, p.Body)
		}
	}
	if p := r.browser().sendJSON("/auth/login", adas(nextPassword)); p.Status != http.StatusOK {
		t.Errorf("the password of the first: %d", p.Status)
	}
}

// Programs that look into mails open every link, with GET and HEAD, many times. That spends nothing.
func TestMail_U9_ScannersSpendNothing(t *testing.T) {
	r, mail := withMail(t, nil)
	r.browser().join()
	b := r.browser()
	b.forget(adasAddress)
	link := linkIn(t, mail.Next())
	for range 3 {
		r.browser().do(request{method: "GET", path: link})
		r.browser().do(request{method: "HEAD", path: link})
	}
	if p := b.fill(b.fromMail(link), map[string]string{"password": nextPassword}); p.Status != http.StatusOK {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// The link is to the configured address, whatever the request calls us.
func TestMail_U9_HostDecidesNothing(t *testing.T) {
	r, mail := withMail(t, nil)
	r.browser().join()
	for _, header := range []http.Header{{"X-Forwarded-Host": {"evil.example"}}, {"Forwarded": {"host=evil.example"}}} {
		header.Set("Content-Type", "application/json")
		p := r.browser().do(request{method: "POST", path: "/auth/password/forgot", site: "same-origin", body: `{"identifier":"` + adasAddress + `"}`, header: header})
		if p.Status != http.StatusAccepted || p.json(t)["expires_in"] != 600.0 {
			t.Errorf("%d %s", p.Status, p.Body)
		}
		if l := mail.Next(); strings.Contains(l.Text+l.HTML, "evil") {
			t.Error(l.Text)
		}
	}
}

// Whether there is such an account, no answer tells, and no time: what depends on it happens behind the answer.
func TestMail_U6_UnknownIsAnsweredAlike(t *testing.T) {
	r, mail := withMail(t, nil)
	r.browser().join()
	var pages []string
	for _, identifier := range []string{adasAddress, "eve@example.com"} {
		p := r.browser().forget(identifier)
		body := strings.ReplaceAll(p.Body, identifier, "")
		pages = append(pages, regexp.MustCompile(`state=[\w-]+`).ReplaceAllString(body, ""))
		if p.Status != http.StatusOK {
			t.Errorf("%s: %d", identifier, p.Status)
		}
	}
	if pages[0] != pages[1] {
		t.Errorf("%s\n%s", pages[0], pages[1])
	}
	if l := mail.Next(); l.To != adasAddress {
		t.Errorf("a letter to %s", l.To)
	}
	if calls := mail.Calls(); calls != 2 {
		t.Errorf("%d connections for two requests", calls)
	}
	if err := r.gateway.Close(context.Background()); err != nil { // whatever is under way
		t.Fatal(err)
	}
	mail.None()
	p := r.browser().sendJSON("/auth/password/forgot", map[string]string{"identifier": "no address"})
	if p.Status != http.StatusUnprocessableEntity || p.code(t) != session.BadIdentifier {
		t.Errorf("what is no address: %d %s", p.Status, p.Body)
	}
}

// While the mail server is down everybody is told to try later, known or not, and nothing is left that was half made.
func TestMail_U9_ServerDown(t *testing.T) {
	var people *cloakroom.Accounts
	r, mail := withMail(t, func(c *cloakroom.Config) { people = c.Accounts })
	r.browser().join()
	mail.Down()
	for _, identifier := range []string{adasAddress, "eve@example.com"} {
		for range 8 { // what could not be sent does not count
			p := r.browser().sendJSON("/auth/password/forgot", map[string]string{"identifier": identifier})
			if p.Status != http.StatusServiceUnavailable || p.code(t) != session.MailDown || p.Header.Get("Retry-After") == "" {
				t.Fatalf("%s: %d %s", identifier, p.Status, p.Body)
			}
		}
		if p := r.browser().forget(identifier); p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Body, "try again in a few minutes") {
			t.Errorf("%s: %d %s", identifier, p.Status, p.Body)
		}
	}
	var links int
	if err := people.Database.QueryRow("SELECT COUNT(*) FROM account_link").Scan(&links); err != nil || links != 0 {
		t.Errorf("%d links are left: %v", links, err)
	}
	mail.Up()
	if p := r.browser().forget(adasAddress); p.Status != http.StatusOK {
		t.Errorf("afterwards: %d %s", p.Status, p.Body)
	}
	linkIn(t, mail.Next())
}

// A letter that the server does not take leaves no link behind.
func TestMail_U9_RefusedLetterLeavesNothing(t *testing.T) {
	var people *cloakroom.Accounts
	r, _ := withMail(t, func(c *cloakroom.Config) { people = c.Accounts }, postbox.RefuseEveryone)
	r.browser().join()
	if p := r.browser().forget(adasAddress); p.Status != http.StatusOK {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := r.gateway.Close(ctx); err != nil {
		t.Fatal(err)
	}
	var links int
	if err := people.Database.QueryRow("SELECT COUNT(*) FROM account_link").Scan(&links); err != nil || links != 0 {
		t.Errorf("%d links are left: %v", links, err)
	}
	if !strings.Contains(r.logs.String(), "a letter was not sent") {
		t.Error("the operator is not told")
	}
}

// The database holds no token, so that who reads it can set no password.
func TestMail_U9_DatabaseHoldsNoToken(t *testing.T) {
	var people *cloakroom.Accounts
	r, mail := withMail(t, func(c *cloakroom.Config) { people = c.Accounts })
	r.browser().join()
	r.browser().forget(adasAddress)
	_, token, _ := strings.Cut(linkIn(t, mail.Next()), "=")
	var hash, detail string
	if err := people.Database.QueryRow("SELECT hash, detail FROM account_link").Scan(&hash, &detail); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(hash+detail, token) || len(hash) != 43 {
		t.Errorf("%q %q", hash, detail)
	}
	if p := r.browser().visit("/auth/reset-password?token=" + hash); p.Status != http.StatusGone {
		t.Errorf("the hash in the place of the token: %d", p.Status)
	}
}

// Mails are few: to one address, and from one.
func TestMail_U7_TooManyMails(t *testing.T) {
	r, mail := withMail(t, nil)
	r.browser().join()
	b := r.browser()
	ask := func(identifier string) *page {
		return b.sendJSON("/auth/password/forgot", map[string]string{"identifier": identifier})
	}
	for i := range 4 {
		if p := ask(adasAddress); p.Status != http.StatusAccepted {
			t.Fatalf("mail %d: %d %s", i, p.Status, p.Body)
		}
		mail.Next()
	}
	for _, identifier := range []string{adasAddress, "ADA@EXAMPLE.COM"} {
		if p := ask(identifier); p.Status != http.StatusTooManyRequests || p.code(t) != session.TooMany || p.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", identifier, p.Status, p.Body)
		}
	}
	refused := 0
	for i := range 40 {
		if p := ask(string(rune('a'+i%26)) + strings.Repeat("x", i) + "@example.com"); p.Status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("one address may ask for as many mails as it likes")
	}
}

// Another site can neither ask for a mail nor set a password with a form of its own.
func TestMail_U10_CrossSite(t *testing.T) {
	r, mail := withMail(t, nil)
	r.browser().join()
	b := r.browser()
	b.forget(adasAddress)
	form := b.fromMail(linkIn(t, mail.Next()))
	action, fields := form.form(t)
	fields.Set("password", nextPassword)
	if p := b.post(action, "cross-site", fields); p.Status != http.StatusForbidden {
		t.Errorf("reset: %d", p.Status)
	}
	if p := b.post("/auth/forgot-password", "cross-site", url.Values{"identifier": {adasAddress}}); p.Status != http.StatusForbidden {
		t.Errorf("forgot: %d", p.Status)
	}
	// A browser sends no Origin from a page without a referrer, and says that it is our own all the same.
	p := b.do(request{
		method: "POST", path: action, site: "same-origin", nav: true, body: fields.Encode(),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {"null"}},
	})
	if p.Status != http.StatusOK {
		t.Errorf("our own page: %d %s", p.Status, p.Body)
	}
}

func TestMail_Off(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	b := r.browser()
	if p := b.visit("/auth/login"); strings.Contains(p.Body, "forgot") {
		t.Error("a page without mail leads to one with it")
	}
	for _, path := range []string{"/auth/forgot-password", "/auth/reset-password?token=x"} {
		if p := b.visit(path); p.Status != http.StatusNotFound {
			t.Errorf("%s: %d", path, p.Status)
		}
	}
}

// A front end with a page of its own: the link leads there, with the token behind the #, and one request sets the password.
func TestMail_U9_PageOfOnesOwn(t *testing.T) {
	r, mail := withMail(t, func(c *cloakroom.Config) { c.Accounts.ResetPage = "/new-password" })
	b := r.browser().join()
	if p := r.browser().sendJSON("/auth/password/forgot", map[string]string{"identifier": adasAddress}); p.Status != http.StatusAccepted {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	l := mail.Next()
	m := regexp.MustCompile(appURL + `/new-password#token=([A-Za-z0-9_-]{32})`).FindStringSubmatch(l.Text)
	if m == nil || !strings.Contains(l.HTML, m[0]) {
		t.Fatalf("no link in %q", l.Text)
	}
	phone := r.browser()
	send := func(token, password string, change ...func(*request)) *page {
		return phone.sendJSON("/auth/password/reset", map[string]string{"token": token, "password": password}, change...)
	}
	for _, v := range []struct {
		name, token, password string
		status                int
		code                  session.Code
	}{
		{"Short", m[1], "short", 422, session.PasswordShort},
		{"Common", m[1], "password1", 422, session.PasswordCommon},
		{"MadeUp", strings.Repeat("A", 32), nextPassword, 410, session.LinkOver},
	} {
		if p := send(v.token, v.password); p.Status != v.status || p.code(t) != v.code {
			t.Errorf("%s: %d %s", v.name, p.Status, p.Body)
		}
	}
	if p := send(m[1], nextPassword, func(q *request) { q.site = "cross-site" }); p.Status != http.StatusForbidden {
		t.Errorf("from another site: %d", p.Status)
	}
	if p := send(m[1], nextPassword); p.Status != http.StatusNoContent || len(phone.cookies) != 0 {
		t.Fatalf("%d %s, %d cookies", p.Status, p.Body, len(phone.cookies))
	}
	if p := send(m[1], adasPassword); p.code(t) != session.LinkOver {
		t.Errorf("again: %d %s", p.Status, p.Body)
	}
	if p := b.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the session goes on: %d", p.Status)
	}
	if p := r.browser().sendJSON("/auth/login", adas(nextPassword)); p.Status != http.StatusOK {
		t.Errorf("the new password: %d", p.Status)
	}
}

// A request that calls us something else, in Host and in X-Forwarded-Host at once, gets the same letter as any other.
func TestMail_U9_EvilHost(t *testing.T) {
	r, mail := withMail(t, nil)
	r.browser().join()
	p := r.browser().do(request{
		method: "POST", path: "/auth/password/forgot", site: "same-origin", body: `{"identifier":"` + adasAddress + `"}`, host: "evil.example",
		header: http.Header{"Content-Type": {"application/json"}, "X-Forwarded-Host": {"evil.example"}},
	})
	if p.Status != http.StatusAccepted {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	l := mail.Next()
	linkIn(t, l) // to app.example.com
	if strings.Contains(l.Text+l.HTML, "evil") {
		t.Error(l.Text)
	}
}
