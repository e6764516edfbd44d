package storage

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Sealed keeps sessions in the browser itself, sealed in cookies: see envelope. It is a session.Storage.
//
// A session has a generation for each renewal, and each generation an envelope of its own. What requests must agree on is in a
// store, for a short time: who renews and what came of it (handoff), which sessions are over and which generations are
// superseded (denials). Replicas that share no store share neither.
//
// A superseded generation stays good until a newer one was presented, plus Grace, as a ticket does: its browser may not have got
// the answer. Unlike a ticket every renewal makes a generation, and a late answer may put one back that is older by as long as
// answers take. So who presents a generation only proves that it cannot fall back behind one that was made Grace before.
type Sealed struct {
	store     session.Store
	denials   *denials
	opened    *otter.Cache[envelopeKey, opened]
	jar       cookie.Jar
	sameSite  http.SameSite
	lives     session.Options
	envelopes envelope
	handoffs  *seal.Box
	seen      *seal.Box
	logIDs    *seal.Lasting
	listeners
}

// opened is an envelope that was opened before. It is never changed, only replaced.
type opened struct {
	text   string           // of the envelope: only who brings all of it again has the session
	key    seal.KeyID       // under which it is sealed: while that is in the ring
	s      *session.Session // Carried is its Generation
	sealed time.Time        // what the envelope says of Life.Seen; the small cookie may say more
	seen   string           // the small cookie from which s.Life.Seen is; "": there was none
	names  []session.ID     // under which it may be denied
	next   *session.Session // the next generation, once there is one
}

// NewSealed returns the storage of sessions of one origin. It follows the store's changes until ctx ends.
func NewSealed(ctx context.Context, store session.Store, ring *seal.Keyring, own origin.Origin, jar cookie.Jar, lives session.Options, o Options) (*Sealed, error) {
	sameSite, err := o.sameSite()
	if err != nil {
		return nil, err
	}
	c := &Sealed{
		store: store, jar: jar, sameSite: sameSite, lives: lives,
		envelopes: envelope{jar: jar, box: ring.Box("session cookie"), host: own.String()},
		handoffs:  ring.Box("session handoff"), seen: ring.Box("session seen"), logIDs: ring.Lasting("log id"),
	}
	c.opened, err = otter.New(&otter.Options[envelopeKey, opened]{
		MaximumWeight: uint64(o.cacheBytes()),
		Weigher:       func(_ envelopeKey, o opened) uint32 { return uint32(1024 + 4*(len(o.text)+len(o.seen))) },
	})
	if err != nil {
		return nil, err
	}
	if c.denials, err = newDenials(store, ring, lives, newTrust()); err != nil {
		return nil, err
	}
	c.denials.follow(ctx, store, c.denials.forget, c.passOn)
	return c, nil
}

// passOn tells listeners of an end. Which sessions a denial is of cannot be told from its name.
func (c *Sealed) passOn(change session.Change) {
	switch {
	case change.Kind != session.Changed:
		c.tell(change)
	case isDenial(change.ID):
		c.tell(session.Change{Kind: session.Lost})
	}
}

// Load opens the session in r's cookies. See session.Storage.
func (c *Sealed) Load(ctx context.Context, r *http.Request) (*session.Session, error) {
	sent := c.jar.Parts(r)
	if sent.Twice {
		return nil, &session.Error{Code: session.BadRequest, Op: "load session", Err: errTwoCookies}
	}
	o, ok := c.find(&sent)
	if !ok {
		return nil, none
	}
	now := time.Now()
	if !now.Before(c.lives.Ends(o.s)) {
		return nil, &session.Error{Code: session.Expired, Op: "load session"}
	}
	v, err := c.denials.check(ctx, o.names, o.s.Life.Created, now, false)
	if err == nil && v.supersedes(o.s, now) { // a verdict that is reached on the store's own word only
		v, err = c.denials.check(ctx, o.names, o.s.Life.Created, now, true)
	}
	switch {
	case session.CodeOf(err) == session.Ended:
		return nil, &session.Error{Code: session.None, Op: "load session", Err: err}
	case err != nil:
		return nil, err
	case v.supersedes(o.s, now):
		return o.s, session.Fail(session.Stolen, "load session", "cookies of generation %d, those before %d are superseded", o.s.Generation, v.floor)
	}
	s := c.newest(o.s)
	if s.Carried == s.Generation && v.rises(s, now) {
		arrived := *s
		arrived.Presented = time.Time{} // nobody has written that down yet
		return &arrived, nil
	}
	return s, nil
}

