package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// denials are what a store knows of sessions that rest in browsers. There nothing can be deleted, so that a session is over is
// written down here: under its own id, its person, or the provider's session. Such a denial stands for all sessions of that name
// that began up to a moment, and stays for as long as one of them could. Under a session's own id stands also which generations
// are superseded for good.
type denials struct {
	*trust
	store    session.Store
	key      *seal.Lasting // names people in the store without telling who they are
	verdicts *otter.Cache[session.ID, verdict]
	lives    session.Options
}

// verdict is what the store says of one name.
type verdict struct {
	upTo      time.Time // sessions that began until then are over; zero: none
	floor     uint32    // generations before this one are superseded
	presented time.Time // since it was presented: they are over after Grace
	dead      uint32    // generations before this one are over
	version   uint64    // of the record, 0: there is none

	loaded time.Time
	epoch  *epoch
}

// maxVerdicts bounds how many verdicts are remembered. A session needs two, or three with a session of the provider's.
const maxVerdicts = 300_000

func newDenials(store session.Store, ring *seal.Keyring, lives session.Options, t *trust) (*denials, error) {
	verdicts, err := otter.New(&otter.Options[session.ID, verdict]{MaximumSize: maxVerdicts})
	if err != nil {
		return nil, err
	}
	return &denials{trust: t, store: store, key: ring.Lasting("session denials"), verdicts: verdicts, lives: lives}, nil
}

// clockSkew is by how much replicas' clocks may differ, or one be set back: what began after an end by one clock may have begun
// before it by another. A new session is younger than any end of its person by construction, see create, so this keeps nobody out.
const clockSkew = time.Minute

// noEnd is until when sessions of one id are over that was ended: there is only one, whatever clock it began by.
var noEnd = time.Unix(1<<38, 0)

// denialMark is what the id of a verdict's record ends in, so that its changes can be told from all others.
var denialMark = [8]byte{'d', 'e', 'n', 'i', 'a', 'l', 0, 1}

func isDenial(id session.ID) bool { return [8]byte(id[24:]) == denialMark }

func (d *denials) name(kind string, parts ...string) session.ID {
	text := "denial " + kind
	for _, p := range parts {
		text += "\x00" + p
	}
	id := session.ID(d.key.Sum([]byte(text)))
	copy(id[24:], denialMark[:])
	return id
}

func (d *denials) nameOf(id session.ID) session.ID { return d.name("id", string(id[:])) }

// namesOf are the names under which a session may be denied: first its own.
func (d *denials) namesOf(s *session.Session) []session.ID {
	names := []session.ID{d.nameOf(s.ID), d.name("sub", s.Grant.Issuer, s.Grant.Subject)}
	if s.Grant.SID != "" {
		names = append(names, d.name("sid", s.Grant.Issuer, s.Grant.SID))
	}
	return names
}

var errDenied = errors.New("the session was ended")

// check returns the verdict on a session itself, the first of its names. Ended: it is over. Unavailable: nobody knows, and
// nobody knew recently enough. With fresh it asks the store in any case.
func (d *denials) check(ctx context.Context, names []session.ID, created, now time.Time, fresh bool) (own verdict, err error) {
	for i, name := range names {
		v, err := d.of(ctx, name, now, fresh)
		if err != nil {
			return own, err
		}
		if !created.After(v.upTo) {
			return own, &session.Error{Code: session.Ended, Op: "look for a denial", Err: errDenied}
		}
		if i == 0 {
			own = v
		}
	}
	return own, nil
}

// settled is check for an answer that must not speak over an end. Looking up several names takes its time, and one that was told of
// meanwhile may be of the name that came first: then it looks again.
func (d *denials) settled(ctx context.Context, names []session.ID, created, now time.Time) (verdict, error) {
	before := make([]mark, len(names))
	for range updateAttempts {
		for i, name := range names {
			before[i] = d.mark(name)
		}
		own, err := d.check(ctx, names, created, now, false)
		if err != nil || d.unchanged(names, before) {
			return own, err
		}
	}
	return verdict{}, session.Fail(session.Unavailable, "look for a denial", "%d changes in a row", updateAttempts)
}

