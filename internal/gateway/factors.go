package gateway

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// stepPath is where the second step of a sign-in goes.
const stepPath = accounts.SignInPath + "/code"

// goOn takes somebody whose first step was right to the second, if their account has one, and else to the callback with a code. Every
// page that lets people in ends here.
func (g *Gateway) goOn(w http.ResponseWriter, r *http.Request, pending session.Pending, account *accounts.Account, methods ...string) error {
	if !slices.Contains(methods, accounts.Strongly) {
		f, err := g.Accounts.Factors(r.Context(), account)
		if err != nil {
			return err
		}
		if !f.Authenticator.IsZero() {
			g.showStep(w, http.StatusOK, pending, g.Accounts.HalfWay(pending, account, methods...), nil)
			return nil
		}
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	to := *g.Accounts.Callback()
	to.RawQuery = g.Accounts.Answer(pending, account, methods...).Encode()
	http.Redirect(w, r, to.String(), http.StatusSeeOther)
	return nil
}

// takeStep reads the code of the second step, within the same login.
func (g *Gateway) takeStep(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(r, stepPath)
	if err != nil {
		return err
	}
	pending, err := g.begun(r, form.Get("state"))
	if err != nil {
		return g.beginAgain(w, r, signingIn, form, err)
	}
	account, methods, err := g.Accounts.Resume(r.Context(), pending, form.Get("step"))
	if session.CodeOf(err) == session.LoginLost {
		g.Answers.Note(r, err)
		return g.show(w, 0, pending, signingIn, "", err)
	}
	if err != nil {
		return err
	}
	err = g.checkCode(r, account, form.Get("code"))
	switch session.CodeOf(err) {
	case "":
	case session.CodeRequired, session.WrongCode, session.TooMany:
		g.Answers.Note(r, err)
		g.showStep(w, 0, pending, form.Get("step"), err)
		return nil
	default:
		return err
	}
	return g.goOn(w, r, pending, account, bothSteps(methods)...)
}

// checkCode looks at a code, and writes down what came of it.
func (g *Gateway) checkCode(r *http.Request, account *accounts.Account, code string) error {
	err := g.Accounts.CheckCode(r.Context(), account, code, telemetry.Of(r).Address)
	if c := session.CodeOf(err); c != "" && c != session.CodeRequired {
		g.recordAccount(r, audit.LoginFailed, account, string(c))
	}
	return err
}

// secondStep looks at the code of a sign-in by one request, where the account wants one, and says what it was signed in by.
func (g *Gateway) secondStep(r *http.Request, account *accounts.Account, code string) ([]string, error) {
	f, err := g.Accounts.Factors(r.Context(), account)
	if err != nil || f.Authenticator.IsZero() {
		return []string{accounts.ByPassword}, err
	}
	return []string{accounts.ByPassword, accounts.ByCode, accounts.Strongly}, g.checkCode(r, account, code)
}

func (g *Gateway) showStep(w http.ResponseWriter, status int, pending session.Pending, step string, err error) {
	code := codeInput()
	page := ui.FormPage{
		Title: "Enter your code", Text: "The second step to sign in at " + g.Own.Host() + ".", Action: g.options.Prefix + stepPath, Button: "Sign in",
		Hidden: url.Values{"state": {pending.State()}, "return_to": {pending.ReturnTo}, "step": {step}},
		Links:  []ui.Link{{URL: g.Answers.LoginURL(pending.ReturnTo), Name: "Start over"}},
	}
	if err != nil {
		code.Wrong = g.refusal(w, &status, err)
	}
	page.Inputs = []ui.Input{code}
	g.Answers.Pages.Form(w, status, page)
}

func codeInput() ui.Input {
	return ui.Input{Name: "code", Label: "Code", Type: "text", Autocomplete: "one-time-code", Hint: "The six digits that your authenticator app shows now. If you do not have it, one of your recovery codes."}
}

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

// offerAuthenticator shows the secret of a new authenticator.
func (g *Gateway) offerAuthenticator(w http.ResponseWriter, _ *http.Request, s *session.Session, account *accounts.Account, _ url.Values) error {
	g.showOffer(w, http.StatusOK, s, g.Accounts.Offer(account, s.LogID), nil)
	return nil
}

func (g *Gateway) showOffer(w http.ResponseWriter, status int, s *session.Session, offer accounts.Offer, err error) {
	code := codeInput()
	code.Hint, code.Digits = "The six digits that the app shows now.", true
	page := ui.FormPage{
		Title: "Scan this with your app", Text: "Then enter the code that it shows.", Action: g.below("authenticator"), Button: "Turn on", Hidden: g.meant(s),
		Scan:  &ui.Scan{URI: offer.URI, Text: "Without a camera, type this secret into the app:", Secret: offer.Secret},
		Links: []ui.Link{g.cancel()},
	}
	page.Hidden.Set("offer", offer.Sealed)
	if err != nil {
		g.refusal(w, &status, err)
		code.Wrong = "This is another code. Please enter the one that the app shows now; it may have changed meanwhile."
	}
	page.Inputs = []ui.Input{code}
	g.Answers.Pages.Form(w, status, page)
}

// acceptAuthenticator turns the second step on. Every session from before is over: it began with one step.
func (g *Gateway) acceptAuthenticator(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, form url.Values) error {
	codes, err := g.Accounts.Accept(r.Context(), account, s.LogID, form.Get("offer"), form.Get("code"))
	if session.CodeOf(err) == session.WrongCode {
		g.Answers.Note(r, err)
		offer, againErr := g.Accounts.Again(account, s.LogID, form.Get("offer"))
		if againErr != nil {
			return againErr
		}
		g.showOffer(w, 0, s, offer, err)
		return nil
	}
	if err != nil {
		return err
	}
	if s, err = g.anew(w, r, s, account, "authenticator", confirmedBy(account, true)...); err != nil {
		return err
	}
	g.showRecovery(w, "Your second step is on", codes)
	return nil
}

func (g *Gateway) removeAuthenticator(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, _ url.Values) error {
	if _, err := g.dropAuthenticator(w, r, s, account); err != nil {
		return err
	}
	g.backToAccount(w, r, "authenticator-off")
	return nil
}

// dropAuthenticator turns the second step off, and returns the session that goes on.
func (g *Gateway) dropAuthenticator(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account) (*session.Session, error) {
	if err := g.Accounts.RemoveAuthenticator(r.Context(), account); err != nil {
		return nil, err
	}
	return g.anew(w, r, s, account, "authenticator-off", confirmedBy(account, false)...)
}

func (g *Gateway) renewRecovery(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, _ url.Values) error {
	codes, err := g.newRecovery(r, s, account)
	if err != nil {
		return err
	}
	g.showRecovery(w, "Your recovery codes", codes)
	return nil
}

// newRecovery replaces a person's recovery codes. NotFound: there is nothing to recover.
func (g *Gateway) newRecovery(r *http.Request, s *session.Session, account *accounts.Account) ([]string, error) {
	f, err := g.Accounts.Factors(r.Context(), account)
	if err == nil && f.Authenticator.IsZero() {
		err = session.Fail(session.NotFound, "renew recovery codes", "there is no second step to recover")
	}
	if err != nil {
		return nil, err
	}
	codes, err := g.Accounts.RenewRecovery(r.Context(), account)
	if err != nil {
		return nil, err
	}
	g.record(r, s.Event(audit.Changed, "recovery codes"))
	g.remember(r, s)
	return codes, nil
}

func (g *Gateway) showRecovery(w http.ResponseWriter, title string, codes []string) {
	g.Answers.Pages.Account(w, ui.AccountPage{
		Title: title, Text: "Without your app you sign in with one of these codes in its place. Each works once. Keep them where nobody else looks, and not on the device with the app: they are not shown again.",
		Sections: []ui.Section{{Title: "Recovery codes", Codes: codes}}, Links: []ui.Link{{URL: g.options.Prefix + accountPath, Name: "I have written them down"}}, Main: true,
	})
}

// anew ends all sessions of a person whose way to sign in has changed, and begins one here under a new ticket.
func (g *Gateway) anew(w http.ResponseWriter, r *http.Request, s *session.Session, account *accounts.Account, what string, methods ...string) (*session.Session, error) {
	g.record(r, s.Event(audit.Changed, what))
	r = r.WithContext(context.WithoutCancel(r.Context())) // not even a client that gives up may stop this half way
	if err := g.endEverywhere(r, s, "how the person signs in was changed"); err != nil {
		return nil, err
	}
	return g.reopen(w, r, account, s.Life.Remember, methods...)
}

// methodsOf are what a session was signed in by.
func methodsOf(s *session.Session) []string {
	said, _ := s.Grant.Claims["amr"].([]any)
	methods := make([]string, 0, len(said))
	for _, m := range said {
		if text, ok := m.(string); ok {
			methods = append(methods, text)
		}
	}
	return methods
}
