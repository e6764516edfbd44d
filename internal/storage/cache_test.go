package storage

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// warm is a replica whose cache has the session of value, known to be current.
func warm(t *testing.T, g *rig, store session.Store) (r *replica, s *session.Session, value string) {
	t.Helper()
	r = g.replica(t.Context(), t, store)
	synctest.Wait()
	_, value = r.login(t, forever)
	for range 2 { // the first use notes that the ticket arrived, which every cache is told
		var err error
		if s, err = r.use(value); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	return r, s, value
}

func TestCache_AWarmSessionCostsNoRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &ear{Store: memory.New()}
		r, _, value := warm(t, newRig(t, session.DefaultOptions(), newProvider(0)), store)
		gets, puts := store.gets.Load(), store.puts.Load()
		for range 100 {
			if _, err := r.use(value); err != nil {
				t.Fatal(err)
			}
		}
		if g, p := store.gets.Load()-gets, store.puts.Load()-puts; g+p != 0 {
			t.Errorf("%d reads and %d writes for 100 requests, want none", g, p)
		}
	})
}

func TestCache_AnEndElsewhereIsSeen(t *testing.T) {
	for _, c := range []struct {
		name    string
		disturb func(*ear)
		within  time.Duration
	}{
		{"at once", func(*ear) {}, 0},
		{"after a silence of two seconds", func(e *ear) { e.set(stalls) }, watchPatience},
		{"at once when the watch breaks", func(e *ear) { e.set(broken) }, 0},
		{"when it broke and was taken up again right away", func(e *ear) { e.set(broken); e.set(hears) }, 0},
		{"by Lost", func(e *ear) { e.set(loses); time.AfterFunc(time.Millisecond, func() { e.set(hears) }) }, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, session.DefaultOptions(), newProvider(0))
				store := memory.New()
				e := &ear{Store: store}
				a := g.replica(t.Context(), t, store)
				b, s, value := warm(t, g, e)
				c.disturb(e)
				if _, err := a.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				time.Sleep(c.within)
				for range 100 { // and it stays so, whatever the watch does next
					_, err := b.use(value)
					if session.CodeOf(err) != session.None {
						t.Fatalf("served %v after its end elsewhere: %v", c.within, err)
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		})
	}
}

// Streams are told as well that something may have been missed.
func TestCache_ListenersHearOfAnInterruption(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{Store: memory.New()}
		r := newRig(t, session.DefaultOptions(), newProvider(0)).replica(t.Context(), t, e)
		synctest.Wait()
		lost := make(chan struct{}, 10)
		r.tickets.Listen(func(c session.Change) {
			if c.Kind == session.Lost {
				lost <- struct{}{}
			}
		})
		e.set(broken)
		e.set(hears)
		time.Sleep(time.Second)
		if len(lost) == 0 {
			t.Error("the watch broke and nobody was told that changes may have been missed")
		}
	})
}

func TestCache_WhatWasReadBeforeAChangeIsNotKeptAfterIt(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	r := g.replica(t.Context(), t, memory.New())
	s, _ := r.login(t, forever)
	c := r.tickets.cache
	c.drop(s.ID)
	m := c.mark(s.ID) // a load begins
	c.drop(s.ID)      // a change is told
	c.put(s, 100, m, time.Now())
	if _, _, ok := c.get(s.ID, time.Now()); ok {
		t.Error("what was loaded before the change is in the cache")
	}
	c.put(s, 100, c.mark(s.ID), time.Now())
	if _, _, ok := c.get(s.ID, time.Now()); !ok {
		t.Error("what was loaded after it is not")
	}
	newer := *s
	newer.Version++
	c.put(&newer, 100, c.mark(s.ID), time.Now())
	c.put(s, 100, c.mark(s.ID), time.Now())
	if e, _, _ := c.get(s.ID, time.Now()); e.s.Version != newer.Version {
		t.Error("an older version took the place of a newer one")
	}
}

func TestCache_StoreAway(t *testing.T) {
	for _, stale := range []time.Duration{0, 10 * time.Second, time.Minute} {
		t.Run(stale.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				lives := session.DefaultOptions()
				lives.CacheStale = stale
				e := &ear{Store: memory.New()}
				r, _, value := warm(t, newRig(t, lives, newProvider(0)), e)
				time.Sleep(5*time.Minute + 100*time.Millisecond) // loaded long ago, known to be current all the time, between two heartbeats
				if _, err := r.look(value); err != nil {
					t.Fatal(err)
				}
				verified := time.Unix(0, r.tickets.cache.epoch.Load().lastLive.Load())
				e.fail = away
				e.set(broken)
				synctest.Wait()
				for ; time.Since(verified) < stale+5*time.Second; time.Sleep(250 * time.Millisecond) {
					_, err := r.use(value)
					want := session.Code("")
					if time.Since(verified) >= stale {
						want = session.Unavailable // never anonymous
					}
					if got := session.CodeOf(err); got != want {
						t.Fatalf("%v after it was verified: %q (%v), want %q", time.Since(verified), got, err, want)
					}
				}
				e.set(hears)
				e.fail = nil
				if _, err := r.use(value); err != nil {
					t.Errorf("the store is back: %v", err)
				}
			})
		})
	}
}

