// Package memory is a session store in the memory of one process. Nothing survives a restart, and no other replica sees it:
// it is for development, for tests, and for a gateway that runs alone and may sign everyone out when it restarts.
package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// About what a record costs besides its bytes: maps, slices, the record itself.
const (
	overhead    = 400
	keyOverhead = 100 // and each of its keys
)

// Store is a [session.Store] with every optional power. One lock guards it all: a Get takes about a microsecond, and
// most of that is the copy, which is made outside of the lock.
type Store struct {
	changes    *session.Broadcast
	maxRecords int
	maxBytes   int64

	mu     sync.RWMutex
	closed bool
	count  int
	bytes  int64
	// buckets are by the first byte of the id. Ids are hashes, so a bucket is 1/256 of all: what Scan sorts and Sweep locks
	// at a time. Slices in a record are never written to once they are here.
	buckets [256]map[session.ID]session.Record
	keys    map[session.Key]map[session.ID]struct{}
}

var (
	_ session.Store   = (*Store)(nil)
	_ session.Index   = (*Store)(nil)
	_ session.Scanner = (*Store)(nil)
	_ session.Watcher = (*Store)(nil)
	_ session.Sweeper = (*Store)(nil)
	_ session.Pinger  = (*Store)(nil)
)

// Option changes a limit of New.
type Option func(*Store)

// MaxRecords sets how many records fit: 1,000,000 without it.
func MaxRecords(n int) Option { return func(s *Store) { s.maxRecords = n } }

// MaxBytes sets how many bytes of memory the records may take, roughly: 1 GiB without it.
func MaxBytes(n int64) Option { return func(s *Store) { s.maxBytes = n } }

// New returns an empty store. A full store answers Put with Unavailable until records end or expire.
func New(options ...Option) *Store {
	s := &Store{
		changes:    session.NewBroadcast(),
		maxRecords: 1_000_000,
		maxBytes:   1 << 30,
		keys:       make(map[session.Key]map[session.ID]struct{}),
	}
	for i := range s.buckets {
		s.buckets[i] = make(map[session.ID]session.Record)
	}
	for _, o := range options {
		o(s)
	}
	return s
}

// Get is [session.Store.Get].
func (s *Store) Get(ctx context.Context, id session.ID) (session.Record, error) {
	s.mu.RLock()
	rec, ok := s.buckets[id[0]][id]
	err := s.usable(ctx, "get record")
	s.mu.RUnlock()
	switch {
	case err != nil:
		return session.Record{}, err
	case !ok || dead(rec, time.Now()):
		return session.Record{}, session.Fail(session.None, "get record", "no live record")
	}
	return clone(rec), nil
}

// Put is [session.Store.Put].
func (s *Store) Put(ctx context.Context, rec session.Record) error {
	const op = "put record"
	next := clone(rec)
	next.Version++
	next.Expires = time.UnixMilli(rec.Expires.UnixMilli()).UTC()

	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx, op); err != nil {
		return err
	}
	now := time.Now()
	old, ok := s.buckets[rec.ID[0]][rec.ID]
	live := ok && !dead(old, now)
	switch {
	case live && old.Version == rec.Version, !live && rec.Version == 0:
	case live && old.WriteID == rec.WriteID:
		return nil
	default:
		return session.Fail(session.Conflict, op, "the record has changed or is gone")
	}
	if !s.fits(old, next, ok) {
		s.sweepBucket(rec.ID[0], now)
		if old, ok = s.buckets[rec.ID[0]][rec.ID]; !s.fits(old, next, ok) {
			return &session.Error{
				Code: session.Unavailable, Op: op,
				Err:  fmt.Errorf("the memory store is full: %d records, %d bytes", s.count, s.bytes),
				Hint: "give it more room, or use a store on disk: store: sqlite:PATH",
			}
		}
	}
	if ok {
		s.remove(old)
	}
	s.add(next)
	s.changes.Tell(rec.ID) // under the lock: watchers hear of changes to a record in the order they were made
	return nil
}

// Delete is [session.Store.Delete].
func (s *Store) Delete(ctx context.Context, id session.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx, "delete record"); err != nil {
		return err
	}
	if old, ok := s.buckets[id[0]][id]; ok {
		s.remove(old)
	}
	s.changes.Tell(id)
	return nil
}

