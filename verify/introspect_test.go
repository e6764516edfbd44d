package verify

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

// asking has the issuer asked about tokens, by a client that it knows.
func asking(change func(*Introspection)) func(*Options) {
	return func(o *Options) {
		i := &o.Issuers[0].Introspection
		i.ClientID, i.ClientSecret = fakeop.ClientID, fakeop.ClientSecret
		if change != nil {
			change(i)
		}
	}
}

// The same API, the same request, whatever the operator of the issuer has chosen; in the header and in a cookie.
func TestIntrospection_A5_TheAPINoticesNothing(t *testing.T) {
	r := newRig(t, func(o *Options) { asking(nil)(o); beside(nil)(o) })
	for _, c := range []struct {
		name, token string
		asked       int
	}{{"a JWT", r.token(), 0}, {"opaque", r.op.Opaque(r.claims()), 1}} {
		r.op.Forget()
		for _, h := range []http.Header{bearer(c.token), from(appURL, "same-site", "Cookie", "__Secure-access_token="+c.token)} {
			a := r.send("POST", "/write", "", h)
			if a.status != 200 || a.found.Issuer != r.op.Issuer() || a.found.Subject != "ada" || a.found.ClientID != "app" || len(a.found.Scope) != 2 || a.found.Expires.Before(r.now()) {
				t.Errorf("%s: %d %s %+v", c.name, a.status, a.body, a.found)
			}
		}
		if n := r.op.Count("introspect"); n != c.asked {
			t.Errorf("%s: the issuer was asked %d times, want %d", c.name, n, c.asked)
		}
	}
	q := r.op.Last("introspect")
	if len(q.Form["token"]) != 1 || q.Form.Get("token_type_hint") != "access_token" || len(q.Query) != 0 || !strings.HasPrefix(q.Header.Get("Authorization"), "Basic ") {
		t.Errorf("the question was %v", q)
	}
}

// What the issuer says of an active token, and the one answer to it.
func TestIntrospection_A1_A2_A3_A5_A6_ActiveIsNotEnough(t *testing.T) {
	r := newRig(t, asking(nil))
	loose := newRig(t, asking(func(i *Introspection) { i.InsecureAnyAudience = true }))
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for _, c := range []struct {
		name   string
		change func(map[string]any)
		status int
		reason string
	}{
		{"good", func(map[string]any) {}, 200, ""},
		{"of which little is said", fakeop.Drop("iss", "exp", "iat", "jti", "client_id", "token_type", "scope"), 200, ""},
		{"one audience of several", fakeop.Set("aud", []string{"other", audience}), 200, ""},
		{"token_type in small letters", fakeop.Set("token_type", "bearer"), 200, ""},
		{"another audience", fakeop.Set("aud", "https://other.example.com"), 401, "aud is"},
		{"no audience", fakeop.Drop("aud"), 401, "aud is missing"},
		{"another issuer", fakeop.Set("iss", "https://other.example.com"), 401, "iss is another issuer"},
		{"nobody's", fakeop.Drop("sub"), 401, "sub is not text"},
		{"active, and expired", fakeop.Set("exp", in(-time.Second)), 401, "expired"},
		{"an end in text", fakeop.Set("exp", "tomorrow"), 401, "exp is missing or no time"},
		{"A3 not yet", fakeop.Set("nbf", in(2*time.Minute)), 401, "nbf is in the future"},
		{"A6 bound to a key", fakeop.Set("cnf", map[string]any{"jkt": "x"}), 401, "bound to a key"},
		{"A6 bound by its type", fakeop.Set("token_type", "DPoP"), 401, "token_type is"},
		{"A2 a refresh token", fakeop.Set("token_type", "refresh_token"), 401, "token_type is"},
		{"A2 a refresh token by Keycloak's typ", fakeop.Set("typ", "Refresh"), 401, "typ is not that"},
		{"A2 an ID token by its nonce", fakeop.Set("nonce", "n"), 401, "it has nonce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.get(r.op.Opaque(r.claims(c.change)))
			if a.status != c.status || c.status == 401 && (a.problem() != "token_invalid" || a.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"`) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if !strings.Contains(r.log.String(), c.reason) {
				t.Errorf("refused for another reason than %q: %s", c.reason, r.log)
			}
		})
	}
	if a := r.get("8xLOxBtZp8"); a.status != 401 || a.problem() != "token_invalid" {
		t.Errorf("not active: %d %s", a.status, a.body)
	}
	if a := loose.get(loose.op.Opaque(loose.claims(fakeop.Drop("aud")))); a.status != 200 {
		t.Errorf("no audience, where that is taken: %d", a.status)
	}
	if a := loose.get(loose.op.Opaque(loose.claims(fakeop.Set("aud", "https://other.example.com")))); a.status != 401 {
		t.Errorf("another audience there: %d", a.status)
	}
	if a := loose.get(loose.token(fakeop.Drop("aud"))); a.status != 401 {
		t.Errorf("a JWT without an audience there: %d", a.status)
	}
}

