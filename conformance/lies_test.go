// Package conformance runs the relying party against a provider that lies. Names are those of the OpenID Foundation's
// conformance suite where it has one for the case, and begin with cloakroom- where it has none.
package conformance

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	core = "oidcc-client-test-"
	fapi = "fapi2-security-profile-final-client-test-"
	own  = "cloakroom-"
)

// lie is one way a provider can be wrong. at is the endpoint where it is; nothing may follow.
type lie struct {
	name   string
	tell   fakeop.Lie
	at     string
	want   session.Code
	reason string // part of the error, so that it is refused for this and nothing else
}

var lies = []lie{
	// Discovery
	{core + "discovery-issuer-mismatch", fakeop.Metadata(fakeop.Append("issuer", "INVALID")), "metadata", session.ProviderLied, "the metadata are those of"},
	{fapi + "discovery-issuer-mismatch", fakeop.Metadata(fakeop.Append("issuer", "INVALID")), "metadata", session.ProviderLied, "the metadata are those of"},
	{own + "discovery-issuer-slash", fakeop.Metadata(fakeop.Append("issuer", "/")), "metadata", session.ProviderLied, "the metadata are those of"},
	{own + "discovery-issuer-missing", fakeop.Metadata(fakeop.Drop("issuer")), "metadata", session.ProviderLied, "the metadata are those of"},
	{own + "discovery-no-token-endpoint", fakeop.Metadata(fakeop.Drop("token_endpoint")), "metadata", session.ProviderLied, "token_endpoint: missing"},
	{own + "discovery-plain-http-elsewhere", fakeop.Metadata(fakeop.Set("token_endpoint", "http://example.com/token")), "metadata", session.ProviderLied, "token_endpoint: must be https"},
	{own + "discovery-from-https-to-http", fakeop.All(fakeop.TLS(), fakeop.Metadata(fakeop.Set("token_endpoint", "http://127.0.0.1:9/token"))), "metadata", session.ProviderLied, "token_endpoint: must be https"},
	{own + "discovery-file-jwks", fakeop.Metadata(fakeop.Set("jwks_uri", "file:///etc/passwd")), "metadata", session.ProviderLied, "jwks_uri: must be"},
	{own + "discovery-javascript-logout", fakeop.Metadata(fakeop.Set("end_session_endpoint", "javascript:alert(1)")), "metadata", session.ProviderLied, "end_session_endpoint: must be"},

	// Authorization response
	{core + "form-post-error", fakeop.Deny("login_required", "<script>alert(1)</script>"), "authorize", session.LoginDenied, "login_required"},
	{fapi + "invalid-authorization-response-iss", answer(func(q url.Values) { q.Set("iss", q.Get("iss")+"1") }), "authorize", session.ProviderLied, "another provider answered"},
	{fapi + "remove-authorization-response-iss", answer(func(q url.Values) { q.Del("iss") }), "authorize", session.ProviderLied, "iss is missing"},
	{fapi + "ensure-authorization-response-with-invalid-state-fails", answer(func(q url.Values) { q.Set("state", q.Get("state")+"1") }), "authorize", session.LoginLost, "state"},
	{fapi + "ensure-authorization-response-with-invalid-missing-state-fails", answer(func(q url.Values) { q.Del("state") }), "authorize", session.LoginLost, "state"},
	{own + "wrong-iss-with-error", answer(func(q url.Values) {
		q.Del("code")
		q.Set("error", "access_denied")
		q.Set("iss", "https://evil.example")
	}), "authorize", session.ProviderLied, "another provider answered"},
	{own + "missing-iss-with-error", answer(func(q url.Values) { q.Del("code"); q.Set("error", "access_denied"); q.Del("iss") }), "authorize", session.ProviderLied, "iss is missing"},
	{own + "empty-iss", answer(func(q url.Values) { q.Set("iss", "") }), "authorize", session.ProviderLied, "another provider answered"},
	{own + "error-beside-code", answer(func(q url.Values) { q.Set("error", "server_error") }), "authorize", session.LoginDenied, "server_error"},
	{own + "missing-code", answer(func(q url.Values) { q.Del("code") }), "authorize", session.ProviderLied, "code is missing"},
	{own + "endless-code", answer(func(q url.Values) { q.Set("code", strings.Repeat("a", 9000)) }), "authorize", session.ProviderLied, "code is missing or longer"},

	// ID token: claims
	{core + "invalid-iss", fakeop.IDToken(fakeop.Append("iss", "1")), "token", session.ProviderLied, "issued by a different provider"},
	{fapi + "invalid-iss", fakeop.IDToken(fakeop.Append("iss", "1")), "token", session.ProviderLied, "issued by a different provider"},
	{fapi + "invalid-missing-iss", fakeop.IDToken(fakeop.Drop("iss")), "token", session.ProviderLied, "issued by a different provider"},
	{own + "iss-slash", fakeop.IDToken(fakeop.Append("iss", "/")), "token", session.ProviderLied, "issued by a different provider"},
	{own + "iss-in-capitals", fakeop.IDToken(func(c map[string]any) { c["ISS"] = c["iss"]; delete(c, "iss") }), "token", session.ProviderLied, "iss is"},
	{core + "missing-sub", fakeop.IDToken(fakeop.Drop("sub")), "token", session.ProviderLied, "sub is not text"},
	{own + "endless-sub", fakeop.IDToken(fakeop.Set("sub", strings.Repeat("s", 256))), "token", session.ProviderLied, "sub is not text"},
	{core + "invalid-aud", fakeop.IDToken(fakeop.Append("aud", "1")), "token", session.ProviderLied, "audience"},
	{fapi + "invalid-aud", fakeop.IDToken(fakeop.Append("aud", "1")), "token", session.ProviderLied, "audience"},
	{core + "missing-aud", fakeop.IDToken(fakeop.Drop("aud")), "token", session.ProviderLied, "audience"},
	{fapi + "invalid-missing-aud", fakeop.IDToken(fakeop.Drop("aud")), "token", session.ProviderLied, "audience"},
	{fapi + "invalid-secondary-aud", fakeop.IDToken(fakeop.Set("aud", []string{fakeop.ClientID, fakeop.ClientID + "1"})), "token", session.ProviderLied, "aud also names"},
	{own + "empty-aud", fakeop.IDToken(fakeop.Set("aud", "")), "token", session.ProviderLied, "audience"},
	{own + "empty-secondary-aud", fakeop.IDToken(fakeop.Set("aud", []string{fakeop.ClientID, ""})), "token", session.ProviderLied, "aud also names"},
	{own + "wrong-azp", fakeop.IDToken(fakeop.Set("azp", "someone-else")), "token", session.ProviderLied, "azp"},
	{fapi + "invalid-expired-exp", fakeop.IDToken(fakeop.Set("exp", time.Now().Add(-6*time.Minute).Unix())), "token", session.ProviderLied, "expired"},
	{fapi + "invalid-missing-exp", fakeop.IDToken(fakeop.Drop("exp")), "token", session.ProviderLied, "expired"},
	{own + "exp-as-text", fakeop.IDToken(fakeop.Set("exp", "4102444800")), "token", session.ProviderLied, "exp is missing or no time"},
	{own + "exp-infinite", fakeop.IDToken(fakeop.Set("exp", json.RawMessage("1e400"))), "token", session.ProviderLied, "claims"},
	{own + "exp-negative", fakeop.IDToken(fakeop.Set("exp", -1)), "token", session.ProviderLied, "expired"},
	{own + "exp-in-milliseconds", fakeop.IDToken(fakeop.Set("exp", time.Now().UnixMilli())), "token", session.ProviderLied, "exp is missing or no time"},
	{core + "missing-iat", fakeop.IDToken(fakeop.Drop("iat")), "token", session.ProviderLied, "iat is missing"},
	{own + "future-iat", fakeop.IDToken(fakeop.Set("iat", time.Now().Add(6*time.Minute).Unix())), "token", session.ProviderLied, "issued in the future"},
	{own + "future-nbf", fakeop.IDToken(fakeop.Set("nbf", time.Now().Add(2*time.Minute).Unix())), "token", session.ProviderLied, "nbf"},
	{core + "nonce-invalid", fakeop.IDToken(fakeop.Append("nonce", "1")), "token", session.ProviderLied, "nonce"},
	{fapi + "invalid-nonce", fakeop.IDToken(fakeop.Append("nonce", "1")), "token", session.ProviderLied, "nonce"},
	{fapi + "invalid-missing-nonce", fakeop.IDToken(fakeop.Drop("nonce")), "token", session.ProviderLied, "nonce"},
	{core + "invalid-athash", fakeop.IDToken(fakeop.Append("at_hash", "1")), "token", session.ProviderLied, "at_hash"},
	{own + "athash-no-text", fakeop.IDToken(fakeop.Set("at_hash", 1)), "token", session.ProviderLied, ""},
	{own + "sid-no-text", fakeop.IDToken(fakeop.Set("sid", []string{"a"})), "token", session.ProviderLied, "sid"},

	// ID token: signature
	{core + "idtoken-sig-none", unsigned("none", ""), "token", session.ProviderLied, "algorithm"},
	{fapi + "invalid-null-alg", unsigned("none", ""), "token", session.ProviderLied, "algorithm"},
	{own + "alg-None", unsigned("None", ""), "token", session.ProviderLied, "algorithm"},
	{own + "alg-nOnE-with-signature", unsigned("nOnE", "x"), "token", session.ProviderLied, "algorithm"},
	{own + "empty-signature", unsigned("RS256", ""), "token", session.ProviderLied, ""},
	{core + "invalid-sig-rs256", corrupted(jose.RS256), "token", session.ProviderLied, "the signature does not match"},
	{core + "invalid-sig-es256", corrupted(jose.ES256), "token", session.ProviderLied, "algorithm"},
	{core + "invalid-sig-hs256", fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string {
		return corrupt(s.With(jose.HS256, []byte(fakeop.ClientSecret+strings.Repeat("0", 32)), "", c, nil))
	}), "token", session.ProviderLied, "algorithm"},
	{fapi + "invalid-alternate-alg", fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string { return s.As(jose.PS256, c) }), "token", session.ProviderLied, "algorithm"},
	{own + "no-id-token", fakeop.Tokens(fakeop.Drop("id_token")), "token", session.ProviderLied, "no id_token"},
	{own + "id-token-no-jwt", fakeop.Tokens(fakeop.Set("id_token", "x.y")), "token", session.ProviderLied, "not a signed JWT"},

	// Token answer
	{own + "token-type-dpop", fakeop.Tokens(fakeop.Set("token_type", "DPoP")), "token", session.ProviderLied, "token_type"},
	{own + "token-type-missing", fakeop.Tokens(fakeop.Drop("token_type")), "token", session.ProviderLied, "token_type"},
	{own + "no-access-token", fakeop.Tokens(fakeop.Drop("access_token")), "token", session.ProviderLied, "no access_token"},
	{own + "access-token-splits-headers", fakeop.Tokens(fakeop.Append("access_token", "\r\nX-Evil: 1")), "token", session.ProviderLied, "could not be sent in a header"},
	{own + "access-token-too-large", fakeop.Tokens(fakeop.Append("access_token", strings.Repeat("a", 65<<10))), "token", session.TooLarge, "access_token is over"},
	{own + "refusal-with-status-200", fakeop.Tokens(func(m map[string]any) { clear(m); m["error"] = "invalid_grant" }), "token", session.ProviderRefused, "invalid_grant"},
	{own + "token-endpoint-400", fakeop.Status("token", 400, "invalid_grant"), "token", session.ProviderRefused, "invalid_grant"},
	{own + "token-endpoint-401", fakeop.Status("token", 401, "invalid_client"), "token", session.ProviderRefused, "invalid_client"},
	{own + "token-endpoint-429", fakeop.Status("token", 429, "slow_down"), "token", session.ProviderDown, "429"},
	{own + "token-endpoint-503", fakeop.Status("token", 503, "temporarily_unavailable"), "token", session.ProviderDown, "503"},

	// Userinfo
	{core + "userinfo-invalid-sub", fakeop.Userinfo(fakeop.Append("sub", "invalid")), "userinfo", session.ProviderLied, "sub is not that of the ID token"},
	{own + "userinfo-missing-sub", fakeop.Userinfo(fakeop.Drop("sub")), "userinfo", session.ProviderLied, "sub is not that of the ID token"},
	{own + "userinfo-401", fakeop.Status("userinfo", 401, "invalid_token"), "userinfo", session.ProviderRefused, "userinfo"},
	{own + "userinfo-500", fakeop.Status("userinfo", 500, "server_error"), "userinfo", session.ProviderDown, "userinfo"},
	{own + "userinfo-bad-signature", fakeop.SignedUserinfo(func(s *fakeop.Signer, c map[string]any) string { return corrupt(s.Honest(c)) }), "userinfo", session.ProviderLied, "the signature does not match"},
	{own + "userinfo-unsigned", fakeop.SignedUserinfo(func(s *fakeop.Signer, c map[string]any) string {
		return s.Unsigned(map[string]any{"alg": "none"}, c, "")
	}), "userinfo", session.ProviderLied, "algorithm"},
	{own + "userinfo-signed-wrong-iss", signedInfo(fakeop.Append("iss", "1")), "userinfo", session.ProviderLied, "iss is not the issuer"},
	{own + "userinfo-signed-wrong-aud", signedInfo(fakeop.Append("aud", "1")), "userinfo", session.ProviderLied, "aud is without client_id"},
	{own + "userinfo-signed-expired", signedInfo(fakeop.Set("exp", 1)), "userinfo", session.ProviderLied, "expired"},
	{own + "userinfo-too-large", fakeop.Userinfo(fakeop.Set("groups", strings.Repeat("g", 65<<10))), "userinfo", session.TooLarge, "userinfo"},
}

