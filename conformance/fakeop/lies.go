package fakeop

import (
	"maps"
	"net/http"
	"net/url"
	"time"
)

// Lie changes what a provider does. Not every one is a lie: some are settings that honest providers differ in.
type Lie func(*Behaviour)

// Behaviour is what the provider does. Its hooks run in the order they were told.
type Behaviour struct {
	tls      bool
	now      func() time.Time
	lifetime time.Duration // of access tokens
	opaque   bool          // access tokens are no JWTs
	push     bool          // PAR is advertised and needed
	onlyPost bool          // client_secret_post instead of client_secret_basic
	widens   bool          // a refresh that asks for a narrower scope gets all of it
	targets  []string      // the APIs that tokens are made for; nil: any
	person   person        // who signs in from now on

	metadata   []func(map[string]any)
	keys       []func([]any) []any
	answer     []func(url.Values)
	access     []func(map[string]any)
	accessTyp  string // of the header of access tokens
	tokens     []func(map[string]any)
	idToken    []func(map[string]any)
	refreshed  []func(map[string]any)
	userinfo   []func(map[string]any)
	introspect []func(map[string]any)
	sign       func(p *Signer, claims map[string]any) string
	signInfo   func(p *Signer, claims map[string]any) string
	instead    map[string]http.HandlerFunc
	before     map[string]func(Request)
}

// person is who signs in, and what userinfo says of them.
type person struct {
	subject string
	claims  map[string]any
}

func honest() Behaviour {
	return Behaviour{now: time.Now, lifetime: time.Hour, person: person{Subject, map[string]any{
		"name": "Ada User", "email": "ada@example.com", "email_verified": true, "groups": []string{"staff"},
	}}}
}

// All is several lies as one, and none at all without any.
func All(lies ...Lie) Lie {
	return func(b *Behaviour) {
		for _, lie := range lies {
			lie(b)
		}
	}
}

// TLS makes the provider speak https; see Client. Only for New.
func TLS() Lie { return func(b *Behaviour) { b.tls = true } }

// Clock gives the provider another time.
func Clock(now func() time.Time) Lie { return func(b *Behaviour) { b.now = now } }

// AccessLifetime is how long access tokens live, an hour otherwise.
func AccessLifetime(d time.Duration) Lie { return func(b *Behaviour) { b.lifetime = d } }

// Opaque makes access tokens that are no JWTs.
func Opaque() Lie { return func(b *Behaviour) { b.opaque = true } }

// PAR advertises pushed authorization requests and takes no others.
func PAR() Lie { return func(b *Behaviour) { b.push = true } }

// OnlyPost takes client_secret_post instead of client_secret_basic, and says so.
func OnlyPost() Lie { return func(b *Behaviour) { b.onlyPost = true } }

// Widens answers a refresh for a narrower scope with all that was granted.
func Widens() Lie { return func(b *Behaviour) { b.widens = true } }

// Targets makes access tokens for these APIs alone, and refuses others (RFC 8707 §2).
func Targets(names ...string) Lie { return func(b *Behaviour) { b.targets = names } }

// Metadata changes the discovery document.
func Metadata(change func(map[string]any)) Lie {
	return func(b *Behaviour) { b.metadata = append(b.metadata, change) }
}

// Keys changes the JWKS, a list of JWKs.
func Keys(change func([]any) []any) Lie {
	return func(b *Behaviour) { b.keys = append(b.keys, change) }
}

// Answer changes the authorization response.
func Answer(change func(url.Values)) Lie {
	return func(b *Behaviour) { b.answer = append(b.answer, change) }
}

// Deny answers the authorization request with an error.
func Deny(code, description string) Lie {
	return Answer(func(q url.Values) {
		q.Del("code")
		q.Set("error", code)
		q.Set("error_description", description)
	})
}

// AccessToken changes the claims of access tokens.
func AccessToken(change func(map[string]any)) Lie {
	return func(b *Behaviour) { b.access = append(b.access, change) }
}

