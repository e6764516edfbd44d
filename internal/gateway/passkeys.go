package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// passkeyPath is where a sign-in with a passkey goes.
const passkeyPath = accounts.SignInPath + "/passkey"

// ceremonyNote is how long it is remembered that a ceremony was used: longer than one may take.
const ceremonyNote = session.LoginLifetime + time.Minute

// once sees to it that a ceremony comes to something once.
func (g *Gateway) once(r *http.Request, sealed string) func() error {
	return func() error {
		name := seal.Hash("passkey ceremony", []byte(sealed))
		err := g.Notes.Put(r.Context(), "passkey", string(name[:]), nil, ceremonyNote)
		if session.CodeOf(err) == session.Conflict {
			return &session.Error{Code: session.WrongPasskey, Op: "use passkey", Err: err}
		}
		return err
	}
}

// passkeyChoice is the way in beside the password; nil where there is none.
func (g *Gateway) passkeyChoice(pending session.Pending) (*ui.Passkey, error) {
	if !g.Accounts.TakesPasskeys() {
		return nil, nil
	}
	c, err := g.Accounts.AskPasskey(pending)
	if err != nil {
		return nil, err
	}
	return &ui.Passkey{
		Action: g.options.Prefix + passkeyPath, Ceremony: "get", Options: c.Options, Button: "Use a passkey", Beside: true,
		Failed: "Nothing was signed in. You can try again, or use your password.",
		Hidden: url.Values{"state": {pending.State()}, "return_to": {pending.ReturnTo}, "passkey": {c.Sealed}},
	}, nil
}

// takePasskey signs in with a passkey, within a login that this browser began.
func (g *Gateway) takePasskey(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r, passkeyPath)
	if err != nil {
		return err
	}
	pending, err := g.begun(r, form.Get("state"))
	if err != nil {
		return g.beginAgain(w, r, signingIn, form, err)
	}
	pending = g.staying(w, pending, form)
	account, err := g.byPasskey(r, pending, form.Get("passkey"), form.Get("response"))
	switch session.CodeOf(err) {
	case "":
		return g.goOn(w, r, pending, account, accounts.ByPasskey, accounts.Strongly)
	case session.WrongPasskey:
		g.Answers.Note(r, err)
		return g.show(w, 0, pending, signingIn, "", err)
	}
	return err
}

// byPasskey looks at what came of a ceremony, and writes down what came of that.
func (g *Gateway) byPasskey(r *http.Request, pending session.Pending, sealed, response string) (*accounts.Account, error) {
	account, err := g.Accounts.SignInByPasskey(r.Context(), pending, sealed, response, g.once(r, sealed))
	if err != nil {
		g.recordAccount(r, audit.LoginFailed, account, string(session.CodeOf(err)))
	}
	return account, err
}

// confirmedBy are the methods of somebody who showed once more who they are, with a code where they have a second step.
func confirmedBy(account *accounts.Account, code bool) []string {
	switch {
	case !account.HasPassword():
		return []string{accounts.ByPasskey, accounts.Strongly}
	case code:
		return []string{accounts.ByPassword, accounts.ByCode, accounts.Strongly}
	}
	return []string{accounts.ByPassword}
}

