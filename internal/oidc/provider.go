// Package oidc is an OpenID Connect relying party: authorization code with PKCE, nothing else (RFC 9700, OpenID Connect
// Core 1.0). It trusts what the provider says only after checking it, and tells a provider that is down from one that refuses
// and from one that lies.
package oidc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// Options describe one provider. Issuer, ClientID and ClientSecret are needed.
type Options struct {
	Issuer       string            // byte for byte as in the provider's metadata; https, or http on this machine
	ClientID     string            // as registered at the provider
	ClientSecret string            // never printed
	Scopes       []string          // default: openid profile email offline_access; openid is always asked for
	Audience     string            // what makes some providers issue a JWT for an API; sent to authorize and refresh
	Resource     []string          // the same by RFC 8707: absolute URIs
	ACRValues    []string          // how strongly people must sign in, best first: the ID token's acr must be one of these
	Params       map[string]string // more parameters for authorize and refresh; none of the protocol's own
	AuthMethod   string            // client_secret_basic or client_secret_post; default: basic, unless the provider lists only post
	ResponseMode string            // query (default) or form_post
	Callback     string            // which redirect URI: shared (default of a single provider) or own (default of several), see RedirectURI
	UserinfoOff  bool              // do not ask the userinfo endpoint for claims
	RegisterHint string            // how to ask for the sign-up page: prompt (default, prompt=create) or screen_hint
	Algorithms   []string          // accepted signatures of ID tokens; default: RS256
	Title        string            // what people are told where they choose; "" for its name
	AccessType   string            // of access tokens that come without a session: at+jwt (default, RFC 9068), or JWT where issuers know no profile
}

// String leaves the secret out.
func (o Options) String() string { return fmt.Sprintf("%s as %s", o.Issuer, o.ClientID) }

// GoString leaves the secret out.
func (o Options) GoString() string { return o.String() }

// Provider is a session.Provider, session.Revoker and session.Prober over OpenID Connect. It is safe for concurrent use.
type Provider struct {
	name     string
	redirect *url.URL
	o        Options
	calls    issuer.Calls
	meta     *issuer.Document[*metadata]
	keys     *issuer.Keys

	accessKeys *issuer.Keys // the same keys; an access token may be signed otherwise than an ID token
	log        *slog.Logger
	now        func() time.Time
}

var (
	_ session.Provider = (*Provider)(nil)
	_ session.Revoker  = (*Provider)(nil)
	_ session.Prober   = (*Provider)(nil)

	_ session.Addresser = (*Provider)(nil)
)

// New returns the provider of that name in the configuration. redirectURI is where it sends people back to, exactly as it is
// registered there. client gives transport and a shorter timeout; nil is the default. New contacts nobody: a provider that
// is down now may be up when the first person signs in. It reports all that is wrong with o at once.
func New(name string, redirectURI *url.URL, o Options, client *http.Client, log *slog.Logger) (*Provider, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	o = o.withDefaults()
	if err := errors.Join(o.check(), checkRedirect(redirectURI)); err != nil {
		return nil, fmt.Errorf("provider %q: %w", name, err)
	}
	p := &Provider{name: name, redirect: redirectURI, o: o, calls: issuer.NewCalls(client), log: log, now: time.Now}
	clock := func() time.Time { return p.now() }
	p.meta = issuer.Discover(p.calls, o.Issuer, clock, func(m *metadata) error { return m.check(o.Issuer) })
	p.keys = issuer.NewKeys(p.calls, func(ctx context.Context) (string, error) {
		m, err := p.meta.Get(ctx)
		if err != nil {
			return "", err
		}
		return m.Value.JWKS, nil
	}, clock, o.Algorithms)
	p.accessKeys = p.keys.Accepting(issuer.Algorithms)
	return p, nil
}

// RedirectURI is where a provider of that name and options sends people back to, below the address of all callbacks. Several
// providers have one each unless Callback says otherwise: the address then tells whose answer it is, also where the answer itself
// does not (mix-up, RFC 9700 §4.4.2).
func (o Options) RedirectURI(shared *url.URL, name string, several bool) *url.URL {
	if o.Callback == "own" || o.Callback == "" && several {
		return shared.JoinPath(url.PathEscape(name))
	}
	return shared
}

