package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// forgotPath is the page to ask for a new password on.
const forgotPath = "forgot-password"

// mailEndpoints is the part of the route table that is there with accounts that can send mail.
func (g *Gateway) mailEndpoints() []endpoint {
	return append([]endpoint{
		{"GET", forgotPath, document, g.forgot, "With `accounts.mail`: the page to ask for a new password on."},
		{"POST", forgotPath, entry, g.takeForgot, "Its form. The answer is the same whether there is such an account."},
		{"POST", "password/forgot", entry, g.forgotJSON, "The same by `{\"identifier\"}`: 202 with `{\"expires_in\"}`, the seconds for which a mailed link works. 422 `bad_identifier`, 429 `too_many`, 503 `mail_down`: then no mail was sent."},
		{"POST", "password/reset", entry, g.resetJSON, "Sets a new password by `{\"token\", \"password\"}`, the token being that of the mailed link: 204, and all of the person's sessions end. Nobody is signed in by it. 410 `link_over`; 422 `password_short`, `password_long`, `password_common`, which leave the link as it is."},
		{"GET", accounts.ResetPath, document, g.reset, "Where the link in that mail leads. Opening it spends nothing."},
		{"POST", accounts.ResetPath, entry, g.takeReset, "Its form: sets the password, once, and ends all of the person's sessions. Nobody is signed in by it."},
		{"POST", "email", guarded, g.changeEmail, "Mails a link to the address that the person who is signed in wants to have: `{\"current_password\", \"email\", \"code\"?}`. 202 as above, whether another account has it. 403 `wrong_password`; 422 `code_required`, `wrong_code`."},
		{"POST", accountPath + "/" + askVerifyPath, posted, g.askVerify, "The account page's button for an address that is not verified: mails a link that does so, to `verify-email`, and changes nothing else. Throttled like other mails."},
		{"POST", "email/verify", guarded, g.askVerifyJSON, "The same for a front end with a form of its own, by `{}`: 202 as above, or 204 where it is verified already. 429 `too_many`, 503 `mail_down`."},
		{"POST", "email/confirm", entry, g.confirmJSON, "Confirms an address by `{\"token\", \"password\"}`, the token being that of the mailed link. After a registration it makes the account and signs in, answered like `POST login`; for an account that is made of a passkey it takes `{\"token\", \"ceremony\", \"response\"}`, from `POST email/confirm/ask`. Else it changes the address, which ends all of the person's sessions, or does nothing but verify the one that the account has: 204. 403 `wrong_password`; 410 `link_over`; 422 `wrong_passkey`."},
		{"POST", confirmAskPath, entry, g.askConfirmJSON, "For an account that is made of a passkey: by the `{\"token\"}` of its link, 200 with `{\"ceremony\", \"options\"}`, the latter for `navigator.credentials.get`. Good for 5 minutes, and once. 404 `not_found` where a password is what proves it; 410 `link_over`."},
		{"GET", accounts.VerifyPath, document, g.confirm, "Where the link in that mail leads, and the one in the mail that a registration sends. Opening it spends nothing."},
		{"POST", accounts.VerifyPath, entry, g.takeConfirm, "Its form: makes the account, or changes its address, once. In a browser that did not ask for it, it wants the password, or the passkey that the account is made of."},
	}, g.changeRows(emailChange)...)
}

// forgot asks whose password was forgotten. A login that led here is gone back to.
func (g *Gateway) forgot(w http.ResponseWriter, r *http.Request) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	g.showForgot(w, 0, query.Get("state"), "", nil)
	return nil
}

