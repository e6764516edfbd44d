// Package recent remembers what was used lately, within bounds.
package recent

import (
	"sync"
	"time"
)

// Map remembers values by key. What it holds is bounded in bytes, and in time where that is wanted: it forgets the longest unused
// first, roughly. It is safe for concurrent use.
//
// Two halves are all the order there is. What is used moves to the young half; when that is full, or old enough, it becomes the old
// one, and what was in there is forgotten.
type Map[K comparable, V any] struct {
	bytes int           // of one half
	age   time.Duration // after which a half turns; 0: never

	mu         sync.Mutex
	young, old half[K, V]
	turned     time.Time // zero: not yet
}

type half[K comparable, V any] struct {
	entries map[K]entry[V]
	weight  int // of all of them, in bytes
}

type entry[V any] struct {
	value  V
	weight int
}

// New returns an empty map that holds about so many bytes. What nobody has used for twice the age is forgotten at the next use of any
// other; age 0 keeps it.
func New[K comparable, V any](bytes int, age time.Duration) *Map[K, V] {
	return &Map[K, V]{bytes: bytes / 2, age: age, young: half[K, V]{entries: map[K]entry[V]{}}}
}

// Get returns what was put under key last.
func (m *Map[K, V]) Get(key K, now time.Time) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grow(now)
	e, ok := m.young.entries[key]
	if !ok {
		if e, ok = m.old.take(key); ok {
			m.put(key, e, now)
		}
	}
	return e.value, ok
}

// Put remembers value, which takes about so many bytes with all that is around it.
func (m *Map[K, V]) Put(key K, value V, weight int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.grow(now)
	m.young.take(key)
	m.old.take(key)
	m.put(key, entry[V]{value, weight}, now)
}

// Take forgets what is under key and returns it.
func (m *Map[K, V]) Take(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.young.take(key)
	if !ok {
		e, ok = m.old.take(key)
	}
	return e.value, ok
}

// Weight is about how many bytes are held now.
func (m *Map[K, V]) Weight() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.young.weight + m.old.weight
}

func (h *half[K, V]) take(key K) (entry[V], bool) {
	e, ok := h.entries[key]
	if ok {
		delete(h.entries, key)
		h.weight -= e.weight
	}
	return e, ok
}

func (m *Map[K, V]) put(key K, e entry[V], now time.Time) {
	if m.young.weight+e.weight > m.bytes {
		m.turn(now)
	}
	m.young.entries[key] = e
	m.young.weight += e.weight
}

// grow turns the halves when it is time.
func (m *Map[K, V]) grow(now time.Time) {
	switch {
	case m.turned.IsZero():
		m.turned = now
	case m.age > 0 && now.Sub(m.turned) >= 2*m.age:
		m.turn(now)
		m.turn(now)
	case m.age > 0 && now.Sub(m.turned) >= m.age:
		m.turn(now)
	}
}

func (m *Map[K, V]) turn(now time.Time) {
	m.young, m.old, m.turned = half[K, V]{entries: map[K]entry[V]{}}, m.young, now
}
