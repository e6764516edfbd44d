package storage

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// watchPatience is how long a watch may be silent before it counts as interrupted.
const watchPatience = 2 * time.Second

// unwatchedTrust is how long what was read is trusted over a store that cannot be watched.
const unwatchedTrust = time.Second

// trust knows how far what was read from a store can be taken for what it has now.
type trust struct {
	watched bool
	epoch   atomic.Pointer[epoch] // the one that lasts

	// What was loaded before an invalidation came must not be kept after it. Each shard counts invalidations, and a load
	// that began under an older count is not kept.
	mu     [64]sync.Mutex
	counts [64]uint64
}

// epoch is a time in which no change was missed. It begins with a watch and ends with its interruption; what was loaded in it
// is good while it lasts, and was good until it was last known to last.
type epoch struct {
	lastLive atomic.Int64 // unix nanoseconds of the watch's last heartbeat; 0: no watch is up yet
}

func newTrust() *trust {
	t := &trust{}
	t.epoch.Store(new(epoch))
	return t
}

// follow watches the store, if it can be watched, until ctx ends. Each change is passed to drop, then to tell.
func (t *trust) follow(ctx context.Context, store session.Store, drop func(session.ID), tell func(session.Change)) {
	if w, ok := store.(session.Watcher); ok {
		t.watched = true
		go t.watch(ctx, w, drop, tell)
	}
}

// holds reports whether what was loaded then, in that epoch, can be taken for the store's own word now.
func (t *trust) holds(loaded time.Time, e *epoch, now time.Time) bool {
	if !t.watched {
		return now.Sub(loaded) < unwatchedTrust
	}
	return e == t.epoch.Load() && now.UnixNano()-e.lastLive.Load() < int64(watchPatience)
}

// lastKnown is when something that was loaded in an epoch was last known to be what the store has.
func lastKnown(loaded time.Time, e *epoch) time.Time {
	if live := time.Unix(0, e.lastLive.Load()); live.After(loaded) {
		return live
	}
	return loaded
}

// mark is taken before the store is read and given to unlessChanged afterwards.
type mark struct {
	count uint64
	epoch *epoch
}

func (t *trust) mark(id session.ID) mark {
	shard := id[0] % 64
	t.mu[shard].Lock()
	defer t.mu[shard].Unlock()
	return mark{t.counts[shard], t.epoch.Load()}
}

// unlessChanged calls keep, unless a change of id was told since m was taken.
func (t *trust) unlessChanged(id session.ID, m mark, keep func()) {
	shard := id[0] % 64
	t.mu[shard].Lock()
	defer t.mu[shard].Unlock()
	if t.counts[shard] == m.count {
		keep()
	}
}

// changed calls forget, and sees to it that whoever is loading id now does not keep it.
func (t *trust) changed(id session.ID, forget func()) {
	shard := id[0] % 64
	t.mu[shard].Lock()
	defer t.mu[shard].Unlock()
	t.counts[shard]++
	forget()
}

// watch follows the store's changes until ctx ends, and passes each on to tell. A watch that breaks is taken up again; then is
// told Lost for what may have been missed in between.
func (t *trust) watch(ctx context.Context, w session.Watcher, drop func(session.ID), tell func(session.Change)) {
	for ctx.Err() == nil {
		up := false // this watch is subscribed, and has missed nothing since
		_ = w.Watch(ctx, func(change session.Change) {
			switch change.Kind {
			case session.Changed:
				drop(change.ID)
			case session.Lost:
				t.epoch.Store(new(epoch))
				up = false
			case session.Live:
				now := time.Now().UnixNano()
				if !up || now-t.epoch.Load().lastLive.Load() >= int64(watchPatience) {
					t.epoch.Store(new(epoch)) // nobody knows what it did not tell
					tell(session.Change{Kind: session.Lost})
				}
				up = true
				t.epoch.Load().lastLive.Store(now)
			}
			tell(change)
		})
		t.epoch.Store(new(epoch))
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// listeners are told what a store says. The zero value has none.
type listeners struct {
	mu  sync.Mutex
	all []func(session.Change)
}

// Listen has f told what the store says, after the storage has acted on it. f must not block.
func (l *listeners) Listen(f func(session.Change)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, f)
}

func (l *listeners) tell(c session.Change) {
	l.mu.Lock()
	all := l.all
	l.mu.Unlock()
	for _, f := range all {
		f(c)
	}
}
