package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/session"
)

// TestIDToken_ID10_KeyConfusion signs with the public key as an HMAC secret, in every form a library might read it.
func TestIDToken_ID10_KeyConfusion(t *testing.T) {
	forms := map[string]func(s *fakeop.Signer) ([]byte, error){
		"pkix pem": func(s *fakeop.Signer) ([]byte, error) {
			der, err := x509.MarshalPKIXPublicKey(&s.RSA().PublicKey)
			return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), err
		},
		"pkcs1 pem": func(s *fakeop.Signer) ([]byte, error) {
			der := x509.MarshalPKCS1PublicKey(&s.RSA().PublicKey)
			return pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: der}), nil
		},
		"pkix der":  func(s *fakeop.Signer) ([]byte, error) { return x509.MarshalPKIXPublicKey(&s.RSA().PublicKey) },
		"pkcs1 der": func(s *fakeop.Signer) ([]byte, error) { return x509.MarshalPKCS1PublicKey(&s.RSA().PublicKey), nil },
		"jwk":       func(s *fakeop.Signer) ([]byte, error) { return json.Marshal(jose.JSONWebKey{Key: &s.RSA().PublicKey}) },
		"modulus":   func(s *fakeop.Signer) ([]byte, error) { return s.RSA().N.Bytes(), nil },
		"secret": func(*fakeop.Signer) ([]byte, error) {
			return []byte(fakeop.ClientSecret + strings.Repeat("\x00", 14)), nil
		},
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := meet(t, nil, fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string {
				secret, err := form(s)
				if err != nil {
					t.Error(err)
				}
				return s.With(jose.HS256, secret, s.Kid(), c, nil)
			}))
			_, err := p.login()
			refused(t, err, session.ProviderLied, "algorithm")
			p.silentAfter("token")
		})
	}
}

// TestIDToken_ID8_KeysFromTheTokenItself: a token that brings its own key, or tells where to fetch one, gains nothing.
func TestIDToken_ID8_KeysFromTheTokenItself(t *testing.T) {
	var hits atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer evil.Close()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	headers := map[string]map[string]any{
		"jku": {"jku": evil.URL},
		"x5u": {"x5u": evil.URL},
		"jwk": {"jwk": jose.JSONWebKey{Key: &key.PublicKey}},
	}
	for name, header := range headers {
		for _, kid := range []string{"", "evil"} {
			p := meet(t, func(o *oidc.Options) { o.Algorithms = []string{"ES256"} },
				fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string { return s.With(jose.ES256, key, kid, c, header) }))
			_, err := p.login()
			refused(t, err, session.ProviderLied, "")
			if hits.Load() != 0 {
				t.Errorf("%s was followed", name)
			}
		}
	}
}

// TestIDToken_ID8_KeyChoice: a token signed with a key that is published, but not for this.
func TestIDToken_ID8_KeyChoice(t *testing.T) {
	for _, c := range []struct {
		name string
		tell fakeop.Lie
	}{
		{"encryption key", fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string {
			return s.With(jose.RS256, s.RSA(), strings.Replace(s.Kid(), "rsa", "enc", 1), c, nil)
		})},
		{"other algorithm", fakeop.Keys(func(keys []any) []any { return eachRSA(keys, func(k *jose.JSONWebKey) { k.Algorithm = "RS512" }) })},
		{"other kid", fakeop.Keys(func(keys []any) []any { return eachRSA(keys, func(k *jose.JSONWebKey) { k.KeyID = "x" }) })},
		{"no keys", fakeop.Keys(func([]any) []any { return nil })},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := meet(t, nil, c.tell)
			_, err := p.login()
			refused(t, err, session.ProviderLied, "no key that made this signature")
			p.silentAfter("token")
		})
	}
}

func TestIDToken_ID8_TooManyKeys(t *testing.T) {
	p := meet(t, nil, fakeop.Keys(func(keys []any) []any { return append(keys, make([]any, 500)...) }))
	_, err := p.login()
	refused(t, err, session.ProviderLied, "more than 500 keys")
}

// TestIDToken_ID8_DuplicateKeyIDs: the right key comes after others of the same id, type and algorithm.
func TestIDToken_ID8_DuplicateKeyIDs(t *testing.T) {
	p := meet(t, nil)
	p.op.RotateKeys() // so that there is an older RSA key to be in the way
	older := fakeop.New(t)
	p.op.Tell(fakeop.Keys(func(keys []any) []any {
		decoys := eachRSA(older.PublicKeys(), func(k *jose.JSONWebKey) { k.KeyID = kidOf(keys) })
		return append(decoys, keys...)
	}))
	p.mustLogin()
}

