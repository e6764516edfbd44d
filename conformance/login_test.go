package conformance

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/session"
)

// truths are honest providers that differ from the plain one. Each login must succeed and reach userinfo.
var truths = []struct {
	name   string
	tell   fakeop.Lie
	change func(*oidc.Options)
}{
	{"oidcc-client-test", nothing, nil},
	{core + "client-secret-basic", nothing, nil},
	{core + "idtoken-sig-rs256", nothing, nil},
	{core + "scope-userinfo-claims", nothing, nil},
	{core + "discovery-openid-config", nothing, nil},
	{core + "userinfo-bearer-header", nothing, nil},
	{core + "kid-absent-single-jwks", fakeop.All(withoutKid, fakeop.Keys(func(keys []any) []any {
		return slices.DeleteFunc(keys, func(k any) bool { return !signsRSA(k) })
	})), nil},
	{core + "kid-absent-multiple-jwks", withoutKid, nil},
	{core + "userinfo-signed", signedInfo(fakeop.Set("exp", time.Now().Add(time.Minute).Unix())), nil},
	{fapi + "happy-path", fakeop.PAR(), nil},
	{fapi + "valid-aud-as-array", fakeop.IDToken(fakeop.Set("aud", []string{fakeop.ClientID})), nil},
	{fapi + "token-endpoint-response-without-expires_in", fakeop.Tokens(fakeop.Drop("expires_in")), nil},
	{fapi + "token-type-case-insensitivity", fakeop.Tokens(fakeop.Set("token_type", "bEARER")), nil},
	{own + "client-secret-post", fakeop.OnlyPost(), nil},
	{own + "no-iss-and-none-promised", fakeop.All(
		fakeop.Metadata(fakeop.Drop("authorization_response_iss_parameter_supported")),
		fakeop.Answer(func(q url.Values) { q.Del("iss") }),
	), nil},
	{own + "no-at-hash", fakeop.IDToken(fakeop.Drop("at_hash")), nil},
	{own + "azp", fakeop.IDToken(fakeop.Set("azp", fakeop.ClientID)), nil},
	{own + "aud-with-our-api", fakeop.IDToken(func(c map[string]any) {
		c["aud"], c["azp"] = []string{fakeop.ClientID, "https://api.example.com"}, fakeop.ClientID
	}), func(o *oidc.Options) { o.Audience = "https://api.example.com" }},
	{own + "es256", fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string { return s.As(jose.ES256, c) }),
		func(o *oidc.Options) { o.Algorithms = []string{"RS256", "ES256"} }},
	{own + "eddsa", fakeop.All(
		fakeop.IDToken(fakeop.Drop("at_hash")), // SHA-512 with EdDSA, which the provider does not compute
		fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string { return s.As(jose.EdDSA, c) }),
	), func(o *oidc.Options) { o.Algorithms = []string{"EdDSA"} }},
	{own + "clock-59-seconds-behind", fakeop.Clock(func() time.Time { return time.Now().Add(-59 * time.Second) }), nil},
	{own + "clock-55-seconds-ahead", fakeop.Clock(func() time.Time { return time.Now().Add(55 * time.Second) }), nil},
	{own + "scope-as-list", fakeop.Tokens(fakeop.Set("scope", []string{"openid"})), nil},
	{own + "keys-500", fakeop.Keys(func(keys []any) []any {
		for len(keys) < 500 {
			keys = append([]any{map[string]any{"kty": "oct", "k": "c2VjcmV0", "kid": "rsa-0"}}, keys...)
		}
		return keys
	}), nil},
	{own + "opaque-access-token", fakeop.Opaque(), nil},
	{own + "https", fakeop.TLS(), nil},
}

var nothing = fakeop.All()

// withoutKid has no key ids, neither in the JWKS nor in tokens.
var withoutKid = fakeop.All(
	fakeop.Keys(func(keys []any) []any {
		for i, k := range keys {
			switch k := k.(type) {
			case jose.JSONWebKey:
				k.KeyID = ""
				keys[i] = k
			case map[string]any:
				delete(k, "kid")
			}
		}
		return keys
	}),
	fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string { return s.With(jose.RS256, s.RSA(), "", c, nil) }),
)

func signsRSA(k any) bool {
	jwk, _ := k.(jose.JSONWebKey)
	_, ok := jwk.Key.(*rsa.PublicKey)
	return ok && jwk.Use == "sig"
}

