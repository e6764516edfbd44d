package issuer

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/session"
)

// How keys are kept.
const (
	KeysFresh  = 10 * time.Minute // after this a withdrawn key is no longer good
	KeysForced = 30 * time.Second // between two fetches for the sake of unknown keys
	keysMost   = 500
)

// opSignature is the Op of errors that are the token's own fault, and not those of its keys' publisher.
const opSignature = "verify signature"

// Keys verifies signatures with the keys that the provider publishes.
//
// A key it does not know makes it fetch them again, once in KeysForced however many unknown keys come: that interval is the
// negative cache. A flood of bad key ids delays a real rotation by at most as much, because one fetch brings all keys.
type Keys struct {
	doc        *Document[[]jose.JSONWebKey]
	algorithms []jose.SignatureAlgorithm
}

// VerifySignature returns the payload of a compact JWS. ProviderLied: not signed by the provider with an accepted algorithm;
// ProviderDown, ProviderRefused: its keys cannot be had. It implements go-oidc's KeySet.
func (k *Keys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	const op = opSignature
	jws, err := jose.ParseSignedCompact(token, k.algorithms)
	if err != nil {
		return nil, &session.Error{Code: session.ProviderLied, Op: op, Err: err,
			Hint: "accepted algorithms are " + joined(k.algorithms) + "; see algorithms"}
	}
	e, err := k.doc.Get(ctx)
	if err != nil {
		return nil, err
	}
	payload, known := tryKeys(jws, e.Value)
	if payload == nil && !known {
		newer, err := k.doc.refetch(ctx, e.Version, KeysForced)
		if err != nil {
			return nil, err
		}
		payload, known = tryKeys(jws, newer.Value)
	}
	switch {
	case payload != nil:
		return payload, nil
	case known:
		return nil, session.Fail(session.ProviderLied, op, "the signature does not match")
	}
	return nil, session.Fail(session.ProviderLied, op, "the provider publishes no key that made this signature")
}

// tryKeys verifies with every key that may have made the signature. known says that the token names one of them, so that
// other keys would not help.
func tryKeys(jws *jose.JSONWebSignature, keys []jose.JSONWebKey) (payload []byte, known bool) {
	header := jws.Signatures[0].Header
	for _, key := range keys {
		if !fits(key, header) {
			continue
		}
		known = header.KeyID != ""
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, true
		}
	}
	return nil, known
}

// fits compares id, type, curve and algorithm: providers publish several keys under one id. A token without an id may be of
// any key that fits otherwise.
func fits(key jose.JSONWebKey, header jose.Header) bool {
	if header.KeyID != "" && key.KeyID != header.KeyID {
		return false
	}
	if key.Algorithm != "" && key.Algorithm != header.Algorithm {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(header.Algorithm, "RS") || strings.HasPrefix(header.Algorithm, "PS")
	case *ecdsa.PublicKey:
		return header.Algorithm == map[elliptic.Curve]string{
			elliptic.P256(): "ES256", elliptic.P384(): "ES384", elliptic.P521(): "ES512",
		}[public.Curve]
	case ed25519.PublicKey:
		return header.Algorithm == "EdDSA"
	}
	return false
}

// publicKey is what we read of a JWK (RFC 7517 §4). Certificates, private parts and symmetric keys are not even looked at.
type publicKey struct {
	Kty string   `json:"kty"`
	Kid string   `json:"kid,omitempty"`
	Use string   `json:"use,omitempty"`
	Ops []string `json:"key_ops,omitempty"`
	Alg string   `json:"alg,omitempty"`
	Crv string   `json:"crv,omitempty"`
	N   string   `json:"n,omitempty"`
	E   string   `json:"e,omitempty"`
	X   string   `json:"x,omitempty"`
	Y   string   `json:"y,omitempty"`
}

// parseKeys returns the keys that can verify a signature here. What it does not understand it leaves out (RFC 7517 §5).
func parseKeys(raw []json.RawMessage) ([]jose.JSONWebKey, error) {
	if len(raw) > keysMost {
		return nil, session.Fail(session.ProviderLied, "fetch keys", "more than %d keys", keysMost)
	}
	var keys []jose.JSONWebKey
	for _, one := range raw {
		var public publicKey
		if json.Unmarshal(one, &public) != nil ||
			(public.Use != "" && public.Use != "sig") || (public.Ops != nil && !slices.Contains(public.Ops, "verify")) {
			continue
		}
		public.Ops = nil
		var key jose.JSONWebKey
		if text, err := json.Marshal(public); err != nil || key.UnmarshalJSON(text) != nil {
			continue
		}
		if k, ok := key.Key.(*rsa.PublicKey); ok && (k.N.BitLen() < 2048 || k.N.BitLen() > 8192) {
			continue // too weak, or meant to keep us busy
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// NewKeys fetches from wherever address says at that time, and accepts these algorithms.
func NewKeys(c Calls, address func(context.Context) (string, error), now func() time.Time, algorithms []string) *Keys {
	doc := NewDocument(now, func(ctx context.Context) ([]jose.JSONWebKey, time.Duration, error) {
		at, err := address(ctx)
		if err != nil {
			return nil, 0, err
		}
		var set struct {
			Keys []json.RawMessage `json:"keys"`
		}
		if _, err := c.Get(ctx, "fetch keys", at, &set); err != nil {
			return nil, 0, err
		}
		keys, err := parseKeys(set.Keys)
		return keys, KeysFresh, err
	})
	return (&Keys{doc: doc}).Accepting(algorithms)
}

// KeysFrom is NewKeys for an issuer of our own, whose keys fetch brings from nearby. They are read again after a minute.
func KeysFrom(fetch func(context.Context) ([]jose.JSONWebKey, error), now func() time.Time, algorithms []string) *Keys {
	doc := NewDocument(now, func(ctx context.Context) ([]jose.JSONWebKey, time.Duration, error) {
		keys, err := fetch(ctx)
		return keys, time.Minute, err
	})
	return (&Keys{doc: doc}).Accepting(algorithms)
}

// Accepting returns the same keys for other algorithms.
func (k *Keys) Accepting(algorithms []string) *Keys {
	other := &Keys{doc: k.doc}
	for _, a := range algorithms {
		other.algorithms = append(other.algorithms, jose.SignatureAlgorithm(a))
	}
	return other
}

// Probe says what is wrong with the keys as they were published at most age ago.
func (k *Keys) Probe(ctx context.Context, age time.Duration) error {
	keys, err := k.doc.Within(ctx, age)
	switch {
	case err != nil:
		return err
	case len(keys.Value) == 0:
		return session.Fail(session.ProviderLied, "fetch keys", "jwks_uri has no key that can verify a signature")
	}
	return nil
}

func joined(algorithms []jose.SignatureAlgorithm) string {
	var names []string
	for _, a := range algorithms {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}
