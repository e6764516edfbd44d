package session

import (
	"context"
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
	err := n.begin(s.Grant.Provider, func(ctx context.Context) {
		tokens, err := n.narrow(ctx, s, scope)
		answered <- answer{tokens, err}
	})
	n.mu.Unlock()
	if err != nil {
		return Tokens{}, err
	}
	select {
	case a := <-answered:
		return a.tokens, a.err
	case <-ctx.Done():
		return Tokens{}, &Error{Code: ProviderDown, Op: "wait for a narrower token", Err: ctx.Err()}
	}
}

func (n *Renewer) narrow(ctx context.Context, s *Session, scope string) (Tokens, error) {
	tokens, held, err := n.exchange(ctx, s, Want{Scope: scope})
	if err != nil {
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

// exchange asks the provider for tokens other than those of s, with the lease in hand, and keeps the refresh token that comes with them.
// held is s as it was when it was leased.
func (n *Renewer) exchange(ctx context.Context, s *Session, want Want) (tokens Tokens, held *Session, err error) {
	const op = "get another access token"
	provider, ok := n.provider(s.Grant.Provider)
	if !ok {
		return Tokens{}, nil, n.end(ctx, s, Fail(GrantOver, op, "provider %q is no longer configured", s.Grant.Provider))
	}
	held, err = n.lease(ctx, s)
	for err == nil && held.Life.Renewed.After(s.Life.Renewed) { // not leased: somebody has renewed it, and its refresh token is another
		s = held
		held, err = n.lease(ctx, s)
	}
	if err != nil {
		return Tokens{}, nil, err
	}
	tokens, newest, err := n.refresh(ctx, provider, held, want)
	switch {
	case err != nil:
		return Tokens{}, nil, err
	case newest != nil:
		return Tokens{}, nil, Fail(Conflict, op, "it was renewed at the same time")
	}
	// Whatever came of the access token: the old refresh token may be spent.
	if tokens.Refresh == held.Grant.Tokens.Refresh {
		if err = n.release(ctx, held); gone(err) {
			n.revoke(provider, held, tokens, "ended while it got another token")
			return Tokens{}, nil, err
		}
		return tokens, held, nil
	}
	_, err = n.store(ctx, provider, held, tokens, func(c *Session, _ time.Time) {
		c.Grant.Tokens.Refresh, c.Grant.Tokens.RefreshExpires = tokens.Refresh, tokens.RefreshExpires
	})
	return tokens, held, err
}

// within reports whether every name of scope is among those of wide.
func within(scope, wide string) bool {
	names := strings.Fields(wide)
	return !slices.ContainsFunc(strings.Fields(scope), func(name string) bool { return !slices.Contains(names, name) })
}
