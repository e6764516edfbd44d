package verify

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
)

// Options say which tokens are good for an API. Issuers and Audience are needed.
type Options struct {
	// Issuers vouch for people and machines.
	Issuers []Issuer
	// Audience is the name that this API has at its issuers: the gateway's audience or resource. A token must be for it. It is never the
	// client_id of an application: ID tokens are for those.
	Audience string
	// Gateway puts the tokens of its pages into cookies. nil: a token comes in the Authorization header or not at all.
	Gateway *Gateway
	// URL is where browsers reach this API, scheme://host[:port]. Default: where they reach the gateway, in front of both.
	URL string
	// Client gives transport and (shorter) timeout for calls to issuers, which take 10 s at most; nil is the default. Its other settings
	// are not used.
	Client *http.Client
	// Log gets every refusal: at level error what an operator has to see to, at warn what somebody tried, at debug what is merely not
	// signed in. nil: none. No token is ever in it.
	Log *slog.Logger
}

// Issuer is one that access tokens come from.
type Issuer struct {
	// URL is what its tokens have for iss, byte for byte: https, or http on this machine. Its metadata are found below it (OpenID Connect
	// Discovery), and its keys by them.
	URL string
	// JWKS is the address of its keys, for an issuer without metadata.
	JWKS string
	// TokenType is TypeAccess (default) or TypeJWT.
	TokenType string
	// Algorithms are those of its signatures: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA. Default: any of these.
	Algorithms []string
	// Introspection has the issuer asked about tokens that are no JWTs (RFC 7662); without it they are no good. One issuer may have it.
	// Whether tokens are JWTs or not is then the operator's choice alone: the API notices nothing.
	Introspection Introspection
}

// What JWT access tokens may be.
const (
	TypeAccess = issuer.TypeAccess // those of RFC 9068: typ at+jwt, with client_id, iat and jti
	TypeJWT    = issuer.TypeJWT    // of issuers that write JWT, or nothing, for a typ into all their tokens, or leave one of these claims out
)

func (o Options) check() error {
	var wrong []error
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if len(o.Issuers) == 0 {
		say("Issuers: none")
	}
	if o.Audience == "" {
		say("Audience: missing; without it a token for any other API would be good here")
	}
	if o.URL != "" && o.Gateway == nil {
		say("URL: it goes with Gateway")
	}
	seen, asked := map[string]bool{}, 0
	for _, i := range o.Issuers {
		if i.Introspection.ClientID != "" {
			asked++
		}
		if err := i.check(); err != nil {
			say("issuer %q: %w", i.URL, err)
		}
		if seen[i.URL] {
			say("issuer %q: it is there twice", i.URL)
		}
		seen[i.URL] = true
	}
	if asked > 1 {
		say("Introspection: %d issuers have it, and a token that is no JWT does not say whom to ask", asked)
	}
	return errors.Join(wrong...)
}

func (i Issuer) check() error {
	var wrong []error
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if err := issuer.CheckIssuer(i.URL); err != nil {
		say("URL: %w", err)
	}
	if i.JWKS != "" {
		if _, err := issuer.Secure(i.JWKS); err != nil {
			say("JWKS: %w", err)
		}
	}
	if err := i.Introspection.check(); err != nil {
		say("Introspection: %w", err)
	}
	if !slices.Contains([]string{"", TypeAccess, TypeJWT}, i.TokenType) {
		say("TokenType: %q is none of %s, %s", i.TokenType, TypeAccess, TypeJWT)
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(issuer.Algorithms, a) {
			say("Algorithms: %q is none of %s", a, strings.Join(issuer.Algorithms, ", "))
		}
	}
	return errors.Join(wrong...)
}
