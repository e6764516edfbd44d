// Package verify answers for an API whether an access token is good: a JWT by its issuer's keys, in the profile of RFC 9068. It is for
// APIs that are not behind a Cloakroom gateway, or do not rely on it, and needs nothing else of Cloakroom.
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
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

const op = "verify"

// Verifier verifies the access tokens of requests. It is safe for concurrent use.
type Verifier struct {
	audience string
	issuers  map[string]*source
	known    *issuer.Known[*Token]
	log      *slog.Logger
	now      func() time.Time
}

// New checks the options, says all that is wrong with them at once, and contacts nobody: an issuer that is down now may be up when the
// first request comes.
func New(o Options) (*Verifier, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v := &Verifier{audience: o.Audience, issuers: map[string]*source{}, known: issuer.NewKnown[*Token](), log: o.Log, now: time.Now}
	if v.log == nil {
		v.log = slog.New(slog.DiscardHandler)
	}
	calls := issuer.NewCalls(o.Client)
	for _, i := range o.Issuers {
		v.issuers[i.URL] = newSource(i, o.Audience, calls, func() time.Time { return v.now() })
	}
	return v, nil
}

// Require lets requests with a good access token through to next, which finds what it says with [FromContext]. Others are answered
// here, as RFC 6750 §3 has it: 401 without a good token, 400 where it cannot be told which one is meant, 503 or 502 while nobody can
// say whether it is good. What a token that is revoked at its issuer still opens: a JWT all until it ends, others for a minute.
func (v *Verifier) Require(next http.Handler) http.Handler { return v.RequireScopes(next) }

// RequireScopes is Require, and wants all of these scopes in the token as well: 403 without.
func (v *Verifier) RequireScopes(next http.Handler, scopes ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := v.check(r)
		if err == nil && !t.Allows(scopes...) {
			err = session.Fail(session.NotAllowed, op, "its scope is %q, and %q is wanted", issuer.Printable(strings.Join(t.Scope, " "), 200), scopes)
		}
		if err != nil {
			v.fail(w, r, err, scopes)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, t)))
	})
}

// check returns the token of a request. None: there is no token; BadRequest: which one is meant cannot be told.
func (v *Verifier) check(r *http.Request) (*Token, error) {
	raw, err := issuer.BearerOf(r.Header)
	switch {
	case err != nil:
		return nil, err
	case raw == "":
		return nil, session.Fail(session.None, op, "no access token")
	}
	return v.verify(r.Context(), raw)
}

// verify returns what a token says that is good. TokenInvalid: it is not; ProviderDown, ProviderRefused, ProviderLied: nobody can say.
func (v *Verifier) verify(ctx context.Context, raw string) (*Token, error) {
	key, err := issuer.KeyOf(raw, v.audience)
	if err != nil {
		return nil, err
	}
	now := v.now()
	if t, ok := v.known.Get(key, now); ok {
		return t, nil
	}
	// Whom it says it is from tells whom to ask. Nothing is believed yet.
	s, ok := v.issuers[issuer.Unverified(raw).Text("iss")]
	if !ok {
		return nil, session.Fail(session.TokenInvalid, op, "it is no JWT of an issuer that is trusted here")
	}
	a, err := s.verify(ctx, raw, now)
	if err != nil {
		return nil, err
	}
	t := newToken(a)
	v.known.Put(key, t, len(raw), now, t.Expires)
	return t, nil
}
