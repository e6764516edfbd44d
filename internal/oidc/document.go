package oidc

import (
	"context"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	retryAfter = 2 * time.Second // between two attempts while the provider is down
	staleFor   = 24 * time.Hour  // how long an outdated document serves while no newer one can be had
)

// document is what the provider publishes and we keep: its metadata, its keys. At most one fetch is under way at any time.
type document[T any] struct {
	fetch func(context.Context) (value T, fresh time.Duration, err error)
	now   func() time.Time
	turn  chan struct{} // capacity 1: whoever holds it may fetch

	mu     sync.Mutex
	kept   edition[T]
	failed time.Time // of the last attempt, zero when it succeeded
	err    error     // what it failed with
	forced time.Time // when refetch last fetched
}

// edition is one fetched state of a document. Version 0: none.
type edition[T any] struct {
	value   T
	version uint64
	at      time.Time // when it was fetched
	until   time.Time // fresh before
}

func newDocument[T any](now func() time.Time, fetch func(context.Context) (T, time.Duration, error)) *document[T] {
	return &document[T]{fetch: fetch, now: now, turn: make(chan struct{}, 1)}
}

// get returns a fresh edition, or an outdated one while the provider is down. A provider that lies gets no such credit.
func (d *document[T]) get(ctx context.Context) (edition[T], error) {
	e := d.current()
	if e.version > 0 && d.now().Before(e.until) {
		return e, nil
	}
	newer, err := d.newer(ctx, e.version)
	if err != nil && e.version > 0 && session.CodeOf(err) != session.ProviderLied && d.now().Before(e.until.Add(staleFor)) {
		return e, nil
	}
	return newer, err
}

// within returns an edition of at most this age, and never an older one.
func (d *document[T]) within(ctx context.Context, age time.Duration) (edition[T], error) {
	e := d.current()
	if e.version > 0 && d.now().Sub(e.at) < age {
		return e, nil
	}
	return d.newer(ctx, e.version)
}

// newer returns an edition newer than seen. While the provider is down it tries every retryAfter and answers the last error
// in between.
func (d *document[T]) newer(ctx context.Context, seen uint64) (edition[T], error) {
	return d.fetchOnce(ctx, seen, func() bool { return false })
}

// refetch is newer, but succeeds only once in every interval; in between it returns the edition there is.
func (d *document[T]) refetch(ctx context.Context, seen uint64, every time.Duration) (edition[T], error) {
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
func (d *document[T]) fetchOnce(ctx context.Context, seen uint64, enough func() bool) (edition[T], error) {
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return edition[T]{}, session.Fail(session.ProviderDown, "wait for the provider", "%w", context.Cause(ctx))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.kept.version > seen:
		return d.kept, nil
	case d.err != nil && d.now().Before(d.failed.Add(retryAfter)):
		return edition[T]{}, d.err
	case enough():
		return d.kept, nil
	}
	d.mu.Unlock()
	value, fresh, err := d.fetch(context.WithoutCancel(ctx))
	d.mu.Lock()
	if d.err = err; err != nil {
		d.failed, d.forced = d.now(), time.Time{}
		return edition[T]{}, err
	}
	d.kept = edition[T]{value: value, version: d.kept.version + 1, at: d.now(), until: d.now().Add(fresh)}
	return d.kept, nil
}

func (d *document[T]) current() edition[T] {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.kept
}