// TestLogin_Honest covers ID3 ID4 ID5 ID7 ID8 ID12 ID14 from the side of those who tell the truth.
func TestLogin_Honest(t *testing.T) {
	for _, mode := range []string{"query", "form_post"} {
		for _, truth := range truths {
			t.Run(mode+"/"+truth.name, func(t *testing.T) {
				t.Parallel()
				p := meet(t, func(o *oidc.Options) {
					o.ResponseMode = mode
					if truth.change != nil {
						truth.change(o)
					}
				}, truth.tell)
				g := p.mustLogin()
				if g.Provider != "main" || g.Issuer != p.op.Issuer() || g.Subject != fakeop.Subject || g.SID != "sid-1" {
					t.Errorf("grant is of %q at %q, sid %q", g.Subject, g.Issuer, g.SID)
				}
				if p.op.Count("userinfo") != 1 || p.op.Count("token") != 1 || p.op.Count("metadata") != 1 {
					t.Errorf("heard %q", p.op.Endpoints())
				}
				if g.Tokens.Access == "" || g.Tokens.Refresh == "" || g.Tokens.ID == "" {
					t.Error("a token is missing")
				}
			})
		}
	}
}

func TestFinish_ID12_ClaimsOfUserinfoOverIDToken(t *testing.T) {
	p := meet(t, nil, fakeop.Userinfo(func(c map[string]any) {
		c["acr"], c["sid"], c["auth_time"], c["iss"], c["nonce"] = "99", "other", 5, "https://evil.example", "n"
		c["_claim_sources"] = map[string]any{"a": map[string]any{"access_token": "secret"}}
	}))
	g := p.mustLogin()
	for name, want := range map[string]string{
		"sub": fakeop.Subject, "email": "ada@example.com", "name": "Ada User", "acr": "1", "sid": "sid-1", "groups": `["staff"]`,
	} {
		if got := g.Claim(name); got != want {
			t.Errorf("claim %s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"aud", "exp", "iat", "nonce", "at_hash", "jti", "_claim_sources"} {
		if _, there := g.Claims[name]; there {
			t.Errorf("protocol claim %s is kept", name)
		}
	}
	if g.Claim("iss") != g.Issuer {
		t.Errorf("iss is %q", g.Claim("iss"))
	}
	if g.Claim("auth_time") == "5" {
		t.Error("userinfo changed auth_time")
	}
}

func TestFinish_UserinfoOff(t *testing.T) {
	p := meet(t, func(o *oidc.Options) { o.UserinfoOff = true }, fakeop.Status("userinfo", 500, ""))
	if g := p.mustLogin(); g.Claim("email") != "user@example.com" {
		t.Errorf("email is %q", g.Claim("email"))
	}
	if p.op.Count("userinfo") != 0 {
		t.Error("userinfo was asked")
	}
}

func TestFinish_UserinfoHint(t *testing.T) {
	for _, status := range []int{401, 500} {
		p := meet(t, nil, fakeop.Status("userinfo", status, "insufficient_scope"))
		_, err := p.login()
		if !strings.Contains(session.HintOf(err), "userinfo: false") {
			t.Errorf("%d: hint is %q", status, session.HintOf(err))
		}
	}
}

func TestFinish_InvalidClientHint(t *testing.T) {
	p := meet(t, func(o *oidc.Options) { o.ClientSecret = "another secret" })
	_, err := p.login()
	refused(t, err, session.ProviderRefused, "invalid_client")
	if !strings.Contains(session.HintOf(err), "client_secret") {
		t.Errorf("hint is %q", session.HintOf(err))
	}
}

// TestBegin_L1_L2_L3_L4_L5_L9 reads the authorization request and what redeems the code.
func TestBegin_L1_L2_L3_L4_L5_L9(t *testing.T) {
	p := meet(t, nil, fakeop.Metadata(fakeop.Drop("code_challenge_methods_supported")))
	pending, answer, err := p.begin(session.Intent{})
	if err != nil {
		t.Fatal(err)
	}
	q := p.op.Last("authorize").Query
	for name, want := range map[string]string{
		"response_type": "code", "client_id": fakeop.ClientID, "redirect_uri": callback, "code_challenge_method": "S256",
		"scope": "openid profile email offline_access", "state": pending.State(), "nonce": pending.Nonce(),
		"code_challenge": pending.Challenge(),
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
		q.Del(name)
	}
	if len(q) != 0 {
		t.Errorf("further parameters: %v", q)
	}
	if _, err := p.rp.Finish(context.Background(), pending, answer); err != nil {
		t.Fatal(err)
	}
	token := p.op.Last("token")
	if raw, err := base64.RawURLEncoding.DecodeString(token.Form.Get("code_verifier")); err != nil || len(raw) != 32 {
		t.Errorf("verifier: %d bytes, %v", len(raw), err)
	}
	if !strings.HasPrefix(token.Header.Get("Authorization"), "Basic ") || token.Form.Has("client_secret") {
		t.Error("the client did not authenticate with client_secret_basic alone")
	}
	if token.Form.Get("redirect_uri") != callback || token.Form.Get("grant_type") != "authorization_code" {
		t.Errorf("redirect_uri %q, grant_type %q", token.Form.Get("redirect_uri"), token.Form.Get("grant_type"))
	}
}

func TestBegin_L2_L5_ThousandLoginsRepeatNothing(t *testing.T) {
	p := meet(t, nil)
	seen := map[string]bool{}
	for range 1000 {
		address, pending, err := p.rp.Begin(context.Background(), session.Intent{})
		if err != nil {
			t.Fatal(err)
		}
		q := address.Query()
		for _, one := range []string{q.Get("state"), q.Get("nonce"), q.Get("code_challenge"), pending.Verifier()} {
			if len(one) < 33 || seen[one] {
				t.Fatalf("%q is short or repeats", one)
			}
			seen[one] = true
		}
	}
	if p.op.Count("metadata") != 1 {
		t.Errorf("the metadata were fetched %d times", p.op.Count("metadata"))
	}
}

func TestBegin_L13_PushedRequest(t *testing.T) {
	p := meet(t, func(o *oidc.Options) { o.Params = map[string]string{"kc_idp_hint": "corp"} }, fakeop.PAR())
	g := p.mustLogin()
	q := p.op.Last("authorize").Query
	if len(q) != 2 || !q.Has("client_id") || !q.Has("request_uri") {
		t.Errorf("the browser carries %v", q)
	}
	pushed := p.op.Last("par")
	if pushed.Form.Get("kc_idp_hint") != "corp" || pushed.Form.Get("code_challenge") == "" || pushed.Header.Get("Authorization") == "" {
		t.Errorf("pushed %v", pushed.Form)
	}
	if g.Subject == "" {
		t.Error("no subject")
	}
}

func TestBegin_L13_PushFails(t *testing.T) {
	for _, c := range []struct {
		name string
		tell fakeop.Lie
		want session.Code
	}{
		{"down", fakeop.Instead("par", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), session.ProviderDown},
		{"503", fakeop.Status("par", 503, ""), session.ProviderDown},
		{"refused", fakeop.Status("par", 400, "invalid_request"), session.ProviderRefused},
		{"no request_uri", body("par", `{"expires_in":60}`), session.ProviderLied},
		{"endless request_uri", body("par", `{"request_uri":"urn:`+strings.Repeat("a", 3000)+`"}`), session.ProviderLied},
		{"no JSON", body("par", `<html>`), session.ProviderLied},
	} {
		t.Run(c.name, func(t *testing.T) {
			optional := fakeop.Metadata(fakeop.Set("require_pushed_authorization_requests", false))
			p := meet(t, nil, fakeop.PAR(), optional, c.tell)
			address, _, err := p.rp.Begin(context.Background(), session.Intent{})
			refused(t, err, c.want, "")
			if address != nil {
				t.Error("there is a way round the failed push")
			}
		})
	}
}

func TestBegin_L15_Parameters(t *testing.T) {
	full := func(o *oidc.Options) {
		o.Scopes = []string{"orders.read"}
		o.Audience = "https://api.example.com"
		o.Resource = []string{"https://api.example.com/orders", "urn:api:2"}
		o.ACRValues = []string{"2", "1"}
		o.Params = map[string]string{"prompt": "consent"}
		o.ResponseMode = "form_post"
	}
	hint := func(o *oidc.Options) { o.RegisterHint = "screen_hint" }
	for _, c := range []struct {
		name   string
		change func(*oidc.Options)
		in     session.Intent
		want   map[string]string
	}{
		{"options", full, session.Intent{}, map[string]string{
			"scope": "openid orders.read", "audience": "https://api.example.com", "resource": "https://api.example.com/orders urn:api:2",
			"acr_values": "2 1", "prompt": "consent", "response_mode": "form_post",
		}},
		{"intent over params", full, session.Intent{Prompt: "login", LoginHint: "ada@example.com"}, map[string]string{
			"prompt": "login", "login_hint": "ada@example.com",
		}},
		{"register", nil, session.Intent{Register: true}, map[string]string{"prompt": "create", "screen_hint": ""}},
		{"register by screen_hint", hint, session.Intent{Register: true}, map[string]string{"prompt": "", "screen_hint": "signup"}},
		{"nothing", nil, session.Intent{}, map[string]string{"prompt": "", "login_hint": "", "response_mode": "", "audience": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := meet(t, c.change)
			address, _, err := p.rp.Begin(context.Background(), c.in)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range c.want {
				if got := strings.Join(address.Query()[name], " "); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestBegin_EndpointKeepsItsQuery(t *testing.T) {
	p := meet(t, nil, fakeop.Metadata(fakeop.Append("authorization_endpoint", "?tenant=a%26b")))
	address, _, err := p.rp.Begin(context.Background(), session.Intent{})
	if err != nil {
		t.Fatal(err)
	}
	if q := address.Query(); q.Get("tenant") != "a&b" || q.Get("client_id") != fakeop.ClientID {
		t.Errorf("query is %v", q)
	}
}

func TestBegin_LoginHintIsBounded(t *testing.T) {
	p := meet(t, nil)
	_, _, err := p.rp.Begin(context.Background(), session.Intent{LoginHint: strings.Repeat("a", 257)})
	refused(t, err, session.BadRequest, "login_hint")
}

// TestFinish_CB3_MixUp: a login that went to one provider is answered by another, in every way the answers can be mixed.
func TestFinish_CB3_MixUp(t *testing.T) {
	good, evil := meet(t, nil), meet(t, nil)
	toGood, answerOfGood, err := good.begin(session.Intent{})
	if err != nil {
		t.Fatal(err)
	}
	toEvil, answerOfEvil, err := evil.begin(session.Intent{})
	if err != nil {
		t.Fatal(err)
	}
	mixed := url.Values{"state": {toGood.State()}, "code": answerOfEvil["code"], "iss": answerOfEvil["iss"]}
	_, err = good.rp.Finish(context.Background(), toGood, mixed)
	refused(t, err, session.ProviderLied, "another provider answered")
	_, err = good.rp.Finish(context.Background(), toEvil, answerOfEvil)
	refused(t, err, session.LoginLost, "another provider")
	stolen := url.Values{"state": {toEvil.State()}, "code": answerOfGood["code"], "iss": answerOfGood["iss"]}
	_, err = evil.rp.Finish(context.Background(), toEvil, stolen)
	refused(t, err, session.ProviderLied, "another provider answered")
	if good.op.Count("token")+evil.op.Count("token") != 0 {
		t.Error("a code was redeemed")
	}
}

func TestFinish_CB4_DuplicatedParameters(t *testing.T) {
	for _, name := range []string{"code", "state", "iss", "error", "anything"} {
		p := meet(t, nil)
		pending, answer, err := p.begin(session.Intent{})
		if err != nil {
			t.Fatal(err)
		}
		answer[name] = append(answer[name], answer.Get(name), "b")
		_, err = p.rp.Finish(context.Background(), pending, answer)
		refused(t, err, session.BadRequest, name)
		p.silentAfter("authorize")
	}
}

func TestFinish_CB5_ErrorIsSafeToLog(t *testing.T) {
	token := strings.Repeat("tokenlike", 6)
	p := meet(t, nil, fakeop.Deny("access_denied\r\nX: y", "<b>no\x00\x1b[31m</b> "+token+" "+strings.Repeat("word ", 2000)))
	_, err := p.login()
	refused(t, err, session.LoginDenied, "access_denied??X: y")
	if text := err.Error(); len(text) > 500 || strings.ContainsAny(text, "\x00\x1b\r\n") || strings.Contains(text, token) {
		t.Errorf("the error is not safe to log: %q", text)
	}
	var refusal *issuer.Refusal
	if !errors.As(err, &refusal) || refusal.Code != "access_denied??X: y" {
		t.Errorf("refusal is %+v", refusal)
	}
}

// TestFinish_ProviderThatRepeatsSecrets tells what it was sent in its error.
func TestFinish_ProviderThatRepeatsSecrets(t *testing.T) {
	p := meet(t, nil)
	p.op.Tell(fakeop.Instead("token", func(w http.ResponseWriter, _ *http.Request) {
		sent := p.op.Last("token").Form
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(map[string]string{ // a client that hung up
			"error":             "invalid_grant",
			"error_description": "secret " + fakeop.ClientSecret + ", code " + sent.Get("code") + ", verifier " + sent.Get("code_verifier"),
		})
	}))
	_, err := p.login()
	refused(t, err, session.ProviderRefused, "secret [...], code [...], verifier [...])")
}

func TestFinish_ID6_NonceOfAnotherLogin(t *testing.T) {
	p := meet(t, nil)
	_, other, err := p.rp.Begin(context.Background(), session.Intent{})
	if err != nil {
		t.Fatal(err)
	}
	p.op.Tell(fakeop.IDToken(fakeop.Set("nonce", other.Nonce())))
	_, err = p.login()
	refused(t, err, session.ProviderLied, "nonce")
	p.silentAfter("token")
}

func TestFinish_ID11_T8_MaxAge(t *testing.T) {
	ask := func(o *oidc.Options) { o.Params = map[string]string{"max_age": "60"} }
	for _, c := range []struct {
		name string
		tell fakeop.Lie
		ok   bool
	}{
		{"just now", nothing, true},
		{"long ago", fakeop.IDToken(fakeop.Set("auth_time", time.Now().Add(-time.Hour).Unix())), false},
		{"not told", fakeop.IDToken(fakeop.Drop("auth_time")), false},
	} {
		_, err := meet(t, ask, c.tell).login()
		if c.ok && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.ok {
			refused(t, err, session.ProviderLied, "auth_time")
		}
	}
}

// A provider may sign people in more weakly than it was asked to; that is no lie, and no login either.
func TestFinish_ID11_T8_ACR(t *testing.T) {
	ask := func(o *oidc.Options) { o.ACRValues = []string{"mfa", "urn:example:loa:3"} }
	for _, c := range []struct {
		name string
		tell fakeop.Lie
		want session.Code
	}{
		{"the best", fakeop.IDToken(fakeop.Set("acr", "mfa")), ""},
		{"the second", fakeop.IDToken(fakeop.Set("acr", "urn:example:loa:3")), ""},
		{"lower", nothing, session.LoginWeak},
		{"not told", fakeop.IDToken(fakeop.Drop("acr")), session.LoginWeak},
		{"empty", fakeop.IDToken(fakeop.Set("acr", "")), session.LoginWeak},
		{"several", fakeop.IDToken(fakeop.Set("acr", []string{"mfa"})), session.LoginWeak},
		{"of another case", fakeop.IDToken(fakeop.Set("acr", "MFA")), session.LoginWeak},
		{"userinfo says so", fakeop.Userinfo(fakeop.Set("acr", "mfa")), session.LoginWeak},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := meet(t, ask, c.tell)
			g, err := p.login()
			if c.want != "" {
				refused(t, err, c.want, "acr")
				p.silentAfter("token")
			} else if err != nil || g.Claim("acr") == "" {
				t.Errorf("acr %q: %v", g.Claim("acr"), err)
			}
		})
	}
	t.Run("the provider says that it cannot", func(t *testing.T) {
		_, err := meet(t, ask, fakeop.Deny("unmet_authentication_requirements", "")).login()
		refused(t, err, session.LoginWeak, "unmet_authentication_requirements")
	})
}

func TestFinish_ID13_SameSubjectAtAnotherProvider(t *testing.T) {
	a, b := meet(t, nil).mustLogin(), meet(t, nil).mustLogin()
	if a.Subject != b.Subject || a.Issuer == b.Issuer {
		t.Errorf("persons: %q at %q, %q at %q", a.Subject, a.Issuer, b.Subject, b.Issuer)
	}
}

func TestFinish_ID14_Lifetimes(t *testing.T) {
	for _, c := range []struct {
		name  string
		value any
		want  time.Duration // 0: unknown
	}{
		{"number", 300, 300 * time.Second},
		{"text", "300", 300 * time.Second},
		{"fraction", 300.5, 300500 * time.Millisecond},
		{"zero", 0, 0},
		{"negative", -5, 0},
		{"absurd", 1e12, 0},
		{"more than a year", 366 * 24 * 3600, 0},
		{"no number", "soon", 0},
		{"NaN", "NaN", 0},
		{"null", nil, 0},
		{"list", []int{1}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := meet(t, nil, fakeop.Tokens(fakeop.Set("expires_in", c.value)), fakeop.Tokens(fakeop.Set("refresh_expires_in", c.value)))
			before := time.Now()
			tokens := p.mustLogin().Tokens
			for name, got := range map[string]time.Time{"access": tokens.Expires, "refresh": tokens.RefreshExpires} {
				if c.want == 0 && !got.IsZero() {
					t.Errorf("%s expires at %v, want unknown", name, got)
				}
				if c.want != 0 && (got.Before(before.Add(c.want)) || got.After(time.Now().Add(c.want))) {
					t.Errorf("%s expires in %v, want %v", name, time.Until(got), c.want)
				}
			}
		})
	}
}

func TestFinish_ID14_OtherNameOfRefreshLifetime(t *testing.T) {
	p := meet(t, nil, fakeop.Tokens(fakeop.Set("refresh_token_expires_in", 600)))
	if left := time.Until(p.mustLogin().Tokens.RefreshExpires); left < 590*time.Second || left > 600*time.Second {
		t.Errorf("refresh token lives %v", left)
	}
}

func TestOpaque(t *testing.T) {
	if p := meet(t, nil); p.rp.Opaque(p.mustLogin().Tokens) {
		t.Error("a JWT counts as opaque")
	}
	p := meet(t, nil, fakeop.Opaque())
	if !p.rp.Opaque(p.mustLogin().Tokens) {
		t.Error("an opaque token counts as a JWT")
	}
	for _, token := range []string{"", "a.b.c", "..", "e30.e30.e30", "e30.e30"} {
		if !p.rp.Opaque(session.Tokens{Access: token}) {
			t.Errorf("%q counts as a JWT", token)
		}
	}
}

// body answers an endpoint with status 201 and a text.
func body(endpoint, text string) fakeop.Lie {
	return fakeop.Instead(endpoint, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(text)) // a client that hung up
	})
}

// TestIDToken_ID3_SeveralAudiences: a token for us and for our API has to say that it was us who asked for it.
func TestIDToken_ID3_SeveralAudiences(t *testing.T) {
	api := func(o *oidc.Options) { o.Resource = []string{"https://api.example.com"} }
	for _, azp := range []any{nil, "https://api.example.com", 1} {
		p := meet(t, api, fakeop.IDToken(func(c map[string]any) {
			c["aud"] = []string{fakeop.ClientID, "https://api.example.com"}
			if azp != nil {
				c["azp"] = azp
			}
		}))
		_, err := p.login()
		refused(t, err, session.ProviderLied, "azp")
		p.silentAfter("token")
	}
}

// TestFinish_L1_SecretIsFormEncoded: the registered secret has a colon, a slash, a space and a percent sign, and the provider
// decodes what it gets (RFC 6749 §2.3.1).
func TestFinish_L1_SecretIsFormEncoded(t *testing.T) {
	p := meet(t, nil)
	p.mustLogin()
	header := p.op.Last("token").Header.Get("Authorization")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header, "Basic "))
	if want := fakeop.ClientID + ":" + url.QueryEscape(fakeop.ClientSecret); err != nil || string(raw) != want {
		t.Errorf("the header has %q, want %q", raw, want)
	}
}

// TestLogin_SomeoneElse and what the fake provider offers the tests of others: persons, and answers that are held back.
func TestLogin_SomeoneElse(t *testing.T) {
	p := meet(t, nil)
	first := p.mustLogin()
	p.op.Tell(fakeop.Person("user-2", map[string]any{"name": "Bob"}))
	held, gate := make(chan struct{}), make(chan struct{})
	p.op.Tell(fakeop.Before("token", func(fakeop.Request) { close(held); <-gate }))
	done := make(chan session.Grant)
	go func() {
		g, err := p.login()
		if err != nil {
			t.Error(err)
		}
		done <- g
	}()
	<-held
	close(gate)
	if second := <-done; second.Subject != "user-2" || second.Claim("name") != "Bob" || first.Subject == second.Subject {
		t.Errorf("%q is %q", second.Subject, second.Claim("name"))
	}
}
