package session

import (
	"context"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
)

// Limits of what is remembered of access tokens for one API.
const (
	apiTokensMemory = 64 << 20         // bytes
	apiTokensAge    = 15 * time.Minute // unused; it may be twice that
)

// tokenKey says which session an access token is of, and which API it is for; "" is the session's own token.
type tokenKey struct {
	id       ID
	audience string
}

// apiToken is an access token for one API, or that the session's own token is for it.
type apiToken struct {
	s       *Session  // as that API is to see it: with the access token alone, and when it came as Life.Renewed. nil: the session's own token will do
	own     string    // the session's own access token when this one came
	renewed time.Time // when the own one had come
}

// fits reports whether t may still be used for s. With its next own access token a session has the next ones for others as well, which
// say the same of the person. A request may also come with a session older than what is remembered.
func (t *apiToken) fits(s *Session) bool {
	return t.own == s.Grant.Tokens.Access || t.s != nil && t.renewed.After(s.Life.Renewed)
}

// For returns s as an upstream is to see it that goes by the name of audience: its access token is for that one, and for no other that
// a route names (P8). It is the session's own where that will do. Else the provider is asked once for each audience and each access token
// of the session's, however many wait for it, and what it gave is renewed as [Renewer.Fresh] does. It is in memory alone.
//
// ProviderRefused: the provider does not make tokens for this audience; ProviderLied: it made one for somebody else. Else the errors are
// those of [Renewer.Renew]. There is never another token instead.
func (n *Renewer) For(ctx context.Context, s *Session, audience string) (*Session, error) {
	const op = "get a token for one API"
	now, key := time.Now(), tokenKey{s.ID, audience}
	t, ok := n.apiTokens.Get(key, now)
	if ok && t.fits(s) {
		switch {
		case t.s == nil:
			return s, nil
		case !t.s.due(now):
			return t.s, nil
		}
		return n.join(s, audience, t.s).relieve(ctx, t.s, t.s.spent(now))
	}
	provider, _ := n.provider(s.Grant.Provider)
	addresser, can := provider.(Addresser)
	switch {
	case !slices.Contains(n.audiences, audience):
		return nil, Fail(Internal, op, "no route names %q", audience)
	case can && n.meant(addresser.Addressees(s.Grant.Tokens.Access, Want{}), audience):
		n.apiTokens.Put(key, apiToken{own: s.Grant.Tokens.Access, renewed: s.Life.Renewed}, weightOf(audience, s), now)
		return s, nil
	case s.Grant.Tokens.Refresh == "":
		e := Fail(ProviderRefused, op, "provider %q gave no refresh token, with which to ask for a token for %q", s.Grant.Provider, audience)
		e.Hint = "have the provider grant offline_access; or make the audience of the route that of the session's own token"
		return nil, e
	}
	return n.join(s, audience, t.s).wait(ctx, s)
}

// RenewFor renews s as For returned it, because the API says that its access token is not good (RFC 6750 §3.1). It does nothing if that
// is younger than MinimumAge.
func (n *Renewer) RenewFor(ctx context.Context, s, refused *Session, audience string) (*Session, error) {
	t, ok := n.apiTokens.Get(tokenKey{s.ID, audience}, time.Now())
	switch {
	case ok && t.s != nil && t.s.Grant.Tokens.Access != refused.Grant.Tokens.Access && t.fits(s):
		return t.s, nil // another request was first
	case time.Since(refused.Life.Renewed) < MinimumAge:
		return refused, nil
	}
	return n.join(s, audience, t.s).wait(ctx, s)
}

// meant reports whether a token for these is for audience, and for no other API behind a route: one of them could go on to the other
// with it.
func (n *Renewer) meant(addressees []string, audience string) bool {
	other := func(name string) bool { return name != audience && slices.Contains(n.audiences, name) }
	return slices.Contains(addressees, audience) && !slices.ContainsFunc(addressees, other)
}

// obtain gets an access token of s for audience from the provider, and remembers it.
func (n *Renewer) obtain(ctx context.Context, s *Session, audience string) (*Session, error) {
	want := Want{Audience: audience}
	tokens, held, err := n.exchange(ctx, s, want)
	if err != nil {
		return nil, err
	}
	seen := &Session{ID: held.ID, LogID: held.LogID, Grant: held.Grant, Life: held.Life}
	seen.Grant.Claims = nil
	seen.Grant.Tokens = Tokens{Access: tokens.Access, Type: tokens.Type, Scope: tokens.Scope, Expires: tokens.Expires}
	seen.Life.Renewed = time.Now()
	seen.Bearer = BearerOf(seen)
	provider, _ := n.provider(s.Grant.Provider)
	addresser, can := provider.(Addresser)
	if !can || !n.meant(addresser.Addressees(tokens.Access, want), audience) || !n.keep(held, seen, audience) {
		e := Fail(ProviderLied, "get a token for one API", "it was to be for %q alone, and is for others", audience)
		e.Hint = "the provider does not go by resource or audience at refresh (RFC 8707 §2.2): have it do so, or let one audience do for all routes"
		return nil, e
	}
	n.record(ctx, audit.Narrowed, held, audience)
	return seen, nil
}

// keep remembers what For returned for s, unless its access token is what s has for something else: of an opaque one nothing else tells.
func (n *Renewer) keep(s, seen *Session, audience string) bool {
	access, now := seen.Grant.Tokens.Access, seen.Life.Renewed
	n.mu.Lock() // of two that come with the same token, one is first
	defer n.mu.Unlock()
	elsewhere := access == s.Grant.Tokens.Access || slices.ContainsFunc(n.audiences, func(name string) bool {
		e, ok := n.apiTokens.Get(tokenKey{s.ID, name}, now)
		return ok && name != audience && e.s != nil && e.s.Grant.Tokens.Access == access
	})
	if !elsewhere {
		n.apiTokens.Put(tokenKey{s.ID, audience}, apiToken{seen, s.Grant.Tokens.Access, s.Life.Renewed}, weightOf(audience, s, seen), now)
	}
	return !elsewhere
}

// weightOf is about how many bytes an entry takes.
func weightOf(audience string, of ...*Session) int {
	weight := 1024 + len(audience)
	for _, s := range of {
		weight += 2 * len(s.Grant.Tokens.Access)
	}
	return weight
}

// forget takes what is remembered of a session that has ended, for its tokens to be revoked.
func (n *Renewer) forget(s *Session) (tokens []Tokens) {
	for _, audience := range n.audiences {
		if t, ok := n.apiTokens.Take(tokenKey{s.ID, audience}); ok && t.s != nil {
			tokens = append(tokens, t.s.Grant.Tokens)
		}
	}
	return tokens
}
