package accounts

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
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
	db       *sql.DB
	kind     string   // a folder of migrations
	prepared sync.Map // what was asked before, as text, to its *sql.Stmt; they end with db
}

const (
	kindSQLite   = "sqlite"
	kindPostgres = "postgres"
)

// openDatabase brings the schema up to date.
func openDatabase(ctx context.Context, db *sql.DB) (*database, error) {
	d := &database{db: db, kind: kindSQLite}
	if driver, ok := db.Driver().(interface{ Dialect() string }); ok {
		d.kind = driver.Dialect()
	}
	if err := d.migrate(ctx); err != nil {
		return nil, fail("open accounts", err)
	}
	return d, nil
}

// write is a statement as the kind of database wants it: PostgreSQL counts arguments. No ? in ours is anything else.
func (d *database) write(statement string) string {
	if d.kind != kindPostgres {
		return statement
	}
	var b strings.Builder
	for n, part := range strings.Split(statement, "?") {
		if n > 0 {
			fmt.Fprintf(&b, "$%d", n)
		}
		b.WriteString(part)
	}
	return b.String()
}

// QueryContext is that of sql.DB.
func (d *database) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return d.db.QueryContext(ctx, d.write(query), args...)
}

// QueryRowContext is that of sql.DB. The query is one of a few: it stays prepared.
func (d *database) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if s := d.prepare(ctx, query); s != nil {
		return s.QueryRowContext(ctx, args...)
	}
	return d.db.QueryRowContext(ctx, d.write(query), args...)
}

// prepare returns a query for SQLite, to which reading one is half of answering it. It is nil where that fails, as asking will; and for
// PostgreSQL, whose driver prepares by itself as far as what is between them allows it.
func (d *database) prepare(ctx context.Context, query string) *sql.Stmt {
	if d.kind != kindSQLite {
		return nil
	}
	if s, ok := d.prepared.Load(query); ok {
		return s.(*sql.Stmt)
	}
	s, err := d.db.PrepareContext(ctx, query)
	if err != nil {
		return nil
	}
	if first, ok := d.prepared.LoadOrStore(query, s); ok {
		s.Close()
		return first.(*sql.Stmt)
	}
	return s
}

// transaction is one. SQLite has one at a time that writes. In PostgreSQL each statement sees what others have committed by then: what
// one has read may be another thing when it writes. So a transaction that is about one account holds it first, and what is to happen once
// is a statement that says which row it met.
type transaction struct {
	tx *sql.Tx
	d  *database
}

// ExecContext is that of sql.Tx.
func (t *transaction) ExecContext(ctx context.Context, statement string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(ctx, t.d.write(statement), args...)
}

// QueryContext is that of sql.Tx.
func (t *transaction) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, t.d.write(query), args...)
}

// QueryRowContext is that of sql.Tx.
func (t *transaction) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, t.d.write(query), args...)
}

// hold keeps other transactions about an account waiting until this one ends.
func (t *transaction) hold(ctx context.Context, account string) error {
	if t.d.kind != kindPostgres {
		return nil
	}
	_, err := t.ExecContext(ctx, "SELECT 1 FROM account WHERE id = ? FOR UPDATE", account)
	return err
}

// holdAsIs is hold for what is added to an account on the word of somebody who proved who they are before. Conflict: its credentials were
// changed since, or it was disabled.
func (t *transaction) holdAsIs(ctx context.Context, account *Account, op string) error {
	if err := t.hold(ctx, account.ID); err != nil {
		return err
	}
	var as int
	err := t.QueryRowContext(ctx, "SELECT COUNT(*) FROM account WHERE id = ? AND epoch = ? AND disabled = 0", account.ID, account.epoch).Scan(&as)
	if err == nil && as == 0 {
		err = session.Fail(session.Conflict, op, "the account was changed at the same time")
	}
	return err
}

// state is what PostgreSQL says of an error (SQLSTATE), "" of others.
func state(err error) string {
	var answer interface{ SQLState() string }
	if errors.As(err, &answer) {
		return answer.SQLState()
	}
	return ""
}

// doubled reports whether a row could not be since another has its key.
func doubled(err error) bool { return state(err) == "23505" }

// crossed reports whether PostgreSQL gave a transaction up for another one, and it may be tried again: they waited for each other.
func crossed(err error) bool { return state(err) == "40P01" || state(err) == "40001" }

// fail makes an Error of err: what is one stays as it is, everything else is ProviderDown, for here the accounts are the provider.
func fail(op string, err error) error {
	var verdict *session.Error
	if err == nil || errors.As(err, &verdict) {
		return err
	}
	return &session.Error{Code: session.ProviderDown, Op: op, Err: err, Hint: "is the accounts' database there, and can this process write it?"}
}

// within runs do in one transaction, and once more if another one came across.
func (d *database) within(ctx context.Context, op string, do func(ctx context.Context, tx *transaction) error) error {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	for {
		err := d.once(ctx, do)
		if !crossed(err) || ctx.Err() != nil {
			return fail(op, err)
		}
	}
}

func (d *database) once(ctx context.Context, do func(ctx context.Context, tx *transaction) error) error {
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := do(ctx, &transaction{tx, d}); err != nil {
		return err
	}
	return tx.Commit()
}

// change runs a statement and returns how many rows it met.
func (d *database) change(ctx context.Context, op, statement string, args ...any) (int64, error) {
	var rows int64
	err := d.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		result, err := tx.ExecContext(ctx, statement, args...)
		if err != nil {
			return err
		}
		rows, err = result.RowsAffected()
		return err
	})
	return rows, err
}

// migrate applies what is missing in the order of the files' names, all in one transaction: of two processes that start at once, the second
// waits and finds it done.
func (d *database) migrate(ctx context.Context) error {
	known, err := fs.Glob(migrations, path.Join("migrations", d.kind, "*.sql"))
	if err != nil {
		return err
	}
	return d.within(ctx, "bring schema up to date", func(ctx context.Context, tx *transaction) error {
		if d.kind == kindPostgres {
			if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtext('cloakroom accounts ' || current_schema()))"); err != nil {
				return err
			}
		}
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
