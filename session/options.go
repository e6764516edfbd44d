package session

import (
	"errors"
	"time"
)

// Unchanged is what a change function returns to leave a session as it is.
var Unchanged = errors.New("session: unchanged")

// Options are the lifetimes of sessions, and how many a person may have. The zero value is not usable; DefaultOptions is.
type Options struct {
	Idle        time.Duration // end a session after this long without a request; at least a minute
	Absolute    time.Duration // end a session this long after the login, whatever happens; at least Idle
	Persistent  bool          // keep the cookie when the browser closes
	MaxSessions int           // that a person may have at a time; 0: any number. It needs a Storage that is a Lister
	WhenFull    string        // what a login beyond that does: EndOldest (default) or Refuse
	CacheStale  time.Duration // while the store is away, go on with sessions verified this recently; 0 to 60 s
}

// DefaultOptions returns 30 minutes idle, 12 hours absolute, no persistence, 10 seconds stale.
func DefaultOptions() Options {
	return Options{Idle: 30 * time.Minute, Absolute: 12 * time.Hour, CacheStale: 10 * time.Second}
}

// Grace is how long a superseded ticket stays good once its successor was presented.
const Grace = 30 * time.Second

// Ends returns when s is over: at its absolute end, after Idle without a slide, or with its refresh token. A session without a
// refresh token ends with its access token.
func (o Options) Ends(s *Session) time.Time {
	end := s.Life.Absolute
	t := s.Grant.Tokens
	switch {
	case t.Refresh == "" && !t.Expires.IsZero():
		end = earlier(end, t.Expires)
	case t.Refresh != "" && !t.RefreshExpires.IsZero():
		end = earlier(end, t.RefreshExpires)
	}
	return earlier(end, o.IdleEnds(s))
}

// IdleEnds returns when s ends if no request comes.
func (o Options) IdleEnds(s *Session) time.Time { return s.Life.Seen.Add(o.Idle) }

// SlideDue reports whether a request at now should move Seen: at most once in a tenth of Idle, and once in a minute, or in half
// of Idle where that is less.
func (o Options) SlideDue(s *Session, now time.Time) bool {
	return now.Sub(s.Life.Seen) >= max(o.Idle/10, min(time.Minute, o.Idle/2))
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
