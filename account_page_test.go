package cloakroom_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
)

// sheet is one form of a page.
type sheet struct {
	action, button string
	fields         url.Values
}

// sheets are the forms of a page.
func (p *page) sheets(t *testing.T) (all []sheet) {
	t.Helper()
	for n, attrs := range p.elements(t) {
		switch {
		case n.Data == "form":
			all = append(all, sheet{action: attrs["action"], fields: url.Values{}})
		case n.Data == "input":
			all[len(all)-1].fields.Set(attrs["name"], attrs["value"])
		case n.Data == "button" && n.FirstChild != nil:
			all[len(all)-1].button = n.FirstChild.Data
		}
	}
	return all
}

// press sends the form of the first button of that name and follows wherever it leads.
func (b *browser) press(p *page, button string) *page {
	b.t.Helper()
	all := p.sheets(b.t)
	i := slices.IndexFunc(all, func(s sheet) bool { return s.button == button })
	if i < 0 {
		b.t.Fatalf("no button %q in %d %s: %s", button, p.Status, p.URL, p.Body)
	}
	return b.follow(b.post(all[i].action, "same-origin", all[i].fields))
}

func (b *browser) follow(p *page) *page {
	b.t.Helper()
	next := p.next(b.t)
	if next == "" {
		return p
	}
	u, err := url.Parse(next)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.navigate(u.RequestURI(), "same-origin")
}

// askAPI is a request of the page's script, as every csrf takes it.
func (b *browser) askAPI() *page {
	b.t.Helper()
	return b.do(request{method: "GET", path: "/api/x", site: "same-origin", header: http.Header{"X-Csrf-Token": {"1"}}})
}

// as is a second browser that says what it is.
func (r *rig) as(agent string) *browser {
	b := r.browser()
	b.says = http.Header{"User-Agent": {agent}}
	return b
}

const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// A person finds who they are and where they are signed in, and ends one of these; whatever csrf asks of scripts.
func TestAccountPage_Devices(t *testing.T) {
	for _, csrf := range []string{"origin", "header", "token"} {
		t.Run(csrf, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Guard.CSRF = csrf }))
			b := r.browser().join()
			other := r.as(firefox)
			if p := other.fill(other.visit("/auth/login?return_to=/page/"), adas(adasPassword)); p.URL != "/page/" {
				t.Fatalf("%d %s", p.Status, p.URL)
			}
			p := b.visit("/auth/account")
			if p.Status != http.StatusOK || !strings.Contains(p.Body, adasAddress) || p.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%d %v %s", p.Status, p.Header, p.Body)
			}
			if resting() == "sealed" {
				if !strings.Contains(p.Body, "there is no list of your devices") || strings.Contains(p.Body, "Your devices") {
					t.Errorf("it does not say that there is no list: %s", p.Body)
				}
				return
			}
			if !strings.Contains(p.Body, "Firefox on Linux") || !strings.Contains(p.Body, "This device") {
				t.Errorf("no devices: %s", p.Body)
			}
			device := slices.IndexFunc(p.sheets(t), func(s sheet) bool { return strings.HasSuffix(s.action, "/device") })
			again := p.sheets(t)[device]
			p = b.press(p, "Sign out")
			if p.URL != "/auth/account?done=device" || !strings.Contains(p.Body, "That device is signed out.") || strings.Contains(p.Body, "Firefox on Linux") {
				t.Errorf("%d %s %s", p.Status, p.URL, p.Body)
			}
			if p := other.askAPI(); p.Status != http.StatusUnauthorized {
				t.Errorf("the other device: %d", p.Status)
			}
			if p := b.follow(b.post(again.action, "same-origin", again.fields)); p.Status != http.StatusOK || p.URL != "/auth/account?done=device" {
				t.Errorf("the button once more: %d %s", p.Status, p.URL)
			}
		})
	}
}