// Callback is where the provider sends people back to, as it is registered there.
func (p *Provider) Callback() *url.URL { return p.redirect }

// Title is what people are told where they choose.
func (p *Provider) Title() string { return cmp.Or(p.o.Title, p.name) }

// FormPost reports whether the provider answers with a cross-site POST, which needs a login cookie with SameSite=None.
func (p *Provider) FormPost() bool { return p.o.ResponseMode == "form_post" }

func (o Options) withDefaults() Options {
	if len(o.Scopes) == 0 {
		o.Scopes = []string{"openid", "profile", "email", "offline_access"}
	}
	if !slices.Contains(o.Scopes, "openid") {
		o.Scopes = append([]string{"openid"}, o.Scopes...)
	}
	if o.ResponseMode == "" {
		o.ResponseMode = "query"
	}
	if len(o.Algorithms) == 0 {
		o.Algorithms = []string{"RS256"}
	}
	return o
}

// ReservedParam reports whether a parameter is ours to set, in any case.
func ReservedParam(name string) bool { return slices.Contains(reserved, strings.ToLower(name)) }

var reserved = []string{
	"client_id", "client_secret", "client_assertion", "client_assertion_type", "redirect_uri", "response_type", "response_mode",
	"scope", "state", "nonce", "code", "code_challenge", "code_challenge_method", "code_verifier", "grant_type",
	"refresh_token", "request", "request_uri", "audience", "resource", "token", "id_token_hint", "acr_values",
}

func (o Options) check() error {
	var wrong []error
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	if err := issuer.CheckIssuer(o.Issuer); err != nil {
		say("issuer: %w", err)
	}
	if o.ClientID == "" {
		say("client_id: missing")
	}
	if o.ClientSecret == "" {
		say("client_secret: missing; a gateway is a confidential client (RFC 9700 §2.1.2)")
	}
	for _, s := range o.Scopes {
		if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			say("scopes: %q is no scope", s)
		}
	}
	for _, a := range o.ACRValues {
		if a == "" || strings.ContainsFunc(a, func(r rune) bool { return r <= ' ' || r > '~' }) {
			say("acr_values: %q is no value of acr", a)
		}
	}
	for _, r := range o.Resource {
		if !IsResource(r) {
			say("resource: %q is no absolute URI without fragment (RFC 8707 §2)", r)
		}
	}
	for name := range o.Params {
		if ReservedParam(name) {
			say("params: %q is set by the gateway itself", name)
		}
	}
	oneOf := func(key, value string, allowed ...string) {
		if !slices.Contains(allowed, value) {
			say("%s: %q is none of %s", key, value, strings.TrimSpace(strings.Join(allowed, " ")))
		}
	}
	oneOf("auth_method", o.AuthMethod, "", "client_secret_basic", "client_secret_post")
	oneOf("callback", o.Callback, "", "shared", "own")
	oneOf("response_mode", o.ResponseMode, "query", "form_post")
	oneOf("access_token_type", o.AccessType, "", issuer.TypeAccess, issuer.TypeJWT)
	oneOf("register_hint", o.RegisterHint, "", "prompt", "screen_hint")
	for _, a := range o.Algorithms {
		oneOf("algorithms", a, issuer.Algorithms...)
	}
	return errors.Join(wrong...)
}

// IsResource reports whether a name is one that RFC 8707 §2 allows for an API.
func IsResource(name string) bool {
	u, err := url.Parse(name)
	return err == nil && u.IsAbs() && !strings.Contains(name, "#")
}

func checkRedirect(u *url.URL) error {
	if u == nil || !u.IsAbs() || u.Host == "" || u.Fragment != "" || u.User != nil {
		return errors.New("the callback URL must be absolute, without user or fragment")
	}
	return nil
}

// ready returns the provider's metadata.
func (p *Provider) ready(ctx context.Context) (*metadata, error) {
	e, err := p.meta.Get(ctx)
	if err != nil {
		return nil, err
	}
	if p.now().After(e.Until) {
		p.log.WarnContext(ctx, "the provider cannot be reached; its metadata of earlier are used", "provider", p.name, "fetched", e.At)
	}
	return e.Value, nil
}
