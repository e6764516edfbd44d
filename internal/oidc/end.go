package oidc

import (
	"context"
	"net/url"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// End returns where the browser ends the session at the provider (OpenID Connect RP-Initiated Logout §2). An expired ID token
// is a good hint. The address may be longer than servers take in a request line; the endpoint takes its query as a form, too.
func (p *Provider) End(ctx context.Context, g session.Grant, returnTo *url.URL, state string) (*url.URL, error) {
	if g.Issuer != p.o.Issuer {
		return nil, nil // nobody is signed in there
	}
	m, err := p.ready(ctx)
	if err != nil {
		return nil, err
	}
	if m.EndSession == "" {
		return nil, nil
	}
	q := url.Values{"client_id": {p.o.ClientID}}
	if g.Tokens.ID != "" {
		q.Set("id_token_hint", g.Tokens.ID)
	}
	if returnTo != nil {
		q.Set("post_logout_redirect_uri", returnTo.String())
		if state != "" {
			q.Set("state", state)
		}
	}
	return withQuery(m.EndSession, q)
}

// Revoke revokes the refresh token, which takes its access tokens with it, or else the access token (RFC 7009). A provider
// that does not know the token has nothing to revoke: no error. A provider without a revocation endpoint neither.
func (p *Provider) Revoke(ctx context.Context, t session.Tokens) error {
	form := url.Values{"token": {t.Refresh}, "token_type_hint": {"refresh_token"}}
	if t.Refresh == "" {
		form = url.Values{"token": {t.Access}, "token_type_hint": {"access_token"}}
	}
	if form.Get("token") == "" {
		return nil
	}
	if of, known := issuer.Unverified(t.ID)["iss"].(string); known && of != p.o.Issuer {
		return nil // of a provider that had this name before: its tokens are not for this one to see
	}
	m, err := p.ready(ctx)
	if err != nil {
		return err
	}
	if m.Revocation == "" {
		return nil
	}
	_, err = p.post(ctx, "revoke token", m, m.Revocation, form)
	return err
}