func TestAccountPage_SignOut(t *testing.T) {
	for _, csrf := range []string{"origin", "header", "token"} {
		t.Run(csrf, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Guard.CSRF = csrf }))
			b := r.browser().join()
			other := r.browser()
			other.fill(other.visit("/auth/login"), adas(adasPassword))
			copied := b.copy()
			if p := b.press(b.visit("/auth/account"), "Sign out everywhere"); !strings.Contains(p.Body, "You are signed out") || b.ticket() != "" {
				t.Errorf("%d %s %q", p.Status, p.URL, b.ticket())
			}
			if p := copied.askAPI(); p.Status != http.StatusUnauthorized {
				t.Errorf("a copy of the ticket: %d", p.Status)
			}
			if resting() == "store" {
				if p := other.askAPI(); p.Status != http.StatusUnauthorized {
					t.Errorf("the other device: %d", p.Status)
				}
			}
			if p := b.visit("/auth/account"); !strings.HasPrefix(p.URL, "/auth/sign-in?") {
				t.Errorf("signed out, the account is at %d %s", p.Status, p.URL)
			}
		})
	}
}

// The current password is needed (U8). All other sessions end, and this one goes on under another ticket.
func TestAccountPage_U8_ChangePassword(t *testing.T) {
	for _, csrf := range []string{"origin", "header", "token"} {
		t.Run(csrf, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Guard.CSRF = csrf }))
			b := r.browser().join()
			other := r.browser()
			other.fill(other.visit("/auth/login"), adas(adasPassword))
			form := b.visit("/auth/account/password")
			for _, v := range []struct {
				current, next string
				status        int
				says          string
			}{
				{"wrong password", "another good password", 403, "nothing was changed"},
				{"", "another good password", 403, "nothing was changed"},
				{adasPassword, "short", 422, "at least 8 characters"},
				{adasPassword, "password1", 422, "tried first"},
			} {
				p := b.fill(form, map[string]string{"current_password": v.current, "new_password": v.next})
				if p.Status != v.status || !strings.Contains(p.Body, v.says) || v.current != "" && strings.Contains(p.Body, v.current) || strings.Contains(p.Body, v.next+`"`) {
					t.Errorf("%q to %q: %d %s", v.current, v.next, p.Status, p.Body)
				}
			}
			ticket := b.ticket()
			p := b.fill(form, map[string]string{"current_password": adasPassword, "new_password": "another good password"})
			if p.URL != "/auth/account?done=password" || !strings.Contains(p.Body, "Your password was changed.") || b.ticket() == ticket {
				t.Fatalf("%d %s %s", p.Status, p.URL, p.Body)
			}
			if p := b.askAPI(); p.Status != http.StatusOK {
				t.Errorf("this session: %d", p.Status)
			}
			if resting() == "store" {
				if p := other.askAPI(); p.Status != http.StatusUnauthorized {
					t.Errorf("the other session: %d", p.Status)
				}
			}
			if r.count(audit.Changed) != 1 {
				t.Errorf("events %v", r.actions())
			}
			for password, want := range map[string]string{adasPassword: "", "another good password": "/page/"} {
				c := r.browser()
				if p := c.fill(c.visit("/auth/login?return_to=/page/"), adas(password)); (p.URL == "/page/") != (want == "/page/") {
					t.Errorf("%q then: %d %s", password, p.Status, p.URL)
				}
			}
		})
	}
}

