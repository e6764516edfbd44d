package conformance

import (
	"context"
	"testing"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestProbe(t *testing.T) {
	lists := func(name string, values ...string) fakeop.Lie { return fakeop.Metadata(fakeop.Set(name, values)) }
	for _, c := range []struct {
		name   string
		tell   fakeop.Lie
		change func(*oidc.Options)
		want   session.Code
		reason string
	}{
		{"sound", nothing, nil, "", ""},
		{"down", fakeop.Down(), nil, session.ProviderDown, "openid-configuration"},
		{"keys down", fakeop.Status("jwks", 503, ""), nil, session.ProviderDown, "503"},
		{"wrong issuer", fakeop.Metadata(fakeop.Append("issuer", "x")), nil, session.ProviderLied, "the metadata are those of"},
		{"not found", fakeop.Status("metadata", 404, ""), nil, session.ProviderRefused, "404"},
		{"no keys", fakeop.Keys(func([]any) []any { return nil }), nil, session.ProviderLied, "no key that can verify"},
		{"no code flow", lists("response_types_supported", "id_token"), nil, session.ProviderRefused, "authorization code flow"},
		{"no PKCE", lists("code_challenge_methods_supported", "plain"), nil, session.ProviderRefused, "S256"},
		{"no basic", lists("token_endpoint_auth_methods_supported", "private_key_jwt"), nil, session.ProviderRefused, "client_secret_basic"},
		{"other algorithms", lists("id_token_signing_alg_values_supported", "ES384"), nil, session.ProviderRefused, "RS256"},
		{"no form_post", lists("response_modes_supported", "query"), func(o *oidc.Options) { o.ResponseMode = "form_post" }, session.ProviderRefused, "form_post"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := meet(t, c.change, c.tell)
			err := p.rp.Probe(context.Background())
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, c.want, c.reason)
		})
	}
}

func TestProbe_IsCheap(t *testing.T) {
	p := meet(t, nil)
	for range 50 {
		if err := p.rp.Probe(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if p.op.Count("metadata") != 1 || p.op.Count("jwks") != 1 {
		t.Errorf("50 probes made %q", p.op.Endpoints())
	}
}

// TestBegin_ProviderThatWasDownAtStart: nobody is asked before the first login, and it works as soon as the provider does.
func TestBegin_ProviderThatWasDownAtStart(t *testing.T) {
	p := meet(t, nil, fakeop.Down())
	if n := len(p.op.Requests()); n != 0 {
		t.Errorf("New made %d requests", n)
	}
	for range 5 {
		_, _, err := p.rp.Begin(context.Background(), session.Intent{})
		refused(t, err, session.ProviderDown, "")
	}
	if n := p.op.Count("metadata"); n != 1 {
		t.Errorf("%d attempts at once", n)
	}
}