func (d *denials) unchanged(names []session.ID, since []mark) bool {
	for i, name := range names {
		same := false
		if d.unlessChanged(name, since[i], func() { same = true }); !same {
			return false
		}
	}
	return true
}

// of returns the verdict on one name.
func (d *denials) of(ctx context.Context, name session.ID, now time.Time, fresh bool) (verdict, error) {
	known, ok := d.verdicts.GetIfPresent(name)
	if ok && !fresh && d.holds(known.loaded, known.epoch, now) {
		return known, nil
	}
	m := d.mark(name)
	rec, err := d.store.Get(ctx, name)
	switch session.CodeOf(err) {
	case "", session.None:
	case session.Unavailable:
		if ok && !fresh && now.Sub(lastKnown(known.loaded, known.epoch)) < d.lives.CacheStale {
			return known, nil
		}
		return verdict{}, err
	default:
		return verdict{}, err
	}
	v, err := decodeVerdict(rec)
	if err != nil {
		return verdict{}, err
	}
	v.loaded, v.epoch = now, m.epoch
	d.unlessChanged(name, m, func() { d.verdicts.Set(name, v) })
	return v, nil
}

// verdictSize is that of a record's body: upTo, presented, floor, dead; times in milliseconds, 0 for none.
const verdictSize = 8 + 8 + 4 + 4

func (v verdict) encode() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, verdictSize), uint64(milliseconds(v.upTo)))
	b = binary.BigEndian.AppendUint64(b, uint64(milliseconds(v.presented)))
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, v.floor), v.dead)
}

// decodeVerdict reads a record. The zero one says nothing.
func decodeVerdict(rec session.Record) (v verdict, err error) {
	switch len(rec.Body) {
	case 0:
		return v, nil
	case verdictSize:
	default:
		return v, session.Fail(session.Internal, "look for a denial", "a record of %d bytes", len(rec.Body))
	}
	v.version, v.upTo, v.presented = rec.Version, ofMilliseconds(rec.Body), ofMilliseconds(rec.Body[8:])
	v.floor, v.dead = binary.BigEndian.Uint32(rec.Body[16:]), binary.BigEndian.Uint32(rec.Body[20:])
	return v, nil
}

func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func ofMilliseconds(b []byte) time.Time {
	ms := int64(binary.BigEndian.Uint64(b))
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// deny ends all sessions of a name that began until then, and those that are younger than an end before by construction.
func (d *denials) deny(ctx context.Context, name session.ID, then time.Time) error {
	return d.change(ctx, name, func(v *verdict) error {
		v.upTo = later(then, v.upTo.Add(younger))
		return nil
	})
}

// younger is by how much a session is made younger than an end that would be its own.
const younger = time.Millisecond

// change writes a verdict anew. decide gets what the store says, again after every conflict; Unchanged leaves it as it is.
func (d *denials) change(ctx context.Context, name session.ID, decide func(*verdict) error) error {
	d.forget(name)
	defer d.forget(name) // somebody may have looked meanwhile
	for range updateAttempts {
		now := time.Now()
		v, err := d.of(ctx, name, now, true)
		if err != nil {
			return err
		}
		if err := decide(&v); errors.Is(err, session.Unchanged) {
			return nil
		} else if err != nil {
			return err
		}
		life := d.lives.Absolute + 2*clockSkew
		if !v.upTo.IsZero() {
			life += d.lives.Absolute // by a clock that was ahead when it began, a session may seem to end that much later
		}
		err = d.store.Put(ctx, session.Record{
			ID: name, Version: v.version, WriteID: [16]byte(seal.Random(16)), Expires: now.Add(life).UTC().Truncate(time.Millisecond), Body: v.encode(),
		})
		if session.CodeOf(err) != session.Conflict {
			return err
		}
	}
	return session.Fail(session.Unavailable, "write verdict", "%d conflicts in a row", updateAttempts)
}

func (d *denials) forget(name session.ID) {
	d.changed(name, func() { d.verdicts.Invalidate(name) })
}
