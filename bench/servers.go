package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// orders is what the API answers: about 2 kB of JSON.
var orders = func() []byte {
	var b strings.Builder
	b.WriteString(`{"page":2,"orders":[`)
	for i := range 20 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"ord_%08d","status":"shipped","total":{"amount":%d,"currency":"EUR"},"items":%d}`, 4711+i, 1999+100*i, 1+i%5)
	}
	b.WriteString(`]}`)
	return []byte(b.String())
}()

// accessToken is as long as providers' JWTs are. Nobody here looks into it.
var accessToken = "eyJhbGciOiJSUzI1NiJ9." + strings.Repeat("Y2xvYWtyb29t", 70) + "." + strings.Repeat("s", 342)

// api is the upstream. It counts what reaches it with and without the access token.
type api struct {
	*httptest.Server
	with, without atomic.Int64
}

func newAPI() *api {
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if holds(r) {
			a.with.Add(1)
		} else {
			a.without.Add(1)
		}
		h := w.Header()
		h.Set("Content-Type", "application/json; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("Etag", `W/"7c0-5Qw3cUgZ"`)
		h.Set("Vary", "Accept-Encoding")
		w.Write(orders) // if this fails the client says so
	}))
	return a
}

// holds reports whether a request has the access token: as a bearer, in a cookie, or split over two.
func holds(r *http.Request) bool {
	cut := strings.LastIndexByte(accessToken, '.')
	cookies := r.Header.Get("Cookie")
	return r.Header.Get("Authorization") == "Bearer "+accessToken || strings.Contains(cookies, "="+accessToken[:cut]) && strings.Contains(cookies, accessToken[cut+1:])
}

// check reports whether exactly so many requests came since the last check.
func (a *api) check(with, without int) error {
	gotWith, gotWithout := a.with.Swap(0), a.without.Swap(0)
	if gotWith == int64(with) && gotWithout == int64(without) {
		return nil
	}
	return fmt.Errorf("%d requests reached the upstream with the access token and %d without, want %d and %d", gotWith, gotWithout, with, without)
}

// provider is an OpenID provider that signs everyone in at once.
type provider struct {
	*httptest.Server
	signer       jose.Signer
	accessSigner jose.Signer // of access tokens in the profile of RFC 9068
	public       jose.JSONWebKeySet
	nonces       sync.Map // by code
}

func newProvider() (*provider, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	p := &provider{public: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "1", Algorithm: "ES256", Use: "sig"}}}}
	private := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}
	if p.signer, err = jose.NewSigner(private, nil); err != nil {
		return nil, err
	}
	if p.accessSigner, err = jose.NewSigner(private, (&jose.SignerOptions{}).WithType("at+jwt")); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", p.metadata)
	mux.HandleFunc("/authorize", p.authorize)
	mux.HandleFunc("/token", p.token)
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { send(w, p.public) })
	p.Server = httptest.NewServer(mux)
	return p, nil
}

func (p *provider) metadata(w http.ResponseWriter, _ *http.Request) {
	send(w, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
	})
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q, code := r.URL.Query(), rand.Text()
	p.nonces.Store(code, q.Get("nonce"))
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	nonce, known := p.nonces.LoadAndDelete(r.FormValue("code"))
	if !known {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": p.URL, "aud": "bench", "sub": "248289761001", "iat": now, "exp": now + 3600, "nonce": nonce,
		"name": "Jane Doe", "email": "jane@example.com", "email_verified": true, "groups": strings.Split(strings.Repeat("department-of-orders,", 25), ","),
	})
	if err != nil {
		panic(err) // these always encode
	}
	signed, err := p.signer.Sign(claims)
	if err != nil {
		panic(err)
	}
	id, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	send(w, map[string]any{
		"access_token": accessToken, "token_type": "Bearer", "expires_in": 3600, "id_token": id, "refresh_token": accessToken[:len(accessToken)-22] + rand.Text()[:22],
	})
}

func send(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // the client says so if this fails
}
