// Package proxy takes requests to the APIs and files behind the gateway: our cookies out, the access token in.
package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// Parts are what the proxy works with.
type Parts struct {
	Own      origin.Origin
	Guard    *guard.Guard
	Desk     *session.Desk
	Delivery session.Delivery
	Answers  *answer.Answers
	Audit    audit.Sink
	Live     *Live          // streams that end with their session
	Verifier Verifier       // for routes that take bearers
	Allow    *session.Allow // who may enter at all
}

// Proxy serves the configured routes. It is an http.Handler for everything outside the gateway's own prefix, within a
// telemetry.Exchange.
type Proxy struct {
	Parts
	routes   table
	none     *telemetry.RouteMeter // requests for which there is no route
	identity map[string]bool       // headers that some route sets: no client's copy of them passes on any route
	mediator session.Mediator      // nil: the session's cookie opens an API
	stall    time.Duration         // bodyStall, but in tests
	vary     []string              // what answers on routes that look at the session depend on

	// Header values that never change, because ours are configured: X-Forwarded-Host and -Proto, Strict-Transport-Security.
	host, proto, transport []string
}

// New checks the routes and returns the proxy over them.
func New(p Parts, routes []Route, metrics *telemetry.Metrics) (*Proxy, error) {
	own, err := url.Parse(p.Own.String())
	if err != nil {
		return nil, err
	}
	transport := http.Header{}
	p.Guard.StrictTransport(transport)
	proxy := &Proxy{
		Parts: p, none: metrics.Route("none"), identity: map[string]bool{}, stall: bodyStall,
		host: []string{own.Host}, proto: []string{own.Scheme}, transport: transport["Strict-Transport-Security"],
	}
	proxy.vary = varyCookie
	if proxy.mediator, _ = p.Delivery.(session.Mediator); proxy.mediator != nil {
		proxy.vary = varyBearer
	}
	if slices.ContainsFunc(routes, func(r Route) bool { return r.Bearer == BearerAccept }) {
		proxy.vary = varyBearer
	}
	for _, r := range routes {
		for header := range r.Identity {
			proxy.identity[http.CanonicalHeaderKey(header)] = true
		}
		mounted, err := proxy.mount(r, metrics)
		if err != nil {
			return nil, err
		}
		if err := proxy.routes.add(mounted); err != nil {
			return nil, err
		}
	}
	return proxy, nil
}

// route is a Route ready to serve.
type route struct {
	Route
	meter   *telemetry.RouteMeter
	methods map[string]bool // nil: any
	shares  []string        // those that a preflight is told; nil: any
	to      destination
}

// destination is where a route leads. s is nil for an anonymous request.
type destination interface {
	serve(x *telemetry.Exchange, r *http.Request, s *session.Session)
}

func (p *Proxy) mount(r Route, metrics *telemetry.Metrics) (*route, error) {
	m := &route{Route: r}
	if m.Auth == "" {
		m.Auth = AuthRequired
	}
	if m.Timeout == 0 {
		m.Timeout = 30 * time.Second
	}
	if m.MaxBody == 0 {
		m.MaxBody = 32 << 20
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	if p.Answers.Prefix != "" && strings.HasPrefix(m.Path, p.Answers.Prefix) {
		return nil, fmt.Errorf("route %q: requests below %s never get there, they are the gateway's own", m.Path, p.Answers.Prefix)
	}
	m.meter = metrics.Route(r.Path)
	if len(r.Methods) > 0 {
		m.methods, m.shares = set(r.Methods...), r.Methods
	}
	var err error
	if m.Files != "" {
		m.shares = []string{http.MethodGet, http.MethodHead}
		m.to, err = p.newFolder(m)
	} else {
		m.to, err = p.newUpstream(m)
	}
	return m, err
}

// ServeHTTP sends a request along its route. What is refused reaches neither the upstream nor the provider (X10).
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := telemetry.Of(r)
	x.Route = p.none
	x.BeforeHeaders = func(http.Header) { p.finish(x, r, nil, false) }
	if r.Method == http.MethodConnect { // it has no path
		p.badMethod(x, r, anyRoute)
		return
	}
	if !origin.CleanPath(r) { // two servers could read it differently (P5)
		p.Answers.Fail(x, r, session.Fail(session.BadRequest, "route", "the path is not in its plain form"))
		return
	}
	route, bare := p.routes.match(r)
	if route == nil {
		p.Answers.Fail(x, r, session.Fail(session.NotFound, "route", "no route for this path"))
		return
	}
	x.Route = route.meter
	if p.preflight(x, r, route.shares) {
		return
	}
	if !route.takes(r.Method) {
		p.badMethod(x, r, route)
		return
	}
	if bare {
		addSlash(x, r)
		return
	}
	if route.Auth == AuthOff {
		route.to.serve(x, r, nil)
		return
	}
	if route.Bearer == BearerAccept {
		switch grant, err := p.bearing(r, route); {
		case err != nil:
			p.turnAway(x, r, err)
			return
		case grant != nil:
			route.to.(*upstream).serveBearer(x, r, grant) // check wants one
			return
		}
	}
	s, err := p.attend(r, route)
	switch {
	case err != nil:
		p.guarded(x.Header())
		route.challenge(x.Header(), r, err)
		p.turnAway(x, r, err)
		return
	case s != nil:
		x.Session = s.LogID
	case p.Answers.Bounce(x, r): // an optional route, and nobody signed in as far as this request can tell
		return
	}
	route.to.serve(x, r, s)
}

// takes reports whether a route is for a method. TRACE would show script what we add to a request, CONNECT is for forward
// proxies (X6).
func (m *route) takes(method string) bool {
	if method == http.MethodTrace || method == http.MethodConnect {
		return false
	}
	return m.methods == nil || m.methods[method]
}

