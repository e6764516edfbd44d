package session

import (
	"context"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
)

// Limits of what is remembered of access tokens for one API: bytes, and how long one stays that nobody uses, twice at most.
const (
	mostAddressed = 64 << 20
	addressedAge  = 15 * time.Minute
)

// address is whose access token it is, and which API it is for; "" is the session's own token.
type address struct {
	id       ID
	audience string
}

// addressed is an access token for one API.
type addressed struct {
	s    *Session // as that API is to see it: with the access token alone, and when it came as Life.Renewed. nil: the session's own token will do
	from string   // the session's own access token at that time
	at   time.Time
}

// fits reports whether e is of s as it is now: with the next access token of its own, a session has the next ones for others, which say
// the same of the person. A request may also come with a session older than what is remembered.
func (e *addressed) fits(s *Session) bool {
	return e.from == s.Grant.Tokens.Access || e.s != nil && e.at.After(s.Life.Renewed)
}

// Audiences are whom an access token can be asked for by [Renewer.For]. Call it before the renewer is used.
func (n *Renewer) Audiences(names []string) { n.audiences = names }

// For returns s as an upstream is to see it that goes by the name of audience: its access token is for that one, and for no other that
// a route names (P8). It is the session's own where that will do. Else the provider is asked once for each audience and each access token
// of the session's, however many wait for it, and what it gave is renewed as [Renewer.Fresh] does. It is in memory alone.
//
// ProviderRefused: the provider does not make tokens for this audience; ProviderLied: it made one for somebody else. Else the errors are
// those of [Renewer.Renew]. There is never another token instead.
func (n *Renewer) For(ctx context.Context, s *Session, audience string) (*Session, error) {
	const op = "get a token for one API"
	now, key := time.Now(), address{s.ID, audience}
	if e, ok := n.addressed.Get(key, now); ok && e.fits(s) {
		switch {
		case e.s == nil:
			return s, nil
		case !e.s.due(now):
			return e.s, nil
		}
		return n.join(s, audience).relieve(ctx, e.s, e.s.spent(now))
	}
	provider, _ := n.provider(s.Grant.Provider)
	addresser, can := provider.(Addresser)
	switch {
	case !slices.Contains(n.audiences, audience):
		return nil, Fail(Internal, op, "no route names %q", audience)
	case can && n.meant(addresser.Addressees(s.Grant.Tokens.Access, Want{}), audience):
		n.addressed.Put(key, addressed{from: s.Grant.Tokens.Access, at: s.Life.Renewed}, weightOf(audience, s), now)
		return s, nil
	case s.Grant.Tokens.Refresh == "":
		e := Fail(ProviderRefused, op, "provider %q gave no refresh token, with which to ask for a token for %q", s.Grant.Provider, audience)
		e.Hint = "have the provider grant offline_access; or make the audience of the route that of the session's own token"
		return nil, e
	}
	return n.join(s, audience).wait(ctx, s)
}

// RenewFor renews s as For returned it, because the API says that its access token is not good (RFC 6750 §3.1). It does nothing if that
// is younger than MinimumAge.
func (n *Renewer) RenewFor(ctx context.Context, s, refused *Session, audience string) (*Session, error) {
	e, ok := n.addressed.Get(address{s.ID, audience}, time.Now())
	switch {
	case ok && e.s != nil && e.s.Grant.Tokens.Access != refused.Grant.Tokens.Access && e.fits(s):
		return e.s, nil // another request was first
	case time.Since(refused.Life.Renewed) < MinimumAge:
		return refused, nil
	}
	return n.join(s, audience).wait(ctx, s)
}

// meant reports whether a token for these is for audience, and for no other API behind a route: one of them could go on to the other
// with it.
func (n *Renewer) meant(addressees []string, audience string) bool {
	other := func(name string) bool { return name != audience && slices.Contains(n.audiences, name) }
	return slices.Contains(addressees, audience) && !slices.ContainsFunc(addressees, other)
}

// address gets an access token of s for audience from the provider, and remembers it.
func (n *Renewer) address(ctx context.Context, s *Session, audience string) (*Session, error) {
	want := Want{Audience: audience}
	tokens, held, err := n.exchange(ctx, s, want)
	if err != nil {
		return nil, err
	}
	provider, _ := n.provider(s.Grant.Provider)
	if addresser, can := provider.(Addresser); !can || !n.meant(addresser.Addressees(tokens.Access, want), audience) {
		e := Fail(ProviderLied, "get a token for one API", "it was to be for %q alone, and is for others", audience)
		e.Hint = "the provider does not go by resource or audience at refresh (RFC 8707 §2.2): have it do so, or let one audience do for all routes"
		return nil, e
	}
	now := time.Now()
	seen := &Session{ID: held.ID, LogID: held.LogID, Grant: held.Grant, Life: held.Life}
	seen.Grant.Claims = nil
	seen.Grant.Tokens = Tokens{Access: tokens.Access, Type: tokens.Type, Scope: tokens.Scope, Expires: tokens.Expires}
	seen.Life.Renewed = now
	seen.Bearer = BearerOf(seen)
	n.addressed.Put(address{s.ID, audience}, addressed{seen, held.Grant.Tokens.Access, held.Life.Renewed}, weightOf(audience, held, seen), now)
	n.record(ctx, audit.Narrowed, held, audience)
	return seen, nil
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
		if e, ok := n.addressed.Take(address{s.ID, audience}); ok && e.s != nil {
			tokens = append(tokens, e.s.Grant.Tokens)
		}
	}
	return tokens
}
