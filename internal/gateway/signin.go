package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

func (g *Gateway) signIn(w http.ResponseWriter, r *http.Request) error { return g.ask(w, r, signingIn) }
func (g *Gateway) signUp(w http.ResponseWriter, r *http.Request) error { return g.ask(w, r, signingUp) }

func (g *Gateway) takeSignIn(w http.ResponseWriter, r *http.Request) error {
	return g.take(w, r, signingIn)
}

func (g *Gateway) takeSignUp(w http.ResponseWriter, r *http.Request) error {
	return g.take(w, r, signingUp)
}

// sheet is one of our two pages to get in by.
type sheet struct {
	path, other     string
	title, text     string // the host stands behind the text
	button          string
	leadsOver       string // the link to the other one
	autocomplete    string // of the password
	hint            string
	least           int
	enter           func(g *Gateway, r *http.Request, identifier, password string) (*accounts.Account, error)
	passwordIsWrong map[session.Code]bool // else what is wrong is the identifier
}

var (
	signingIn = &sheet{
		path: accounts.SignInPath, other: accounts.SignUpPath, title: "Sign in", text: "With your account at", button: "Sign in", leadsOver: "Create an account",
		autocomplete: "current-password", enter: (*Gateway).authenticate,
		passwordIsWrong: map[session.Code]bool{session.WrongCredentials: true},
	}
	signingUp = &sheet{
		path: accounts.SignUpPath, other: accounts.SignInPath, title: "Create an account", text: "For", button: "Create account",
		leadsOver: "I have an account", autocomplete: "new-password", hint: "At least 8 characters; longer is better.", least: 8,
		enter: func(g *Gateway, r *http.Request, identifier, password string) (*accounts.Account, error) {
			return g.enrol(r, accounts.Registration{Identifier: identifier, Password: password})
		},
		passwordIsWrong: map[session.Code]bool{session.PasswordShort: true, session.PasswordLong: true, session.PasswordCommon: true},
	}
)

// authenticate looks at a password, and writes down what came of it.
func (g *Gateway) authenticate(r *http.Request, identifier, password string) (*accounts.Account, error) {
	account, err := g.Accounts.SignIn(r.Context(), identifier, password, telemetry.Of(r).Address)
	if err != nil {
		g.recordAccount(r, audit.LoginFailed, account, string(session.CodeOf(err)))
	}
	return account, err
}

// enrol makes an account.
func (g *Gateway) enrol(r *http.Request, who accounts.Registration) (*accounts.Account, error) {
	account, err := g.Accounts.Register(r.Context(), who, telemetry.Of(r).Address)
	if err == nil {
		g.recordAccount(r, audit.Registered, account, "")
	}
	return account, err
}

// recordAccount completes an audit event about an account, which may be nil. What was typed stays out of it: people type passwords
// into the wrong field.
func (g *Gateway) recordAccount(r *http.Request, action audit.Action, account *accounts.Account, reason string) {
	e := audit.Event{Action: action, Provider: accounts.Name, Issuer: g.Accounts.Issuer(), Reason: reason}
	if account != nil {
		e.Subject = account.ID
	}
	g.record(r, e)
}

// ask shows a page to get in by, for a login that this browser began.
func (g *Gateway) ask(w http.ResponseWriter, r *http.Request, s *sheet) error {
	return g.forLogin(w, r, func(pending session.Pending, query url.Values) error {
		return g.show(w, http.StatusOK, pending, s, query.Get("login_hint"), nil)
	})
}

// forLogin finds the login that the address of a page names and has the page shown for it. A login that is none in this browser begins
// again.
func (g *Gateway) forLogin(w http.ResponseWriter, r *http.Request, show func(pending session.Pending, query url.Values) error) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	pending, err := g.begun(r, query.Get("state"))
	if err != nil {
		return g.restart(w, r, query.Get("state"), err)
	}
	return show(pending, query)
}

// begun finds a login at our own accounts. LoginLost: there is none in this browser.
func (g *Gateway) begun(r *http.Request, state string) (session.Pending, error) {
	pending, err := g.logins.Find(r, state)
	if err == nil && pending.Provider != accounts.Name {
		err = session.Fail(session.LoginLost, "find login", "it is one at another provider")
	}
	if err == nil {
		telemetry.Of(r).Back = pending.ReturnTo
	}
	return pending, err
}

