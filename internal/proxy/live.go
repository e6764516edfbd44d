package proxy

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

// Why a stream was ended.
var (
	errSessionOver = errors.New("the session is over")
	errDraining    = errors.New("the gateway is shutting down")
)

// Live knows the streams that are open and ends each with its session, whether that is ended or merely expires.
type Live struct {
	desk *session.Desk

	mu      sync.Mutex
	streams map[session.ID]map[*stream]struct{}

	anonymous Anonymous
	strangers map[netip.Prefix]int // streams that are open without a session, by address
	inAll     int                  // all of them

	draining context.Context
	drain    context.CancelFunc
	open     sync.WaitGroup
}

// stream is one open stream. wake has room for one: more wakings than one say nothing new.
type stream struct {
	wake chan struct{}
	long bool // see WatchLong
}

// Anonymous bounds what is kept open for those who are not signed in. A stream costs a connection here and one to the upstream for as
// long as its reader likes, and on a route with auth off or optional anybody can open one.
type Anonymous struct {
	StreamsPer   int // streams and WebSockets of one address at a time; an IPv6 /64 counts as one; default 100
	StreamsInAll int // those of all addresses together; default 10000
}

// NewLive returns an empty Live. Zero fields of a take the defaults.
func NewLive(desk *session.Desk, a Anonymous) *Live {
	a.StreamsPer, a.StreamsInAll = cmp.Or(a.StreamsPer, 100), cmp.Or(a.StreamsInAll, 10_000)
	l := &Live{desk: desk, streams: map[session.ID]map[*stream]struct{}{}, anonymous: a, strangers: map[netip.Prefix]int{}}
	l.draining, l.drain = context.WithCancel(context.Background())
	return l
}

// Drain ends all streams, and those that begin from now on: they would keep a server from shutting down, and their pages can
// come back to another one.
func (l *Live) Drain() { l.drain() }

// Close drains and waits until every stream has ended, or ctx ends.
func (l *Live) Close(ctx context.Context) error {
	l.drain()
	done := make(chan struct{})
	go func() { l.open.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Changed is told what a store's watcher says.
func (l *Live) Changed(c session.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch c.Kind {
	case session.Changed:
		wake(l.streams[c.ID])
	case session.Lost:
		for _, streams := range l.streams {
			wake(streams)
		}
	}
}

func wake(streams map[*stream]struct{}) {
	for s := range streams {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Watch returns a context that ends when the session is over or the gateway shuts down, with the reason as its cause. Call end
// once, when the stream is done.
func (l *Live) Watch(ctx context.Context, s *session.Session) (_ context.Context, end func()) {
	return l.watch(ctx, s, false)
}

// WatchLong is [Live.Watch] for an answer that merely takes long, a download perhaps. It may come to its end while the gateway shuts
// down, and after its session expired for want of other requests; but not past the session's absolute end.
func (l *Live) WatchLong(ctx context.Context, s *session.Session) (_ context.Context, end func()) {
	return l.watch(ctx, s, true)
}

func (l *Live) watch(ctx context.Context, s *session.Session, long bool) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	st := &stream{make(chan struct{}, 1), long}
	l.mu.Lock()
	if l.streams[s.ID] == nil {
		l.streams[s.ID] = map[*stream]struct{}{}
	}
	l.streams[s.ID][st] = struct{}{}
	l.open.Add(1)
	l.mu.Unlock()
	go l.follow(ctx, cancel, s, st)
	return ctx, func() {
		cancel(nil)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.streams[s.ID], st)
		if len(l.streams[s.ID]) == 0 {
			delete(l.streams, s.ID)
		}
		l.open.Done()
	}
}

// Until is [Live.Watch] for a stream without a session: it ends at a time, zero for none.
func (l *Live) Until(ctx context.Context, over time.Time) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	free := func() {}
	if !over.IsZero() {
		ctx, free = context.WithDeadlineCause(ctx, over, errSessionOver)
	}
	stop := context.AfterFunc(l.draining, func() { cancel(errDraining) })
	l.open.Add(1)
	return ctx, func() {
		cancel(nil)
		free()
		stop()
		l.open.Done()
	}
}

// Admit is [Live.Until] for a stream of somebody at an address who is not signed in. TooMany: there are as many as there may be.
func (l *Live) Admit(ctx context.Context, address string) (_ context.Context, end func(), err error) {
	addr, _ := netip.ParseAddr(address)
	key := origin.AddressKey(addr)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.strangers[key] >= l.anonymous.StreamsPer || l.inAll >= l.anonymous.StreamsInAll {
		return nil, nil, session.Fail(session.TooMany, "open a stream", "%d streams of one address without a session, %d in all", l.strangers[key], l.inAll)
	}
	l.strangers[key]++
	l.inAll++
	ctx, over := l.Until(ctx, time.Time{})
	return ctx, func() {
		over()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.inAll--
		if l.strangers[key]--; l.strangers[key] == 0 {
			delete(l.strangers, key)
		}
	}, nil
}

// How long follow waits before it looks again, if nobody tells it to.
const (
	lookAgain    = time.Minute
	lookAgainOut = time.Second // while the store is away
)

// follow looks at the session at once, since it may have ended before anyone listened; then whenever it changed, when it
// should be over, and now and then in case nobody told.
func (l *Live) follow(ctx context.Context, cancel context.CancelCauseFunc, s *session.Session, st *stream) {
	draining := l.draining.Done()
	if st.long {
		draining = nil
	}
	for told := true; ; {
		wait := lookAgain
		current, err := l.desk.Current(ctx, s)
		expired := !time.Now().Before(l.desk.Ends(s))
		switch code := session.CodeOf(err); {
		case code == "":
			s = current
		case code == session.Unavailable && !expired: // nobody knows; it ends at its time at the latest
			wait = lookAgainOut
		case st.long && expired && !told:
			ctx, stop := context.WithDeadline(ctx, s.Life.Absolute)
			defer stop()
			<-ctx.Done()
			cancel(errSessionOver)
			return
		default:
			cancel(errSessionOver)
			return
		}
		timer := time.NewTimer(min(max(time.Until(l.desk.Ends(s)), 0)+time.Millisecond, wait))
		told = false
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-draining:
			timer.Stop()
			cancel(errDraining)
			return
		case <-st.wake:
			timer.Stop()
			told = true
		case <-timer.C:
		}
	}
}
