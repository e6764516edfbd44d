package storage

import (
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cloakroom-go/cloakroom/session"
)

// cache keeps opened sessions in memory, bounded in bytes, and knows how far they can be trusted.
type cache struct {
	*trust
	entries *otter.Cache[session.ID, entry]
}

// entry is a session as it was read, and when. Its Carried is its Generation.
type entry struct {
	s      *session.Session
	size   int // of its record's body in bytes
	loaded time.Time
	epoch  *epoch
}

func newCache(maxBytes int64, t *trust) (*cache, error) {
	entries, err := otter.New(&otter.Options[session.ID, entry]{
		MaximumWeight: uint64(maxBytes),
		// The tokens take what they take as text; claims, opened, take up to three times that.
		Weigher: func(_ session.ID, e entry) uint32 { return uint32(1024 + 3*e.size) },
	})
	if err != nil {
		return nil, err
	}
	return &cache{trust: t, entries: entries}, nil
}

// get returns a cached session, and whether it can be taken for the store's own word.
func (c *cache) get(id session.ID, now time.Time) (e entry, trusted, ok bool) {
	e, ok = c.entries.GetIfPresent(id)
	if !ok {
		return entry{}, false, false
	}
	return e, c.holds(e.loaded, e.epoch, now), true
}

// verified is when an entry was last known to be what the store has.
func (c *cache) verified(e entry) time.Time { return lastKnown(e.loaded, e.epoch) }

// put keeps a session that was read, or written, after m was taken, unless a newer one is there or a change was told since.
// Size is that of its record's body in bytes.
func (c *cache) put(s *session.Session, size int, m mark, now time.Time) {
	c.unlessChanged(s.ID, m, func() {
		if old, ok := c.entries.GetIfPresent(s.ID); ok && old.s.Version > s.Version {
			return
		}
		c.entries.Set(s.ID, entry{s: s, size: size, loaded: now, epoch: m.epoch})
	})
}

// drop forgets a session, whoever is loading it now.
func (c *cache) drop(id session.ID) {
	c.changed(id, func() { c.entries.Invalidate(id) })
}
