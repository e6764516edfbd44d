// Package gateway has our own endpoints: signing in and out, the session as the page sees it, and the client's script.
package gateway

import (
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/internal/storage"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// Parts are what the endpoints work with.
type Parts struct {
	Own       origin.Origin
	Ring      *seal.Keyring
	Guard     *guard.Guard
	Desk      *session.Desk
	Storage   session.Storage
	Delivery  session.Delivery
	Notes     *storage.Notes
	Providers map[string]session.Provider
	Accounts  *accounts.Accounts // also among Providers; nil: there are none of our own
	Answers   *answer.Answers
	Audit     audit.Sink
	Client    Script
	Sessions  session.Options
}

// Script is the client's script, and its ETag.
type Script struct {
	Text []byte
	ETag string
}

// Gateway serves the endpoints. It is an http.Handler for everything that it serves, within a telemetry.Exchange.
type Gateway struct {
	Parts
	options Options
	mux     *http.ServeMux
	logins  logins
	limit   *limiter[netip.Prefix] // of logins, by address
	narrows *limiter[session.ID]   // of narrower tokens
	states  *seal.Box              // what a logout's state says
	forms   *seal.Box              // which session a form of ours was shown to
	nexts   *seal.Box              // names of the notes on where logouts go on
	shared  map[string]int         // how many providers answer at a path
	hinted  sync.Map               // providers whose opaque tokens were mentioned
}

// New returns the endpoints.
func New(p Parts, o Options, metrics *telemetry.Metrics) (*Gateway, error) {
	if len(p.Providers) == 0 {
		return nil, errors.New("at least one provider is needed")
	}
	if o.Claims == nil {
		o.Claims = []string{"sub", "name", "email", "picture", "preferred_username"}
	}
	if o.ClearSite == nil {
		o.ClearSite = []string{"cache"}
	}
	if o.LoginsPer == 0 {
		o.LoginsPer = 60
	}
	if o.LoginsInAll == 0 {
		o.LoginsInAll = 6000
	}
	g := &Gateway{
		Parts: p, options: o, mux: http.NewServeMux(),
		logins: logins{jar: p.Answers.Jar, box: p.Ring.Box("login"), notes: p.Notes},
		limit:  newLimiter[netip.Prefix](o.LoginsPer, o.LoginsInAll), narrows: newLimiter[session.ID](narrowedEach, narrowedAll),
		states: p.Ring.Box("logout state"),
		forms:  p.Ring.Box("account form"),
		nexts:  p.Ring.Box("logout next"),
		shared: map[string]int{},
	}
	for _, provider := range p.Providers {
		g.shared[g.callbackPath(provider)]++
	}
	g.mount(metrics)
	return g, nil
}

// endpoint is one row of the route table. What every endpoint needs is put on by mount, so that nobody can forget it.
type endpoint struct {
	method string
	path   string // behind the prefix
	access access
	serve  func(http.ResponseWriter, *http.Request) error
	doc    string
}

// access says how an endpoint is guarded.
type access uint8

const (
	public   access = iota // no cookie is used: scripts, styles, the signed-out page
	guarded                // the session cookie is used: the guard looks first
	document               // a person's navigation, nothing else: from wherever it comes
	answers                // a provider's answer: it comes from another site by its nature, and brings its own proof
	machine                // an API on its own behalf, which brings its own secret: no cookie is used, and no browser comes
	entry                  // where a session begins: it comes from our own pages or listed ones, whatever else csrf asks of a session
	posted                 // a form of a page of ours, for somebody who is signed in: it carries the token that the page was given
)

// shares reports whether scripts of listed origins may ask an endpoint and read its answer. The others are for navigations.
func (a access) shares() bool { return a == guarded || a == public || a == entry }

// table is the route table of this gateway.
func (g *Gateway) table() []endpoint {
	all := g.endpoints()
	if _, mediates := g.Delivery.(session.Mediator); !mediates {
		all = slices.DeleteFunc(all, func(e endpoint) bool { return e.path == "token" }) // there is no token for a page to have
	}
	if g.Accounts != nil {
		own := g.accountEndpoints()
		if g.Accounts.Mails() {
			own = append(own, g.mailEndpoints()...)
			if g.Accounts.SignsInByMail() {
				own = append(own, g.mailSignInEndpoints()...)
			}
		}
		if g.Accounts.Foreign() {
			own = slices.DeleteFunc(own, func(e endpoint) bool { return !slices.Contains(foreignPaths, e.path) })
		}
		all = append(all, own...)
		if !g.Accounts.Registers() {
			all = slices.DeleteFunc(all, func(e endpoint) bool {
				return e.path == accounts.SignUpPath || e.path == "register" && e.access == entry
			})
		}
		if !g.Accounts.Asked() {
			all = slices.DeleteFunc(all, func(e endpoint) bool { return e.access == machine })
		}
		if !g.Accounts.RegistersByPasskey() {
			all = slices.DeleteFunc(all, func(e endpoint) bool {
				return e.path == signUpPasskeyPath || strings.HasPrefix(e.path, registerPasskeyPath)
			})
		}
		if !g.Accounts.TakesPasskeys() {
			all = slices.DeleteFunc(all, func(e endpoint) bool {
				return e.path == passkeyPath || strings.HasPrefix(e.path, accountPath+"/passkey") ||
					strings.HasPrefix(e.path, passkeysPath) || strings.HasPrefix(e.path, "login/passkey") || e.path == confirmAskPath
			})
		}
	}
	return all
}

// endpoints is the part of the route table that is always there. The endpoint page of the docs is written from it and from
// accountEndpoints.
func (g *Gateway) endpoints() []endpoint {
	return []endpoint{
		{"GET", "login", document, g.login, "Starts a login: `?return_to=&provider=&prompt=&login_hint=&remember=`. Redirects to the provider; with several of them, shows a page to choose."},
		{"GET", "register", document, g.register, "The same, asking the provider for its sign-up page."},
		{"GET", "callback", answers, g.callback, "The provider's answer, as a query."},
		{"POST", "callback", answers, g.callback, "The provider's answer, as a form (`form_post`)."},
		{"GET", "callback/{provider}", answers, g.callback, "The same of a provider with a redirect URI of its own: where there are several, or by its option `callback`."},
		{"POST", "callback/{provider}", answers, g.callback, "The same as a form."},
		{"GET", "continue", document, g.proceed, "Where a finished login goes on within our own origin, so that the Strict cookie comes along."},
		{"GET", "session", guarded, g.session, "What the page may know of its session, and with `csrf: token` the `csrf_token` that its requests bring. Never an access token, and never an activity."},
		{"POST", "refresh", guarded, g.refresh, "Renews the access token, unless it is younger than 10 s: 204, or 401 when the session is over. Sets the cookies with the token again, where there are such. An activity."},
		{"POST", "token", guarded, g.token, "Only with `tokens.delivery: memory`: `{\"access_token\", \"token_type\", \"expires_in\"}` and nothing else. The body, a form or JSON, may have a `scope`: then the token is good for no more than that. An activity."},
		{"POST", "logout", guarded, g.logout, "Ends the session, `?everywhere=1` all of the person's; `?return_to=` is where the person goes afterwards. Answers a `fetch` with `{\"logout_url\"}`, a form with a redirect. With `csrf: token` a form has the field `_csrf`; with `header` a form cannot sign out."},
		{"GET", "sessions", guarded, g.devices, "The person's own sessions, this one first, then those used last: `{\"sessions\": [{\"id\", \"created\", \"last_seen\", \"browser\", \"system\", \"current\"}]}`, with `\"more\": true` where there are more than 100. An `id` opens nothing; it is what the logs call the session. Never an activity. Not with `session.storage: sealed`: 404 `unlisted`."},
		{"DELETE", "sessions/{id}", guarded, g.endDevice, "Ends one of the person's own sessions: 204, or 404 for whatever is none. Ending this one clears its cookies and revokes its tokens; the tokens of another can only be forgotten."},
		{"GET", "logout/next", document, g.logoutNext, "Goes on to the provider, once: the `logout_url` of a logout by `fetch`."},
		{"GET", "signed-out", public, g.signedOut, "Where the provider sends the person back to after a logout."},
		{"GET", "client.js", public, g.client, "The TypeScript client, compiled."},
	}
}

// Documentation is the tables of endpoints in Markdown: those that are always there, and those that come with accounts.
func Documentation() (always, withAccounts string) {
	g := &Gateway{}
	return inMarkdown(g.endpoints()), inMarkdown(slices.Concat(g.accountEndpoints(), g.mailEndpoints(), g.mailSignInEndpoints()))
}

func inMarkdown(all []endpoint) string {
	var b strings.Builder
	b.WriteString("| request | does |\n| --- | --- |\n")
	for _, e := range all {
		b.WriteString("| `" + e.method + " " + e.path + "` | " + e.doc + " |\n")
	}
	return b.String()
}

func (g *Gateway) mount(metrics *telemetry.Metrics) {
	methods, shares := map[string][]string{}, map[string][]string{} // of all, and of listed origins
	for _, e := range g.table() {
		meter := metrics.Route(g.options.Prefix + e.path)
		methods[e.path] = append(methods[e.path], e.method)
		if e.access.shares() {
			shares[e.path] = append(shares[e.path], e.method)
		}
		g.mux.HandleFunc(e.method+" "+g.options.Prefix+e.path, func(w http.ResponseWriter, r *http.Request) {
			g.serve(w, r, e, meter)
		})
	}
	for path, allowed := range methods {
		g.mux.HandleFunc(g.options.Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			shared := len(shares[path]) > 0
			if shared && guard.IsPreflight(r) {
				g.Guard.Preflight(w, r, shares[path])
				return
			}
			if shared {
				g.Guard.Share(w.Header(), r)
			}
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			g.Answers.Fail(w, r, session.Fail(session.BadMethod, "route", "%s %s", r.Method, path))
		})
	}
	for _, e := range g.atRoot() {
		meter := metrics.Route(e.path)
		g.mux.HandleFunc("GET "+e.path, func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, e, meter) })
	}
	g.mux.Handle("GET "+g.options.Prefix+"assets/", g.Answers.Pages.Assets())
	g.mux.HandleFunc(g.options.Prefix, func(w http.ResponseWriter, r *http.Request) {
		g.Answers.Fail(w, r, session.Fail(session.NotFound, "route", "no such endpoint"))
	})
}

