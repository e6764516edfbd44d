package memory_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/session/storetest"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) session.Store { return memory.New() })
}

func TestStore_Full(t *testing.T) {
	big := storetest.Record()
	big.Body = make([]byte, 8000)
	for _, c := range []struct {
		name  string
		limit memory.Option
		fill  int // as many fit
	}{
		{"records", memory.MaxRecords(3), 3},
		{"bytes", memory.MaxBytes(10_000), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memory.New(c.limit)
				put := func(expires time.Time) (session.Record, error) {
					rec := storetest.Record()
					rec.ID[0] = 7
					rec.Expires, rec.Body = expires, big.Body
					return rec, s.Put(t.Context(), rec)
				}
				var last session.Record
				var err error
				for range c.fill {
					if last, err = put(time.Now().Add(time.Minute)); err != nil {
						t.Fatalf("Put with room left: %v", err)
					}
				}
				_, err = put(time.Now().Add(time.Minute))
				if session.CodeOf(err) != session.Unavailable || session.HintOf(err) == "" {
					t.Errorf("Put into a full store: %v, want Unavailable with a hint", err)
				}
				// Who is in can still change, leave, and make room.
				last.Version, last.WriteID = 1, [16]byte{1}
				if err := s.Put(t.Context(), last); err != nil {
					t.Errorf("a change in a full store: %v", err)
				}
				if err := s.Delete(t.Context(), last.ID); err != nil {
					t.Fatalf("Delete: %v", err)
				}
				if _, err = put(time.Now().Add(time.Minute)); err != nil {
					t.Errorf("Put after a Delete: %v", err)
				}
				// The dead make room as well, before anyone sweeps.
				time.Sleep(time.Minute)
				for range c.fill {
					if _, err = put(time.Now().Add(time.Minute)); err != nil {
						t.Errorf("Put into a store full of the dead: %v", err)
					}
				}
			})
		})
	}
}

func TestStore_ExpiryIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		rec := storetest.Record()
		rec.Expires = time.Now().Add(time.Second)
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second - 1)
		if _, err := s.Get(t.Context(), rec.ID); err != nil {
			t.Errorf("a nanosecond before its end: %v", err)
		}
		time.Sleep(1)
		if _, err := s.Get(t.Context(), rec.ID); session.CodeOf(err) != session.None {
			t.Errorf("at its end: %v, want None", err)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	s, recs := filled(b, 10_000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := s.Get(b.Context(), recs[i%len(recs)].ID); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	s, recs := filled(b, 10_000)
	var mu sync.Mutex
	n := 0
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			mu.Lock()
			i := n % len(recs)
			recs[i].Version++
			rec := recs[i]
			n++
			mu.Unlock()
			rec.WriteID = [16]byte{byte(n), byte(n >> 8), byte(n >> 16)}
			if err := s.Put(b.Context(), rec); err != nil && session.CodeOf(err) != session.Conflict {
				b.Error(err)
			}
		}
	})
}

func filled(b *testing.B, n int) (*memory.Store, []session.Record) {
	s := memory.New()
	recs := make([]session.Record, n)
	for i := range recs {
		recs[i] = storetest.Record(session.Key{byte(i)})
		recs[i].Body = make([]byte, 2000)
		if err := s.Put(b.Context(), recs[i]); err != nil {
			b.Fatal(err)
		}
	}
	return s, recs
}