// passkeyChanges are there where passkeys are.
var passkeyChanges = []*change{
	{
		path: "passkey", title: "Add a passkey", button: "Continue",
		text: "With a passkey you sign in by what unlocks your device, without a password. First, please show that it is you.",
		doc:  "The page to make a passkey. Its form takes a `name` and the `password` (with a second step a `code`, too), then what the browser's ceremony returned. Not where the host of `url` is an IP address.",
		inputs: func() []ui.Input {
			return []ui.Input{{Name: "name", Label: "Name of this passkey", Type: "text", Autocomplete: "off", Hint: "Where it is, like “phone” or “blue key”.", Most: accounts.MostPasskeyName}}
		},
		do:     (*Gateway).makePasskey,
		resume: "response", next: (*Gateway).takeNewPasskey,
	},
	{
		path: "passkey-remove", title: "Remove a passkey", button: "Remove",
		text: "nobody can sign in with it any more. You will be signed out everywhere else.",
		doc:  "The page to remove the passkey of an `id`. Its form takes the `password`, and a `code`. All other sessions of the person end.",
		keep: "id", about: (*Gateway).passkeyName,
		do: (*Gateway).removePasskey,
	},
	{
		path: "passkey-only", title: "Remove your password", button: "Remove the password",
		text: "You will sign in with your passkeys alone: make sure that you have more than one, or that one is kept where you do not lose it. You will be signed out everywhere else.",
		doc:  "The page to remove one's password, for who has a passkey. Its form takes the `password`, and a `code`. All other sessions of the person end. 409 `last_way` without a passkey.",
		do:   (*Gateway).removePassword,
	},
	{
		path: "passkey-password", title: "Set a password", button: "Continue",
		text:   "You will be able to sign in with it, beside your passkeys. First, please show that it is you.",
		doc:    "The page to set a password, for who has none. All other sessions of the person end.",
		do:     (*Gateway).offerPassword,
		resume: "allowed", next: (*Gateway).takeFirstPassword,
	},
}

