package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	metadataLeast = 10 * time.Minute // how long metadata are fresh, whatever Cache-Control says
	metadataMost  = 24 * time.Hour
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

func newMetadata(c caller, issuer string, now func() time.Time) *document[*metadata] {
	address := strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
	return newDocument(now, func(ctx context.Context) (*metadata, time.Duration, error) {
		m := &metadata{}
		res, err := c.get(ctx, "fetch metadata", address, m)
		if err != nil {
			var e *session.Error
			if errors.As(err, &e) && e.Code == session.ProviderRefused {
				e.Hint = "is issuer right? its metadata should be at " + address
			}
			return nil, 0, err
		}
		if err := m.check(issuer); err != nil {
			return nil, 0, err
		}
		return m, fresh(res.header), nil
	})
}

// check compares the issuer, byte for byte, and every address. A provider that is reached over https may name no others.
func (m *metadata) check(issuer string) error {
	const op = "check metadata"
	if m.Issuer != issuer {
		e := session.Fail(session.ProviderLied, op, "the metadata are those of %q, not of %q", printable(m.Issuer, 200), issuer)
		if strings.TrimSuffix(m.Issuer, "/") == strings.TrimSuffix(issuer, "/") {
			e.Hint = fmt.Sprintf("set issuer to %q: the slash at the end counts", printable(m.Issuer, 200))
		}
		return e
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
		u, err := secure(one.address)
		if err == nil && u.Scheme == "http" && strings.HasPrefix(issuer, "https:") {
			err = errors.New("must be https")
		}
		if err != nil {
			return session.Fail(session.ProviderLied, op, "%s: %w", one.name, err)
		}
	}
	return nil
}

// secure parses an address that calls may go to: https, or http on this very machine.
func secure(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("not a URL")
	case address == "":
		return nil, errors.New("missing")
	case u.Host == "" || u.Hostname() == "" || u.User != nil || strings.Contains(address, "#"):
		return nil, errors.New("must be an absolute URL without user or fragment")
	case u.Scheme == "https" || (u.Scheme == "http" && origin.IsLocal(u.Hostname())):
		return u, nil
	}
	return nil, errors.New("must be https (http only on 127.0.0.1, [::1] or localhost)")
}

var maxAge = regexp.MustCompile(`(?i)(?:^|[,\s])max-age="?(\d{1,9})`)

// fresh reads how long an answer may be kept.
func fresh(header http.Header) time.Duration {
	if m := maxAge.FindStringSubmatch(header.Get("Cache-Control")); m != nil {
		seconds, _ := strconv.Atoi(m[1])
		return min(max(time.Duration(seconds)*time.Second, metadataLeast), metadataMost)
	}
	return metadataLeast
}

// probeAge is how old an answer Probe takes: it may be asked every second.
const probeAge = 5 * time.Second

// Probe says what is wrong with the provider now, all of it: not reachable, unsound metadata, no usable keys, or something
// the options ask for that it says it does not support.
func (p *Provider) Probe(ctx context.Context) error {
	e, err := p.meta.within(ctx, probeAge)
	if err != nil {
		return err
	}
	findings := []error{p.unsupported(e.value)}
	keys, err := p.keys.doc.within(ctx, probeAge)
	switch {
	case err != nil:
		findings = append(findings, err)
	case len(keys.value) == 0:
		findings = append(findings, session.Fail(session.ProviderLied, "fetch keys", "jwks_uri has no key that can verify a signature"))
	}
	return errors.Join(findings...)
}

// unsupported compares the options with what the provider says of itself.
func (p *Provider) unsupported(m *metadata) error {
	var findings []error
	refuse := func(list []string, hint, format string, args ...any) {
		e := session.Fail(session.ProviderRefused, "check metadata", format, args...)
		e.Err = fmt.Errorf("%w; it lists %s", e.Err, printable(strings.Join(list, " "), 200))
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
	if method := p.authMethod(m); lacks(m.AuthMethods, method) {
		refuse(m.AuthMethods, "see auth_method", "the provider does not support %s", method)
	}
	if lacks(m.Algorithms, p.o.Algorithms...) {
		refuse(m.Algorithms, "see algorithms", "the provider signs ID tokens with none of %s", strings.Join(p.o.Algorithms, " "))
	}
	return errors.Join(findings...)
}
