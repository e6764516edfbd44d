package fakeop

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// watched is a test that keeps its complaints.
type watched struct {
	testing.TB
	complaints []string
}

func (w *watched) Errorf(format string, _ ...any) { w.complaints = append(w.complaints, format) }

// TestProvider_ComplainsOfABrokenClient shows that the provider's strictness is real: tests rely on it.
func TestProvider_ComplainsOfABrokenClient(t *testing.T) {
	good := func() url.Values {
		return url.Values{
			"response_type": {"code"}, "client_id": {ClientID}, "scope": {"openid"}, "redirect_uri": {"https://app.example.com/cb"},
			"state": {strings.Repeat("s", 22)}, "nonce": {strings.Repeat("n", 22)},
			"code_challenge": {strings.Repeat("c", 43)}, "code_challenge_method": {"S256"},
		}
	}
	visit := func(p *Provider, q url.Values) url.Values {
		address, err := url.Parse(p.Issuer() + "/authorize?" + q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		return p.Visit(address)
	}
	w := &watched{TB: t}
	code := visit(New(w), good()).Get("code")
	if len(w.complaints) != 0 || code == "" {
		t.Fatalf("a good request: %q", w.complaints)
	}
	for name, change := range map[string]func(url.Values){
		"no PKCE":        func(q url.Values) { q.Del("code_challenge") },
		"plain PKCE":     func(q url.Values) { q.Set("code_challenge_method", "plain") },
		"implicit":       func(q url.Values) { q.Set("response_type", "token") },
		"no openid":      func(q url.Values) { q.Set("scope", "profile") },
		"short state":    func(q url.Values) { q.Set("state", "1") },
		"no nonce":       func(q url.Values) { q.Del("nonce") },
		"another client": func(q url.Values) { q.Set("client_id", "x") },
		"twice":          func(q url.Values) { q.Add("state", strings.Repeat("s", 22)) },
	} {
		w := &watched{TB: t}
		q := good()
		change(q)
		visit(New(w), q)
		if len(w.complaints) == 0 {
			t.Errorf("%s: no complaint", name)
		}
	}
	w = &watched{TB: t}
	p := New(w)
	code = visit(p, good()).Get("code")
	form := url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {"https://app.example.com/cb"}, "code_verifier": {strings.Repeat("v", 43)}}
	r, err := http.NewRequest(http.MethodPost, p.Issuer()+"/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth(url.QueryEscape(ClientID), url.QueryEscape(ClientSecret))
	res, err := p.Client(5 * time.Second).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || len(w.complaints) != 1 {
		t.Errorf("a wrong verifier: %s, %q", res.Status, w.complaints)
	}
}
