package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// power returns s as the optional power P, and skips the test of a store that lacks it.
func power[P any](t *testing.T, s session.Store) P {
	t.Helper()
	p, ok := s.(P)
	if !ok {
		t.Skipf("%T has not the power of a %v", s, reflect.TypeFor[P]())
	}
	return p
}

func find(t *testing.T, s session.Store) {
	index := power[session.Index](t, s)
	want := func(what string, key session.Key, recs ...session.Record) {
		t.Helper()
		var ids []session.ID
		for _, rec := range recs {
			ids = append(ids, rec.ID)
		}
		slices.SortFunc(ids, func(a, b session.ID) int { return bytes.Compare(a[:], b[:]) })
		if got := living(t, index, key); !slices.Equal(got, ids) {
			t.Errorf("%s: found %d records, want %d certain ones", what, len(got), len(ids))
		}
	}
	person, phone, laptop := newKey(), newKey(), newKey()
	one, two := Record(person, phone), Record(person, laptop)
	alone := Record()
	gone := Record(person)
	gone.Expires = time.Now().Add(-time.Second).UTC().Truncate(time.Millisecond)
	for _, rec := range []session.Record{one, two, alone, gone} {
		mustPut(t, s, rec)
	}
	want("the key of two", person, one, two)
	want("the second key of one", phone, one)
	want("the second key of the other", laptop, two)
	want("a key of nobody", newKey())

	found, err := index.Find(t.Context(), phone, session.ID{}, 10)
	if err != nil || len(found) != 1 {
		t.Fatalf("Find: %d records, %v", len(found), err)
	}
	wantRecord(t, found[0], one)

	moved := next(found[0])
	moved.Index = []session.Key{laptop, phone, laptop}
	mustPut(t, s, moved)
	want("a key after it was taken off a record", person, two)
	want("a key after it was put on a record", laptop, moved, two)
	want("a key that stayed", phone, moved)

	refused := next(found[0])
	refused.Index = []session.Key{person}
	wantCode(t, "Put of an old version", s.Put(t.Context(), refused), session.Conflict)
	want("a key that a refused writer wanted", person, two)

	if err := s.Delete(t.Context(), two.ID); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	want("the key of a deleted record", person)
	want("the other key of a deleted record", laptop, moved)
}

// living returns the ids that key finds. Find may name the dead; whoever asks looks at Expires, so does this.
func living(t *testing.T, index session.Index, key session.Key) []session.ID {
	t.Helper()
	found, err := index.Find(t.Context(), key, session.ID{}, 10)
	if err != nil {
		t.Fatalf("Find: %v", err)
	}
	var ids []session.ID
	for _, rec := range found {
		if time.Now().Before(rec.Expires) {
			ids = append(ids, rec.ID)
		}
	}
	return ids
}

// findMany is for a key of many records: a person with a session for each visit. Others' records lie between.
func findMany(t *testing.T, s session.Store) {
	index := power[session.Index](t, s)
	key := newKey()
	recs := make(map[session.ID]session.Record)
	for i := range 57 {
		rec := Record(key, newKey())
		if i%2 == 0 { // neighbours that differ in the last byte only, at both ends of the range and across a byte's sign
			rec.ID = session.ID{[...]byte{0, 0x7f, 0x80, 0xff}[i/2%4]}
			rec.ID[31] = byte(i + 1)
		}
		mustPut(t, s, rec)
		mustPut(t, s, Record(newKey()))
		recs[rec.ID] = rec
	}
	pages(t, "Find", recs, func(after session.ID, n int) ([]session.Record, error) {
		return index.Find(t.Context(), key, after, n)
	})
}

func scan(t *testing.T, s session.Store) {
	scanner := power[session.Scanner](t, s)
	if page, err := scanner.Scan(t.Context(), session.ID{}, 10); err != nil || len(page) != 0 {
		t.Fatalf("Scan of an empty store: %d records, %v", len(page), err)
	}
	recs := make(map[session.ID]session.Record)
	for i := range 57 {
		rec := Record(newKey())
		switch {
		case i%3 == 0: // neighbours that differ in the last byte only, at both ends of the range and across a byte's sign
			rec.ID = session.ID{[...]byte{0, 0x7f, 0x80, 0xff}[i%4]}
			rec.ID[31] = byte(i + 1)
		case i%3 == 1:
			rec.ID[0] = 0x42
		}
		mustPut(t, s, rec)
		recs[rec.ID] = rec
	}
	pages(t, "Scan", recs, func(after session.ID, n int) ([]session.Record, error) {
		return scanner.Scan(t.Context(), after, n)
	})
}

// pages goes over all of recs in pages of several sizes, and wants each once and in order.
func pages(t *testing.T, what string, recs map[session.ID]session.Record, page func(after session.ID, n int) ([]session.Record, error)) {
	t.Helper()
	for _, n := range []int{1, 2, 10, 57, 58, 1000} {
		var after session.ID
		seen := 0
		for {
			page, err := page(after, n)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if len(page) > n {
				t.Fatalf("%s: a page of %d, want at most %d", what, len(page), n)
			}
			if len(page) == 0 {
				break
			}
			for _, rec := range page {
				if bytes.Compare(rec.ID[:], after[:]) <= 0 {
					t.Fatalf("%s: a record that is not behind the one before it", what)
				}
				wantRecord(t, rec, recs[rec.ID])
				after = rec.ID
				seen++
			}
		}
		if seen != len(recs) {
			t.Errorf("%s: pages of %d show %d records, want %d", what, n, seen, len(recs))
		}
	}
}

