package conformance

import (
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/session"
)

// An issuer is compared byte for byte: what a URL library would call the same is another one.
func TestIDToken_ID2_IssuerVariants(t *testing.T) {
	for name, variant := range map[string]func(string) string{
		"trailing slash": func(iss string) string { return iss + "/" },
		"upper case":     strings.ToUpper,
		"another name":   func(iss string) string { return strings.Replace(iss, "127.0.0.1", "localhost", 1) },
		"without scheme": func(iss string) string { return strings.TrimPrefix(iss, "http://") },
		"white space":    func(iss string) string { return iss + " " },
		"empty":          func(string) string { return "" },
	} {
		t.Run(name, func(t *testing.T) {
			p := meet(t, nil, fakeop.IDToken(func(c map[string]any) { c["iss"] = variant(c["iss"].(string)) }))
			_, err := p.login()
			refused(t, err, session.ProviderLied, "iss")
			p.silentAfter("token")
		})
	}
}
