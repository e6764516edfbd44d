// Package session says what a session is, how long it lives, who renews it, and what the parts around it must do.
//
// The parts are interfaces: a [Store] keeps records, a [Storage] decides where a session rests and what its cookie says, a
// [Delivery] takes the access token to the API, a [Provider] vouches for people. Package storetest is the shared test suite of
// a Store.
package session

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// ID names a session in a store. It is a hash of what the browser holds, so it opens nothing. It never appears in a log;
// [Session.LogID] does.
type ID [32]byte

// Session is one person's stay in one browser. A Session that a Storage returned is shared by many requests: read it,
// change only the copy that [Storage.Update] hands to its change function.
type Session struct {
	ID      ID
	Version uint64 // of the record it was read from; 0: not stored yet
	LogID   string // a keyed hash that stands for the session in logs and audit records

	Grant  Grant
	Life   Life
	Device Device // where the login came from
	Ticket

	// Bearer is the access token as the value of an Authorization header, made once for all requests. It may be nil, or of an
	// older token: see BearerOf.
	Bearer []string

	// Previous stands for the access token before the current one, zero for none: a page may still have that one. See Holds.
	Previous [32]byte

	// Lease is the time until which one renewal owns the session, zero for none.
	Lease time.Time
}

// Life is how long a session has been and may be.
type Life struct {
	Created  time.Time
	Seen     time.Time // the last slide; how old it may be says Options.SlideDue
	Renewed  time.Time // when a token was last received
	Absolute time.Time // nothing moves it further away
	Remember bool      // the person asked to stay signed in: a persistent cookie
}

// Ticket is the state of what the browser holds. Generation N stays good until N+1 was presented once, plus a grace.
type Ticket struct {
	Generation uint32
	Presented  time.Time // when Generation was first presented, zero: not yet
	Carried    uint32    // the generation that this request came with: mostly Generation, or one less; 0 before the first
	Secret     []byte    // what the browser's cookie knows and the store does not
	Floor      uint32    // kept in cookies only: who presents Generation cannot fall back behind this one any more
}

// Grant is what a provider vouched for: who it is, and the tokens. Only [Provider.Finish] makes one.
type Grant struct {
	Provider string // its name in the configuration
	Issuer   string // with Subject, the only key of a person (OIDC Core §5.7)
	Subject  string
	SID      string         // the provider's own session id, "" when it has none
	Claims   map[string]any // merged from ID token and userinfo
	Tokens   Tokens
}

// Tokens are what the token endpoint answered.
type Tokens struct {
	Access         string
	Type           string    // "Bearer" in any case
	Refresh        string    // "" when the provider gave none
	ID             string    // the raw ID token, for id_token_hint
	Scope          string    // what was granted, space separated; "" means as asked
	Expires        time.Time // of Access; zero when the provider did not say
	RefreshExpires time.Time // of Refresh; zero when the provider did not say
}

// Claim returns a claim as text: strings as they are, numbers and booleans in JSON's form, lists and objects as JSON.
// A claim that is absent or null is "".
func (g *Grant) Claim(name string) string {
	switch v := g.Claims[name].(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(text)
	}
}

// BearerOf returns the value of the Authorization header for the access token of s. It is shared: do not change it.
func BearerOf(s *Session) []string {
	const scheme = "Bearer "
	if t := s.Grant.Tokens.Access; len(s.Bearer) == 1 && len(s.Bearer[0]) == len(scheme)+len(t) && s.Bearer[0][len(scheme):] == t {
		return s.Bearer
	}
	return []string{scheme + s.Grant.Tokens.Access}
}

// Holds reports whether token is the access token of s, or the one before it. It takes the same time wherever they differ.
func (s *Session) Holds(token string) bool {
	sum, current := digest(token), digest(s.Grant.Tokens.Access)
	isCurrent := seal.Equal(sum[:], current[:])
	isPrevious := seal.Equal(sum[:], s.Previous[:]) // never for zero: no text has that hash
	return isCurrent || isPrevious
}

// digest stands for an access token where the token itself need not be kept.
func digest(token string) [32]byte { return seal.Hash("access token", []byte(token)) }

// Event returns the audit event of something that happens to s now. Reason may be "".
func (s *Session) Event(action audit.Action, reason string) audit.Event {
	return audit.Event{
		Time: time.Now(), Action: action, Session: s.LogID, Provider: s.Grant.Provider, Issuer: s.Grant.Issuer,
		Subject: s.Grant.Subject, Reason: reason,
	}
}

type contextKey struct{}

// NewContext returns a context that carries s.
func NewContext(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, contextKey{}, s)
}

// FromContext returns the session of the request that ctx belongs to.
func FromContext(ctx context.Context) (*Session, bool) {
	s, ok := ctx.Value(contextKey{}).(*Session)
	return s, ok && s != nil
}
