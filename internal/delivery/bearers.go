package delivery

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// Issuer verifies its own access tokens. The grant's Tokens say when the token ends. TokenInvalid: it is not good.
type Issuer interface {
	VerifyAccess(ctx context.Context, token, audience string) (session.Grant, error)
}

// Opaque is an Issuer of tokens that need not be JWTs. It is asked about each of them each time: it can tell at once.
type Opaque interface {
	Issuer
	// Issued reports whether a token has the form of its.
	Issued(token string) bool
}

// Bearers verifies access tokens that come without a session: of native apps and machines. What was verified is remembered for a
// moment, see [issuer.Known].
type Bearers struct {
	issuers map[string]Issuer
	opaque  []Opaque
	known   *issuer.Known[*session.Grant]
}

// NewBearers returns the bearers of these issuers, by the iss of their tokens.
func NewBearers(issuers map[string]Issuer) *Bearers {
	b := &Bearers{issuers: issuers, known: issuer.NewKnown[*session.Grant]()}
	for _, i := range issuers {
		if o, ok := i.(Opaque); ok {
			b.opaque = append(b.opaque, o)
		}
	}
	return b
}

// Verify returns whose an access token is that is good for an audience. TokenInvalid: it is not; ProviderDown and its likes: its
// issuer's keys cannot be had now.
func (b *Bearers) Verify(ctx context.Context, token, audience string) (*session.Grant, error) {
	key, err := issuer.KeyOf(token, audience)
	if err != nil {
		return nil, err
	}
	for _, o := range b.opaque {
		if o.Issued(token) {
			grant, err := o.VerifyAccess(ctx, token, audience)
			return &grant, err
		}
	}
	now := time.Now()
	if grant, ok := b.known.Get(key, now); ok {
		return grant, nil
	}
	// Whom it says it is from tells whom to ask. Nothing is believed yet.
	of, ok := b.issuers[issuer.Unverified(token).Text("iss")]
	if !ok {
		return nil, session.Fail(session.TokenInvalid, "verify bearer", "it is no JWT of a provider that is configured here")
	}
	grant, err := of.VerifyAccess(ctx, token, audience)
	if err != nil {
		return nil, err
	}
	b.known.Put(key, &grant, len(token), now, grant.Tokens.Expires)
	return &grant, nil
}
