package conformance

import (
	"encoding/base64"
	"testing"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
)

// Some providers tell roles in the access token only. It adds to what ID token and userinfo say, and contradicts neither.
func TestFinish_ClaimsOfTheAccessToken(t *testing.T) {
	access := func(payload string) fakeop.Lie {
		text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
		return fakeop.All(fakeop.Tokens(fakeop.Set("access_token", text)), fakeop.IDToken(fakeop.Drop("at_hash")))
	}
	noUserinfo := func(o *oidc.Options) { o.UserinfoOff = true }
	g := meet(t, noUserinfo, access(`{"roles":["admin"],"sub":"other","email":"other@example.com","email_verified":true,"acr":"99","scope":"a b","client_id":"x","iss":"y"}`)).mustLogin()
	for name, want := range map[string]string{
		"roles": `["admin"]`, "sub": fakeop.Subject, "email": "user@example.com", "acr": "1", "scope": "", "client_id": "", "iss": g.Issuer,
	} {
		if got := g.Claim(name); got != want {
			t.Errorf("claim %s is %q, want %q", name, got, want)
		}
	}
	for _, payload := range []string{"", "[]", "null", `{"a":`, `"text"`} {
		if g := meet(t, noUserinfo, access(payload)).mustLogin(); g.Claim("sub") != fakeop.Subject {
			t.Errorf("payload %q: sub is %q", payload, g.Claim("sub"))
		}
	}
}
