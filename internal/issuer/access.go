package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// Algorithms are those that may be accepted. HMAC is not among them: a public key must never verify as a secret.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// The types of JWT access tokens.
const (
	TypeAccess = "at+jwt" // the profile of RFC 9068: its typ, and its claims client_id, iat and jti
	TypeJWT    = "JWT"    // issuers that write JWT for a typ, or none, or leave one of these claims out; the profile is welcome too
)

// Rules say which access tokens are good.
type Rules struct {
	Issuer      string // iss, byte for byte
	Audience    string // one of aud
	Type        string // TypeAccess (default) or TypeJWT
	AnyAudience bool   // aud may be missing, where the token is the issuer's own word
	ClientID    string // a client of the issuer's, which ID tokens are for; "" for none that is known
}

// Access is an access token that was found good.
type Access struct {
	Issuer  string
	Subject string
	Expires time.Time // zero only for a token that was introspected, if its issuer keeps the end for itself
	Claims  Claims
	Size    int // of what Claims were read from, in bytes
}

const opAccess = "verify access token"

func invalid(format string, args ...any) error {
	return session.Fail(session.TokenInvalid, opAccess, format, args...)
}

// VerifyAccess returns what a JWT access token says that is good by the rules at this time (RFC 9068 §4). TokenInvalid: it is not;
// ProviderDown, ProviderRefused, ProviderLied: the issuer's keys cannot be had.
//
// The clock of the token's end is ours, without leeway: it is somebody else's secret that we take at its word.
func (k *Keys) VerifyAccess(ctx context.Context, token string, rules Rules, now time.Time) (*Access, error) {
	profile, err := rules.checkType(token)
	if err != nil {
		return nil, invalid("%w", err)
	}
	payload, err := k.VerifySignature(ctx, token)
	var failed *session.Error
	switch {
	case errors.As(err, &failed) && failed.Op == opSignature:
		return nil, invalid("%w", failed.Err)
	case err != nil:
		return nil, err
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, invalid("its claims are not the JSON they should be")
	}
	if c.Text("iss") != rules.Issuer {
		return nil, invalid("iss is another issuer")
	}
	if profile {
		if err := c.checkProfile(); err != nil {
			return nil, invalid("%w", err)
		}
	}
	expires, err := c.Time("exp")
	if err != nil {
		return nil, invalid("%w", err)
	}
	if err := rules.check(c, now); err != nil {
		return nil, invalid("%w", err)
	}
	return &Access{Issuer: rules.Issuer, Subject: c.Text("sub"), Expires: expires, Claims: c, Size: len(payload)}, nil
}

// CheckIntrospected returns what an access token is good for by the rules at this time, as its issuer says that keeps it: c is the answer
// of the introspection endpoint about an active token (RFC 7662 §2.2). TokenInvalid: it is good for something else.
func CheckIntrospected(c Claims, rules Rules, now time.Time) (*Access, error) {
	if iss, present := c["iss"]; present && iss != rules.Issuer {
		return nil, invalid("iss is another issuer")
	}
	if kind, present := c["token_type"]; present {
		if text, _ := kind.(string); !slices.Contains([]string{"bearer", "access_token"}, strings.ToLower(text)) {
			return nil, invalid("token_type is %q", Printable(text, 40))
		}
	}
	if err := rules.check(c, now); err != nil {
		return nil, invalid("%w", err)
	}
	expires, _ := c.Time("exp") // checked, where it is there
	return &Access{Issuer: rules.Issuer, Subject: c.Text("sub"), Expires: expires, Claims: c}, nil
}

// checkType wants the token to say what kind of token it is: nothing else tells an access token from another that the issuer
// signed. Many issuers write JWT into all of them, or nothing; then what it claims has to do, see notAccess.
func (r Rules) checkType(token string) (profile bool, err error) {
	var header struct {
		Type string `json:"typ"`
	}
	raw, ok := Part(token, 0)
	if !ok || json.Unmarshal(raw, &header) != nil {
		return false, errors.New("not a signed JWT")
	}
	switch kind := strings.TrimPrefix(strings.ToLower(header.Type), "application/"); {
	case kind == "at+jwt":
		return r.Type != TypeJWT, nil
	case (kind == "jwt" || kind == "") && r.Type == TypeJWT:
		return false, nil
	}
	return false, fmt.Errorf("its typ is %q, not at+jwt", Printable(header.Type, 40))
}

// checkProfile looks for the claims that every token of the profile has (RFC 9068 §2.2), beside those that are wanted of any.
func (c Claims) checkProfile() error {
	for _, name := range []string{"client_id", "jti"} {
		if c.Text(name) == "" {
			return fmt.Errorf("%s is missing, which at+jwt has", name)
		}
	}
	if _, present := c["iat"]; !present {
		return errors.New("iat is missing, which at+jwt has")
	}
	return nil
}

// check looks at what an access token claims, or what its issuer claims of it.
func (r Rules) check(c Claims, now time.Time) error {
	all, err := c.Audience()
	_, present := c["aud"]
	switch {
	case !present && r.AnyAudience:
	case err != nil:
		return err
	case !slices.Contains(all, r.Audience):
		return fmt.Errorf("aud is %q, without %q", Printable(strings.Join(all, " "), 200), r.Audience)
	}
	if sub := c.Text("sub"); sub == "" || len(sub) > 255 {
		return errors.New("sub is not text of 1 to 255 bytes")
	}
	if _, present := c["exp"]; present {
		if exp, err := c.Time("exp"); err != nil {
			return err
		} else if !now.Before(exp) {
			return errors.New("expired")
		}
	}
	for _, name := range []string{"nbf", "iat"} {
		if _, present := c[name]; !present {
			continue
		}
		if at, err := c.Time(name); err != nil {
			return err
		} else if at.After(now.Add(Leeway)) {
			return fmt.Errorf("%s is in the future", name)
		}
	}
	if _, bound := c["cnf"]; bound {
		return errors.New("it is bound to a key (cnf), and came as a plain bearer")
	}
	return r.notAccess(c, all)
}

// notAccess tells ID tokens, logout tokens and refresh tokens by what only they claim.
func (r Rules) notAccess(c Claims, audience []string) error {
	for _, name := range []string{"events", "nonce", "at_hash", "c_hash", "s_hash"} {
		if _, present := c[name]; present {
			return fmt.Errorf("it has %s, which an access token has not", name)
		}
	}
	// An ID token is for the client; no API goes by that name.
	if r.ClientID != "" && slices.Contains(audience, r.ClientID) {
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
