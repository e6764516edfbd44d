package issuer

import (
	"time"

	"github.com/cloakroom-go/cloakroom/internal/recent"
	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// Limits of what is remembered. A token that is revoked at its issuer goes on here for MostTrust at most.
const (
	MostTrust  = 60 * time.Second
	mostMemory = 16 << 20 // bytes, about
	mostToken  = 16 << 10 // bytes of one token
)

// Known remembers tokens that were found good, since finding that out costs a hundred times what a look into memory does. It never holds
// a token, only a hash of it.
type Known[T any] struct {
	recent *recent.Map[[32]byte, known[T]]
}

type known[T any] struct {
	value T
	until time.Time
}

// NewKnown returns an empty one.
func NewKnown[T any]() *Known[T] {
	return &Known[T]{recent.New[[32]byte, known[T]](mostMemory, 0)}
}

// KeyOf is what a token is known by, for an audience. TokenInvalid: it is longer than access tokens are.
func KeyOf(token, audience string) ([32]byte, error) {
	if len(token) > mostToken {
		return [32]byte{}, invalid("it has %d bytes; no access token has more than %d", len(token), mostToken)
	}
	return seal.HashText("bearer", audience, token), nil // nothing with a zero byte comes as far as this
}

// Get returns what was put under key and is believed now.
func (k *Known[T]) Get(key [32]byte, now time.Time) (value T, ok bool) {
	e, ok := k.recent.Get(key, now)
	if !ok || !now.Before(e.until) {
		return value, false
	}
	return e.value, true
}

// Put remembers value, which holds about so many bytes, for MostTrust, or until it ends. A zero end says nothing.
func (k *Known[T]) Put(key [32]byte, value T, size int, now, end time.Time) {
	e := known[T]{value, now.Add(MostTrust)}
	if !end.IsZero() && end.Before(e.until) {
		e.until = end
	}
	k.recent.Put(key, e, 1024+4*size, now)
}
