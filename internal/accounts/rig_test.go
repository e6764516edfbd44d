package accounts

import (
	"context"
	"database/sql"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/postgres/postgrestest"
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

var somewhere = Place{Origin: "https://app.example.com", Prefix: "/auth/", Ring: newRing(), Log: slog.New(slog.DiscardHandler), Audiences: []string{someAPI}}

// someAPI is what a route names.
const someAPI = "https://orders.example.com"

func newRing() *seal.Keyring {
	ring, err := seal.NewKeyring(seal.NewKey())
	if err != nil {
		panic(err)
	}
	return ring
}

// schemas has a schema of PostgreSQL in the place of each file.
var schemas sync.Map

// openFile opens a database by the name of its file. The same name is the same database, for another process. It is SQLite, or with
// CLOAKROOM_TEST_ACCOUNTS=postgres PostgreSQL.
func openFile(t testing.TB, path string) *sql.DB {
	t.Helper()
	return openOver(t, os.Getenv("CLOAKROOM_TEST_ACCOUNTS"), path)
}

func openOver(t testing.TB, kind, path string) *sql.DB {
	t.Helper()
	if kind == kindPostgres {
		dsn, known := schemas.Load(path)
		if !known {
			dsn = postgrestest.Schema(t)
			schemas.Store(path, dsn)
		}
		return postgrestest.Open(t, dsn.(string))
	}
	db, err := sqlite.OpenAccounts(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// overEach runs a test over every kind of database. replica returns accounts of one more process that shares it.
func overEach(t *testing.T, do func(t *testing.T, replica func(change func(*Options)) *Accounts)) {
	for _, kind := range []string{kindSQLite, kindPostgres} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "accounts.db")
			do(t, func(change func(*Options)) *Accounts {
				t.Helper()
				o := Options{Database: openOver(t, kind, path)}
				if change != nil {
					change(&o)
				}
				a, err := New(context.Background(), o, somewhere)
				if err != nil {
					t.Fatal(err)
				}
				a.hasher = newHasher(cheap)
				return a
			})
		})
	}
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
	account, err := a.add(context.Background(), Registration{Identifier: identifier, Password: password}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// changePassword is what a gateway does for somebody who has no second step.
func (a *Accounts) changePassword(ctx context.Context, id, current, next, address string) (*Account, error) {
	account, err := a.Confirm(ctx, id, current, "", address)
	if err != nil {
		return account, err
	}
	return account, a.SetPassword(ctx, account, next)
}

func wantCode(t *testing.T, err error, want session.Code) {
	t.Helper()
	if got := session.CodeOf(err); got != want {
		t.Errorf("code %q, want %q: %v", got, want, err)
	}
}

// allAtOnce does something n times at the same time, and returns how often it ended how.
func allAtOnce(n int, do func(i int) error) map[session.Code]int {
	codes := make([]session.Code, n)
	var ready, all sync.WaitGroup
	ready.Add(n)
	for i := range n {
		all.Go(func() {
			ready.Done()
			ready.Wait()
			codes[i] = session.CodeOf(do(i))
		})
	}
	all.Wait()
	came := map[session.Code]int{}
	for _, code := range codes {
		came[code]++
	}
	return came
}

func wantOutcome(t *testing.T, got, want map[session.Code]int) {
	t.Helper()
	if !maps.Equal(got, want) {
		t.Errorf("it came to %v, want %v", got, want)
	}
}
