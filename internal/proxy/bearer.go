package proxy

import (
	"context"
	"net/http"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// Bearer says whether a route takes access tokens that come without a session.
type Bearer string

// BearerAccept opens a route to native apps and machines that bring an access token of their own. The zero value does not.
const BearerAccept Bearer = "accept"

// Verifier says whether an access token that came without a session is good for an audience. The grant is who it is for; its Tokens
// hold the token, and when it expires. TokenInvalid: it is not good; ProviderDown and its likes: nobody can say now.
type Verifier interface {
	Verify(ctx context.Context, token, audience string) (*session.Grant, error)
}

// bearing returns whose token a request brings, nil if it brings none and has to come with a session. Never both: a token of one
// person and a cookie of another would be two answers to the question who it is.
func (p *Proxy) bearing(r *http.Request, route *route) (*session.Grant, error) {
	const op = "take bearer"
	token, err := issuer.BearerOf(r.Header)
	switch {
	case err != nil || token == "":
		return nil, err
	case p.Answers.Jar.Carries(r) && p.mediates(route):
		return nil, nil // a page that has its session's token
	case p.Answers.Jar.Carries(r):
		return nil, session.Fail(session.BadRequest, op, "a bearer, and a cookie of ours beside it")
	}
	// The guard is not asked. It is there because browsers add cookies to requests of anyone's making; they add no Authorization, and
	// native apps and machines send none of the headers that it goes by.
	grant, err := p.Verifier.Verify(r.Context(), token, route.Audience)
	if err != nil {
		if session.CodeOf(err) == session.TokenInvalid {
			p.refused(r, nil, err)
		}
		return nil, err
	}
	if !p.Allow.Permits(grant) || !route.Allow.Permits(grant) {
		err := session.Fail(session.NotAllowed, "route "+route.Path, "the rule allow does not let the holder of this token in")
		p.refused(r, &session.Session{Grant: *grant}, err)
		return nil, err
	}
	return grant, nil
}

// serveBearer forwards one request that brings its own token, which goes upstream as it came.
func (u *upstream) serveBearer(x *telemetry.Exchange, r *http.Request, grant *session.Grant) {
	c := &call{Exchange: x, upstream: u, in: r, bearer: grant}
	if !c.takeBody() {
		return
	}
	if isSocket(r) {
		c.serveSocket()
		return
	}
	c.forward(r.Context())
}

// whose is the grant that a call goes upstream with, nil for an anonymous one.
func (c *call) whose() *session.Grant {
	if c.session != nil {
		return &c.session.Grant
	}
	return c.bearer
}

// watch returns a context that ends when the call may no longer stream: with its session, with its token, or with the gateway.
// TooMany: of those who have neither, too many stream already.
func (c *call) watch(ctx context.Context) (_ context.Context, end func(), err error) {
	live := c.upstream.proxy.Live
	switch {
	case c.session != nil:
		ctx, end = live.Watch(ctx, c.session)
	case c.bearer != nil:
		ctx, end = live.Until(ctx, c.bearer.Tokens.Expires)
	default:
		return live.Admit(ctx, c.Address)
	}
	return ctx, end, nil
}

// challenge tells whoever brings nothing that a bearer would do (RFC 6750 §3).
func (m *route) challenge(h http.Header, r *http.Request, err error) {
	if m.Bearer == BearerAccept && session.CodeOf(err) == session.None && !origin.IsNavigation(r) {
		h.Set("WWW-Authenticate", "Bearer")
	}
}
