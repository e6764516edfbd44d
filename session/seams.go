package session

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Store keeps records. It never sees a token in clear, nor knows how a key was made. All methods may be called at once from
// many goroutines and replicas. An error is an *Error: None, Conflict, or Unavailable when the store cannot be reached,
// is full, or is locked. Records are copied, in and out: the caller may change its own. A context that has ended is an error,
// and nothing is written.
type Store interface {
	// Get returns the live record. Missing and expired are one answer: None.
	Get(ctx context.Context, id ID) (Record, error)

	// Put stores rec if the live record has rec.Version, and makes it rec.Version+1. Version 0 means there must be none; an
	// expired record counts as none. Otherwise it returns Conflict: read again and decide again.
	// The same WriteID again is success: a retry after a lost answer must not see its own write as someone else's. A zero
	// WriteID is a fault of the caller. A record that is expired already is stored and read as None.
	Put(ctx context.Context, rec Record) error

	// Delete forgets a record. Forgetting what is not there is no error.
	Delete(ctx context.Context, id ID) error
}

// Record is what a Store keeps.
type Record struct {
	ID      ID
	Version uint64    // what the writer saw; the store keeps Version+1
	WriteID [16]byte  // random, one for each attempt to change
	Expires time.Time // whole milliseconds, UTC; the record is dead from then on
	Index   []Key     // what Find looks for; opaque to the store
	Meta    []byte    // sealed with the keyring: what listing shows
	Body    []byte    // sealed under the ticket: tokens
}

// Key is a keyed hash that records can be found by.
type Key [16]byte

// Optional powers of a Store are interfaces of their own. They are asked for once, when the gateway is put together; a
// feature that needs one the store lacks fails there, not in a request.
type (
	// Index finds records by key, in the order of their ids: at most n of those behind after. The zero ID starts. It may name
	// the dead, and never misses the living.
	Index interface {
		Find(ctx context.Context, key Key, after ID, n int) ([]Record, error)
	}
	// Scanner walks over all records in the order of their ids: at most n of those behind after. The zero ID starts.
	Scanner interface {
		Scan(ctx context.Context, after ID, n int) ([]Record, error)
	}
	// Watcher tells what changed. Watch calls changed until ctx ends or the watch breaks, one call at a time, first with
	// Live once it is subscribed, then with Live at least once a second. Writes that only slide a session may stay untold.
	// It returns Unavailable, with the reason.
	Watcher interface {
		Watch(ctx context.Context, changed func(Change)) error
	}
	// Sweeper removes records that expired before now, and says how many.
	Sweeper interface {
		Sweep(ctx context.Context, now time.Time) (int, error)
	}
	// Pinger says whether the store can be read and written now.
	Pinger interface {
		Ping(ctx context.Context) error
	}
)

// Change is one thing a Watcher has to say.
type Change struct {
	Kind ChangeKind
	ID   ID // of the record, with Changed
}

// ChangeKind tells the kinds of Change apart.
type ChangeKind uint8

// The kinds of Change.
const (
	Changed ChangeKind = iota // the record was written or deleted
	Lost                      // changes may have been missed: forget everything
	Live                      // the watch works; said at first and at every heartbeat
)

// Storage is where the session itself rests, and what the browser's cookie says. Persisting and cookies are apart: cookies
// are written when the final headers go out, and by then someone else may have renewed.
type Storage interface {
	// Load opens the session that r's cookie names, and never writes. None: there is none, or the cookie cannot be opened.
	// Expired: its time is over. Stolen: a superseded ticket after its grace; the Session comes with it, so that it can be
	// ended. BadRequest: two cookies of one of our names. Unavailable: the store is away and no verified copy is young enough.
	Load(ctx context.Context, r *http.Request) (*Session, error)

	// Update changes a session and returns it as it is stored afterwards. change gets a copy of the newest state, again
	// after every conflict. If change returns Unchanged nothing is written and the newest state is returned; any other
	// error of it is returned as it is. A session that is gone meanwhile is Ended: an update never brings one back.
	// A session that was never stored (Version 0, no ID) is stored as a new one.
	Update(ctx context.Context, s *Session, change func(*Session) error) (*Session, error)

	// Write sets the cookies that r's browser needs for s, as s is now known here: nothing if it has them already or if s
	// has ended. A nil s clears every cookie the storage may ever have set.
	Write(w http.ResponseWriter, r *http.Request, s *Session)

	// End ends the selected sessions and returns how many there were. It needs no request. Unlisted: they cannot be found.
	End(ctx context.Context, which Selector) (int, error)
}

