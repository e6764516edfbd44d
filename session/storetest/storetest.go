// Package storetest is the suite that every [session.Store] must pass. Adding a store is passing it:
//
//	func TestStore(t *testing.T) { storetest.Run(t, open) }
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// patience is how long anything may take that should happen at once, on a busy machine.
const patience = 10 * time.Second

// Run tests the store that open returns. Each test gets one of its own, empty, which it closes if it is an [io.Closer];
// open may fail the test. The tests of an optional power are skipped where the store lacks it.
func Run(t *testing.T, open func(t *testing.T) session.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, session.Store)
	}{
		{"Get_MissingIsNone", getMissing},
		{"Get_ReturnsWhatWasPut", roundTrip},
		{"Get_ExpiredIsNoneToTheMillisecond", expiry},
		{"Put_Version0RefusesTheLive", putOverLive},
		{"Put_Version0ReplacesTheExpired", putOverExpired},
		{"Put_R1_OldVersionIsConflict", putOldVersion},
		{"Put_R1_OneOf16RacersWins", race},
		{"Put_R1_RacersAtManyRecords", manyRaces},
		{"Put_R2_SameWriteIDAgainIsSuccess", sameWrite},
		{"Put_NeverBringsBackTheDeleted", putAfterDelete},
		{"Delete_TwiceIsNoError", deleteTwice},
		{"S3_RecordsAreTheCallersOwn", ownership},
		{"Context_CancelledFailsPromptly", cancelled},
		{"Closed_IsUnavailable", closed},
		{"Index_FindsByEveryKey", find},
		{"Index_PagesInOrder", findMany},
		{"Scanner_PagesInOrder", scan},
		{"Watcher_TellsWritesAndDeletes", watch},
		{"Watcher_BeatsAndEndsWithItsContext", heartbeat},
		{"Sweeper_RemovesTheExpiredOnly", sweep},
		{"Pinger_Answers", ping},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // the heartbeats wait for real time
			s := open(t)
			if c, ok := s.(io.Closer); ok {
				t.Cleanup(func() {
					if err := c.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				})
			}
			test.run(t, s)
		})
	}
}

// Record returns a fresh record of version 0 that lives for an hour and has keys to be found by.
func Record(keys ...session.Key) session.Record {
	rec := session.Record{
		WriteID: writeID(),
		Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond),
		Index:   keys,
		Meta:    []byte("meta"),
		Body:    []byte("body"),
	}
	rand.Read(rec.ID[:])
	return rec
}

func writeID() (id [16]byte) {
	rand.Read(id[:])
	return id
}

func newKey() (key session.Key) {
	rand.Read(key[:])
	return key
}

// next returns what a writer who read rec would put.
func next(rec session.Record) session.Record {
	rec.WriteID = writeID()
	rec.Body = append(bytes.Clone(rec.Body), '+')
	return rec
}

func mustPut(t *testing.T, s session.Store, rec session.Record) {
	t.Helper()
	if err := s.Put(t.Context(), rec); err != nil {
		t.Fatalf("Put version %d: %v", rec.Version, err)
	}
}

func mustGet(t *testing.T, s session.Store, id session.ID) session.Record {
	t.Helper()
	rec, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	return rec
}

func wantCode(t *testing.T, what string, err error, want session.Code) {
	t.Helper()
	if got := session.CodeOf(err); got != want {
		t.Errorf("%s: %v (code %q), want code %q", what, err, got, want)
	}
}

// wantRecord checks got against what was put as rec.
func wantRecord(t *testing.T, got, rec session.Record) {
	t.Helper()
	switch {
	case got.ID != rec.ID:
		t.Error("another record")
	case got.Version != rec.Version+1:
		t.Errorf("Version is %d, want %d", got.Version, rec.Version+1)
	case got.WriteID != rec.WriteID:
		t.Error("another WriteID than that of the writer")
	case !got.Expires.Equal(rec.Expires) || got.Expires.Location() != time.UTC:
		t.Errorf("Expires is %v, want %v in UTC", got.Expires, rec.Expires)
	case !slices.Equal(got.Index, rec.Index):
		t.Errorf("Index is %x, want %x: the same keys in the same order", got.Index, rec.Index)
	case !bytes.Equal(got.Meta, rec.Meta):
		t.Errorf("Meta has %d bytes, want the %d that were put", len(got.Meta), len(rec.Meta))
	case !bytes.Equal(got.Body, rec.Body):
		t.Errorf("Body has %d bytes, want the %d that were put", len(got.Body), len(rec.Body))
	}
}

func getMissing(t *testing.T, s session.Store) {
	_, err := s.Get(t.Context(), Record().ID)
	wantCode(t, "Get of a missing record", err, session.None)
	_, err = s.Get(t.Context(), session.ID{})
	wantCode(t, "Get of the zero id", err, session.None)
}

