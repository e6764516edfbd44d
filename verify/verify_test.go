package verify

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/issuer"
)

const audience = "https://api.example.com"

// rig is an API over real HTTP, and the issuer of its tokens.
type rig struct {
	t   *testing.T
	op  *fakeop.Provider
	v   *Verifier
	url string
	log *journal

	mu   sync.Mutex
	off  time.Duration // of both clocks, moved by hand: real sockets know of no other
	seen *Token        // what the handler found, nil: it was not reached
}

func (r *rig) now() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Add(r.off)
}

func (r *rig) pass(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.off += d
}

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// newRig starts both. change adapts the options and may be nil. /api is for everyone with a good token, /write wants a scope.
func newRig(t *testing.T, change func(*Options), lies ...fakeop.Lie) *rig {
	t.Helper()
	r := &rig{t: t, log: &journal{}}
	r.op = fakeop.New(t, append([]fakeop.Lie{fakeop.Clock(r.now)}, lies...)...)
	o := Options{
		Issuers: []Issuer{{URL: r.op.Issuer()}}, Audience: audience,
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o)
	}
	v, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	v.now = r.now
	r.v = v
	found := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		token, ok := FromContext(q.Context())
		if !ok {
			t.Error("the handler finds no token")
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = token
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		w.Write(body)
	})
	mux := http.NewServeMux()
	mux.Handle("/api", v.Require(found))
	mux.Handle("/write", v.RequireScopes(found, "notes:write", "notes:read"))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// claims are those of a good token (RFC 9068 §2.2).
func (r *rig) claims(changes ...func(map[string]any)) map[string]any {
	now := r.now()
	c := map[string]any{
		"iss": r.op.Issuer(), "sub": "ada", "aud": audience, "client_id": "app", "scope": "notes:read notes:write",
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": "1",
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

// token is a good one, but for the changes.
func (r *rig) token(changes ...func(map[string]any)) string {
	return r.op.Signer().Typed("at+jwt", r.claims(changes...))
}

// answer is what came back, and which token the handler found.
type answer struct {
	status int
	header http.Header
	body   string
	found  *Token
}

// problem is the code of a refusal.
func (a answer) problem() string {
	var p struct {
		Type   string
		Status int
	}
	if json.Unmarshal([]byte(a.body), &p) != nil || p.Status != a.status || a.header.Get("Content-Type") != "application/problem+json" {
		return "no problem: " + a.body
	}
	return strings.TrimPrefix(p.Type, "urn:cloakroom:")
}

func (r *rig) send(method, path, body string, h http.Header) answer {
	r.t.Helper()
	q, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	for name, values := range h {
		q.Header[name] = values
	}
	r.mu.Lock()
	r.seen = nil
	r.mu.Unlock()
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return answer{res.StatusCode, res.Header, string(text), r.seen}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// get is a read with a bearer.
func (r *rig) get(token string) answer {
	r.t.Helper()
	return r.send("GET", "/api", "", bearer(token))
}

func TestRequire_A1_AGoodToken(t *testing.T) {
	r := newRig(t, nil)
	a := r.get(r.token(fakeop.Set("authorization_details", []any{map[string]any{"type": "payment"}})))
	if a.status != http.StatusOK || a.found == nil {
		t.Fatalf("%d %s\n%s", a.status, a.body, r.log)
	}
	got := *a.found
	if got.Issuer != r.op.Issuer() || got.Subject != "ada" || got.ClientID != "app" || !slices.Equal(got.Scope, []string{"notes:read", "notes:write"}) {
		t.Errorf("%+v", got)
	}
	if left := got.Expires.Sub(r.now()); left < 4*time.Minute || left > 5*time.Minute {
		t.Errorf("it ends in %s", left)
	}
	if details, ok := got.Claims["authorization_details"].([]any); !ok || len(details) != 1 {
		t.Errorf("A4: authorization_details are %v", got.Claims["authorization_details"])
	}
}

// What a request brings, and the one answer to it.
func TestRequire_Answers(t *testing.T) {
	r := newRig(t, nil)
	good := r.token()
	for _, c := range []struct {
		name   string
		header http.Header
		path   string
		status int
		code   string
		says   string // WWW-Authenticate
	}{
		{"nothing", nil, "/api", 401, "none", "Bearer"},
		{"nothing where scopes are wanted", nil, "/write", 401, "none", `Bearer scope="notes:write notes:read"`},
		{"another scheme", http.Header{"Authorization": {"Basic eDp5"}}, "/api", 401, "none", "Bearer"},
		{"a token in the query", nil, "/api?access_token=" + good, 401, "none", "Bearer"},
		{"nothing behind the scheme", http.Header{"Authorization": {"Bearer "}}, "/api", 400, "bad_request", `Bearer error="invalid_request"`},
		{"two", http.Header{"Authorization": {"Bearer " + good, "Bearer " + good}}, "/api", 400, "bad_request", `Bearer error="invalid_request"`},
		{"two in one", bearer(good + ", Bearer " + good), "/api", 400, "bad_request", `Bearer error="invalid_request"`},
		{"one byte", bearer("x"), "/api", 401, "token_invalid", `Bearer error="invalid_token"`},
		{"64 kB", bearer(strings.Repeat("x", 64<<10)), "/api", 401, "token_invalid", `Bearer error="invalid_token"`},
		{"64 kB of a JWT", bearer(r.token(fakeop.Set("pad", strings.Repeat("x", 48<<10)))), "/api", 401, "token_invalid", `Bearer error="invalid_token"`},
		{"opaque, where nobody can be asked", bearer("8xLOxBtZp8"), "/api", 401, "token_invalid", `Bearer error="invalid_token"`},
		{"nobody's", bearer("e30.e30.e30"), "/api", 401, "token_invalid", `Bearer error="invalid_token"`},
		{"A4 a scope less", bearer(r.token(fakeop.Set("scope", "notes:read"))), "/write", 403, "not_allowed", `Bearer error="insufficient_scope", scope="notes:write notes:read"`},
		{"A4 no scope", bearer(r.token(fakeop.Drop("scope"))), "/write", 403, "not_allowed", `Bearer error="insufficient_scope", scope="notes:write notes:read"`},
		{"A4 a scope that begins alike", bearer(r.token(fakeop.Set("scope", "notes:writer notes:read"))), "/write", 403, "not_allowed", `Bearer error="insufficient_scope", scope="notes:write notes:read"`},
		{"a bad token where scopes are wanted", bearer("x"), "/write", 401, "token_invalid", `Bearer error="invalid_token", scope="notes:write notes:read"`},
		{"A4 both scopes", bearer(good), "/write", 200, "", ""},
		{"A4 scopes in a list", bearer(r.token(fakeop.Drop("scope"), fakeop.Set("scp", []string{"notes:read", "notes:write"}))), "/write", 200, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.send("GET", c.path, "", c.header)
			if a.status != c.status || a.header.Get("WWW-Authenticate") != c.says || (a.found != nil) != (c.status == 200) {
				t.Errorf("%d, WWW-Authenticate %q, found %v", a.status, a.header.Get("WWW-Authenticate"), a.found)
			}
			if c.code != "" && (a.problem() != c.code || a.header.Get("Cache-Control") != "no-store") {
				t.Errorf("answered %s, Cache-Control %q", a.problem(), a.header.Get("Cache-Control"))
			}
			if a.header.Get("Cloakroom") != "" {
				t.Errorf("no gateway is known, and Cloakroom says %q", a.header.Get("Cloakroom"))
			}
		})
	}
	if log := r.log.String(); strings.Contains(log, good[len(good)-20:]) || strings.Contains(log, "level=ERROR") {
		t.Errorf("the log: %s", log)
	}
}

// A3: what may sign is a list, and the issuer's own is not asked.
func TestRequire_A3_Algorithms(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Issuers[0].Algorithms = []string{"ES256"} })
	if a := r.get(r.token()); a.status != 200 {
		t.Errorf("ES256: %d", a.status)
	}
	signer := r.op.Signer()
	if a := r.get(signer.With(jose.RS256, signer.RSA(), signer.Kid(), r.claims(), map[string]any{"typ": "at+jwt"})); a.status != 401 {
		t.Errorf("RS256, which is not listed: %d", a.status)
	}
}

