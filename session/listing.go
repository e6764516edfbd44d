package session

import (
	"context"
	"iter"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
)

// Listed is a session as it is known without its ticket: to the person on another device, and to those who run the gateway.
// It opens nothing.
type Listed struct {
	ID      ID
	LogID   string // what it is called outside of the store; see Session.LogID
	Expires time.Time

	// The rest is zero for a record that does not say, of a retired key perhaps.
	Provider string
	Issuer   string
	Subject  string
	SID      string
	Created  time.Time
	Seen     time.Time // the last slide; how old it may be says Options.SlideDue
	Device   Device
}

// Event returns the audit event of something that happens to l now.
func (l *Listed) Event(action audit.Action, reason string) audit.Event {
	return audit.Event{Time: time.Now(), Action: action, Session: l.LogID, Provider: l.Provider, Issuer: l.Issuer, Subject: l.Subject, Reason: reason}
}

// Lister is a Storage that knows which sessions there are. One that keeps them in browsers does not.
type Lister interface {
	// List goes over the living sessions that which selects, in no order. An error is the last it yields; Unlisted: the store
	// cannot find them. Sessions may end, and the one at hand be ended, on the way.
	List(ctx context.Context, which Selector) iter.Seq2[Listed, error]

	// All goes over all that live from its beginning to its end; one that begins meanwhile may be missed.
	All(ctx context.Context) iter.Seq2[Listed, error]
}

// errUnlisted is what a storage says that keeps sessions in browsers.
var errUnlisted = &Error{
	Code: Unlisted, Op: "list sessions", Err: Fail(Unlisted, "", "the sessions rest in browsers, so nobody knows which there are"),
	Hint: "session.storage: store keeps them where they can be listed",
}

// List goes over the living sessions that which selects; see [Lister]. Unlisted: this storage, or its store, cannot list them.
func (d *Desk) List(ctx context.Context, which Selector) iter.Seq2[Listed, error] {
	if d.lister == nil {
		return func(yield func(Listed, error) bool) { yield(Listed{}, errUnlisted) }
	}
	return d.lister.List(ctx, which)
}

// All goes over all living sessions; see [Lister] and List.
func (d *Desk) All(ctx context.Context) iter.Seq2[Listed, error] {
	if d.lister == nil {
		return func(yield func(Listed, error) bool) { yield(Listed{}, errUnlisted) }
	}
	return d.lister.All(ctx)
}

// EndListed ends a session without its ticket. Its tokens are sealed under that, so nobody can revoke them but a [SessionRevoker].
func (d *Desk) EndListed(ctx context.Context, l Listed) error {
	if _, err := d.storage.End(ctx, Selector{ID: l.ID}); err != nil {
		return err
	}
	d.renewer.discardListed(ctx, l)
	return nil
}

// Revoke ends the sessions that which selects, as EndListed does, and tells of each. Where sessions cannot be listed, those of a person
// are ended all the same; listed is false then, and nobody knows how many they were.
func (d *Desk) Revoke(ctx context.Context, which Selector, told func(Listed)) (ended int, listed bool, err error) {
	if d.lister == nil {
		_, err := d.storage.End(ctx, which)
		return 0, false, err
	}
	ended, err = d.revoke(ctx, d.lister.List(ctx, which), told)
	return ended, true, err
}

// RevokeAll ends all sessions, and tells of each. One that begins meanwhile may stay.
func (d *Desk) RevokeAll(ctx context.Context, told func(Listed)) (ended int, err error) {
	if d.lister == nil {
		return 0, &Error{
			Code: Unlisted, Op: errUnlisted.Op, Err: errUnlisted.Err,
			Hint: "to end all of them at once, give the gateway new keys: nothing in a cookie can be opened then (docs/operations.md, \"A leaked or lost key\")",
		}
	}
	return d.revoke(ctx, d.lister.All(ctx), told)
}

func (d *Desk) revoke(ctx context.Context, sessions iter.Seq2[Listed, error], told func(Listed)) (ended int, err error) {
	for l, err := range sessions {
		if err != nil {
			return ended, err
		}
		if err := d.EndListed(ctx, l); err != nil {
			return ended, err
		}
		ended++
		told(l)
	}
	return ended, nil
}
