package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// askToConfirm registers somebody by a mailed link. The page is the same whether there is an account of that address.
func (g *Gateway) askToConfirm(w http.ResponseWriter, r *http.Request, pending session.Pending, identifier, password string) error {
	who := accounts.Registration{Identifier: identifier, Password: password}
	err := g.Accounts.RegisterByMail(r.Context(), who, pending.State(), telemetry.Of(r).Address)
	if err != nil {
		if !shown(err) {
			return err
		}
		g.Answers.Note(r, err)
		g.show(w, 0, pending, signingUp, identifier, err)
		return nil
	}
	g.lookForAccount(w, pending, identifier)
	return nil
}

// lookForAccount tells somebody who registered where to find the link that makes the account.
func (g *Gateway) lookForAccount(w http.ResponseWriter, pending session.Pending, identifier string) {
	g.Answers.Pages.Notice(w, http.StatusOK, "Look into your mail", fmt.Sprintf("A mail is on its way to %s. The link in it works once, within %s, and makes your account. "+
		"If nothing comes, look among the unwanted mail, or register again.", identifier, inWords(accounts.LinkLife)), ui.Link{URL: g.backTo(pending.State()), Name: "Back to signing in"})
}

// changeEmail mails a link to the address that a person wants to have.
func (g *Gateway) changeEmail(w http.ResponseWriter, r *http.Request) error {
	const op = "change address"
	var c struct {
		proof
		Email string `json:"email"`
	}
	if err := readJSON(w, r, op, &c); err != nil {
		return err
	}
	if err := accounts.CheckEmail(c.Email); err != nil {
		if _, _, signedOut := g.active(r); signedOut != nil {
			return signedOut
		}
		return err
	}
	_, account, err := g.proven(r, c.proof)
	if err != nil {
		return err
	}
	if err := g.Accounts.AskEmail(r.Context(), account, c.Email, telemetry.Of(r).Address); err != nil {
		return err
	}
	return mailed(w, "")
}

// emailChange is there where mail is.
var emailChange = &change{
	path: "email", title: "Change your address", button: "Send the mail",
	text: "A mail to the new address takes you on. Until you follow its link you sign in as before.",
	doc:  "With `accounts.mail`: the page to change one's address. Its form takes the new `email` and the `password` (with a second step a `code`, too), and mails a link to that address.",
	inputs: func() []ui.Input {
		return []ui.Input{{Name: "email", Label: "New e-mail address", Type: "email", Autocomplete: "email"}}
	},
	check: func(form url.Values) error { return accounts.CheckEmail(form.Get("email")) },
	do:    (*Gateway).askEmail,
}

