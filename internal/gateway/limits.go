package gateway

import (
	"net/netip"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
)

// limiter bounds what anonymous requests can begin: so many a minute for each address, and in all. It forgets every minute,
// and holds no more addresses than may begin something.
type limiter struct {
	each, all int

	mu     sync.Mutex
	minute int64
	total  int
	counts map[netip.Prefix]int
}

func newLimiter(each, all int) *limiter {
	return &limiter{each: each, all: all, counts: map[netip.Prefix]int{}}
}

// Allow counts one attempt from an address and reports whether it is within the limits. Texts that are no address count as one.
func (l *limiter) Allow(address string) bool {
	addr, _ := netip.ParseAddr(address)
	key := origin.AddressKey(addr)
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