// supersedes reports whether s is of a generation whose time is over.
func (v verdict) supersedes(s *session.Session, now time.Time) bool {
	return s.Generation < v.dead || s.Generation < v.floor && !now.Before(v.presented.Add(session.Grace))
}

// rises reports whether the verdict is to be written anew because s was presented. One grace after the other: those who are in
// one keep their time.
func (v verdict) rises(s *session.Session, now time.Time) bool {
	return floorOf(s, now) > max(v.floor, 1) && !now.Before(v.presented.Add(session.Grace))
}

// floorOf is the generation behind which a browser cannot fall back that presents s at now: answers that carry an older one have
// all arrived, and s came after them.
func floorOf(s *session.Session, now time.Time) uint32 {
	if s.Generation > s.Floor && now.Sub(s.Life.Renewed) >= session.Grace {
		return s.Generation
	}
	return s.Floor
}

// find returns the envelope that was sent, opened, and what the small cookie says with it.
func (c *Sealed) find(sent *cookie.Parts) (opened, bool) {
	key, count, ok := keyOf(sent)
	if !ok {
		return opened{}, false
	}
	o, known := c.opened.GetIfPresent(key)
	if known && c.envelopes.box.Knows(o.key) && c.matches(&o, sent, count) {
		if o.seen == sent.Seen {
			return o, true
		}
	} else {
		text := joined(sent, count)
		salt, packed, ok := c.envelopes.open(text, count)
		if !ok {
			return opened{}, false
		}
		s, err := c.unpacked(packed, salt)
		if err != nil {
			return opened{}, false
		}
		text = strings.Clone(text) // what is kept must not hold on to the whole header
		o = opened{text: text, key: envelopeSealer(text), s: s, sealed: s.Life.Seen, names: c.denials.namesOf(s), next: o.next}
	}
	s := *o.s
	s.Life.Seen = later(o.sealed, c.openSeen(&s, sent.Seen))
	o.s, o.seen = &s, strings.Clone(sent.Seen)
	c.opened.Set(key, o)
	return o, true
}

// matches reports whether the cookies that were sent are those of o, to the letter. It may take as long as it takes: o was found by
// 24 random bytes, and who knows these has the cookies.
func (c *Sealed) matches(o *opened, sent *cookie.Parts, count int) bool {
	rest, same := o.text, true
	for _, v := range sent.Values[:count] {
		if rest, same = strings.CutPrefix(rest, v); !same {
			return false
		}
	}
	return rest == ""
}

func (c *Sealed) unpacked(packed, salt []byte) (*session.Session, error) {
	s, err := unpack(packed)
	if err != nil {
		return nil, err
	}
	s.Secret, s.Version = salt, 1
	s.Carried, s.Presented, s.LogID = s.Generation, s.Life.Renewed, logID(c.logIDs, s.ID)
	s.Bearer = session.BearerOf(s)
	return s, nil
}

// The small cookie is the time of the last use in milliseconds, sealed under the session's own id: no other session's fits.
func (c *Sealed) seenContext() []byte { return []byte(c.jar.Seen() + "\x00" + c.envelopes.host) }

func (c *Sealed) sealSeen(s *session.Session) string {
	at := binary.BigEndian.AppendUint64(nil, uint64(s.Life.Seen.UnixMilli()))
	return base64.RawURLEncoding.EncodeToString(c.seen.SealUnder(s.ID[:], at, c.seenContext()))
}

// openSeen returns the zero time for what is none: a session without it was last used when it was sealed.
func (c *Sealed) openSeen(s *session.Session, text string) time.Time {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if text == "" || err != nil {
		return time.Time{}
	}
	at, err := c.seen.OpenUnder(s.ID[:], raw, c.seenContext())
	if err != nil || len(at) != 8 {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(at)))
}