// TestLogin_Lies covers CB2 CB5 ID1 to ID7 ID11 ID12: every lie with both response modes, and silence after it.
func TestLogin_Lies(t *testing.T) {
	for _, mode := range []string{"query", "form_post"} {
		for _, l := range lies {
			t.Run(mode+"/"+l.name, func(t *testing.T) {
				t.Parallel()
				p := meet(t, func(o *oidc.Options) { o.ResponseMode = mode }, l.tell)
				g, err := p.login()
				refused(t, err, l.want, l.reason)
				if g.Subject != "" || g.Tokens.Access != "" {
					t.Errorf("a refused login returned a grant for %q", g.Subject)
				}
				p.silentAfter(l.at)
			})
		}
	}
}

// refreshLies are told when the login is over.
var refreshLies = []lie{
	{core + "refresh-token-invalid-issuer", fakeop.Refreshed(fakeop.Append("iss", "1")), "token", session.ProviderLied, "different provider"},
	{core + "refresh-token-invalid-sub", fakeop.Refreshed(fakeop.Append("sub", "1")), "token", session.ProviderLied, "sub is of another person"},
	{own + "refresh-other-aud", fakeop.Refreshed(fakeop.Append("aud", "1")), "token", session.ProviderLied, "audience"},
	{own + "refresh-older-iat", fakeop.Refreshed(fakeop.Set("iat", time.Now().Add(-time.Hour).Unix())), "token", session.ProviderLied, "iat is older"},
	{own + "refresh-other-auth-time", fakeop.Refreshed(fakeop.Set("auth_time", 1)), "token", session.ProviderLied, "auth_time has changed"},
	{own + "refresh-wrong-athash", fakeop.Refreshed(fakeop.Append("at_hash", "1")), "token", session.ProviderLied, "at_hash"},
	{own + "refresh-bad-signature", corrupted(jose.RS256), "token", session.ProviderLied, "the signature does not match"},
	{own + "refresh-unsigned", unsigned("none", ""), "token", session.ProviderLied, "algorithm"},
	{own + "refresh-expired", fakeop.Refreshed(fakeop.Set("exp", time.Now().Add(-2*time.Minute).Unix())), "token", session.ProviderLied, "expired"},
	{own + "refresh-token-type", fakeop.Tokens(fakeop.Set("token_type", "mac")), "token", session.ProviderLied, "token_type"},
	{own + "refresh-invalid-grant", fakeop.Status("token", 400, "invalid_grant"), "token", session.GrantOver, "invalid_grant"},
	{own + "refresh-invalid-grant-401", fakeop.Status("token", 401, "invalid_grant"), "token", session.GrantOver, "invalid_grant"},
	{own + "refresh-invalid-client", fakeop.Status("token", 401, "invalid_client"), "token", session.ProviderRefused, "invalid_client"},
	{own + "refresh-400-without-code", fakeop.Status("token", 400, ""), "token", session.ProviderRefused, "400"},
	{own + "refresh-429", fakeop.Status("token", 429, "invalid_grant"), "token", session.ProviderDown, "429"},
	{own + "refresh-503", fakeop.Status("token", 503, "invalid_grant"), "token", session.ProviderDown, "503"},
	{own + "refresh-down", fakeop.Down(), "token", session.ProviderDown, ""},
}

