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
	entries *otter.Cache[session.ID, entry]
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

// entry is a session as it was read, and when. Its Carried is its Generation.
type entry struct {
	s      *session.Session
	size   int // of its record's body in bytes
	loaded time.Time
	epoch  *epoch
}

func newCache(maxBytes int64) (*cache, error) {
	entries, err := otter.New(&otter.Options[session.ID, entry]{
		MaximumWeight: uint64(maxBytes),
		// The tokens take what they take as text; claims, opened, take up to three times that.
		Weigher: func(_ session.ID, e entry) uint32 { return uint32(1024 + 3*e.size) },
	})
	if err != nil {
		return nil, err
	}
	c := &cache{entries: entries}
	c.epoch.Store(new(epoch))
	return c, nil
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
	return e, e.epoch == c.epoch.Load() && now.UnixNano()-e.epoch.lastLive.Load() < int64(watchPatience), true
}

// verified is when an entry was last known to be what the store has.
func (c *cache) verified(e entry) time.Time {
	if live := time.Unix(0, e.epoch.lastLive.Load()); live.After(e.loaded) {
		return live
	}
	return e.loaded
}

// mark is taken before the store is read and given to put afterwards.
type mark struct {
	count uint64
	epoch *epoch
}

func (c *cache) mark(id session.ID) mark {
	shard := id[0] % 64
	c.mu[shard].Lock()
	defer c.mu[shard].Unlock()
	return mark{c.counts[shard], c.epoch.Load()}
}

// put keeps a session that was read, or written, after m was taken, unless a newer one is there or a change was told since.
// Size is that of its record's body in bytes.
func (c *cache) put(s *session.Session, size int, m mark, now time.Time) {
	shard := s.ID[0] % 64
	c.mu[shard].Lock()
	defer c.mu[shard].Unlock()
	if c.counts[shard] != m.count {
		return
	}
	if old, ok := c.entries.GetIfPresent(s.ID); ok && old.s.Version > s.Version {
		return
	}
	c.entries.Set(s.ID, entry{s: s, size: size, loaded: now, epoch: m.epoch})
}

// drop forgets a session, whoever is loading it now.
func (c *cache) drop(id session.ID) {
	shard := id[0] % 64
	c.mu[shard].Lock()
	defer c.mu[shard].Unlock()
	c.counts[shard]++
	c.entries.Invalidate(id)
}

// watch follows the store's changes until ctx ends, and passes each on to then. A watch that breaks is taken up again; then is
// told Lost for what may have been missed in between.
func (c *cache) watch(ctx context.Context, w session.Watcher, then func(session.Change)) {
	for ctx.Err() == nil {
		up := false // this watch is subscribed, and has missed nothing since
		_ = w.Watch(ctx, func(change session.Change) {
			switch change.Kind {
			case session.Changed:
				c.drop(change.ID)
			case session.Lost:
				c.epoch.Store(new(epoch))
				up = false
			case session.Live:
				now := time.Now().UnixNano()
				if !up || now-c.epoch.Load().lastLive.Load() >= int64(watchPatience) {
					c.epoch.Store(new(epoch)) // nobody knows what it did not tell
					then(session.Change{Kind: session.Lost})
				}
				up = true
				c.epoch.Load().lastLive.Store(now)
			}
			then(change)
		})
		c.epoch.Store(new(epoch))
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
