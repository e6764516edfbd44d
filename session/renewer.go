package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
)

// MinimumAge is how old an access token must be before it is renewed on request.
const MinimumAge = 10 * time.Second

// RefreshTimeout bounds one refresh request to a provider.
const RefreshTimeout = 10 * time.Second

// leaseTime is how long a renewal owns a session. It outlives the slowest refresh by far, so that a second one starts only when
// the first holder is dead. Who sets it and who looks at it go by their own clocks: one process has one, and replicas' may differ by
// two thirds of it, since a refresh is over after the first.
const leaseTime = 3 * RefreshTimeout

// storeBudget is how long a renewal keeps trying to store tokens it has received. A rotated refresh token that is not stored
// is lost, and the session with it, so it tries for as long as it holds the lease.
const storeBudget = leaseTime - RefreshTimeout

// Renewer owns renewal for all who need it. For each session one refresh is under way at a time: within the process by a
// flight that all share, across replicas by a lease in the record. A flight runs on a context of its own: a closed tab must
// not cancel it after the provider has rotated the refresh token.
type Renewer struct {
	storage  Storage
	provider func(name string) (Provider, bool)
	audit    audit.Sink

	mu       sync.Mutex
	flights  map[ID]*flight
	breakers map[string]*breaker
	running  sync.WaitGroup
	closed   bool
}

// failurePause is how long a failed renewal of a session answers for the next ones.
const failurePause = 2 * time.Second

// flight is one renewal. s and err are set before done is closed. One that failed stays for failurePause, so that a session in
// trouble costs the store and the provider one attempt, not one for each request.
type flight struct {
	done chan struct{}
	s    *Session
	err  error
}

// breaker keeps a provider that is down from being asked by everyone at once.
type breaker struct {
	failures int
	until    time.Time // nobody asks before
	trying   bool      // one asks, to see whether it is back
}

// NewRenewer returns a renewer that finds providers by their names in the configuration.
func NewRenewer(storage Storage, provider func(name string) (Provider, bool), sink audit.Sink) *Renewer {
	return &Renewer{
		storage: storage, provider: provider, audit: sink,
		flights: map[ID]*flight{}, breakers: map[string]*breaker{},
	}
}

// Fresh returns s with an access token that is valid now. Renewal starts when less than a fifth of the token's life is left,
// at most 60 s; nobody waits for it before the old token is spent.
func (n *Renewer) Fresh(ctx context.Context, s *Session) (*Session, error) {
	t := s.Grant.Tokens
	if t.Refresh == "" || t.Expires.IsZero() {
		return s, nil
	}
	now := time.Now()
	left, life := t.Expires.Sub(now), t.Expires.Sub(s.Life.Renewed)
	spent := s.spent(now)
	if left >= min(life/5, time.Minute) && !spent {
		return s, nil
	}
	f := n.join(s)
	if !spent {
		select {
		case <-f.done:
			if f.err == nil {
				return f.result(s), nil
			}
			if gone(f.err) {
				return nil, f.err
			}
		default:
		}
		return s, nil
	}
	renewed, err := f.wait(ctx, s)
	if err != nil && !gone(err) && time.Now().Before(t.Expires) {
		return s, nil // it could not be renewed, but works for another moment
	}
	return renewed, err
}

// spent reports whether the access token might expire on its way to the upstream: in its last moments, a twentieth of its life
// and one second more, at most 2 s. The second is what a JWT may lose to rounding: iat and exp are mostly whole seconds, rounded down,
// so a token that was issued at the end of one is over that much before its lifetime. One of a few seconds serves for half of them.
func (s *Session) spent(now time.Time) bool {
	expires := s.Grant.Tokens.Expires
	life := expires.Sub(s.Life.Renewed)
	return !expires.IsZero() && expires.Sub(now) <= min(time.Second+life/20, 2*time.Second, life/2)
}

// Renew renews the access token of s now and waits for it. It does nothing if the token is younger than MinimumAge, if a newer
// one is there already, or if there is no refresh token. GrantOver and Ended: the session is over. ProviderDown,
// ProviderRefused, Unavailable: it goes on with the token it has.
func (n *Renewer) Renew(ctx context.Context, s *Session) (*Session, error) {
	if s.Grant.Tokens.Refresh == "" || time.Since(s.Life.Renewed) < MinimumAge {
		return s, nil
	}
	return n.join(s).wait(ctx, s)
}

