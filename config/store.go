package config

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
	"github.com/cloakroom-go/cloakroom/store/postgres"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

// OpenStore opens the store that dsn names: "memory:", or "sqlite:PATH". The caller closes it after everything that uses it.
func OpenStore(ctx context.Context, dsn string) (session.Store, io.Closer, error) {
	kind, rest, err := splitDSN(dsn)
	if err != nil {
		return nil, nil, session.Fail(session.Unavailable, "open store", "%w", err)
	}
	switch kind {
	case "memory":
		s := memory.New()
		return s, s, nil
	default:
		s, err := sqlite.Open(ctx, rest)
		if err != nil {
			return nil, nil, err
		}
		return s, s, nil
	}
}

// OpenAccounts opens the database that dsn names for accounts: "sqlite:PATH", or "postgres://USER:PASSWORD@HOST/DATABASE". The caller
// closes it after everything that uses it.
func OpenAccounts(ctx context.Context, dsn string) (*sql.DB, error) {
	if isPostgres(dsn) {
		return postgres.OpenAccounts(ctx, dsn)
	}
	kind, rest, err := splitDSN(dsn)
	if err != nil || kind != "sqlite" {
		return nil, session.Fail(session.Unavailable, "open accounts", "%w", errAccounts)
	}
	return sqlite.OpenAccounts(ctx, rest)
}

var errAccounts = errors.New("this is no database for accounts; there are sqlite:PATH, like sqlite:accounts.db, and postgres://HOST/DATABASE")

func isPostgres(dsn string) bool {
	kind, _, _ := strings.Cut(dsn, ":")
	return kind == "postgres" || kind == "postgresql"
}

// splitDSN returns the kind of a store and what stands behind it. Its errors never show the DSN: it may hold a password.
func splitDSN(dsn string) (kind, rest string, err error) {
	kind, rest, found := strings.Cut(dsn, ":")
	switch {
	case !found:
		return "", "", errors.New("a store is written memory: or sqlite:PATH")
	case kind == "memory":
		if rest != "" {
			return "", "", errors.New("nothing stands behind memory:")
		}
		return kind, rest, nil
	case kind == "sqlite":
		if rest == "" || strings.HasPrefix(rest, "//") || strings.ContainsAny(rest, "?\x00") {
			return "", "", errors.New("a SQLite store is written sqlite:PATH, like sqlite:cloakroom.db or sqlite:/var/lib/cloakroom/cloakroom.db")
		}
		return kind, rest, nil
	}
	for _, later := range []string{"postgres", "postgresql", "redis", "rediss", "valkey"} {
		if kind == later {
			return "", "", fmt.Errorf("the store %s: is not built yet; there are memory: and sqlite:PATH", kind)
		}
	}
	return "", "", fmt.Errorf("there is no such store%s; there are memory: and sqlite:PATH", didYouMean(kind, []string{"memory", "sqlite"}))
}
