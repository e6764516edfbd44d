package accounts

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// clientID is who access tokens are issued to (RFC 9068 §2.2): the gateway itself, which hands them on.
const clientID = "cloakroom"

// Tokens shape the access tokens. The zero value is the default.
type Tokens struct {
	Format    string        // FormatJWT (default), or FormatOpaque: whoever gets one asks what it is good for
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

// mint returns a new access token for someone who signed in at that time: a JWT by RFC 9068, or an opaque one. It is for the one audience,
// or with "" for all that tokens are for.
func (a *Accounts) mint(account *Account, signedIn time.Time, audience string) (session.Tokens, error) {
	now := time.Now()
	expires := now.Add(a.o.Tokens.Lifetime).Truncate(time.Second)
	i := issued{
		Account: account.ID, Epoch: account.Epoch(), At: now.Unix(), Expires: expires.Unix(), SignedIn: signedIn.Unix(), Audience: audience,
		name: seal.Random(nameSize),
	}
	write := a.sign
	if a.Opaque() {
		write = func(_ *Account, i issued) (string, error) { return a.opaque(i) }
	}
	token, err := write(account, i)
	if err != nil {
		return session.Tokens{}, &session.Error{Code: session.Internal, Op: "mint token", Err: err}
	}
	return session.Tokens{Access: token, Type: "Bearer", Refresh: i.Epoch, Expires: expires}, nil
}

// claimsOf is what a token says to an API.
func (a *Accounts) claimsOf(account *Account, i issued) map[string]any {
	claims := map[string]any{
		"iss": a.o.Tokens.Issuer, "sub": account.ID, "client_id": clientID, "aud": audienceOf(a.addressees(i)),
		"iat": i.At, "exp": i.Expires, "auth_time": i.SignedIn, "jti": i.jti(),
	}
	if len(a.o.Tokens.Claims) > 0 {
		person := account.claims()
		for _, name := range a.o.Tokens.Claims {
			if v, ok := person[name]; ok && !FixedClaim(name) {
				claims[name] = v
			}
		}
	}
	return claims
}

func (a *Accounts) sign(account *Account, i issued) (string, error) {
	text, err := json.Marshal(a.claimsOf(account, i))
	if err != nil {
		return "", err
	}
	jws, err := a.keys.signing().signer.Sign(text)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// addressees are whom a token is for.
func (a *Accounts) addressees(i issued) []string {
	if i.Audience != "" {
		return []string{i.Audience}
	}
	return a.o.Tokens.Audience
}

// makes reports whether there are tokens of ours for an audience.
func (a *Accounts) makes(audience string) bool {
	return slices.Contains(a.o.Tokens.Audience, audience) || slices.Contains(a.audiences, audience)
}

// Addressees says whom a token of ours is for; see [session.Addresser].
func (a *Accounts) Addressees(access string, _ session.Want) []string {
	if !a.Issued(access) {
		names, _ := issuer.Unverified(access).Audience()
		return names
	}
	if i, ok := a.openOpaque(access); ok {
		return a.addressees(i)
	}
	return nil
}

// audienceOf is aud: one text, or a list.
func audienceOf(names []string) any {
	if len(names) == 1 {
		return names[0]
	}
	return names
}
