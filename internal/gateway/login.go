package gateway

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

func (g *Gateway) login(w http.ResponseWriter, r *http.Request) error    { return g.begin(w, r, false) }
func (g *Gateway) register(w http.ResponseWriter, r *http.Request) error { return g.begin(w, r, true) }

// begin sends a person to a provider.
func (g *Gateway) begin(w http.ResponseWriter, r *http.Request, register bool) error {
	query, err := single(r.URL.RawQuery)
	if err != nil {
		return err
	}
	// From another site the Strict session cookie stays away, and with it the session that this login will replace.
	if g.Answers.Bounce(w, r) {
		return nil
	}
	name := query.Get("provider")
	if name == "" && len(g.Providers) > 1 {
		g.choose(w, r, query, register)
		return nil
	}
	provider, err := g.providerOf(name)
	if err != nil {
		return err
	}
	if err := g.mayBegin(r); err != nil {
		return err
	}
	intent, err := g.intent(r, query, register)
	if err != nil {
		return err
	}
	target, pending, err := provider.Begin(r.Context(), intent)
	if err != nil {
		g.record(r, audit.Event{Action: audit.LoginFailed, Provider: name, Reason: string(session.CodeOf(err))})
		return err
	}
	g.logins.Start(w, r, pending, formPost(provider))
	g.record(r, audit.Event{Action: audit.LoginStarted, Provider: pending.Provider, Issuer: pending.Issuer})
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, target.String(), http.StatusFound)
	return nil
}

// mayBegin counts a login that somebody begins.
func (g *Gateway) mayBegin(r *http.Request) error {
	if !g.limit.Allow(addressKey(telemetry.Of(r).Address)) {
		return session.Fail(session.TooMany, "begin login", "too many logins from one address, or in all")
	}
	return nil
}

// intent reads what a login is asked to do. What makes no sense is refused; where to return to falls back to the start page.
func (g *Gateway) intent(r *http.Request, query url.Values, register bool) (session.Intent, error) {
	in := session.Intent{
		Register: register, Prompt: query.Get("prompt"), LoginHint: query.Get("login_hint"),
		ReturnTo: g.returnTo(query.Get("return_to")), Remember: query.Get("remember") == "1",
	}
	if !slices.Contains([]string{"", "none", "login", "consent", "select_account"}, in.Prompt) {
		return in, session.Fail(session.BadRequest, "begin login", "prompt is none of none, login, consent, select_account")
	}
	if len(in.LoginHint) > 256 || strings.ContainsFunc(in.LoginHint, func(c rune) bool { return c < ' ' }) {
		return in, session.Fail(session.BadRequest, "begin login", "login_hint is longer than 256 bytes or not printable")
	}
	in.Round = roundOf(query)
	if s, err := g.Desk.Look(r.Context(), r); err == nil {
		in.Replaces = s.ID
	} else if session.CodeOf(err) == session.Unavailable {
		return in, err // the login could not be finished
	}
	return in, nil
}

// returnTo is the checked way back. One that is too long for a cookie loses its query, then itself.
func (g *Gateway) returnTo(raw string) string {
	to, ok := origin.ReturnTo(raw, g.Own, g.Guard.Listed())
	if !ok {
		return "/"
	}
	if len(to) > maxReturnTo {
		to, _, _ = strings.Cut(to, "?")
	}
	if len(to) > maxReturnTo {
		return "/"
	}
	return to
}

func roundOf(query url.Values) int {
	n, err := strconv.Atoi(query.Get("round"))
	if err != nil {
		return 0
	}
	return min(max(n, 0), session.MaxRounds)
}

// choose lets the person pick a provider.
func (g *Gateway) choose(w http.ResponseWriter, r *http.Request, query url.Values, register bool) {
	choices := make([]ui.Choice, 0, len(g.Providers))
	offer := func(name, title string) {
		query.Set("provider", name)
		choices = append(choices, ui.Choice{Name: title, URL: r.URL.Path + "?" + query.Encode()})
	}
	if g.Accounts != nil && (g.Accounts.Registers() || !register) {
		offer(accounts.Name, g.Accounts.Title())
	}
	for _, name := range slices.Sorted(maps.Keys(g.Providers)) {
		if name != accounts.Name {
			offer(name, titleOf(g.Providers[name], name))
		}
	}
	g.Answers.Pages.Chooser(w, choices)
}

// titleOf is what people are told of a provider.
func titleOf(p session.Provider, name string) string {
	if t, ok := p.(interface{ Title() string }); ok {
		return t.Title()
	}
	return name
}

// providerOf finds a provider by name; "" is the only one there is.
func (g *Gateway) providerOf(name string) (session.Provider, error) {
	if name == "" && len(g.Providers) == 1 {
		for _, p := range g.Providers {
			return p, nil
		}
	}
	if p, ok := g.Providers[name]; ok {
		return p, nil
	}
	return nil, session.Fail(session.BadRequest, "find provider", "no provider of that name")
}

// formPost reports whether a provider answers with a form.
func formPost(p session.Provider) bool {
	f, ok := p.(interface{ FormPost() bool })
	return ok && f.FormPost()
}

// callbackPath is where a provider's answers come to.
func (g *Gateway) callbackPath(p session.Provider) string {
	if c, ok := p.(interface{ Callback() *url.URL }); ok {
		return c.Callback().EscapedPath()
	}
	return g.options.Prefix + "callback"
}

// single parses a query or form. A parameter that is there twice is refused: which one counts is what attacks are made of.
func single(text string) (url.Values, error) {
	if len(text) > 64<<10 {
		return nil, session.Fail(session.TooLarge, "read parameters", "%d bytes", len(text))
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, session.Fail(session.BadRequest, "read parameters", "malformed")
	}
	for name, v := range values {
		if len(v) > 1 {
			return nil, session.Fail(session.BadRequest, "read parameters", "%.40q is there %d times", name, len(v))
		}
	}
	return values, nil
}