// Close waits until no renewal is under way, or ctx ends. None starts afterwards.
func (n *Renewer) Close(ctx context.Context) error {
	n.mu.Lock()
	n.closed = true
	n.mu.Unlock()
	done := make(chan struct{})
	go func() { n.running.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Renewer) join(s *Session) *flight {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.flights[s.ID]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if n.closed {
		f.err = &Error{Code: Unavailable, Op: "renew", Err: errors.New("shutting down")}
		close(f.done)
		return f
	}
	if f.err = n.breakers[s.Grant.Provider].open(s.Grant.Provider); f.err != nil {
		close(f.done)
		return f
	}
	n.flights[s.ID] = f
	n.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), leaseTime+storeBudget)
		defer cancel()
		f.s, f.err = n.renew(ctx, s)
		if f.err == nil || gone(f.err) {
			n.land(s.ID)
		} else {
			time.AfterFunc(failurePause, func() { n.land(s.ID) })
		}
		close(f.done)
	})
	return f
}

func (n *Renewer) land(id ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.flights, id)
}

func (f *flight) wait(ctx context.Context, s *Session) (*Session, error) {
	select {
	case <-f.done:
		if f.err != nil {
			return nil, f.err
		}
		return f.result(s), nil
	case <-ctx.Done():
		return nil, &Error{Code: ProviderDown, Op: "wait for renewal", Err: ctx.Err()}
	}
}

// result is the flight's session as seen by a request that came with s.
func (f *flight) result(s *Session) *Session {
	renewed := *f.s
	renewed.Carried = s.Carried
	return &renewed
}

// gone reports whether err means that there is no session any more.
func gone(err error) bool {
	switch CodeOf(err) {
	case GrantOver, Ended, Expired, None, Stolen:
		return true
	}
	return false
}

// renew takes the lease, asks the provider and stores what it answers, in this order: the lease's write proves that the store
// takes writes before a refresh token is spent.
func (n *Renewer) renew(ctx context.Context, s *Session) (*Session, error) {
	provider, ok := n.provider(s.Grant.Provider)
	if !ok {
		return nil, n.end(ctx, s, Fail(GrantOver, "renew", "provider %q is no longer configured", s.Grant.Provider))
	}
	held, err := n.lease(ctx, s)
	for err == nil && held.Life.Renewed.After(s.Life.Renewed) {
		if !held.spent(time.Now()) {
			return held, nil // somebody else has renewed it
		}
		s = held // that was long ago: a browser can be several renewals behind
		held, err = n.lease(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	tokens, newest, err := n.refresh(ctx, provider, held, Want{})
	if err != nil || newest != nil {
		return newest, err
	}
	rotated := false
	stored, err := n.store(ctx, provider, held, tokens, func(c *Session, now time.Time) {
		if c.Grant.Tokens.Access != tokens.Access {
			c.Previous = digest(c.Grant.Tokens.Access)
		}
		c.Grant.Tokens = tokens
		// Two generations are alive at most: the next comes when the last one's grace is over. And nobody's cookie goes
		// backwards: this generation was handed out until its predecessor's grace was over, and an answer that
		// carries it may be on its way for another Grace. Were the next one there already, that late answer would
		// put the older ticket over it, and the browser's next visit would look like theft. A ticket that was never
		// presented is not superseded: it may not have arrived.
		rotated = !c.Presented.IsZero() && now.Sub(c.Presented) >= 2*Grace
		if rotated {
			c.Generation++
			c.Presented = time.Time{}
		}
	})
	if err != nil {
		return nil, err
	}
	n.record(ctx, audit.Renewed, stored, "")
	if rotated {
		n.record(ctx, audit.Rotated, stored, "")
	}
	return stored, nil
}

// refresh asks the provider, with the lease in hand. If that fails the lease is given back, or the session ended. newest is the
// session, and there are no tokens, if another holder of the lease was first.
func (n *Renewer) refresh(ctx context.Context, provider Provider, held *Session, want Want) (tokens Tokens, newest *Session, err error) {
	if err := n.ask(held.Grant.Provider); err != nil {
		n.release(ctx, held)
		return Tokens{}, nil, err
	}
	refreshCtx, cancel := context.WithTimeout(ctx, RefreshTimeout)
	tokens, err = provider.Refresh(refreshCtx, held.Grant, want)
	cancel()
	n.answered(held.Grant.Provider, err)
	switch CodeOf(err) {
	case "":
		return tokens, nil, nil
	case GrantOver, ProviderLied:
		// A refresh token may be dead because another holder of the lease has used it and stored its successor, or because
		// the session was ended meanwhile and its tokens revoked. Only a write shows that: a cache may not know yet.
		newest, e := n.storage.Update(ctx, held, func(c *Session) error {
			if c.Life.Renewed.After(held.Life.Renewed) {
				return Unchanged
			}
			c.Lease = time.Now().Add(leaseTime)
			return nil
		})
		switch {
		case e != nil:
			return Tokens{}, nil, e
		case newest.Life.Renewed.After(held.Life.Renewed):
			return Tokens{}, newest, nil
		}
		return Tokens{}, nil, n.end(ctx, newest, err)
	}
	n.release(ctx, held)
	n.record(ctx, audit.RenewalFailed, held, string(CodeOf(err)))
	return Tokens{}, nil, err
}

// errLeased says that another replica is renewing.
var errLeased = errors.New("leased")

// lease takes the session for this renewal. If another replica holds it, lease waits for the outcome; the session it returns
// then has newer tokens than s.
func (n *Renewer) lease(ctx context.Context, s *Session) (*Session, error) {
	for pause := 25 * time.Millisecond; ; pause = min(2*pause, 200*time.Millisecond) {
		held, err := n.storage.Update(ctx, s, func(c *Session) error {
			now := time.Now()
			switch {
			case c.Life.Renewed.After(s.Life.Renewed):
				return Unchanged
			case c.Lease.After(now):
				return errLeased
			}
			c.Lease = now.Add(leaseTime)
			return nil
		})
		if !errors.Is(err, errLeased) {
			return held, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, &Error{Code: ProviderDown, Op: "wait for another replica's renewal", Err: ctx.Err()}
		}
	}
}

// release gives the lease back after a failure. If that fails as well, the lease runs out by itself.
func (n *Renewer) release(ctx context.Context, s *Session) {
	_, _ = n.storage.Update(ctx, s, func(c *Session) error {
		if !c.Lease.Equal(s.Lease) {
			return Unchanged // it ran out, and is another's now
		}
		c.Lease = time.Time{}
		return nil
	})
}

// store keeps what came of new tokens before anyone gets to see them, and gives the lease back.
func (n *Renewer) store(ctx context.Context, provider Provider, s *Session, tokens Tokens, change func(c *Session, now time.Time)) (*Session, error) {
	ctx, cancel := context.WithTimeout(ctx, storeBudget)
	defer cancel()
	for {
		stored, err := n.storage.Update(ctx, s, func(c *Session) error {
			now := time.Now().Round(0)
			c.Life.Renewed, c.Lease = now, time.Time{}
			change(c, now)
			return nil
		})
		switch CodeOf(err) {
		case "":
			return stored, nil
		case Ended, None, Expired:
			n.revoke(provider, s, tokens, "ended while it was renewed") // nobody may use these
			return nil, err
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			n.record(ctx, audit.RenewalFailed, s, string(CodeOf(err)))
			return nil, err
		}
	}
}

// Discard tells the provider that the tokens of a session that has ended are no longer needed (RFC 7009). It returns at once:
// a provider that hangs holds nobody up. Close waits for it.
func (n *Renewer) Discard(s *Session, reason string) {
	provider, ok := n.provider(s.Grant.Provider)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !ok || n.closed {
		return
	}
	n.running.Go(func() { n.revoke(provider, s, s.Grant.Tokens, reason) })
}

func (n *Renewer) revoke(provider Provider, s *Session, tokens Tokens, reason string) {
	revoker, ok := provider.(Revoker)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), RefreshTimeout)
	defer cancel()
	if err := revoker.Revoke(ctx, tokens); err != nil {
		n.record(ctx, audit.RevokeFailed, s, string(CodeOf(err)))
		return
	}
	n.record(ctx, audit.Revoked, s, reason)
}