// Update changes a session. See session.Storage. That somebody is there is only told to the browser, in Write; all else goes to
// the store.
func (c *Sealed) Update(ctx context.Context, s *session.Session, change func(*session.Session) error) (*session.Session, error) {
	switch {
	case s.Version == 0:
		return c.create(ctx, s, change)
	case !s.Lease.IsZero(): // only the store knows what has become of it
		return c.handOn(ctx, s, change)
	}
	current := c.newest(s)
	next := *current
	err := change(&next)
	switch {
	case errors.Is(err, session.Unchanged):
		next = *current
	case err != nil:
		return nil, err
	case !next.Life.Absolute.Equal(current.Life.Absolute):
		return &next, c.finish(ctx, current)
	case handsOn(current, &next):
		return c.handOn(ctx, current, change)
	case !next.Presented.Equal(current.Presented):
		if err := c.note(ctx, &next); err != nil {
			return nil, err
		}
	}
	return &next, c.live(ctx, &next, false)
}

// live returns Ended for a session that is over.
func (c *Sealed) live(ctx context.Context, s *session.Session, fresh bool) error {
	_, err := c.denials.check(ctx, c.denials.namesOf(s), s.Life.Created, time.Now(), fresh)
	return err
}

// finish ends a session before its time. Of several who do so at once one succeeds; the others get Ended.
func (c *Sealed) finish(ctx context.Context, s *session.Session) error {
	return c.denials.change(ctx, c.denials.nameOf(s.ID), func(v *verdict) error {
		if !s.Life.Created.After(v.upTo) {
			return &session.Error{Code: session.Ended, Op: "end session", Err: errDenied}
		}
		v.upTo = noEnd
		return nil
	})
}

// note writes down that a generation was presented, and with it that those before its floor are superseded.
func (c *Sealed) note(ctx context.Context, s *session.Session) error {
	now := time.Now()
	floor := floorOf(s, now)
	err := c.denials.change(ctx, c.denials.nameOf(s.ID), func(v *verdict) error {
		if !v.rises(s, now) {
			return session.Unchanged
		}
		v.dead, v.floor, v.presented = v.floor, floor, now
		return nil
	})
	if err != nil {
		return err
	}
	// Whoever still comes with the one before has Grace left to learn what came of it.
	id := handoffID(s.ID, floor-1)
	rec, err := c.store.Get(ctx, id)
	if end := now.Add(session.Grace); err == nil && rec.Expires.After(end) {
		rec.Expires, rec.WriteID = end.UTC().Truncate(time.Millisecond), [16]byte(seal.Random(16))
		_ = c.store.Put(ctx, rec) // else it stays for longer, and says nothing to those who are superseded
	}
	return nil
}

// newest returns the newest generation of s that this process knows of.
func (c *Sealed) newest(s *session.Session) *session.Session {
	for range maxHandoffs {
		o, ok := c.opened.GetIfPresent(keyUnder(s.Secret))
		if !ok || o.next == nil {
			break
		}
		s = following(s, o.next)
	}
	return s
}

// following is next as a request sees it that came with s.
func following(s, next *session.Session) *session.Session {
	newer := *next
	newer.Carried, newer.Life.Seen = s.Carried, later(next.Life.Seen, s.Life.Seen)
	return &newer
}

func (c *Sealed) create(ctx context.Context, s *session.Session, change func(*session.Session) error) (*session.Session, error) {
	next := *s
	if err := change(&next); err != nil {
		return nil, err
	}
	next.ID = session.ID(seal.Random(32))
	next.Version, next.LogID = 1, logID(c.logIDs, next.ID)
	// Somebody who was signed out everywhere a moment ago is not kept out: the new session is younger than that.
	for _, name := range c.denials.namesOf(&next)[1:] {
		v, err := c.denials.of(ctx, name, time.Now(), true)
		if err != nil {
			return nil, err
		}
		if !next.Life.Created.After(v.upTo) {
			next.Life.Created = v.upTo.Add(younger)
		}
	}
	next.Floor = 1
	if err := c.begin(&next, 1); err != nil {
		return nil, err
	}
	next.Carried = 0 // the browser does not have it yet
	return &next, nil
}

