package verify

import (
	"context"
	"encoding/json"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// source is an issuer, and how its tokens are told from others.
type source struct {
	rules issuer.Rules
	meta  *issuer.Document[*metadata]
	keys  *issuer.Keys
	asks  Introspection
	calls issuer.Calls
}

// metadata are what we read of an issuer's.
type metadata struct {
	Issuer        string `json:"issuer"`
	JWKS          string `json:"jwks_uri"`
	Introspection string `json:"introspection_endpoint"`
}

func newSource(i Issuer, audience string, calls issuer.Calls, now func() time.Time) *source {
	s := &source{
		rules: issuer.Rules{Issuer: i.URL, Audience: audience, Type: i.TokenType},
		meta:  issuer.Discover(calls, i.URL, now, func(m *metadata) error { return m.check(i) }),
		asks:  i.Introspection,
		calls: calls,
	}
	algorithms := i.Algorithms
	if len(algorithms) == 0 {
		algorithms = issuer.Algorithms
	}
	s.keys = issuer.NewKeys(calls, func(ctx context.Context) (string, error) {
		if i.JWKS != "" {
			return i.JWKS, nil
		}
		m, err := s.meta.Get(ctx)
		if err != nil {
			return "", err
		}
		return m.Value.JWKS, nil
	}, now, algorithms)
	return s
}

// check wants the addresses that are needed, and those that are there to be fit to call.
func (m *metadata) check(i Issuer) error {
	if err := issuer.CheckName(i.URL, m.Issuer); err != nil {
		return err
	}
	if i.JWKS == "" && (m.JWKS != "" || !i.Introspection.JWTs) {
		if err := issuer.CheckEndpoint(i.URL, "jwks_uri", m.JWKS); err != nil {
			return err
		}
	}
	if i.Introspection.ClientID != "" && i.Introspection.Endpoint == "" {
		return issuer.CheckEndpoint(i.URL, "introspection_endpoint", m.Introspection)
	}
	return nil
}

// verify returns what a token of this issuer says, if it is good.
func (s *source) verify(ctx context.Context, raw string, isJWT bool, now time.Time) (*issuer.Access, error) {
	if s.asks.ClientID != "" && (s.asks.JWTs || !isJWT) {
		return s.introspect(ctx, raw, now)
	}
	return s.keys.VerifyAccess(ctx, raw, s.rules, now)
}

// of returns the issuer of a token. A JWT says whom it is from, which tells whom to ask; nothing is believed yet. For another there is
// at most one who can be asked.
func (v *Verifier) of(raw string) (s *source, isJWT bool, err error) {
	header, ok := issuer.Part(raw, 0)
	if isJWT = ok && json.Valid(header) && header[0] == '{'; isJWT {
		s = v.issuers[issuer.Unverified(raw).Text("iss")]
	} else {
		s = v.opaque
	}
	if s == nil {
		return nil, isJWT, session.Fail(session.TokenInvalid, op, "it is of no issuer that is trusted here")
	}
	return s, isJWT, nil
}