// Find is [session.Index.Find]. It names the living only.
func (s *Store) Find(ctx context.Context, key session.Key, after session.ID, n int) ([]session.Record, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx, "find records"); err != nil {
		return nil, err
	}
	now := time.Now()
	n = max(n, 0)
	var page []session.Record
	for id := range s.keys[key] {
		rec := s.buckets[id[0]][id]
		if bytes.Compare(id[:], after[:]) <= 0 || dead(rec, now) {
			continue
		}
		if page = append(page, rec); len(page) >= 2*n+1 { // no more than this: one key can have very many
			sortByID(page)
			page = page[:n]
		}
	}
	sortByID(page)
	page = page[:min(len(page), n)]
	for i := range page {
		page[i] = clone(page[i])
	}
	return page, nil
}

// Scan is [session.Scanner.Scan]. It shows the living only.
func (s *Store) Scan(ctx context.Context, after session.ID, n int) ([]session.Record, error) {
	var page []session.Record
	for i := int(after[0]); i < len(s.buckets) && len(page) < n; i++ {
		bucket, err := s.scanBucket(ctx, byte(i), after)
		if err != nil {
			return nil, err
		}
		for _, rec := range bucket[:min(len(bucket), n-len(page))] {
			page = append(page, clone(rec))
		}
	}
	return page, nil
}

// scanBucket returns the living of bucket b behind after, in order. They are the store's own.
func (s *Store) scanBucket(ctx context.Context, b byte, after session.ID) ([]session.Record, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.usable(ctx, "scan records"); err != nil {
		return nil, err
	}
	now := time.Now()
	var live []session.Record
	for id, rec := range s.buckets[b] {
		if bytes.Compare(id[:], after[:]) > 0 && !dead(rec, now) {
			live = append(live, rec)
		}
	}
	sortByID(live)
	return live, nil
}

func sortByID(recs []session.Record) {
	slices.SortFunc(recs, func(a, b session.Record) int { return bytes.Compare(a.ID[:], b.ID[:]) })
}

// Watch is [session.Watcher.Watch].
func (s *Store) Watch(ctx context.Context, changed func(session.Change)) error {
	return s.changes.Watch(ctx, changed)
}

// Sweep is [session.Sweeper.Sweep]. It never holds the lock for more than 1/256 of the records.
func (s *Store) Sweep(ctx context.Context, now time.Time) (int, error) {
	swept := 0
	for i := range s.buckets {
		s.mu.Lock()
		err := s.usable(ctx, "sweep records")
		if err == nil {
			swept += s.sweepBucket(byte(i), now)
		}
		s.mu.Unlock()
		if err != nil {
			return swept, err
		}
	}
	return swept, nil
}

// Ping is [session.Pinger.Ping].
func (s *Store) Ping(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.usable(ctx, "ping store")
}

// Close forgets every record and ends every Watch. From then on the store answers Unavailable.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	clear(s.buckets[:])
	s.keys = nil
	s.changes.Close()
	return nil
}

func (s *Store) usable(ctx context.Context, op string) error {
	if s.closed {
		return &session.Error{Code: session.Unavailable, Op: op, Err: errors.New("the store is closed")}
	}
	if err := ctx.Err(); err != nil {
		return &session.Error{Code: session.Unavailable, Op: op, Err: err}
	}
	return nil
}

func (s *Store) fits(old, next session.Record, replace bool) bool {
	count, total := s.count+1, s.bytes+size(next)
	if replace {
		count, total = count-1, total-size(old)
	}
	return count <= s.maxRecords && total <= s.maxBytes
}

func (s *Store) add(rec session.Record) {
	s.buckets[rec.ID[0]][rec.ID] = rec
	s.count++
	s.bytes += size(rec)
	for _, key := range rec.Index {
		ids := s.keys[key]
		if ids == nil {
			ids = make(map[session.ID]struct{})
			s.keys[key] = ids
		}
		ids[rec.ID] = struct{}{}
	}
}

func (s *Store) remove(rec session.Record) {
	delete(s.buckets[rec.ID[0]], rec.ID)
	s.count--
	s.bytes -= size(rec)
	for _, key := range rec.Index {
		ids := s.keys[key]
		delete(ids, rec.ID)
		if len(ids) == 0 {
			delete(s.keys, key)
		}
	}
}

func (s *Store) sweepBucket(b byte, now time.Time) int {
	swept := 0
	for _, rec := range s.buckets[b] {
		if dead(rec, now) {
			s.remove(rec)
			swept++
		}
	}
	return swept
}

func dead(rec session.Record, now time.Time) bool { return !now.Before(rec.Expires) }

func size(rec session.Record) int64 {
	return int64(overhead + len(rec.Meta) + len(rec.Body) + len(rec.Index)*keyOverhead)
}

func clone(rec session.Record) session.Record {
	rec.Index, rec.Meta, rec.Body = slices.Clone(rec.Index), bytes.Clone(rec.Meta), bytes.Clone(rec.Body)
	return rec
}