// TestIDToken_ID9_UnknownKeys: logins with bad key ids cost one fetch beyond the first. See also TestKeySet_ID9_AThousandUnknownKeys.
func TestIDToken_ID9_UnknownKeys(t *testing.T) {
	p := meet(t, func(o *oidc.Options) { o.UserinfoOff = true })
	p.mustLogin()
	p.op.Forget()
	var n atomic.Int32
	p.op.Tell(fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string {
		return s.Unsigned(map[string]any{"alg": "RS256", "kid": "bad-" + strconv.Itoa(int(n.Add(1)))}, c, "no signature")
	}))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				pending, answer, err := p.begin(session.Intent{})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err = p.rp.Finish(t.Context(), pending, answer); session.CodeOf(err) != session.ProviderLied {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	all.Wait()
	if p.op.Count("token") != 80 || p.op.Count("jwks") != 1 {
		t.Errorf("%d tokens, %d fetches of keys", p.op.Count("token"), p.op.Count("jwks"))
	}
}

// TestIDToken_ID9_BadSignatureOfAKnownKey: other keys would not help, so none are fetched.
func TestIDToken_ID9_BadSignatureOfAKnownKey(t *testing.T) {
	p := meet(t, nil)
	p.mustLogin()
	p.op.Tell(corrupted(jose.RS256))
	_, err := p.login()
	refused(t, err, session.ProviderLied, "the signature does not match")
	if n := p.op.Count("jwks"); n != 1 {
		t.Errorf("keys were fetched %d times", n)
	}
}

// TestIDToken_ID9_Rotation is oidcc-client-test-signing-key-rotation and -just-before-signing.
func TestIDToken_ID9_Rotation(t *testing.T) {
	t.Run(core+"signing-key-rotation", func(t *testing.T) {
		p := meet(t, nil)
		p.mustLogin()
		p.op.RotateKeys()
		p.mustLogin()
		p.mustLogin()
		if p.op.Count("jwks") != 2 {
			t.Errorf("keys were fetched %d times", p.op.Count("jwks"))
		}
	})
	t.Run(core+"signing-key-rotation-just-before-signing", func(t *testing.T) {
		p := meet(t, nil)
		p.mustLogin()
		pending, answer, err := p.begin(session.Intent{})
		if err != nil {
			t.Fatal(err)
		}
		p.op.RotateKeys()
		if _, err := p.rp.Finish(t.Context(), pending, answer); err != nil {
			t.Fatal(err)
		}
	})
	t.Run(own+"rotation-without-key-ids", func(t *testing.T) {
		p := meet(t, nil, withoutKid)
		p.mustLogin()
		p.op.RotateKeys()
		p.mustLogin()
	})
}

// TestIDToken_ID9_KeysOutOfReach: new keys cannot be fetched, so nobody can say that the provider lied.
func TestIDToken_ID9_KeysOutOfReach(t *testing.T) {
	p := meet(t, nil)
	p.mustLogin()
	p.op.Tell(fakeop.Status("jwks", 503, ""))
	p.mustLogin() // with the keys known
	p.op.RotateKeys()
	_, err := p.login()
	refused(t, err, session.ProviderDown, "503")
	_, err = p.login()
	refused(t, err, session.ProviderDown, "503")
	if n := p.op.Count("jwks"); n != 2 {
		t.Errorf("keys were asked for %d times: a provider that is down needs a pause", n)
	}
}

// TestDiscovery_JWKSFromMetadata is oidcc-client-test-discovery-jwks-uri-keys: metadata and keys first, at a random address.
func TestDiscovery_JWKSFromMetadata(t *testing.T) {
	p := meet(t, nil)
	p.mustLogin()
	heard := p.op.Endpoints()
	if want := []string{"metadata", "authorize", "token", "jwks", "userinfo"}; !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
}

// eachRSA changes the RSA signing keys of a JWKS.
func eachRSA(keys []any, change func(*jose.JSONWebKey)) []any {
	for i, k := range keys {
		if jwk, ok := k.(jose.JSONWebKey); ok && signsRSA(k) {
			change(&jwk)
			keys[i] = jwk
		}
	}
	return keys
}

func kidOf(keys []any) string {
	for _, k := range keys {
		if signsRSA(k) {
			return k.(jose.JSONWebKey).KeyID
		}
	}
	return ""
}
