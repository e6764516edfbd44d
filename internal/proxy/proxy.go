// Package proxy takes requests to the APIs and files behind the gateway: our cookies out, the access token in.
package proxy

import (
	"net/http"
	"net/url"
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
	Allow    *session.Allow // who may enter at all
}

// Proxy serves the configured routes. It is an http.Handler for everything outside the gateway's own prefix.
type Proxy struct {
	Parts
	routes   table
	none     *telemetry.RouteMeter // requests for which there is no route
	identity map[string]bool       // headers that some route sets: no client's copy of them passes on any route
	host     []string              // X-Forwarded-Host and -Proto: ours are configured, so they never change
	proto    []string
}

// New checks the routes and returns the proxy over them.
func New(p Parts, routes []Route, metrics *telemetry.Metrics) (*Proxy, error) {
	own, _ := url.Parse(p.Own.String())
	proxy := &Proxy{
		Parts: p, none: metrics.Route("none"), identity: map[string]bool{},
		host: []string{own.Host}, proto: []string{own.Scheme},
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
	allow   string          // header for 405
	forward http.Handler
}

func (p *Proxy) mount(r Route, metrics *telemetry.Metrics) (*route, error) {
	m := &route{Route: r, meter: metrics.Route(r.Path)}
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
	if len(r.Methods) > 0 {
		m.methods = make(map[string]bool, len(r.Methods))
		for _, method := range r.Methods {
			m.methods[strings.ToUpper(method)] = true
		}
		m.allow = strings.ToUpper(strings.Join(r.Methods, ", "))
	}
	var err error
	if m.Files != "" {
		m.forward, err = p.newFiles(m)
	} else {
		m.forward, err = p.newUpstream(m)
	}
	return m, err
}

// ServeHTTP sends a request along its route. What is refused reaches neither the upstream nor the provider (X10).
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := telemetry.Of(r)
	route, err := p.match(r)
	if err != nil {
		x.Route = p.none
		p.Answers.Fail(w, r, err)
		return
	}
	x.Route = route.meter
	if route.methods != nil && !route.methods[r.Method] {
		w.Header().Set("Allow", route.allow)
		p.Answers.Fail(w, r, session.Fail(session.BadMethod, "route", "%s is not among the route's methods", r.Method))
		return
	}
	if route.Auth == AuthOff {
		p.Guard.StrictTransport(w.Header())
		route.forward.ServeHTTP(w, r)
		return
	}
	s, err := p.attend(r, route)
	if err != nil {
		p.Answers.Fail(w, r, err)
		return
	}
	if s == nil { // an optional route, and nobody signed in
		if !p.Answers.Bounce(w, r) {
			route.forward.ServeHTTP(w, r)
		}
		return
	}
	x.Session = s.LogID
	route.forward.ServeHTTP(w, r.WithContext(session.NewContext(r.Context(), s)))
}

// match finds the route of a request. A path that two servers could read differently has none (P5).
func (p *Proxy) match(r *http.Request) (*route, error) {
	if r.Method == http.MethodTrace || r.Method == http.MethodConnect {
		return nil, session.Fail(session.BadMethod, "route", "%s", r.Method)
	}
	if !origin.CleanPath(r) {
		return nil, session.Fail(session.BadRequest, "route", "the path is not in its plain form")
	}
	if m := p.routes.match(r.URL.Path); m != nil {
		return m, nil
	}
	return nil, session.Fail(session.NotFound, "route", "no route for this path")
}

// attend finds the session of a request and decides whether it may use it here. It returns nil for an anonymous request on a
// route where that is fine.
func (p *Proxy) attend(r *http.Request, route *route) (*session.Session, error) {
	if err := p.Guard.Check(r); err != nil {
		p.refused(r, nil, err)
		return nil, err
	}
	s, err := p.Desk.Use(r.Context(), r)
	if err != nil {
		if route.Auth == AuthOptional && signedOut(err) {
			return nil, nil
		}
		return nil, err
	}
	if !p.Allow.Permits(&s.Grant) || !route.Route.Allow.Permits(&s.Grant) {
		err := session.Fail(session.NotAllowed, "route "+route.Path, "the rule allow does not let this person in")
		p.refused(r, s, err)
		return nil, err
	}
	return s, nil
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
	e := audit.Event{Time: time.Now(), Action: audit.Refused, Reason: string(session.CodeOf(err)), Address: p.Answers.Address(r)}
	if x := telemetry.Of(r); x != nil {
		e.RequestID = x.ID
	}
	if s != nil {
		e.Session, e.Provider, e.Issuer, e.Subject = s.LogID, s.Grant.Provider, s.Grant.Issuer, s.Grant.Subject
	}
	p.Audit.Record(r.Context(), e)
}

// Require lets requests with a session through to next, in a server that embeds the gateway. What goes for a route that needs
// a session goes here: guard, allow, renewal, cookies, and no cache.
func (p *Proxy) Require(next http.Handler) http.Handler {
	required := &route{Route: Route{Auth: AuthRequired}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodTrace || r.Method == http.MethodConnect {
			p.Answers.Fail(w, r, session.Fail(session.BadMethod, "require", "%s", r.Method))
			return
		}
		s, err := p.attend(r, required)
		if err != nil {
			p.Answers.Fail(w, r, err)
			return
		}
		x := telemetry.Of(r)
		x.Session = s.LogID
		x.BeforeHeaders = func(h http.Header) { p.finish(x, r, h, s) }
		next.ServeHTTP(w, r.WithContext(session.NewContext(r.Context(), s)))
	})
}

// finish sets the headers of an answer that was made for a session, right before they go out: cookies by what is known then,
// and no cache unless the application said so itself.
func (p *Proxy) finish(x *telemetry.Exchange, r *http.Request, h http.Header, s *session.Session) {
	p.Guard.StrictTransport(h)
	if s == nil {
		return
	}
	if len(h["Cache-Control"]) == 0 {
		h["Cache-Control"] = noStore
	}
	if len(h["Vary"]) == 0 {
		h["Vary"] = varyCookie
	} else {
		h["Vary"] = append(h["Vary"][:len(h["Vary"]):len(h["Vary"])], "Cookie")
	}
	p.Desk.Write(x, r, s)
	p.Delivery.Deliver(x, r, s)
}

// Shared by all answers; nothing appends to them in place.
var (
	noStore    = []string{"no-store"}
	varyCookie = []string{"Cookie"}
)
