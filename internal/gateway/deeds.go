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

// deed is a change to what a person signs in with. It has a page of its own, which asks them once more who they are (U8).
type deed struct {
	path                string // below the account
	title, text, button string
	doc                 string
	check               func(form url.Values) error // what is wrong with inputs, before anybody is asked who they are; nil for nothing
	do                  func(g *Gateway, w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error
	inputs              func() []ui.Input                                                                             // before the password
	about               func(g *Gateway, r *http.Request, account *accounts.Account, form url.Values) (string, error) // what it is done to; nil for nothing. NotFound: it is gone
	keep                string                                                                                        // a parameter of the page's address that its form has, too; "" for none
	resume              string                                                                                        // a field of the next page's form, which comes back here; "" for none
	next                func(g *Gateway, w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error
}

// deeds are all of them.
var deeds = []*deed{
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

// deedEndpoints are the rows of the route table for deeds.
func (g *Gateway) deedEndpoints() (all []endpoint) {
	for _, d := range slices.Concat(deeds, passkeyDeeds) {
		all = append(all, g.deedRows(d)...)
	}
	return all
}

func (g *Gateway) deedRows(d *deed) []endpoint {
	return []endpoint{
		{"GET", accountPath + "/" + d.path, document, func(w http.ResponseWriter, r *http.Request) error { return g.askDeed(w, r, d) }, d.doc},
		{"POST", accountPath + "/" + d.path, posted, func(w http.ResponseWriter, r *http.Request) error { return g.takeDeed(w, r, d) }, "Its form."},
	}
}

func (g *Gateway) askDeed(w http.ResponseWriter, r *http.Request, d *deed) error {
	s, account, err := g.owner(r)
	if err != nil {
		return err
	}
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	return g.showDeed(w, r, s, account, d, url.Values{d.keep: {query.Get(d.keep)}}, http.StatusOK, nil)
}

func (g *Gateway) takeDeed(w http.ResponseWriter, r *http.Request, d *deed) error {
	form, err := readForm(r, d.path)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the form is here; hashing may have to wait
	s, account, err := g.owner(r)
	if err != nil {
		return err
	}
	if d.resume != "" && form.Has(d.resume) && !form.Has("proof") {
		if err = d.next(g, w, r, s, account, form); session.CodeOf(err) == session.WrongPasskey {
			g.Answers.Note(r, err)
			return g.showDeed(w, r, s, account, d, form, 0, err)
		}
		return err
	}
	if d.check != nil {
		if err := d.check(form); err != nil {
			g.Answers.Note(r, err)
			return g.showDeed(w, r, s, account, d, form, 0, err)
		}
	}
	byKey, err := g.Accounts.ConfirmsByPasskey(r.Context(), account)
	if err != nil {
		return err
	}
	if byKey && !form.Has("proof") {
		return g.showDeed(w, r, s, account, d, form, http.StatusOK, nil)
	}
	confirmed, err := g.stepUp(r, s, account, proof{
		Current: form.Get("password"), Code: form.Get("code"), Ceremony: form.Get("proof"), Response: []byte(form.Get("response")),
	})
	if err == nil {
		err = d.do(g, w, r, s, confirmed, form)
	}
	switch code := session.CodeOf(err); code {
	case session.MailDown:
		g.Answers.Note(r, err)
		return g.showDeed(w, r, s, account, d, form, 0, err)
	case session.WrongPassword, session.WrongPasskey, session.CodeRequired, session.WrongCode, session.TooMany:
		g.record(r, s.Event(audit.Refused, string(code)))
		g.Answers.Note(r, err)
		return g.showDeed(w, r, s, account, d, form, 0, err)
	}
	return err
}

// showDeed writes the page of a deed; with err it says what is wrong, and status 0 is the one of err.
func (g *Gateway) showDeed(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, d *deed, form url.Values, status int, err error) error {
	f, factorsErr := g.Accounts.Factors(r.Context(), account)
	if factorsErr != nil {
		return factorsErr
	}
	text := d.text
	if d.about != nil {
		name, err := d.about(g, r, account, form)
		if session.CodeOf(err) == session.NotFound { // removed in another tab, or a moment ago
			g.backToAccount(w, r, "")
			return nil
		} else if err != nil {
			return err
		}
		text = "“" + name + "”: " + text
	}
	page := ui.FormPage{Title: d.title, Text: text, Action: g.below(d.path), Button: d.button, Hidden: g.meant(s), Links: []ui.Link{g.cancel()}, Username: account.Identifier(g.Accounts.Login())}
	if d.keep != "" {
		page.Hidden.Set(d.keep, form.Get(d.keep))
	}
	byKey, keyErr := g.Accounts.ConfirmsByPasskey(r.Context(), account)
	if keyErr != nil {
		return keyErr
	}
	code := session.CodeOf(err)
	if again := code == "" || code == session.WrongPasskey; byKey && (d.inputs == nil || r.Method == http.MethodPost && again) {
		return g.showProof(w, page, s, account, d, form, status, err)
	}
	if d.inputs != nil {
		for _, input := range d.inputs() {
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

// showProof asks somebody without a password for a passkey, before a deed whose fields they have filled in.
func (g *Gateway) showProof(w http.ResponseWriter, page ui.FormPage, s *session.Session, account *accounts.Account, d *deed, form url.Values, status int, wrong error) error {
	c, err := g.Accounts.AskAgain(account, s.LogID)
	if err != nil {
		return err
	}
	if wrong != nil {
		page.Wrong = g.refusal(w, &status, wrong)
	}
	page.Hidden.Set("proof", c.Sealed)
	if d.inputs != nil {
		for _, input := range d.inputs() {
			page.Hidden.Set(input.Name, form.Get(input.Name))
		}
	}
	page.Passkey = &ui.Passkey{
		Action: page.Action, Hidden: page.Hidden, Ceremony: "get", Options: c.Options, Button: page.Button,
		Failed: "Nothing was changed. You can try again.", Without: noScript,
	}
	page.Button, page.Hidden = "", nil
	g.Answers.Pages.Form(w, status, page)
	return nil
}
