package storage

import (
	"context"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Notes keeps small things for a short time in the store: which logins are spent, where a logout goes on. What a note says is
// sealed under its name, which the store does not know either.
type Notes struct {
	store session.Store
	box   *seal.Box
}

// NewNotes returns notes in a store.
func NewNotes(store session.Store, ring *seal.Keyring) *Notes {
	return &Notes{store: store, box: ring.Box("note")}
}

func noteID(kind, name string) session.ID { return seal.Hash("note "+kind, []byte(name)) }

// Put leaves a note. Name must be unguessable where the note is secret. Conflict: there is one of that name.
func (n *Notes) Put(ctx context.Context, kind, name string, text []byte, life time.Duration) error {
	id := noteID(kind, name)
	return n.store.Put(ctx, session.Record{
		ID: id, WriteID: [16]byte(seal.Random(16)), Expires: time.Now().Add(life).UTC().Truncate(time.Millisecond),
		Body: n.box.SealUnder([]byte(name), text, id[:]),
	})
}

// Take reads a note and removes it. None: there is none, or it was taken.
func (n *Notes) Take(ctx context.Context, kind, name string) ([]byte, error) {
	id := noteID(kind, name)
	rec, err := n.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	// Whoever overwrites it first has it: a plain delete would let two readers pass.
	taken := session.Record{ID: id, Version: rec.Version, WriteID: [16]byte(seal.Random(16)), Expires: rec.Expires}
	switch err := n.store.Put(ctx, taken); {
	case session.CodeOf(err) == session.Conflict:
		return nil, &session.Error{Code: session.None, Op: "take note", Err: err}
	case err != nil:
		return nil, err
	}
	if len(rec.Body) == 0 {
		return nil, &session.Error{Code: session.None, Op: "take note"}
	}
	_ = n.store.Delete(ctx, id) // what is left says nothing, and goes when its time is over
	text, err := n.box.OpenUnder([]byte(name), rec.Body, id[:])
	if err != nil {
		return nil, &session.Error{Code: session.None, Op: "take note", Err: err}
	}
	return text, nil
}
