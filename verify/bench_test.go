package verify

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/issuer"
)

// benched returns a request with an ES256 token of 1.2 kB through the whole middleware, and what makes the middleware forget it.
func benched(t testing.TB) (serve, forget func()) {
	op := fakeop.New(t)
	v, err := New(Options{Issuers: []Issuer{{URL: op.Issuer()}}, Audience: audience})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	token := op.Signer().Typed("at+jwt", map[string]any{
		"iss": op.Issuer(), "sub": "ada", "aud": audience, "client_id": "app", "scope": "notes:read", "iat": now.Unix(),
		"exp": now.Add(time.Hour).Unix(), "jti": "1", "groups": strings.Repeat("g", 600),
	})
	served := 0
	h := v.Require(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }))
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/api", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	h.ServeHTTP(w, r)
	if served != 1 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	t.Logf("a token of %d bytes", len(token))
	return func() { h.ServeHTTP(w, r) }, func() { v.known = issuer.NewKnown[*Token]() }
}

func BenchmarkRequire(b *testing.B) {
	b.Run("anew", func(b *testing.B) {
		serve, forget := benched(b)
		b.ReportAllocs()
		for b.Loop() {
			forget()
			serve()
		}
	})
	b.Run("cached", func(b *testing.B) {
		serve, _ := benched(b)
		b.ReportAllocs()
		for b.Loop() {
			serve()
		}
	})
}
