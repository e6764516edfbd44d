package accounts

import (
	"encoding/base64"
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
	Session   bool          // name the session by the claim sid: the same as long as it lasts, another for each login
}

// Limits of Tokens.Lifetime.
const (
	leastLife = 10 * time.Second
	mostLife  = 15 * time.Minute
)

// fixed are the claims that a token has of its own: nothing that is known of a person takes their place.
var fixed = []string{"iss", "sub", "aud", "client_id", "iat", "exp", "nbf", "jti", "auth_time", "scope", "cnf", "acr", "amr", "sid"}

// FixedClaim reports whether a claim of tokens is ours to set.
func FixedClaim(name string) bool { return slices.Contains(fixed, name) }

// mint returns a new access token for account: a JWT by RFC 9068, or an opaque one. i says when and in
// which session it signed in, and for whom the token is.
func (a *Accounts) mint(account *Account, i issued) (session.Tokens, error) {
	now := time.Now()
	expires := now.Add(a.o.Tokens.Lifetime).Truncate(time.Second)
	i.Account, i.Epoch, i.At, i.Expires, i.name = account.ID, account.Epoch(), now.Unix(), expires.Unix(), seal.Random(nameSize)
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

// claimsOf is what a token says to an API, beside its jti.
func (a *Accounts) claimsOf(account *Account, i issued) map[string]any {
	claims := map[string]any{
		"iss": a.o.Tokens.Issuer, "sub": account.ID, "client_id": clientID, "aud": audienceOf(a.addressees(i)),
		"iat": i.At, "exp": i.Expires, "auth_time": i.SignedIn,
	}
	if a.o.Tokens.Session && i.Session != "" {
		claims["sid"] = i.Session
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
	claims := a.claimsOf(account, i)
	claims["jti"] = base64.RawURLEncoding.EncodeToString(append(i.name[:nameSize:nameSize], a.stamp(i.name, i.Account, i.Epoch)...))
	text, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	jws, err := a.keys.signing().signer.Sign(text)
	if err != nil {
		return "", err
	}
	return jws.CompactSerialize()
}

// stampSize is how many bytes of a JWT's jti say under which credentials it was made.
const stampSize = 8

// stamp says under which credentials a token of that name was made, to us alone: nobody else can tell whether two tokens were made under
// the same.
func (a *Accounts) stamp(name []byte, id, epoch string) []byte {
	sum := a.stamps.Sum(append(name[:nameSize:nameSize], id+"\x00"+epoch...))
	return sum[:stampSize]
}

// madeUnder reports whether a JWT of ours was made under the credentials that an account has now.
func (a *Accounts) madeUnder(account *Account, jti string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(jti)
	return err == nil && len(raw) == nameSize+stampSize && seal.Equal(raw[nameSize:], a.stamp(raw, account.ID, account.Epoch()))
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
