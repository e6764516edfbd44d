package oidc

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// Refresh asks for new tokens, with the scopes granted at login or fewer (RFC 6749 §6). An answer whose ID token is not of the same
// login is ProviderLied and to be thrown away as a whole.
func (p *Provider) Refresh(ctx context.Context, g session.Grant, want session.Want) (session.Tokens, error) {
	const op = "refresh tokens"
	if g.Issuer != p.o.Issuer || g.Provider != p.name { // no provider gets to see the tokens of another
		return session.Tokens{}, session.Fail(session.GrantOver, op, "the grant is of another provider")
	}
	if g.Tokens.Refresh == "" {
		return session.Tokens{}, session.Fail(session.GrantOver, op, "there is no refresh token")
	}
	m, err := p.ready(ctx)
	if err != nil {
		return session.Tokens{}, err
	}
	form := url.Values{}
	p.extend(form)
	form.Set("grant_type", "refresh_token")
	form.Set("refresh_token", g.Tokens.Refresh)
	if want.Scope != "" {
		form.Set("scope", want.Scope)
	}
	if want.Audience != "" {
		p.setAudience(form, want.Audience)
	}
	fresh, err := p.redeem(ctx, op, m, form)
	if refusal := issuer.RefusalOf(err); refusal != nil && refusal.Code == "invalid_grant" {
		return session.Tokens{}, &session.Error{Code: session.GrantOver, Op: op, Err: refusal}
	} else if refusal != nil && refusal.Code == "invalid_scope" && want.Scope != "" {
		return session.Tokens{}, &session.Error{Code: session.BadRequest, Op: op, Err: refusal}
	}
	if err != nil {
		return session.Tokens{}, err
	}
	if fresh.ID != "" {
		if fresh.ID, err = p.checkRefreshed(ctx, g, fresh); err != nil {
			return session.Tokens{}, err
		}
	}
	if want.Scope != "" {
		fresh.Scope = narrowed(fresh, want)
	}
	return inherit(fresh, g.Tokens), nil
}

// setAudience asks for a token for one API, in the words that the provider goes by: resource (RFC 8707 §2.2), audience, or both.
func (p *Provider) setAudience(form url.Values, audience string) {
	if p.o.Audience != "" || len(p.o.Resource) == 0 && !IsResource(audience) {
		form.Set("audience", audience)
	}
	if len(p.o.Resource) > 0 || p.o.Audience == "" && IsResource(audience) {
		form.Set("resource", audience)
	}
}

// Addressees says whom an access token is for; see [session.Addresser]. A JWT says so itself. Nothing of it is believed that we did not
// ask for: it came from the provider.
func (p *Provider) Addressees(access string, want session.Want) []string {
	switch names, err := issuer.Unverified(access).Audience(); {
	case err == nil:
		return names
	case !p.Opaque(session.Tokens{Access: access}):
		return nil
	case want.Audience != "":
		return []string{want.Audience}
	case p.o.Audience != "":
		return append([]string{p.o.Audience}, p.o.Resource...)
	}
	return p.o.Resource
}

// narrowed is what an access token is good for that less was asked of than was granted: what the answer says, what was asked for if
// it says nothing (RFC 6749 §5.1), and whatever the token itself claims beyond that.
func narrowed(fresh session.Tokens, want session.Want) string {
	scope := fresh.Scope
	if scope == "" {
		scope = want.Scope
	}
	c := issuer.Unverified(fresh.Access)
	for _, name := range []string{"scope", "scp"} {
		scope += " " + issuer.Scope(c[name])
	}
	return strings.TrimSpace(scope)
}

// inherit fills what the answer to a refresh left out.
func inherit(fresh, old session.Tokens) session.Tokens {
	if fresh.Refresh == "" || fresh.Refresh == old.Refresh {
		fresh.Refresh = old.Refresh
		if fresh.RefreshExpires.IsZero() {
			fresh.RefreshExpires = old.RefreshExpires
		}
	}
	if fresh.ID == "" {
		fresh.ID = old.ID
	}
	if fresh.Scope == "" {
		fresh.Scope = old.Scope
	}
	return fresh
}

// checkRefreshed returns the new ID token if it is of the same login (OpenID Connect Core §12.2), "" if that cannot be fully
// verified because the provider's keys are out of reach.
//
// In that case the new tokens are kept: the provider may have rotated the refresh token, and asking again with the old one
// would look like theft and end the session. They came over TLS from the token endpoint, and the claims are still compared.
func (p *Provider) checkRefreshed(ctx context.Context, g session.Grant, fresh session.Tokens) (string, error) {
	const op = "verify refreshed ID token"
	id := fresh.ID
	now, err := p.verify(ctx, id)
	switch session.CodeOf(err) {
	case "":
	case session.ProviderLied:
		return "", err
	default:
		p.log.WarnContext(ctx, "the refreshed ID token is not kept: its signature cannot be verified now", "provider", p.name, "error", err)
		if now = issuer.Unverified(id); p.check(now) != nil {
			return "", session.Fail(session.ProviderLied, op, "%w", p.check(now))
		}
		id = ""
	}
	if err := sameLogin(g, issuer.Unverified(g.Tokens.ID), now); err != nil {
		return "", session.Fail(session.ProviderLied, op, "%w", err)
	}
	if err := checkAccessHash(now, fresh.ID, fresh.Access); err != nil {
		return "", session.Fail(session.ProviderLied, op, "%w", err)
	}
	return id, nil
}

// sameLogin compares a refreshed ID token with the one of the login. The nonce is not kept, so it is not compared.
func sameLogin(g session.Grant, before, now issuer.Claims) error {
	if now["sub"] != g.Subject {
		return errors.New("sub is of another person")
	}
	if before == nil { // no ID token was kept: sub is all there is to compare
		return nil
	}
	was, _ := before.Audience()
	is, err := now.Audience()
	if err != nil {
		return err
	}
	slices.Sort(was)
	slices.Sort(is)
	if !slices.Equal(was, is) {
		return errors.New("aud has changed")
	}
	then, err := before.Time("iat")
	if err != nil {
		return err
	}
	if iat, err := now.Time("iat"); err != nil || iat.Before(then) {
		return errors.New("iat is older than at login")
	}
	old, had := before["auth_time"]
	if fresh, has := now["auth_time"]; had && has && fresh != old {
		return errors.New("auth_time has changed")
	}
	return nil
}
