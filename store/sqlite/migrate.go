package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// migrations are numbered files, 0001 first. A file that was released is never changed; a change is one more file.
//
//go:embed migrations/*.sql
var migrations embed.FS

// applicationID is set by the first migration.
const applicationID = 0x434c4b52

// migrate brings the schema up to date, each step in a transaction of its own. A file that is not ours it leaves as it is.
func migrate(ctx context.Context, conn *sql.Conn) error {
	known, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	have, err := schemaVersion(ctx, conn)
	if err != nil {
		return err
	}
	if have > len(known) {
		return &session.Error{
			Code: session.Unavailable, Op: "read schema",
			Err:  fmt.Errorf("the file has schema version %d, and this program knows up to %d: a newer Cloakroom wrote it", have, len(known)),
			Hint: "run that newer version, or move the file aside to start with an empty one: everyone signs in again",
		}
	}
	for _, pragma := range []string{
		"journal_mode = WAL",
		"journal_size_limit = 67108864", // 64 MiB, after a burst
		"secure_delete = FAST",          // what was deleted is overwritten where that costs no extra write
	} {
		if _, err := conn.ExecContext(ctx, "PRAGMA "+pragma); err != nil {
			return err
		}
	}
	for version := have + 1; version <= len(known); version++ {
		if err := apply(ctx, conn, version, known[version-1]); err != nil {
			return fmt.Errorf("%s: %w", known[version-1], err)
		}
	}
	return nil
}

// schemaVersion returns the number of the newest migration in the file, 0 for a new file.
func schemaVersion(ctx context.Context, conn *sql.Conn) (version int, err error) {
	var id, tables int
	if err := conn.QueryRowContext(ctx, "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id").
		Scan(&id, &tables); err != nil {
		return 0, err
	}
	switch {
	case id == 0 && tables == 0:
		return 0, nil
	case id != applicationID:
		return 0, &session.Error{
			Code: session.Unavailable, Op: "read schema", Err: errors.New("this is a database of another program"),
			Hint: "name a file of its own for Cloakroom; it is made when missing",
		}
	}
	err = conn.QueryRowContext(ctx, "SELECT max(version) FROM schema_version").Scan(&version)
	return version, err
}

func apply(ctx context.Context, conn *sql.Conn, version int, name string) error {
	text, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	tx, err := conn.BeginTx(ctx, nil) // immediate, as all of this connection
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY, applied INTEGER NOT NULL)"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, string(text)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO schema_version VALUES (?, ?)", version, time.Now().UnixMilli()); err != nil {
		return err
	}
	return tx.Commit()
}