func roundTrip(t *testing.T, s session.Store) {
	keys := []session.Key{newKey(), newKey(), newKey()}
	for _, c := range []struct {
		name   string
		change func(*session.Record)
	}{
		{"plain", func(*session.Record) {}},
		{"three keys", func(r *session.Record) { r.Index = keys }},
		{"one key of these again", func(r *session.Record) { r.Index = keys[1:2] }},
		{"empty meta", func(r *session.Record) { r.Meta = []byte{} }},
		{"nil meta and body", func(r *session.Record) { r.Meta, r.Body = nil, nil }},
		{"all byte values", func(r *session.Record) {
			r.Body = nil
			for b := range 256 {
				r.Body = append(r.Body, byte(b))
			}
		}},
		{"1 MiB body", func(r *session.Record) { r.Body = make([]byte, 1<<20); rand.Read(r.Body) }},
		{"expires in 400 days", func(r *session.Record) { r.Expires = r.Expires.AddDate(0, 0, 400) }},
		{"expires at .999", func(r *session.Record) { r.Expires = r.Expires.Truncate(time.Second).Add(999 * time.Millisecond) }},
	} {
		rec := Record()
		c.change(&rec)
		mustPut(t, s, rec)
		got := mustGet(t, s, rec.ID)
		wantRecord(t, got, rec)

		// The same fields as a change of a record that had others.
		rec = Record(newKey(), newKey())
		mustPut(t, s, rec)
		second := next(mustGet(t, s, rec.ID))
		c.change(&second)
		mustPut(t, s, second)
		wantRecord(t, mustGet(t, s, rec.ID), second)
		if t.Failed() {
			t.Fatalf("with %s", c.name)
		}
	}
}

func expiry(t *testing.T, s session.Store) {
	// On a busy machine a short life may be over before anyone looks; then a longer one is tried.
	for life := 50 * time.Millisecond; !seenToDie(t, s, life); life *= 2 {
		if life > patience {
			t.Fatal("no Get found a record alive and dead in time: nothing was tested")
		}
	}

	live := Record()
	mustPut(t, s, live)
	stale := next(mustGet(t, s, live.ID))
	stale.Expires = time.Now().Add(-time.Millisecond).UTC().Truncate(time.Millisecond)
	mustPut(t, s, stale)
	_, err := s.Get(t.Context(), live.ID)
	wantCode(t, "Get of a record whose end was moved to the past", err, session.None)
}

// seenToDie looks at a record until it is over, and reports whether it was seen alive and dead. An answer counts only where
// the clock leaves no doubt: alive if it came before the record's end, dead if it was asked for after.
func seenToDie(t *testing.T, s session.Store, life time.Duration) bool {
	t.Helper()
	rec := Record()
	rec.Expires = time.Now().Add(life).UTC().Truncate(time.Millisecond)
	mustPut(t, s, rec)
	for alive := false; ; {
		asked := time.Now()
		_, err := s.Get(t.Context(), rec.ID)
		answered := time.Now()
		switch code := session.CodeOf(err); {
		case code != "" && code != session.None:
			t.Fatalf("Get: %v", err)
		case code == "" && !asked.Before(rec.Expires):
			t.Fatalf("alive when asked %v after its end", asked.Sub(rec.Expires))
		case code == session.None && answered.Before(rec.Expires):
			t.Fatalf("dead when answered %v before its end", rec.Expires.Sub(answered))
		case code == "" && answered.Before(rec.Expires):
			alive = true
		case code == session.None && !asked.Before(rec.Expires):
			return alive
		}
	}
}

func putOverLive(t *testing.T, s session.Store) {
	rec := Record()
	mustPut(t, s, rec)
	other := next(rec)
	wantCode(t, "Put version 0 over a live record", s.Put(t.Context(), other), session.Conflict)
	wantRecord(t, mustGet(t, s, rec.ID), rec)
}

func putOverExpired(t *testing.T, s session.Store) {
	key := newKey()
	rec := Record(key)
	rec.Expires = time.Now().Add(-time.Second).UTC().Truncate(time.Millisecond)
	mustPut(t, s, rec)
	_, err := s.Get(t.Context(), rec.ID)
	wantCode(t, "Get of an expired record", err, session.None)

	revived := next(rec)
	revived.Version, revived.Expires = 1, time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	wantCode(t, "Put version 1 over an expired record", s.Put(t.Context(), revived), session.Conflict)

	fresh := next(revived)
	fresh.Version = 0
	mustPut(t, s, fresh)
	wantRecord(t, mustGet(t, s, rec.ID), fresh)
}

