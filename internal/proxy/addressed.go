package proxy

import (
	"context"

	"github.com/cloakroom-go/cloakroom/session"
)

// aim gets the token of the session for the audience that the route names, if it names one.
func (c *call) aim(ctx context.Context) (err error) {
	if audience := c.upstream.route.Audience; audience != "" && c.session != nil {
		c.seen, err = c.upstream.proxy.Desk.For(ctx, c.session, audience)
	}
	return err
}

// sent is the session whose token goes upstream, nil for none.
func (c *call) sent() *session.Session {
	if c.seen != nil {
		return c.seen
	}
	return c.session
}

// renew gets the next token after the one that was sent, and reports whether there is one.
func (c *call) renew(ctx context.Context) (bool, error) {
	desk, before := c.upstream.proxy.Desk, c.sent()
	if c.seen != nil && c.seen.Grant.Tokens.Access != c.session.Grant.Tokens.Access {
		next, err := desk.RenewFor(ctx, c.session, c.seen, c.upstream.route.Audience)
		if err == nil {
			c.seen = next
		}
		return c.sent() != before, err
	}
	renewed, err := desk.Renew(ctx, c.session)
	if err != nil || renewed.Grant.Tokens.Access == before.Grant.Tokens.Access {
		return false, err
	}
	c.session = renewed // the browser gets what works
	return true, c.aim(ctx)
}
