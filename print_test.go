package cloakroom_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom"
)

// Whoever prints a configuration prints none of its secrets.
func TestConfig_G1_PrintsNoSecret(t *testing.T) {
	cfg := cloakroom.Config{
		URL: "https://app.example.com", Keys: []string{"sealing-secret"},
		Providers: map[string]cloakroom.Provider{"main": {Issuer: "https://id.example", ClientSecret: "client-secret"}},
		Accounts:  &cloakroom.Accounts{APIs: map[string]string{"billing": "api-secret"}, Mail: &cloakroom.MailOptions{Server: "mail.example:587", Password: "mail-secret"}},
	}
	for _, v := range []any{cfg, &cfg, cfg.Providers, *cfg.Accounts, *cfg.Accounts.Mail} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "-secret") {
				t.Errorf("%s of %T prints %s", verb, v, got)
			}
		}
	}
	if got, want := fmt.Sprint(cfg), `gateway at "https://app.example.com"`; got != want {
		t.Errorf("it prints as %s, not %s", got, want)
	}
}
