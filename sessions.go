package cloakroom

import (
	"errors"
	"fmt"

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
