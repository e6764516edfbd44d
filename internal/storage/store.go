// Package storage is where a session rests: here, in a store, with a ticket in the browser's cookie.
package storage

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Tickets keeps sessions in a store; the browser gets a ticket. It is a session.Storage.
type Tickets struct {
	store    session.Store
	cache    *cache
	jar      cookie.Jar
	sameSite http.SameSite
	lives    session.Options

	tickets *seal.MAC     // authenticates what the browser holds
	bodies  *seal.Box     // seals what the store holds
	metas   *seal.Box     // seals what is listed
	index   *seal.Lasting // names people in the store's index
	logIDs  *seal.Lasting // names sessions in logs, and to people

	listeners
}

// NewTickets returns the storage over a store. It follows the store's changes until ctx ends.
func NewTickets(ctx context.Context, store session.Store, ring *seal.Keyring, jar cookie.Jar, lives session.Options, o Options) (*Tickets, error) {
	sameSite, err := o.sameSite()
	if err != nil {
		return nil, err
	}
	t := &Tickets{
		store: store, jar: jar, lives: lives, sameSite: sameSite,
		tickets: ring.MAC("ticket"), bodies: ring.Box("session body"), metas: ring.Box("session meta"),
		index: ring.Lasting("session index"), logIDs: ring.Lasting("log id"),
	}
	if t.cache, err = newCache(o.cacheBytes(), newTrust()); err != nil {
		return nil, err
	}
	t.cache.follow(ctx, store, t.cache.drop, t.tell)
	return t, nil
}

var errTwoCookies = errors.New("two session cookies: which one is ours cannot be told")

// Load opens the session that r's cookie names. See session.Storage.
func (t *Tickets) Load(ctx context.Context, r *http.Request) (*session.Session, error) {
	value, count := cookie.Get(r, t.jar.Session())
	switch {
	case count == 0:
		return nil, none
	case count > 1:
		return nil, &session.Error{Code: session.BadRequest, Op: "load session", Err: errTwoCookies}
	}
	ticket, ok := decodeTicket(t.tickets, value)
	if !ok {
		return nil, none
	}
	id, now := ticket.id(), time.Now()
	if e, trusted, _ := t.cache.get(id, now); trusted && ticket.generation <= e.s.Generation && t.verdict(e.s, ticket.generation, now) == nil {
		return carried(e.s, ticket.generation), nil
	}
	// No verdict is ever reached on what a cache says: another replica may have renewed, slid or ended it.
	s, err := t.read(ctx, id, ticket.secret[:])
	if session.CodeOf(err) == session.Unavailable {
		if e, _, ok := t.cache.get(id, now); ok && now.Sub(t.cache.verified(e)) < t.lives.CacheStale && t.verdict(e.s, ticket.generation, now) == nil {
			return carried(e.s, ticket.generation), nil
		}
	}
	if err != nil {
		return nil, err
	}
	if err := t.verdict(s, ticket.generation, now); err != nil {
		return s, err
	}
	return carried(s, ticket.generation), nil
}

// none is the answer to a request without a session. It is made once: it is the commonest.
var none = &session.Error{Code: session.None, Op: "load session"}

// verdict says whether a ticket of this generation may use s at now.
func (t *Tickets) verdict(s *session.Session, generation uint32, now time.Time) error {
	if !now.Before(t.lives.Ends(s)) {
		return &session.Error{Code: session.Expired, Op: "load session"}
	}
	if generation >= s.Generation {
		return nil // newer than the record: ours too, see session.Desk
	}
	inGrace := s.Presented.IsZero() || now.Before(s.Presented.Add(session.Grace))
	if generation == s.Generation-1 && inGrace {
		return nil
	}
	return session.Fail(session.Stolen, "load session", "ticket of generation %d, current is %d", generation, s.Generation)
}

func carried(s *session.Session, generation uint32) *session.Session {
	if s.Carried == generation {
		return s
	}
	c := *s
	c.Carried = generation
	return &c
}

// read gets a session from the store and keeps it in the cache.
func (t *Tickets) read(ctx context.Context, id session.ID, secret []byte) (*session.Session, error) {
	m := t.cache.mark(id)
	rec, err := t.store.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	s, err := t.open(rec, secret)
	if err != nil {
		return nil, err
	}
	t.cache.put(s, len(rec.Body), m, time.Now())
	return s, nil
}

// open decodes a record. One that cannot be opened is as good as none: its key was retired, or somebody altered it.
func (t *Tickets) open(rec session.Record, secret []byte) (*session.Session, error) {
	text, err := t.bodies.OpenUnder(secret, rec.Body, rec.ID[:])
	if err != nil {
		return nil, &session.Error{Code: session.None, Op: "open session", Err: err}
	}
	s, err := decodeBody(text)
	if err != nil {
		return nil, &session.Error{Code: session.None, Op: "open session", Err: err}
	}
	s.ID, s.Version, s.Secret, s.Carried = rec.ID, rec.Version, secret, s.Generation
	s.LogID = logID(t.logIDs, rec.ID)
	s.Bearer = session.BearerOf(s)
	return s, nil
}

