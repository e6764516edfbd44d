package cloakroom_test

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/postbox"
	"github.com/cloakroom-go/cloakroom/session"
)

// verifying is withMail where an account is made by a mailed link, as it is without a word in the configuration.
func verifying(t *testing.T) (*rig, *postbox.Server, *cloakroom.Accounts) {
	var people *cloakroom.Accounts
	r, mail := withMail(t, func(c *cloakroom.Config) { c.Accounts.VerifyEmailOff, people = false, c.Accounts })
	return r, mail, people
}

func count(t *testing.T, people *cloakroom.Accounts, table string) (n int) {
	t.Helper()
	if err := people.Database.QueryRow("SELECT COUNT(*) FROM " + table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// apply registers on the page, up to the mail.
func (b *browser) apply(identifier, password string) *page {
	b.t.Helper()
	return b.fill(b.visit("/auth/register?return_to=/page/"), map[string]string{"identifier": identifier, "password": password})
}

// Who registers gets a mail, and no account. The link makes one, and in the same browser the login goes on.
func TestVerify_U9_RegisterInOneBrowser(t *testing.T) {
	r, mail, people := verifying(t)
	b := r.browser()
	if p := b.apply("Ada@Example.com", adasPassword); p.Status != http.StatusOK || !strings.Contains(p.Body, "Look into your mail") || b.ticket() != "" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	l := mail.Next()
	if l.To != "Ada@example.com" || l.Subject != "Confirm your address at app.example.com" {
		t.Errorf("%+v", l)
	}
	if n := count(t, people, "account"); n != 0 {
		t.Errorf("%d accounts before the address is verified", n)
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("signing in before: %d", p.Status)
	}
	link := linkIn(t, l)
	r.browser().do(request{method: "GET", path: link}) // a scanner
	p := b.fromMail(link)
	if _, fields := p.form(t); p.Header.Get("Referrer-Policy") != "no-referrer" || fields.Has("password") {
		t.Errorf("%v %v", p.Header, fields)
	}
	if p := b.fill(p, nil); p.Status != http.StatusOK || p.URL != "/page/" {
		t.Fatalf("%d %s %s", p.Status, p.URL, p.Body)
	}
	if user := b.fetch("GET", "/auth/session").json(t)["user"].(map[string]any); user["email"] != "Ada@Example.com" {
		t.Errorf("%v", user)
	}
	if !slices.Contains(r.actions(), audit.Registered) {
		t.Errorf("audit: %v", r.actions())
	}
	if p := b.fromMail(link); p.Status != http.StatusGone {
		t.Errorf("the link again: %d", p.Status)
	}
}

// On another device the password shows that whoever clicks is who registered: else a stranger could have others make an account for them.
func TestVerify_U9_AnotherDeviceNeedsThePassword(t *testing.T) {
	r, mail, people := verifying(t)
	r.browser().apply(adasAddress, adasPassword)
	link := linkIn(t, mail.Next())
	phone := r.browser()
	p := phone.fromMail(link)
	if p := phone.fill(p, map[string]string{"password": "what Ada would guess"}); p.Status != http.StatusForbidden || !strings.Contains(p.Body, "This is another password.") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if n := count(t, people, "account"); n != 0 {
		t.Errorf("%d accounts by a wrong password", n)
	}
	if p := phone.fill(p, map[string]string{"password": adasPassword}); p.Status != http.StatusOK || !strings.Contains(p.Body, "Your account is ready") || phone.ticket() != "" {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := phone.sendJSON("/auth/login", adas(adasPassword)); p.Status != http.StatusOK {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// Registering tells nobody whether there is an account: the answers are alike, and who has one is told by mail.
func TestVerify_U6_RegisteringTellsNothing(t *testing.T) {
	r, mail, _ := verifying(t)
	b := r.browser()
	b.apply(adasAddress, adasPassword)
	b.fill(b.fromMail(linkIn(t, mail.Next())), nil)
	var bodies []string
	for _, identifier := range []string{adasAddress, "eve@example.com"} {
		p := r.browser().sendJSON("/auth/register", map[string]string{"identifier": identifier, "password": nextPassword})
		if p.Status != http.StatusAccepted {
			t.Errorf("%s: %d %s", identifier, p.Status, p.Body)
		}
		bodies = append(bodies, p.Body)
		if page := r.browser().apply(identifier, nextPassword); page.Status != http.StatusOK || !strings.Contains(page.Body, "A mail is on its way to "+identifier) {
			t.Errorf("%s: %d %s", identifier, page.Status, page.Body)
		}
	}
	if bodies[0] != bodies[1] {
		t.Errorf("%q", bodies)
	}
	subjects := map[string]int{}
	for range 4 {
		l := mail.Next()
		subjects[l.To+": "+l.Subject]++
		if l.To == adasAddress && strings.Contains(l.Text, "token=") {
			t.Errorf("a link to make an account that is there: %s", l.Text)
		}
	}
	if subjects[adasAddress+": You have an account at app.example.com"] != 2 || subjects["eve@example.com: Confirm your address at app.example.com"] != 2 {
		t.Errorf("%v", subjects)
	}
	if p := r.browser().sendJSON("/auth/login", adas(nextPassword)); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("registering again changed the password: %d", p.Status)
	}
}

// Of several links for one address, used at the same instant, exactly one makes the account.
func TestVerify_U9_OneOfManyWins(t *testing.T) {
	t.Parallel()
	r, mail, people := verifying(t)
	const many = 3
	browsers, pages := make([]*browser, many), make([]*page, many)
	for i := range many {
		browsers[i] = r.browser()
		browsers[i].apply(adasAddress, adasPassword)
		pages[i] = browsers[i].fromMail(linkIn(t, mail.Next()))
	}
	var wg sync.WaitGroup
	ended := make([]*page, 2*many)
	for i := range ended { // each twice
		wg.Go(func() {
			action, fields := pages[i%many].form(t)
			ended[i] = browsers[i%many].post(action, "same-origin", fields)
		})
	}
	wg.Wait()
	made := 0
	for _, p := range ended {
		switch p.Status {
		case http.StatusSeeOther:
			made++
		case http.StatusConflict, http.StatusGone:
		default:
			t.Errorf("%d %s", p.Status, p.Body)
		}
	}
	if n := count(t, people, "account"); made != 1 || n != 1 {
		t.Errorf("%d made one, and there are %d", made, n)
	}
}

func TestVerify_U9_ServerDown(t *testing.T) {
	r, mail, people := verifying(t)
	mail.Down()
	if p := r.browser().sendJSON("/auth/register", adas(adasPassword)); p.Status != http.StatusServiceUnavailable || p.code(t) != session.MailDown {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	p := r.browser().apply(adasAddress, adasPassword)
	if p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Body, "try again in a few minutes") || strings.Contains(p.Body, adasPassword) {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if n := count(t, people, "account") + count(t, people, "account_link"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

func TestVerify_RefusedRegistrations(t *testing.T) {
	r, mail, _ := verifying(t)
	for _, v := range []struct {
		identifier, password string
		status               int
		code                 session.Code
	}{
		{"\u0430da@example.com", adasPassword, 422, session.BadIdentifier},
		{strings.Repeat("a", 308) + "@example.com", adasPassword, 422, session.BadIdentifier},
		{"ada@example.com\r\nBcc: eve@example.com", adasPassword, 422, session.BadIdentifier},
		{"ada@example.com, eve@example.com", adasPassword, 422, session.BadIdentifier},
		{adasAddress, "short", 422, session.PasswordShort},
		{adasAddress, "password1", 422, session.PasswordCommon},
	} {
		if p := r.browser().sendJSON("/auth/register", map[string]string{"identifier": v.identifier, "password": v.password}); p.Status != v.status || p.code(t) != v.code {
			t.Errorf("%q: %d %s", v.identifier, p.Status, p.Body)
		}
	}
	if err := r.gateway.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	mail.None()
}

// Who wants another address proves the password first, and the address by a link. All sessions end, and the old address is told.
func TestVerify_U8_ChangeAddress(t *testing.T) {
	t.Parallel()
	const moved = "Ada.King@example.com"
	r, mail := withMail(t, nil)
	b := r.browser().enrolled()
	ask := func(b *browser, current, email string) *page {
		return b.sendJSON("/auth/email", map[string]string{"current_password": current, "email": email})
	}
	for _, v := range []struct {
		name           string
		b              *browser
		current, email string
		status         int
		code           session.Code
	}{
		{"NoSession", r.browser(), adasPassword, moved, 401, session.None},
		{"WithoutThePassword", b, "", moved, 403, session.WrongPassword},
		{"NoAddress", b, adasPassword, "nobody", 422, session.BadIdentifier},
	} {
		if p := ask(v.b, v.current, v.email); p.Status != v.status || p.code(t) != v.code {
			t.Errorf("%s: %d %s", v.name, p.Status, p.Body)
		}
	}
	if p := ask(b, adasPassword, moved); p.Status != http.StatusAccepted {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	l := mail.Next()
	if l.To != moved {
		t.Errorf("a letter to %s", l.To)
	}
	// Whoever else has that address cannot take the account over by a click.
	stranger := r.browser()
	form := stranger.fromMail(linkIn(t, l))
	if p := stranger.fill(form, map[string]string{"password": "a guess of a stranger"}); p.Status != http.StatusForbidden {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := b.fill(b.fromMail(linkIn(t, l)), map[string]string{"password": adasPassword}); p.Status != http.StatusOK || !strings.Contains(p.Body, "Your address is changed") {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if l := mail.Next(); l.To != adasAddress || !strings.Contains(l.Subject, "was changed") {
		t.Errorf("the old address: %+v", l)
	}
	if p := b.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the session goes on: %d", p.Status)
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("the old address: %d", p.Status)
	}
	if p := r.browser().sendJSON("/auth/login", map[string]string{"identifier": moved, "password": adasPassword}); p.Status != http.StatusOK {
		t.Errorf("the new address: %d", p.Status)
	}
}

// A front end with a page of its own confirms by one request, which takes the password: it makes the account and signs in, once; or
// changes the address.
func TestVerify_U8_U9_JSON(t *testing.T) {
	const moved = "ada.king@example.com"
	r, mail := withMail(t, func(c *cloakroom.Config) { c.Accounts.VerifyEmailOff, c.Accounts.VerifyPage = false, "/welcome" })
	tokenIn := func(l postbox.Letter) string {
		m := regexp.MustCompile(appURL + `/welcome#token=([A-Za-z0-9_-]{32})`).FindStringSubmatch(l.Text)
		if m == nil || !strings.Contains(l.HTML, m[0]) {
			t.Fatalf("no link in %q", l.Text)
		}
		return m[1]
	}
	b := r.browser()
	send := func(token, password string, change ...func(*request)) *page {
		return b.sendJSON("/auth/email/confirm", map[string]string{"token": token, "password": password}, change...)
	}
	if p := b.sendJSON("/auth/register", adas(adasPassword)); p.Status != http.StatusAccepted {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	token := tokenIn(mail.Next())
	if p := send(token, adasPassword, func(q *request) { q.site = "cross-site" }); p.Status != http.StatusForbidden || p.code(t) != session.CrossSite {
		t.Errorf("from another site: %d %s", p.Status, p.Body)
	}
	if p := send(token, "another password"); p.Status != http.StatusForbidden || p.code(t) != session.WrongPassword || b.ticket() != "" {
		t.Errorf("another password: %d %s", p.Status, p.Body)
	}
	if p := send(token, adasPassword); p.Status != http.StatusOK || p.json(t)["authenticated"] != true || b.ticket() == "" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := send(token, adasPassword); p.Status != http.StatusGone || p.code(t) != session.LinkOver {
		t.Errorf("again: %d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/email", map[string]string{"current_password": adasPassword, "email": moved}); p.Status != http.StatusAccepted {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if p := send(tokenIn(mail.Next()), adasPassword); p.Status != http.StatusNoContent {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := b.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the session goes on: %d", p.Status)
	}
	if p := b.sendJSON("/auth/login", map[string]string{"identifier": moved, "password": adasPassword}); p.Status != http.StatusOK {
		t.Errorf("the new address: %d", p.Status)
	}
}

// An address that somebody has is answered like any other, and its owner is told.
func TestVerify_U6_AddressOfAnother(t *testing.T) {
	r, mail := withMail(t, nil)
	r.browser().sendJSON("/auth/register", map[string]string{"identifier": "eve@example.com", "password": nextPassword})
	b := r.browser().enrolled()
	if p := b.sendJSON("/auth/email", map[string]string{"current_password": adasPassword, "email": "EVE@example.com"}); p.Status != http.StatusAccepted {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if l := mail.Next(); !strings.Contains(l.Subject, "You have an account") || strings.Contains(l.Text, "token=") {
		t.Errorf("%+v", l)
	}
}

// A front end with a form of its own has that mail sent again, too, for whoever is signed in, and confirms by the password.
func TestVerify_U8_U9_ConfirmAnAddressLaterJSON(t *testing.T) {
	var people *cloakroom.Accounts
	r, mail := withMail(t, func(c *cloakroom.Config) { people = c.Accounts })
	b := r.browser().join()
	ask := func(b *browser, change ...func(*request)) *page {
		return b.sendJSON("/auth/email/verify", map[string]string{}, change...)
	}
	if p := ask(r.browser()); p.code(t) != session.None {
		t.Errorf("nobody: %d %s", p.Status, p.Body)
	}
	if p := ask(b, func(q *request) { q.site = "cross-site" }); p.code(t) != session.CrossSite {
		t.Errorf("from another site: %d %s", p.Status, p.Body)
	}
	if p := b.sendJSON("/auth/email/verify", map[string]string{"email": "eve@example.com"}); p.code(t) != session.BadRequest {
		t.Errorf("another address: %d %s", p.Status, p.Body)
	}
	token := ""
	for range 2 {
		if p := ask(b); p.Status != http.StatusAccepted || p.json(t)["expires_in"] != 600.0 {
			t.Fatalf("%d %s", p.Status, p.Body)
		}
		l := mail.Next()
		if l.To != adasAddress {
			t.Errorf("%+v", l)
		}
		_, token, _ = strings.Cut(linkIn(t, l), "token=")
	}
	confirm := func(password string) *page {
		return r.browser().sendJSON("/auth/email/confirm", map[string]string{"token": token, "password": password})
	}
	if p := confirm("what a stranger guesses"); p.code(t) != session.WrongPassword || count(t, people, "account WHERE email_verified > 0") != 0 {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := confirm(adasPassword); p.Status != http.StatusNoContent || count(t, people, "account WHERE email_verified > 0") != 1 {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := ask(b); p.Status != http.StatusNoContent {
		t.Errorf("once it is verified: %d %s", p.Status, p.Body)
	}
	mail.Down()
	eve := r.browser()
	eve.sendJSON("/auth/register", map[string]string{"identifier": "eve@example.com", "password": adasPassword})
	if p := ask(eve); p.Status != http.StatusServiceUnavailable || p.code(t) != session.MailDown {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// Who has an address that is not verified has a mail sent from the account page. Its link verifies the address, after
// the password, and ends nothing; a stranger whom it reached by mistake can do nothing with it.
func TestVerify_U8_U9_ConfirmAnAddressLater(t *testing.T) {
	var people *cloakroom.Accounts
	r, mail := withMail(t, func(c *cloakroom.Config) { people = c.Accounts })
	b := r.browser().join()
	p := b.visit("/auth/account")
	if !strings.Contains(p.Body, "not confirmed yet") {
		t.Fatalf("%s", p.Body)
	}
	if p := b.post("/auth/account/email-confirm", "same-origin", nil); p.Status != http.StatusForbidden {
		t.Errorf("without the page's token: %d", p.Status)
	}
	if sent := b.press(p, "Confirm"); !strings.Contains(sent.Body, "A mail is on its way to "+adasAddress) {
		t.Fatalf("%d %s", sent.Status, sent.Body)
	}
	l := mail.Next()
	if l.To != adasAddress || l.Subject != "Confirm your address at app.example.com" {
		t.Errorf("%+v", l)
	}
	link := linkIn(t, l)
	if p := r.browser().fill(r.browser().fromMail(link), map[string]string{"password": "what a stranger guesses"}); p.Status != http.StatusForbidden {
		t.Errorf("a stranger: %d %s", p.Status, p.Body)
	}
	if count(t, people, "account WHERE email_verified > 0") != 0 {
		t.Error("verified before")
	}
	if p := b.fill(b.fromMail(link), map[string]string{"password": adasPassword}); !strings.Contains(p.Body, "Your address is confirmed") {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if count(t, people, "account WHERE email_verified > 0") != 1 {
		t.Error("not verified after")
	}
	if p := b.askAPI(); p.Status != http.StatusOK {
		t.Errorf("the session: %d", p.Status)
	}
	if p := b.visit("/auth/account"); strings.Contains(p.Body, "not confirmed yet") {
		t.Errorf("%s", p.Body)
	}
	if again := b.press(p, "Confirm"); again.URL != "/auth/account" {
		t.Errorf("once more: %d %s", again.Status, again.URL)
	}
	if p := b.fromMail(link); p.Status != http.StatusGone {
		t.Errorf("the link again: %d", p.Status)
	}
	// Mails are counted like others.
	eve := r.browser()
	eve.sendJSON("/auth/register", map[string]string{"identifier": "eve@example.com", "password": adasPassword})
	hers, status := eve.visit("/auth/account"), 0
	for range 20 {
		if status = eve.press(hers, "Confirm").Status; status != http.StatusOK {
			break
		}
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("any number of mails: %d", status)
	}
}
