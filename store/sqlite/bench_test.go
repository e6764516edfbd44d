package sqlite

import (
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/session/storetest"
)

func filled(b *testing.B, n int) (*Store, []session.Record) {
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "bench.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	recs := make([]session.Record, n)
	for i := range recs {
		recs[i] = storetest.Record(session.Key{byte(i), byte(i >> 8)})
		recs[i].Body = make([]byte, 1500)
		rand.Read(recs[i].Body)
		if err := s.Put(b.Context(), recs[i]); err != nil {
			b.Fatal(err)
		}
	}
	return s, recs
}

func BenchmarkGet(b *testing.B) {
	s, recs := filled(b, 10_000)
	for _, goroutines := range []int{1, 8} {
		b.Run(fmt.Sprint("goroutines=", goroutines), func(b *testing.B) {
			spread(b, goroutines, func(i int) error {
				_, err := s.Get(b.Context(), recs[i%len(recs)].ID)
				return err
			})
		})
	}
}

// BenchmarkPut changes records. With more goroutines more writes share a transaction.
func BenchmarkPut(b *testing.B) {
	for _, goroutines := range []int{1, 16, 64} {
		b.Run(fmt.Sprint("goroutines=", goroutines), func(b *testing.B) {
			s, recs := filled(b, 10_000)
			spread(b, goroutines, func(i int) error {
				rec := recs[i%len(recs)]
				rec.Version = 1 + uint64(i/len(recs))
				rand.Read(rec.WriteID[:])
				err := s.Put(b.Context(), rec)
				if session.CodeOf(err) == session.Conflict { // overtaken by the next round's writer: it cost the same
					return nil
				}
				return err
			})
		})
	}
}

func spread(b *testing.B, goroutines int, do func(i int) error) {
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	done := make(chan error, goroutines)
	for range goroutines {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					done <- nil
					return
				}
				if err := do(i); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range goroutines {
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}