// What a page of another site, of a sibling, or without our token posts is refused, and so is a token of somebody else's.
func TestAccountPage_X4_FormsAreGuarded(t *testing.T) {
	for _, csrf := range []string{"origin", "header", "token"} {
		t.Run(csrf, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Guard.CSRF = csrf }))
			b := r.browser().join()
			thief := r.browser()
			thief.fill(thief.visit("/auth/register"), map[string]string{"identifier": "eve@example.com", "password": adasPassword})
			foreign := thief.visit("/auth/account").sheets(t)[0].fields.Get("_csrf")
			own := b.visit("/auth/account").sheets(t)[0].fields.Get("_csrf")
			for path, fields := range map[string]url.Values{
				"/auth/account/sign-out": {"everywhere": {"1"}},
				"/auth/account/password": {"current_password": {adasPassword}, "new_password": {"another good password"}},
				"/auth/account/device":   {"id": {"x"}},
			} {
				for _, v := range []struct{ name, site, token string }{
					{"CrossSite", "cross-site", own}, {"Sibling", "same-site", own}, {"NoToken", "same-origin", ""}, {"AnothersToken", "same-origin", foreign},
				} {
					fields.Set("_csrf", v.token)
					if p := b.post(path, v.site, fields); p.Status != http.StatusForbidden {
						t.Errorf("%s %s: %d %.200s", path, v.name, p.Status, p.Body)
					}
				}
			}
			if p := b.askAPI(); p.Status != http.StatusOK || r.count(audit.Changed) != 0 || r.count(audit.Logout) != 0 {
				t.Errorf("something was done: %d, %v", p.Status, r.actions())
			}
			if own == "" || own == foreign {
				t.Errorf("tokens %q and %q", own, foreign)
			}
		})
	}
}

// Where there are several ways in people are told of each as it is called, and the rest of what the login was asked goes on with it.
func TestChooser_NamesAndOrder(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) {
		c.Accounts = people(t)
		c.Accounts.Title = "Account of Example"
		main := c.Providers["main"]
		main.Title = "Example & Sons"
		c.Providers["main"] = main
		c.Providers["other"] = cloakroom.Provider{Issuer: main.Issuer + "/other", ClientID: "app", ClientSecret: "secret"}
	})
	p := r.browser().do(request{method: "GET", path: "/auth/login?return_to=/page/&remember=1", site: "none", nav: true})
	var got []string
	for _, m := range regexp.MustCompile(`<li><a href="([^"]*)"><bdi>([^<]*)</bdi>`).FindAllStringSubmatch(p.Body, -1) {
		got = append(got, m[2]+" "+html.UnescapeString(m[1]))
	}
	const rest = "&remember=1&return_to=%2Fpage%2F"
	if want := []string{
		"Account of Example /auth/login?provider=accounts" + rest, "Example &amp; Sons /auth/login?provider=main" + rest, "other /auth/login?provider=other" + rest,
	}; !slices.Equal(got, want) {
		t.Errorf("%q\n%s", got, p.Body)
	}
}

// Nobody is there: the page leads to the login and back. Who signs in at a provider finds their devices, and no password.
func TestAccountPage_WhoIsThere(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Accounts = people(t) })
	b := r.browser()
	if p := b.navigate("/auth/account", "same-origin"); !strings.HasPrefix(p.URL, "/auth/login?") || !strings.Contains(p.URL, url.QueryEscape("/auth/account")) {
		t.Errorf("nobody: %d %s", p.Status, p.URL)
	}
	p := b.visit("/auth/login?provider=main&return_to=/auth/account")
	if p.URL != "/auth/account" || !strings.Contains(p.Body, "Signed in with main") || strings.Contains(p.Body, "/auth/account/password") {
		t.Errorf("a provider's person: %d %s %s", p.Status, p.URL, p.Body)
	}
	if p := b.visit("/auth/account/password"); p.Status != http.StatusForbidden {
		t.Errorf("their password: %d", p.Status)
	}
	// Where password managers look; with accounts alone, and as long as passwords are here.
	if p := b.do(request{method: "GET", path: "/.well-known/change-password", site: "none", nav: true}); p.Status != http.StatusFound || p.Header.Get("Location") != "/auth/account/password" {
		t.Errorf("a password manager is led to %d %s", p.Status, p.Header.Get("Location"))
	}
	if p := newRig(t, nil).browser().do(request{method: "GET", path: "/.well-known/change-password", site: "none", nav: true}); p.Header.Get("Location") == "/auth/account/password" {
		t.Error("a page that is not there")
	}
	if p := b.visit("/auth/account?done=nothing-we-know"); p.Status != http.StatusOK || strings.Contains(p.Body, "nothing-we-know") {
		t.Errorf("an unknown word: %d", p.Status)
	}
	if p := b.do(request{method: "GET", path: "/auth/account", site: "cross-site"}); p.Status != http.StatusForbidden {
		t.Errorf("a fetch of another site: %d", p.Status)
	}
}

