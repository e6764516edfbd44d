// Package verify answers for an API whether an access token is good: a JWT by its issuer's keys, in the profile of RFC 9068, any other
// by asking its issuer (RFC 7662). The token comes in the Authorization header, or in the cookies of a Cloakroom gateway, with a
// defence against cross-site requests. It is for APIs that are not behind the gateway, and needs nothing else of Cloakroom.
//
//	v, err := verify.New(verify.Options{
//		Issuers:  []verify.Issuer{{URL: "https://login.example.com/"}},
//		Audience: "https://api.example.com",
//	})
//	mux.Handle("/api/", v.Require(api)) // in the handler: t, _ := verify.FromContext(r.Context())
package verify

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

const op = "verify"

// Verifier verifies the access tokens of requests. It is safe for concurrent use.
type Verifier struct {
	audience string
	issuers  map[string]*source
	opaque   *source // of tokens that are no JWTs; nil: none
	known    *issuer.Known[*Token]
	browser  *browser // nil: no cookies
	log      *slog.Logger
	now      func() time.Time

	mu      sync.Mutex
	flights map[[32]byte]*flight // what is being found out now
}

// New checks the options, says all that is wrong with them at once, and contacts nobody: an issuer that is down now may be up when the
// first request comes.
func New(o Options) (*Verifier, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v := &Verifier{audience: o.Audience, issuers: map[string]*source{}, known: issuer.NewKnown[*Token](), log: o.Log, now: time.Now, flights: map[[32]byte]*flight{}}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	if o.Gateway != nil {
		b, err := newBrowser(*o.Gateway, o.URL)
		if err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
		v.browser = b
	}
	calls := issuer.NewCalls(o.Client)
	for _, i := range o.Issuers {
		s := newSource(i, o.Audience, calls, func() time.Time { return v.now() })
		v.issuers[i.URL] = s
		if i.Introspection.ClientID != "" {
			v.opaque = s
		}
	}
	return v, nil
}

// Require lets requests with a good access token through to next, which finds what it says with [FromContext]. Others are answered
// here, as RFC 6750 §3 has it: 401 without a good token, 400 where it cannot be told which one is meant, 503 or 502 while nobody can
// say whether it is good. Where the token comes in a cookie, what the gateway's guard refuses is 403.
//
// A token that is revoked at its issuer is good here until it ends, and for a minute at most if that issuer is asked about it.
func (v *Verifier) Require(next http.Handler) http.Handler { return v.RequireScopes(next) }

// RequireScopes is Require, and wants all of these scopes in the token as well: 403 without.
func (v *Verifier) RequireScopes(next http.Handler, scopes ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.share(w, r) {
			return
		}
		t, from, err := v.check(r)
		if err == nil && !t.Allows(scopes...) {
			err = session.Fail(session.NotAllowed, op, "its scope is %q, and %q is wanted", issuer.Printable(strings.Join(t.Scope, " "), 200), scopes)
		}
		if err != nil {
			v.fail(w, r, err, from, scopes)
			return
		}
		w.Header().Set("Cache-Control", "private") // unless next knows better (RFC 6750 §5.3)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, t)))
	})
}

// share says for whom the answer is. It reports whether it has answered: a preflight brings no token.
func (v *Verifier) share(w http.ResponseWriter, r *http.Request) bool {
	if v.browser == nil {
		guard.Vary(w.Header(), varyBearer)
		return false
	}
	if guard.IsPreflight(r) {
		v.browser.guard.Preflight(w, r, nil)
		return true
	}
	v.browser.guard.Share(w.Header(), r)
	guard.Vary(w.Header(), varyBrowser)
	return false
}

var (
	varyBearer  = []string{"Authorization"}
	varyBrowser = []string{"Authorization, Cookie, Origin, Sec-Fetch-Site"}
)

// place is where a request has its token.
type place int

const (
	nowhere place = iota
	inHeader
	inCookie
)

// check returns the token of a request. The order is the security: nothing is asked of an issuer, and nothing of the token believed,
// before it is plain which token is meant and that the page which brought it may use it.
//
// None: there is no token; BadRequest: which one is meant cannot be told; CrossSite, BadMethod: a browser brought it that should not.
func (v *Verifier) check(r *http.Request) (*Token, place, error) {
	raw, from, err := v.find(r)
	switch {
	case err != nil:
		return nil, from, err
	case raw == "":
		return nil, from, session.Fail(session.None, op, "no access token")
	case from == inHeader: // browsers add no such header by themselves
		t, err := v.verify(r.Context(), raw)
		return t, from, err
	}
	if err := v.browser.guard.Check(r); err != nil {
		return nil, from, err
	}
	t, err := v.verify(r.Context(), raw)
	if err == nil {
		err = v.browser.checkCSRF(r, t)
	}
	return t, from, err
}

// find returns the one token that a request brings, "" for none. Never two: a token of one person and a cookie of another would be two
// answers to the question who it is.
func (v *Verifier) find(r *http.Request) (raw string, from place, err error) {
	if raw, err = issuer.BearerOf(r.Header); err != nil {
		return "", inHeader, err
	}
	if raw != "" {
		from = inHeader
	}
	if v.browser == nil {
		return raw, from, nil
	}
	cookie, err := v.browser.token(r)
	switch {
	case err != nil:
		return "", inCookie, err
	case cookie == "":
		return raw, from, nil
	case len(r.Header["Authorization"]) > 0:
		return "", inCookie, session.Fail(session.BadRequest, op, "a token in a cookie, and Authorization beside it")
	}
	return cookie, inCookie, nil
}

// verify returns what a token says that is good. TokenInvalid: it is not; ProviderDown, ProviderRefused, ProviderLied: nobody can say.
func (v *Verifier) verify(ctx context.Context, raw string) (*Token, error) {
	key, err := issuer.KeyOf(raw, v.audience)
	if err != nil {
		return nil, err
	}
	if t, ok := v.known.Get(key, v.now()); ok {
		return t, nil
	}
	return v.once(ctx, key, func(ctx context.Context) (*Token, error) {
		s, isJWT, err := v.of(raw)
		if err != nil {
			return nil, err
		}
		now := v.now()
		a, err := s.verify(ctx, raw, isJWT, now)
		if err != nil {
			return nil, err
		}
		t := newToken(a)
		v.known.Put(key, t, a.Size, now, t.Expires)
		return t, nil
	})
}

// flight is one token that is being verified, for all requests that bring it meanwhile: a page sends many at once.
type flight struct {
	done  chan struct{}
	token *Token
	err   error
}

// once finds out about one token once. It does not end with ctx, since others wait for it; calls to issuers have a limit of their own.
func (v *Verifier) once(ctx context.Context, key [32]byte, find func(context.Context) (*Token, error)) (*Token, error) {
	v.mu.Lock()
	f, begun := v.flights[key]
	if !begun {
		f = &flight{done: make(chan struct{}), err: session.Fail(session.Internal, op, "it was broken off")}
		v.flights[key] = f
	}
	v.mu.Unlock()
	if begun {
		select {
		case <-f.done:
			return f.token, f.err
		case <-ctx.Done():
			return nil, session.Fail(session.ProviderDown, op, "wait for the issuer: %w", context.Cause(ctx))
		}
	}
	defer func() { // also when find panics
		v.mu.Lock()
		delete(v.flights, key)
		v.mu.Unlock()
		close(f.done)
	}()
	f.token, f.err = find(context.WithoutCancel(ctx))
	return f.token, f.err
}