// take reads the form of a page, and goes on to the callback with a code, as a provider would. The login that the callback spends is
// the one in this browser's cookie: with another's the code is worth nothing.
func (g *Gateway) take(w http.ResponseWriter, r *http.Request, s *sheet) error {
	form, err := readForm(r, s.path)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the form is here; hashing may have to wait
	identifier, password := form.Get("identifier"), form.Get("password")
	pending, err := g.begun(r, form.Get("state"))
	if err != nil {
		return g.beginAgain(w, r, s, form, err)
	}
	if s == signingIn {
		pending = g.staying(w, pending, form)
	}
	if s == signingUp && g.Accounts.Verifies() {
		return g.askToConfirm(w, r, pending, identifier, password)
	}
	account, err := s.enter(g, r, identifier, password)
	switch session.CodeOf(err) {
	case "":
	case session.BadRequest, session.ProviderDown, session.Internal, session.NotFound:
		return err
	default:
		g.Answers.Note(r, err)
		return g.show(w, 0, pending, s, identifier, err)
	}
	return g.goOn(w, r, pending, account, accounts.ByPassword)
}

// beginAgain is for a page that was open for so long that its login is over: the person is asked once more, and keeps what they typed
// but the password. A browser that takes no cookies comes here each time, and is told after a few rounds.
func (g *Gateway) beginAgain(w http.ResponseWriter, r *http.Request, s *sheet, form url.Values, lost error) error {
	g.Answers.Note(r, lost)
	round := session.RoundOf(form.Get("state")) + 1
	if round >= session.MaxRounds {
		return session.Fail(session.LoginLoop, s.path, "no login cookie after %d pages", round)
	}
	if err := g.mayBegin(r); err != nil {
		return err
	}
	query := url.Values{"return_to": {form.Get("return_to")}, "round": {strconv.Itoa(round)}, "remember": {form.Get("remember")}}
	intent, err := g.intent(r, query, s == signingUp)
	if err != nil {
		return err
	}
	_, pending, err := g.Accounts.Begin(r.Context(), intent)
	if err != nil {
		return err
	}
	g.logins.Start(w, r, pending, false)
	return g.show(w, 0, pending, s, form.Get("identifier"), lost)
}

// show writes a page to get in by. With err it says what is wrong; status 0 is the one of err.
func (g *Gateway) show(w http.ResponseWriter, status int, pending session.Pending, s *sheet, identifier string, err error) error {
	page := ui.FormPage{
		Title: s.title, Text: s.text + " " + g.Own.Host() + ".", Action: g.options.Prefix + s.path, Button: s.button,
		Hidden: inLogin(pending),
	}
	name := g.nameInput(identifier)
	word := ui.Input{Name: "password", Label: "Password", Type: "password", Autocomplete: s.autocomplete, Hint: s.hint, Least: s.least}
	if code := session.CodeOf(err); code != "" {
		text := g.refusal(w, &status, err)
		switch {
		case s.passwordIsWrong[code]:
			word.Wrong = text
		case code == session.BadIdentifier || code == session.IdentifierTaken:
			name.Wrong = text
		default:
			page.Wrong = text
		}
	}
	page.Inputs = []ui.Input{name, word}
	if s == signingIn {
		page.Inputs = append(page.Inputs, g.stay(pending)...)
	}
	if s == signingIn && g.Accounts.Mails() {
		page.Links = append(page.Links, ui.Link{URL: g.options.Prefix + forgotPath + "?" + url.Values{"state": {pending.State()}}.Encode(), Name: "I forgot my password"})
	}
	if g.Accounts.Registers() {
		page.Links = append(page.Links, ui.Link{URL: g.options.Prefix + s.other + "?" + url.Values{"state": {pending.State()}}.Encode(), Name: s.leadsOver})
	}
	if s == signingUp && g.Accounts.RegistersByPasskey() {
		page.Others = append(page.Others, ui.Link{URL: g.options.Prefix + signUpPasskeyPath + "?" + url.Values{"state": {pending.State()}}.Encode(), Name: "Use a passkey instead"})
	}
	if s == signingIn && g.Accounts.SignsInByMail() {
		page.Others = append(page.Others, ui.Link{URL: g.askMailURL(pending), Name: "Sign in by mail"})
	}
	if len(g.Providers) > 1 {
		page.Others = append(page.Others, ui.Link{URL: g.Answers.LoginURL(pending.ReturnTo), Name: "Other ways to sign in"})
	}
	if s == signingIn {
		var askErr error
		if page.Passkey, askErr = g.passkeyChoice(pending); askErr != nil {
			return askErr
		}
		// Browsers offer passkeys in the field for the name, too. Not one that was refused just now.
		if page.Passkey != nil && session.CodeOf(err) != session.WrongPasskey {
			page.Passkey.Autofill = true
			page.Inputs[0].Autocomplete += " webauthn"
		}
	}
	g.Answers.Pages.Form(w, status, page)
	return nil
}

