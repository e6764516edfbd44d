package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// accountPath is the page on which people find what there is of theirs. What they do there is below it.
const accountPath = "account"

// done says on the page what has just been done.
var done = map[string]string{
	"password":          "Your password was changed. You are signed out everywhere else.",
	"passkey":           "Your passkey was added. You can sign in with it.",
	"passkey-remove":    "The passkey was removed. You are signed out everywhere else.",
	"passkey-only":      "Your password was removed. You sign in with your passkeys, and are signed out everywhere else.",
	"passkey-password":  "Your password was set. You are signed out everywhere else.",
	"authenticator-off": "Your password is enough to sign in again. You are signed out everywhere else.",
	"device":            "That device is signed out.",
}

// account shows a person their account. It is no activity (T4).
func (g *Gateway) account(w http.ResponseWriter, r *http.Request) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	s, err := g.Desk.Look(r.Context(), r)
	if err != nil {
		return err
	}
	page := ui.AccountPage{Title: "Your account", Text: "At " + g.Own.Host() + ".", Notice: done[query.Get("done")], Links: []ui.Link{{URL: "/", Name: "Go to the start page"}}}
	if s.Grant.Provider == accounts.Name {
		account, err := g.Accounts.Of(r.Context(), s.Grant.Subject)
		if err != nil {
			return err
		}
		keys, err := g.passkeysOf(r, account)
		if err != nil {
			return err
		}
		ways, err := g.waysIn(r.Context(), account, len(keys) > 0 && len(keys[0].Rows) > 0)
		if err != nil {
			return err
		}
		page.Sections = append(append(page.Sections, g.whoIs(s, account), ways), keys...)
	} else {
		page.Sections = append(page.Sections, ui.Section{Title: "Who you are", Rows: []ui.Row{{
			Name: cmp.Or(claim(s, "name"), claim(s, "email"), s.Grant.Subject), Text: "Signed in with " + titleOf(g.Providers[s.Grant.Provider], s.Grant.Provider),
		}}})
	}
	devices, err := g.devicesOf(r.Context(), s)
	if err != nil {
		return err
	}
	page.Sections = append(page.Sections, devices...)
	g.remember(r, s)
	g.Answers.Pages.Account(w, page)
	return nil
}

func claim(s *session.Session, name string) string {
	text, _ := s.Grant.Claims[name].(string)
	return text
}

func (g *Gateway) whoIs(s *session.Session, account *accounts.Account) ui.Section {
	who := ui.Section{Title: "Who you are"}
	email := ui.Row{Name: account.Email, Text: "Your e-mail address"}
	if g.Accounts.Mails() {
		email.Link = ui.Link{URL: g.below(emailChange.path), Name: "Change"}
		if account.EmailVerified.IsZero() {
			email.Text, email.Button = "Your e-mail address, not confirmed yet", g.button(askVerifyPath, "Confirm", s, nil)
		}
	}
	for _, row := range []ui.Row{{Name: account.Name, Text: "Your name"}, {Name: account.Username, Text: "Your user name"}, email} {
		if row.Name != "" {
			who.Rows = append(who.Rows, row)
		}
	}
	return who
}

// waysIn are the things that a person signs in with. passkeys says whether they have any.
func (g *Gateway) waysIn(ctx context.Context, account *accounts.Account, passkeys bool) (ui.Section, error) {
	f, err := g.Accounts.Factors(ctx, account)
	word := ui.Row{Name: "Password", Link: ui.Link{URL: g.below("password"), Name: "Change"}}
	switch {
	case account.HasPassword() && passkeys:
		word.Also = ui.Link{URL: g.below("passkey-only"), Name: "Turn off"}
	case account.HasPassword():
	case passkeys:
		word.Text, word.Link = "None. You sign in with a passkey", ui.Link{URL: g.below("passkey-password"), Name: "Set"}
	case g.Accounts.Mails():
		word.Text, word.Link = "None", ui.Link{URL: g.options.Prefix + forgotPath, Name: "Set"}
	default:
		word.Text, word.Link = "None", ui.Link{}
	}
	ways := ui.Section{Title: "Signing in", Rows: []ui.Row{word}}
	if f.Authenticator.IsZero() && !account.HasPassword() && passkeys && !g.Accounts.SignsInByMail() {
		return ways, err // a passkey is two steps in one
	}
	if f.Authenticator.IsZero() {
		ways.Rows = append(ways.Rows, ui.Row{
			Name: "Authenticator app", Text: "Not set up. With it, signing in takes a second step", Link: ui.Link{URL: g.below("authenticator"), Name: "Set up"},
		})
		return ways, err
	}
	left := fmt.Sprintf("%d left", f.Recovery)
	if f.Recovery == 0 {
		left = "None left: without your app you cannot sign in"
	}
	ways.Rows = append(ways.Rows,
		ui.Row{Name: "Authenticator app", Text: "Set up on " + f.Authenticator.Format("2 January 2006"), Link: ui.Link{URL: g.below("authenticator-off"), Name: "Turn off"}, Also: ui.Link{URL: g.below("authenticator"), Name: "Replace"}},
		ui.Row{Name: "Recovery codes", Text: left, Link: ui.Link{URL: g.below("recovery"), Name: "Make new ones"}})
	return ways, err
}

