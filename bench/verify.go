package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/verify"
)

// verifying measures package verify as an API has it, middleware and all, in this process: an ES256 token of 1.2 kB that it sees for the
// first time, and one that it verified a moment ago.
func verifying(op *provider, rounds int, w io.Writer) error {
	const tokens, repeats = 100, 20
	v, err := verify.New(verify.Options{Issuers: []verify.Issuer{{URL: op.URL}}, Audience: "bench"})
	if err != nil {
		return err
	}
	passed := 0
	h := v.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed++ }))
	serve := func(requests []*http.Request, times int) (time.Duration, error) {
		start, err := ownCPU()
		if err != nil {
			return 0, err
		}
		for range times {
			for _, r := range requests {
				h.ServeHTTP(discard{http.Header{}}, r)
			}
		}
		end, err := ownCPU()
		return (end - start) / time.Duration(times*len(requests)), err
	}
	var anew, cached []time.Duration
	for round := range rounds {
		requests := make([]*http.Request, tokens)
		for i := range requests {
			token, err := op.access(round*tokens + i)
			if err != nil {
				return err
			}
			requests[i] = httptest.NewRequest("GET", "/", nil)
			requests[i].Header.Set("Authorization", "Bearer "+token)
		}
		passed = 0
		first, err := serve(requests, 1)
		if err != nil {
			return err
		}
		again, err := serve(requests, repeats)
		if err != nil {
			return err
		}
		if passed != tokens*(1+repeats) {
			return fmt.Errorf("verify: of %d requests %d passed", tokens*(1+repeats), passed)
		}
		if round > 0 || rounds == 1 { // the first one fetches the keys
			anew, cached = append(anew, first), append(cached, again)
		}
	}
	ratio(w, "cpu-ratio verify-cached", 4, cached, anew)
	return nil
}

// access mints an access token in the profile of RFC 9068.
func (p *provider) access(n int) (string, error) {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": p.URL, "aud": "bench", "sub": "248289761001", "client_id": "bench", "iat": now, "exp": now + 3600, "jti": fmt.Sprint(n),
		"scope": "orders:read", "groups": strings.Repeat("g", 600),
	})
	if err != nil {
		return "", err
	}
	signed, err := p.accessSigner.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d discard) Header() http.Header       { return d.header }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}
