package cloakroom

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/cloakroom-go/cloakroom/session"
)

// countable refuses a limit that nobody could hold people to.
func countable(cfg *Config, sessions session.Storage) error {
	if cfg.Session.MaxSessions == 0 {
		return nil
	}
	if _, ok := sessions.(session.Lister); !ok {
		return errors.New("session: max_sessions: sessions that rest in browsers cannot be counted; with Cookie.Storage store they can")
	}
	if _, ok := cfg.Store.(session.Index); !ok {
		return fmt.Errorf("session: max_sessions: the store cannot find a person's sessions: %T is no session.Index", cfg.Store)
	}
	return nil
}

// Control returns what administrators use: it lists sessions and ends them. It asks nobody who they are, and whoever reaches it can
// end every session. The program serves it on a unix socket of mode 0600.
func (g *Gateway) Control() http.Handler { return g.control }
