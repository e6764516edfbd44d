package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// maxGroup is how many writes share a transaction. With 64 writers at once this doubles what they get done in a second, and
// on a disk where a commit waits for the platter it is worth more. A larger group would keep its first one waiting.
const maxGroup = 128

// write is one change that waits for its turn.
type write struct {
	ctx  context.Context
	do   func(*statements) error // Conflict is its answer; any other error undoes the transaction
	id   session.ID              // what to tell watchers of, unless it is zero
	err  error
	done chan struct{}
}

// statements are prepared on the writer's connection, and used by its goroutine alone.
type statements struct {
	state, put, remove, addKey, dropKey, expired, grow, shrink *sql.Stmt
}

// submit has do run in a transaction and returns when that is committed. It gives up after the budget, or with ctx: then the
// write may still have happened, like any write whose answer is lost.
func (s *Store) submit(ctx context.Context, op string, id session.ID, do func(*statements) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.budget, errBudget)
	defer cancel()
	if ctx.Err() != nil { // select below chooses at random
		return s.fail(op, context.Cause(ctx))
	}
	w := &write{ctx: ctx, do: do, id: id, done: make(chan struct{})}
	select {
	case s.writes <- w:
	case <-ctx.Done():
		return s.fail(op, context.Cause(ctx))
	case <-s.closing:
		return s.fail(op, errClosed)
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		return s.fail(op, context.Cause(ctx))
	case <-s.stopped:
		select {
		case <-w.done:
		default:
			return s.fail(op, errClosed)
		}
	}
	return s.fail(op, w.err)
}

// run is the writer: all changes go through this goroutine. Whatever has gathered while one transaction ran goes into the
// next one together.
func (s *Store) run() {
	defer close(s.stopped)
	group := make([]*write, 0, maxGroup)
	for {
		select {
		case <-s.closing:
			return
		case w := <-s.writes:
			group = append(group[:0], w)
		}
	gather:
		for len(group) < maxGroup {
			select {
			case w := <-s.writes:
				group = append(group, w)
			default:
				break gather
			}
		}
		s.commit(group)
		for _, w := range group {
			if w.err == nil && w.id != (session.ID{}) {
				s.changes.Tell(w.id)
			}
			close(w.done)
		}
		clear(group)
	}
}

// commit sets the err of every write in group. If together they fail, each gets a transaction of its own, so that one that
// does not fit on the disk takes no other with it.
func (s *Store) commit(group []*write) {
	err := s.transact(group)
	switch {
	case err == nil:
	case len(group) > 1 && !busy(err):
		for i := range group {
			s.commit(group[i : i+1])
		}
	default:
		for _, w := range group {
			w.err = err
		}
	}
}

func (s *Store) transact(group []*write) (err error) {
	if err := s.begin(); err != nil {
		return err
	}
	defer func() {
		if err != nil { // SQLite may have rolled back by itself; then this fails, and that is fine
			s.writer.ExecContext(context.Background(), "ROLLBACK")
		}
	}()
	for _, w := range group {
		if w.err = w.ctx.Err(); w.err != nil {
			continue // nobody waits for it any more
		}
		if w.err = w.do(s.stmt); w.err != nil && session.CodeOf(w.err) != session.Conflict {
			return w.err
		}
	}
	_, err = s.writer.ExecContext(context.Background(), "COMMIT")
	return err
}

// begin takes SQLite's write lock. Only someone from outside can hold it, a backup or a shell, and mostly not for long.
func (s *Store) begin() error {
	deadline := time.Now().Add(s.budget)
	for {
		_, err := s.writer.ExecContext(context.Background(), "BEGIN IMMEDIATE") // waits for up to busyTimeout
		if !busy(err) || time.Now().After(deadline) {
			return err
		}
		select {
		case <-s.closing:
			return errors.Join(errClosed, err)
		default:
		}
	}
}

func prepare(ctx context.Context, conn *sql.Conn) (*statements, error) {
	var st statements
	err := prepareAll(ctx, conn, map[**sql.Stmt]string{
		&st.state: "SELECT version, write_id, expires, keys FROM record WHERE id = ?",
		&st.put: `INSERT INTO record (id, version, write_id, expires, keys, meta, body) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET version = excluded.version, write_id = excluded.write_id, expires = excluded.expires,
			keys = excluded.keys, meta = excluded.meta, body = excluded.body`,
		&st.remove:  "DELETE FROM record WHERE id = ?",
		&st.addKey:  "INSERT OR IGNORE INTO record_key (key, id) VALUES (?, ?)",
		&st.dropKey: "DELETE FROM record_key WHERE key = ? AND id = ?",
		&st.expired: "SELECT id, keys FROM record WHERE expires <= ? LIMIT ?",
		&st.grow:    "INSERT INTO probe (filler) VALUES (zeroblob(8192))",
		&st.shrink:  "DELETE FROM probe",
	})
	return &st, err
}

func (st *statements) close() error {
	return closeAll(st.state, st.put, st.remove, st.addKey, st.dropKey, st.expired, st.grow, st.shrink)
}

// prepareAll prepares the statements of texts.
func prepareAll(ctx context.Context, on interface {
	PrepareContext(context.Context, string) (*sql.Stmt, error)
}, texts map[**sql.Stmt]string) error {
	for to, text := range texts {
		stmt, err := on.PrepareContext(ctx, text)
		if err != nil {
			return err
		}
		*to = stmt
	}
	return nil
}

// closeAll closes statements, and skips those that were never prepared. It matters: with one of them left, SQLite keeps the
// connection and its descriptors, and never folds the write-ahead log into the file.
func closeAll(stmts ...*sql.Stmt) error {
	var errs []error
	for _, s := range stmts {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}