// nameInput is the field for what people call themselves.
func (g *Gateway) nameInput(identifier string) ui.Input {
	name := ui.Input{Name: "identifier", Label: "E-mail address", Type: "email", Autocomplete: "username", Value: identifier}
	if g.Accounts.Login() == accounts.LoginUsername {
		name.Label, name.Type = "User name", "text"
	}
	return name
}

// stay asks whether the session outlives the browser, where not all of them do.
func (g *Gateway) stay(pending session.Pending) []ui.Input {
	if g.Sessions.Persistent {
		return nil
	}
	box := ui.Input{Name: "remember", Label: "Stay signed in on this device", Type: "checkbox"}
	if pending.Remember {
		box.Value = "1"
	}
	return []ui.Input{box}
}

// staying has the login keep what a page with that box says.
func (g *Gateway) staying(w http.ResponseWriter, pending session.Pending, form url.Values) session.Pending {
	if remember := form.Get("remember") == "1"; remember != pending.Remember {
		pending.Remember = remember
		g.logins.Keep(w, pending)
	}
	return pending
}

// refusal sets the status of err for a page that is shown again, and says what is wrong.
func (g *Gateway) refusal(w http.ResponseWriter, status *int, err error) string {
	*status, _, _ = answer.Words(session.CodeOf(err))
	if *status == http.StatusTooManyRequests || *status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", answer.RetryAfter(err))
	}
	return sentence(err, g.Accounts.Login())
}

// sentence says to a person on our own page what is wrong. For everything else there are the words of the code.
func sentence(err error, login string) string {
	email := login == accounts.LoginEmail
	code := session.CodeOf(err)
	switch {
	case code == session.LoginLost:
		return "This page was open for a long time. Please enter your password again."
	case code == session.TooMany:
		return fmt.Sprintf("There were too many attempts. Please wait %s, then try again.", inWords(session.WaitOf(err)))
	case code == session.MailDown:
		return "We cannot send mail right now, so nothing was changed. Please try again in a few minutes."
	case code == session.WrongCredentials && email:
		return "There is no account with this e-mail address and this password."
	case code == session.WrongCredentials:
		return "There is no account with this user name and this password."
	case code == session.BadIdentifier && email:
		return "This cannot be used as an e-mail address here. It looks like name@example.com, with plain Latin letters before the @."
	case code == session.BadIdentifier:
		return "This cannot be used as a user name. It has 2 to 64 letters and digits of one alphabet, without spaces."
	case code == session.IdentifierTaken && email:
		return "There is an account with this e-mail address already. If it is yours, sign in with it."
	case code == session.IdentifierTaken:
		return "There is an account with this user name already. Please take another."
	}
	_, _, text := answer.Words(code)
	return text
}

// inWords says a wait so that it is never too short.
func inWords(wait time.Duration) string {
	unit, name := time.Second, "second"
	if wait > 90*time.Second {
		unit, name = time.Minute, "minute"
	}
	n := max(1, int((wait+unit-1)/unit))
	if n == 1 {
		return "one " + name
	}
	return fmt.Sprintf("%d %ss", n, name)
}
