package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cloakroom-go/cloakroom/session"
)

var (
	errClosed = errors.New("the store is closed")
	errBudget = errors.New("no answer in time")
)

func (s *Store) fail(op string, err error) error { return fail(op, s.path, err) }

// fail makes an Error of err: what a write answered stays as it is, everything else is Unavailable.
func fail(op, path string, err error) error {
	if err == nil {
		return nil
	}
	var verdict *session.Error
	if errors.As(err, &verdict) {
		if verdict.Op == op {
			return verdict
		}
		return &session.Error{Code: verdict.Code, Op: op, Err: err}
	}
	return &session.Error{Code: session.Unavailable, Op: op, Err: err, Hint: hint(path, err)}
}

func hint(path string, err error) string {
	switch code(err) {
	case sqlite3.SQLITE_FULL:
		return "the disk or its quota is full: make room beside " + path
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return "another program has " + path + " locked: end its transaction, a SQLite shell or a backup"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Sprintf("stop, move %s aside together with %[1]s-wal and %[1]s-shm, and start: a new file is made, and everyone signs in again", path)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_AUTH:
		return "the user of this process must be able to write " + path + " and its folder; is the disk sound?"
	}
	if errors.Is(err, os.ErrNotExist) {
		return "make the folder " + filepath.Dir(path) + " first"
	}
	if errors.Is(err, os.ErrPermission) {
		return "the user of this process must be able to write " + path + " and its folder"
	}
	return ""
}

// code returns SQLite's primary result code, 0 for an error that is not SQLite's.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code() & 0xff
	}
	return 0
}

func busy(err error) bool { return code(err) == sqlite3.SQLITE_BUSY }