// TestRefresh_R3_Lies covers R3, and of R4 the codes that the renewer decides by.
func TestRefresh_R3_Lies(t *testing.T) {
	for _, l := range refreshLies {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			p := meet(t, nil)
			g := p.mustLogin()
			p.op.Tell(l.tell)
			p.op.Forget()
			tokens, err := p.rp.Refresh(context.Background(), g, session.Want{})
			refused(t, err, l.want, l.reason)
			if tokens != (session.Tokens{}) {
				t.Error("a refused refresh returned tokens")
			}
			p.silentAfter(l.at)
		})
	}
}

func answer(change func(url.Values)) fakeop.Lie { return fakeop.Answer(change) }

func unsigned(alg, signature string) fakeop.Lie {
	return fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string {
		return s.Unsigned(map[string]any{"alg": alg, "kid": s.Kid()}, c, signature)
	})
}

func corrupted(alg jose.SignatureAlgorithm) fakeop.Lie {
	return fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string { return corrupt(s.As(alg, c)) })
}

// corrupt changes one character in the middle of the signature.
func corrupt(token string) string {
	at := strings.LastIndexByte(token, '.') + 20
	other := byte('A')
	if token[at] == other {
		other = 'B'
	}
	return token[:at] + string(other) + token[at+1:]
}

func signedInfo(change func(map[string]any)) fakeop.Lie {
	return fakeop.SignedUserinfo(func(s *fakeop.Signer, c map[string]any) string {
		change(c)
		return s.Honest(c)
	})
}