func (g *Gateway) showForgot(w http.ResponseWriter, status int, state, identifier string, err error) {
	page := ui.FormPage{
		Title: "Set a new password", Text: "Which e-mail address have you registered with at " + g.Own.Host() + "? A mail will take you on.",
		Action: g.options.Prefix + forgotPath, Hidden: url.Values{"state": {state}}, Button: "Send the mail",
		Links: []ui.Link{{URL: g.backTo(state), Name: "Back to signing in"}},
	}
	name := ui.Input{Name: "identifier", Label: "E-mail address", Type: "email", Autocomplete: "username", Value: identifier}
	if g.wrong(w, &status, err) == session.BadIdentifier {
		name.Wrong = sentence(err, accounts.LoginEmail)
	} else if err != nil {
		page.Wrong = sentence(err, accounts.LoginEmail)
	}
	page.Inputs = []ui.Input{name}
	g.Answers.Pages.Form(w, status, page)
}

// wrong says what status a page has that is shown again because of err, and when to come back.
func (g *Gateway) wrong(w http.ResponseWriter, status *int, err error) session.Code {
	code := session.CodeOf(err)
	if code == "" {
		if *status == 0 {
			*status = http.StatusOK
		}
		return code
	}
	*status, _, _ = answer.Words(code)
	if *status == http.StatusTooManyRequests || *status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", answer.RetryAfter(err))
	}
	return code
}

// backTo is the page to sign in on: of a login that may be in flight still, or of a new one.
func (g *Gateway) backTo(state string) string {
	if len(state) == session.StateSize {
		return g.options.Prefix + accounts.SignInPath + "?" + url.Values{"state": {state}}.Encode()
	}
	return g.signInURL()
}

// signInURL begins a login at our own accounts.
func (g *Gateway) signInURL() string {
	return g.options.Prefix + "login?" + url.Values{"provider": {accounts.Name}}.Encode()
}

// shown reports whether a person is told of err on the page that they are on. The rest is answered as everywhere.
func shown(err error) bool {
	switch session.CodeOf(err) {
	case session.BadRequest, session.ProviderDown, session.Internal, session.NotFound, session.LinkOver:
		return false
	}
	return true
}

func (g *Gateway) takeForgot(w http.ResponseWriter, r *http.Request) error {
	form, err := g.letterForm(w, r, forgotPath)
	if err != nil {
		return err
	}
	identifier := form.Get("identifier")
	if err := g.Accounts.Forgot(r.Context(), identifier, telemetry.Of(r).Address); err != nil {
		if !shown(err) {
			return err
		}
		g.Answers.Note(r, err)
		g.showForgot(w, 0, form.Get("state"), identifier, err)
		return nil
	}
	g.Answers.Pages.Notice(w, http.StatusOK, "Look into your mail", fmt.Sprintf("If %s has an account here, a mail is on its way to it. The link in it works once, "+
		"within %s. If nothing comes, look among the unwanted mail, or ask again.", identifier, inWords(accounts.LinkLife)), ui.Link{URL: g.backTo(form.Get("state")), Name: "Back to signing in"})
	return nil
}

// letterForm reads a form behind which a mail server, or a hash, may take its time.
func (g *Gateway) letterForm(w http.ResponseWriter, r *http.Request, op string) (url.Values, error) {
	form, err := readForm(r, op)
	if err == nil {
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	}
	return form, err
}

func (g *Gateway) forgotJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Identifier string `json:"identifier"`
	}
	if err := readJSON(w, r, "forgot password", &c); err != nil {
		return err
	}
	if err := g.Accounts.Forgot(r.Context(), c.Identifier, telemetry.Of(r).Address); err != nil {
		return err
	}
	return mailed(w, "")
}

// mailed answers that a mail is on its way, if there is anybody to get it. state names the login that it goes on with, "" for none.
func mailed(w http.ResponseWriter, state string) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	return json.NewEncoder(w).Encode(struct {
		ExpiresIn int    `json:"expires_in"`
		State     string `json:"state,omitempty"`
	}{int(accounts.LinkLife / time.Second), state})
}

// reset shows where to set a new password. Programs that look at mails open it too: it changes nothing.
func (g *Gateway) reset(w http.ResponseWriter, r *http.Request) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	return g.showReset(w, r, query.Get("token"), nil)
}

