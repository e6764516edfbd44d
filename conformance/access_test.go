package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/verify"
)

const api = "https://api.example.com"

// access are the claims of a good access token (RFC 9068 §2.2).
func (p *party) access(changes ...func(map[string]any)) map[string]any {
	now := time.Now()
	c := map[string]any{
		"iss": p.op.Issuer(), "sub": "machine-1", "aud": api, "client_id": "machine-1", "scope": "notes:read",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": "1",
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func jwtToo(o *oidc.Options) { o.AccessType = "JWT" }

func TestAccess_A1_Good(t *testing.T) {
	for _, c := range []struct {
		name    string
		options func(*oidc.Options)
		token   func(s *fakeop.Signer, claims map[string]any) string
		change  func(map[string]any)
	}{
		{"at+jwt", nil, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("at+jwt", c) }, nil},
		{"application/at+jwt", nil, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("application/AT+JWT", c) }, nil},
		{"JWT by option", jwtToo, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("JWT", c) }, nil},
		{"nothing, by the same option", jwtToo, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("", c) }, nil},
		{"at+jwt all the same", jwtToo, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("at+jwt", c) }, nil},
		{"one audience of several", nil, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("at+jwt", c) }, fakeop.Set("aud", []string{"other", api})},
		{"without what the profile adds", jwtToo, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("at+jwt", c) }, fakeop.Drop("client_id", "jti", "iat")},
		{"Keycloak's typ", jwtToo, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("JWT", c) }, fakeop.Set("typ", "Bearer")},
		{"Cognito's token_use", jwtToo, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("JWT", c) }, fakeop.Set("token_use", "access")},
		{"RS256", jwtToo, func(s *fakeop.Signer, c map[string]any) string { return s.As(jose.RS256, c) }, nil},
		{"EdDSA", jwtToo, func(s *fakeop.Signer, c map[string]any) string { return s.As(jose.EdDSA, c) }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := meet(t, c.options)
			claims := p.access()
			if c.change != nil {
				c.change(claims)
			}
			token := c.token(p.op.Signer(), claims)
			g, err := p.rp.VerifyAccess(context.Background(), token, api)
			if err != nil {
				t.Fatal(err)
			}
			if g.Subject != "machine-1" || g.Issuer != p.op.Issuer() || g.Provider != "main" || g.Tokens.Access != token || g.Claims["scope"] != "notes:read" {
				t.Errorf("%+v", g)
			}
			typ := ""
			if c.options != nil {
				typ = verify.TypeJWT
			}
			if got := knock(t, p.protected(typ), token); got != "200" {
				t.Errorf("an API that verifies it answers %s", got)
			}
			if left := time.Until(g.Tokens.Expires); left < 4*time.Minute || left > 5*time.Minute {
				t.Errorf("it ends in %s", left)
			}
		})
	}
}

