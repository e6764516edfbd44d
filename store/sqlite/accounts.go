package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cloakroom-go/cloakroom/session"
)

// accountsID marks a file with accounts, as applicationID does one with sessions. "CLKA".
const accountsID = 0x434c4b41

// accountsBusy is how long SQLite waits for another writer: the program beside a running gateway, mostly.
const accountsBusy = 5 * time.Second

// OpenAccounts opens the file at path for the accounts of a gateway, for cloakroom.Accounts.Database. A missing one is made, with mode
// 0600; its folder must exist. Unlike a store it may be open in several processes, and nothing that was acknowledged is lost in a power
// cut. Its errors are Unavailable and carry a hint.
func OpenAccounts(ctx context.Context, path string) (*sql.DB, error) {
	db, err := openAccounts(ctx, path)
	if err == nil {
		return db, nil
	}
	const op = "open accounts"
	if c := code(err); c == sqlite3.SQLITE_CORRUPT || c == sqlite3.SQLITE_NOTADB {
		return nil, &session.Error{Code: session.Unavailable, Op: op + " sqlite:" + path, Err: err, Hint: "put a backup in the place of " + path}
	}
	return nil, fail(op+" sqlite:"+path, path, err)
}

func openAccounts(ctx context.Context, path string) (_ *sql.DB, err error) {
	if path, err = truePath(path); err != nil {
		return nil, err
	}
	if err := privateAccounts(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", accountsDSN(path))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	if err := markAccounts(ctx, db); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// privateAccounts is private for a file that others may have open: it never opens one that is there, since closing it again would drop
// the locks that SQLite has on it in this process.
func privateAccounts(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	state, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case !state.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case state.Mode().Perm()&0o077 != 0:
		return os.Chmod(path, 0o600)
	}
	return nil
}

func accountsDSN(path string) string {
	return dsnWith(path, accountsBusy, "FULL", "_pragma=journal_mode(WAL)", "_pragma=secure_delete(FAST)", "_txlock=immediate")
}

// markAccounts makes a new file one with accounts, and leaves one of another kind as it is.
func markAccounts(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var id, tables int
	if err := tx.QueryRowContext(ctx, "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id").Scan(&id, &tables); err != nil {
		return err
	}
	switch {
	case id == accountsID:
		return nil
	case id == applicationID:
		return &session.Error{
			Code: session.Unavailable, Op: "read schema", Err: errors.New("this file has sessions"),
			Hint: "accounts have a file of their own; it is made when missing",
		}
	case id != 0 || tables != 0:
		return &session.Error{
			Code: session.Unavailable, Op: "read schema", Err: errors.New("this is a database of another program"),
			Hint: "name a file of its own for the accounts; it is made when missing",
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", accountsID)); err != nil {
		return err
	}
	return tx.Commit()
}
