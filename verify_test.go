package cloakroom_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/verify"
)

// An API on a sibling host, or on our own past the gateway, takes the cookies that the gateway gave to the browser.
func TestVerify_A7_X8_CookiesOfTheGateway(t *testing.T) {
	const audience = "https://api.example.com"
	for _, c := range []struct {
		delivery, domain, csrf string
		url                    string // of the API, "" for the gateway's
	}{
		{"cookie", "", "origin", ""},
		{"split", "", "token", ""},
		{"cookie", "example.com", "token", "https://api.example.com"},
		{"split", "example.com", "header", "https://api.example.com"},
		{"split", "example.com", "token", "https://api.example.com"},
	} {
		t.Run(c.delivery+" "+c.domain+" "+c.csrf, func(t *testing.T) {
			key := cloakroom.NewKey()
			r := newRig(t, func(cfg *cloakroom.Config) {
				cfg.Keys = []string{key}
				cfg.Tokens.Delivery, cfg.Tokens.Domain, cfg.Guard.CSRF = c.delivery, c.domain, c.csrf
			}, fakeop.AccessType("at+jwt"), fakeop.AccessToken(fakeop.Set("aud", audience)), fakeop.AccessToken(fakeop.Set("sub", "known to the API as this")))
			csrfKey, err := cloakroom.CSRFKey([]string{key})
			if err != nil {
				t.Fatal(err)
			}
			v, err := verify.New(verify.Options{
				Issuers: []verify.Issuer{{URL: r.op.Issuer()}}, Audience: audience, URL: c.url,
				Gateway: &verify.Gateway{URL: appURL, Domain: c.domain, CSRF: c.csrf, CSRFKey: csrfKey},
			})
			if err != nil {
				t.Fatal(err)
			}
			var subjects []string
			api := httptest.NewServer(v.Require(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
				token, _ := verify.FromContext(q.Context())
				subjects = append(subjects, token.Subject)
			})))
			defer api.Close()
			site := map[string]string{"": "same-origin"}[c.url]
			if site == "" {
				site = "same-site"
			}
			b := r.browser().signIn()
			send := func(method, page, token string) *http.Response {
				t.Helper()
				q, err := http.NewRequest(method, api.URL+"/notes", nil)
				if err != nil {
					t.Fatal(err)
				}
				q.Header = http.Header{"Origin": {page}, "Sec-Fetch-Site": {site}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}
				if page != appURL {
					q.Header.Set("Sec-Fetch-Site", "same-site")
				}
				var pairs []string
				for _, cookie := range b.kept() { // of our own host those of the session come along as well; they say nothing there
					if c.url == "" || cookie.Domain != "" {
						pairs = append(pairs, cookie.Name+"="+cookie.Value)
					}
				}
				q.Header.Set("Cookie", strings.Join(pairs, "; "))
				if token != "" {
					q.Header.Set("X-CSRF-Token", token)
				}
				res, err := http.DefaultClient.Do(q)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				return res
			}
			token := "1"
			if c.csrf == "token" {
				h := http.Header{"X-Csrf-Token": {"1"}}
				token, _ = b.do(request{method: "GET", path: "/auth/session", site: "same-origin", header: h}).json(t)["csrf_token"].(string)
			}
			for _, method := range []string{"GET", "POST"} {
				if res := send(method, appURL, token); res.StatusCode != 200 {
					t.Errorf("%s: %d %q", method, res.StatusCode, res.Header.Get("WWW-Authenticate"))
				}
			}
			want := 403
			if c.csrf == "origin" {
				want = 200
			}
			if res := send("POST", appURL, ""); res.StatusCode != want {
				t.Errorf("without a CSRF token: %d", res.StatusCode)
			}
			if res := send("POST", "https://evil.example.com", token); res.StatusCode != 403 {
				t.Errorf("from a sibling host: %d", res.StatusCode)
			}
			if len(subjects) < 2 || slices.ContainsFunc(subjects, func(s string) bool { return s != "known to the API as this" }) {
				t.Errorf("it was %q", subjects)
			}
			b.do(request{method: "POST", path: "/auth/logout", site: "same-origin", header: http.Header{"X-Csrf-Token": {token}}})
			if res := send("GET", appURL, token); res.StatusCode != 401 || res.Header.Get("Cloakroom") != "login-required" {
				t.Errorf("signed out: %d, Cloakroom %q", res.StatusCode, res.Header.Get("Cloakroom"))
			}
		})
	}
}
