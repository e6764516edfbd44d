package oidc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// metadata are what we read of the provider's (OpenID Connect Discovery §3, RFC 8414 §2).
type metadata struct {
	Issuer      string `json:"issuer"`
	Authorize   string `json:"authorization_endpoint"`
	Token       string `json:"token_endpoint"`
	JWKS        string `json:"jwks_uri"`
	Userinfo    string `json:"userinfo_endpoint"`
	Push        string `json:"pushed_authorization_request_endpoint"`          // RFC 9126
	EndSession  string `json:"end_session_endpoint"`                           // OpenID Connect RP-Initiated Logout
	Revocation  string `json:"revocation_endpoint"`                            // RFC 7009
	SendsIssuer bool   `json:"authorization_response_iss_parameter_supported"` // RFC 9207
	supports
}

// supports are the lists a provider may give. An absent list says nothing.
type supports struct {
	ResponseTypes []string `json:"response_types_supported"`
	ResponseModes []string `json:"response_modes_supported"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Prompts       []string `json:"prompt_values_supported"` // Initiating User Registration 1.0
}

// check compares the issuer and every address.
func (m *metadata) check(name string) error {
	if err := issuer.CheckName(name, m.Issuer); err != nil {
		return err
	}
	for _, one := range []struct {
		name, address string
		needed        bool
	}{
		{"authorization_endpoint", m.Authorize, true},
		{"token_endpoint", m.Token, true},
		{"jwks_uri", m.JWKS, true},
		{"userinfo_endpoint", m.Userinfo, false},
		{"pushed_authorization_request_endpoint", m.Push, false},
		{"end_session_endpoint", m.EndSession, false},
		{"revocation_endpoint", m.Revocation, false},
	} {
		if one.address == "" && !one.needed {
			continue
		}
		if err := issuer.CheckEndpoint(name, one.name, one.address); err != nil {
			return err
		}
	}
	return nil
}

// probeAge is how old an answer Probe takes: it may be asked every second.
const probeAge = 5 * time.Second

// Probe says what is wrong with the provider now, all of it: not reachable, unsound metadata, no usable keys, or something
// the options ask for that it says it does not support.
func (p *Provider) Probe(ctx context.Context) error {
	e, err := p.meta.Within(ctx, probeAge)
	if err != nil {
		return err
	}
	return errors.Join(p.unsupported(e.Value), p.keys.Probe(ctx, probeAge))
}

// unsupported compares the options with what the provider says of itself.
func (p *Provider) unsupported(m *metadata) error {
	var findings []error
	refuse := func(list []string, hint, format string, args ...any) {
		e := session.Fail(session.ProviderRefused, "check metadata", format, args...)
		e.Err = fmt.Errorf("%w; it lists %s", e.Err, issuer.Printable(strings.Join(list, " "), 200))
		e.Hint = hint
		findings = append(findings, e)
	}
	lacks := func(list []string, wanted ...string) bool {
		return len(list) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return slices.Contains(list, w) })
	}
	if lacks(m.ResponseTypes, "code") {
		refuse(m.ResponseTypes, "", "the provider does not support the authorization code flow")
	}
	if p.FormPost() && lacks(m.ResponseModes, "form_post") {
		refuse(m.ResponseModes, "leave response_mode out", "the provider does not support form_post")
	}
	if lacks(m.Challenges, "S256") {
		refuse(m.Challenges, "", "the provider does not support PKCE with S256")
	}
	if method := p.client(m).Method; lacks(m.AuthMethods, method) {
		refuse(m.AuthMethods, "see auth_method", "the provider does not support %s", method)
	}
	if lacks(m.Algorithms, p.o.Algorithms...) {
		refuse(m.Algorithms, "see algorithms", "the provider signs ID tokens with none of %s", strings.Join(p.o.Algorithms, " "))
	}
	return errors.Join(findings...)
}
