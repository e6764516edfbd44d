package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/session/storetest"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) session.Store {
		s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a b?c#d%20.db")) // a path is no URL
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		return s
	})
}
