// Package sqlite is a session store in one SQLite file: the default for a gateway that runs alone. It is pure Go.
//
// The file is in WAL mode with synchronous=NORMAL: a crash of the process loses nothing that was acknowledged, a power cut
// may lose the last sessions, and neither corrupts the file. One process serves a file; a second one is refused.
package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	budget      = 2 * time.Second        // how long a call goes on trying
	busyTimeout = 100 * time.Millisecond // how long SQLite waits for a lock by itself: nothing can cancel that
	readers     = 4
	sweepBatch  = 500 // records a Sweep removes at a time: 2,000 were seen to hold up writers for 400 ms
)

// Store is a [session.Store] with every optional power.
type Store struct {
	path    string
	lock    io.Closer
	changes *session.Broadcast
	budget  time.Duration

	db     *sql.DB   // the writer's, of one connection
	writer *sql.Conn // that connection; only the goroutine in run uses it
	stmt   *statements
	reader *reading

	writes  chan *write
	close   func() error
	closing chan struct{}
	stopped chan struct{} // run has returned
}

// reading is the side of the file that sees what is committed.
type reading struct {
	db              *sql.DB
	get, find, scan *sql.Stmt
}

var (
	_ session.Store   = (*Store)(nil)
	_ session.Index   = (*Store)(nil)
	_ session.Scanner = (*Store)(nil)
	_ session.Watcher = (*Store)(nil)
	_ session.Sweeper = (*Store)(nil)
	_ session.Pinger  = (*Store)(nil)
)

// Open opens the database file at path and brings its schema up to date. A missing file is made, with mode 0600; its folder
// must exist. path.lock beside it keeps other processes out. Its errors are Unavailable and carry a hint: the file is in use
// (the error names the process), corrupt, of another program, of a newer schema, or cannot be written.
func Open(ctx context.Context, path string) (*Store, error) {
	s, err := open(ctx, path, budget)
	if err != nil {
		return nil, fail("open store sqlite:"+path, path, err)
	}
	return s, nil
}

func open(ctx context.Context, path string, budget time.Duration) (_ *Store, err error) {
	if path, err = truePath(path); err != nil {
		return nil, err
	}
	s := &Store{
		path:    path,
		changes: session.NewBroadcast(),
		budget:  budget,
		writes:  make(chan *write, maxGroup),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	s.close = sync.OnceValue(s.shut)
	if s.lock, err = lock(path); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			close(s.stopped) // run never began
			s.close()
		}
	}()
	if err = private(path); err != nil {
		return nil, err
	}
	if s.db, err = sql.Open("sqlite", dsn(path, "_txlock=immediate")); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(1)
	if s.writer, err = s.db.Conn(ctx); err != nil {
		return nil, err
	}
	if err = migrate(ctx, s.writer); err != nil {
		return nil, err
	}
	if s.stmt, err = prepare(ctx, s.writer); err != nil {
		return nil, err
	}
	if s.reader, err = openReading(ctx, path); err != nil {
		return nil, err
	}
	go s.run()
	return s, nil
}

// truePath follows links, so that a link to a file meets the lock of that file. The file itself may be missing.
func truePath(path string) (string, error) {
	if path == "" {
		return "", errors.New("no file is named")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		folder, err := filepath.EvalSymlinks(filepath.Dir(path))
		return filepath.Join(folder, filepath.Base(path)), err
	}
	return filepath.EvalSymlinks(path)
}

// private makes the file at path if there is none, and takes it from everyone but its owner. Only who holds the lock may call
// it: to close any descriptor of a file drops the locks that SQLite has on it in this process.
func private(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	state, err := f.Stat()
	switch {
	case err != nil:
		return err
	case !state.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file", path)
	case state.Mode().Perm()&0o077 != 0:
		return f.Chmod(0o600)
	}
	return nil
}

func dsn(path string, options ...string) string {
	return dsnWith(path, busyTimeout, "NORMAL", options...)
}

func dsnWith(path string, busy time.Duration, synchronous string, options ...string) string {
	query := fmt.Sprintf("_pragma=busy_timeout(%d)&_pragma=synchronous(%s)", busy.Milliseconds(), synchronous)
	for _, o := range options {
		query += "&" + o
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: query}).String()
}

