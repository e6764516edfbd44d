package storage

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cloakroom-go/cloakroom/session"
)

// watchPatience is how long a watch may be silent before it counts as interrupted.
const watchPatience = 2 * time.Second

// unwatchedTrust is how long a cached session is trusted over a store that cannot be watched.
const unwatchedTrust = time.Second

// cache keeps opened sessions in memory, bounded in bytes, and knows how far they can be trusted.
type cache struct {
	entries  *otter.Cache[session.ID, entry]
	watched  bool
	lastLive atomic.Int64  // unix nanoseconds of the watch's last heartbeat
	epoch    atomic.Uint64 // grows when changes may have been missed

	// What was loaded before an invalidation came must not be kept after it. Each shard counts invalidations, and a load
	// that began under an older count is not kept.
	mu     [64]sync.Mutex
	counts [64]uint64
}

// entry is a session as it was read, and when. Its Carried is its Generation.
type entry struct {
	s      *session.Session
	loaded time.Time
	epoch  uint64
}

func newCache(maxBytes int64) (*cache, error) {
	entries, err := otter.New(&otter.Options[session.ID, entry]{
		MaximumWeight: uint64(maxBytes),
		Weigher: func(_ session.ID, e entry) uint32 {
			t := e.s.Grant.Tokens
			return uint32(1024 + 2*(len(t.Access)+len(t.Refresh)+len(t.ID)) + 64*len(e.s.Grant.Claims))
		},
	})
	if err != nil {
		return nil, err
	}
	return &cache{entries: entries}, nil
}

// get returns a cached session, and whether it can be taken for the store's own word.
func (c *cache) get(id session.ID, now time.Time) (e entry, trusted, ok bool) {
	e, ok = c.entries.GetIfPresent(id)
	if !ok {
		return entry{}, false, false
	}
	if !c.watched {
		return e, now.Sub(e.loaded) < unwatchedTrust, true
	}
	return e, e.epoch == c.epoch.Load() && now.UnixNano()-c.lastLive.Load() < int64(watchPatience), true
}

// verified is when an entry was last known to be what the store has.
func (c *cache) verified(e entry) time.Time {
	if live := time.Unix(0, c.lastLive.Load()); c.watched && e.epoch == c.epoch.Load() && live.After(e.loaded) {
		return live
	}
	return e.loaded
}

// mark is taken before the store is read and given to put afterwards.
type mark struct{ count, epoch uint64 }

func (c *cache) mark(id session.ID) mark {
	shard := id[0] % 64
	c.mu[shard].Lock()
	defer c.mu[shard].Unlock()
	return mark{c.counts[shard], c.epoch.Load()}
}

// put keeps a session that was read, or written, after m was taken, unless a newer one is there or a change was told since.
func (c *cache) put(s *session.Session, m mark, now time.Time) {
	shard := s.ID[0] % 64
	c.mu[shard].Lock()
	defer c.mu[shard].Unlock()
	if c.counts[shard] != m.count {
		return
	}
	if old, ok := c.entries.GetIfPresent(s.ID); ok && old.s.Version > s.Version {
		return
	}
	c.entries.Set(s.ID, entry{s: s, loaded: now, epoch: m.epoch})
}

// drop forgets a session, whoever is loading it now.
func (c *cache) drop(id session.ID) {
	shard := id[0] % 64
	c.mu[shard].Lock()
	defer c.mu[shard].Unlock()
	c.counts[shard]++
	c.entries.Invalidate(id)
}

// watch follows the store's changes until ctx ends, and passes each on to then. A watch that breaks is taken up again.
func (c *cache) watch(ctx context.Context, w session.Watcher, then func(session.Change)) {
	for ctx.Err() == nil {
		_ = w.Watch(ctx, func(change session.Change) {
			switch change.Kind {
			case session.Changed:
				c.drop(change.ID)
			case session.Lost:
				c.epoch.Add(1)
			case session.Live:
				now := time.Now().UnixNano()
				if now-c.lastLive.Load() >= int64(watchPatience) {
					c.epoch.Add(1) // it was silent: nobody knows what it did not tell
				}
				c.lastLive.Store(now)
			}
			then(change)
		})
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
