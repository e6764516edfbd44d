package gateway

import (
	"net/netip"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
)

// limiter bounds what can be begun in somebody's name: so many a minute for each, and in all. It forgets every minute, and holds
// no more names than may begin something.
type limiter[K comparable] struct {
	each, all int

	mu     sync.Mutex
	minute int64
	total  int
	counts map[K]int
}

func newLimiter[K comparable](each, all int) *limiter[K] {
	return &limiter[K]{each: each, all: all, counts: map[K]int{}}
}

// Allow counts one attempt and reports whether it is within the limits.
func (l *limiter[K]) Allow(key K) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now().Unix() / 60; now != l.minute {
		l.minute, l.total = now, 0
		clear(l.counts)
	}
	if l.total >= l.all || l.counts[key] >= l.each {
		return false
	}
	l.total++
	l.counts[key]++
	return true
}

// addressKey is what an address counts as. Texts that are none count as one.
func addressKey(address string) netip.Prefix {
	addr, _ := netip.ParseAddr(address)
	return origin.AddressKey(addr)
}

// What narrower tokens one session may be given in a minute, and all of them together: each costs a call to the provider, which has
// limits of its own, and whom it refuses is the whole gateway. A page needs one when it is opened, and when that one is over.
const (
	narrowedEach = 30
	narrowedAll  = 30_000
)
