package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// userinfo asks the provider for the claims of the person sub (OpenID Connect Core §5.3).
func (p *Provider) userinfo(ctx context.Context, m *metadata, access, sub string) (issuer.Claims, error) {
	const op = "userinfo"
	r, err := http.NewRequest(http.MethodGet, m.Userinfo, nil)
	if err != nil {
		return nil, session.Fail(session.Internal, op, "make request: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+access) // never in the query
	r.Header.Set("Accept", "application/json, application/jwt")
	res, err := p.calls.Do(ctx, op, r)
	if refusal := issuer.RefusalOf(err); refusal != nil {
		refusal.Without(map[string][]string{"access_token": {access}})
	}
	var failed *session.Error
	if errors.As(err, &failed) {
		failed.Hint = "userinfo: false does without it"
		return nil, failed
	}
	body := res.Body
	if res.MediaType == "application/jwt" {
		if body, err = p.keys.VerifySignature(ctx, string(body)); err != nil {
			return nil, err
		}
	}
	if len(body) > issuer.TokenLimit {
		return nil, session.Fail(session.TooLarge, op, "the answer is over 64 KiB")
	}
	var c issuer.Claims
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, session.Fail(session.ProviderLied, op, "the answer is not the JSON it should be: %w", err)
	}
	if res.MediaType == "application/jwt" {
		if err := p.checkSignedUserinfo(c); err != nil {
			return nil, session.Fail(session.ProviderLied, op, "%w", err)
		}
	}
	if got, _ := c["sub"].(string); got != sub { // not the person who signed in: nothing of it may be used
		return nil, session.Fail(session.ProviderLied, op, "sub is not that of the ID token")
	}
	return c, nil
}

// checkSignedUserinfo wants the issuer's signature to be on an answer to us, and not on another of its tokens.
func (p *Provider) checkSignedUserinfo(c issuer.Claims) error {
	if iss, _ := c["iss"].(string); iss != p.o.Issuer {
		return errors.New("iss is not the issuer")
	}
	audience, err := c.Audience()
	if err != nil {
		return err
	}
	if !slices.Contains(audience, p.o.ClientID) {
		return errors.New("aud is without client_id")
	}
	if _, present := c["exp"]; present {
		if exp, err := c.Time("exp"); err != nil || !p.now().Before(exp.Add(issuer.Leeway)) {
			return errors.New("expired")
		}
	}
	return nil
}

var (
	// protocolClaims are about the token and not about the person. Sources of distributed claims may even hold tokens.
	protocolClaims = []string{
		"iss", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "s_hash", "_claim_names", "_claim_sources",
	}
	// loginClaims are about the login. Only the ID token can tell them.
	loginClaims = []string{"sub", "sid", "auth_time", "acr", "amr"}
	// accessClaims are claims of an access token that are about what it is good for.
	accessClaims = []string{"email", "email_verified", "client_id", "scope", "scp", "typ", "cnf", "ver", "uti", "rh"}
)

// merge lays what userinfo says over what the ID token says, and both over what a JWT access token says: some providers tell a
// person's roles nowhere else. Its signature is for the API to check.
func merge(access, idToken, userinfo issuer.Claims) map[string]any {
	all := make(map[string]any, len(idToken)+len(userinfo))
	for _, layer := range []struct {
		claims issuer.Claims
		but    [][]string
	}{
		{access, [][]string{protocolClaims, loginClaims, accessClaims}},
		{idToken, [][]string{protocolClaims}},
		{userinfo, [][]string{protocolClaims, loginClaims}},
	} {
		if email, told := layer.claims["email"]; told && email != all["email"] {
			delete(all, "email_verified") // that was said of another address
		}
		for name, value := range layer.claims {
			if !slices.ContainsFunc(layer.but, func(names []string) bool { return slices.Contains(names, name) }) {
				all[name] = value
			}
		}
	}
	return all
}
