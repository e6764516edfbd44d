package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// verifier says whether a text is an access token of the issuer for this API (RFC 9068 §4).
type verifier struct {
	issuer string
	keys   func(id string) []jose.JSONWebKey
}

// errNoBearer says that a request carries no token at all.
var errNoBearer = errors.New("no bearer token")

// bearer is the token in r's Authorization.
func bearer(r *http.Request) (string, error) {
	scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return "", errNoBearer
	}
	return raw, nil
}

// tokenCookies are the cookies that an API reads the access token from: whole, or all but its signature and the signature.
type tokenCookies struct{ whole, signature []string }

// tokenCookiesOf are those of a gateway at url, by what docs/security.md says of their names.
func tokenCookiesOf(u *url.URL) tokenCookies {
	if u.Scheme == "https" {
		return tokenCookies{[]string{"__Host-Http-access_token", "__Host-access_token"}, []string{"__Host-Http-access_token.sig"}}
	}
	name := "cloakroom-" + cmp.Or(u.Port(), "80") + "-access_token"
	return tokenCookies{[]string{name}, []string{name + ".sig"}}
}

// token is the token that r carries, as a bearer or in cookies. One that comes in two ways is none: which of them counts?
func (t tokenCookies) token(r *http.Request) (string, error) {
	token, err := bearer(r)
	var whole, signature []string
	for _, c := range r.Cookies() {
		switch {
		case slices.Contains(t.whole, c.Name):
			whole = append(whole, c.Value)
		case slices.Contains(t.signature, c.Name):
			signature = append(signature, c.Value)
		}
	}
	switch {
	case len(whole) == 0:
		return token, err
	case err == nil || len(whole) > 1 || len(signature) > 1:
		return "", errors.New("the token comes twice")
	case len(signature) == 1:
		return whole[0] + "." + signature[0], nil
	}
	return whole[0], nil
}

func (v verifier) check(raw string) (accessClaims, error) {
	var claims accessClaims
	if len(raw) > 8<<10 {
		return claims, errors.New("the token is too long")
	}
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return claims, errors.New("this is no token signed with RS256")
	}
	head := token.Headers[0]
	if typ, _ := head.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(strings.TrimPrefix(typ, "application/"), "at+jwt") {
		return claims, errors.New("this is no access token") // an ID token is none either
	}
	err = errors.New("no key of the issuer has this id")
	for _, key := range v.keys(head.KeyID) {
		if key.KeyID == head.KeyID {
			err = token.Claims(key.Key, &claims)
		}
	}
	if err != nil {
		return accessClaims{}, fmt.Errorf("the signature is wrong: %w", err)
	}
	if claims.Expiry == nil || claims.IssuedAt == nil || claims.Subject == "" {
		return accessClaims{}, errors.New("exp, iat or sub is missing")
	}
	want := jwt.Expected{Issuer: v.issuer, AnyAudience: jwt.Audience{audience}, Time: time.Now()}
	if err := claims.ValidateWithLeeway(want, 0); err != nil {
		return accessClaims{}, errors.New(strings.TrimPrefix(err.Error(), "go-jose/go-jose/jwt: "))
	}
	return claims, nil
}

// unauthorized answers 401 as RFC 6750 §3 wants it.
func unauthorized(w http.ResponseWriter, err error) {
	challenge := `Bearer realm="demo"`
	if !errors.Is(err, errNoBearer) {
		challenge += fmt.Sprintf(`, error="invalid_token", error_description=%q`, err.Error())
	}
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "unauthorized", "detail": err.Error()})
}

// remoteKeys are an issuer's keys, fetched when a token names one that is not known, at most once in five seconds.
type remoteKeys struct {
	url    string
	client *http.Client

	mu    sync.Mutex
	set   jose.JSONWebKeySet
	asked time.Time
}

func (k *remoteKeys) find(id string) []jose.JSONWebKey {
	k.mu.Lock()
	defer k.mu.Unlock()
	if found := k.set.Key(id); len(found) > 0 || time.Since(k.asked) < 5*time.Second {
		return found
	}
	k.asked = time.Now()
	set, err := k.fetch()
	if err != nil {
		k.asked = time.Time{} // nothing was learned: the next request may try
		return nil
	}
	k.set = set
	return k.set.Key(id)
}

func (k *remoteKeys) fetch() (set jose.JSONWebKeySet, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return set, err
	}
	res, err := k.client.Do(req)
	if err != nil {
		return set, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return set, fmt.Errorf("keys: %s", res.Status)
	}
	return set, json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&set)
}
