package accounts

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// What Tokens.Format may say.
const (
	FormatJWT    = "jwt"
	FormatOpaque = "opaque"
)

// opaquePrefix tells our opaque tokens from others, and those who look for secrets in the wrong places what they have found.
const opaquePrefix = "cloakroom_at_"

// nameSize is how many random bytes name a token: its jti begins with them.
const nameSize = 16

// issued is what an access token says, beside whose words it is.
type issued struct {
	Account  string `json:"a"`
	Epoch    string `json:"e"` // of the credentials; an opaque token is over with it
	At       int64  `json:"i"` // seconds, as are the others
	Expires  int64  `json:"x"`
	SignedIn int64  `json:"t"`
	Audience string `json:"d,omitempty"` // the only one; "": all that tokens are for
	Session  string `json:"s,omitempty"` // the sid

	name []byte // random
}

// jti is the name of an opaque token, as APIs are told it.
func (i issued) jti() string { return base64.RawURLEncoding.EncodeToString(i.name) }

// opaque writes i as an opaque token: its name, and the rest sealed under that. Nothing is kept, so nothing has to be swept; and nothing
// can be read from it but by us, who look at the account each time.
func (a *Accounts) opaque(i issued) (string, error) {
	text, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	sealed := a.opaques.SealUnder(i.name, text, a.purpose())
	return opaquePrefix + base64.RawURLEncoding.EncodeToString(append(i.name[:nameSize:nameSize], sealed...)), nil
}

// purpose binds an opaque token to its issuer and audience: where these change, it is void.
func (a *Accounts) purpose() []byte {
	return []byte(a.o.Tokens.Issuer + "\x00" + strings.Join(a.o.Tokens.Audience, "\x00"))
}

// mostOpaque bounds what is tried to be opened, in characters. Ours have about 250.
const mostOpaque = 1024

// openOpaque returns what an opaque token of ours says, whether or not it is still good.
func (a *Accounts) openOpaque(token string) (i issued, ok bool) {
	text, found := strings.CutPrefix(token, opaquePrefix)
	if !found || len(text) > mostOpaque {
		return i, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) <= nameSize {
		return i, false
	}
	plain, err := a.opaques.OpenUnder(raw[:nameSize], raw[nameSize:], a.purpose())
	if err != nil || json.Unmarshal(plain, &i) != nil {
		return i, false
	}
	i.name = raw[:nameSize]
	return i, true
}

// Issued reports whether a token that is no JWT has the form of ours.
func (a *Accounts) Issued(token string) bool { return strings.HasPrefix(token, opaquePrefix) }

// Introspect returns what an access token of ours says (RFC 7662 §2.2), of either format; nil: it is not active, for whatever reason.
// The answer is of this moment: the account was looked at, and whether the token was revoked.
func (a *Accounts) Introspect(ctx context.Context, token string) (map[string]any, error) {
	claims, err := a.active(ctx, token)
	if err != nil || claims == nil {
		return nil, err
	}
	claims["active"], claims["token_type"] = true, "Bearer"
	return claims, nil
}

// active returns the claims of a token that is good now; nil: it is not.
func (a *Accounts) active(ctx context.Context, token string) (map[string]any, error) {
	if a.Issued(token) {
		i, ok := a.openOpaque(token)
		if !ok || time.Now().Unix() >= i.Expires || i.Audience != "" && !a.makes(i.Audience) {
			return nil, nil
		}
		account, err := a.current(ctx, i.Account, i.Epoch)
		if err != nil || account == nil {
			return nil, err
		}
		if gone, err := a.db.revoked(ctx, i.jti(), i.Session); err != nil || gone {
			return nil, err
		}
		claims := a.claimsOf(account, i)
		claims["jti"] = i.jti()
		return claims, nil
	}
	said, _ := issuer.Unverified(token).Audience()
	ours := slices.IndexFunc(said, a.makes)
	if ours < 0 {
		return nil, nil
	}
	grant, err := a.verifyJWT(ctx, token, said[ours])
	if session.CodeOf(err) == session.TokenInvalid {
		return nil, nil
	}
	return maps.Clone(grant.Claims), err
}

// RevokeToken ends an access token of ours before its time (RFC 7009). One that is none, or over, is over. A JWT is over for those
// who ask; whoever goes by its signature takes it until it ends.
func (a *Accounts) RevokeToken(ctx context.Context, token string) error {
	if i, ok := a.openOpaque(token); ok {
		return a.db.revoke(ctx, revokedKey(i.jti()), time.Unix(i.Expires, 0))
	}
	claims, err := a.active(ctx, token)
	if err != nil || claims == nil {
		return err
	}
	expires, err := issuer.Claims(claims).Time("exp")
	if err != nil {
		return &session.Error{Code: session.Internal, Op: "revoke token", Err: err}
	}
	return a.db.revoke(ctx, revokedKey(issuer.Claims(claims).Text("jti")), expires)
}