// end ends a session whose grant is over, and returns the reason.
func (n *Renewer) end(ctx context.Context, s *Session, reason error) error {
	if _, err := n.storage.End(ctx, Selector{ID: s.ID}); err != nil {
		return err
	}
	n.record(ctx, audit.Ended, s, string(CodeOf(reason)))
	return &Error{Code: GrantOver, Op: "renew", Err: reason}
}

func (n *Renewer) record(ctx context.Context, action audit.Action, s *Session, reason string) {
	n.audit.Record(ctx, s.Event(action, reason))
}

// open returns an error while the provider is left alone.
func (b *breaker) open(provider string) error {
	if b == nil || b.failures == 0 || !b.trying && !time.Now().Before(b.until) {
		return nil
	}
	return Fail(ProviderDown, "renew", "provider %q did not answer before and is left alone for a moment", provider)
}

// ask says whether the provider may be asked now. After a failure it is left alone for a while, then one may try.
func (n *Renewer) ask(provider string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.breakers[provider]
	if err := b.open(provider); err != nil {
		return err
	}
	if b != nil {
		b.trying = b.failures > 0
	}
	return nil
}

// answered notes how the provider did: 1, 2, 4 … 30 s of peace after failures in a row.
func (n *Renewer) answered(provider string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := n.breakers[provider]
	if b == nil {
		b = &breaker{}
		n.breakers[provider] = b
	}
	if CodeOf(err) != ProviderDown {
		b.trying, b.failures = false, 0
		return
	}
	if b.failures > 0 && !b.trying {
		return // it was asked before the first failure was known: many at once are one failure, not many in a row
	}
	b.trying = false
	b.failures = min(b.failures+1, 6)
	b.until = time.Now().Add(min(time.Second<<(b.failures-1), 30*time.Second))
}
