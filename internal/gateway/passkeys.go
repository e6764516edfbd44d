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
const ceremonyNote = 10 * time.Minute

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

// passkeyDeeds are there where passkeys are.
var passkeyDeeds = []*deed{
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
			Failed: "No passkey was made. You can try again.", Without: "Passkeys need JavaScript, which is off in your browser.",
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
	methods := []string{accounts.ByPassword}
	if !f.Authenticator.IsZero() {
		methods = append(methods, accounts.ByCode, accounts.Strongly)
	}
	return g.anew(w, r, s, account, "passkey removed", methods...)
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
		section.Rows = append(section.Rows, ui.Row{Name: k.Name, Text: text, Link: ui.Link{URL: g.below("passkey-remove") + "?" + url.Values{"id": {k.ID}}.Encode(), Name: "Remove"}})
	}
	if len(all) >= accounts.MostPasskeys {
		section.Text, section.Link = fmt.Sprintf("You have %d, and there can be no more. Remove one to add another.", len(all)), ui.Link{}
	}
	return []ui.Section{section}, nil
}