func openReading(ctx context.Context, path string) (*reading, error) {
	db, err := sql.Open("sqlite", dsn(path, "_pragma=query_only(1)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	const columns = "SELECT record.id, version, write_id, expires, keys, meta, body FROM record "
	r := &reading{db: db}
	return r, prepareAll(ctx, db, map[**sql.Stmt]string{
		&r.get:  columns + "WHERE id = ? AND expires > ?",
		&r.find: columns + "JOIN record_key USING (id) WHERE key = ? AND id > ? AND expires > ? ORDER BY id LIMIT ?",
		&r.scan: columns + "WHERE id > ? AND expires > ? ORDER BY id LIMIT ?",
	})
}

func (r *reading) close() error { return errors.Join(closeAll(r.get, r.find, r.scan), r.db.Close()) }

// Get is [session.Store.Get].
func (s *Store) Get(ctx context.Context, id session.ID) (session.Record, error) {
	const op = "get record"
	found, err := s.query(ctx, op, s.reader.get, id[:], time.Now().UnixMilli())
	if err != nil {
		return session.Record{}, err
	}
	if len(found) == 0 {
		return session.Record{}, session.Fail(session.None, op, "no live record")
	}
	return found[0], nil
}

// Put is [session.Store.Put]. It answers once the record is committed.
func (s *Store) Put(ctx context.Context, rec session.Record) error {
	// A copy: when ctx ends first, the writer may still be at it while the caller goes on with its own.
	rec.Index, rec.Meta, rec.Body = slices.Clone(rec.Index), bytes.Clone(rec.Meta), bytes.Clone(rec.Body)
	return s.submit(ctx, "put record", rec.ID, func(st *statements) error { return st.replace(rec) })
}

// Delete is [session.Store.Delete].
func (s *Store) Delete(ctx context.Context, id session.ID) error {
	return s.submit(ctx, "delete record", id, func(st *statements) error {
		_, keys, err := st.read(id)
		if err != nil {
			return err
		}
		return st.drop(id[:], keys)
	})
}

// Find is [session.Index.Find]. It names the living only.
func (s *Store) Find(ctx context.Context, key session.Key, after session.ID, n int) ([]session.Record, error) {
	return s.query(ctx, "find records", s.reader.find, key[:], after[:], time.Now().UnixMilli(), max(n, 0))
}

// Scan is [session.Scanner.Scan]. It shows the living only.
func (s *Store) Scan(ctx context.Context, after session.ID, n int) ([]session.Record, error) {
	return s.query(ctx, "scan records", s.reader.scan, after[:], time.Now().UnixMilli(), max(n, 0))
}

// Watch is [session.Watcher.Watch].
func (s *Store) Watch(ctx context.Context, changed func(session.Change)) error {
	return s.changes.Watch(ctx, changed)
}

// Sweep is [session.Sweeper.Sweep]. Other writes go in between its batches.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	swept := 0
	for {
		batch := 0
		err := s.submit(ctx, "sweep records", session.ID{}, func(st *statements) (err error) {
			batch, err = st.sweep(now)
			return err
		})
		if err != nil {
			return swept, err
		}
		swept += batch
		if batch < sweepBatch {
			return swept, nil
		}
	}
}

// Ping is [session.Pinger.Ping]. It proves that the file can be written, and grow.
func (s *Store) Ping(ctx context.Context) error {
	return s.submit(ctx, "ping store", session.ID{}, func(st *statements) error {
		if _, err := st.grow.Exec(); err != nil {
			return err
		}
		_, err := st.shrink.Exec()
		return err
	})
}

// Close lets the running transaction finish and gives the file free. Calls that wait, and all later ones, are Unavailable.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	close(s.closing)
	s.changes.Close()
	<-s.stopped
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.close())
	}
	if s.stmt != nil {
		errs = append(errs, s.stmt.close())
	}
	if s.writer != nil {
		errs = append(errs, s.writer.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...) // the lock goes last
}

func (s *Store) query(ctx context.Context, op string, stmt *sql.Stmt, args ...any) ([]session.Record, error) {
	select {
	case <-s.closing:
		return nil, s.fail(op, errClosed)
	default:
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.budget, errBudget)
	defer cancel()
	for {
		found, err := records(ctx, stmt, args)
		switch {
		case busy(err) && ctx.Err() == nil:
		case err != nil && ctx.Err() != nil:
			return nil, s.fail(op, context.Cause(ctx))
		default:
			return found, s.fail(op, err)
		}
	}
}

func records(ctx context.Context, stmt *sql.Stmt, args []any) ([]session.Record, error) {
	rows, err := stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []session.Record
	for rows.Next() {
		var rec session.Record
		var id, writeID, keys []byte
		var expires int64
		if err := rows.Scan(&id, &rec.Version, &writeID, &expires, &keys, &rec.Meta, &rec.Body); err != nil {
			return nil, err
		}
		copy(rec.ID[:], id)
		copy(rec.WriteID[:], writeID)
		rec.Expires = time.UnixMilli(expires).UTC()
		for k := range split(keys) {
			rec.Index = append(rec.Index, k)
		}
		found = append(found, rec)
	}
	return found, rows.Err()
}