// serve puts on an endpoint what all of its kind need.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, e endpoint, meter *telemetry.RouteMeter) {
	telemetry.Of(r).Route = meter
	if e.access != public {
		guard.APIHeaders(w.Header()) // a page sets its own over them
	}
	if r.ContentLength != 0 { // no endpoint takes a body worth waiting for
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(10 * time.Second))
	}
	if e.access.shares() {
		g.Guard.Share(w.Header(), r)
	}
	if err := g.admit(r, e); err != nil {
		g.Answers.Fail(w, r, err)
		return
	}
	if err := e.serve(w, r); err != nil {
		if session.Over(err) {
			g.Desk.Write(w, r, nil)
		}
		g.Answers.Fail(w, r, err)
	}
}

// admit decides whether a request may reach an endpoint at all.
func (g *Gateway) admit(r *http.Request, e endpoint) error {
	if r.Method == http.MethodHead && (e.access == document || e.access == answers) {
		return session.Fail(session.BadMethod, "admit", "HEAD begins and ends nothing")
	}
	switch e.access {
	case guarded:
		if err := g.Guard.Check(r); err != nil {
			g.record(r, audit.Event{Action: audit.Refused, Reason: string(session.CodeOf(err))})
			return err
		}
		if !g.Guard.WantsToken(r) {
			return nil
		}
		s, err := g.Desk.Look(r.Context(), r)
		if code := session.CodeOf(err); e.path == "logout" && (code == session.None || code == session.Expired || code == session.Ended) {
			return nil // whoever is signed out already may sign out
		}
		if err != nil {
			return err // also where there is no session: one that were found after this would be unchecked
		}
		if err := g.Guard.CheckToken(r, s); err != nil {
			g.record(r, s.Event(audit.Refused, string(session.CodeOf(err))))
			return err
		}
	case entry:
		if err := g.Guard.CheckOrigin(r); err != nil {
			g.record(r, audit.Event{Action: audit.Refused, Reason: string(session.CodeOf(err))})
			return err
		}
	case machine:
		if r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Origin") != "" {
			return session.Fail(session.CrossSite, "admit", "a browser, where only APIs ask")
		}
	case posted:
		return g.admitForm(r)
	case document:
		// An image, a frame or a fetch of another site must not begin anything (L11). Browsers without Fetch Metadata and
		// command-line tools send none of these headers.
		dest := r.Header.Get("Sec-Fetch-Dest")
		if origin.IsPrefetch(r) || dest != "" && dest != "document" || dest == "document" && !origin.IsNavigation(r) {
			return session.Fail(session.CrossSite, "admit", "not a navigation of a person: Sec-Fetch-Dest %q", dest)
		}
	}
	return nil
}

