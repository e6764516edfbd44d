package cloakroom_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

// silent sends no iss, and does not say that it would, as many providers do.
func silent() fakeop.Lie {
	return fakeop.All(
		fakeop.Metadata(func(m map[string]any) { delete(m, "authorization_response_iss_parameter_supported") }),
		fakeop.Answer(func(q url.Values) { q.Del("iss") }),
	)
}

// withRival is a gateway with a second provider beside main, which is hostile where a test needs it.
func withRival(t *testing.T, callback string, lies ...fakeop.Lie) (*rig, *fakeop.Provider) {
	rival := fakeop.New(t, silent())
	return newRig(t, func(c *cloakroom.Config) {
		main := c.Providers["main"]
		main.Callback = callback
		c.Providers["main"] = main
		c.Providers["rival"] = cloakroom.Provider{
			Issuer: rival.Issuer(), ClientID: fakeop.ClientID, ClientSecret: fakeop.ClientSecret, Callback: callback,
		}
	}, lies...), rival
}

// mixedUp is the published attack (RFC 9700 §4.4.1): the person begins a login at the rival, which sends the browser on to main, as
// if main had been chosen. What comes back is main's code, under the state of a login at the rival. registered is the redirect URI
// that main takes for this client, the only one to which it sends codes.
func mixedUp(t *testing.T, r *rig, b *browser, registered string) url.Values {
	t.Helper()
	p := b.do(request{method: "GET", path: "/auth/login?provider=rival", site: "none", nav: true})
	q := mustURL(t, p.next(t)).Query()
	q.Set("redirect_uri", registered)
	return r.op.Visit(mustURL(t, r.op.Issuer()+"/authorize?"+q.Encode()))
}

func TestCallback_CB3_MixUp(t *testing.T) {
	for _, v := range []struct {
		name, callback, path, log string
		main                      fakeop.Lie
	}{
		{"OwnRedirectURI", "", "/auth/callback/main", "does not come to this address", silent()},
		{"SharedRedirectURI", "shared", "/auth/callback", "callback: own", silent()},
		{"SharedRedirectURIWithIssuer", "shared", "/auth/callback", "another provider answered", fakeop.All()},
	} {
		t.Run(v.name, func(t *testing.T) {
			r, rival := withRival(t, v.callback, v.main)
			b := r.browser()
			answer := mixedUp(t, r, b, appURL+v.path)
			p := b.do(request{method: "GET", path: v.path + "?" + answer.Encode(), site: "cross-site", nav: true})
			if p.Status != http.StatusBadGateway {
				t.Errorf("status %d: %.300s", p.Status, p.Body)
			}
			if n := rival.Count("token") + r.op.Count("token"); n != 0 {
				t.Errorf("the code was sent %d times", n)
			}
			if b.ticket() != "" {
				t.Error("there is a session")
			}
			if !strings.Contains(r.logs.String(), v.log) {
				t.Errorf("the log does not say %q", v.log)
			}
			checkCallbackHeaders(t, p)
		})
	}
}

// Several providers have a redirect URI each, one keeps the one it always had, and who says otherwise gets otherwise. Logins work
// there and nowhere else.
func TestLogin_L9_RedirectURIOfEachProvider(t *testing.T) {
	for _, v := range []struct {
		name, callback, path string
		several              bool
	}{
		{"One", "", "/auth/callback", false},
		{"OneThatExpectsOthers", "own", "/auth/callback/main", false},
		{"Several", "", "/auth/callback/main", true},
		{"SeveralThatShare", "shared", "/auth/callback", true},
	} {
		t.Run(v.name, func(t *testing.T) {
			var r *rig
			if v.several {
				r, _ = withRival(t, v.callback)
			} else {
				r = newRig(t, func(c *cloakroom.Config) {
					main := c.Providers["main"]
					main.Callback = v.callback
					c.Providers["main"] = main
				})
			}
			for _, path := range []string{"/auth/callback", "/auth/callback/main", "/auth/callback/rival", "/auth/callback/"} {
				r.op.Forget()
				b := r.browser()
				p := b.do(request{method: "GET", path: "/auth/login?provider=main", site: "none", nav: true})
				to := mustURL(t, p.next(t))
				if got := to.Query().Get("redirect_uri"); got != appURL+v.path {
					t.Fatalf("redirect_uri %q, want %q", got, appURL+v.path)
				}
				b.do(request{method: "GET", path: path + "?" + r.op.Visit(to).Encode(), site: "cross-site", nav: true})
				if in := b.ticket() != ""; in != (path == v.path) || r.op.Count("token") > 0 && !in {
					t.Errorf("signed in by an answer at %s: %t", path, in)
				}
			}
		})
	}
}

// Check says what to register.
func TestCheck_NamesTheRedirectURI(t *testing.T) {
	r, _ := withRival(t, "")
	for _, name := range []string{"main", "rival"} {
		found := false
		for _, f := range r.gateway.Check(t.Context()) {
			found = found || f.OK && f.Subject == "provider "+name && strings.Contains(f.Text, "redirect URI is "+appURL+"/auth/callback/"+name)
		}
		if !found {
			t.Errorf("no finding names the redirect URI of %s", name)
		}
	}
}
