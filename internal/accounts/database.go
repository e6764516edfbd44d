package accounts

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// migrations are numbered files, 0001 first, in a folder for each kind of database. A file that was released is never changed; a
// change is one more file.
//
//go:embed migrations
var migrations embed.FS

// database is where the accounts are. Statements are written for all kinds of databases alike, with ? for an argument.
type database struct {
	db   *sql.DB
	kind string // a folder of migrations
}

// openDatabase brings the schema up to date.
func openDatabase(ctx context.Context, db *sql.DB) (*database, error) {
	d := &database{db: db, kind: "sqlite"}
	if err := d.migrate(ctx); err != nil {
		return nil, fail("open accounts", err)
	}
	return d, nil
}

// fail makes an Error of err: what is one stays as it is, everything else is ProviderDown, for here the accounts are the provider.
func fail(op string, err error) error {
	var verdict *session.Error
	if err == nil || errors.As(err, &verdict) {
		return err
	}
	return &session.Error{Code: session.ProviderDown, Op: op, Err: err, Hint: "is the accounts' database there, and can this process write it?"}
}

// within runs do in one transaction.
func (d *database) within(ctx context.Context, op string, do func(ctx context.Context, tx *sql.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fail(op, err)
	}
	defer tx.Rollback()
	if err := do(ctx, tx); err != nil {
		return fail(op, err)
	}
	return fail(op, tx.Commit())
}

// change runs a statement and returns how many rows it met.
func (d *database) change(ctx context.Context, op, statement string, args ...any) (int64, error) {
	var rows int64
	err := d.within(ctx, op, func(ctx context.Context, tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		rows, err = result.RowsAffected()
		return err
	})
	return rows, err
}

// migrate applies what is missing, all in one transaction: of two processes that start at once, the second finds it done.
func (d *database) migrate(ctx context.Context) error {
	known, err := fs.Glob(migrations, path.Join("migrations", d.kind, "*.sql"))
	if err != nil {
		return err
	}
	return d.within(ctx, "bring schema up to date", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS account_schema (version INTEGER PRIMARY KEY, applied BIGINT NOT NULL)"); err != nil {
			return err
		}
		var have int
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(version), 0) FROM account_schema").Scan(&have); err != nil {
			return err
		}
		if have > len(known) {
			return &session.Error{
				Code: session.ProviderDown, Op: "read schema", Hint: "run that newer version",
				Err: fmt.Errorf("the accounts have schema version %d, and this program knows up to %d: a newer Cloakroom wrote it", have, len(known)),
			}
		}
		for version := have + 1; version <= len(known); version++ {
			text, err := migrations.ReadFile(known[version-1])
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, string(text)); err != nil {
				return fmt.Errorf("%s: %w", known[version-1], err)
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO account_schema VALUES (?, ?)", version, time.Now().UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
}