func putOldVersion(t *testing.T, s session.Store) {
	rec := Record()
	wantCode(t, "Put version 1 of what is not there", s.Put(t.Context(), func() session.Record { r := rec; r.Version = 1; return r }()), session.Conflict)
	mustPut(t, s, rec)
	first := mustGet(t, s, rec.ID)
	second := next(first)
	mustPut(t, s, second)
	for _, version := range []uint64{0, 1, 3, 1 << 40} {
		late := next(first)
		late.Version = version
		wantCode(t, "Put of a version that is not the live one", s.Put(t.Context(), late), session.Conflict)
	}
	wantRecord(t, mustGet(t, s, rec.ID), second)
}

func race(t *testing.T, s session.Store) {
	for _, start := range []uint64{0, 1} {
		rec := Record(newKey())
		if start == 1 {
			mustPut(t, s, rec)
			rec = mustGet(t, s, rec.ID)
		}
		winner := racers(t, s, rec)
		wantRecord(t, mustGet(t, s, rec.ID), winner)
	}
}

// racers lets 16 writers put rec's version at once, and returns the one that won.
func racers(t *testing.T, s session.Store, rec session.Record) session.Record {
	t.Helper()
	const n = 16
	attempts, errs := make([]session.Record, n), make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		attempts[i] = next(rec)
		attempts[i].Body = []byte{byte(i)}
		all.Go(func() {
			<-start
			errs[i] = s.Put(t.Context(), attempts[i])
		})
	}
	close(start)
	all.Wait()
	won := -1
	for i, err := range errs {
		switch code := session.CodeOf(err); {
		case code == "" && won >= 0:
			t.Fatalf("writers %d and %d both won", won, i)
		case code == "":
			won = i
		case code != session.Conflict:
			t.Fatalf("writer %d: %v, want Conflict", i, err)
		}
	}
	if won < 0 {
		t.Fatal("all 16 writers lost")
	}
	return attempts[won]
}

