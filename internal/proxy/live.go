package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// errSessionOver is why a stream was ended.
var errSessionOver = errors.New("the session is over")

// Live knows the streams that are open and ends each with its session, whether that is ended or merely expires.
type Live struct {
	desk *session.Desk

	mu      sync.Mutex
	streams map[session.ID]map[*stream]struct{}
}

// stream is one open stream. wake has room for one: more wakings than one say nothing new.
type stream struct{ wake chan struct{} }

// NewLive returns an empty Live.
func NewLive(desk *session.Desk) *Live {
	return &Live{desk: desk, streams: map[session.ID]map[*stream]struct{}{}}
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

// Watch returns a context that ends when the session is over, with errSessionOver as its cause. Call end when the stream is done.
func (l *Live) Watch(ctx context.Context, s *session.Session) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	st := &stream{wake: make(chan struct{}, 1)}
	l.mu.Lock()
	if l.streams[s.ID] == nil {
		l.streams[s.ID] = map[*stream]struct{}{}
	}
	l.streams[s.ID][st] = struct{}{}
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
	}
}

// Body returns the body of a streamed answer, which breaks off when the session is over.
func (l *Live) Body(res *http.Response, s *session.Session) io.ReadCloser {
	over, end := l.Watch(res.Request.Context(), s)
	stop := context.AfterFunc(over, func() { res.Body.Close() })
	return &streamBody{ReadCloser: res.Body, end: func() { stop(); end() }}
}

type streamBody struct {
	io.ReadCloser
	end func()
}

func (b *streamBody) Close() error {
	b.end()
	return b.ReadCloser.Close()
}

// How long follow waits before it looks again, if nobody tells it to.
const (
	lookAgain    = time.Minute
	lookAgainOut = time.Second // while the store is away
)

// follow looks at the session at once, since it may have ended before anyone listened; then whenever it changed, when it
// should be over, and now and then in case nobody told.
func (l *Live) follow(ctx context.Context, cancel context.CancelCauseFunc, s *session.Session, st *stream) {
	for {
		wait := lookAgain
		current, err := l.desk.Current(ctx, s)
		switch session.CodeOf(err) {
		case "":
			s = current
		case session.Unavailable: // nobody knows; it ends at its time at the latest
			if wait = lookAgainOut; !time.Now().Before(l.desk.Ends(s)) {
				cancel(errSessionOver)
				return
			}
		default:
			cancel(errSessionOver)
			return
		}
		timer := time.NewTimer(min(max(time.Until(l.desk.Ends(s)), 0)+time.Millisecond, wait))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-st.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}
