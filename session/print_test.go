package session_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
)

// Whoever has a session and prints it, in whatever way, prints nothing that opens it (G1).
func TestSession_G1_PrintsNoSecret(t *testing.T) {
	s := session.Session{
		ID: session.ID([]byte("record-name-record-name-record-n")), LogID: "hONcKnFoAIEd", Bearer: []string{"Bearer access-token"},
		Grant:    session.Grant{Issuer: "https://id.example", Subject: "ada", Tokens: session.Tokens{Access: "access-token", Refresh: "refresh-token", ID: "id-token"}},
		Ticket:   session.Ticket{Secret: []byte("ticket-secret")},
		Previous: [32]byte([]byte("previous-hash-previous-hash-prev")),
	}
	secrets := []string{"access-token", "refresh-token", "id-token", "ticket-secret", "record-name", "previous-hash"}
	for name, v := range map[string]any{"Session": s, "Pointer": &s, "Grant": s.Grant, "Tokens": &s.Grant.Tokens, "Ticket": s.Ticket, "List": []*session.Session{&s}} {
		t.Run(name, func(t *testing.T) {
			printed := map[string]string{}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				printed[verb] = fmt.Sprintf(verb, v)
			}
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			printed["JSON"] = string(text)
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
			printed["log"] = log.String()
			for how, got := range printed {
				for _, secret := range secrets {
					for _, form := range []string{secret, fmt.Sprintf("%x", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]")} {
						if strings.Contains(got, form) {
							t.Errorf("%s prints %q", how, secret)
						}
					}
				}
			}
		})
	}
	if got, want := fmt.Sprintf("%v", &s), `session "hONcKnFoAIEd" of "ada" at "https://id.example"`; got != want {
		t.Errorf("it prints as %s, not %s", got, want)
	}
}
