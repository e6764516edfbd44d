package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// The pages to sign in by a mail on: where to ask for one, and where to enter its code.
const (
	mailPath     = accounts.SignInPath + "/mail"
	mailCodePath = mailPath + "/code"
)

// mailSignInEndpoints is the part of the route table that is there with accounts.email_link.
func (g *Gateway) mailSignInEndpoints() []endpoint {
	return []endpoint{
		{"GET", mailPath, document, g.askMail, "With `accounts.email_link`: the page to ask for a mail on that signs in, for a login that `login` began."},
		{"POST", mailPath, entry, g.takeMail, "Its form. Shows where to enter the code, whether there is such an account."},
		{"POST", mailCodePath, entry, g.takeMailCode, "Takes the code of six digits, in the browser that asked for it, at most 5 tries. Goes on to `callback/accounts`."},
		{"GET", accounts.LinkPath, document, g.mailLink, "Where the link in that mail leads. Opening it spends nothing."},
		{"POST", accounts.LinkPath, entry, g.takeMailLink, "Its form: signs in, once."},
		{"POST", "login/mail", entry, g.mailJSON, "The same for a front end with a form of its own: `{\"identifier\", \"remember\"?}`. 202 as above, with `state`, and a login cookie."},
		{"POST", "login/code", entry, g.codeJSON, "… and `{\"state\", \"code\"}`, in the browser that asked: answered like `POST login`, or 202 with `{\"state\", \"step\"}` for `POST login/step` where the account has a second step. 422 `wrong_mail_code`; 410 `link_over` after 5 tries or 10 minutes; 429 `too_many` after more of an address, of several mails."},
	}
}

func (g *Gateway) askMail(w http.ResponseWriter, r *http.Request) error {
	return g.forLogin(w, r, func(pending session.Pending, _ url.Values) error {
		g.showAskMail(w, pending, "", nil)
		return nil
	})
}

func (g *Gateway) showAskMail(w http.ResponseWriter, pending session.Pending, identifier string, err error) {
	status := 0
	page := ui.FormPage{
		Title: "Sign in by mail", Text: "A mail with a link and a code signs you in at " + g.Own.Host() + ", without a password.",
		Action: g.options.Prefix + mailPath, Hidden: url.Values{"state": {pending.State()}}, Button: "Send the mail",
		Links: []ui.Link{{URL: g.backTo(pending.State()), Name: "Use my password"}},
	}
	name := ui.Input{Name: "identifier", Label: "E-mail address", Type: "email", Autocomplete: "username", Value: identifier}
	if g.wrong(w, &status, err) == session.BadIdentifier {
		name.Wrong = sentence(err, accounts.LoginEmail)
	} else if err != nil {
		page.Wrong = sentence(err, accounts.LoginEmail)
	}
	page.Inputs = append([]ui.Input{name}, g.stay(pending)...)
	g.Answers.Pages.Form(w, status, page)
}

func (g *Gateway) takeMail(w http.ResponseWriter, r *http.Request) error {
	form, err := g.letterForm(w, r, mailPath)
	if err != nil {
		return err
	}
	pending, err := g.begun(r, form.Get("state"))
	if err != nil {
		return g.restart(w, r, form.Get("state"), err)
	}
	pending = g.staying(w, pending, form)
	identifier := form.Get("identifier")
	if err := g.Accounts.MailSignIn(r.Context(), pending, identifier, telemetry.Of(r).Address); err != nil {
		if !shown(err) {
			return err
		}
		g.Answers.Note(r, err)
		g.showAskMail(w, pending, identifier, err)
		return nil
	}
	g.showMailCode(w, pending, identifier, nil)
	return nil
}

func (g *Gateway) showMailCode(w http.ResponseWriter, pending session.Pending, identifier string, err error) {
	status := 0
	code := ui.Input{Name: "code", Label: "Code", Type: "text", Autocomplete: "one-time-code", Hint: "Six digits.", Digits: true}
	switch g.wrong(w, &status, err) {
	case "":
	case session.TooMany:
		code.Wrong = sentence(err, accounts.LoginEmail) + " The link in the mail works all the same."
	default:
		code.Wrong = sentence(err, accounts.LoginEmail)
	}
	g.Answers.Pages.Form(w, status, ui.FormPage{
		Title: "Look into your mail", Text: fmt.Sprintf("If %s has an account here, a mail is on its way to it. Enter the code in it, or follow its link; both work within %s.", identifier, inWords(accounts.LinkLife)),
		Action: g.options.Prefix + mailCodePath, Hidden: url.Values{"state": {pending.State()}, "identifier": {identifier}}, Inputs: []ui.Input{code}, Button: "Sign in",
		Links: []ui.Link{{URL: g.askMailURL(pending), Name: "Send another mail"}},
	})
}

func (g *Gateway) askMailURL(pending session.Pending) string {
	return g.options.Prefix + mailPath + "?" + url.Values{"state": {pending.State()}}.Encode()
}