func TestCache_StoreAway_AnUnknownTicketIsUnavailableToo(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	e := &ear{Store: memory.New()}
	_, value := g.replica(t.Context(), t, e).login(t, forever)
	e.fail = away
	_, err := g.replica(t.Context(), t, e).use(value)
	wantCode(t, "a cold replica", err, session.Unavailable)
}

func TestCache_StoreAway_AnEndThatFailedIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &ear{Store: memory.New()}
		r, s, value := warm(t, newRig(t, session.DefaultOptions(), newProvider(0)), e)
		e.fail = away
		_, err := r.tickets.End(t.Context(), session.Selector{ID: s.ID})
		wantCode(t, "End", err, session.Unavailable)
		_, err = r.use(value)
		wantCode(t, "a request after it", err, session.Unavailable)
	})
}

// A store that cannot be watched is asked again after a second.
func TestCache_UnwatchedStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, session.DefaultOptions(), newProvider(0))
		store := memory.New()
		blind := struct{ session.Store }{store}
		a, b := g.replica(t.Context(), t, blind), g.replica(t.Context(), t, blind)
		s, value := a.login(t, forever)
		if _, err := b.use(value); err != nil {
			t.Fatal(err)
		}
		if _, err := a.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(unwatchedTrust)
		_, err := b.use(value)
		wantCode(t, "a second after the end", err, session.None)
	})
}

func TestCache_IsBoundedInBytes(t *testing.T) {
	const limit = 1 << 20
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	g.options.CacheBytes = limit
	r := g.replica(t.Context(), t, struct{ session.Store }{memory.New()}) // no watch, which would drop what we write
	// What is large is a claim, not a token.
	groups := strings.Repeat("engineering,", 2000)
	for range 200 { // 4.8 MB of text
		r.login(t, forever, func(s *session.Session) { s.Grant.Claims = map[string]any{"groups": groups} })
	}
	r.tickets.cache.entries.CleanUp()
	bytes := 0
	for range r.tickets.cache.entries.Keys() {
		bytes += len(groups)
	}
	if bytes > limit {
		t.Errorf("%d bytes of claims alone are in a cache of %d", bytes, limit)
	}
	if bytes == 0 {
		t.Error("nothing is in the cache")
	}
}

// Who is signed in may send what he likes beside the cookies of his sessions, and in the place of the small one. None of it stays.
func TestCache_IsBoundedInBytes_WhateverComesWithTheCookies(t *testing.T) {
	const limit = 1 << 20
	g := newSealedRig(t, newProvider(0))
	g.options.CacheBytes = limit
	r := g.replica(t.Context(), t, memory.New())
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for range 200 {
		_, value := r.login(t, forever)
		name := cookie.New(true, "").Seen()
		for _, junk := range []string{"; theirs=" + strings.Repeat("x", 256<<10), "; " + name + "=" + strings.Repeat("x", 256<<10)} {
			if _, err := r.use(strings.Clone(value + junk)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.sealed.opened.CleanUp()
	if after := heap(); after > before+8*limit {
		t.Errorf("%d bytes more than before are held by a cache of %d", after-before, limit)
	}
	runtime.KeepAlive(r)
}

func TestNotes_AreTakenOnce(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	n := NewNotes(memory.New(), g.ring)
	for range 50 {
		if err := n.Put(t.Context(), "logout", "name", []byte("text"), time.Minute); err != nil {
			t.Fatal(err)
		}
		err := n.Put(t.Context(), "logout", "name", []byte("other"), time.Minute)
		wantCode(t, "a second note of that name", err, session.Conflict)
		if _, err := n.Take(t.Context(), "login", "name"); session.CodeOf(err) != session.None {
			t.Errorf("a note of another kind: %v", err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		took := 0
		for range 8 {
			wg.Go(func() {
				text, err := n.Take(context.Background(), "logout", "name")
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && string(text) == "text":
					took++
				case session.CodeOf(err) != session.None:
					t.Errorf("Take: %q, %v", text, err)
				}
			})
		}
		wg.Wait()
		if took != 1 {
			t.Fatalf("taken %d times", took)
		}
	}
}

func TestNotes_Expire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNotes(memory.New(), newRig(t, session.DefaultOptions(), newProvider(0)).ring)
		if err := n.Put(t.Context(), "logout", "name", []byte("text"), time.Minute); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		_, err := n.Take(t.Context(), "logout", "name")
		wantCode(t, "an old note", err, session.None)
	})
}

func TestNotes_StoreAwayIsNotTaken(t *testing.T) {
	e := &ear{Store: memory.New()}
	n := NewNotes(e, newRig(t, session.DefaultOptions(), newProvider(0)).ring)
	if err := n.Put(t.Context(), "logout", "name", []byte("text"), time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, op := range []string{"get", "put"} {
		e.fail = func(o string) error {
			if o == op {
				return away(o)
			}
			return nil
		}
		_, err := n.Take(t.Context(), "logout", "name")
		wantCode(t, "Take while "+op+" fails", err, session.Unavailable)
	}
	e.fail = func(op string) error {
		if op == "delete" {
			return away(op)
		}
		return nil
	}
	if text, err := n.Take(t.Context(), "logout", "name"); err != nil || string(text) != "text" {
		t.Errorf("only the cleaning up failed: %q, %v", text, err)
	}
	_, err := n.Take(t.Context(), "logout", "name")
	wantCode(t, "a second Take", err, session.None)
}
