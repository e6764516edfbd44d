package gateway

import (
	"context"
	"net/http"
	"net/url"
	"slices"

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
