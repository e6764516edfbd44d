package accounts

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

// cheap is a cost that tests can pay often. No configuration may have it.
var cheap = Hash{Memory: 64, Time: 1, Threads: 1}

const (
	home     = "192.0.2.1"
	abroad   = "203.0.113.9"
	ada      = "ada@example.com"
	password = "correct horse battery"
)

var somewhere = Place{Origin: "https://app.example.com", Prefix: "/auth/", Ring: newRing(), Log: slog.New(slog.DiscardHandler)}

func newRing() *seal.Keyring {
	ring, err := seal.NewKeyring(seal.NewKey())
	if err != nil {
		panic(err)
	}
	return ring
}

func openFile(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sqlite.OpenAccounts(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// open returns accounts in a new file, with cheap hashes.
func open(t *testing.T, change func(*Options)) *Accounts {
	t.Helper()
	o := Options{Database: openFile(t, filepath.Join(t.TempDir(), "accounts.db"))}
	if change != nil {
		change(&o)
	}
	a, err := New(context.Background(), o, somewhere)
	if err != nil {
		t.Fatal(err)
	}
	a.hasher = newHasher(cheap)
	return a
}

func (a *Accounts) mustRegister(t *testing.T, identifier string) *Account {
	t.Helper()
	account, err := a.Add(context.Background(), Registration{Identifier: identifier, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func wantCode(t *testing.T, err error, want session.Code) {
	t.Helper()
	if got := session.CodeOf(err); got != want {
		t.Errorf("code %q, want %q: %v", got, want, err)
	}
}