// A5: the endpoint is down, slow, lying, huge.
func TestIntrospection_A5_TheIssuerFails(t *testing.T) {
	said := func(text string) fakeop.Lie {
		return fakeop.Instead("introspect", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, text) })
	}
	for _, c := range []struct {
		name   string
		change func(*Options)
		lie    fakeop.Lie
		status int
		code   string
	}{
		{"down", nil, fakeop.Down(), 503, "provider_down"},
		{"slow", func(o *Options) { o.Client = &http.Client{Timeout: 50 * time.Millisecond} }, fakeop.Hang("introspect"), 503, "provider_down"},
		{"broken", nil, fakeop.Status("introspect", 500, ""), 503, "provider_down"},
		{"too many questions", nil, fakeop.Status("introspect", 429, ""), 503, "provider_down"},
		{"the client is not known", nil, fakeop.Status("introspect", 401, "invalid_client"), 502, "provider_refused"},
		{"huge", nil, fakeop.Endless("introspect"), 502, "provider_lied"},
		{"a redirect", nil, fakeop.Instead("introspect", func(w http.ResponseWriter, q *http.Request) { http.Redirect(w, q, "/", http.StatusFound) }), 502, "provider_lied"},
		{"no JSON", nil, said("<html>"), 502, "provider_lied"},
		{"a list", nil, said("[true]"), 502, "provider_lied"},
		{"null", nil, said("null"), 502, "provider_lied"},
		{"nothing", nil, said(""), 502, "provider_lied"},
		{"an error with status 200", nil, said(`{"error":"invalid_client"}`), 502, "provider_lied"},
		{"active in text", nil, said(`{"active":"true"}`), 502, "provider_lied"},
		{"Active", nil, said(`{"Active":true}`), 502, "provider_lied"},
		{"no endpoint", nil, fakeop.Metadata(fakeop.Drop("introspection_endpoint")), 502, "provider_lied"},
		{"an endpoint on plain http", nil, fakeop.Metadata(fakeop.Set("introspection_endpoint", "http://id.example.com/")), 502, "provider_lied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(o *Options) {
				asking(nil)(o)
				if c.change != nil {
					c.change(o)
				}
			}, c.lie)
			a := r.get(r.op.Opaque(r.claims()))
			if a.status != c.status || a.problem() != c.code || a.found != nil || (a.header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if log := r.log.String(); !strings.Contains(log, "level=ERROR") || strings.Contains(log, fakeop.ClientSecret) {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

// A5: what the issuer said is believed for a minute, or until the token ends; and what failed is not remembered.
func TestIntrospection_A5_Remembers(t *testing.T) {
	r := newRig(t, asking(nil))
	long, short, open := r.op.Opaque(r.claims()), r.op.Opaque(r.claims(func(c map[string]any) { c["exp"] = r.now().Add(12 * time.Second).Unix() })), r.op.Opaque(r.claims(fakeop.Drop("exp")))
	tokens := map[string]string{"long": long, "short": short, "open": open}
	expect := func(when string, want map[string]int) {
		t.Helper()
		for name, token := range tokens {
			if a := r.get(token); a.status != want[name] {
				t.Errorf("%s, %s: %d, want %d", when, name, a.status, want[name])
			}
		}
	}
	expect("at first", map[string]int{"long": 200, "short": 200, "open": 200})
	if n := r.op.Count("introspect"); n != 3 {
		t.Errorf("the issuer was asked %d times", n)
	}
	for _, token := range tokens {
		r.op.Knows(token, nil) // it revokes them
	}
	r.pass(9 * time.Second)
	expect("revoked 9 s ago", map[string]int{"long": 200, "short": 200, "open": 200})
	r.pass(4 * time.Second)
	expect("after 13 s", map[string]int{"long": 200, "short": 401, "open": 200})
	r.pass(50 * time.Second)
	expect("after a minute", map[string]int{"long": 401, "short": 401, "open": 401})
	r.op.Knows(long, r.claims())
	if a := r.get(long); a.status != 200 {
		t.Errorf("good again: %d", a.status)
	}
	r.pass(time.Minute)
	r.op.Tell(fakeop.Down())
	if a := r.get(long); a.status != 503 {
		t.Errorf("down: %d", a.status)
	}
	r.op.Tell(fakeop.Up())
	if a := r.get(long); a.status != 200 {
		t.Errorf("up again: %d", a.status)
	}
}

// A token of a few bytes may be told of in a megabyte. What is remembered of it is bounded all the same.
func TestIntrospection_A5_MuchAboutLittle(t *testing.T) {
	r := newRig(t, asking(nil))
	much := strings.Repeat("x", 200<<10)
	first := r.op.Opaque(r.claims(fakeop.Set("groups", much)))
	const n = 30 // 6 MB of text, and what is made of it
	for i := range n {
		token := first
		if i > 0 {
			token = r.op.Opaque(r.claims(fakeop.Set("groups", much)))
		}
		if a := r.get(token); a.status != 200 {
			t.Fatalf("%d %.200s", a.status, a.body)
		}
	}
	if a := r.get(first); a.status != 200 || r.op.Count("introspect") != n+1 {
		t.Errorf("%d, and the issuer was asked %d times about %d tokens", a.status, r.op.Count("introspect"), n)
	}
}

// A page sends many requests at once. Its token is asked about once.
func TestIntrospection_A5_OnceForAll(t *testing.T) {
	const n = 20
	r := newRig(t, asking(nil))
	token := r.op.Opaque(r.claims())
	waiting, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.op.Tell(fakeop.Before("introspect", func(fakeop.Request) {
		once.Do(func() { close(waiting) })
		<-release
	}))
	answers := make(chan error, n)
	ask := func() {
		q, err := http.NewRequest("GET", r.url+"/api", nil)
		if err == nil {
			q.Header = bearer(token)
			var res *http.Response
			if res, err = http.DefaultClient.Do(q); err == nil {
				if res.Body.Close(); res.StatusCode != 200 {
					err = fmt.Errorf("answered %d", res.StatusCode)
				}
			}
		}
		answers <- err
	}
	for range n {
		go ask()
	}
	<-waiting
	close(release)
	for range n {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if asked := r.op.Count("introspect"); asked != 1 {
		t.Errorf("the issuer was asked %d times", asked)
	}
}

// By option JWTs are asked about as well. A signature then says nothing any more, nor does its lack.
func TestIntrospection_A5_JWTs(t *testing.T) {
	r := newRig(t, asking(func(i *Introspection) { i.JWTs = true }), fakeop.Metadata(fakeop.Drop("jwks_uri")))
	token := r.token()
	if a := r.get(token); a.status != 401 {
		t.Errorf("signed, and not active: %d", a.status)
	}
	r.op.Knows(token, r.claims())
	if a := r.get(token); a.status != 200 || r.op.Count("jwks") != 0 {
		t.Errorf("active: %d", a.status)
	}
	asked := r.op.Count("introspect")
	if a := r.get(r.token(fakeop.Set("iss", "https://other.example.com"))); a.status != 401 || r.op.Count("introspect") != asked {
		t.Errorf("somebody else's: %d, and the issuer was asked", a.status)
	}
}

func TestIntrospection_Options(t *testing.T) {
	r := newRig(t, asking(func(i *Introspection) { i.AuthMethod = "client_secret_post" }), fakeop.OnlyPost())
	if a := r.get(r.op.Opaque(r.claims())); a.status != 200 {
		t.Errorf("client_secret_post: %d %s", a.status, a.body)
	}
	r = newRig(t, func(o *Options) {
		asking(func(i *Introspection) { i.Endpoint = o.Issuers[0].URL + "/introspect" })(o)
	}, fakeop.Metadata(fakeop.Drop("introspection_endpoint")))
	if a := r.get(r.op.Opaque(r.claims())); a.status != 200 || r.op.Count("metadata") != 0 {
		t.Errorf("a configured endpoint: %d %s", a.status, a.body)
	}
	for name, c := range map[string]struct {
		i    Introspection
		want string
	}{
		"no secret":     {Introspection{ClientID: "a"}, "ClientSecret is missing"},
		"no client":     {Introspection{JWTs: true}, "ClientID or"},
		"a method":      {Introspection{ClientID: "a", ClientSecret: "s", AuthMethod: "none"}, `AuthMethod: "none"`},
		"on plain http": {Introspection{ClientID: "a", ClientSecret: "s", Endpoint: "http://id.example.com/"}, "Endpoint: must be https"},
	} {
		_, err := New(Options{Issuers: []Issuer{{URL: "https://id.example", Introspection: c.i}}, Audience: "api"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	i := Introspection{ClientID: "a", ClientSecret: "very secret"}
	_, err := New(Options{Issuers: []Issuer{{URL: "https://a.example", Introspection: i}, {URL: "https://b.example", Introspection: i}}, Audience: "api"})
	if err == nil || !strings.Contains(err.Error(), "2 issuers have it") {
		t.Errorf("two: %v", err)
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, Options{Issuers: []Issuer{{Introspection: i}}}); strings.Contains(text, "very secret") {
			t.Errorf("%s prints %s", format, text)
		}
	}
}