func watch(t *testing.T, s session.Store) {
	watcher := power[session.Watcher](t, s)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	changes := make(chan session.Change, 100)
	var inside atomic.Int32
	go watcher.Watch(ctx, func(c session.Change) {
		if inside.Add(1) != 1 {
			t.Error("two calls at a time")
		}
		select {
		case changes <- c:
		case <-ctx.Done():
		}
		inside.Add(-1)
	})
	hear := func() session.Change {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case <-ctx.Done():
			t.Fatal("nothing was heard")
			return session.Change{}
		}
	}
	if first := hear(); first.Kind != session.Live {
		t.Fatalf("heard kind %d first, want Live", first.Kind)
	}
	rec := Record(newKey())
	hearOf := func(what string) {
		t.Helper()
		for {
			switch c := hear(); {
			case c.Kind == session.Lost:
				t.Fatalf("heard Lost after %s, want Changed", what)
			case c.Kind == session.Changed && c.ID == rec.ID:
				return
			case c.Kind == session.Changed:
				t.Fatalf("heard of another record after %s", what)
			}
		}
	}
	mustPut(t, s, rec)
	hearOf("a first Put")
	changed := next(mustGet(t, s, rec.ID))
	changed.Index, changed.Meta = []session.Key{newKey()}, []byte("other")
	changed.Expires = changed.Expires.Add(time.Minute)
	mustPut(t, s, changed)
	hearOf("a second Put")
	if err := s.Delete(t.Context(), rec.ID); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	hearOf("Delete")
}

func heartbeat(t *testing.T, s session.Store) {
	watcher := power[session.Watcher](t, s)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var beats []time.Time
	err := promptly(t, "Watch", func() error {
		return watcher.Watch(ctx, func(c session.Change) {
			if c.Kind != session.Live {
				t.Errorf("heard kind %d from a store at rest, want Live", c.Kind)
			}
			if beats = append(beats, time.Now()); len(beats) == 3 {
				cancel()
			}
		})
	})
	if err == nil {
		t.Error("Watch returned nil")
	}
	if len(beats) != 3 {
		t.Fatalf("heard %d Lives, want 3 and none after the context ended", len(beats))
	}
	for i := 1; i < len(beats); i++ {
		// Once a second is the rule, and 2 s without one counts as an interruption: the rest is for a machine that is busy.
		if pause := beats[i].Sub(beats[i-1]); pause >= 2*time.Second {
			t.Errorf("%v between two Lives, want one a second", pause)
		}
	}
}

func sweep(t *testing.T, s session.Store) {
	sweeper := power[session.Sweeper](t, s)
	key, now := newKey(), time.Now().UTC().Truncate(time.Millisecond)
	expired := func(at time.Time) session.Record {
		rec := Record(key)
		rec.Expires = at
		mustPut(t, s, rec)
		return rec
	}
	const many = 603 // more than a store should remove at one go
	for range many - 2 {
		expired(now.Add(-time.Hour))
	}
	expired(now.Add(-2 * time.Millisecond))
	again := expired(now.Add(-time.Millisecond))
	living := Record(key)
	mustPut(t, s, living)

	swept, err := sweeper.Sweep(t.Context(), now)
	if err != nil || swept != many {
		t.Fatalf("Sweep removed %d, %v; want %d", swept, err, many)
	}
	if swept, err := sweeper.Sweep(t.Context(), now); err != nil || swept != 0 {
		t.Errorf("a second Sweep removed %d, %v; want none", swept, err)
	}
	wantRecord(t, mustGet(t, s, living.ID), living)
	if index, ok := s.(session.Index); ok {
		found, err := index.Find(t.Context(), key, session.ID{}, 10)
		if err != nil || len(found) != 1 || found[0].ID != living.ID {
			t.Errorf("Find after Sweep: %d records, %v; want the living one", len(found), err)
		}
	}
	again = next(again)
	again.Expires = now.Add(time.Hour)
	mustPut(t, s, again) // a swept id is free
	wantRecord(t, mustGet(t, s, again.ID), again)

	// Sweep goes by the time it is given, not by the clock.
	if swept, err := sweeper.Sweep(t.Context(), now.Add(24*time.Hour)); err != nil || swept != 2 {
		t.Errorf("Sweep a day later removed %d, %v; want 2", swept, err)
	}
}

func ping(t *testing.T, s session.Store) {
	pinger := power[session.Pinger](t, s)
	rec := Record()
	rand.Read(rec.Body)
	mustPut(t, s, rec)
	for range 3 {
		if err := pinger.Ping(t.Context()); err != nil {
			t.Fatalf("Ping: %v", err)
		}
	}
	wantRecord(t, mustGet(t, s, rec.ID), rec)
	if scanner, ok := s.(session.Scanner); ok {
		if page, err := scanner.Scan(t.Context(), session.ID{}, 10); err != nil || len(page) != 1 {
			t.Errorf("Scan after Ping: %d records, %v; want what was put and nothing else", len(page), err)
		}
	}
}
