package oidc

import (
	"context"
	"crypto"
	_ "crypto/sha256" // for at_hash
	_ "crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	goidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// verify returns the claims of an ID token that the provider signed for us and that is valid now (OpenID Connect Core
// §3.1.3.7). What it must say about one login or refresh is its caller's to check.
//
// go-oidc verifies signature, algorithm, issuer, audience and expiry. check does the claims again, exactly: go-oidc matches
// their names in any case, takes numbers in quotes, any further audience, and lets Google spell its issuer in two ways.
func (p *Provider) verify(ctx context.Context, token string) (issuer.Claims, error) {
	const op = "verify ID token"
	if token == "" {
		return nil, session.Fail(session.ProviderLied, op, "the answer has no id_token")
	}
	if _, ok := issuer.Part(token, 1); !ok {
		return nil, session.Fail(session.ProviderLied, op, "not a signed JWT")
	}
	keys := &rememberingKeys{keys: p.keys}
	verified, err := goidc.NewVerifier(p.o.Issuer, keys, &goidc.Config{
		ClientID:             p.o.ClientID,
		SupportedSigningAlgs: p.o.Algorithms,
		Now:                  func() time.Time { return p.now().Add(-issuer.Leeway) },
	}).Verify(ctx, token)
	switch {
	case keys.err != nil:
		return nil, keys.err
	case err != nil:
		return nil, &session.Error{Code: session.ProviderLied, Op: op, Err: err, Hint: p.algorithmHint(token)}
	}
	var c issuer.Claims
	if err := verified.Claims(&c); err != nil {
		return nil, session.Fail(session.ProviderLied, op, "%w", err)
	}
	if err := p.check(c); err != nil {
		return nil, session.Fail(session.ProviderLied, op, "%w", err)
	}
	return c, nil
}

// rememberingKeys keeps the error that go-oidc would turn into text: keys that cannot be fetched are not a bad signature.
type rememberingKeys struct {
	keys *issuer.Keys
	err  error
}

func (r *rememberingKeys) VerifySignature(ctx context.Context, token string) (payload []byte, err error) {
	payload, r.err = r.keys.VerifySignature(ctx, token)
	return payload, r.err
}

// check holds of every ID token, at login and at refresh.
func (p *Provider) check(c issuer.Claims) error {
	now := p.now()
	if iss, _ := c["iss"].(string); iss != p.o.Issuer {
		return fmt.Errorf("iss is %q, not %q", issuer.Printable(iss, 200), p.o.Issuer)
	}
	if sub, _ := c["sub"].(string); sub == "" || len(sub) > 255 {
		return errors.New("sub is not text of 1 to 255 bytes")
	}
	if err := p.checkAudience(c); err != nil {
		return err
	}
	exp, err := c.Time("exp")
	if err != nil {
		return err
	}
	if !now.Before(exp.Add(issuer.Leeway)) {
		return fmt.Errorf("expired at %s", exp.UTC().Format(time.RFC3339))
	}
	iat, err := c.Time("iat")
	if err != nil {
		return err
	}
	if iat.After(now.Add(issuer.Leeway)) {
		return fmt.Errorf("issued in the future, at %s: is a clock wrong?", iat.UTC().Format(time.RFC3339))
	}
	if _, ok := c["nbf"]; ok {
		if nbf, err := c.Time("nbf"); err != nil || nbf.After(now.Add(issuer.Leeway)) {
			return errors.New("nbf is in the future or no time")
		}
	}
	if sid, ok := c["sid"]; ok {
		if text, isText := sid.(string); !isText || len(text) > 255 {
			return errors.New("sid is not text of at most 255 bytes")
		}
	}
	return nil
}

// checkAudience wants the token made for us and for nobody else but the APIs we ask tokens for. A token for several must
// say that it was us who asked.
func (p *Provider) checkAudience(c issuer.Claims) error {
	audience, err := c.Audience()
	if err != nil {
		return err
	}
	if !slices.Contains(audience, p.o.ClientID) {
		return fmt.Errorf("aud is %q, without client_id %q", issuer.Printable(strings.Join(audience, " "), 200), p.o.ClientID)
	}
	trusted := append([]string{p.o.ClientID, p.o.Audience}, p.o.Resource...)
	for _, a := range audience {
		if a == "" || !slices.Contains(trusted, a) {
			return fmt.Errorf("aud also names %q, which is neither client_id nor audience nor resource", issuer.Printable(a, 200))
		}
	}
	azp, present := c["azp"]
	if (present || len(audience) > 1) && azp != p.o.ClientID {
		return errors.New("azp is not our client_id")
	}
	return nil
}

// checkLogin is what an ID token must say about one login.
func (p *Provider) checkLogin(c issuer.Claims, pending session.Pending, token, access string) error {
	nonce, _ := c["nonce"].(string)
	if subtle.ConstantTimeCompare([]byte(nonce), []byte(pending.Nonce())) != 1 {
		return errors.New("nonce is missing or of another login")
	}
	if err := checkAccessHash(c, token, access); err != nil {
		return err
	}
	limit, err := strconv.Atoi(p.o.Params["max_age"])
	if err != nil { // not asked for
		return nil
	}
	at, err := c.Time("auth_time")
	if err != nil {
		return err
	}
	if p.now().After(at.Add(time.Duration(limit)*time.Second + issuer.Leeway)) {
		return errors.New("auth_time is longer ago than max_age allows")
	}
	return nil
}

// checkStrength refuses a login that was weaker than asked for. A provider does no wrong by that: acr_values is a wish to it
// (OpenID Connect Core §3.1.2.1), and whoever needs one of them has to look (§3.1.3.7).
func (p *Provider) checkStrength(c issuer.Claims) error {
	if len(p.o.ACRValues) == 0 {
		return nil
	}
	if acr, _ := c["acr"].(string); !slices.Contains(p.o.ACRValues, acr) {
		return &session.Error{
			Code: session.LoginWeak, Op: "verify ID token", Err: fmt.Errorf("acr is %q, which is not in acr_values", issuer.Printable(acr, 200)),
			Hint: "have the provider ask this client's people for what acr_values names, or name what it tells: " + strings.Join(p.o.ACRValues, " "),
		}
	}
	return nil
}

// checkAccessHash ties the access token to the ID token, if the provider did so (OpenID Connect Core §3.1.3.6).
func checkAccessHash(c issuer.Claims, token, access string) error {
	claim, present := c["at_hash"]
	if !present {
		return nil
	}
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512, "DSA": crypto.SHA512}
	alg := algorithm(token)
	kind, ok := hash[alg[max(0, len(alg)-3):]]
	if !ok {
		return errors.New("no hash belongs to the algorithm of the ID token")
	}
	h := kind.New()
	h.Write([]byte(access))
	want := base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:kind.Size()/2])
	if got, _ := claim.(string); subtle.ConstantTimeCompare([]byte(got), []byte(want)) != 1 {
		return errors.New("at_hash is not of the access token that came with it")
	}
	return nil
}

// algorithm is what the header of a JWS says, "" for what is none.
func algorithm(token string) string {
	var h struct {
		Alg string `json:"alg"`
	}
	if header, ok := issuer.Part(token, 0); ok {
		_ = json.Unmarshal(header, &h) // no JSON: no algorithm
	}
	return h.Alg
}

func (p *Provider) algorithmHint(token string) string {
	alg := algorithm(token)
	if slices.Contains(p.o.Algorithms, alg) || !slices.Contains(issuer.Algorithms, alg) {
		return ""
	}
	return fmt.Sprintf("the provider signs with %s: register %s for this client there, or set algorithms: [%s]",
		alg, p.o.Algorithms[0], alg)
}