// anyRoute stands for a route that takes whatever can be taken, from who has a session.
var anyRoute = &route{Route: Route{Auth: AuthRequired}}

func (p *Proxy) badMethod(x *telemetry.Exchange, r *http.Request, m *route) {
	allow := "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	if m.methods != nil {
		allow = strings.Join(m.Methods, ", ")
	}
	x.Header().Set("Allow", allow)
	p.Answers.Fail(x, r, session.Fail(session.BadMethod, "route "+m.Path, "%s is not among the route's methods", r.Method))
}

// addSlash sends a reader of /app to the route /app/, so that relative links work.
func addSlash(w http.ResponseWriter, r *http.Request) {
	to := url.URL{Path: r.URL.Path + "/", RawQuery: r.URL.RawQuery}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Location", to.String())
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// attend finds the session of a request and decides whether it may use it here. It returns nil for an anonymous request on a
// route where that is fine.
func (p *Proxy) attend(r *http.Request, route *route) (*session.Session, error) {
	if err := p.Guard.Check(r); err != nil {
		p.refused(r, nil, err)
		return nil, err
	}
	s, err := p.use(r)
	// Whoever brings a token does not mean to be anonymous: it is told that the token is no longer good.
	anonymous := route.Auth == AuthOptional && !(p.mediates(route) && len(r.Header["Authorization"]) > 0)
	if err != nil {
		if anonymous && signedOut(err) {
			return nil, nil
		}
		return nil, err
	}
	if p.mediates(route) {
		if err := p.mediator.Admit(r, s); err != nil {
			if anonymous {
				return nil, nil
			}
			return nil, err
		}
	}
	if !p.Allow.Permits(&s.Grant) || !route.Allow.Permits(&s.Grant) {
		err := session.Fail(session.NotAllowed, "route "+route.Path, "the rule allow does not let this person in")
		p.refused(r, s, err)
		return nil, err
	}
	return s, nil
}

// use takes the session of a request, once it has brought that session's CSRF token where one is wanted: what is refused counts as
// nothing, and renews nothing (X10).
func (p *Proxy) use(r *http.Request) (*session.Session, error) {
	if p.Guard.WantsToken(r) {
		s, err := p.Desk.Look(r.Context(), r)
		if err != nil {
			return nil, err // also where there is no session: one that were found after this would be unchecked
		}
		// The token may be in a form that takes its time to come.
		control := http.NewResponseController(telemetry.Of(r))
		_ = control.SetReadDeadline(time.Now().Add(10 * time.Second))
		if err := p.Guard.CheckToken(r, s); err != nil {
			p.refused(r, s, err)
			return nil, err
		}
		_ = control.SetReadDeadline(time.Time{})
	}
	return p.Desk.Use(r.Context(), r)
}

// mediates reports whether the cookie alone does not open a route. It does open files: the browser itself asks for them, and can
// bring nothing else; they hold no token and change nothing.
func (p *Proxy) mediates(route *route) bool { return p.mediator != nil && route.Files == "" }

// preflight answers a CORS preflight and reports whether r was one. It is not behind the guard, which would ask for a session's
// cookie or a header, and browsers send neither; nor is it shared, being no answer for scripts.
func (p *Proxy) preflight(x *telemetry.Exchange, r *http.Request, methods []string) bool {
	if !guard.IsPreflight(r) {
		return false
	}
	x.BeforeHeaders = nil
	p.Guard.Preflight(x, r, methods)
	return true
}

// turnAway answers a request that may not pass, and clears the cookies of a session that ended because of it.
func (p *Proxy) turnAway(w http.ResponseWriter, r *http.Request, err error) {
	if session.Over(err) {
		p.Desk.Write(w, r, nil)
	}
	p.Answers.Fail(w, r, err)
}

// signedOut reports whether err means no more than that nobody is signed in.
func signedOut(err error) bool {
	switch session.CodeOf(err) {
	case session.None, session.Expired, session.Ended, session.GrantOver:
		return true
	}
	return false
}

func (p *Proxy) refused(r *http.Request, s *session.Session, err error) {
	reason := string(session.CodeOf(err))
	e := audit.Event{Time: time.Now(), Action: audit.Refused, Reason: reason}
	if s != nil {
		e = s.Event(audit.Refused, reason)
	}
	x := telemetry.Of(r)
	e.RequestID, e.Address = x.ID, x.Address
	p.Audit.Record(r.Context(), e)
}

// Require lets requests with a session through to next, in a server that embeds the gateway. What goes for a route that needs
// a session goes here: guard, allow, renewal, cookies, the token in, and no cache.
func (p *Proxy) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := telemetry.Of(r)
		x.BeforeHeaders = func(http.Header) { p.finish(x, r, nil, false) }
		if p.preflight(x, r, nil) {
			return
		}
		if !anyRoute.takes(r.Method) {
			p.badMethod(x, r, anyRoute)
			return
		}
		s, err := p.attend(r, anyRoute)
		if err != nil {
			p.guarded(x.Header())
			p.turnAway(x, r, err)
			return
		}
		x.Session = s.LogID
		x.BeforeHeaders = func(http.Header) { p.finish(x, r, s, false) }
		within := r.WithContext(session.NewContext(r.Context(), s))
		within.Header = r.Header.Clone()
		// Next may be a proxy itself, or check the token as an API of its own does: it gets what an upstream gets.
		p.Answers.Jar.Strip(within.Header)
		if err := p.Delivery.Outbound(within, s); err != nil {
			delete(within.Header, "Authorization")
		}
		next.ServeHTTP(x, within)
		if x.Status == 0 { // the server would answer 200 by itself, past the exchange and without its headers
			x.WriteHeader(http.StatusOK)
		}
	})
}