// askVerifyPath is where a mail to confirm one's address is asked for, below the account.
const askVerifyPath = "email-confirm"

// below is the address of something that a person does to their account.
func (g *Gateway) below(name string) string { return g.options.Prefix + accountPath + "/" + name }

// devicesOf lists where a person is signed in, as far as the storage knows.
func (g *Gateway) devicesOf(ctx context.Context, s *session.Session) ([]ui.Section, error) {
	out := ui.Section{Title: "Signing out", Rows: []ui.Row{
		{Name: "Here", Text: "On this device alone", Button: g.button("sign-out", "Sign out", s, nil)},
		{Name: "Everywhere", Text: "Here and on every other device", Button: g.button("sign-out", "Sign out everywhere", s, url.Values{"everywhere": {"1"}})},
	}}
	list, err := g.latest(ctx, s)
	if session.CodeOf(err) == session.Unlisted {
		out.Text = "Sessions are kept in browsers here, not on the server, so there is no list of your devices. You can sign out of all of them."
		return []ui.Section{out}, nil
	}
	if err != nil {
		return nil, err
	}
	devices := ui.Section{Title: "Your devices"}
	if list.More {
		devices.Text = fmt.Sprintf("The %d that were used last. There are others.", len(list.Sessions))
	}
	for _, d := range list.Sessions {
		row := ui.Row{Name: d.Browser + " on " + d.System, Text: fmt.Sprintf("Signed in on %s, used %s", d.Created.Format("2 January 2006"), ago(*d.LastSeen))}
		if d.Browser == unknownWord && d.System == unknownWord {
			row.Name = "Unknown device"
		}
		if d.Current {
			row.Text = fmt.Sprintf("This device, signed in on %s", d.Created.Format("2 January 2006"))
		} else {
			row.Button = g.button("device", "Sign out", s, url.Values{"id": {d.ID}})
		}
		devices.Rows = append(devices.Rows, row)
	}
	return []ui.Section{devices, out}, nil
}

// ago says how long something is past, roughly.
func ago(t time.Time) string {
	switch past := time.Since(t); {
	case past < 2*time.Minute:
		return "just now"
	case past < time.Hour:
		return fmt.Sprintf("%d minutes ago", past/time.Minute)
	case past < 2*time.Hour:
		return "an hour ago"
	case past < 24*time.Hour:
		return fmt.Sprintf("%d hours ago", past/time.Hour)
	}
	return "on " + t.Format("2 January 2006")
}

// button posts to something below the account.
func (g *Gateway) button(to, name string, s *session.Session, fields url.Values) *ui.Button {
	hidden := g.meant(s)
	for field, values := range fields {
		hidden[field] = values
	}
	return &ui.Button{Action: g.below(to), Name: name, Hidden: hidden}
}

// meant is what a form of ours carries, to show that this person was shown it: the CSRF token, or one of our own where pages have
// none. No form could send what csrf: header asks for.
func (g *Gateway) meant(s *session.Session) url.Values {
	token := g.Guard.Token(s)
	if token == "" {
		token = sealText(g.forms, s.LogID)
	}
	return url.Values{guard.TokenField: {token}}
}

// admitForm decides whether a form of ours may do what it asks for.
func (g *Gateway) admitForm(r *http.Request) error {
	if err := g.Guard.CheckOrigin(r); err != nil {
		g.record(r, audit.Event{Action: audit.Refused, Reason: string(session.CodeOf(err))})
		return err
	}
	s, err := g.Desk.Look(r.Context(), r)
	if err != nil {
		return err
	}
	if g.Guard.WantsToken(r) {
		err = g.Guard.CheckToken(r, s)
	} else if token, formErr := guard.FormToken(r); formErr != nil {
		err = session.Fail(session.CrossSite, "admit", "a form without its token: %w", formErr)
	} else if id, ours := openText(g.forms, token); !ours || id != s.LogID {
		err = session.Fail(session.CrossSite, "admit", "the token of the form is not that of this session")
	}
	if err != nil {
		g.record(r, s.Event(audit.Refused, string(session.CodeOf(err))))
	}
	return err
}

// signOut is the account page's way out.
func (g *Gateway) signOut(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r, "sign out")
	if err != nil {
		return err
	}
	s, err := g.Desk.Look(r.Context(), r)
	if err != nil {
		return err
	}
	if err := g.end(r, s, form.Get("everywhere") == "1"); err != nil {
		return err
	}
	g.Desk.Discard(s, "signed out")
	state := g.logoutState("")
	next := g.providerEnd(r, s, state)
	g.forget(w, r)
	if next == nil {
		next = g.own("signed-out")
		next.RawQuery = url.Values{"state": {state}}.Encode()
	}
	g.follow(w, r, next)
	return nil
}

