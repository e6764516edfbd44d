package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/recent"
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

	audiences []string // that routes name
	apiTokens *recent.Map[tokenKey, apiToken]

	mu       sync.Mutex
	flights  map[tokenKey]*flight
	breakers map[string]*breaker
	running  sync.WaitGroup
	closed   bool
}

// NewRenewer returns a renewer that finds providers by their names in the configuration. Audiences are whom an access token can be asked
// for by [Renewer.For].
func NewRenewer(storage Storage, provider func(name string) (Provider, bool), sink audit.Sink, audiences ...string) *Renewer {
	return &Renewer{
		storage: storage, provider: provider, audit: sink, audiences: audiences,
		apiTokens: recent.New[tokenKey, apiToken](apiTokensMemory, apiTokensAge),
		flights:   map[tokenKey]*flight{}, breakers: map[string]*breaker{},
	}
}

// Fresh returns s with an access token that is valid now. Renewal starts when less than a fifth of the token's life is left,
// at most 60 s; nobody waits for it before the old token is spent.
func (n *Renewer) Fresh(ctx context.Context, s *Session) (*Session, error) {
	if s.Grant.Tokens.Refresh == "" {
		return s, nil
	}
	now := time.Now()
	if !s.due(now) {
		return s, nil
	}
	return n.join(s, "", nil).relieve(ctx, s, s.spent(now))
}

// due reports whether it is time for the next access token.
func (s *Session) due(now time.Time) bool {
	expires := s.Grant.Tokens.Expires
	life := expires.Sub(s.Life.Renewed)
	return !expires.IsZero() && (expires.Sub(now) < min(life/5, time.Minute) || s.spent(now))
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
	return n.join(s, "", nil).wait(ctx, s)
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
		_ = n.release(ctx, held)
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
	_ = n.release(ctx, held)
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

// release gives the lease back where nothing is to be stored. If that fails, the lease runs out by itself.
func (n *Renewer) release(ctx context.Context, s *Session) error {
	_, err := n.storage.Update(ctx, s, func(c *Session) error {
		if !c.Lease.Equal(s.Lease) {
			return Unchanged // it ran out, and is another's now
		}
		c.Lease = time.Time{}
		return nil
	})
	return err
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
	for _, tokens := range append(n.forget(s), s.Grant.Tokens) {
		n.running.Go(func() { n.revoke(provider, s, tokens, reason) })
	}
}

// discardListed is Discard without the tokens, as far as the provider can do that. One that does not answer is left alone: there may be
// thousands of sessions.
func (n *Renewer) discardListed(ctx context.Context, l Listed) {
	provider, _ := n.provider(l.Provider)
	revoker, can := provider.(SessionRevoker)
	if !can || l.SID == "" {
		return
	}
	err := n.ask(l.Provider)
	if err == nil {
		err = revoker.RevokeSession(ctx, l.SID)
		n.answered(l.Provider, err)
	}
	if err != nil {
		n.audit.Record(ctx, l.Event(audit.RevokeFailed, string(CodeOf(err))))
		return
	}
	n.audit.Record(ctx, l.Event(audit.Revoked, "ended from elsewhere"))
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
