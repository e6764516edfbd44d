package conformance

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/session"
)

const callback = "https://app.example.com/auth/callback"

// party is the relying party under test, and the provider it talks to.
type party struct {
	t  *testing.T
	op *fakeop.Provider
	rp *oidc.Provider
}

// meet brings both together. change adapts the relying party's options and may be nil.
func meet(t *testing.T, change func(*oidc.Options), lies ...fakeop.Lie) *party {
	t.Helper()
	op := fakeop.New(t, lies...)
	return &party{t, op, newRP(t, op, op.Client(0), change)}
}

func newRP(t *testing.T, op *fakeop.Provider, client *http.Client, change func(*oidc.Options)) *oidc.Provider {
	t.Helper()
	o := oidc.Options{Issuer: op.Issuer(), ClientID: fakeop.ClientID, ClientSecret: fakeop.ClientSecret}
	if change != nil {
		change(&o)
	}
	back, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	rp, err := oidc.New("main", back, o, client, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rp
}

// begin starts a login and answers it, as a browser would.
func (p *party) begin(in session.Intent) (session.Pending, url.Values, error) {
	p.t.Helper()
	address, pending, err := p.rp.Begin(context.Background(), in)
	if err != nil {
		return pending, nil, err
	}
	return pending, p.op.Visit(address), nil
}

// login does all of it.
func (p *party) login() (session.Grant, error) {
	p.t.Helper()
	pending, answer, err := p.begin(session.Intent{ReturnTo: "/"})
	if err != nil {
		return session.Grant{}, err
	}
	return p.rp.Finish(context.Background(), pending, answer)
}

func (p *party) mustLogin() session.Grant {
	p.t.Helper()
	g, err := p.login()
	if err != nil {
		p.t.Fatalf("login: %v", err)
	}
	return g
}

// refused checks that err is of this code and for this reason, and tells no secret.
func refused(t *testing.T, err error, want session.Code, reason string) {
	t.Helper()
	if session.CodeOf(err) != want {
		t.Fatalf("got %q (%v), want %q", session.CodeOf(err), err, want)
	}
	if !strings.Contains(err.Error(), reason) {
		t.Errorf("refused for another reason: %v; want %q", err, reason)
	}
	if strings.Contains(err.Error(), fakeop.ClientSecret) || strings.Contains(err.Error(), "eyJ") {
		t.Errorf("the error holds a secret: %v", err)
	}
}

// silentAfter checks that the provider heard nothing more once it had lied at an endpoint, but for a look at its keys where
// the lie was a signed token.
func (p *party) silentAfter(endpoint string) {
	p.t.Helper()
	heard := p.op.Endpoints()
	at := slices.Index(heard, endpoint)
	if at < 0 {
		p.t.Fatalf("%s was never asked: %q", endpoint, heard)
	}
	for _, name := range heard[at+1:] {
		if !(name == "jwks" && (endpoint == "token" || endpoint == "userinfo")) {
			p.t.Errorf("after the lie at %s the provider heard %q", endpoint, heard[at+1:])
			return
		}
	}
}
