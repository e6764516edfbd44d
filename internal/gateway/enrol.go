package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// signUpPasskeyPath is where people register with a passkey in the place of a password.
const signUpPasskeyPath = accounts.SignUpPath + "/passkey"

// signUpPasskey asks who somebody is who registers with a passkey, for a login that this browser began.
func (g *Gateway) signUpPasskey(w http.ResponseWriter, r *http.Request) error {
	return g.forLogin(w, r, func(pending session.Pending, _ url.Values) error {
		g.showSignUpPasskey(w, pending, "", nil)
		return nil
	})
}

// showSignUpPasskey writes the page on which somebody says who they are; with err it says what is wrong.
func (g *Gateway) showSignUpPasskey(w http.ResponseWriter, pending session.Pending, identifier string, err error) {
	status := http.StatusOK
	page := ui.FormPage{
		Title: signingUp.title, Text: "For " + g.Own.Host() + ", with a passkey: you will sign in by what unlocks your device, without a password.", Action: g.options.Prefix + signUpPasskeyPath, Button: "Continue",
		Hidden: inLogin(pending), Links: []ui.Link{g.toPassword(pending)},
	}
	name := g.nameInput(identifier)
	if err != nil {
		text := g.refusal(w, &status, err)
		switch session.CodeOf(err) {
		case session.BadIdentifier, session.IdentifierTaken:
			name.Wrong = text
		default:
			page.Wrong = text
		}
	}
	page.Inputs = []ui.Input{name}
	g.Answers.Pages.Form(w, status, page)
}

// toPassword leads back to the page to register on with a password, in the same login.
func (g *Gateway) toPassword(pending session.Pending) ui.Link {
	return ui.Link{URL: g.options.Prefix + accounts.SignUpPath + "?" + url.Values{"state": {pending.State()}}.Encode(), Name: "Take a password instead"}
}

// inLogin is what a page of a login carries.
func inLogin(pending session.Pending) url.Values {
	return url.Values{"state": {pending.State()}, "return_to": {pending.ReturnTo}}
}

// takeSignUpPasskey has the browser make a passkey for a new account, then makes the account, or mails the link that does.
func (g *Gateway) takeSignUpPasskey(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r, signUpPasskeyPath)
	if err != nil {
		return err
	}
	pending, err := g.begun(r, form.Get("state"))
	if err != nil {
		return g.beginAgain(w, r, signingUp, form, err)
	}
	identifier := form.Get("identifier")
	switch {
	case !form.Has("response"):
		err = g.showMakePasskey(w, r, pending, identifier)
	case g.Accounts.Verifies():
		var email string
		if email, err = g.mailAccount(r, pending, pending.State(), "", form.Get("passkey"), form.Get("response")); err == nil {
			g.lookForAccount(w, pending, email)
		}
	default:
		var account *accounts.Account
		if account, err = g.enrolByPasskey(r, pending, "", form.Get("passkey"), form.Get("response")); err == nil {
			return g.goOn(w, r, pending, account, accounts.ByPasskey, accounts.Strongly)
		}
	}
	if err == nil || !shown(err) {
		return err
	}
	g.Answers.Note(r, err)
	g.showSignUpPasskey(w, pending, identifier, err)
	return nil
}

// showMakePasskey has the browser make a passkey for somebody who registers.
func (g *Gateway) showMakePasskey(w http.ResponseWriter, r *http.Request, pending session.Pending, identifier string) error {
	c, err := g.Accounts.BeginAccount(r.Context(), pending, accounts.Registration{Identifier: identifier}, telemetry.Of(r).Address)
	if err != nil {
		return err
	}
	hidden := inLogin(pending)
	hidden.Set("passkey", c.Sealed)
	hidden.Set("identifier", identifier)
	g.Answers.Pages.Form(w, http.StatusOK, ui.FormPage{
		Title: "Make the passkey", Text: "For " + identifier + ". Your browser asks where to keep it, and for what unlocks that.",
		Links: []ui.Link{g.toPassword(pending)},
		Passkey: &ui.Passkey{
			Action: g.options.Prefix + signUpPasskeyPath, Hidden: hidden, Ceremony: "create", Options: c.Options, Button: "Make the passkey",
			Failed: "No passkey was made, and no account. You can try again, or take a password.", Without: noScript,
		},
	})
	return nil
}

// noScript is what people read in the place of a button that needs it.
const noScript = "Passkeys need JavaScript, which is off in your browser."

// madeByPasskey is said of an account whose person registered so.
const madeByPasskey = "by a passkey"

// enrolByPasskey makes an account of what a ceremony made.
func (g *Gateway) enrolByPasskey(r *http.Request, pending session.Pending, name, sealed, response string) (*accounts.Account, error) {
	account, err := g.Accounts.FinishAccount(r.Context(), pending, name, sealed, response, g.once(r, sealed))
	if err == nil {
		g.recordAccount(r, audit.Registered, account, madeByPasskey)
	}
	return account, err
}

// mailAccount mails the link that makes an account of what a ceremony made. state is that of the login which the link goes on with, "" for none.
func (g *Gateway) mailAccount(r *http.Request, pending session.Pending, state, name, sealed, response string) (string, error) {
	return g.Accounts.MailAccount(r.Context(), pending, name, sealed, response, state, telemetry.Of(r).Address, g.once(r, sealed))
}

// registerPasskeyPath is where people register with a passkey, for a front end with a form of its own.
const registerPasskeyPath = "register/passkey"

func (g *Gateway) beginAccountJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Identifier string `json:"identifier"`
		Name       string `json:"name"`
		Remember   bool   `json:"remember"`
	}
	if err := readJSON(w, r, "register", &c); err != nil {
		return err
	}
	pending, err := g.beginJSON(r, c.Remember)
	if err != nil {
		return err
	}
	begun, err := g.Accounts.BeginAccount(r.Context(), pending, accounts.Registration{Identifier: c.Identifier, Name: c.Name}, telemetry.Of(r).Address)
	if err != nil {
		return err
	}
	g.logins.Start(w, r, pending, false)
	return writeJSON(w, begunCeremony{State: pending.State(), Ceremony: begun.Sealed, Options: json.RawMessage(begun.Options)})
}

func (g *Gateway) finishAccountJSON(w http.ResponseWriter, r *http.Request) error {
	var c finishedCeremony
	if err := readJSON(w, r, "register", &c); err != nil {
		return err
	}
	pending, err := g.begun(r, c.State)
	if err != nil {
		return err
	}
	if g.Accounts.Verifies() {
		if _, err := g.mailAccount(r, pending, "", c.Name, c.Ceremony, string(c.Response)); err != nil {
			return err
		}
		if err := g.logins.Spend(r.Context(), w, pending, false); err != nil {
			return err
		}
		return mailed(w, "")
	}
	account, err := g.enrolByPasskey(r, pending, c.Name, c.Ceremony, string(c.Response))
	if err != nil {
		return err
	}
	if err := g.logins.Spend(r.Context(), w, pending, false); err != nil {
		return err
	}
	return g.welcome(w, r, account, pending.Remember, accounts.ByPasskey, accounts.Strongly)
}
