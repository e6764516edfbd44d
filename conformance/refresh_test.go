package conformance

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/session"
)

// TestRefresh_R2_Rotation is oidcc-client-test-refresh-token, three times over: each new refresh token replaces the old one.
func TestRefresh_R2_Rotation(t *testing.T) {
	p := meet(t, nil)
	g := p.mustLogin()
	for range 3 {
		tokens, err := p.rp.Refresh(context.Background(), g, session.Want{})
		if err != nil {
			t.Fatal(err)
		}
		if tokens.Refresh == g.Tokens.Refresh || tokens.Access == g.Tokens.Access || tokens.ID == g.Tokens.ID {
			t.Error("a token is the old one")
		}
		if tokens.Expires.Before(time.Now()) {
			t.Errorf("expires at %v", tokens.Expires)
		}
		g.Tokens = tokens
	}
}

func TestRefresh_R2_WhatTheAnswerLacksStays(t *testing.T) {
	p := meet(t, nil, fakeop.Tokens(fakeop.Set("refresh_expires_in", 900)))
	g := p.mustLogin()
	p.op.Tell(fakeop.Tokens(func(m map[string]any) {
		for _, name := range []string{"refresh_token", "id_token", "scope", "refresh_expires_in"} {
			delete(m, name)
		}
	}))
	tokens, err := p.rp.Refresh(context.Background(), g, session.Want{})
	if err != nil {
		t.Fatal(err)
	}
	old := g.Tokens
	if tokens.Refresh != old.Refresh || tokens.ID != old.ID || tokens.Scope != old.Scope || !tokens.RefreshExpires.Equal(old.RefreshExpires) {
		t.Error("something got lost")
	}
	if tokens.Access == old.Access {
		t.Error("the access token is the old one")
	}
}

func TestRefresh_R5_Request(t *testing.T) {
	p := meet(t, func(o *oidc.Options) {
		o.Audience, o.Resource, o.Params = "https://api.example.com", []string{"https://api.example.com"}, map[string]string{"tenant": "t1"}
	})
	g := p.mustLogin()
	if _, err := p.rp.Refresh(context.Background(), g, session.Want{}); err != nil {
		t.Fatal(err)
	}
	form := p.op.Last("token").Form
	for name, want := range map[string]string{
		"grant_type": "refresh_token", "refresh_token": g.Tokens.Refresh, "audience": "https://api.example.com",
		"resource": "https://api.example.com", "tenant": "t1",
	} {
		if form.Get(name) != want {
			t.Errorf("%s is %q, want %q", name, form.Get(name), want)
		}
		form.Del(name)
	}
	if len(form) != 0 { // no scope: what was granted, and not more
		t.Errorf("further parameters: %v", form)
	}
}

// A token for one API is asked for in the words that the provider goes by, and for nothing else beside it.
func TestRefresh_P8_ForOneAPI(t *testing.T) {
	const orders = "https://orders.example.com"
	for _, c := range []struct {
		name, want         string
		audience, resource string    // as configured
		sent               [2]string // audience and resource
	}{
		{"neither, a URI", orders, "", "", [2]string{"", orders}},
		{"neither, another name", "orders", "", "", [2]string{"orders", ""}},
		{"by resource", orders, "", "https://api.example.com", [2]string{"", orders}},
		{"by audience", orders, "https://api.example.com", "", [2]string{orders, ""}},
		{"by both", orders, "https://api.example.com", "https://api.example.com", [2]string{orders, orders}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := meet(t, func(o *oidc.Options) {
				if o.Audience = c.audience; c.resource != "" {
					o.Resource = []string{c.resource, "urn:another"}
				}
			})
			g := p.mustLogin()
			want := session.Want{Audience: c.want}
			tokens, err := p.rp.Refresh(context.Background(), g, want)
			if err != nil {
				t.Fatal(err)
			}
			form := p.op.Last("token").Form
			if got := [2]string{strings.Join(form["audience"], " "), strings.Join(form["resource"], " ")}; got != c.sent {
				t.Errorf("sent audience and resource %q, want %q", got, c.sent)
			}
			if got := p.rp.Addressees(tokens.Access, want); !slices.Equal(got, []string{c.want}) {
				t.Errorf("the token is for %q", got)
			}
		})
	}
}