// protected is an API that is not behind a gateway and trusts the party's provider: package verify over real HTTP.
func (p *party) protected(tokenType string) *httptest.Server {
	p.t.Helper()
	v, err := verify.New(verify.Options{Issuers: []verify.Issuer{{URL: p.op.Issuer(), TokenType: tokenType}}, Audience: api})
	if err != nil {
		p.t.Fatal(err)
	}
	server := httptest.NewServer(v.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	p.t.Cleanup(server.Close)
	return server
}

// knock says what such an API answers to a bearer: status and WWW-Authenticate.
func knock(t *testing.T, server *httptest.Server, token string) string {
	t.Helper()
	r, err := http.NewRequest("GET", server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return strings.TrimSpace(strconv.Itoa(res.StatusCode) + " " + res.Header.Get("WWW-Authenticate"))
}

// Each has one thing wrong, and is refused for that, by the gateway and by package verify.
func TestAccess_A1_A2_A3_A6_A8_Refused(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, c := range []struct {
		name   string
		typ    string // of the header; the option JWT is set for JWT
		change func(map[string]any)
		token  func(s *fakeop.Signer, claims map[string]any) string // nil: signed rightly
		reason string
	}{
		{"typ JWT without the option", "", nil, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("JWT", c) }, `typ is "JWT"`},
		{"no typ without the option", "", nil, func(s *fakeop.Signer, c map[string]any) string { return s.Typed("", c) }, `typ is ""`},
		{"a logout token by its typ", "logout+jwt", nil, nil, `typ is "logout+jwt"`},
		{"a DPoP proof by its typ", "dpop+jwt", nil, nil, `typ is "dpop+jwt"`},
		{"another issuer", "at+jwt", fakeop.Set("iss", "https://evil.example"), nil, "iss is another issuer"},
		{"the issuer with a slash", "at+jwt", fakeop.Append("iss", "/"), nil, "iss is another issuer"},
		{"another audience", "at+jwt", fakeop.Set("aud", "https://other.example.com"), nil, "aud is"},
		{"an audience that begins alike", "at+jwt", fakeop.Append("aud", ".evil.example"), nil, "aud is"},
		{"no audience", "at+jwt", fakeop.Drop("aud"), nil, "aud is missing"},
		{"an audience of no kind", "at+jwt", fakeop.Set("aud", map[string]any{api: true}), nil, "aud is missing or malformed"},
		{"expired", "at+jwt", func(c map[string]any) { c["exp"] = in(-time.Second) }, nil, "expired"},
		{"without end", "at+jwt", fakeop.Drop("exp"), nil, "exp is missing"},
		{"an end in text", "at+jwt", fakeop.Set("exp", "2999999999"), nil, "exp is missing or no time"},
		{"an end in milliseconds", "at+jwt", func(c map[string]any) { c["exp"] = time.Now().Add(time.Hour).UnixMilli() }, nil, "exp is missing or no time"},
		{"A3 not yet", "at+jwt", func(c map[string]any) { c["nbf"] = in(2 * time.Minute) }, nil, "nbf is in the future"},
		{"A3 nbf of no kind", "at+jwt", fakeop.Set("nbf", "soon"), nil, "nbf is missing or no time"},
		{"issued in the future", "at+jwt", func(c map[string]any) { c["iat"] = in(2 * time.Minute) }, nil, "iat is in the future"},
		{"nobody's", "at+jwt", fakeop.Drop("sub"), nil, "sub is not text"},
		{"without client_id", "at+jwt", fakeop.Drop("client_id"), nil, "client_id is missing, which at+jwt has"},
		{"without jti", "at+jwt", fakeop.Drop("jti"), nil, "jti is missing, which at+jwt has"},
		{"without iat", "at+jwt", fakeop.Drop("iat"), nil, "iat is missing, which at+jwt has"},
		{"a sub of no kind", "at+jwt", fakeop.Set("sub", 1), nil, "sub is not text"},
		{"A6 bound to a key", "at+jwt", fakeop.Set("cnf", map[string]any{"jkt": "x"}), nil, "bound to a key"},
		{"A2 an ID token by its nonce", "JWT", fakeop.Set("nonce", "n"), nil, "it has nonce"},
		{"A2 an ID token by its at_hash", "JWT", fakeop.Set("at_hash", "h"), nil, "it has at_hash"},
		{"A2 an ID token by its audience", "JWT", fakeop.Set("aud", []string{fakeop.ClientID, api}), nil, "it is an ID token"},
		{"A2 an ID token by Keycloak's typ", "JWT", fakeop.Set("typ", "ID"), nil, "its typ is not that of an access token"},
		{"A2 a refresh token by Keycloak's typ", "JWT", fakeop.Set("typ", "Refresh"), nil, "its typ is not that of an access token"},
		{"A2 an ID token by Cognito's token_use", "JWT", fakeop.Set("token_use", "id"), nil, "its token_use is not that of an access token"},
		{"A2 a logout token by its events", "JWT", fakeop.Set("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}), nil, "it has events"},
		{"A3 none", "", nil, func(s *fakeop.Signer, c map[string]any) string {
			return s.Unsigned(map[string]any{"alg": "none", "typ": "at+jwt"}, c, "")
		}, "verify access token"},
		{"A3 none with a signature", "", nil, func(s *fakeop.Signer, c map[string]any) string {
			return s.Unsigned(map[string]any{"alg": "none", "typ": "at+jwt"}, c, "x")
		}, "verify access token"},
		{"A3 HMAC with the client secret", "", nil, func(s *fakeop.Signer, c map[string]any) string {
			return s.With(jose.HS256, []byte(fakeop.ClientSecret+strings.Repeat("x", 32)), "ec-0", c, map[string]any{"typ": "at+jwt"})
		}, "verify access token"},
		{"a stranger's key", "", nil, func(s *fakeop.Signer, c map[string]any) string {
			return s.With(jose.ES256, stranger, "", c, map[string]any{"typ": "at+jwt"})
		}, "no key that made this signature"},
		{"A8 a key that the token brings along", "", nil, func(s *fakeop.Signer, c map[string]any) string {
			return s.With(jose.ES256, stranger, "", c, map[string]any{"typ": "at+jwt", "jwk": jose.JSONWebKey{Key: &stranger.PublicKey}})
		}, "no key that made this signature"},
		{"A8 a path for a kid", "", nil, func(s *fakeop.Signer, c map[string]any) string {
			return s.With(jose.ES256, stranger, "../../etc/passwd' OR 1=1 --", c, map[string]any{"typ": "at+jwt"})
		}, "no key that made this signature"},
		{"A8 10 KB of kid", "", nil, func(s *fakeop.Signer, c map[string]any) string {
			return s.With(jose.ES256, stranger, strings.Repeat("k", 10<<10), c, map[string]any{"typ": "at+jwt"})
		}, "no key that made this signature"},
		{"altered", "", nil, func(s *fakeop.Signer, c map[string]any) string {
			other := maps.Clone(c)
			other["sub"] = "machine-2"
			a, b := strings.Split(s.Typed("at+jwt", c), "."), strings.Split(s.Typed("at+jwt", other), ".")
			return a[0] + "." + b[1] + "." + a[2]
		}, "verify access token"},
		{"one byte", "", nil, func(*fakeop.Signer, map[string]any) string { return "x" }, "not a signed JWT"},
		{"two parts", "", nil, func(*fakeop.Signer, map[string]any) string { return "e30.e30" }, "not a signed JWT"},
		{"encrypted", "", nil, func(*fakeop.Signer, map[string]any) string { return "e30.e30.e30.e30.e30" }, "not a signed JWT"},
		{"64 kB", "", nil, func(*fakeop.Signer, map[string]any) string { return strings.Repeat("x", 64<<10) + ".e30.e30" }, "not a signed JWT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			options := map[string]func(*oidc.Options){"JWT": jwtToo}[c.typ]
			p := meet(t, options)
			claims := p.access()
			if c.change != nil {
				c.change(claims)
			}
			var token string
			if c.token != nil {
				token = c.token(p.op.Signer(), claims)
			} else {
				token = p.op.Signer().Typed(c.typ, claims)
			}
			_, err := p.rp.VerifyAccess(context.Background(), token, api)
			refused(t, err, session.TokenInvalid, c.reason)
			typ := map[string]string{"JWT": verify.TypeJWT}[c.typ]
			if got := knock(t, p.protected(typ), token); got != `401 Bearer error="invalid_token"` && c.reason != "it is an ID token" {
				t.Errorf("an API that verifies it answers %s", got)
			}
			for _, name := range p.op.Endpoints() {
				if name != "jwks" && name != "metadata" {
					t.Errorf("the provider heard %q", name)
				}
			}
		})
	}
}

// The ID token of a real login is no access token, whatever is relaxed, and its access token is none for another API.
func TestAccess_A2_P8_OfALogin(t *testing.T) {
	p := meet(t, func(o *oidc.Options) { o.AccessType, o.Audience = "JWT", api })
	g := p.mustLogin()
	_, err := p.rp.VerifyAccess(context.Background(), g.Tokens.ID, fakeop.ClientID)
	refused(t, err, session.TokenInvalid, "it has")
	_, err = p.rp.VerifyAccess(context.Background(), g.Tokens.ID, api)
	refused(t, err, session.TokenInvalid, "aud is")
	for token, want := range map[string]string{g.Tokens.ID: `401 Bearer error="invalid_token"`, g.Tokens.Access: "200"} {
		if got := knock(t, p.protected(verify.TypeJWT), token); got != want {
			t.Errorf("an API that verifies answers %s, want %s", got, want)
		}
	}
	if _, err = p.rp.VerifyAccess(context.Background(), g.Tokens.Access, api); err != nil {
		t.Error(err)
	}
	_, err = p.rp.VerifyAccess(context.Background(), g.Tokens.Access, "https://other.example.com")
	refused(t, err, session.TokenInvalid, "aud is")
}

// Keys that cannot be had are nobody's bad token, and a flood of unknown keys does not become the provider's.
func TestAccess_A8_KeysOutOfReach(t *testing.T) {
	p := meet(t, nil)
	token := p.op.Signer().Typed("at+jwt", p.access())
	p.op.Tell(fakeop.Down())
	_, err := p.rp.VerifyAccess(context.Background(), token, api)
	refused(t, err, session.ProviderDown, "metadata")

	p = meet(t, nil)
	for range 100 {
		_, err := p.rp.VerifyAccess(context.Background(), p.op.Signer().With(jose.RS256, p.op.Signer().RSA(), "unknown", p.access(), map[string]any{"typ": "at+jwt"}), api)
		refused(t, err, session.TokenInvalid, "no key that made this signature")
	}
	if n := p.op.Count("jwks"); n > 2 {
		t.Errorf("the provider's keys were fetched %d times", n)
	}
	p = meet(t, nil, fakeop.Keys(func([]any) []any { return nil }))
	_, err = p.rp.VerifyAccess(context.Background(), p.op.Signer().Typed("at+jwt", p.access()), api)
	refused(t, err, session.TokenInvalid, "no key")
}