func (g *Gateway) askEmail(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error {
	if err := g.Accounts.AskEmail(r.Context(), account, form.Get("email"), telemetry.Of(r).Address); err != nil {
		return err
	}
	g.remember(r, s)
	g.lookIntoMail(w, form.Get("email"))
	return nil
}

func (g *Gateway) lookIntoMail(w http.ResponseWriter, email string) {
	g.Answers.Pages.Notice(w, http.StatusOK, "Look into your mail", fmt.Sprintf("A mail is on its way to %s. The link in it works once, within %s. "+
		"If nothing comes, look among the unwanted mail, or ask again.", email, inWords(accounts.LinkLife)), g.cancel())
}

// askVerify mails a link to the address that a person has, and that is not verified.
func (g *Gateway) askVerify(w http.ResponseWriter, r *http.Request) error {
	if _, err := g.letterForm(w, r, "confirm address"); err != nil {
		return err
	}
	s, account, err := g.owner(r)
	if err != nil {
		return err
	}
	sent, err := g.mailOwnAddress(r, account)
	if err != nil {
		return err
	}
	if !sent {
		g.backToAccount(w, r, "")
		return nil
	}
	g.remember(r, s)
	g.lookIntoMail(w, account.Email)
	return nil
}

// mailOwnAddress mails the link that verifies the address of an account, unless it is verified, as in another tab or a moment ago.
func (g *Gateway) mailOwnAddress(r *http.Request, account *accounts.Account) (bool, error) {
	if account.Email == "" || !account.EmailVerified.IsZero() {
		return false, nil
	}
	return true, g.Accounts.AskEmail(r.Context(), account, account.Email, telemetry.Of(r).Address)
}

// askVerifyJSON is askVerify for a front end with a form of its own.
func (g *Gateway) askVerifyJSON(w http.ResponseWriter, r *http.Request) error {
	if err := readJSON(w, r, "confirm address", &struct{}{}); err != nil {
		return err
	}
	s, account, err := g.active(r)
	if err != nil {
		return err
	}
	sent, err := g.mailOwnAddress(r, account)
	if err != nil {
		return err
	}
	g.remember(r, s)
	if !sent {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	return mailed(w, "")
}

// confirm shows what a link would confirm. Opening it spends nothing.
func (g *Gateway) confirm(w http.ResponseWriter, r *http.Request) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	return g.showConfirm(w, r, query.Get("token"), nil)
}

// askedHere reports whether whoever opened a link asked for it in this browser: the login that led to it is in its cookie still, or
// somebody is signed in as the person by a passkey, who has no password to prove it with. bare says that they have none. A session that
// a mail began shows no more than the link does: the passkey may be that of a stranger, who registered with the address.
func (g *Gateway) askedHere(r *http.Request, c *accounts.Confirmation) (pending session.Pending, here, bare bool) {
	if c.Account == "" {
		pending, err := g.begun(r, c.State)
		return pending, err == nil, false
	}
	account, err := g.Accounts.Of(r.Context(), c.Account)
	if err != nil || account.HasPassword() {
		return pending, false, false
	}
	s, err := g.Desk.Look(r.Context(), r)
	here = err == nil && s.Grant.Provider == accounts.Name && s.Grant.Subject == c.Account && slices.Contains(methodsOf(s), accounts.ByPasskey)
	return pending, here, true
}

func (g *Gateway) showConfirm(w http.ResponseWriter, r *http.Request, token string, wrong error) error {
	c, err := g.Accounts.ConfirmableEmail(r.Context(), token)
	if err != nil {
		return g.confirmOver(w, r, err)
	}
	_, here, bare := g.askedHere(r, c)
	if bare && wrong != nil { // the first time it cannot be said: what leads here from a mail brings no Strict cookie along
		g.Answers.Pages.Notice(w, http.StatusOK, "Confirm your address", "Please sign in with your passkey in this browser first, then open the link once more.", g.toSignIn())
		return nil
	}
	status := 0
	page := ui.FormPage{
		Title: "Confirm your address", Text: "This makes your account with " + c.Email + " at " + g.Own.Host() + ".",
		Action: g.options.Prefix + accounts.VerifyPath, Hidden: url.Values{"token": {token}}, Button: "Confirm", Secret: true, Username: c.Email,
	}
	word := ui.Input{Name: "password", Label: "Password", Type: "password", Autocomplete: "current-password", Hint: "The one that you chose for this account."}
	if c.Account != "" {
		page.Text = "From now on you sign in with " + c.Email + " at " + g.Own.Host() + ". You will be signed out everywhere."
		word.Hint = "The one that you sign in with."
	}
	if c.Same {
		page.Text = "You sign in with " + c.Email + " at " + g.Own.Host() + "."
	}
	switch g.wrong(w, &status, wrong) {
	case "":
	case session.WrongPassword:
		word.Wrong = "This is another password."
	default:
		word.Wrong = sentence(wrong, accounts.LoginEmail)
	}
	switch {
	case here || bare:
	case c.ByPasskey:
		return g.showConfirmByPasskey(w, status, page, c, wrong)
	default:
		page.Inputs = []ui.Input{word}
	}
	g.Answers.Pages.Form(w, status, page)
	return nil
}

// showConfirmByPasskey has whoever opened a link show the passkey that its account is made of.
func (g *Gateway) showConfirmByPasskey(w http.ResponseWriter, status int, page ui.FormPage, c *accounts.Confirmation, wrong error) error {
	asked, err := g.Accounts.AskToProve(c)
	if err != nil {
		return err
	}
	if wrong != nil {
		page.Wrong = sentence(wrong, accounts.LoginEmail)
	}
	page.Text += " Please show the passkey that you made for it."
	page.Hidden.Set("passkey", asked.Sealed)
	page.Passkey = &ui.Passkey{
		Action: page.Action, Hidden: page.Hidden, Ceremony: "get", Options: asked.Options, Button: "Confirm with the passkey",
		Failed: "Nothing was confirmed. You can try again, here or in the browser that you registered in.", Without: noScript,
	}
	page.Button, page.Hidden = "", nil
	g.Answers.Pages.Form(w, status, page)
	return nil
}

// confirmOver is linkOver for a link that confirms an address. Mostly it was followed before, and the account is there.
func (g *Gateway) confirmOver(w http.ResponseWriter, r *http.Request, err error) error {
	links := []ui.Link{g.toSignIn()}
	if g.Accounts.Registers() {
		links = append(links, ui.Link{URL: g.options.Prefix + "register?" + url.Values{"provider": {accounts.Name}}.Encode(), Name: "Register again"})
	}
	return g.linkOver(w, r, err, links...)
}

// takeConfirm makes the account, or changes its address. Where the link was asked for in this browser the login goes on; elsewhere a
// password proves that whoever clicked is who asked, and nobody is signed in.
func (g *Gateway) takeConfirm(w http.ResponseWriter, r *http.Request) error {
	form, err := g.letterForm(w, r, accounts.VerifyPath)
	if err != nil {
		return err
	}
	token := form.Get("token")
	c, err := g.Accounts.ConfirmableEmail(r.Context(), token)
	if err != nil {
		return g.confirmOver(w, r, err)
	}
	pending, here, _ := g.askedHere(r, c)
	if !here {
		if err := g.proveAsked(r, c, form.Get("password"), form.Get("passkey"), form.Get("response")); err != nil {
			if !shown(err) {
				return err
			}
			g.Answers.Note(r, err)
			return g.showConfirm(w, r, token, err)
		}
	}
	account, err := g.confirmEmail(r, c)
	if err != nil {
		return g.confirmOver(w, r, err)
	}
	switch {
	case c.Same:
		g.Answers.Pages.Notice(w, http.StatusOK, "Your address is confirmed", "You go on signing in with "+account.Email+".", ui.Link{URL: g.options.Prefix + accountPath, Name: "Go to your account"})
		return nil
	case c.Account != "":
		if err := g.endAll(r, account, movedAddress); err != nil {
			return err
		}
		g.Answers.Pages.Notice(w, http.StatusOK, "Your address is changed", "You are signed out everywhere. Sign in with "+account.Email+" from now on.", g.toSignIn())
		return nil
	case !here && c.ByPasskey:
		g.Answers.Pages.Notice(w, http.StatusOK, "Your account is ready", "Sign in with your passkey.", g.toSignIn())
		return nil
	case !here:
		g.Answers.Pages.Notice(w, http.StatusOK, "Your account is ready", "Sign in with "+account.Email+" and the password that you chose.", g.toSignIn())
		return nil
	}
	return g.goOn(w, r, pending, account, confirmedBy(account, false)...)
}

// proveAsked looks at what shows that whoever opened a link is who asked for it: a password, or the passkey that an account is made of.
func (g *Gateway) proveAsked(r *http.Request, c *accounts.Confirmation, password, sealed, response string) error {
	if c.ByPasskey {
		return g.Accounts.ProveByPasskey(c, sealed, response, g.once(r, sealed))
	}
	return g.Accounts.Prove(r.Context(), c, password, telemetry.Of(r).Address)
}

// movedAddress is why sessions end.
const movedAddress = "the e-mail address was changed"

// confirmEmail uses a link up, and writes down what came of it. Where an account has another address then, the caller ends the sessions.
func (g *Gateway) confirmEmail(r *http.Request, c *accounts.Confirmation) (*accounts.Account, error) {
	account, err := g.Accounts.ConfirmEmail(r.Context(), c)
	switch {
	case err != nil:
	case c.Same:
		g.recordAccount(r, audit.Changed, account, "e-mail address confirmed")
	case c.Account != "":
		g.recordAccount(r, audit.Changed, account, "e-mail address")
	case c.ByPasskey:
		g.recordAccount(r, audit.Registered, account, madeByPasskey)
	default:
		g.recordAccount(r, audit.Registered, account, "")
	}
	return account, err
}

// confirmAskPath is where a front end with a form of its own begins to ask for the passkey that an account is made of.
const confirmAskPath = "email/confirm/ask"

func (g *Gateway) askConfirmJSON(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Token string `json:"token"`
	}
	if err := readJSON(w, r, "begin passkey", &body); err != nil {
		return err
	}
	c, err := g.Accounts.ConfirmableEmail(r.Context(), body.Token)
	if err != nil {
		return err
	}
	asked, err := g.Accounts.AskToProve(c)
	if err != nil {
		return err
	}
	return writeJSON(w, begunCeremony{Ceremony: asked.Sealed, Options: json.RawMessage(asked.Options)})
}

// confirmJSON is takeConfirm for a front end with a form of its own. To make an account it always takes the password, or the passkey, and so
// that is signed in to.
func (g *Gateway) confirmJSON(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Token    string          `json:"token"`
		Password string          `json:"password"`
		Ceremony string          `json:"ceremony"`
		Response json.RawMessage `json:"response"`
	}
	if err := readJSON(w, r, "confirm address", &body); err != nil {
		return err
	}
	c, err := g.Accounts.ConfirmableEmail(r.Context(), body.Token)
	if err != nil {
		return err
	}
	if _, here, bare := g.askedHere(r, c); !here || !bare {
		if err := g.proveAsked(r, c, body.Password, body.Ceremony, string(body.Response)); err != nil {
			return err
		}
	}
	account, err := g.confirmEmail(r, c)
	if err != nil {
		return err
	}
	if c.Account == "" {
		return g.welcome(w, r, account, false, confirmedBy(account, false)...)
	}
	if !c.Same {
		if err := g.endAll(r, account, movedAddress); err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