// makePasskey has the browser make one.
func (g *Gateway) makePasskey(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error {
	c, err := g.Accounts.NewPasskey(r.Context(), account, s.LogID)
	if err != nil {
		return err
	}
	hidden := g.meant(s)
	hidden.Set("passkey", c.Sealed)
	hidden.Set("name", form.Get("name"))
	g.Answers.Pages.Form(w, http.StatusOK, ui.FormPage{
		Title: "Make the passkey", Text: "Your browser asks where to keep it, and for what unlocks that.", Links: []ui.Link{g.cancel()},
		Passkey: &ui.Passkey{
			Action: g.below("passkey"), Hidden: hidden, Ceremony: "create", Options: c.Options, Button: "Make the passkey",
			Failed: "No passkey was made. You can try again.", Without: noScript,
		},
	})
	return nil
}

func (g *Gateway) takeNewPasskey(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error {
	if err := g.addPasskey(r, s, account, form.Get("name"), form.Get("passkey"), form.Get("response")); err != nil {
		return err
	}
	g.backToAccount(w, r, "passkey")
	return nil
}

// addPasskey keeps a passkey that a ceremony made.
func (g *Gateway) addPasskey(r *http.Request, s *session.Session, account *accounts.Account, name, sealed, response string) error {
	if err := g.Accounts.AddPasskey(r.Context(), account, s.LogID, name, sealed, response, g.once(r, sealed)); err != nil {
		return err
	}
	g.record(r, s.Event(audit.Changed, "passkey added"))
	g.remember(r, s)
	return nil
}

// passkeyName is what the person calls the passkey of a form.
func (g *Gateway) passkeyName(r *http.Request, account *accounts.Account, form url.Values) (string, error) {
	all, err := g.Accounts.Passkeys(r.Context(), account)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(k accounts.Passkey) bool { return k.ID == form.Get("id") })
	if i < 0 {
		return "", session.Fail(session.NotFound, "find passkey", "this person has no such passkey")
	}
	return all[i].Name, nil
}

func (g *Gateway) removePasskey(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error {
	switch _, err := g.dropPasskey(w, r, s, account, form.Get("id")); session.CodeOf(err) {
	case "":
		g.backToAccount(w, r, "passkey-remove")
	case session.NotFound:
		g.backToAccount(w, r, "")
	default:
		return err
	}
	return nil
}

// dropPasskey forgets a passkey, and returns the session that goes on.
func (g *Gateway) dropPasskey(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, id string) (*session.Session, error) {
	f, err := g.Accounts.Factors(r.Context(), account)
	if err != nil {
		return nil, err
	}
	if err := g.Accounts.RemovePasskey(r.Context(), account, id); err != nil {
		return nil, err
	}
	return g.anew(w, r, s, account, "passkey removed", confirmedBy(account, !f.Authenticator.IsZero())...)
}

func (g *Gateway) removePassword(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, _ url.Values) error {
	if _, err := g.dropPassword(w, r, s, account); err != nil {
		return err
	}
	g.backToAccount(w, r, "passkey-only")
	return nil
}

// dropPassword leaves a person their passkeys, and returns the session that goes on.
func (g *Gateway) dropPassword(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account) (*session.Session, error) {
	f, err := g.Accounts.Factors(r.Context(), account)
	if err != nil {
		return nil, err
	}
	methods := confirmedBy(account, !f.Authenticator.IsZero())
	if err := g.Accounts.RemovePassword(r.Context(), account); err != nil {
		return nil, err
	}
	return g.anew(w, r, s, account, "password removed", methods...)
}

// offerPassword asks somebody for their first password.
func (g *Gateway) offerPassword(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, _ url.Values) error {
	if account.HasPassword() { // set in another tab, or a moment ago
		http.Redirect(w, r, g.below("password"), http.StatusSeeOther)
		return nil
	}
	g.showFirstPassword(w, s, account, g.Accounts.Allow(account, s.LogID), nil)
	return nil
}

func (g *Gateway) showFirstPassword(w http.ResponseWriter, s *session.Session, account *accounts.Account, allowed string, err error) {
	status := http.StatusOK
	page := ui.FormPage{
		Title: "Set a password", Text: "For your account at " + g.Own.Host() + ". You will be signed out everywhere else.", Action: g.below("passkey-password"), Button: "Set the password",
		Hidden: g.meant(s), Links: []ui.Link{g.cancel()}, Username: account.Identifier(g.Accounts.Login()),
	}
	page.Hidden.Set("allowed", allowed)
	word := ui.Input{Name: "new_password", Label: "New password", Type: "password", Autocomplete: "new-password", Hint: signingUp.hint, Least: signingUp.least}
	if err != nil {
		word.Wrong = g.refusal(w, &status, err)
	}
	page.Inputs = []ui.Input{word}
	g.Answers.Pages.Form(w, status, page)
}

func (g *Gateway) takeFirstPassword(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error {
	if err := g.Accounts.Allowed(account, s.LogID, form.Get("allowed")); err != nil {
		return err
	}
	methods := confirmedBy(account, false)
	switch err := g.Accounts.SetPassword(r.Context(), account, form.Get("new_password")); session.CodeOf(err) {
	case "":
	case session.PasswordShort, session.PasswordLong, session.PasswordCommon:
		g.Answers.Note(r, err)
		g.showFirstPassword(w, s, account, form.Get("allowed"), err)
		return nil
	default:
		return err
	}
	if _, err := g.anew(w, r, s, account, "password", methods...); err != nil {
		return err
	}
	g.backToAccount(w, r, "passkey-password")
	return nil
}

// passkeysOf lists a person's passkeys.
func (g *Gateway) passkeysOf(r *http.Request, account *accounts.Account) ([]ui.Section, error) {
	if !g.Accounts.TakesPasskeys() {
		return nil, nil
	}
	all, err := g.Accounts.Passkeys(r.Context(), account)
	if err != nil {
		return nil, err
	}
	section := ui.Section{
		Title: "Passkeys", Text: "To sign in by what unlocks your device, without a password.", Link: ui.Link{URL: g.below("passkey"), Name: "Add a passkey"},
	}
	for _, k := range all {
		text := "Made on " + k.Created.Format("2 January 2006") + ", not used yet"
		if !k.Used.IsZero() {
			text = "Made on " + k.Created.Format("2 January 2006") + ", used " + ago(k.Used)
		}
		row := ui.Row{Name: k.Name, Text: text}
		if len(all) > 1 || account.HasPassword() {
			row.Link = ui.Link{URL: g.below("passkey-remove") + "?" + url.Values{"id": {k.ID}}.Encode(), Name: "Remove"}
		}
		section.Rows = append(section.Rows, row)
	}
	if len(all) >= accounts.MostPasskeys {
		section.Text, section.Link = fmt.Sprintf("You have %d, and there can be no more. Remove one to add another.", len(all)), ui.Link{}
	}
	return []ui.Section{section}, nil
}