func logID(names *seal.Lasting, id session.ID) string {
	sum := names.Sum(id[:])
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// updateAttempts bounds how often an update decides again after a conflict.
const updateAttempts = 20

// Update changes a session. See session.Storage.
func (t *Tickets) Update(ctx context.Context, s *session.Session, change func(*session.Session) error) (*session.Session, error) {
	if s.Version == 0 {
		return t.create(ctx, s, change)
	}
	for range updateAttempts {
		m := t.cache.mark(s.ID)
		current, err := t.newest(ctx, s)
		if err != nil {
			return nil, err
		}
		next := *current
		switch err := change(&next); {
		case errors.Is(err, session.Unchanged):
			return current, nil
		case err != nil:
			return nil, err
		}
		stored, err := t.put(ctx, &next, m)
		if session.CodeOf(err) == session.Conflict {
			t.cache.drop(s.ID)
			continue
		}
		return stored, err
	}
	return nil, session.Fail(session.Unavailable, "update session", "%d conflicts in a row", updateAttempts)
}

// newest returns the session as the store has it: from the cache where that can be trusted.
func (t *Tickets) newest(ctx context.Context, s *session.Session) (*session.Session, error) {
	if e, trusted, _ := t.cache.get(s.ID, time.Now()); trusted && e.s.Version >= s.Version {
		return e.s, nil
	}
	current, err := t.read(ctx, s.ID, s.Secret)
	if session.CodeOf(err) == session.None {
		return nil, &session.Error{Code: session.Ended, Op: "update session"}
	}
	return current, err
}

func (t *Tickets) create(ctx context.Context, s *session.Session, change func(*session.Session) error) (*session.Session, error) {
	next := *s
	if err := change(&next); err != nil {
		return nil, err
	}
	next.Secret = seal.Random(32)
	first := ticket{secret: [32]byte(next.Secret)}
	next.ID, next.Generation, next.Presented = first.id(), 1, time.Time{}
	next.LogID = logID(t.logIDs, next.ID)
	stored, err := t.put(ctx, &next, t.cache.mark(next.ID))
	if err != nil {
		return nil, err
	}
	return carried(stored, 0), nil // the browser does not have it yet
}

// put stores next over the version it was read with.
func (t *Tickets) put(ctx context.Context, next *session.Session, m mark) (*session.Session, error) {
	text, err := encodeBody(next)
	if err != nil {
		return nil, &session.Error{Code: session.Internal, Op: "encode session", Err: err}
	}
	meta, err := t.sealMeta(next)
	if err != nil {
		return nil, &session.Error{Code: session.Internal, Op: "encode session", Err: err}
	}
	err = t.store.Put(ctx, session.Record{
		ID: next.ID, Version: next.Version, WriteID: [16]byte(seal.Random(16)),
		Expires: t.lives.Ends(next).UTC().Truncate(time.Millisecond),
		Index:   t.keys(next),
		Meta:    meta,
		Body:    t.bodies.SealUnder(next.Secret, text, next.ID[:]),
	})
	if err != nil {
		return nil, err
	}
	next.Version++
	next.Bearer = session.BearerOf(next)
	next.Carried = next.Generation
	t.cache.put(next, len(text), m, time.Now())
	return next, nil
}

// keys are what a session can be found by: its name in logs, its person, and the provider's own session.
func (t *Tickets) keys(s *session.Session) []session.Key {
	g := s.Grant
	keys := []session.Key{t.key("", "log", s.LogID), t.key(g.Issuer, "sub", g.Subject)}
	if g.SID != "" {
		keys = append(keys, t.key(g.Issuer, "sid", g.SID))
	}
	return keys
}

func (t *Tickets) key(issuer, kind, value string) session.Key {
	sum := t.index.Sum([]byte(issuer + "\x00" + kind + "\x00" + value))
	return session.Key(sum[:16])
}

// Write sets the cookie if the browser lacks the current ticket. See session.Storage.
func (t *Tickets) Write(w http.ResponseWriter, r *http.Request, s *session.Session) {
	if s == nil {
		t.jar.Clear(w, t.jar.Session(), t.sameSite)
		return
	}
	current := s
	if e, ok := t.cache.entries.GetIfPresent(s.ID); ok && e.s.Version > s.Version {
		current = e.s
	}
	if current.Generation <= s.Carried {
		return // the browser has it; a newer one is not known here yet, and must not be taken back
	}
	now := time.Now()
	// The session may have ended while this request was under way, and its end, or a new login, has had its say about the
	// cookie. A late answer must not speak over it.
	current, err := t.newest(r.Context(), current)
	if err != nil || current.Generation <= s.Carried || t.verdict(current, s.Carried, now) != nil {
		return
	}
	a := cookie.Attributes{SameSite: t.sameSite}
	if t.lives.Persistent || current.Life.Remember {
		a.MaxAge = current.Life.Absolute.Sub(now)
	}
	t.jar.Set(w, t.jar.Session(), ticket{secret: [32]byte(current.Secret), generation: current.Generation}.encode(t.tickets), a)
}

// End ends sessions. See session.Storage. All but one by its ID needs a store with an index.
func (t *Tickets) End(ctx context.Context, which session.Selector) (int, error) {
	if which.ID != (session.ID{}) {
		return 1, t.end(ctx, which.ID)
	}
	ended := 0
	for rec, err := range t.find(ctx, which) {
		if err == nil {
			err = t.end(ctx, rec.ID)
		}
		if err != nil {
			return ended, err
		}
		ended++
	}
	return ended, nil
}

// end deletes one session. The cache forgets it first and last: nobody may be served from it while the store is asked, and
// nobody may have loaded it meanwhile.
func (t *Tickets) end(ctx context.Context, id session.ID) error {
	t.cache.drop(id)
	err := t.store.Delete(ctx, id)
	t.cache.drop(id)
	t.tell(session.Change{Kind: session.Changed, ID: id})
	return err
}
