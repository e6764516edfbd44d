package session

import (
	"context"
	"hash/maphash"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
)

// Desk takes a request's ticket and finds the session that belongs to it. Everything that serves requests goes through it,
// so that presenting, sliding, renewing and theft mean the same everywhere.
type Desk struct {
	storage  Storage
	lister   Lister // nil: the storage is none
	delivery Delivery
	renewer  *Renewer
	options  Options
	audit    audit.Sink
	turns    turns
}

// NewDesk returns a desk over a storage and a delivery.
func NewDesk(storage Storage, delivery Delivery, renewer *Renewer, options Options, sink audit.Sink) *Desk {
	lister, _ := storage.(Lister)
	return &Desk{storage: storage, lister: lister, delivery: delivery, renewer: renewer, options: options, audit: sink, turns: turns{seed: maphash.MakeSeed()}}
}

// Look returns the session of r without counting as activity: it neither slides nor renews (T4). Its errors are
// [Storage.Load]'s.
func (d *Desk) Look(ctx context.Context, r *http.Request) (*Session, error) {
	s, err := d.storage.Load(ctx, r)
	if err != nil {
		return nil, d.end(ctx, s, err)
	}
	if s.Carried == s.Generation && !s.Presented.IsZero() {
		return s, nil
	}
	return d.note(ctx, s, time.Now(), false)
}

// Use returns the session of r for a request that counts as activity, with an access token that is valid now. Beyond
// Look's errors it answers GrantOver or Ended when the session turned out to be over, and ProviderDown or ProviderRefused when
// the access token has expired and the provider does not renew it now.
func (d *Desk) Use(ctx context.Context, r *http.Request) (*Session, error) {
	s, err := d.storage.Load(ctx, r)
	if err != nil {
		return nil, d.end(ctx, s, err)
	}
	now := time.Now()
	if s.Carried != s.Generation || s.Presented.IsZero() || d.options.SlideDue(s, now) {
		if s, err = d.note(ctx, s, now, true); err != nil {
			return nil, err
		}
	}
	return d.renewer.Fresh(ctx, s)
}

// note writes down what a request tells us: that the current ticket arrived at the browser, and that someone is there. A
// store that is away does not stop the request: Load has judged how old its knowledge may be.
func (d *Desk) note(ctx context.Context, s *Session, now time.Time, slide bool) (*Session, error) {
	noted, err := d.storage.Update(ctx, s, func(c *Session) error {
		arrived := s.Carried > c.Generation || s.Carried == c.Generation && c.Presented.IsZero()
		slides := slide && d.options.SlideDue(c, now)
		if arrived {
			// A generation that is newer than the record's was ours: the store lost a write, in a power cut perhaps.
			c.Generation, c.Presented = s.Carried, now
		}
		if slides {
			c.Life.Seen = now
		}
		if !arrived && !slides {
			return Unchanged
		}
		return nil
	})
	switch CodeOf(err) {
	case "":
		carried := *noted
		carried.Carried = s.Carried
		return &carried, nil
	case Unavailable:
		return s, nil
	}
	return nil, err
}

// end carries out a verdict of theft. Two hold the ticket, and which of them is the person cannot be told.
func (d *Desk) end(ctx context.Context, s *Session, err error) error {
	if CodeOf(err) != Stolen || s == nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	// The verdict is one conditional write: of several requests that come to it at once only one ends the session and says so,
	// and what that one wrote is over even if the record cannot be removed any more.
	_, endErr := d.storage.Update(ctx, s, func(c *Session) error {
		now := time.Now()
		if !now.Before(c.Life.Absolute) {
			return &Error{Code: Ended, Op: "end stolen session"}
		}
		c.Life.Absolute = now
		return nil
	})
	if endErr != nil {
		return endErr // another was first and has said why; or nothing was written: no answer is better than one that lets a thief stay
	}
	_, _ = d.storage.End(ctx, Selector{ID: s.ID})
	d.audit.Record(ctx, s.Event(audit.Theft, string(Stolen)))
	d.renewer.Discard(s, string(Stolen))
	return err
}

// Discard tells the provider that the tokens of a session that has ended are no longer needed; see [Renewer.Discard].
func (d *Desk) Discard(s *Session, reason string) { d.renewer.Discard(s, reason) }

// Renew renews the access token of s now, unless it is younger than MinimumAge or newer than s.
func (d *Desk) Renew(ctx context.Context, s *Session) (*Session, error) {
	return d.renewer.Renew(ctx, s)
}

// Narrow asks for an access token of s with a narrower scope; see [Renewer.Narrow].
func (d *Desk) Narrow(ctx context.Context, s *Session, scope string) (Tokens, error) {
	return d.renewer.Narrow(ctx, s, scope)
}

// For returns s as an upstream is to see it that goes by the name of audience; see [Renewer.For].
func (d *Desk) For(ctx context.Context, s *Session, audience string) (*Session, error) {
	return d.renewer.For(ctx, s, audience)
}

// RenewFor renews what For returned; see [Renewer.RenewFor].
func (d *Desk) RenewFor(ctx context.Context, s, refused *Session, audience string) (*Session, error) {
	return d.renewer.RenewFor(ctx, s, refused, audience)
}

// Current returns the newest state of a session that a request still works with: Ended or Expired when it is over. It
// writes nothing.
func (d *Desk) Current(ctx context.Context, s *Session) (*Session, error) {
	current, err := d.storage.Update(ctx, s, func(*Session) error { return Unchanged })
	if err != nil {
		return nil, err
	}
	if !time.Now().Before(d.options.Ends(current)) {
		return nil, &Error{Code: Expired, Op: "look at session"}
	}
	return current, nil
}

// Write sets the cookies that r's browser needs, the session's and the token's, as they are known now. A nil s clears all of them.
// Call it when the final headers go out.
func (d *Desk) Write(w http.ResponseWriter, r *http.Request, s *Session) {
	d.storage.Write(w, r, s)
	switch {
	case s == nil:
		d.delivery.Deliver(w, r, nil)
	case !d.delivery.Delivered(r, s):
		d.Deliver(w, r, s)
	}
}

// Deliver gives r's browser what the delivery keeps there, also if it seems to have it: an API on another host may see less than we
// do. Call it when the final headers go out.
func (d *Desk) Deliver(w http.ResponseWriter, r *http.Request, s *Session) {
	// What another request has renewed or ended meanwhile has had its own answer. A late one must not speak over it.
	current, err := d.Current(r.Context(), s)
	if err != nil {
		return // it is over, or nobody knows: the next answer will say
	}
	d.delivery.Deliver(w, r, current)
}

// Ends returns when s is over, as it is known now.
func (d *Desk) Ends(s *Session) time.Time { return d.options.Ends(s) }
