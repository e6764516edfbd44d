package storage

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// A handoff is how one generation becomes the next. Its record is sealed under the envelope that is superseded, so that only who
// brings that one learns what came of it: when a lease on it ends, and then the next generation. It lives for as long as the
// lease, and then until the next generation was presented, plus Grace.

// maxHandoffs bounds how many generations a request may be behind. Renewals are at least MinimumAge apart; but tokens for one API each, and
// narrower ones, may be asked for many at once, and each may bring the next refresh token.
const maxHandoffs = 64

func handoffID(id session.ID, generation uint32) session.ID {
	return seal.Hash("session handoff", binary.BigEndian.AppendUint32(id[:], generation))
}

// handsOn reports whether a change is one that others must know of.
func handsOn(before, after *session.Session) bool {
	return !after.Lease.Equal(before.Lease) || !after.Life.Renewed.Equal(before.Life.Renewed)
}

// handOn takes a change to the store: a lease, or new tokens.
func (c *Sealed) handOn(ctx context.Context, s *session.Session, change func(*session.Session) error) (*session.Session, error) {
	for range updateAttempts {
		current, version, err := c.handed(ctx, s)
		if err != nil {
			return nil, err
		}
		if err := c.live(ctx, current, true); err != nil {
			return nil, err
		}
		next := *current
		switch err := change(&next); {
		case errors.Is(err, session.Unchanged):
			return current, nil
		case err != nil:
			return nil, err
		case !handsOn(current, &next):
			return &next, nil
		}
		stored, err := c.hand(ctx, current, &next, version)
		if session.CodeOf(err) == session.Conflict {
			continue
		}
		return stored, err
	}
	return nil, session.Fail(session.Unavailable, "update session", "%d conflicts in a row", updateAttempts)
}

// handed follows the handoffs that the store knows, from s to the newest generation.
func (c *Sealed) handed(ctx context.Context, s *session.Session) (newest *session.Session, version uint64, err error) {
	for range maxHandoffs {
		id := handoffID(s.ID, s.Generation)
		rec, err := c.store.Get(ctx, id)
		switch session.CodeOf(err) {
		case "":
		case session.None:
			free := *s
			free.Lease = time.Time{}
			return &free, 0, nil
		default:
			return nil, 0, err
		}
		text, err := c.handoffs.OpenUnder(s.Secret, rec.Body, id[:])
		if err != nil || len(text) < 8 { // its key was retired, or somebody altered it: what came of the session nobody can tell
			return nil, 0, session.Fail(session.Ended, "read handoff", "it cannot be opened: was its key retired, or is it not on all replicas?")
		}
		if len(text) == 8 {
			leased := *s
			leased.Lease = time.Time{}
			if at := int64(binary.BigEndian.Uint64(text)); at != 0 {
				leased.Lease = time.UnixMilli(at)
			}
			return &leased, rec.Version, nil
		}
		next, err := c.unpacked(text[8+saltSize:], text[8:8+saltSize:8+saltSize])
		if err != nil {
			return nil, 0, &session.Error{Code: session.Internal, Op: "read handoff", Err: err}
		}
		c.link(s, next)
		s = following(s, next)
	}
	return nil, 0, session.Fail(session.Unavailable, "read handoff", "%d generations in a row", maxHandoffs)
}

// hand stores what becomes of current, over the version that was read.
func (c *Sealed) hand(ctx context.Context, current, next *session.Session, version uint64) (*session.Session, error) {
	renewed := !next.Life.Renewed.Equal(current.Life.Renewed)
	text := make([]byte, 8)
	expires := next.Lease
	switch {
	case renewed:
		carried := next.Carried
		if time.Since(current.Life.Renewed) >= session.Grace {
			next.Floor = current.Generation
		}
		err := c.begin(next, current.Generation+1)
		if session.CodeOf(err) == session.SessionTooLarge { // and there is no way back: the provider has rotated its tokens
			_, _ = c.End(ctx, session.Selector{ID: current.ID})
			return nil, &session.Error{Code: session.Ended, Op: "seal session", Err: err}
		}
		if err != nil {
			return nil, err
		}
		next.Carried = carried
		packed, err := pack(next)
		if err != nil {
			return nil, &session.Error{Code: session.Internal, Op: "encode session", Err: err}
		}
		text = append(append(text, next.Secret...), packed...)
		expires = time.Now().Add(c.lives.Idle + session.Grace) // a browser that did not get it may come back for as long
	case next.Lease.IsZero():
		expires = time.Now().Add(time.Second) // given back: nobody needs to know for long
	default:
		binary.BigEndian.PutUint64(text, uint64(next.Lease.UnixMilli()))
		next.Lease = time.UnixMilli(next.Lease.UnixMilli())
	}
	id := handoffID(current.ID, current.Generation)
	err := c.store.Put(ctx, session.Record{
		ID: id, Version: version, WriteID: [16]byte(seal.Random(16)), Expires: expires.UTC().Truncate(time.Millisecond),
		Body: c.handoffs.SealUnder(current.Secret, text, id[:]),
	})
	if err != nil || !renewed {
		return next, err
	}
	c.link(current, next)
	// It may have ended while it was renewed: then nobody gets what was stored, and the renewer has it revoked.
	if err := c.live(ctx, next, true); session.CodeOf(err) == session.Ended {
		return nil, err
	}
	return next, nil
}

// link remembers that next comes after s.
func (c *Sealed) link(s, next *session.Session) {
	key := keyUnder(s.Secret)
	if o, ok := c.opened.GetIfPresent(key); ok && o.next == nil {
		known := *next
		known.Carried = known.Generation
		o.next = &known
		c.opened.Set(key, o)
	}
}