func (g *Gateway) takeMailCode(w http.ResponseWriter, r *http.Request) error {
	form, err := g.letterForm(w, r, mailCodePath)
	if err != nil {
		return err
	}
	pending, err := g.begun(r, form.Get("state"))
	if err != nil {
		return g.restart(w, r, form.Get("state"), err)
	}
	account, err := g.byCode(r, pending, form.Get("code"))
	switch code := session.CodeOf(err); {
	case code == session.LinkOver:
		return g.linkOver(w, r, err, ui.Link{URL: g.askMailURL(pending), Name: "Send another mail"})
	case code == session.WrongMailCode || code == session.TooMany:
		g.Answers.Note(r, err)
		g.showMailCode(w, pending, form.Get("identifier"), err)
		return nil
	case err != nil:
		return err
	}
	return g.goOn(w, r, pending, account, accounts.BySignInMail)
}

// byCode looks at a code, and writes down what came of it.
func (g *Gateway) byCode(r *http.Request, pending session.Pending, code string) (*accounts.Account, error) {
	account, err := g.Accounts.SignInByCode(r.Context(), pending, code)
	if err != nil {
		g.recordAccount(r, audit.LoginFailed, nil, string(session.CodeOf(err)))
	}
	return account, err
}

// mailLink shows whom a link signs in. Programs that look at mails open it too: it changes nothing.
func (g *Gateway) mailLink(w http.ResponseWriter, r *http.Request) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	m, err := g.Accounts.FindMailedSignIn(r.Context(), query.Get("token"))
	if err != nil {
		return g.linkOver(w, r, err)
	}
	text := "As " + m.Account.Email + " at " + g.Own.Host() + "."
	if _, err := g.begun(r, m.State); err != nil {
		text += " The mail was asked for in another browser: this signs you in here. If you did not ask for it, close this page."
	}
	g.Answers.Pages.Form(w, http.StatusOK, ui.FormPage{
		Title: "Sign in", Text: text, Action: g.options.Prefix + accounts.LinkPath, Hidden: url.Values{"token": {query.Get("token")}}, Button: "Sign in", Secret: true,
	})
	return nil
}

// takeMailLink signs in by a link: the login that asked for it goes on, and in another browser one begins, by the person's own click.
func (g *Gateway) takeMailLink(w http.ResponseWriter, r *http.Request) error {
	form, err := g.letterForm(w, r, accounts.LinkPath)
	if err != nil {
		return err
	}
	m, err := g.Accounts.FindMailedSignIn(r.Context(), form.Get("token"))
	if err != nil {
		return g.linkOver(w, r, err)
	}
	pending, err := g.begun(r, m.State)
	if err != nil {
		intent, err := g.intent(r, nil, false)
		if err != nil {
			return err
		}
		if _, pending, err = g.Accounts.Begin(r.Context(), intent); err != nil {
			return err
		}
		g.logins.Start(w, r, pending, false)
	}
	account, err := g.Accounts.SignInByLink(r.Context(), m)
	if err != nil {
		return g.linkOver(w, r, err)
	}
	return g.goOn(w, r, pending, account, accounts.BySignInMail)
}

// mailJSON begins a login and mails what finishes it.
func (g *Gateway) mailJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Identifier string `json:"identifier"`
		Remember   bool   `json:"remember"`
	}
	if err := readJSON(w, r, "sign in by mail", &c); err != nil {
		return err
	}
	pending, err := g.beginJSON(r, c.Remember)
	if err != nil {
		return err
	}
	if err := g.Accounts.MailSignIn(r.Context(), pending, c.Identifier, telemetry.Of(r).Address); err != nil {
		return err
	}
	g.logins.Start(w, r, pending, false)
	return mailed(w, pending.State())
}

// codeJSON finishes the login.
func (g *Gateway) codeJSON(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		State string `json:"state"`
		Code  string `json:"code"`
	}
	if err := readJSON(w, r, "sign in by code", &c); err != nil {
		return err
	}
	pending, err := g.begun(r, c.State)
	if err != nil {
		return err
	}
	account, err := g.byCode(r, pending, c.Code)
	if err != nil {
		return err
	}
	f, err := g.Accounts.Factors(r.Context(), account)
	if err != nil {
		return err
	}
	if !f.Authenticator.IsZero() {
		return halfWay(w, pending, g.Accounts.HalfWay(pending, account, accounts.BySignInMail))
	}
	if err := g.logins.Spend(r.Context(), w, pending, false); err != nil {
		return err
	}
	return g.welcome(w, r, account, pending.Remember, accounts.BySignInMail)
}

// halfWay answers what goes on with the second step. The mailed code is used up by then.
func halfWay(w http.ResponseWriter, pending session.Pending, step string) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	return json.NewEncoder(w).Encode(struct {
		State string `json:"state"`
		Step  string `json:"step"`
	}{pending.State(), step})
}
