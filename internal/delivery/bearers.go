package delivery

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Issuer verifies its own access tokens. The grant's Tokens say when the token ends. TokenInvalid: it is not good.
type Issuer interface {
	VerifyAccess(ctx context.Context, token, audience string) (session.Grant, error)
}

// Limits of the memory for verified tokens. A token that is revoked at its issuer goes on here for mostTrust at most.
const (
	mostTrust  = 60 * time.Second
	mostMemory = 16 << 20 // bytes
	mostToken  = 16 << 10 // bytes
)

// Bearers verifies access tokens that come without a session: of native apps and machines. What was verified is remembered for a
// moment, since it costs a hundred times what a look into memory does.
type Bearers struct {
	issuers map[string]Issuer
	known   *otter.Cache[[32]byte, verified]
}

// verified is a token that was found good, and how long that is believed.
type verified struct {
	grant *session.Grant
	until time.Time
}

// NewBearers returns the bearers of these issuers, by the iss of their tokens.
func NewBearers(issuers map[string]Issuer) (*Bearers, error) {
	known, err := otter.New(&otter.Options[[32]byte, verified]{
		MaximumWeight: mostMemory,
		Weigher:       func(_ [32]byte, v verified) uint32 { return uint32(1024 + 4*len(v.grant.Tokens.Access)) },
	})
	if err != nil {
		return nil, err
	}
	return &Bearers{issuers: issuers, known: known}, nil
}

// Verify returns whose an access token is that is good for an audience. TokenInvalid: it is not; ProviderDown and its likes: its
// issuer's keys cannot be had now.
func (b *Bearers) Verify(ctx context.Context, token, audience string) (*session.Grant, error) {
	const op = "verify bearer"
	if len(token) > mostToken {
		return nil, session.Fail(session.TokenInvalid, op, "it has %d bytes; no access token has more than %d", len(token), mostToken)
	}
	key := seal.Hash("bearer", []byte(audience+"\x00"+token)) // a token has no zero byte
	now := time.Now()
	if v, ok := b.known.GetIfPresent(key); ok && now.Before(v.until) {
		return v.grant, nil
	}
	issuer, ok := b.issuers[issuerOf(token)]
	if !ok {
		return nil, session.Fail(session.TokenInvalid, op, "it is no JWT of a provider that is configured here")
	}
	grant, err := issuer.VerifyAccess(ctx, token, audience)
	if err != nil {
		return nil, err
	}
	v := verified{&grant, now.Add(mostTrust)}
	if grant.Tokens.Expires.Before(v.until) {
		v.until = grant.Tokens.Expires
	}
	b.known.Set(key, v)
	return v.grant, nil
}

// issuerOf reads who a JWT says it is from, to know whom to ask. Nothing is believed yet.
func issuerOf(token string) string {
	_, rest, _ := strings.Cut(token, ".")
	payload, _, ok := strings.Cut(rest, ".")
	if !ok {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	_ = json.Unmarshal(raw, &claims) // no JSON: nobody's
	return claims.Issuer
}