// AccessType is the typ of access tokens; "JWT" otherwise.
func AccessType(typ string) Lie { return func(b *Behaviour) { b.accessTyp = typ } }

// Tokens changes the answer of the token endpoint.
func Tokens(change func(map[string]any)) Lie {
	return func(b *Behaviour) { b.tokens = append(b.tokens, change) }
}

// IDToken changes the claims of ID tokens.
func IDToken(change func(map[string]any)) Lie {
	return func(b *Behaviour) { b.idToken = append(b.idToken, change) }
}

// Refreshed changes the claims of ID tokens that a refresh returns, and of no others.
func Refreshed(change func(map[string]any)) Lie {
	return func(b *Behaviour) { b.refreshed = append(b.refreshed, change) }
}

// Userinfo changes what userinfo says.
func Userinfo(change func(map[string]any)) Lie {
	return func(b *Behaviour) { b.userinfo = append(b.userinfo, change) }
}

// Introspection changes what the introspection endpoint answers.
func Introspection(change func(map[string]any)) Lie {
	return func(b *Behaviour) { b.introspect = append(b.introspect, change) }
}

// Sign signs ID tokens in another way.
func Sign(with func(s *Signer, claims map[string]any) string) Lie {
	return func(b *Behaviour) { b.sign = with }
}

// SignedUserinfo answers userinfo as a JWT (application/jwt). Its claims have iss and aud too.
func SignedUserinfo(with func(s *Signer, claims map[string]any) string) Lie {
	return func(b *Behaviour) { b.signInfo = with }
}

// Instead serves an endpoint by another handler, "*" all of them. nil is as before.
func Instead(endpoint string, h http.HandlerFunc) Lie {
	return func(b *Behaviour) {
		b.instead = with(b.instead, endpoint, h)
	}
}

// Before is called with each request to an endpoint, before it is answered. It may wait, to hold an answer back.
func Before(endpoint string, f func(Request)) Lie {
	return func(b *Behaviour) { b.before = with(b.before, endpoint, f) }
}

func with[T any](m map[string]T, name string, value T) map[string]T {
	m = maps.Clone(m)
	if m == nil {
		m = map[string]T{}
	}
	m[name] = value
	return m
}

// Person signs in someone else from now on, of whom userinfo says claims.
func Person(subject string, claims map[string]any) Lie {
	return func(b *Behaviour) { b.person = person{subject, claims} }
}

// Status answers an endpoint with a status and an OAuth error.
func Status(endpoint string, status int, code string) Lie {
	return Instead(endpoint, func(w http.ResponseWriter, _ *http.Request) {
		sendJSON(w, status, map[string]any{"error": code, "error_description": "as the test wants"})
	})
}

// Down hangs up on every request, as if nobody were there. Up ends it.
func Down() Lie {
	return Instead("*", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
}

// Up ends Down.
func Up() Lie { return Instead("*", nil) }

// Hang answers an endpoint never.
func Hang(endpoint string) Lie {
	return Instead(endpoint, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
}

// Endless answers an endpoint with JSON that never ends.
func Endless(endpoint string) Lie {
	return Instead(endpoint, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write([]byte(`{"keys":[],"filler":"`))
		for chunk := make([]byte, 64<<10); err == nil; {
			_, err = w.Write(chunk)
		}
	})
}

// Drop removes members; it fits wherever claims and answers are changed.
func Drop(names ...string) func(map[string]any) {
	return func(m map[string]any) {
		for _, name := range names {
			delete(m, name)
		}
	}
}

// Set sets a member.
func Set(name string, value any) func(map[string]any) {
	return func(m map[string]any) { m[name] = value }
}

// Append adds to a member that is text.
func Append(name, more string) func(map[string]any) {
	return func(m map[string]any) {
		text, _ := m[name].(string)
		m[name] = text + more
	}
}
