package issuer

import (
	"context"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// How a document is kept.
const (
	RetryAfter = 2 * time.Second // between two attempts while the provider is down
	StaleFor   = 24 * time.Hour  // how long an outdated document serves while no newer one can be had
)

// Document is what an issuer publishes and we keep: its metadata, its keys. At most one fetch is under way at any time.
type Document[T any] struct {
	fetch func(context.Context) (value T, fresh time.Duration, err error)
	now   func() time.Time
	turn  chan struct{} // capacity 1: whoever holds it may fetch

	mu     sync.Mutex
	kept   Edition[T]
	failed time.Time // of the last attempt, zero when it succeeded
	err    error     // what it failed with
	forced time.Time // when refetch last fetched
}

// Edition is one fetched state of a document. Version 0: none.
type Edition[T any] struct {
	Value   T
	Version uint64
	At      time.Time // when it was fetched
	Until   time.Time // fresh before
}

// NewDocument returns one that fetch brings, and says how long it is fresh. Nothing is fetched yet.
func NewDocument[T any](now func() time.Time, fetch func(context.Context) (T, time.Duration, error)) *Document[T] {
	return &Document[T]{fetch: fetch, now: now, turn: make(chan struct{}, 1)}
}

// Get returns a fresh edition, or an outdated one while the provider is down. A provider that lies gets no such credit.
//
// A provider may be down by not answering at all. So one request waits for it, and the others take the outdated edition meanwhile.
func (d *Document[T]) Get(ctx context.Context) (Edition[T], error) {
	e := d.current()
	if e.Version > 0 && d.now().Before(e.Until) {
		return e, nil
	}
	serves := e.Version > 0 && d.now().Before(e.Until.Add(StaleFor))
	if serves && len(d.turn) > 0 {
		return e, nil
	}
	newer, err := d.newer(ctx, e.Version)
	if err != nil && serves && session.CodeOf(err) != session.ProviderLied {
		return e, nil
	}
	return newer, err
}

// Within returns an edition of at most this age, and never an older one.
func (d *Document[T]) Within(ctx context.Context, age time.Duration) (Edition[T], error) {
	e := d.current()
	if e.Version > 0 && d.now().Sub(e.At) < age {
		return e, nil
	}
	return d.newer(ctx, e.Version)
}

// newer returns an edition newer than seen. While the provider is down it tries every RetryAfter and answers the last error
// in between.
func (d *Document[T]) newer(ctx context.Context, seen uint64) (Edition[T], error) {
	return d.fetchOnce(ctx, seen, func() bool { return false })
}

// refetch is newer, but succeeds only once in every interval; in between it returns the edition there is.
func (d *Document[T]) refetch(ctx context.Context, seen uint64, every time.Duration) (Edition[T], error) {
	return d.fetchOnce(ctx, seen, func() bool {
		if d.now().Before(d.forced.Add(every)) {
			return true
		}
		d.forced = d.now()
		return false
	})
}

// fetchOnce waits for its turn and fetches, unless someone else just did or enough says so. The fetch does not end with ctx:
// others wait for it, and it has a time limit of its own.
func (d *Document[T]) fetchOnce(ctx context.Context, seen uint64, enough func() bool) (Edition[T], error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return Edition[T]{}, session.Fail(session.ProviderDown, "wait for the provider", "%w", context.Cause(ctx))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.kept.Version > seen:
		return d.kept, nil
	case d.err != nil && d.now().Before(d.failed.Add(RetryAfter)):
		return Edition[T]{}, d.err
	case enough():
		return d.kept, nil
	}
	d.mu.Unlock()
	value, fresh, err := d.fetch(context.WithoutCancel(ctx))
	d.mu.Lock()
	if d.err = err; err != nil {
		d.failed, d.forced = d.now(), time.Time{}
		return Edition[T]{}, err
	}
	d.kept = Edition[T]{Value: value, Version: d.kept.Version + 1, At: d.now(), Until: d.now().Add(fresh)}
	return d.kept, nil
}

func (d *Document[T]) current() Edition[T] {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept
}