// Serves reports whether a path is ours: those below the prefix, and with accounts where their metadata are looked for.
func (g *Gateway) Serves(path string) bool {
	return strings.HasPrefix(path, g.options.Prefix) ||
		g.Accounts != nil && (path == g.metadataPath() || path == changePasswordPath && !g.Accounts.Foreign())
}

// changePasswordPath is where password managers look for the page to change a password on (W3C, A Well-Known URL for Changing Passwords).
const changePasswordPath = "/.well-known/change-password"

// atRoot are the endpoints at the root of the host, where others look for them. Serves knows them.
func (g *Gateway) atRoot() []endpoint {
	if g.Accounts == nil {
		return nil
	}
	all := []endpoint{{path: g.metadataPath(), serve: g.metadata}}
	if !g.Accounts.Foreign() {
		all = append(all, endpoint{path: changePasswordPath, serve: func(w http.ResponseWriter, r *http.Request) error {
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, g.below("password"), http.StatusFound)
			return nil
		}})
	}
	return all
}

// metadataPath is where the metadata of an issuer with a path are (RFC 8414 §3.1).
func (g *Gateway) metadataPath() string {
	return "/.well-known/oauth-authorization-server" + strings.TrimSuffix(g.options.Prefix, "/")
}

// ServeHTTP serves what Serves says is ours.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.mux.ServeHTTP(w, r) }

// record completes an audit event with what the request tells.
func (g *Gateway) record(r *http.Request, e audit.Event) {
	x := telemetry.Of(r)
	e.Time, e.RequestID, e.Address = time.Now(), x.ID, x.Address
	g.Audit.Record(r.Context(), e)
}

// own makes an absolute URL of an endpoint.
func (g *Gateway) own(path string) *url.URL {
	u, err := url.Parse(g.Own.String() + g.options.Prefix + path)
	if err != nil {
		panic("gateway: " + err.Error()) // origin and prefix were checked at start
	}
	return u
}
