package issuer

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
)

// TestKeySet_ID8_WhatCountsAsKey: what is no key for signatures is left out, and hurts no other.
func TestKeySet_ID8_WhatCountsAsKey(t *testing.T) {
	modulus := func(bits int) string {
		return base64.RawURLEncoding.EncodeToString(append([]byte{0x80}, make([]byte, bits/8-1)...))
	}
	const ec = `"kty":"EC","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"`
	for _, c := range []struct {
		name, jwk string
		kept      bool
	}{
		{"rsa", `{"kty":"RSA","n":"` + modulus(2048) + `","e":"AQAB"}`, true},
		{"rsa with all", `{"kty":"RSA","kid":"a","use":"sig","alg":"RS256","key_ops":["verify"],"n":"` + modulus(2048) + `","e":"AQAB"}`, true},
		{"broken certificate beside it", `{"kty":"RSA","n":"` + modulus(2048) + `","e":"AQAB","x5c":["!"],"x5t":"?","x5u":"::"}`, true},
		{"ec", `{` + ec + `}`, true},
		{"private ec is read as public", `{` + ec + `,"d":"AQ"}`, true},
		{"weak rsa", `{"kty":"RSA","n":"` + modulus(1024) + `","e":"AQAB"}`, false},
		{"huge rsa", `{"kty":"RSA","n":"` + modulus(16384) + `","e":"AQAB"}`, false},
		{"for encryption", `{"kty":"RSA","use":"enc","n":"` + modulus(2048) + `","e":"AQAB"}`, false},
		{"for other operations", `{"kty":"RSA","key_ops":["encrypt"],"n":"` + modulus(2048) + `","e":"AQAB"}`, false},
		{"for no operation", `{"kty":"RSA","key_ops":[],"n":"` + modulus(2048) + `","e":"AQAB"}`, false},
		{"symmetric", `{"kty":"oct","k":"c2VjcmV0"}`, false},
		{"off the curve", `{"kty":"EC","crv":"P-256","x":"AQ","y":"AQ"}`, false},
		{"unknown curve", `{"kty":"EC","crv":"secp256k1","x":"AQ","y":"AQ"}`, false},
		{"unknown type", `{"kty":"XYZ"}`, false},
		{"kid no text", `{"kid":1,` + ec + `}`, false},
		{"no object", `7`, false},
		{"null", `null`, false},
	} {
		keys, err := parseKeys([]json.RawMessage{json.RawMessage(c.jwk), json.RawMessage(`{` + ec + `,"kid":"good"}`)})
		if err != nil {
			t.Fatal(err)
		}
		want := 1
		if c.kept {
			want = 2
		}
		if len(keys) != want || keys[len(keys)-1].KeyID != "good" {
			t.Errorf("%s: %d keys, want %d", c.name, len(keys), want)
		}
		for _, key := range keys {
			if !key.IsPublic() {
				t.Errorf("%s: a private key is kept", c.name)
			}
		}
	}
}

func TestKeySet_ID8_AtMost500(t *testing.T) {
	_, err := parseKeys(make([]json.RawMessage, keysMost))
	if err != nil {
		t.Error(err)
	}
	_, err = parseKeys(make([]json.RawMessage, keysMost+1))
	if session.CodeOf(err) != session.ProviderLied {
		t.Errorf("got %v", err)
	}
}

func TestPart_OnlyCompactTokens(t *testing.T) {
	for _, token := range []string{"", ".", "..", "a.b", "a.b.c.d", "!.e30.", "e30..", strings.Repeat("a", TokenLimit) + ".e30."} {
		if _, ok := Part(token, 0); ok {
			t.Errorf("%.20q passes", token)
		}
	}
}
