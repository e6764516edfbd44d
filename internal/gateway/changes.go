package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// change is something that a person changes of what they sign in with. It has a page of its own, which asks them once more who they are (U8).
type change struct {
	path                string // below the account
	title, text, button string
	doc                 string
	inputs              func() []ui.Input           // before the password; nil for none
	check               func(form url.Values) error // what is wrong with inputs, before anybody is asked who they are; nil for nothing
	do                  changeStep                  // once they have shown who they are
	keep                string                      // a parameter of the page's address that its form has, too; "" for none
	about               changeObject                // what it is done to; nil for nothing
	resume              string                      // a field of the page that do shows, whose form comes back here; "" for none
	next                changeStep                  // takes that form
}

// changeStep does what a form asks for, and answers.
type changeStep func(g *Gateway, w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error

// changeObject names what a change is done to. NotFound: it is gone.
type changeObject func(g *Gateway, r *http.Request, account *accounts.Account, form url.Values) (string, error)

// secondStepChanges are those of the authenticator app and its recovery codes.
var secondStepChanges = []*change{
	{
		path: "authenticator", title: "Set up an authenticator app", button: "Continue",
		text:   "Signing in will then take two steps: your password, and a code that the app shows. An app that is set up already is replaced. First, please show that it is you.",
		doc:    "The page to set up an authenticator app (TOTP) as a second step. Its form takes the `password`, shows a QR code, and takes a `code` that shows that the app has it. It takes the place of another. All other sessions of the person end; 10 recovery codes are shown once.",
		do:     (*Gateway).offerAuthenticator,
		resume: "offer", next: (*Gateway).acceptAuthenticator,
	},
	{
		path: "authenticator-off", title: "Turn the second step off", button: "Turn off",
		text: "Your password will be enough to sign in again. You will be signed out everywhere else.",
		doc:  "The page to go back to the password alone. Its form takes `password` and `code`. All other sessions of the person end.",
		do:   (*Gateway).removeAuthenticator,
	},
	{
		path: "recovery", title: "New recovery codes", button: "Make new codes",
		text: "The codes that you have now will no longer work.",
		doc:  "The page to get 10 new recovery codes. Its form takes `password` and `code`.",
		do:   (*Gateway).renewRecovery,
	},
}

// changeEndpoints are the rows of the route table for changes, but for emailChange.
func (g *Gateway) changeEndpoints() (all []endpoint) {
	for _, c := range slices.Concat(secondStepChanges, passkeyChanges) {
		all = append(all, g.changeRows(c)...)
	}
	return all
}

func (g *Gateway) changeRows(c *change) []endpoint {
	return []endpoint{
		{"GET", accountPath + "/" + c.path, document, func(w http.ResponseWriter, r *http.Request) error { return g.askChange(w, r, c) }, c.doc},
		{"POST", accountPath + "/" + c.path, posted, func(w http.ResponseWriter, r *http.Request) error { return g.takeChange(w, r, c) }, "Its form."},
	}
}

func (g *Gateway) askChange(w http.ResponseWriter, r *http.Request, c *change) error {
	s, account, err := g.owner(r)
	if err != nil {
		return err
	}
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	return g.showChange(w, r, s, account, c, url.Values{c.keep: {query.Get(c.keep)}}, http.StatusOK, nil)
}

func (g *Gateway) takeChange(w http.ResponseWriter, r *http.Request, c *change) error {
	form, err := readForm(r, c.path)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the form is here; hashing may have to wait
	s, account, err := g.owner(r)
	if err != nil {
		return err
	}
	if c.resume != "" && form.Has(c.resume) && !form.Has("proof") {
		if err = c.next(g, w, r, s, account, form); session.CodeOf(err) == session.WrongPasskey {
			g.Answers.Note(r, err)
			return g.showChange(w, r, s, account, c, form, 0, err)
		}
		return err
	}
	if c.check != nil {
		if err := c.check(form); err != nil {
			g.Answers.Note(r, err)
			return g.showChange(w, r, s, account, c, form, 0, err)
		}
	}
	byKey, err := g.Accounts.ConfirmsByPasskey(r.Context(), account)
	if err != nil {
		return err
	}
	if byKey && !form.Has("proof") {
		return g.showChange(w, r, s, account, c, form, http.StatusOK, nil)
	}
	confirmed, err := g.stepUp(r, s, account, proof{
		Current: form.Get("password"), Code: form.Get("code"), Ceremony: form.Get("proof"), Response: []byte(form.Get("response")),
	})
	if err == nil {
		err = c.do(g, w, r, s, confirmed, form)
	}
	code := session.CodeOf(err)
	if unproven(code) {
		g.record(r, s.Event(audit.Refused, string(code)))
	} else if code != session.MailDown {
		return err
	}
	g.Answers.Note(r, err)
	return g.showChange(w, r, s, account, c, form, 0, err)
}

// showChange writes the page of a change; with err it says what is wrong, and status 0 is the one of err.
func (g *Gateway) showChange(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, c *change, form url.Values, status int, err error) error {
	f, factorsErr := g.Accounts.Factors(r.Context(), account)
	if factorsErr != nil {
		return factorsErr
	}
	text := c.text
	if c.about != nil {
		name, err := c.about(g, r, account, form)
		if session.CodeOf(err) == session.NotFound { // removed in another tab, or a moment ago
			g.backToAccount(w, r, "")
			return nil
		} else if err != nil {
			return err
		}
		text = "“" + name + "”: " + text
	}
	page := ui.FormPage{Title: c.title, Text: text, Action: g.below(c.path), Button: c.button, Hidden: g.meant(s), Links: []ui.Link{g.cancel()}, Username: account.Identifier(g.Accounts.Login())}
	if c.keep != "" {
		page.Hidden.Set(c.keep, form.Get(c.keep))
	}
	byKey, keyErr := g.Accounts.ConfirmsByPasskey(r.Context(), account)
	if keyErr != nil {
		return keyErr
	}
	code := session.CodeOf(err)
	if again := code == "" || code == session.WrongPasskey; byKey && (c.inputs == nil || r.Method == http.MethodPost && again) {
		return g.showProof(w, page, s, account, c, form, status, err)
	}
	if c.inputs != nil {
		for _, input := range c.inputs() {
			input.Value = form.Get(input.Name)
			page.Inputs = append(page.Inputs, input)
		}
	}
	word := ui.Input{Name: "password", Label: "Password", Type: "password", Autocomplete: "current-password"}
	digits := codeInput()
	if err != nil {
		text := g.refusal(w, &status, err)
		switch code {
		case session.BadIdentifier:
			page.Inputs[0].Wrong = sentence(err, accounts.LoginEmail)
		case session.WrongPassword:
			word.Wrong = text
		case session.CodeRequired, session.WrongCode:
			digits.Wrong = text
		default:
			page.Wrong = text
		}
	}
	switch {
	case byKey:
		page.Button = "Continue"
	case f.Authenticator.IsZero():
		page.Inputs = append(page.Inputs, word)
	default:
		page.Inputs = append(page.Inputs, word, digits)
	}
	g.Answers.Pages.Form(w, status, page)
	return nil
}

// showProof asks somebody without a password for a passkey, before a change whose fields they have filled in.
func (g *Gateway) showProof(w http.ResponseWriter, page ui.FormPage, s *session.Session, account *accounts.Account, c *change, form url.Values, status int, wrong error) error {
	asked, err := g.Accounts.AskAgain(account, s.LogID)
	if err != nil {
		return err
	}
	if wrong != nil {
		page.Wrong = g.refusal(w, &status, wrong)
	}
	page.Hidden.Set("proof", asked.Sealed)
	if c.inputs != nil {
		for _, input := range c.inputs() {
			page.Hidden.Set(input.Name, form.Get(input.Name))
		}
	}
	page.Passkey = &ui.Passkey{
		Action: page.Action, Hidden: page.Hidden, Ceremony: "get", Options: asked.Options, Button: page.Button,
		Failed: "Nothing was changed. You can try again.", Without: noScript,
	}
	page.Button, page.Hidden = "", nil
	g.Answers.Pages.Form(w, status, page)
	return nil
}
