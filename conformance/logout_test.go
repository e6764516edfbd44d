package conformance

import (
	"context"
	"net/url"
	"testing"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestRevoke_O2(t *testing.T) {
	p := meet(t, nil)
	g := p.mustLogin()
	if err := p.rp.Revoke(context.Background(), g.Tokens); err != nil {
		t.Fatal(err)
	}
	form := p.op.Last("revoke").Form
	if form.Get("token") != g.Tokens.Refresh || form.Get("token_type_hint") != "refresh_token" || len(form) != 2 {
		t.Errorf("form has %d members, hint %q", len(form), form.Get("token_type_hint"))
	}
	if _, err := p.rp.Refresh(context.Background(), g, session.Want{}); session.CodeOf(err) != session.GrantOver {
		t.Errorf("a refresh after that: %v", err)
	}
	if err := p.rp.Revoke(context.Background(), session.Tokens{Refresh: "unknown"}); err != nil {
		t.Errorf("an unknown token: %v", err)
	}
	if err := p.rp.Revoke(context.Background(), session.Tokens{Access: g.Tokens.Access}); err != nil {
		t.Fatal(err)
	}
	if form := p.op.Last("revoke").Form; form.Get("token") != g.Tokens.Access || form.Get("token_type_hint") != "access_token" {
		t.Errorf("without a refresh token the hint is %q", form.Get("token_type_hint"))
	}
	p.op.Forget()
	if err := p.rp.Revoke(context.Background(), session.Tokens{}); err != nil || len(p.op.Requests()) != 0 {
		t.Errorf("nothing to revoke: %v, heard %q", err, p.op.Endpoints())
	}
}

func TestRevoke_O2_Failures(t *testing.T) {
	for _, c := range []struct {
		name string
		tell fakeop.Lie
		want session.Code
	}{
		{"no endpoint", fakeop.Metadata(fakeop.Drop("revocation_endpoint")), ""},
		{"503", fakeop.Status("revoke", 503, ""), session.ProviderDown},
		{"401", fakeop.Status("revoke", 401, "invalid_client"), session.ProviderRefused},
	} {
		p := meet(t, nil, c.tell)
		if err := p.rp.Revoke(context.Background(), p.mustLogin().Tokens); session.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestEnd_O3(t *testing.T) {
	p := meet(t, nil)
	g := p.mustLogin()
	back, err := url.Parse("https://app.example.com/auth/logged-out")
	if err != nil {
		t.Fatal(err)
	}
	address, err := p.rp.End(context.Background(), g, back, "s1")
	if err != nil {
		t.Fatal(err)
	}
	q := address.Query()
	for name, want := range map[string]string{
		"id_token_hint": g.Tokens.ID, "client_id": fakeop.ClientID, "post_logout_redirect_uri": back.String(), "state": "s1",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	if answer := p.op.Visit(address); answer.Get("state") != "s1" {
		t.Errorf("came back with %v", answer)
	}
	address, err = p.rp.End(context.Background(), session.Grant{Provider: "main", Issuer: p.op.Issuer()}, nil, "s1")
	if err != nil {
		t.Fatal(err)
	}
	if q := address.Query(); len(q) != 1 || q.Get("client_id") != fakeop.ClientID {
		t.Errorf("without token and way back: %v", q)
	}
}

func TestEnd_O3_Nowhere(t *testing.T) {
	p := meet(t, nil, fakeop.Metadata(fakeop.Drop("end_session_endpoint")))
	if address, err := p.rp.End(context.Background(), p.mustLogin(), nil, ""); address != nil || err != nil {
		t.Errorf("no endpoint: %v, %v", address, err)
	}
	other := meet(t, nil).mustLogin()
	if address, err := meet(t, nil).rp.End(context.Background(), other, nil, ""); address != nil || err != nil {
		t.Errorf("of another provider: %v, %v", address, err)
	}
}

// TestRevoke_CB3_OfAnotherProvider: the configuration changed under a session; its tokens go to no other provider.
func TestRevoke_CB3_OfAnotherProvider(t *testing.T) {
	g := meet(t, nil).mustLogin()
	other := meet(t, nil)
	if err := other.rp.Revoke(context.Background(), g.Tokens); err != nil || len(other.op.Requests()) != 0 {
		t.Errorf("%v, heard %q", err, other.op.Endpoints())
	}
}
