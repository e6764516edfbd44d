package verify

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
)

// Token is what a verified access token says. It is shared by all requests that bring the same token: do not change it.
type Token struct {
	// Issuer and Subject together are who it is: a person, or a machine. Subject alone is not, where there are two issuers.
	Issuer, Subject string
	// ClientID is the application that the token was given to, "" where its issuer does not say.
	ClientID string
	// Scope is what it may be used for.
	Scope []string
	// Expires is its end; zero where its issuer does not say. Close streams and WebSockets then.
	Expires time.Time
	// Claims are all that it says, in the types of encoding/json: authorization_details (RFC 9396), roles, whatever the issuer puts in.
	Claims map[string]any
}

func newToken(a *issuer.Access) *Token {
	t := &Token{Issuer: a.Issuer, Subject: a.Subject, Expires: a.Expires, Claims: a.Claims}
	for _, name := range []string{"client_id", "azp", "cid", "appid"} { // RFC 9068; OpenID Connect; Okta; Entra
		if t.ClientID = a.Claims.Text(name); t.ClientID != "" {
			break
		}
	}
	t.Scope = strings.Fields(issuer.Scope(a.Claims["scope"]))
	if len(t.Scope) == 0 {
		t.Scope = strings.Fields(issuer.Scope(a.Claims["scp"])) // Okta, Entra
	}
	return t
}

// Allows reports whether the token's scope has all of these.
func (t *Token) Allows(scopes ...string) bool {
	for _, s := range scopes {
		if !slices.Contains(t.Scope, s) {
			return false
		}
	}
	return true
}

type contextKey struct{}

// FromContext returns the token of a request that came through [Verifier.Require].
func FromContext(ctx context.Context) (*Token, bool) {
	t, ok := ctx.Value(contextKey{}).(*Token)
	return t, ok
}
