package session

import (
	"cmp"
	"context"
	"hash/maphash"
	"slices"
	"sync"
)

// What Options.WhenFull may say.
const (
	EndOldest = "end_oldest"
	Refuse    = "refuse"
)

// turns has logins of one person count one after the other, within this process.
type turns struct {
	seed maphash.Seed
	mu   [64]sync.Mutex
}

func (t *turns) of(g Grant) *sync.Mutex {
	return &t.mu[maphash.String(t.seed, g.Issuer+"\x00"+g.Subject)%uint64(len(t.mu))]
}

// Admit holds the person of s, which has just been stored and is in no browser yet, to Options.MaxSessions. Where they have more,
// the oldest of the others end, and told hears of each; or s ends, with SessionLimit. replaced are sessions that end with this
// login anyway.
//
// The promise: no more than MaxSessions of a person are in browsers. Whoever counts has stored before, so that of logins at the
// same time the last to count sees all. In one process they count one after the other, and each decision is right. Of
// replicas that count at the same moment each may count the other's: then both refuse, or each ends the other's, and the
// person signs in again.
func (d *Desk) Admit(ctx context.Context, s *Session, replaced []ID, told func(Listed)) error {
	if d.options.MaxSessions == 0 {
		return nil
	}
	turn := d.turns.of(s.Grant)
	turn.Lock()
	defer turn.Unlock()
	ctx = context.WithoutCancel(ctx) // a client that gives up must not leave more behind than there may be
	var others []Listed
	here := false
	for l, err := range d.List(ctx, Selector{Issuer: s.Grant.Issuer, Subject: s.Grant.Subject}) {
		switch {
		case err != nil:
			return err
		case l.ID == s.ID:
			here = true
		case l.Subject == "" || slices.Contains(replaced, l.ID): // the first: its key was retired, and nobody can use it
		default:
			others = append(others, l)
		}
	}
	most := d.options.MaxSessions - 1
	switch {
	case !here || len(others) <= most: // another login has counted s, and ended it
		return nil
	case d.options.WhenFull == Refuse:
		if _, err := d.storage.End(ctx, Selector{ID: s.ID}); err != nil {
			return err
		}
		return Fail(SessionLimit, "open session", "the person has %d others of at most %d sessions", len(others), d.options.MaxSessions)
	}
	slices.SortFunc(others, func(a, b Listed) int { return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.LogID, b.LogID)) })
	for _, l := range others[:len(others)-most] {
		if err := d.EndListed(ctx, l); err != nil {
			return err
		}
		told(l)
	}
	return nil
}