// A JWT says itself whom it is for. Of others nobody can tell but who asked for it.
func TestAddressees_P8(t *testing.T) {
	p := meet(t, func(o *oidc.Options) { o.Audience, o.Resource = "a", []string{"urn:b", "urn:c"} })
	jwt := func(changes ...func(map[string]any)) string {
		claims := map[string]any{"aud": "d"}
		for _, change := range changes {
			change(claims)
		}
		return p.op.Signer().Typed("at+jwt", claims)
	}
	for _, c := range []struct {
		name, token string
		want        session.Want
		is          []string
	}{
		{"a JWT", jwt(), session.Want{}, []string{"d"}},
		{"a JWT that was asked for another", jwt(), session.Want{Audience: "e"}, []string{"d"}},
		{"a JWT for several", jwt(fakeop.Set("aud", []string{"d", "e"})), session.Want{Audience: "e"}, []string{"d", "e"}},
		{"a JWT for nobody", jwt(fakeop.Drop("aud")), session.Want{Audience: "e"}, nil},
		{"a JWT for no text", jwt(fakeop.Set("aud", 1)), session.Want{Audience: "e"}, nil},
		{"an opaque one", "x", session.Want{}, []string{"a", "urn:b", "urn:c"}},
		{"an opaque one that was asked for one", "x", session.Want{Audience: "e"}, []string{"e"}},
	} {
		if got := p.rp.Addressees(c.token, c.want); !slices.Equal(got, c.is) {
			t.Errorf("%s: %q, want %q", c.name, got, c.is)
		}
	}
}

func TestRefresh_R4_GrantOver(t *testing.T) {
	p := meet(t, nil)
	g := p.mustLogin()
	p.op.EndGrants()
	_, err := p.rp.Refresh(context.Background(), g, session.Want{})
	refused(t, err, session.GrantOver, "invalid_grant")
}

func TestRefresh_NoRefreshTokenAsksNobody(t *testing.T) {
	p := meet(t, func(o *oidc.Options) { o.Scopes = []string{"openid"} })
	g := p.mustLogin()
	p.op.Forget()
	_, err := p.rp.Refresh(context.Background(), g, session.Want{})
	refused(t, err, session.GrantOver, "no refresh token")
	if len(p.op.Requests()) != 0 {
		t.Errorf("heard %q", p.op.Endpoints())
	}
}

// TestRefresh_CB3_OfAnotherProvider: the configuration changed under a session; its tokens go to no other provider.
func TestRefresh_CB3_OfAnotherProvider(t *testing.T) {
	g := meet(t, nil).mustLogin()
	other := meet(t, nil)
	_, err := other.rp.Refresh(context.Background(), g, session.Want{})
	refused(t, err, session.GrantOver, "another provider")
	if len(other.op.Requests()) != 0 {
		t.Errorf("heard %q", other.op.Endpoints())
	}
}

// TestRefresh_R2_KeysOutOfReach: the provider rotated the refresh token, and its keys cannot be had to verify the ID token
// beside it. To throw the answer away would end the session at the next refresh.
func TestRefresh_R2_KeysOutOfReach(t *testing.T) {
	p := meet(t, nil)
	g := p.mustLogin()
	p.op.RotateKeys()
	p.op.Tell(fakeop.Status("jwks", 503, ""))
	tokens, err := p.rp.Refresh(context.Background(), g, session.Want{})
	if err != nil {
		t.Fatal(err)
	}
	if tokens.ID != g.Tokens.ID {
		t.Error("an ID token that nobody verified was kept")
	}
	if tokens.Refresh == g.Tokens.Refresh {
		t.Error("the rotated refresh token got lost")
	}
}

// TestRefresh_R3_KeysOutOfReach: even an ID token that cannot be verified now must not speak of someone else.
func TestRefresh_R3_KeysOutOfReach(t *testing.T) {
	for _, c := range []struct {
		change func(map[string]any)
		reason string
	}{
		{fakeop.Append("iss", "1"), "iss is"},
		{fakeop.Append("aud", "1"), "aud is"},
		{fakeop.Append("sub", "1"), "sub is of another person"},
		{fakeop.Append("at_hash", "1"), "at_hash"},
	} {
		p := meet(t, nil)
		g := p.mustLogin()
		p.op.RotateKeys()
		p.op.Tell(fakeop.Status("jwks", 503, ""), fakeop.Refreshed(c.change))
		_, err := p.rp.Refresh(context.Background(), g, session.Want{})
		refused(t, err, session.ProviderLied, c.reason)
	}
}

