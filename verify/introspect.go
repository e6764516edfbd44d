package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// Introspection is how an API asks an issuer about a token (RFC 7662): as a client that the issuer knows.
type Introspection struct {
	// ClientID and ClientSecret are those of this API at the issuer, not those of the gateway.
	ClientID, ClientSecret string
	// AuthMethod is client_secret_basic (default) or client_secret_post.
	AuthMethod string
	// Endpoint is its address. Default: what the issuer's metadata say.
	Endpoint string
	// JWTs has the issuer asked about JWTs as well, in place of their signature: a token that it has revoked is then good here for a
	// minute at most.
	JWTs bool
	// InsecureAnyAudience takes a token of which the issuer does not say whom it is for. It is safe only if the issuer tells this client
	// of tokens for this API alone.
	InsecureAnyAudience bool
}

// String leaves the secret out.
func (i Introspection) String() string { return i.ClientID }

// GoString leaves the secret out.
func (i Introspection) GoString() string { return i.ClientID }

func (i Introspection) check() error {
	if i == (Introspection{}) {
		return nil
	}
	var wrong []error
	if i.ClientID == "" || i.ClientSecret == "" {
		wrong = append(wrong, errors.New("ClientID or ClientSecret is missing; an issuer tells nobody else (RFC 7662 §2.1)"))
	}
	if !slices.Contains([]string{"", issuer.SecretBasic, issuer.SecretPost}, i.AuthMethod) {
		wrong = append(wrong, fmt.Errorf("AuthMethod: %q is none of %s, %s", i.AuthMethod, issuer.SecretBasic, issuer.SecretPost))
	}
	if i.Endpoint != "" {
		if _, err := issuer.Secure(i.Endpoint); err != nil {
			wrong = append(wrong, fmt.Errorf("Endpoint: %w", err))
		}
	}
	return errors.Join(wrong...)
}

// introspect asks the issuer. The answer is believed only as far as the rules for access tokens allow: active is not enough.
func (s *source) introspect(ctx context.Context, raw string, now time.Time) (*issuer.Access, error) {
	const op = "introspect"
	endpoint := s.asks.Endpoint
	if endpoint == "" {
		m, err := s.meta.Get(ctx)
		if err != nil {
			return nil, err
		}
		endpoint = m.Value.Introspection
	}
	client := issuer.Client{ID: s.asks.ClientID, Secret: s.asks.ClientSecret, Method: s.asks.AuthMethod}
	res, err := s.calls.Post(ctx, op, endpoint, client, url.Values{"token": {raw}, "token_type_hint": {"access_token"}})
	if err != nil {
		return nil, err
	}
	var c issuer.Claims
	if err := json.Unmarshal(res.Body, &c); err != nil {
		return nil, session.Fail(session.ProviderLied, op, "the answer is not the JSON it should be: %w", err)
	}
	switch active, ok := c["active"].(bool); {
	case !ok:
		return nil, session.Fail(session.ProviderLied, op, "the answer does not say whether the token is active")
	case !active:
		return nil, session.Fail(session.TokenInvalid, op, "the issuer says that it is not active")
	}
	rules := s.rules
	rules.AnyAudience = s.asks.InsecureAnyAudience // of its own word alone, not of a JWT that it once signed
	a, err := issuer.CheckIntrospected(c, rules, now)
	if err != nil {
		return nil, err
	}
	a.Size = len(res.Body)
	return a, nil
}