// A4: the same sub at two issuers is two people, and neither issuer speaks for the other.
func TestRequire_A4_TwoIssuers(t *testing.T) {
	other := fakeop.New(t)
	other.RotateKeys() // the tests share keys
	r := newRig(t, func(o *Options) { o.Issuers = append(o.Issuers, Issuer{URL: other.Issuer()}) })
	mine, theirs := r.get(r.token()), r.get(other.Signer().Typed("at+jwt", r.claims(fakeop.Set("iss", other.Issuer()))))
	if mine.status != 200 || theirs.status != 200 || mine.found.Subject != theirs.found.Subject || mine.found.Issuer == theirs.found.Issuer {
		t.Errorf("%+v and %+v", mine.found, theirs.found)
	}
	if a := r.get(other.Signer().Typed("at+jwt", r.claims())); a.status != 401 {
		t.Errorf("in the name of the other: %d", a.status)
	}
	if a := r.get(r.token(fakeop.Set("iss", "https://third.example"))); a.status != 401 {
		t.Errorf("in the name of a third: %d", a.status)
	}
}

// A8: keys come from the issuer alone, seldom, and outlive it for a while.
func TestRequire_A8_Keys(t *testing.T) {
	r := newRig(t, nil)
	unknown := func(n int) string {
		return r.op.Signer().With(jose.ES256, fakeEC(t), fmt.Sprintf("unknown-%d", n), r.claims(), map[string]any{"typ": "at+jwt"})
	}
	if a := r.get(r.token()); a.status != 200 {
		t.Fatalf("%d", a.status)
	}
	for n := range 50 {
		if a := r.get(unknown(n)); a.status != 401 {
			t.Fatalf("an unknown key: %d", a.status)
		}
	}
	if n := r.op.Count("jwks"); n != 2 {
		t.Errorf("the keys were fetched %d times, the first included", n)
	}
	r.op.Tell(fakeop.Down())
	for range 3 { // the keys are not fresh any more, and the token is not in memory
		r.pass(issuer.KeysFresh)
		if a := r.get(r.token()); a.status != 200 {
			t.Errorf("the issuer is down, its keys are known: %d %s", a.status, a.problem())
		}
	}
	if a := r.get(unknown(0)); a.status != 503 || a.problem() != "provider_down" || a.header.Get("Retry-After") == "" {
		t.Errorf("a key that nobody can ask about: %d %s", a.status, a.problem())
	}
	r.op.Tell(fakeop.Up())
	r.pass(issuer.RetryAfter)
	r.op.RotateKeys()
	if a := r.get(r.token()); a.status != 200 {
		t.Errorf("with a new key: %d", a.status)
	}
}

