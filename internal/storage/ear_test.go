package storage

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// ear is one replica's view of the store: its watch can be disturbed.
type ear struct {
	*memory.Store
	slow time.Duration         // each way
	fail func(op string) error // asked before every call; may be nil

	gets, puts atomic.Int64

	mu      sync.Mutex
	mode    mode
	since   time.Time // of the last change of mode
	waiting []session.Change
	missed  bool
	cut     context.CancelFunc
}

type mode string

const (
	hears  mode = "hears its watch"
	stalls mode = "hears late"
	loses  mode = "misses changes, and is told so later"
	broken mode = "cannot watch"
)

func (e *ear) set(m mode) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mode, e.since = m, time.Now()
	if m == broken && e.cut != nil {
		e.cut()
	}
}

// attentive reports whether the watch has worked since well before at.
func (e *ear) attentive(at time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.mode == hears && at.Sub(e.since) > 3*time.Second
}

func (e *ear) Watch(ctx context.Context, changed func(session.Change)) error {
	e.mu.Lock()
	if e.mode == broken {
		e.mu.Unlock()
		return errors.New("no connection")
	}
	ctx, e.cut = context.WithCancel(ctx)
	e.waiting, e.missed = nil, false
	e.mu.Unlock()
	return e.Store.Watch(ctx, func(c session.Change) {
		for _, c := range e.hear(c) {
			changed(c)
		}
	})
}

func (e *ear) Get(ctx context.Context, id session.ID) (session.Record, error) {
	e.gets.Add(1)
	if err := e.travel("get"); err != nil {
		return session.Record{}, err
	}
	defer time.Sleep(e.slow)
	return e.Store.Get(ctx, id)
}

func (e *ear) Put(ctx context.Context, rec session.Record) error {
	e.puts.Add(1)
	if err := e.travel("put"); err != nil {
		return err
	}
	defer time.Sleep(e.slow)
	return e.Store.Put(ctx, rec)
}

func (e *ear) Delete(ctx context.Context, id session.ID) error {
	if err := e.travel("delete"); err != nil {
		return err
	}
	defer time.Sleep(e.slow)
	return e.Store.Delete(ctx, id)
}

func (e *ear) travel(op string) error {
	time.Sleep(e.slow)
	if e.fail == nil {
		return nil
	}
	return e.fail(op)
}

// away is a store that cannot be reached.
func away(op string) error { return session.Fail(session.Unavailable, op, "connection refused") }

// hear returns what gets through now that c is told.
func (e *ear) hear(c session.Change) []session.Change {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch e.mode {
	case stalls:
		e.waiting = append(e.waiting, c)
		return nil
	case loses:
		e.missed = e.missed || c.Kind == session.Changed
		return nil
	}
	through := append(e.waiting, c)
	if e.missed {
		through = append([]session.Change{{Kind: session.Lost}}, through...)
	}
	e.waiting, e.missed = nil, false
	return through
}
