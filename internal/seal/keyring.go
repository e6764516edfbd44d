package seal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Keyring is the keys of one installation. One of them seals, all of them open. Reload gives it others while it is in use; boxes
// and what else was made from it follow.
type Keyring struct {
	current atomic.Pointer[ring]

	read func(context.Context) ([]string, error) // nil: the keys stay as they are
	told func(error)

	reload sync.Mutex
	made   time.Time
	rest   atomic.Int64 // for so long from made on no unknown key has the texts read
}

// ring is the keys of a Keyring at one time. It never changes.
type ring struct {
	entries [][]Key
	byID    map[KeyID]Key
	index   []byte // what Lasting derives from
	pinned  bool   // index has a line of its own
}

// NewKeyring returns the ring of the keys in texts: 1 to 16 of them, each text a key or a file of keys. The first text with a
// key whose time has come has the one that seals.
func NewKeyring(texts ...string) (*Keyring, error) {
	now, err := newRing(texts)
	if err != nil {
		return nil, err
	}
	r := &Keyring{made: time.Now()}
	r.current.Store(now)
	return r, nil
}

func newRing(texts []string) (*ring, error) {
	r := &ring{byID: map[KeyID]Key{}}
	var last Key
	from := map[KeyID]int{}
	for i, text := range texts {
		e, err := parseEntry(text)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		for _, k := range e.keys {
			if before := from[k.id]; before != 0 {
				return nil, fmt.Errorf("key %s is there twice: %d and %d of the list have it", k.id, before, i+1)
			}
			r.byID[k.id], from[k.id], last = k, i+1, k
		}
		if e.index != nil {
			if r.index != nil && !Equal(r.index, e.index) {
				return nil, errors.New("there are two index lines, and they differ; keep the one of the older file")
			}
			r.index, r.pinned = e.index, true
		}
		r.entries = append(r.entries, e.keys)
	}
	if len(r.byID) == 0 || len(r.byID) > MaxKeys {
		return nil, fmt.Errorf("a keyring has 1 to %d keys, not %d", MaxKeys, len(r.byID))
	}
	if r.index == nil {
		r.index = derive(last.secret, "index", 32)
	}
	if _, ok := r.active(time.Now()); !ok {
		first := r.earliest()
		return nil, fmt.Errorf("no key seals yet: the first, %s, does from %s; leave its active_from out", first.id, first.activeFrom.UTC().Format(time.RFC3339))
	}
	return r, nil
}

// active returns the key that seals at a time, and false if none does yet.
func (r *ring) active(at time.Time) (sealer Key, ok bool) {
	for _, keys := range r.entries {
		for _, k := range keys {
			if !k.activeFrom.After(at) && (!ok || k.activeFrom.After(sealer.activeFrom)) {
				sealer, ok = k, true
			}
		}
		if ok {
			return sealer, true
		}
	}
	return Key{}, false
}

func (r *ring) earliest() (first Key) {
	for _, keys := range r.entries {
		for _, k := range keys {
			if first.secret == nil || k.activeFrom.Before(first.activeFrom) {
				first = k
			}
		}
	}
	return first
}

// sealer is active for a ring in use. There was an active key when it was made; if the clock was set back since, the earliest seals.
func (r *ring) sealer() KeyID {
	if k, ok := r.active(time.Now()); ok {
		return k.id
	}
	return r.earliest().id
}

// What an unknown key may cost: whoever makes keys up has the texts read once in a while, and nobody wait for long.
const (
	reloadRest   = 10 * time.Second
	reloadWithin = 2 * time.Second
)

// Follow has the ring read its texts anew by read: in Reload, and when something comes that an unknown key sealed. told hears what came
// of it. Call it before the ring is used.
func (r *Keyring) Follow(read func(context.Context) ([]string, error), told func(error)) {
	r.read, r.told = read, told
}

// Reload reads the texts anew and takes what is in them now. If that is no ring, the one from before stays.
func (r *Keyring) Reload(ctx context.Context) error {
	r.reload.Lock()
	defer r.reload.Unlock()
	if r.read == nil {
		return errors.New("there is nothing to read keys from")
	}
	_, err := r.take(ctx)
	r.told(err)
	return err
}

// take reports whether there was anything new.
func (r *Keyring) take(ctx context.Context) (bool, error) {
	texts, err := r.read(ctx)
	if err != nil {
		return false, err
	}
	next, err := newRing(texts)
	if err != nil {
		return false, err
	}
	before := r.current.Load()
	if !Equal(next.index, before.index) && next.shares(before) {
		return false, errors.New("the index key is another, though keys stayed: sessions could not be found, and ended ones not be told " +
			"from others; put its line back, or restart to have it all the same")
	}
	if next.equal(before) {
		return false, nil
	}
	r.current.Store(next)
	return true, nil
}