// The box on the page decides, whatever the login began with: it is ticked where the login asked for it, and the second step keeps it.
func TestSignIn_C11_StaySignedIn(t *testing.T) {
	box := regexp.MustCompile(`name="remember" type="checkbox" value="1"( checked)?`)
	for _, tt := range []struct {
		name, query, ticks string
		persistent, stays  bool
	}{
		{"as it is", "", "", false, false},
		{"ticked", "", "1", false, true},
		{"asked for by the application", "&remember=1", "1", false, true},
		{"asked for, and taken out", "&remember=1", "", false, false},
		{"everybody stays", "", "", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Session.Persistent = tt.persistent }))
			first := r.browser().join()
			phone, _ := first.setsUp()
			b := r.browser()
			p := b.visit("/auth/login?return_to=/page/" + tt.query)
			m := box.FindStringSubmatch(p.Body)
			if (m == nil) != tt.persistent || m != nil && (m[1] != "") != (tt.query != "") {
				t.Fatalf("the box: %q", m)
			}
			values := adas(adasPassword)
			if !tt.persistent {
				values["remember"] = tt.ticks
			}
			p = b.fill(p, adas("not the password"))
			if p = b.fill(p, values); p.Status != http.StatusOK {
				t.Fatalf("%d %s", p.Status, p.Body)
			}
			b.fill(p, map[string]string{"code": phone.code(0)})
			if c := b.cookies[holding()]; c == nil || (c.MaxAge > 0) != tt.stays {
				t.Errorf("cookie %v", c)
			}
		})
	}
}

// The address is changed on a page, too. What cannot be an address is said before a code is used up, and a mail server that is down leaves
// the person where they are.
func TestAccountPage_U8_U9_ChangeAddress(t *testing.T) {
	const moved = "ada.king@example.com"
	r, mail := withMail(t, nil)
	b := r.browser().join()
	if p := b.visit("/auth/account"); !strings.Contains(p.Body, `href="/auth/account/email"`) {
		t.Fatalf("no way to another address: %s", p.Body)
	}
	phone, _ := b.setsUp()
	form := b.visit("/auth/account/email")
	code := phone.code(0)
	for _, v := range []struct {
		name, email, password, says string
		status                      int
	}{
		{"NoAddress", "nobody", adasPassword, "cannot be used as an e-mail address", http.StatusUnprocessableEntity},
		{"WrongPassword", moved, "not the password", "password is not right", http.StatusForbidden},
	} {
		if p := b.fill(form, map[string]string{"email": v.email, "password": v.password, "code": code}); p.Status != v.status || !strings.Contains(p.Body, v.says) || !strings.Contains(p.Body, `value="`+v.email+`"`) {
			t.Errorf("%s: %d %s", v.name, p.Status, p.Body)
		}
	}
	mail.None()
	if p := b.fill(form, map[string]string{"email": moved, "password": adasPassword, "code": code}); p.Status != http.StatusOK || !strings.Contains(p.Body, "A mail is on its way to "+moved) {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if l := mail.Next(); l.To != moved {
		t.Errorf("a letter to %s", l.To)
	}
	mail.Down()
	if p := b.fill(form, map[string]string{"email": moved, "password": adasPassword, "code": phone.code(1)}); p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Body, "try again in a few minutes") || p.Header.Get("Retry-After") == "" {
		t.Errorf("%d %s", p.Status, p.Body)
	}
	if p := newRig(t, withAccounts(t, nil)).browser().join().visit("/auth/account/email"); p.Status != http.StatusNotFound {
		t.Errorf("without mail: %d", p.Status)
	}
}