// Provider is a as sessions see it: where anybody asks about access tokens, one that revokes those of a session that ends.
func (a *Accounts) Provider() session.Provider {
	if a.Opaque() || a.Asked() {
		return revoking{a}
	}
	return a
}

// revoking is a session.Revoker.
type revoking struct{ *Accounts }

// Revoke ends the tokens of a session that has ended: all of them, where they say which session they are of.
func (r revoking) Revoke(ctx context.Context, t session.Tokens) error {
	sid := issuer.Unverified(t.Access).Text("sid") // it comes from a session, so it was ours
	if i, ok := r.openOpaque(t.Access); ok {
		sid = i.Session
	}
	if sid == "" {
		return r.RevokeToken(ctx, t.Access)
	}
	return r.RevokeSession(ctx, sid)
}

// RevokeSession ends all tokens of a session that say which one they are of.
func (r revoking) RevokeSession(ctx context.Context, sid string) error {
	return r.db.revoke(ctx, endedKey(sid), time.Now().Add(mostLife))
}

// revokedKey is how a token's name rests.
func revokedKey(jti string) []byte {
	sum := seal.HashText("revoked token", jti)
	return sum[:]
}

// endedKey is how the name of a session rests, all of whose tokens are revoked.
func endedKey(sid string) []byte {
	sum := seal.HashText("revoked session", sid)
	return sum[:]
}

// revoke notes a token, or a session's, until it ends, and forgets those that have ended.
func (d *database) revoke(ctx context.Context, key []byte, expires time.Time) error {
	return d.within(ctx, "revoke token", func(ctx context.Context, tx *transaction) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_revoked WHERE expires < ?", time.Now().UnixMilli()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO account_revoked (token, expires) VALUES (?, ?) ON CONFLICT DO NOTHING", key, expires.UnixMilli())
		return err
	})
}

// revoked reports whether a token was revoked, or all of its session's, "" for none that is known.
func (d *database) revoked(ctx context.Context, jti, sid string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	var one int
	err := d.QueryRowContext(ctx, "SELECT 1 FROM account_revoked WHERE token = ? OR token = ? LIMIT 1", revokedKey(jti), endedKey(sid)).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, fail("look for revoked token", err)
}

// APIs are those that may ask about access tokens: the secret of each, by its client_id. Printing them shows no secret.
type APIs map[string]string

// leastSecret is how many characters such a secret has at least. Nobody guesses one that was made by chance.
const leastSecret = 32

// String leaves the secrets out.
func (a APIs) String() string { return "secrets of APIs" }

// GoString leaves the secrets out.
func (a APIs) GoString() string { return a.String() }

// MarshalJSON leaves the secrets out.
func (a APIs) MarshalJSON() ([]byte, error) { return json.Marshal(slices.Sorted(maps.Keys(a))) }

func (a APIs) check() error {
	for name, secret := range a {
		if name == "" || len(name) > 100 {
			return errors.New("APIs: a client_id has 1 to 100 bytes")
		}
		if err := CheckSecret(secret); err != nil {
			return fmt.Errorf("APIs: %s: %w", name, err)
		}
	}
	return nil
}

// CheckSecret says why text is no secret for machines to know each other by.
func CheckSecret(text string) error {
	if len(text) < leastSecret {
		return fmt.Errorf("a secret of %d characters is easily guessed; it has at least %d, like those of: cloakroom keys new", len(text), leastSecret)
	}
	return nil
}

// apiSecrets are the same, ready to compare.
type apiSecrets map[string][32]byte

func (a APIs) secrets() apiSecrets {
	all := apiSecrets{}
	for name, secret := range a {
		all[name] = seal.HashText("secret of an API", secret)
	}
	return all
}

// Asked reports whether there is anybody who may ask about tokens.
func (a *Accounts) Asked() bool { return len(a.apis) > 0 }

// KnowsAPI reports whether a secret is that of an API, in a time that does not tell.
func (a *Accounts) KnowsAPI(id, secret string) bool {
	want, known := a.apis[id]
	got := seal.HashText("secret of an API", strings.ReplaceAll(secret, "\x00", "\x01\x01")) // nothing with a zero byte is one
	return seal.Equal(got[:], want[:]) && known
}
