package gateway

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// callback finishes a login. The order is the security: a code is worth something, so nothing redeems it before everything that
// could be wrong with the answer has been looked at (RFC 9700 §4.4, RFC 9207).
func (g *Gateway) callback(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Referrer-Policy", "no-referrer")
	answer, err := readAnswer(r)
	if err != nil {
		return err
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // the form is here; the provider may take its time
	// The login cookie ties the answer to this browser.
	pending, err := g.logins.Find(r, answer.Get("state"))
	if err != nil {
		return g.restart(w, r, answer.Get("state"), err)
	}
	telemetry.Of(r).Back = pending.ReturnTo
	provider, err := g.providerOf(pending.Provider)
	if err != nil {
		return err
	}
	if err := g.came(r, answer, pending.Provider, provider); err != nil {
		return err
	}
	// From here on the login is spent, whatever happens next.
	if err := g.logins.Spend(r.Context(), w, pending, formPost(provider)); err != nil {
		if session.CodeOf(err) == session.LoginSpent {
			return g.restart(w, r, answer.Get("state"), err)
		}
		return err
	}
	// Finish checks issuer, then error, then redeems, then verifies the ID token. Only it can make a Grant.
	grant, err := provider.Finish(r.Context(), pending, answer)
	if err != nil {
		g.record(r, audit.Event{Action: audit.LoginFailed, Provider: pending.Provider, Issuer: pending.Issuer, Reason: string(session.CodeOf(err))})
		return err
	}
	if _, err := g.open(w, r, grant, pending); err != nil {
		return err
	}
	g.Answers.Pages.Continue(w, g.proceedURL(pending.ReturnTo, pending.Round, pending.Provider))
	return nil
}

// came checks that an answer came the way its login asked for it. A hostile provider that the login began at can send the person
// on to another one, and would be handed that one's code (mix-up, RFC 9700 §4.4): so an answer says whose it is, by its address or by iss.
func (g *Gateway) came(r *http.Request, answer url.Values, name string, provider session.Provider) error {
	const op = "callback"
	path := g.callbackPath(provider)
	switch {
	case (r.Method == http.MethodPost) != formPost(provider):
		return session.Fail(session.BadMethod, op, "the answer of provider %q does not come by %s", name, r.Method)
	case r.URL.EscapedPath() != path:
		return session.Fail(session.ProviderLied, op, "the answer of provider %q does not come to this address: another provider answered", name)
	case g.shared[path] > 1 && !answer.Has("iss"):
		return &session.Error{
			Code: session.ProviderLied, Op: op, Err: fmt.Errorf("the answer has no iss, and provider %q shares its redirect URI with another", name),
			Hint: "set callback: own for provider " + name + ", and register the redirect URI that cloakroom check then shows",
		}
	}
	return nil
}

// open begins a session and sets its cookies: always a new one, under a new name (session fixation). The one that this login replaces
// ends here; the callback itself cannot see its Strict cookie.
func (g *Gateway) open(w http.ResponseWriter, r *http.Request, grant session.Grant, pending session.Pending) (*session.Session, error) {
	ctx, now := r.Context(), time.Now().Round(0)
	if !g.options.Allow.Permits(&grant) {
		g.record(r, audit.Event{
			Action: audit.LoginFailed, Provider: grant.Provider, Issuer: grant.Issuer, Subject: grant.Subject, Reason: string(session.NotAllowed),
		})
		return nil, session.Fail(session.NotAllowed, "open session", "the rule allow does not let this person in")
	}
	if err := g.deliverable(r, grant); err != nil {
		return nil, err
	}
	s, err := g.Storage.Update(ctx, &session.Session{Grant: grant}, func(s *session.Session) error {
		s.Device = session.DeviceOf(r.Header)
		s.Life = session.Life{Created: now, Seen: now, Renewed: now, Absolute: now.Add(g.Sessions.Absolute), Remember: pending.Remember}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := g.stands(r, s); err != nil {
		return nil, err
	}
	if err := g.fits(r, s); err != nil {
		return nil, err
	}
	// A provider of the same site, or SameSite=Lax, lets the older cookie come along: only it opens tokens, to be revoked.
	old, noOld := g.Desk.Look(ctx, r)
	replaced := []session.ID{pending.Replaces}
	if noOld == nil {
		replaced = append(replaced, old.ID)
	}
	if err := g.within(r, s, replaced); err != nil {
		return nil, err
	}
	if err := g.replace(r, pending.Replaces); err != nil {
		return nil, err
	}
	if noOld == nil {
		if old.ID != pending.Replaces {
			if err := g.replace(r, old.ID); err != nil {
				return nil, err
			}
		}
		g.Desk.Discard(old, "replaced by a new login")
	}
	g.record(r, s.Event(audit.Login, ""))
	g.hint(r, grant)
	g.logins.Follow(w, r, pending, s.ID, func(p session.Pending) bool {
		provider, err := g.providerOf(p.Provider)
		return err == nil && formPost(provider)
	})
	g.Desk.Write(w, r, s)
	return s, nil
}

// stands looks at the account once more behind a session that has just been stored. Who was disabled or got another password while this
// login was on its way had their sessions ended, and this one was not yet among them.
func (g *Gateway) stands(r *http.Request, s *session.Session) error {
	if s.Grant.Provider != accounts.Name {
		return nil
	}
	err := g.Accounts.Stands(r.Context(), s.Grant)
	if err == nil {
		return nil
	}
	if _, endErr := g.Storage.End(context.WithoutCancel(r.Context()), session.Selector{ID: s.ID}); endErr != nil {
		return endErr
	}
	g.Desk.Discard(s, string(session.CodeOf(err)))
	g.record(r, s.Event(audit.LoginFailed, string(session.CodeOf(err))))
	return err
}

// maxCookieBytes is what session and tokens may take of a request's headers: servers on the way refuse a line of 8 KiB, and the
// application has cookies of its own.
const maxCookieBytes = 6 << 10

// fits refuses a session whose cookies would make later requests fail somewhere, where nobody would know why. The one that this
// login would have replaced goes on.
func (g *Gateway) fits(r *http.Request, s *session.Session) error {
	trial := unsent{}
	g.Desk.Write(trial, r, s)
	size := cookie.Weight(trial.Header())
	if size <= maxCookieBytes {
		return nil
	}
	if _, err := g.Storage.End(r.Context(), session.Selector{ID: s.ID}); err != nil {
		return err
	}
	g.Desk.Discard(s, string(session.SessionTooLarge))
	return &session.Error{
		Code: session.SessionTooLarge, Op: "open session", Err: fmt.Errorf("its cookies take %d bytes of at most %d", size, maxCookieBytes),
		Hint: "session.storage: store with tokens.delivery: proxy or memory takes tokens of any size; or have the provider issue smaller tokens and fewer claims",
	}
}

// unsent is an answer that nobody gets.
type unsent http.Header

func (u unsent) Header() http.Header         { return http.Header(u) }
func (u unsent) Write(p []byte) (int, error) { return len(p), nil }
func (u unsent) WriteHeader(int)             {}

// deliverable refuses a session whose token could not be delivered, while nothing of it is kept: it would look signed in, and no API
// would ever know. The tokens are given back.
func (g *Gateway) deliverable(r *http.Request, grant session.Grant) error {
	checker, ok := g.Delivery.(session.Checker)
	if !ok {
		return nil
	}
	s := &session.Session{Grant: grant}
	err := checker.Check(s)
	if err != nil {
		reason := string(session.CodeOf(err))
		g.record(r, s.Event(audit.LoginFailed, reason))
		g.Desk.Discard(s, reason)
	}
	return err
}

// fit is how long an access token should live at most where the browser gets to see it (browser-based apps §9.1).
const fit = 10 * time.Minute

// hint tells the operator, once for each provider, of a sign-in that works and an API that will refuse its token, and of a token
// that lives longer than it should where it is delivered (M5).
func (g *Gateway) hint(r *http.Request, grant session.Grant) {
	if life := time.Until(grant.Tokens.Expires); life > fit && g.Delivery.Word() != "proxy" {
		if _, said := g.hinted.LoadOrStore("life "+grant.Provider, true); !said {
			g.Answers.Log.WarnContext(r.Context(), "the access token lives long, and the browser gets it", "provider", grant.Provider, "life", life.Round(time.Second),
				telemetry.AttrHint, "give access tokens at most 10 minutes at the provider: a stolen one works until then, and renewing costs the person nothing")
		}
	}
	p, ok := g.Providers[grant.Provider].(interface{ Opaque(session.Tokens) bool })
	if !ok || !p.Opaque(grant.Tokens) {
		return
	}
	if _, said := g.hinted.LoadOrStore(grant.Provider, true); !said {
		g.Answers.Log.WarnContext(r.Context(), "the access token is opaque, not a JWT", "provider", grant.Provider,
			telemetry.AttrHint, "if the API wants a JWT, set the provider's audience or resource")
	}
}

// within holds the person to session.Options.MaxSessions. Where that refuses the login, what it would have replaced goes on.
func (g *Gateway) within(r *http.Request, s *session.Session, replaced []session.ID) error {
	err := g.Desk.Admit(r.Context(), s, replaced, func(l session.Listed) {
		g.record(r, l.Event(audit.Ended, string(session.SessionLimit)))
	})
	if session.CodeOf(err) == session.SessionLimit {
		g.record(r, s.Event(audit.LoginFailed, string(session.SessionLimit)))
		g.Desk.Discard(s, string(session.SessionLimit))
	}
	return err
}

func (g *Gateway) replace(r *http.Request, id session.ID) error {
	if id == (session.ID{}) {
		return nil
	}
	if _, err := g.Storage.End(r.Context(), session.Selector{ID: id}); err != nil {
		return err
	}
	g.record(r, audit.Event{Action: audit.Replaced, Reason: "a new login in the same browser"})
	return nil
}

// restart takes up a login that cannot be matched: the second of two submits, the back button, a bookmark, a tab that slept
// past its time. Most of these people are signed in, or want to be.
func (g *Gateway) restart(w http.ResponseWriter, r *http.Request, state string, err error) error {
	g.record(r, audit.Event{Action: audit.LoginFailed, Reason: string(session.CodeOf(err))})
	if len(state) != session.StateSize {
		return err // not ours at all: no login starts because somebody made up a link
	}
	g.Answers.Pages.Continue(w, g.proceedURL("/", session.RoundOf(state), ""))
	return nil
}

func (g *Gateway) proceedURL(to string, round int, provider string) string {
	q := url.Values{"return_to": {to}}
	if round > 0 {
		q.Set("round", strconv.Itoa(round))
	}
	if provider != "" && len(g.Providers) > 1 {
		q.Set("provider", provider)
	}
	return g.options.Prefix + "continue?" + q.Encode()
}

// proceed goes on behind a callback, within our own origin, where the Strict cookie comes along. A person without a session
// starts over, up to MaxRounds times; the rounds are counted in URLs and states, since the commonest cause of a loop is a
// browser without cookies.
func (g *Gateway) proceed(w http.ResponseWriter, r *http.Request) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	if g.Answers.Bounce(w, r) {
		return nil
	}
	to := g.returnTo(query.Get("return_to"))
	_, err = g.Desk.Look(r.Context(), r)
	switch session.CodeOf(err) {
	case "":
		http.Redirect(w, r, to, http.StatusSeeOther)
		return nil
	case session.Unavailable, session.BadRequest:
		return err
	}
	round := roundOf(query) + 1
	if round >= session.MaxRounds {
		return session.Fail(session.LoginLoop, "continue after login", "no session cookie after %d logins", round)
	}
	again := url.Values{"return_to": {to}, "round": {strconv.Itoa(round)}}
	if query.Has("provider") {
		again.Set("provider", query.Get("provider"))
	}
	http.Redirect(w, r, g.options.Prefix+"login?"+again.Encode(), http.StatusSeeOther)
	return nil
}

// readAnswer reads an authorization response: a query, or a form.
func readAnswer(r *http.Request) (url.Values, error) {
	if r.Method == http.MethodGet {
		return single(r.URL.RawQuery)
	}
	return readForm(r, "callback")
}

// readForm reads a form of at most 64 KiB.
func readForm(r *http.Request, op string) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, session.Fail(session.BadRequest, op, "a form is application/x-www-form-urlencoded here")
	}
	if r.URL.RawQuery != "" {
		return nil, session.Fail(session.BadRequest, op, "a form has no query here")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 64<<10+1))
	if err != nil {
		return nil, session.Fail(session.BadRequest, op, "read the form: %w", err)
	}
	return single(string(body))
}