func (g *Gateway) showReset(w http.ResponseWriter, r *http.Request, token string, wrong error) error {
	account, err := g.Accounts.Resettable(r.Context(), token)
	if err != nil {
		return g.linkOver(w, r, err, ui.Link{URL: g.options.Prefix + forgotPath, Name: "Ask for another mail"})
	}
	status := 0
	page := ui.FormPage{
		Title: "Set a new password", Text: "For " + account.Email + " at " + g.Own.Host() + ". You will be signed out everywhere.",
		Action: g.options.Prefix + accounts.ResetPath, Hidden: url.Values{"token": {token}}, Button: "Set the password", Secret: true, Username: account.Email,
	}
	word := ui.Input{Name: "password", Label: "New password", Type: "password", Autocomplete: "new-password", Hint: signingUp.hint, Least: signingUp.least}
	if g.wrong(w, &status, wrong) != "" {
		word.Wrong = sentence(wrong, accounts.LoginEmail)
	}
	page.Inputs = []ui.Input{word}
	g.Answers.Pages.Form(w, status, page)
	return nil
}

// linkOver tells a person that a link is over, and how to get another.
func (g *Gateway) linkOver(w http.ResponseWriter, r *http.Request, err error, links ...ui.Link) error {
	if session.CodeOf(err) != session.LinkOver {
		return err
	}
	g.Answers.Note(r, err)
	status, title, text := answer.Words(session.LinkOver)
	if signIn := g.toSignIn(); !slices.Contains(links, signIn) {
		links = append(links, signIn)
	}
	g.Answers.Pages.Notice(w, status, title, text, links...)
	return nil
}

func (g *Gateway) toSignIn() ui.Link { return ui.Link{URL: g.signInURL(), Name: "Sign in"} }

// takeReset sets the password and ends all sessions. It begins none: a link in a mail may have been read by others (U9).
func (g *Gateway) takeReset(w http.ResponseWriter, r *http.Request) error {
	form, err := g.letterForm(w, r, accounts.ResetPath)
	if err != nil {
		return err
	}
	account, err := g.resetPassword(r, form.Get("token"), form.Get("password"))
	switch {
	case err == nil:
	case session.CodeOf(err) == session.LinkOver || shown(err):
		if session.CodeOf(err) != session.LinkOver {
			g.Answers.Note(r, err)
		}
		return g.showReset(w, r, form.Get("token"), err)
	default:
		return err
	}
	if err := g.endAll(r, account, "the password was changed"); err != nil {
		return err
	}
	g.Answers.Pages.Notice(w, http.StatusOK, "The new password is set", "You are signed out everywhere. Sign in with the new password.", g.toSignIn())
	return nil
}

// resetPassword sets a password by a mailed link. The caller ends the sessions.
func (g *Gateway) resetPassword(r *http.Request, token, password string) (*accounts.Account, error) {
	account, alone, err := g.Accounts.ResetPassword(r.Context(), token, password)
	switch {
	case err != nil:
	case alone:
		g.recordAccount(r, audit.Changed, account, "password and whatever was beside it, by a mailed link that verified the address")
	default:
		g.recordAccount(r, audit.Changed, account, "password, by a mailed link")
	}
	return account, err
}

// resetJSON is takeReset for a front end with a form of its own.
func (g *Gateway) resetJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Token    string `json:"token"`
		Password string `json:"password"`
	}
	if err := readJSON(w, r, "reset password", &c); err != nil {
		return err
	}
	account, err := g.resetPassword(r, c.Token, c.Password)
	if err != nil {
		return err
	}
	if err := g.endAll(r, account, "the password was changed"); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// endAll ends all sessions of a person. Not even a client that gives up stops it half way.
func (g *Gateway) endAll(r *http.Request, account *accounts.Account, why string) error {
	r = r.WithContext(context.WithoutCancel(r.Context()))
	_, _, err := g.Desk.Revoke(r.Context(), session.Selector{Issuer: g.Accounts.Issuer(), Subject: account.ID}, func(l session.Listed) {
		g.record(r, l.Event(audit.Ended, why))
	})
	return err
}