// Selector names sessions: one by ID or by LogID, or all of a provider's (issuer, subject), or its (issuer, sid).
type Selector struct {
	ID      ID
	LogID   string
	Issuer  string
	Subject string
	SID     string
}

// Delivery is how the access token reaches the API.
type Delivery interface {
	// Word is what the configuration calls it. Pages and programs are told.
	Word() string

	// Outbound puts the token of s into a request towards the upstream. s is nil for an anonymous request: whatever the
	// delivery would set is removed. It may be called again for the same request, with a newer s.
	Outbound(out *http.Request, s *Session) error

	// Delivered reports whether r's browser has what it needs for s, as far as r can tell.
	Delivered(r *http.Request, s *Session) bool

	// Deliver gives the browser what it needs for s, whether or not it has it. A nil s withdraws whatever the delivery may ever
	// have given. Only [Desk.Write] and [Desk.Deliver] call it, with the newest state of s: a slow answer must not put an older
	// token over a newer one.
	Deliver(w http.ResponseWriter, r *http.Request, s *Session)
}

// Checker is a Delivery that cannot carry every token. It is asked before a session begins. SessionTooLarge, ProviderRefused: see
// Code; the hint says what would fit.
type Checker interface {
	Check(s *Session) error
}

// Mediator is a Delivery whose page holds the access token itself: it gets it by POST token, and its requests to an API bring it.
type Mediator interface {
	// Admit says why r does not open an API for s, whose cookie it came with. TokenRequired: it does not bring the access token of
	// s, nor the one before.
	Admit(r *http.Request, s *Session) error
}

// Provider vouches for people: an OpenID provider, or accounts of our own.
type Provider interface {
	// Begin starts a login. It returns where to send the browser, and what Finish must know of it. ProviderDown: the
	// provider cannot be reached; ProviderLied: its metadata is wrong; ProviderRefused: it refused a pushed request.
	Begin(ctx context.Context, in Intent) (*url.URL, Pending, error)

	// Finish checks the authorization response in this order: state, issuer, error parameter; only then it redeems the code
	// and verifies the ID token. It takes Pending by value and is the only way to get a Grant. LoginLost: state does not
	// match; LoginDenied, LoginWeak, ProviderDown, ProviderRefused, ProviderLied: see Code.
	Finish(ctx context.Context, p Pending, answer url.Values) (Grant, error)

	// Refresh asks for new tokens and changes nothing itself. GrantOver: the refresh token is dead; BadRequest: the provider
	// does not know the scope that is wanted. A token the answer does not carry (refresh token, ID token) is returned as it was.
	// Scope is what the access token is good for, as far as the provider says so.
	Refresh(ctx context.Context, g Grant, want Want) (Tokens, error)

	// End returns where the browser goes to end the session at the provider, and nil when the provider has no such place.
	End(ctx context.Context, g Grant, returnTo *url.URL, state string) (*url.URL, error)
}

// Want is what an access token should be good for. The zero value is all that was granted.
type Want struct {
	Scope    string // names separated by spaces
	Audience string // the one API that it is for (RFC 8707); only of an Addresser
}

// Addresser is a Provider that can make an access token for one API alone: it obeys [Want.Audience].
type Addresser interface {
	// Addressees says whom an access token is for that was asked for by want: what it says itself, else what it was asked for. None: nobody
	// can tell, and it is not used as one for an API.
	Addressees(access string, want Want) []string
}

// Revoker is a Provider that can revoke the tokens of a grant (RFC 7009). A provider without a revocation endpoint
// answers nil.
type Revoker interface {
	Revoke(ctx context.Context, t Tokens) error
}

// SessionRevoker is a Provider that can revoke the tokens of a session that ended elsewhere: without its tokens, by its SID.
type SessionRevoker interface {
	RevokeSession(ctx context.Context, sid string) error
}

// Prober is a part that can say whether it works now: the provider is reachable and its metadata are sound.
type Prober interface {
	Probe(ctx context.Context) error
}
