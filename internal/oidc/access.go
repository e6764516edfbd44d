package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// VerifyAccess returns whose an access token is, if it is a JWT of this provider for that audience and valid now (RFC 9068 §4). The
// grant's claims are the token's, and its Tokens hold the token and its end. TokenInvalid: it is not; ProviderDown, ProviderRefused,
// ProviderLied: the provider's keys cannot be had.
//
// The clock of the token's end is ours, without leeway: it is somebody else's secret that we take at its word.
func (p *Provider) VerifyAccess(ctx context.Context, token, audience string) (session.Grant, error) {
	const op = "verify access token"
	invalid := func(format string, args ...any) (session.Grant, error) {
		return session.Grant{}, session.Fail(session.TokenInvalid, op, format, args...)
	}
	if err := p.checkType(token); err != nil {
		return invalid("%w", err)
	}
	payload, err := p.accessKeys.VerifySignature(ctx, token)
	var failed *session.Error
	switch {
	case errors.As(err, &failed) && failed.Op == opSignature:
		return invalid("%w", failed.Err)
	case err != nil:
		return session.Grant{}, err
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return invalid("its claims are not the JSON they should be")
	}
	if err := p.checkAccess(c, audience); err != nil {
		return invalid("%w", err)
	}
	expires, err := c.time("exp")
	if err != nil {
		return invalid("%w", err)
	}
	sub, _ := c["sub"].(string)
	return session.Grant{
		Provider: p.name, Issuer: p.o.Issuer, Subject: sub, Claims: c,
		Tokens: session.Tokens{Access: token, Type: "Bearer", Scope: scopeOf(c["scope"]), Expires: expires},
	}, nil
}

// checkType wants the token to say what kind of token it is: nothing else tells an access token from another that the provider
// signed. Many providers write JWT into all of them, or nothing; then what it claims has to do, see notAccess.
func (p *Provider) checkType(token string) error {
	var header struct {
		Type string `json:"typ"`
	}
	raw, ok := part(token, 0)
	if !ok || json.Unmarshal(raw, &header) != nil {
		return errors.New("not a signed JWT")
	}
	switch kind := strings.TrimPrefix(strings.ToLower(header.Type), "application/"); {
	case kind == "at+jwt":
		return nil
	case (kind == "jwt" || kind == "") && p.o.AccessType == "JWT":
		return nil
	}
	return fmt.Errorf("its typ is %q, not at+jwt", printable(header.Type, 40))
}

// checkAccess looks at what an access token claims.
func (p *Provider) checkAccess(c claims, audience string) error {
	now := p.now()
	if iss, _ := c["iss"].(string); iss != p.o.Issuer {
		return errors.New("iss is another issuer")
	}
	all, err := c.audience()
	switch {
	case err != nil:
		return err
	case !slices.Contains(all, audience):
		return fmt.Errorf("aud is %q, without %q", printable(strings.Join(all, " "), 200), audience)
	}
	if sub, _ := c["sub"].(string); sub == "" || len(sub) > 255 {
		return errors.New("sub is not text of 1 to 255 bytes")
	}
	if exp, err := c.time("exp"); err != nil {
		return err
	} else if !now.Before(exp) {
		return errors.New("expired")
	}
	for _, name := range []string{"nbf", "iat"} {
		if _, present := c[name]; !present {
			continue
		}
		if at, err := c.time(name); err != nil {
			return err
		} else if at.After(now.Add(leeway)) {
			return fmt.Errorf("%s is in the future", name)
		}
	}
	if _, bound := c["cnf"]; bound {
		return errors.New("it is bound to a key (cnf), and came as a plain bearer")
	}
	return p.notAccess(c, all)
}

// notAccess tells ID tokens, logout tokens and refresh tokens by what only they claim.
func (p *Provider) notAccess(c claims, audience []string) error {
	for _, name := range []string{"events", "nonce", "at_hash", "c_hash", "s_hash"} {
		if _, present := c[name]; present {
			return fmt.Errorf("it has %s, which an access token has not", name)
		}
	}
	// An ID token is for us, the client; no API goes by that name.
	if slices.Contains(audience, p.o.ClientID) {
		return errors.New("aud has client_id: it is an ID token")
	}
	for name, good := range map[string][]string{"typ": {"bearer", "at+jwt", "jwt"}, "token_use": {"access"}} { // Keycloak, Cognito
		if kind, present := c[name]; present {
			if text, _ := kind.(string); !slices.Contains(good, strings.ToLower(text)) {
				return fmt.Errorf("its %s is not that of an access token", name)
			}
		}
	}
	return nil
}