// signOutDevice ends another of the person's sessions.
func (g *Gateway) signOutDevice(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r, "end session")
	if err != nil {
		return err
	}
	s, err := g.Desk.Look(r.Context(), r)
	if err != nil {
		return err
	}
	found, err := g.mine(r.Context(), s, form.Get("id"))
	switch {
	case session.CodeOf(err) == session.NotFound || err == nil && found.ID == s.ID:
		// It ended by itself, or the button was pressed twice. This one has another button.
	case err != nil:
		return err
	default:
		if err := g.endOther(r, found); err != nil {
			return err
		}
	}
	g.backToAccount(w, r, "device")
	return nil
}

// backToAccount shows the account again, and what was done; "" for nothing.
func (g *Gateway) backToAccount(w http.ResponseWriter, r *http.Request, what string) {
	to := g.options.Prefix + accountPath
	if what != "" {
		to += "?" + url.Values{"done": {what}}.Encode()
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// askPassword shows the form to change the password.
func (g *Gateway) askPassword(w http.ResponseWriter, r *http.Request) error {
	s, account, err := g.owner(r)
	if err != nil {
		return err
	}
	if byKey, err := g.Accounts.ConfirmsByPasskey(r.Context(), account); err != nil {
		return err
	} else if byKey {
		http.Redirect(w, r, g.below("passkey-password"), http.StatusSeeOther)
		return nil
	}
	return g.showPassword(w, r, s, account, http.StatusOK, nil)
}

// owner is the person of a request, who has an account of ours. NotAllowed: they sign in at a provider.
func (g *Gateway) owner(r *http.Request) (*session.Session, *accounts.Account, error) {
	s, err := g.Desk.Look(r.Context(), r)
	if err != nil {
		return nil, nil, err
	}
	return g.ownerOf(r, s)
}

func (g *Gateway) ownerOf(r *http.Request, s *session.Session) (*session.Session, *accounts.Account, error) {
	if s.Grant.Provider != accounts.Name {
		return nil, nil, session.Fail(session.NotAllowed, "find account", "this person has theirs at provider %q", s.Grant.Provider)
	}
	account, err := g.Accounts.Of(r.Context(), s.Grant.Subject)
	return s, account, err
}

// takePassword changes the password, and ends every other session of the person (U8).
func (g *Gateway) takePassword(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r, "change password")
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the form is here; hashing may have to wait
	s, account, err := g.active(r)
	if err != nil {
		return err
	}
	_, err = g.exchangePassword(w, r, s, account, proof{Current: form.Get("current_password"), Code: form.Get("code")}, form.Get("new_password"))
	switch code := session.CodeOf(err); code {
	case "":
	case session.WrongPassword, session.CodeRequired, session.WrongCode, session.PasswordShort, session.PasswordLong, session.PasswordCommon, session.TooMany, session.Conflict:
		g.Answers.Note(r, err)
		return g.showPassword(w, r, s, account, 0, err)
	default:
		return err
	}
	g.backToAccount(w, r, "password")
	return nil
}

// showPassword writes the form to change the password; with err it says what is wrong, and status 0 is the one of err.
func (g *Gateway) showPassword(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, status int, err error) error {
	f, factorsErr := g.Accounts.Factors(r.Context(), account)
	if factorsErr != nil {
		return factorsErr
	}
	page := ui.FormPage{
		Title: "Change your password", Text: "For your account at " + g.Own.Host() + ". You will be signed out everywhere else.", Action: g.below("password"), Button: "Change password",
		Hidden: g.meant(s), Links: []ui.Link{g.cancel()}, Username: claim(s, map[string]string{accounts.LoginEmail: "email", accounts.LoginUsername: "preferred_username"}[g.Accounts.Login()]),
	}
	current := ui.Input{Name: "current_password", Label: "Current password", Type: "password", Autocomplete: "current-password"}
	digits := codeInput()
	next := ui.Input{Name: "new_password", Label: "New password", Type: "password", Autocomplete: "new-password", Hint: signingUp.hint, Least: signingUp.least}
	if err != nil {
		text := g.refusal(w, &status, err)
		switch code := session.CodeOf(err); {
		case code == session.WrongPassword:
			current.Wrong = text
		case code == session.CodeRequired || code == session.WrongCode:
			digits.Wrong = text
		case strings.HasPrefix(string(code), "password_"):
			next.Wrong = text
		default:
			page.Wrong = text
		}
	}
	page.Inputs = []ui.Input{current, digits, next}
	if f.Authenticator.IsZero() {
		page.Inputs = []ui.Input{current, next}
	}
	g.Answers.Pages.Form(w, status, page)
	return nil
}

func (g *Gateway) cancel() ui.Link {
	return ui.Link{URL: g.options.Prefix + accountPath, Name: "Back to your account"}
}