// TestRefresh_R3_ChangesWithinWhatALoginMayHave: each ID token would do for a login, but it is not the same one.
func TestRefresh_R3_ChangesWithinWhatALoginMayHave(t *testing.T) {
	api := func(o *oidc.Options) { o.Resource = []string{"https://api.example.com"} }
	p := meet(t, api)
	g := p.mustLogin()
	p.op.Tell(fakeop.Refreshed(func(c map[string]any) {
		c["aud"], c["azp"] = []string{fakeop.ClientID, "https://api.example.com"}, fakeop.ClientID
	}))
	_, err := p.rp.Refresh(context.Background(), g, session.Want{})
	refused(t, err, session.ProviderLied, "aud has changed")
}

// TestRefresh_R3_Same is what may change and what may be missing.
func TestRefresh_R3_Same(t *testing.T) {
	for _, change := range []func(map[string]any){
		fakeop.Drop("auth_time"), fakeop.Drop("sid"), fakeop.Drop("at_hash"), fakeop.Set("acr", "2"),
		fakeop.Set("nonce", "any"), fakeop.Set("aud", []string{fakeop.ClientID}), fakeop.Set("azp", fakeop.ClientID),
	} {
		p := meet(t, nil)
		g := p.mustLogin()
		p.op.Tell(fakeop.Refreshed(change))
		if _, err := p.rp.Refresh(context.Background(), g, session.Want{}); err != nil {
			t.Error(err)
		}
	}
}

// TestRefresh_R5_M2_Narrower: what is asked for is within what was granted, and what comes back is told as wide as it is, whoever
// says so: the answer, or the token itself.
func TestRefresh_R5_M2_Narrower(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  fakeop.Lie
		want string
	}{
		{"as asked", nil, "email email"},
		{"as asked, without a word", fakeop.Tokens(fakeop.Drop("scope")), "email email"},
		{"a list", fakeop.Tokens(fakeop.Set("scope", []string{"email"})), "email email"},
		{"wider than asked", fakeop.Tokens(fakeop.Set("scope", "email openid")), "email openid email"},
		{"wider only in the token", fakeop.AccessToken(fakeop.Set("scope", "email openid")), "email email openid"},
		{"wider only in the token, in a list", fakeop.AccessToken(fakeop.Set("scp", []string{"email", "admin"})), "email email email admin"},
		{"opaque", fakeop.Opaque(), "email"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := meet(t, nil)
			g := p.mustLogin()
			if c.lie != nil {
				p.op.Tell(c.lie)
			}
			tokens, err := p.rp.Refresh(context.Background(), g, session.Want{Scope: "email"})
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(strings.Fields(tokens.Scope), " "); got != c.want {
				t.Errorf("it is good for %q, want %q", got, c.want)
			}
			if sent := p.op.Last("token").Form.Get("scope"); sent != "email" {
				t.Errorf("asked for %q", sent)
			}
		})
	}
	p := meet(t, nil)
	g := p.mustLogin()
	p.op.Tell(fakeop.Status("token", 400, "invalid_scope"))
	_, err := p.rp.Refresh(context.Background(), g, session.Want{Scope: "email"})
	refused(t, err, session.BadRequest, "invalid_scope")
	_, err = p.rp.Refresh(context.Background(), g, session.Want{})
	refused(t, err, session.ProviderRefused, "invalid_scope")
}

// What an answer says nothing of is granted as it was asked for (RFC 6749 §5.1).
func TestFinish_M2_ScopeAsAsked(t *testing.T) {
	for _, lie := range []fakeop.Lie{fakeop.All(), fakeop.Tokens(fakeop.Drop("scope"))} {
		p := meet(t, nil)
		p.op.Tell(lie)
		if got := p.mustLogin().Tokens.Scope; got != "openid profile email offline_access" {
			t.Errorf("granted %q", got)
		}
	}
}
