// Package fakeop is an OpenID provider for tests. It speaks real HTTP on the loopback interface, signs a person in
// at once, writes down every request, and can be told to lie.
//
// It is strict: a client that breaks the protocol (no PKCE, a verifier used twice, a token in a URL, a changed redirect_uri)
// fails the test that owns the provider.
package fakeop

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// The client that is registered here, and who signs in unless Person says otherwise. The secret has characters that must be form-encoded (RFC 6749 §2.3.1).
const (
	ClientID     = "cloakroom"
	ClientSecret = "fake secret:+/%&=~"
	Subject      = "user-1"
)

// Provider is one fake provider. Its methods may be called at any time.
type Provider struct {
	t      testing.TB
	server *httptest.Server
	jwks   string // path with a random suffix: clients must take it from the metadata

	mu    sync.Mutex
	says  Behaviour
	keys  keyring
	known registry
	log   []Request
}

// Request is one request that reached the provider.
type Request struct {
	Endpoint string // metadata, jwks, par, authorize, token, userinfo, revoke, introspect, end, other
	Method   string
	Query    url.Values
	Form     url.Values // of the body
	Header   http.Header
}

// registry is what was issued.
type registry struct {
	pushed    map[string]url.Values
	codes     map[string]*grant
	refresh   map[string]*grant
	access    map[string]*grant
	claims    map[string]map[string]any // of access tokens
	verifiers map[string]bool
	revoked   []string
}

// grant is one login.
type grant struct {
	request  url.Values
	person   person
	authTime time.Time
	current  string // the one refresh token that is good
	spent    bool   // the code was redeemed
	dead     bool
}

// New starts a provider that ends with the test.
func New(t testing.TB, lies ...Lie) *Provider {
	t.Helper()
	p := &Provider{
		t: t, jwks: "/jwks-" + random(8), says: honest(), keys: newKeyring(),
		known: registry{map[string]url.Values{}, map[string]*grant{}, map[string]*grant{}, map[string]*grant{}, map[string]map[string]any{}, map[string]bool{}, nil},
	}
	p.Tell(lies...)
	p.server = httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	p.server.Config.ErrorLog = quiet
	if p.says.tls {
		p.server.StartTLS()
	} else {
		p.server.Start()
	}
	t.Cleanup(p.server.Close)
	return p
}

// Tell changes what the provider does from now on.
func (p *Provider) Tell(lies ...Lie) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, lie := range lies {
		lie(&p.says)
	}
}

// Issuer is the provider's address.
func (p *Provider) Issuer() string { return p.server.URL }

// Client returns an HTTP client that trusts the provider's certificate and has this timeout, 0 for none.
func (p *Provider) Client(timeout time.Duration) *http.Client {
	return &http.Client{Transport: p.server.Client().Transport, Timeout: timeout}
}

// Requests returns what reached the provider so far, in order.
func (p *Provider) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

// Endpoints returns the names of Requests.
func (p *Provider) Endpoints() []string {
	var names []string
	for _, r := range p.Requests() {
		names = append(names, r.Endpoint)
	}
	return names
}

// Count says how many requests an endpoint got.
func (p *Provider) Count(endpoint string) int {
	n := 0
	for _, r := range p.Requests() {
		if r.Endpoint == endpoint {
			n++
		}
	}
	return n
}

// Refreshes says how many times a refresh token was used.
func (p *Provider) Refreshes() int {
	n := 0
	for _, r := range p.Requests() {
		if r.Endpoint == "token" && r.Form.Get("grant_type") == "refresh_token" {
			n++
		}
	}
	return n
}

// Last returns the newest request to an endpoint.
func (p *Provider) Last(endpoint string) Request {
	p.t.Helper()
	all := p.Requests()
	for _, r := range slices.Backward(all) {
		if r.Endpoint == endpoint {
			return r
		}
	}
	p.t.Fatalf("fakeop: no request to %s", endpoint)
	return Request{}
}

// Forget empties the log.
func (p *Provider) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = nil
}

// Revoked returns the tokens that were revoked.
func (p *Provider) Revoked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.known.revoked)
}

// EndGrants ends all logins: every refresh token answers invalid_grant from now on.
func (p *Provider) EndGrants() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, g := range p.known.refresh {
		g.dead = true
	}
}

// RotateKeys replaces all keys.
func (p *Provider) RotateKeys() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = p.keys.next()
}

// Signer signs tokens outside of any login, as for machines.
func (p *Provider) Signer() *Signer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &Signer{p.keys}
}

// Opaque makes an access token outside of any login that says nothing by itself; introspection does.
func (p *Provider) Opaque(claims map[string]any) string {
	token := random(24)
	p.Knows(token, claims)
	return token
}

// Knows makes introspection say this of a token, and with nil claims that it is not active.
func (p *Provider) Knows(token string, claims map[string]any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known.claims[token] = claims; claims == nil {
		delete(p.known.claims, token)
	}
}

// PublicKeys returns the JWKS that an honest provider publishes.
func (p *Provider) PublicKeys() []any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys.public()
}

// Visit does what a browser does with an authorization request: it goes there, and returns the parameters that the provider
// sends it back with, by redirect or by form.
func (p *Provider) Visit(address *url.URL) url.Values {
	p.t.Helper()
	client := p.Client(10 * time.Second)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Get(address.String())
	if err != nil {
		p.t.Fatalf("fakeop: visit: %v", err)
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return p.readForm(res)
	}
	back, err := res.Location()
	if err != nil {
		p.t.Fatalf("fakeop: the visit ended with %s", res.Status)
	}
	return back.Query()
}

// serve writes the request down and passes it on.
func (p *Provider) serve(w http.ResponseWriter, r *http.Request) {
	body, err := readBody(r)
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	name, handle := p.route(r.URL.Path)
	p.mu.Lock()
	request := Request{name, r.Method, r.URL.Query(), body, r.Header.Clone()}
	p.log = append(p.log, request)
	before := p.says.before[name]
	instead := p.says.instead[name]
	if instead == nil {
		instead = p.says.instead["*"]
	}
	p.mu.Unlock()
	if before != nil {
		before(request)
	}
	if instead != nil {
		instead(w, r)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	handle(w, r, body)
}

func (p *Provider) route(path string) (string, func(http.ResponseWriter, *http.Request, url.Values)) {
	switch path {
	case "/.well-known/openid-configuration":
		return "metadata", p.metadata
	case p.jwks:
		return "jwks", p.publishKeys
	case "/par":
		return "par", p.push
	case "/authorize":
		return "authorize", p.authorize
	case "/token":
		return "token", p.token
	case "/userinfo":
		return "userinfo", p.userinfo
	case "/revoke":
		return "revoke", p.revoke
	case "/introspect":
		return "introspect", p.introspect
	case "/end":
		return "end", p.end
	}
	return "other", func(w http.ResponseWriter, r *http.Request, _ url.Values) { http.NotFound(w, r) }
}

// broken fails the test: the client broke the protocol.
func (p *Provider) broken(format string, args ...any) { p.t.Errorf("fakeop: "+format, args...) }

func readBody(r *http.Request) (url.Values, error) {
	if r.Method != http.MethodPost {
		return nil, nil
	}
	raw, err := readAll(r.Body)
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(string(raw))
}

func sendJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that hung up
}

func random(n int) string {
	raw := make([]byte, n)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func words(text string) []string { return strings.Fields(text) }
