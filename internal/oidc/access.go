package oidc

import (
	"context"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// VerifyAccess returns whose an access token is, if it is a JWT of this provider for that audience and valid now (RFC 9068 §4). The
// grant's claims are the token's, and its Tokens hold the token and its end. TokenInvalid: it is not; ProviderDown, ProviderRefused,
// ProviderLied: the provider's keys cannot be had.
func (p *Provider) VerifyAccess(ctx context.Context, token, audience string) (session.Grant, error) {
	rules := issuer.Rules{Issuer: p.o.Issuer, Audience: audience, Type: p.o.AccessType, ClientID: p.o.ClientID}
	a, err := p.accessKeys.VerifyAccess(ctx, token, rules, p.now())
	if err != nil {
		return session.Grant{}, err
	}
	return session.Grant{
		Provider: p.name, Issuer: a.Issuer, Subject: a.Subject, Claims: a.Claims,
		Tokens: session.Tokens{Access: token, Type: "Bearer", Scope: issuer.Scope(a.Claims["scope"]), Expires: a.Expires},
	}, nil
}
