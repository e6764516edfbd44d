package accounts

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// clientID is who access tokens are issued to (RFC 9068 §2.2): the gateway itself, which hands them on.
const clientID = "cloakroom"

// Tokens shape the access tokens. The zero value is the default.
type Tokens struct {
	Issuer    string        // iss; default: the gateway's URL and the path of its endpoints, without the last slash
	Lifetime  time.Duration // default 10 minutes, at most 15
	Audience  []string      // aud; default: the gateway's URL
	Algorithm string        // ES256 (default), EdDSA or RS256
	Claims    []string      // what a token says of the person beside sub: none by default
}

// Limits of Tokens.Lifetime.
const (
	leastLife = 10 * time.Second
	mostLife  = 15 * time.Minute
)

// fixed are the claims that a token has of its own: nothing that is known of a person takes their place.
var fixed = []string{"iss", "sub", "aud", "client_id", "iat", "exp", "nbf", "jti", "auth_time", "scope", "cnf", "acr", "amr"}

// FixedClaim reports whether a claim of tokens is ours to set.
func FixedClaim(name string) bool { return slices.Contains(fixed, name) }

// mint returns a new access token (RFC 9068) for someone who signed in at that time.
func (a *Accounts) mint(account *Account, signedIn time.Time) (session.Tokens, error) {
	now := time.Now()
	expires := now.Add(a.o.Tokens.Lifetime).Truncate(time.Second)
	claims := map[string]any{
		"iss": a.o.Tokens.Issuer, "sub": account.ID, "client_id": clientID, "aud": a.audience,
		"iat": now.Unix(), "exp": expires.Unix(), "auth_time": signedIn.Unix(), "jti": seal.RandomText(16),
	}
	if len(a.o.Tokens.Claims) > 0 {
		person := account.claims()
		for _, name := range a.o.Tokens.Claims {
			if v, ok := person[name]; ok && !FixedClaim(name) {
				claims[name] = v
			}
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		return session.Tokens{}, &session.Error{Code: session.Internal, Op: "mint token", Err: err}
	}
	jws, err := a.keys.signing().signer.Sign(text)
	if err != nil {
		return session.Tokens{}, &session.Error{Code: session.Internal, Op: "mint token", Err: err}
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		return session.Tokens{}, &session.Error{Code: session.Internal, Op: "mint token", Err: err}
	}
	return session.Tokens{Access: token, Type: "Bearer", Refresh: account.Epoch(), Expires: expires}, nil
}

// audienceOf is aud: one text, or a list.
func audienceOf(names []string) any {
	if len(names) == 1 {
		return names[0]
	}
	return names
}
