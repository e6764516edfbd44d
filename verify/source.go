package verify

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
)

// source is an issuer, and how its tokens are told from others.
type source struct {
	rules issuer.Rules
	keys  *issuer.Keys
}

// metadata are what we read of an issuer's.
type metadata struct {
	Issuer string `json:"issuer"`
	JWKS   string `json:"jwks_uri"`
}

func newSource(i Issuer, audience string, calls issuer.Calls, now func() time.Time) *source {
	s := &source{rules: issuer.Rules{Issuer: i.URL, Audience: audience, Type: i.TokenType}}
	meta := issuer.Discover(calls, i.URL, now, func(m *metadata) error { return m.check(i) })
	algorithms := i.Algorithms
	if len(algorithms) == 0 {
		algorithms = issuer.Algorithms
	}
	s.keys = issuer.NewKeys(calls, func(ctx context.Context) (string, error) {
		if i.JWKS != "" {
			return i.JWKS, nil
		}
		m, err := meta.Get(ctx)
		if err != nil {
			return "", err
		}
		return m.Value.JWKS, nil
	}, now, algorithms)
	return s
}

func (m *metadata) check(i Issuer) error {
	if err := issuer.CheckName(i.URL, m.Issuer); err != nil {
		return err
	}
	if i.JWKS == "" {
		return issuer.CheckEndpoint(i.URL, "jwks_uri", m.JWKS)
	}
	return nil
}

func (s *source) verify(ctx context.Context, raw string, now time.Time) (*issuer.Access, error) {
	return s.keys.VerifyAccess(ctx, raw, s.rules, now)
}