func TestRequire_TheIssuerFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		lie    fakeop.Lie
		status int
		code   string
	}{
		{"down", fakeop.Down(), 503, "provider_down"},
		{"its keys fail", fakeop.Status("jwks", 500, ""), 503, "provider_down"},
		{"no metadata", fakeop.Status("metadata", 404, ""), 502, "provider_refused"},
		{"metadata of another", fakeop.Metadata(fakeop.Append("issuer", "x")), 502, "provider_lied"},
		{"no jwks_uri", fakeop.Metadata(fakeop.Drop("jwks_uri")), 502, "provider_lied"},
		{"jwks_uri on plain http", fakeop.Metadata(fakeop.Set("jwks_uri", "http://keys.example.com/")), 502, "provider_lied"},
		{"keys that are no JSON", fakeop.Instead("jwks", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }), 502, "provider_lied"},
		{"endless keys", fakeop.Endless("jwks"), 502, "provider_lied"},
		{"no keys", fakeop.Keys(func([]any) []any { return nil }), 401, "token_invalid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil, c.lie)
			if a := r.get(r.token()); a.status != c.status || a.problem() != c.code || a.found != nil {
				t.Errorf("%d %s", a.status, a.body)
			}
			if c.status >= 500 != strings.Contains(r.log.String(), "level=ERROR") {
				t.Errorf("the log: %s", r.log)
			}
		})
	}
}

func TestRequire_KeysWithoutMetadata(t *testing.T) {
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"keys": fakeop.New(t).PublicKeys()})
	}))
	defer keys.Close()
	r := newRig(t, func(o *Options) { o.Issuers[0].JWKS = keys.URL }, fakeop.Down())
	if a := r.get(r.token()); a.status != 200 || r.op.Count("metadata") != 0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A token is verified once a minute, and no longer believed than it lives.
func TestRequire_A5_Remembers(t *testing.T) {
	r := newRig(t, nil)
	long, short := r.token(), r.token(func(c map[string]any) { c["exp"] = r.now().Add(12 * time.Second).Unix() }) // told in whole seconds
	for _, token := range []string{long, short} {
		if a := r.get(token); a.status != 200 {
			t.Fatalf("%d", a.status)
		}
	}
	r.op.RotateKeys()
	r.op.Tell(fakeop.Keys(func([]any) []any { return nil })) // whoever looked again would find no key
	r.pass(9 * time.Second)
	for _, token := range []string{long, short} {
		if a := r.get(token); a.status != 200 {
			t.Errorf("within its time: %d", a.status)
		}
	}
	r.pass(4 * time.Second)
	if a := r.get(short); a.status != 401 {
		t.Errorf("after its end: %d", a.status)
	}
	r.pass(42 * time.Second)
	if a := r.get(long); a.status != 200 {
		t.Errorf("after 55 s: %d", a.status)
	}
	r.pass(issuer.KeysFresh)
	if a := r.get(long); a.status != 401 {
		t.Errorf("after ten minutes: %d", a.status)
	}
}

func TestNew_SaysAllThatIsWrong(t *testing.T) {
	_, err := New(Options{Issuers: []Issuer{
		{URL: "http://login.example.com"}, {URL: "https://login.example.com", TokenType: "ID", Algorithms: []string{"none", "HS256"}, JWKS: "/keys"},
		{URL: "https://login.example.com"},
	}})
	for _, want := range []string{
		"Audience: missing", `issuer "http://login.example.com": URL: must be https`, `TokenType: "ID"`, `"none"`, `"HS256"`, "JWKS: must be", "it is there twice",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if _, err := New(Options{Audience: "x"}); err == nil || !strings.Contains(err.Error(), "Issuers: none") {
		t.Errorf("no issuers: %v", err)
	}
}

// fakeEC is a key that no issuer publishes.
func fakeEC(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
