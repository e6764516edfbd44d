package conformance

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/session"
)

// everything does all that calls the provider.
func everything(p *party) error {
	g, err := p.login()
	if err != nil {
		return err
	}
	return p.rp.Revoke(context.Background(), g.Tokens)
}

// impatient is meet with a relying party that waits two seconds instead of ten.
func impatient(t *testing.T, lies ...fakeop.Lie) *party {
	t.Helper()
	op := fakeop.New(t, lies...)
	return &party{t, op, newRP(t, op, op.Client(2*time.Second), nil)}
}

var endpoints = []string{"metadata", "par", "token", "jwks", "userinfo", "revoke"}

func TestCalls_CB10_RedirectsAreNotFollowed(t *testing.T) {
	var hits atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer elsewhere.Close()
	for _, endpoint := range endpoints {
		for _, status := range []int{301, 302, 303, 307, 308} {
			p := meet(t, nil, fakeop.PAR(), fakeop.Instead(endpoint, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, elsewhere.URL, status)
			}))
			refused(t, everything(p), session.ProviderLied, "redirect")
			p.silentAfter(endpoint)
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d redirects were followed", hits.Load())
	}
}

func TestCalls_CB10_EndlessAnswers(t *testing.T) {
	for _, endpoint := range endpoints {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			p := meet(t, nil, fakeop.PAR(), fakeop.Endless(endpoint))
			err := everything(p)
			if code := session.CodeOf(err); code != session.ProviderLied || !strings.Contains(err.Error(), "more than 1048576 bytes") {
				t.Errorf("got %q: %v", code, err)
			}
			p.silentAfter(endpoint)
		})
	}
}

// TestCalls_CB10_GzipBomb: 4 MiB in 4 KiB. It is cut at the limit, after decompression.
func TestCalls_CB10_GzipBomb(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 4<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	p := meet(t, nil, fakeop.Instead("jwks", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes()) // the client hangs up
	}))
	refused(t, everything(p), session.ProviderLied, "more than 1048576 bytes")
}

func TestCalls_CB10_Hanging(t *testing.T) {
	for _, endpoint := range endpoints {
		t.Run(endpoint, func(t *testing.T) {
			t.Parallel()
			p := impatient(t, fakeop.PAR(), fakeop.Hang(endpoint))
			began := time.Now()
			refused(t, everything(p), session.ProviderDown, endpointPath(endpoint))
			if took := time.Since(began); took > 9*time.Second {
				t.Errorf("took %v", took)
			}
			p.silentAfter(endpoint)
		})
	}
}

// TestCalls_CB10_HangingBody sends headers at once and the rest never.
func TestCalls_CB10_HangingBody(t *testing.T) {
	t.Parallel()
	p := impatient(t, fakeop.Instead("token", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // a client that hung up
		<-r.Context().Done()
	}))
	refused(t, everything(p), session.ProviderDown, "/token")
}

func endpointPath(endpoint string) string {
	if endpoint == "metadata" {
		return "/.well-known/openid-configuration"
	}
	return "/" + endpoint
}

func TestCalls_CB10_UntrustedCertificate(t *testing.T) {
	op := fakeop.New(t, fakeop.TLS())
	back, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	o := oidc.Options{Issuer: op.Issuer(), ClientID: fakeop.ClientID, ClientSecret: fakeop.ClientSecret}
	clients := map[string]*http.Client{"default": nil, "careless": careless()}
	for name, client := range clients {
		rp, err := oidc.New("main", back, o, client, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = rp.Begin(context.Background(), session.Intent{})
		refused(t, err, session.ProviderDown, "certificate")
		if !strings.Contains(session.HintOf(err), "SSL_CERT_FILE") {
			t.Errorf("%s: hint is %q", name, session.HintOf(err))
		}
	}
	if len(op.Requests()) != 0 {
		t.Error("a request got through")
	}
}

// careless is a client that follows redirects and verifies nothing.
func careless() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = insecure()
	return &http.Client{Transport: transport, Timeout: time.Hour}
}

func TestBegin_BrowserThatLeftDoesNotHurtOthers(t *testing.T) {
	p := meet(t, nil)
	gone, leave := context.WithCancelCause(context.Background())
	leave(errors.New("the tab was closed"))
	_, _, err := p.rp.Begin(gone, session.Intent{})
	if err != nil {
		refused(t, err, session.ProviderDown, "the tab was closed")
	}
	if _, _, err := p.rp.Begin(context.Background(), session.Intent{}); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func insecure() *tls.Config { return &tls.Config{InsecureSkipVerify: true} }