func (r *ring) has(id KeyID) bool { _, ok := r.byID[id]; return ok }

// shares reports whether two rings have a key in common.
func (r *ring) shares(other *ring) bool {
	for id := range r.byID {
		if other.has(id) {
			return true
		}
	}
	return false
}

func (r *ring) equal(other *ring) bool {
	same := func(a, b Key) bool { return a.id == b.id && a.activeFrom.Equal(b.activeFrom) }
	entries := func(a, b []Key) bool { return slices.EqualFunc(a, b, same) }
	return slices.EqualFunc(r.entries, other.entries, entries) && Equal(r.index, other.index)
}

// learns reports whether reading the texts anew made an unknown key known. Replicas do not get a new key all at the same moment.
func (r *Keyring) learns(id KeyID) bool {
	if r.read == nil || time.Since(r.made) < time.Duration(r.rest.Load()) {
		return false
	}
	r.reload.Lock()
	defer r.reload.Unlock()
	if r.current.Load().has(id) {
		return true
	}
	if time.Since(r.made) < time.Duration(r.rest.Load()) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), reloadWithin)
	defer cancel()
	changed, err := r.take(ctx)
	r.rest.Store(int64(time.Since(r.made) + reloadRest))
	if changed || err != nil {
		r.told(err)
	}
	return r.current.Load().has(id)
}

// derived is what a purpose needs of a ring, made once for each ring that a Keyring has. It costs its readers two atomic loads.
type derived[T any] struct {
	keys *Keyring
	make func(*ring) T
	last atomic.Pointer[derivation[T]]
}

type derivation[T any] struct {
	ring  *ring
	value T
}

func (d *derived[T]) get() *derivation[T] {
	now := d.keys.current.Load()
	if made := d.last.Load(); made != nil && made.ring == now {
		return made
	}
	made := &derivation[T]{now, d.make(now)} // by several at once, it may be: they make the same
	d.last.Store(made)
	return made
}

// Lasting is a key that the rotation and the retirement of sealing keys do not change: what is looked up by it is found later, and
// what others hold of it stays good. All of them come from the ring's index key, which is derived from the ring's last key or, once
// keys were rotated, has a line of its own.
type Lasting struct{ key derived[[]byte] }

// Lasting returns the lasting key for a purpose, a short constant text.
func (r *Keyring) Lasting(purpose string) *Lasting {
	l := &Lasting{}
	l.key.keys, l.key.make = r, func(now *ring) []byte { return derive(now.index, "lasting "+purpose, 32) }
	return l
}

// Key returns the key itself, of 32 bytes. Do not change it.
func (l *Lasting) Key() []byte { return l.key.get().value }

// Sum returns 32 bytes that name text and tell nothing about it.
func (l *Lasting) Sum(text []byte) [32]byte { return HMAC(l.Key(), text) }

// Seal is Box.Seal for what is kept for years, like a secret that somebody shares with us. The price is that its key is never another.
func (l *Lasting) Seal(plain, context []byte) []byte {
	return sealWith(newAEAD(derive(l.Key(), "seal", 32)), KeyID{}, plain, context)
}

// Open returns what Seal sealed, or ErrOpen.
func (l *Lasting) Open(sealed, context []byte) ([]byte, error) {
	if len(sealed) < Overhead {
		return nil, ErrOpen
	}
	return openWith(newAEAD(derive(l.Key(), "seal", 32)), sealed, context)
}

// Member is a key of a ring as people see it.
type Member struct {
	ID         KeyID
	Text       int       // which of the ring's texts it is in
	ActiveFrom time.Time // zero: since ever
	Seals      bool      // now
	Until      time.Time // it sealed until then, or will; zero: nobody knows
}

// Members are the keys, in the order of the texts.
func (r *Keyring) Members() []Member {
	now := r.current.Load()
	turns := []time.Time{{}} // when another key may begin to seal
	for _, k := range now.byID {
		turns = append(turns, k.activeFrom)
	}
	slices.SortFunc(turns, time.Time.Compare)
	until := map[KeyID]time.Time{}
	for i, turn := range turns[1:] {
		if k, ok := now.active(turns[i]); ok {
			until[k.id] = turn
		}
	}
	last, _ := now.active(turns[len(turns)-1])
	delete(until, last.id)
	var all []Member
	for i, keys := range now.entries {
		for _, k := range keys {
			all = append(all, Member{ID: k.id, Text: i, ActiveFrom: k.activeFrom, Seals: k.id == now.sealer(), Until: until[k.id]})
		}
	}
	return all
}

// Pinned reports whether the index key has a line of its own, so that any other key can go.
func (r *Keyring) Pinned() bool { return r.current.Load().pinned }
