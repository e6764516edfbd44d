package accounts

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// How signing keys come and go.
const (
	keyLife = 90 * 24 * time.Hour // after this another one takes over
	// keyLead is how long a key is published before it signs, and keyTail after it has signed last: longer than anybody keeps what
	// is published (JWKSLife), and than a token lives.
	keyLead = 2 * JWKSLife
	keyTail = time.Hour

	keyReload = time.Minute // another replica may have made one
)

// JWKSLife is how long the published keys may be kept.
const JWKSLife = 5 * time.Minute

// Algorithms are those that tokens can be signed with.
var Algorithms = []string{"ES256", "EdDSA", "RS256"}

// signingKey is one key of the issuer.
type signingKey struct {
	generation int64
	from       time.Time // when it begins to sign
	id         string    // its thumbprint (RFC 7638)
	algorithm  string
	public     jose.JSONWebKey
	signer     jose.Signer
}

// keys are the issuer's, the oldest first. They are in the database, sealed, and made when there is none.
type keys struct {
	db        *database
	box       *seal.Box
	algorithm string
	now       func() time.Time
	known     atomic.Pointer[[]*signingKey]
}

// openKeys reads the keys, and makes the first. Its error has a hint: the keyring has no key any more that they were sealed under.
func openKeys(ctx context.Context, db *database, ring *seal.Keyring, algorithm string) (*keys, error) {
	k := &keys{db: db, box: ring.Box("account keys"), algorithm: algorithm, now: time.Now}
	return k, k.Reload(ctx)
}

// Reload reads the keys again, seals them anew where the keyring has a newer key, and makes another one when it is time.
func (k *keys) Reload(ctx context.Context) error {
	for {
		known, err := k.read(ctx)
		if err != nil {
			return err
		}
		k.known.Store(&known)
		if len(known) > 0 {
			newest, now := known[len(known)-1], k.now()
			if newest.from.After(now) || newest.algorithm == k.algorithm && now.Before(newest.from.Add(keyLife-keyLead)) {
				return nil
			}
		}
		if err := k.Rotate(ctx); err != nil {
			return err
		}
	}
}

// Rotate makes the next key. It is published at once and signs from keyLead on; the very first signs at once. If somebody else made one
// at the same time, theirs it is.
func (k *keys) Rotate(ctx context.Context) error {
	var generation int64 = 1
	from := k.now()
	if known := *k.known.Load(); len(known) > 0 {
		generation, from = known[len(known)-1].generation+1, from.Add(keyLead)
	}
	text, err := newKey(k.algorithm)
	if err != nil {
		return &session.Error{Code: session.Internal, Op: "make signing key", Err: err}
	}
	_, err = k.db.change(ctx, "add signing key", "INSERT INTO account_key (generation, active_from, sealed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		generation, millis(from), k.box.Seal(text, keyContext(generation)))
	return err
}

// keyContext binds a sealed key to its row.
func keyContext(generation int64) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(generation))
}

func newKey(algorithm string) ([]byte, error) {
	var private any
	var err error
	switch algorithm {
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "RS256":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	default:
		err = fmt.Errorf("no algorithm %q", algorithm)
	}
	if err != nil {
		return nil, err
	}
	return x509.MarshalPKCS8PrivateKey(private)
}

// read returns the keys there are, without those whose tokens are all over.
func (k *keys) read(ctx context.Context) ([]*signingKey, error) {
	const op = "read signing keys"
	var found []*signingKey
	err := k.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		rows, err := tx.QueryContext(ctx, "SELECT generation, active_from, sealed FROM account_key ORDER BY generation")
		if err != nil {
			return err
		}
		defer rows.Close()
		found = nil // of a try before
		again := map[int64][]byte{}
		for rows.Next() {
			var generation, from int64
			var sealed []byte
			if err := rows.Scan(&generation, &from, &sealed); err != nil {
				return err
			}
			text, err := k.box.Open(sealed, keyContext(generation))
			if err != nil {
				return &session.Error{
					Code: session.ProviderDown, Op: op, Err: fmt.Errorf("signing key %d: %w", generation, err),
					Hint: "it was sealed under a key that keys: does not list any more; put that back as the last one, and leave it there until the gateway has started once with both",
				}
			}
			key, err := parseKey(generation, timeOf(from), text)
			if err != nil {
				return &session.Error{Code: session.Internal, Op: op, Err: err}
			}
			found = append(found, key)
			if fresh := k.box.Seal(text, keyContext(generation)); seal.KeyID(fresh[:4]) != seal.KeyID(sealed[:4]) {
				again[generation] = fresh
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		for generation, fresh := range again {
			if _, err := tx.ExecContext(ctx, "UPDATE account_key SET sealed = ? WHERE generation = ?", fresh, generation); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	over := 0
	for over+1 < len(found) && k.now().After(found[over+1].from.Add(keyTail)) {
		over++
	}
	if over > 0 {
		_, err = k.db.change(ctx, "forget signing keys", "DELETE FROM account_key WHERE generation < ?", found[over].generation)
	}
	return found[over:], err
}

func parseKey(generation int64, from time.Time, text []byte) (*signingKey, error) {
	private, err := x509.ParsePKCS8PrivateKey(text)
	if err != nil {
		return nil, err
	}
	key := &signingKey{generation: generation, from: from}
	switch private := private.(type) {
	case *ecdsa.PrivateKey:
		key.algorithm, key.public.Key = "ES256", private.Public()
	case ed25519.PrivateKey:
		key.algorithm, key.public.Key = "EdDSA", private.Public()
	case *rsa.PrivateKey:
		key.algorithm, key.public.Key = "RS256", private.Public()
	default:
		return nil, fmt.Errorf("a key of type %T", private)
	}
	key.public.Algorithm, key.public.Use = key.algorithm, "sig"
	thumb, err := key.public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	key.id = base64.RawURLEncoding.EncodeToString(thumb)
	key.public.KeyID = key.id
	key.signer, err = jose.NewSigner(
		jose.SigningKey{Algorithm: jose.SignatureAlgorithm(key.algorithm), Key: jose.JSONWebKey{Key: private, KeyID: key.id}},
		(&jose.SignerOptions{}).WithType("at+jwt"))
	return key, err
}

// signing is the key that signs now: the newest whose time has come.
func (k *keys) signing() *signingKey {
	known, now := *k.known.Load(), k.now()
	for _, key := range slices.Backward(known) {
		if !key.from.After(now) {
			return key
		}
	}
	return known[0] // a clock that went back
}

// Public are the keys to publish: those that sign, will sign, or have signed what may still be good.
func (k *keys) Public() []jose.JSONWebKey {
	known := *k.known.Load()
	all := make([]jose.JSONWebKey, 0, len(known))
	for _, key := range known {
		all = append(all, key.public)
	}
	return all
}
