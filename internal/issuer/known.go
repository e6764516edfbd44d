package issuer

import (
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// Limits of what is remembered. A token that is revoked at its issuer goes on here for MostTrust at most.
const (
	MostTrust  = 60 * time.Second
	mostMemory = 16 << 20 // bytes, about
	mostToken  = 16 << 10 // bytes of one token
)

// Known remembers tokens that were found good, since finding that out costs a hundred times what a look into memory does. What it
// holds is bounded: it forgets the longest unused first, roughly. It never holds a token, only a hash of it.
//
// Two halves are all the order there is. What is used moves to the young half; when that is full, it becomes the old one, and what
// was in there is forgotten.
type Known[T any] struct {
	mu         sync.Mutex
	young, old map[[32]byte]known[T]
	weight     int // of young, in bytes
}

type known[T any] struct {
	value  T
	until  time.Time
	weight int
}

// NewKnown returns an empty one.
func NewKnown[T any]() *Known[T] { return &Known[T]{young: map[[32]byte]known[T]{}} }

// KeyOf is what a token is known by, for an audience. TokenInvalid: it is longer than access tokens are.
func KeyOf(token, audience string) ([32]byte, error) {
	if len(token) > mostToken {
		return [32]byte{}, invalid("it has %d bytes; no access token has more than %d", len(token), mostToken)
	}
	return seal.HashText("bearer", audience, token), nil // nothing with a zero byte comes as far as this
}

// Get returns what was put under key and is believed now.
func (k *Known[T]) Get(key [32]byte, now time.Time) (value T, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e, ok := k.young[key]
	if !ok {
		if e, ok = k.old[key]; ok {
			delete(k.old, key)
			k.put(key, e)
		}
	}
	if !ok || !now.Before(e.until) {
		return value, false
	}
	return e.value, true
}

// Put remembers value, which holds about so many bytes, for MostTrust, or until it ends. A zero end says nothing.
func (k *Known[T]) Put(key [32]byte, value T, size int, now, end time.Time) {
	e := known[T]{value, now.Add(MostTrust), 1024 + 4*size}
	if !end.IsZero() && end.Before(e.until) {
		e.until = end
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.put(key, e)
}

func (k *Known[T]) put(key [32]byte, e known[T]) {
	if k.weight += e.weight; k.weight > mostMemory/2 {
		k.young, k.old, k.weight = map[[32]byte]known[T]{}, k.young, e.weight
	}
	k.young[key] = e
}
