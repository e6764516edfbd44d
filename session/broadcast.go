package session

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Heartbeat is how often a Broadcast says Live to each of its watchers.
const Heartbeat = 500 * time.Millisecond

// backlog is how many changes a watcher may be behind before it gets Lost instead: 32 KiB of ids.
const backlog = 1024

// Broadcast is the Watch of a store that lives in one process: what a writer tells, every watcher hears. A watcher that
// falls behind never holds up a writer; it gets Lost. All methods may be called at once from many goroutines.
type Broadcast struct {
	closed chan struct{}

	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

type watcher struct {
	wake chan struct{} // holds one: there is something to take
	ids  []ID
	lost bool // more than ids could hold
}

// NewBroadcast returns a Broadcast without watchers.
func NewBroadcast() *Broadcast {
	return &Broadcast{closed: make(chan struct{}), watchers: make(map[*watcher]struct{})}
}

// Tell says that the record of id was written or deleted. Call it once the change can be read, and before the writer is
// answered. It never blocks.
func (b *Broadcast) Tell(id ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.watchers {
		if len(w.ids) < backlog {
			w.ids = append(w.ids, id)
		} else {
			w.lost = true
		}
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// Watch is [Watcher.Watch]. It says Live every Heartbeat. Its error is Unavailable, and wraps that of ctx when ctx ended.
func (b *Broadcast) Watch(ctx context.Context, changed func(Change)) error {
	w := &watcher{wake: make(chan struct{}, 1)}
	b.mu.Lock()
	b.watchers[w] = struct{}{}
	b.mu.Unlock()
	defer b.forget(w)

	beat := time.NewTicker(Heartbeat)
	defer beat.Stop()
	if err := b.over(ctx); err != nil {
		return err
	}
	changed(Change{Kind: Live})
	var ids []ID
	for {
		var lost bool
		select {
		case <-ctx.Done():
		case <-b.closed:
		case <-beat.C:
			changed(Change{Kind: Live})
		case <-w.wake:
			if ids, lost = b.take(w, ids); lost {
				changed(Change{Kind: Lost})
			}
			for _, id := range ids {
				if ctx.Err() != nil {
					break
				}
				changed(Change{Kind: Changed, ID: id})
			}
		}
		if err := b.over(ctx); err != nil {
			return err
		}
	}
}

// Close ends every Watch, those to come as well.
func (b *Broadcast) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
	default:
		close(b.closed)
	}
}

// take empties w's backlog; spent is reused for what comes next. After Lost the ids say nothing new: lost comes alone.
func (b *Broadcast) take(w *watcher, spent []ID) (ids []ID, lost bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	ids, lost = w.ids, w.lost
	w.ids, w.lost = spent[:0], false
	if lost {
		return ids[:0], true
	}
	return ids, false
}

func (b *Broadcast) over(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return &Error{Code: Unavailable, Op: "watch store", Err: ctx.Err()}
	case <-b.closed:
		return &Error{Code: Unavailable, Op: "watch store", Err: errors.New("the store is closed")}
	default:
		return nil
	}
}

func (b *Broadcast) forget(w *watcher) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.watchers, w)
}
