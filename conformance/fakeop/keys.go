package fakeop

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/go-jose/go-jose/v4"
)

// keyring is one generation of keys.
type keyring struct {
	generation int
	rsa        *rsa.PrivateKey
	other      *rsa.PrivateKey
	ec         *ecdsa.PrivateKey
	ed         ed25519.PrivateKey
}

// Making RSA keys is slow, so the tests of a program share them.
var (
	poolLock sync.Mutex
	pool     []keyring
)

func newKeyring() keyring { return keyring{generation: -1}.next() }

func (k keyring) next() keyring {
	poolLock.Lock()
	defer poolLock.Unlock()
	for len(pool) <= k.generation+1 {
		made := keyring{generation: len(pool)}
		made.rsa = must(rsa.GenerateKey(rand.Reader, 2048))
		made.other = made.rsa
		if len(pool) > 0 {
			made.other = pool[0].rsa
		}
		made.ec = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
		_, made.ed, _ = ed25519.GenerateKey(rand.Reader)
		pool = append(pool, made)
	}
	return pool[k.generation+1]
}

// kid names a key of a generation.
func (k keyring) kid(name string) string { return name + "-" + strconv.Itoa(k.generation) }

// public is the JWKS: the keys that sign, and what a client has to cope with beside them: another kind of key under the
// same id, a curve that Go does not know, keys for encryption, an unknown type.
func (k keyring) public() []any {
	jwk := func(key any, kid, use string) any {
		return jose.JSONWebKey{Key: key, KeyID: kid, Use: use}
	}
	return []any{
		jwk(&k.ec.PublicKey, k.kid("rsa"), "sig"), // a decoy
		map[string]any{
			"kty": "EC", "crv": "secp256k1", "kid": k.kid("k1"), "use": "sig",
			"x": "eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g", "y": "SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg",
		},
		map[string]any{"kty": "QUANTUM", "kid": k.kid("rsa"), "q": []int{1}},
		jwk(&k.rsa.PublicKey, k.kid("enc"), "enc"),
		jwk(&k.rsa.PublicKey, k.kid("rsa"), "sig"),
		jwk(&k.ec.PublicKey, k.kid("ec"), "sig"),
		jwk(k.ed.Public(), k.kid("ed"), "sig"),
	}
}

// Signer signs tokens, honestly or not.
type Signer struct{ keys keyring }

// RSA returns the key that signs by default.
func (s *Signer) RSA() *rsa.PrivateKey { return s.keys.rsa }

// Honest signs as the provider does by default: RS256, with a key id.
func (s *Signer) Honest(claims map[string]any) string {
	return s.With(jose.RS256, s.keys.rsa, s.keys.kid("rsa"), claims, nil)
}

// As signs with the provider's own key for an algorithm: RS*, PS*, ES256, EdDSA.
func (s *Signer) As(alg jose.SignatureAlgorithm, claims map[string]any) string {
	switch alg {
	case jose.ES256:
		return s.With(alg, s.keys.ec, s.keys.kid("ec"), claims, nil)
	case jose.EdDSA:
		return s.With(alg, s.keys.ed, s.keys.kid("ed"), claims, nil)
	}
	return s.With(alg, s.keys.rsa, s.keys.kid("rsa"), claims, nil)
}

// Typed signs with the provider's ES256 key a token whose header says that it is of this type; "" says nothing.
func (s *Signer) Typed(typ string, claims map[string]any) string {
	return s.With(jose.ES256, s.keys.ec, s.keys.kid("ec"), claims, map[string]any{"typ": typ})
}

// With signs with any key under any id ("": none) and more header members.
func (s *Signer) With(alg jose.SignatureAlgorithm, key any, kid string, claims, header map[string]any) string {
	options := &jose.SignerOptions{}
	options.WithType("JWT")
	if kid != "" {
		options.WithHeader("kid", kid)
	}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options))
	return must(must(signer.Sign(must(json.Marshal(claims)))).CompactSerialize())
}

// Unsigned makes a token with any header and these bytes for a signature.
func (s *Signer) Unsigned(header, claims map[string]any, signature string) string {
	text := func(v any) string { return base64.RawURLEncoding.EncodeToString(must(json.Marshal(v))) }
	return text(header) + "." + text(claims) + "." + base64.RawURLEncoding.EncodeToString([]byte(signature))
}

// Kid is the id of the key that signs by default.
func (s *Signer) Kid() string { return s.keys.kid("rsa") }

// half is the left half of a hash (OpenID Connect Core §3.1.3.6).
func half(h crypto.Hash, text string) string {
	sum := h.New()
	sum.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:h.Size()/2])
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("fakeop: " + err.Error())
	}
	return v
}
