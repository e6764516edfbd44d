package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
)

// Narrow asks the provider for an access token of s that is good for no more than scope: names separated by spaces, all of them
// granted to s. Nothing of it is kept but the refresh token that comes in the place of the old one, whose own scope stays what it was
// (RFC 6749 §6). It holds the lease, as a renewal does: no two requests ever bring the same refresh token.
//
// BadRequest: there is no refresh token, or the provider does not know the scope. ProviderLied: it gave more than was asked for.
// Else the errors are those of [Renewer.Renew].
func (n *Renewer) Narrow(ctx context.Context, s *Session, scope string) (Tokens, error) {
	if s.Grant.Tokens.Refresh == "" {
		return Tokens{}, Fail(BadRequest, "narrow scope", "there is no refresh token to get a narrower access token with")
	}
	type answer struct {
		tokens Tokens
		err    error
	}
	answered := make(chan answer, 1)
	n.mu.Lock()
	switch err := n.breakers[s.Grant.Provider].open(s.Grant.Provider); {
	case n.closed:
		answered <- answer{err: &Error{Code: Unavailable, Op: "narrow scope", Err: errors.New("shutting down")}}
	case err != nil:
		answered <- answer{err: err}
	default:
		n.running.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), leaseTime+storeBudget)
			defer cancel()
			tokens, err := n.narrow(ctx, s, scope)
			answered <- answer{tokens, err}
		})
	}
	n.mu.Unlock()
	select {
	case a := <-answered:
		return a.tokens, a.err
	case <-ctx.Done():
		return Tokens{}, &Error{Code: ProviderDown, Op: "wait for a narrower token", Err: ctx.Err()}
	}
}

func (n *Renewer) narrow(ctx context.Context, s *Session, scope string) (Tokens, error) {
	provider, ok := n.provider(s.Grant.Provider)
	if !ok {
		return Tokens{}, n.end(ctx, s, Fail(GrantOver, "narrow scope", "provider %q is no longer configured", s.Grant.Provider))
	}
	held, err := n.lease(ctx, s)
	for err == nil && held.Life.Renewed.After(s.Life.Renewed) { // not leased: somebody has renewed it, and its refresh token is another
		s = held
		held, err = n.lease(ctx, s)
	}
	if err != nil {
		return Tokens{}, err
	}
	tokens, newest, err := n.refresh(ctx, provider, held, Want{Scope: scope})
	switch {
	case err != nil:
		return Tokens{}, err
	case newest != nil:
		return Tokens{}, Fail(Conflict, "narrow scope", "it was renewed at the same time")
	}
	// Whatever came of the access token: the old refresh token may be spent.
	if tokens.Refresh == held.Grant.Tokens.Refresh {
		n.release(ctx, held)
	} else if _, err := n.store(ctx, provider, held, tokens, func(c *Session, _ time.Time) {
		c.Grant.Tokens.Refresh, c.Grant.Tokens.RefreshExpires = tokens.Refresh, tokens.RefreshExpires
	}); err != nil {
		return Tokens{}, err
	}
	if !within(tokens.Scope, scope) {
		e := Fail(ProviderLied, "narrow scope", "the provider gave a wider token than was asked for")
		e.Hint = "the provider does not narrow a scope at refresh (RFC 6749 §6); let the page ask for the whole token"
		return Tokens{}, e
	}
	n.record(ctx, audit.Narrowed, held, "")
	return tokens, nil
}

// within reports whether every name of scope is among those of wide.
func within(scope, wide string) bool {
	names := strings.Fields(wide)
	return !slices.ContainsFunc(strings.Fields(scope), func(name string) bool { return !slices.Contains(names, name) })
}
