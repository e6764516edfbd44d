package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// tokenAnswer is a successful answer of the token endpoint (RFC 6749 §5.1), with two common extensions.
type tokenAnswer struct {
	Access         string          `json:"access_token"`
	Type           string          `json:"token_type"`
	Refresh        string          `json:"refresh_token"`
	ID             string          `json:"id_token"`
	Scope          any             `json:"scope"` // some send a list
	Expires        json.RawMessage `json:"expires_in"`
	RefreshExpires json.RawMessage `json:"refresh_expires_in"`       // Keycloak
	RefreshLives   json.RawMessage `json:"refresh_token_expires_in"` // others
}

// redeem asks the token endpoint and checks the answer's form. It knows nothing about the ID token.
func (p *Provider) redeem(ctx context.Context, op string, m *metadata, form url.Values) (session.Tokens, error) {
	asked := p.now() // lifetimes count from before the call: a token must not seem to live longer than it does
	res, err := p.post(ctx, op, m, m.Token, form)
	if err != nil {
		return session.Tokens{}, err
	}
	var a tokenAnswer
	if err := json.Unmarshal(res.Body, &a); err != nil {
		return session.Tokens{}, session.Fail(session.ProviderLied, op, "the answer is not the JSON it should be: %w", err)
	}
	if a.Access == "" {
		if refusal := issuer.ParseRefusal(res.Body); refusal.Code != "" { // some refuse with status 200
			refusal.Without(form)
			return session.Tokens{}, &session.Error{Code: session.ProviderRefused, Op: op, Err: refusal, Hint: refusal.Hint()}
		}
	}
	if err := a.check(op); err != nil {
		return session.Tokens{}, err
	}
	refreshLives := a.RefreshExpires
	if refreshLives == nil {
		refreshLives = a.RefreshLives
	}
	return session.Tokens{
		Access: a.Access, Type: a.Type, Refresh: a.Refresh, ID: a.ID, Scope: issuer.Scope(a.Scope),
		Expires: expiry(asked, a.Expires), RefreshExpires: expiry(asked, refreshLives),
	}, nil
}

func (a *tokenAnswer) check(op string) error {
	for name, token := range map[string]string{"access_token": a.Access, "refresh_token": a.Refresh, "id_token": a.ID} {
		if len(token) > issuer.TokenLimit {
			return &session.Error{Code: session.TooLarge, Op: op, Err: errors.New(name + " is over 64 KiB"),
				Hint: "ask for fewer scopes, or have the provider put fewer groups and roles into the token"}
		}
	}
	switch {
	case a.Access == "":
		return session.Fail(session.ProviderLied, op, "the answer has no access_token")
	case strings.ContainsFunc(a.Access, func(r rune) bool { return r <= ' ' || r > '~' }):
		return session.Fail(session.ProviderLied, op, "the access_token could not be sent in a header")
	case !strings.EqualFold(a.Type, "Bearer"):
		e := session.Fail(session.ProviderLied, op, "token_type is %q, not Bearer", issuer.Printable(a.Type, 40))
		e.Hint = "turn off sender-constrained tokens (DPoP) for this client at the provider"
		return e
	}
	return nil
}

// expiry reads a lifetime in seconds, a number or one in quotes. Without a believable one, of more than zero and at most a
// year, the expiry is unknown: the zero time.
func expiry(from time.Time, seconds json.RawMessage) time.Time {
	const year = 365 * 24 * 60 * 60
	n, err := strconv.ParseFloat(strings.Trim(string(seconds), `"`), 64)
	if err != nil || !(n > 0 && n <= year) {
		return time.Time{}
	}
	return from.Add(time.Duration(n * float64(time.Second)))
}

// Opaque reports whether the access token is in form no JWT, so that an API that wants one will refuse it.
func (p *Provider) Opaque(t session.Tokens) bool { return algorithm(t.Access) == "" }
