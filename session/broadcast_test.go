package session_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

func numbered(n int) (id session.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func TestBroadcast_LiveFirstThenEveryHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := session.NewBroadcast()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second+session.Heartbeat/2)
		defer cancel()
		start := time.Now()
		var beats []time.Duration
		err := b.Watch(ctx, func(c session.Change) {
			if c.Kind != session.Live {
				t.Errorf("got kind %d, want Live", c.Kind)
			}
			beats = append(beats, time.Since(start))
		})
		if !errors.Is(err, context.DeadlineExceeded) || session.CodeOf(err) != session.Unavailable {
			t.Errorf("Watch returned %v, want Unavailable around the context's error", err)
		}
		if len(beats) != 5 {
			t.Fatalf("heard %d Lives at %v, want 5: one at once and four heartbeats", len(beats), beats)
		}
		for i, at := range beats {
			if at != time.Duration(i)*session.Heartbeat {
				t.Errorf("Live %d came at %v", i, at)
			}
		}
	})
}

func TestBroadcast_EveryWatcherHearsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := session.NewBroadcast()
		var heard [3][]session.ID
		for i := range heard {
			go b.Watch(t.Context(), func(c session.Change) {
				if c.Kind == session.Changed {
					heard[i] = append(heard[i], c.ID)
				}
			})
		}
		synctest.Wait()
		for n := range 100 {
			b.Tell(numbered(n))
		}
		synctest.Wait()
		for i := range heard {
			if len(heard[i]) != 100 {
				t.Fatalf("watcher %d heard %d changes, want 100", i, len(heard[i]))
			}
			for n, id := range heard[i] {
				if id != numbered(n) {
					t.Fatalf("watcher %d heard change %d out of order", i, n)
				}
			}
		}
		b.Close()
	})
}

// A watcher that hangs must neither hold up a writer nor grow without end; and what is told after its Lost it hears again.
func TestBroadcast_SlowWatcherGetsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := session.NewBroadcast()
		release := make(chan struct{})
		var heard []session.Change
		go b.Watch(t.Context(), func(c session.Change) {
			if c.Kind == session.Live {
				return
			}
			heard = append(heard, c)
			if len(heard) == 1 {
				<-release
			}
		})
		synctest.Wait()
		b.Tell(numbered(1)) // hangs in the callback
		synctest.Wait()
		for n := range 100_000 {
			b.Tell(numbered(n)) // nobody takes these, and Tell returns
		}
		close(release)
		synctest.Wait()
		b.Tell(numbered(7))
		synctest.Wait()
		want := []session.Change{{Kind: session.Changed, ID: numbered(1)}, {Kind: session.Lost}, {Kind: session.Changed, ID: numbered(7)}}
		if len(heard) != len(want) {
			t.Fatalf("heard %d changes, want %d", len(heard), len(want))
		}
		for i := range want {
			if heard[i] != want[i] {
				t.Errorf("change %d is %v, want %v", i, heard[i].Kind, want[i].Kind)
			}
		}
		b.Close()
	})
}

func TestBroadcast_CloseEndsWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := session.NewBroadcast()
		ended := make(chan error, 1)
		go func() { ended <- b.Watch(t.Context(), func(session.Change) {}) }()
		synctest.Wait()
		b.Close()
		b.Close()
		if err := <-ended; session.CodeOf(err) != session.Unavailable {
			t.Errorf("a watch on a closed store returned %v, want Unavailable", err)
		}
		if err := b.Watch(t.Context(), func(session.Change) { t.Error("called") }); session.CodeOf(err) != session.Unavailable {
			t.Errorf("a new watch on a closed store returned %v, want Unavailable", err)
		}
	})
}
