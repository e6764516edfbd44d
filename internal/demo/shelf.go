package demo

import (
	"crypto/rand"
	"sync"
	"time"
)

// shelf keeps values for a while under names it makes itself. It holds at most max of them: the oldest makes room, because
// everything on a shelf was put there by someone anonymous.
type shelf[V any] struct {
	life time.Duration
	max  int

	mu    sync.Mutex
	items map[string]shelved[V]
}

type shelved[V any] struct {
	value V
	ends  time.Time
}

func newShelf[V any](life time.Duration, max int) *shelf[V] {
	return &shelf[V]{life: life, max: max, items: make(map[string]shelved[V])}
}

// put keeps v and returns its name, which nobody can guess.
func (s *shelf[V]) put(v V) string {
	name := rand.Text()
	s.keep(name, v)
	return name
}

// keep puts v under a name that was made before.
func (s *shelf[V]) keep(name string, v V) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.items) >= s.max {
		s.makeRoom(now)
	}
	s.items[name] = shelved[V]{v, now.Add(s.life)}
}

// get returns what is kept under name.
func (s *shelf[V]) get(name string) (V, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	item, ok := s.items[name]
	if !ok || !time.Now().Before(item.ends) {
		var none V
		return none, false
	}
	return item.value, true
}

// take is get, once.
func (s *shelf[V]) take(name string) (V, bool) {
	v, ok := s.get(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, still := s.items[name]; !still { // someone was faster
		ok = false
	}
	delete(s.items, name)
	return v, ok
}

// drop forgets every value that match names.
func (s *shelf[V]) drop(match func(V) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, item := range s.items {
		if match(item.value) {
			delete(s.items, name)
		}
	}
}

func (s *shelf[V]) makeRoom(now time.Time) {
	var oldest string
	for name, item := range s.items {
		if !now.Before(item.ends) {
			delete(s.items, name)
			continue
		}
		if first, ok := s.items[oldest]; !ok || item.ends.Before(first.ends) {
			oldest = name
		}
	}
	if len(s.items) >= s.max {
		delete(s.items, oldest)
	}
}
