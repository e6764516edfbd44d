package oidc

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// Begin starts a login with PKCE, state and nonce. If the provider takes pushed authorization requests (RFC 9126) it pushes,
// and the browser sees nothing but a reference; there is no way back from a failed push to the open request.
func (p *Provider) Begin(ctx context.Context, in session.Intent) (*url.URL, session.Pending, error) {
	if len(in.LoginHint) > 256 {
		return nil, session.Pending{}, session.Fail(session.BadRequest, "start login", "login_hint is longer than 256 bytes")
	}
	m, err := p.ready(ctx)
	if err != nil {
		return nil, session.Pending{}, err
	}
	pending := session.NewPending(p.name, p.o.Issuer, in)
	in.Prompt = m.prompt(in.Prompt)
	request := p.request(in, pending)
	if m.Push != "" {
		if request, err = p.push(ctx, m, request); err != nil {
			return nil, session.Pending{}, err
		}
	}
	address, err := withQuery(m.Authorize, request)
	return address, pending, err
}

// prompt is what is asked for in the provider's own words: where it offers no choice of accounts, it can ask for the password.
func (m *metadata) prompt(wanted string) string {
	if wanted == "select_account" && len(m.Prompts) > 0 && !slices.Contains(m.Prompts, wanted) {
		return "login"
	}
	return wanted
}

// request is the authorization request (OpenID Connect Core §3.1.2.1, RFC 7636 §4.3).
func (p *Provider) request(in session.Intent, pending session.Pending) url.Values {
	q := url.Values{}
	p.extend(q)
	q.Set("response_type", "code")
	q.Set("client_id", p.o.ClientID)
	q.Set("redirect_uri", p.redirect.String())
	q.Set("scope", strings.Join(p.o.Scopes, " "))
	q.Set("state", pending.State())
	q.Set("nonce", pending.Nonce())
	q.Set("code_challenge", pending.Challenge())
	q.Set("code_challenge_method", "S256")
	if p.FormPost() {
		q.Set("response_mode", p.o.ResponseMode)
	}
	if len(p.o.ACRValues) > 0 {
		q.Set("acr_values", strings.Join(p.o.ACRValues, " "))
	}
	if in.Prompt != "" {
		q.Set("prompt", in.Prompt)
	}
	if in.LoginHint != "" {
		q.Set("login_hint", in.LoginHint)
	}
	switch {
	case in.Register && p.o.RegisterHint == "screen_hint":
		q.Set("screen_hint", "signup")
	case in.Register:
		q.Set("prompt", "create")
	}
	return q
}

// extend adds what the options ask for in authorize and refresh requests.
func (p *Provider) extend(q url.Values) {
	for name, value := range p.o.Params {
		q.Set(name, value)
	}
	if p.o.Audience != "" {
		q.Set("audience", p.o.Audience)
	}
	if len(p.o.Resource) > 0 {
		q["resource"] = p.o.Resource
	}
}

// push hands the request to the provider and returns what stands for it.
func (p *Provider) push(ctx context.Context, m *metadata, request url.Values) (url.Values, error) {
	const op = "push authorization request"
	res, err := p.post(ctx, op, m, m.Push, request)
	if err != nil {
		return nil, err
	}
	var pushed struct {
		RequestURI string `json:"request_uri"`
	}
	if err := json.Unmarshal(res.Body, &pushed); err != nil {
		return nil, session.Fail(session.ProviderLied, op, "the answer is not the JSON it should be: %w", err)
	}
	if pushed.RequestURI == "" || len(pushed.RequestURI) > 2048 {
		return nil, session.Fail(session.ProviderLied, op, "the answer has no request_uri of 1 to 2048 bytes")
	}
	return url.Values{"client_id": {p.o.ClientID}, "request_uri": {pushed.RequestURI}}, nil
}

// post sends a form to an endpoint of the provider's, with client authentication.
func (p *Provider) post(ctx context.Context, op string, m *metadata, endpoint string, form url.Values) (issuer.Reply, error) {
	return p.calls.Post(ctx, op, endpoint, p.client(m), form)
}

func (p *Provider) client(m *metadata) issuer.Client {
	return issuer.Client{ID: p.o.ClientID, Secret: p.o.ClientSecret, Method: issuer.AuthMethod(p.o.AuthMethod, m.AuthMethods)}
}

// withQuery adds parameters to an endpoint and keeps the query it has (RFC 6749 §3.1).
func withQuery(endpoint string, q url.Values) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, session.Fail(session.ProviderLied, "read metadata", "%w", err)
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += q.Encode()
	return u, nil
}