// begin makes next a generation of its own, and remembers its envelope.
func (c *Sealed) begin(next *session.Session, generation uint32) error {
	next.Generation, next.Presented = generation, next.Life.Renewed
	next.Secret, next.Lease = seal.Random(saltSize), time.Time{}
	next.Bearer = session.BearerOf(next)
	text, err := c.envelopeOf(next)
	if err != nil {
		return err
	}
	s := *next
	s.Carried = generation
	c.opened.Set(keyUnder(s.Secret), opened{text: text, key: envelopeSealer(text), s: &s, sealed: s.Life.Seen, names: c.denials.namesOf(&s)})
	return nil
}

func (c *Sealed) envelopeOf(s *session.Session) (string, error) {
	packed, err := pack(s)
	if err != nil {
		return "", &session.Error{Code: session.Internal, Op: "encode session", Err: err}
	}
	text, ok := c.envelopes.seal(s.Secret, packed)
	if !ok {
		return "", &session.Error{
			Code: session.SessionTooLarge, Op: "seal session", Err: fmt.Errorf("%d bytes sealed do not fit into %d cookies", len(packed), cookie.MaxParts),
			Hint: hintTooLarge,
		}
	}
	return text, nil
}

const hintTooLarge = "session.storage: store keeps sessions of any size; or have the provider issue smaller tokens and fewer claims"

// Write sets the cookies that r's browser lacks. See session.Storage.
func (c *Sealed) Write(w http.ResponseWriter, r *http.Request, s *session.Session) {
	if s == nil {
		c.jar.ClearParts(w, c.sameSite)
		return
	}
	if o, ok := c.opened.GetIfPresent(keyUnder(s.Secret)); ok && o.s == s && o.next == nil {
		return // as it was in the request's own cookies
	}
	newest := c.newest(s)
	if newest.Generation <= s.Carried {
		sent := c.jar.Parts(r)
		if o, ok := c.find(&sent); !ok || !newest.Life.Seen.After(o.s.Life.Seen) {
			return // the browser knows all of it, or has other cookies by now
		}
	} else if current, _, err := c.handed(r.Context(), newest); err == nil {
		newest = current // another replica may have gone on meanwhile
	}
	// The session may have ended while this request was under way, and its end, or a new login, has had its say about the
	// cookies. A late answer must not speak over it.
	now := time.Now()
	v, err := c.denials.settled(r.Context(), c.denials.namesOf(newest), newest.Life.Created, now)
	if err != nil || v.supersedes(newest, now) || !now.Before(c.lives.Ends(newest)) {
		return
	}
	a := cookie.Attributes{SameSite: c.sameSite}
	if c.lives.Persistent || newest.Life.Remember {
		a.MaxAge = newest.Life.Absolute.Sub(now)
	}
	if newest.Generation > s.Carried {
		text, told, err := c.textOf(newest)
		if err != nil {
			return // it fitted before
		}
		c.jar.SetParts(w, r, text, a, s.Carried == 0)
		if !newest.Life.Seen.After(told) {
			return
		}
	}
	c.jar.Set(w, c.jar.Seen(), c.sealSeen(newest), a)
}

// textOf returns the envelope of a generation, and the last use that it tells.
func (c *Sealed) textOf(s *session.Session) (string, time.Time, error) {
	if o, ok := c.opened.GetIfPresent(keyUnder(s.Secret)); ok {
		return o.text, o.sealed, nil
	}
	text, err := c.envelopeOf(s)
	return text, s.Life.Seen, err
}

// End writes down that sessions are over. See session.Storage. How many there were nobody knows: it answers 1.
func (c *Sealed) End(ctx context.Context, which session.Selector) (int, error) {
	name, until := c.denials.nameOf(which.ID), time.Now().Add(clockSkew)
	switch {
	case which.ID != session.ID{}:
		until = noEnd
	case which.LogID != "":
		return 0, &session.Error{
			Code: session.Unlisted, Op: "end sessions", Err: errors.New("sessions that rest in browsers cannot be found by what the logs call them"),
			Hint: "all sessions of a person can be ended at once",
		}
	case which.SID != "":
		name = c.denials.name("sid", which.Issuer, which.SID)
	default:
		name = c.denials.name("sub", which.Issuer, which.Subject)
	}
	err := c.denials.deny(ctx, name, until)
	c.tell(session.Change{Kind: session.Lost})
	if err != nil {
		return 0, err
	}
	return 1, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
