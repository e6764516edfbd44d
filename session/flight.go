package session

import (
	"context"
	"errors"
	"time"
)

// failurePause is how long a failed renewal of a session answers for the next ones.
const failurePause = 2 * time.Second

// refusalPause is the same for a token for one API that the provider does not make: it will not in a moment either, and each try may
// rotate the refresh token.
const refusalPause = 30 * time.Second

func pauseAfter(err error, audience string) time.Duration {
	if code := CodeOf(err); audience != "" && (code == ProviderRefused || code == ProviderLied) {
		return refusalPause
	}
	return failurePause
}

// flight is one renewal. s and err are set before done is closed. One that failed stays for a moment, so that a session in
// trouble costs the store and the provider one attempt, not one for each request.
type flight struct {
	done chan struct{}
	s    *Session
	err  error
}

// relieve returns what comes of f in the place of s, whose access token is due. It waits for it only if that is spent.
func (f *flight) relieve(ctx context.Context, s *Session, spent bool) (*Session, error) {
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
	if err != nil && !gone(err) && time.Now().Before(s.Grant.Tokens.Expires) {
		return s, nil // it could not be renewed, but works for another moment
	}
	return renewed, err
}

// join returns the flight that gets the next access token of s, for an audience or, with "", its own. before is what the caller saw of
// that audience: what has come since then is the next one, and its flight may have landed.
func (n *Renewer) join(s *Session, audience string, before *Session) *flight {
	key := tokenKey{s.ID, audience}
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.flights[key]; f != nil {
		return f
	}
	f := &flight{done: make(chan struct{})}
	if t, ok := n.apiTokens.Get(key, time.Now()); ok && audience != "" && t.s != nil && t.s != before && t.fits(s) {
		f.s = t.s
		close(f.done)
		return f
	}
	err := n.begin(s.Grant.Provider, func(ctx context.Context) {
		if audience == "" {
			f.s, f.err = n.renew(ctx, s)
		} else {
			f.s, f.err = n.obtain(ctx, s, audience)
		}
		if f.err == nil || gone(f.err) {
			n.land(key)
		} else {
			time.AfterFunc(pauseAfter(f.err, audience), func() { n.land(key) })
		}
		close(f.done)
	})
	if err != nil {
		f.err = err // only here: what has begun writes f itself
		close(f.done)
		return f
	}
	n.flights[key] = f
	return f
}

// begin runs what asks a provider, on a context of its own. Unavailable: there is no time for it any more; ProviderDown: the provider is
// left alone. It is called with n.mu held.
func (n *Renewer) begin(provider string, run func(context.Context)) error {
	if n.closed {
		return &Error{Code: Unavailable, Op: "renew", Err: errors.New("shutting down")}
	}
	if err := n.breakers[provider].open(provider); err != nil {
		return err
	}
	n.running.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), leaseTime+storeBudget)
		defer cancel()
		run(ctx)
	})
	return nil
}

func (n *Renewer) land(key tokenKey) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.flights, key)
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