// Readers who all add one to a counter lose none of it: the loop that every update of a session is.
func manyRaces(t *testing.T, s session.Store) {
	const writers, records, each = 4, 3, 15
	ids := make([]session.ID, records)
	for i := range ids {
		rec := Record()
		rec.Body = nil
		mustPut(t, s, rec)
		ids[i] = rec.ID
	}
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := range records * each {
				for {
					rec, err := s.Get(t.Context(), ids[i%records])
					if err != nil {
						t.Errorf("Get: %v", err)
						return
					}
					if err = s.Put(t.Context(), next(rec)); err == nil {
						break
					}
					if session.CodeOf(err) != session.Conflict {
						t.Errorf("Put: %v", err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	for _, id := range ids {
		rec := mustGet(t, s, id)
		if len(rec.Body) != writers*each || rec.Version != 1+writers*each {
			t.Errorf("%d changes and version %d, want %d and %d", len(rec.Body), rec.Version, writers*each, 1+writers*each)
		}
	}
}

func sameWrite(t *testing.T, s session.Store) {
	rec := Record()
	mustPut(t, s, rec)
	mustPut(t, s, rec)
	wantRecord(t, mustGet(t, s, rec.ID), rec)

	second := next(mustGet(t, s, rec.ID))
	mustPut(t, s, second)
	wantCode(t, "another's Put of the version that was replaced", s.Put(t.Context(), next(second)), session.Conflict)
	mustPut(t, s, second)
	wantRecord(t, mustGet(t, s, rec.ID), second)

	third := next(mustGet(t, s, rec.ID))
	mustPut(t, s, third)
	wantCode(t, "the same write after another's succeeded", s.Put(t.Context(), second), session.Conflict)
	wantRecord(t, mustGet(t, s, rec.ID), third)
}

func putAfterDelete(t *testing.T, s session.Store) {
	rec := Record(newKey())
	mustPut(t, s, rec)
	inFlight := next(mustGet(t, s, rec.ID))
	if err := s.Delete(t.Context(), rec.ID); err != nil {
		t.Fatalf("Delete: %v", err)
	}
	wantCode(t, "Put of a record that was deleted meanwhile", s.Put(t.Context(), inFlight), session.Conflict)
	_, err := s.Get(t.Context(), rec.ID)
	wantCode(t, "Get after that", err, session.None)
}

func deleteTwice(t *testing.T, s session.Store) {
	rec, other := Record(newKey()), Record(newKey())
	mustPut(t, s, rec)
	mustPut(t, s, other)
	for range 2 {
		if err := s.Delete(t.Context(), rec.ID); err != nil {
			t.Fatalf("Delete: %v", err)
		}
		_, err := s.Get(t.Context(), rec.ID)
		wantCode(t, "Get of a deleted record", err, session.None)
	}
	wantRecord(t, mustGet(t, s, other.ID), other)
	mustPut(t, s, rec) // its id is free again
	wantRecord(t, mustGet(t, s, rec.ID), rec)
}

func ownership(t *testing.T, s session.Store) {
	key := newKey()
	rec := Record(key)
	put := rec
	put.Index, put.Meta, put.Body = slices.Clone(rec.Index), bytes.Clone(rec.Meta), bytes.Clone(rec.Body)
	spoil := func(r session.Record) { r.Index[0], r.Meta[0], r.Body[0] = session.Key{}, 'X', 'X' }
	mustPut(t, s, put)
	spoil(put)
	wantRecord(t, mustGet(t, s, rec.ID), rec)
	spoil(mustGet(t, s, rec.ID))
	wantRecord(t, mustGet(t, s, rec.ID), rec)
	if index, ok := s.(session.Index); ok {
		found, err := index.Find(t.Context(), key, session.ID{}, 10)
		if err != nil || len(found) != 1 {
			t.Fatalf("Find: %d records, %v", len(found), err)
		}
		spoil(found[0])
		wantRecord(t, mustGet(t, s, rec.ID), rec)
	}
	if scanner, ok := s.(session.Scanner); ok {
		page, err := scanner.Scan(t.Context(), session.ID{}, 10)
		if err != nil || len(page) != 1 {
			t.Fatalf("Scan: %d records, %v", len(page), err)
		}
		spoil(page[0])
		wantRecord(t, mustGet(t, s, rec.ID), rec)
	}
}

// calls are all that a store can be asked, with the powers it has.
func calls(s session.Store, rec session.Record) map[string]func(context.Context) error {
	all := map[string]func(context.Context) error{
		"Get":    func(ctx context.Context) error { _, err := s.Get(ctx, rec.ID); return err },
		"Put":    func(ctx context.Context) error { return s.Put(ctx, rec) },
		"Delete": func(ctx context.Context) error { return s.Delete(ctx, rec.ID) },
	}
	if p, ok := s.(session.Index); ok {
		all["Find"] = func(ctx context.Context) error { _, err := p.Find(ctx, session.Key{}, session.ID{}, 1); return err }
	}
	if p, ok := s.(session.Scanner); ok {
		all["Scan"] = func(ctx context.Context) error { _, err := p.Scan(ctx, session.ID{}, 1); return err }
	}
	if p, ok := s.(session.Sweeper); ok {
		all["Sweep"] = func(ctx context.Context) error { _, err := p.Sweep(ctx, time.Now()); return err }
	}
	if p, ok := s.(session.Watcher); ok {
		all["Watch"] = func(ctx context.Context) error { return p.Watch(ctx, func(session.Change) {}) }
	}
	if p, ok := s.(session.Pinger); ok {
		all["Ping"] = p.Ping
	}
	return all
}

// promptly runs f, and fails the test if it hangs.
func promptly(t *testing.T, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		t.Fatalf("%s hangs", what)
		return nil
	}
}

func cancelled(t *testing.T, s session.Store) {
	kept, fresh := Record(), Record()
	mustPut(t, s, kept)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fails := func(name string, call func(context.Context) error) {
		t.Helper()
		err := promptly(t, name, func() error { return call(ctx) })
		if err == nil || session.CodeOf(err) != session.Unavailable && !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v, want Unavailable or the context's error", name, err)
		}
	}
	for name, call := range calls(s, fresh) {
		fails(name, call)
	}
	_, err := s.Get(t.Context(), fresh.ID)
	wantCode(t, "Get of what was put with a cancelled context", err, session.None)
	fails("Delete of a record that is there", func(ctx context.Context) error { return s.Delete(ctx, kept.ID) })
	wantRecord(t, mustGet(t, s, kept.ID), kept)
}

func closed(t *testing.T, s session.Store) {
	c := power[io.Closer](t, s)
	rec := Record()
	mustPut(t, s, rec)
	var watching chan error
	if w, ok := s.(session.Watcher); ok {
		watching = make(chan error, 1)
		live := make(chan struct{}, 1)
		go func() {
			watching <- w.Watch(t.Context(), func(session.Change) {
				select {
				case live <- struct{}{}:
				default:
				}
			})
		}()
		<-live
	}
	if err := c.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if watching != nil {
		wantCode(t, "a Watch when its store is closed", promptly(t, "Watch", func() error { return <-watching }), session.Unavailable)
	}
	for name, call := range calls(s, rec) {
		err := promptly(t, name, func() error { return call(t.Context()) })
		wantCode(t, name+" of a closed store", err, session.Unavailable)
	}
}
