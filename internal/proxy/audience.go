package proxy

import (
	"context"

	"github.com/cloakroom-go/cloakroom/session"
)

// address gets the token of the session for the audience that the route names, if it names one.
func (c *call) address(ctx context.Context) (err error) {
	if audience := c.upstream.route.Audience; audience != "" && c.session != nil {
		c.addressed, err = c.upstream.proxy.Desk.For(ctx, c.session, audience)
	}
	return err
}

// outbound is the session as the upstream is to see it, nil for none.
func (c *call) outbound() *session.Session {
	if c.addressed != nil {
		return c.addressed
	}
	return c.session
}

// renew gets the next token after the one that was sent, and reports whether there is one.
func (c *call) renew(ctx context.Context) (bool, error) {
	desk, before := c.upstream.proxy.Desk, c.outbound()
	if before.Grant.Tokens.Access != c.session.Grant.Tokens.Access { // it is for this API alone
		next, err := desk.RenewFor(ctx, c.session, before, c.upstream.route.Audience)
		if err != nil {
			return false, err
		}
		c.addressed = next
		return next != before, nil
	}
	renewed, err := desk.Renew(ctx, c.session)
	if err != nil || renewed.Grant.Tokens.Access == before.Grant.Tokens.Access {
		return false, err
	}
	c.session = renewed // the browser gets what works
	return true, c.address(ctx)
}
