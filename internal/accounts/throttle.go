package accounts

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// throttle makes guessing slow. It counts wrong passwords three ways:
//
//   - of one address for one account: after a few the next try has to wait, twice as long each time;
//   - of one address for all accounts: the same with more patience, since many people may share it;
//   - of all addresses for one account: each try takes a little longer, and none is refused. Otherwise a stranger could keep the
//     person out.
//
// An attempt is counted before the password is looked at and taken back when it was right, so that a hundred at once are a hundred.
// It is in memory, bounded, and forgets when the process ends; each replica counts for itself.
type throttle struct {
	mu                                               sync.Mutex
	pairs, addresses, accounts, registrations, codes tally
	mails, mailers                                   tally
}

// rule is how patient one way of counting is.
type rule struct {
	free   int           // wrong tries without consequence
	first  time.Duration // the wait after the next one; it doubles with each
	most   time.Duration
	forget time.Duration // all of them, after this long without another
	excuse time.Duration // one of them, each time that so much has passed; 0 never
}

var (
	pairRule    = rule{free: 5, first: time.Second, most: 15 * time.Minute, forget: 24 * time.Hour}
	addressRule = rule{free: 100, first: time.Second, most: time.Minute, forget: time.Hour, excuse: 30 * time.Second} // a whole office
	// Registrations count whatever comes of them: an address is taken or is not, and a stranger would like to know.
	registerRule = rule{free: 20, first: 10 * time.Second, most: 10 * time.Minute, forget: time.Hour}
	// A code has six digits. Only who knows the password gets to guess one of an app, and who has one by mail has a link as well, so that the
	// account itself may wait, wherever the tries come from: a day of them finds one code in some thousands.
	codeRule = rule{free: 5, first: 30 * time.Second, most: 15 * time.Minute, forget: 24 * time.Hour}
	// Mails count for whom they are for, account or not, and for who asks for them. Nobody is kept out by a stranger: the links of all of
	// them work, and the wait for the next one is short.
	mailRule    = rule{free: 3, first: 30 * time.Second, most: 2 * time.Minute, forget: time.Hour}
	mailerRule  = rule{free: 20, first: 10 * time.Second, most: 10 * time.Minute, forget: time.Hour}
	accountRule = rule{free: 10, first: 50 * time.Millisecond, most: 2 * time.Second, forget: time.Hour}
)

func (r rule) wait(failures int) time.Duration {
	if failures <= r.free {
		return 0
	}
	return min(r.first<<min(failures-r.free-1, 30), r.most)
}

// place is a hash of what is counted by: texts from outside would make it as large as they like.
type place [16]byte

func placeOf(parts ...string) place {
	sum := seal.Hash("throttle", []byte(strings.Join(parts, "\x00")))
	return place(sum[:16])
}

// tally counts by place, in two generations: when the young one is full it becomes the old one, and the old one is forgotten.
type tally struct {
	rule       rule
	young, old map[place]count
}

type count struct {
	failures int
	last     time.Time // of the failures
}

// mostCounts is how many keys one generation has, of some 100 bytes each.
const mostCounts = 50_000

func newThrottle() *throttle {
	return &throttle{
		pairs:     tally{rule: pairRule, young: map[place]count{}},
		addresses: tally{rule: addressRule, young: map[place]count{}},
		accounts:  tally{rule: accountRule, young: map[place]count{}},

		registrations: tally{rule: registerRule, young: map[place]count{}},
		codes:         tally{rule: codeRule, young: map[place]count{}},

		mails:   tally{rule: mailRule, young: map[place]count{}},
		mailers: tally{rule: mailerRule, young: map[place]count{}},
	}
}

func (t *tally) get(key place, now time.Time) count {
	c, ok := t.young[key]
	if !ok {
		c = t.old[key]
	}
	since := now.Sub(c.last)
	if since > t.rule.forget {
		return count{}
	}
	if t.rule.excuse > 0 {
		c.failures = max(0, c.failures-int(since/t.rule.excuse))
	}
	return c
}

func (t *tally) set(key place, c count) {
	if c.failures <= 0 {
		delete(t.young, key)
		delete(t.old, key)
		return
	}
	if _, there := t.young[key]; !there && len(t.young) >= mostCounts {
		t.old, t.young = t.young, map[place]count{}
	}
	t.young[key] = c
}

// left is how long the next try has to wait.
func (t *tally) left(key place, now time.Time) time.Duration {
	c := t.get(key, now)
	return c.last.Add(t.rule.wait(c.failures)).Sub(now)
}

func (t *tally) add(key place, now time.Time) time.Duration {
	c := t.get(key, now)
	c.failures, c.last = c.failures+1, now
	t.set(key, c)
	return t.rule.wait(c.failures)
}

func (t *tally) takeBack(key place, now time.Time) {
	c := t.get(key, now)
	c.failures--
	t.set(key, c)
}

// networkOf is what addresses count by. Texts that are no address count as one.
func networkOf(address string) string {
	addr, _ := netip.ParseAddr(address)
	return origin.AddressKey(addr).String()
}

// Register counts a try to register from an address. TooMany: as of Attempt.
func (t *throttle) Register(address string) error {
	key, now := placeOf(networkOf(address)), time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := t.registrations.left(key, now); wait > 0 {
		return &session.Error{Code: session.TooMany, Op: "register", Wait: wait}
	}
	t.registrations.add(key, now)
	return nil
}

// codeAttempt is a try of a code.
type codeAttempt struct {
	t       *throttle
	account place
}

// Code counts a try of a code for an account. TooMany: as of Attempt.
func (t *throttle) Code(account string) (codeAttempt, error) {
	a, now := codeAttempt{t, placeOf("code", account)}, time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := t.codes.left(a.account, now); wait > 0 {
		return a, &session.Error{Code: session.TooMany, Op: "check code", Wait: wait}
	}
	t.codes.add(a.account, now)
	return a, nil
}

// Right forgets the wrong ones.
func (a codeAttempt) Right() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.codes.set(a.account, count{})
}

// TakeBack is for a try that came to no verdict.
func (a codeAttempt) TakeBack() {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.codes.takeBack(a.account, time.Now())
}

// Mail counts a mail that somebody at an address asks for, to whoever has an identifier, if anybody. TooMany: as of Attempt.
func (t *throttle) Mail(identifier, address string) (takeBack func(), err error) {
	to, from, now := placeOf("", identifier), placeOf(networkOf(address)), time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := max(t.mails.left(to, now), t.mailers.left(from, now)); wait > 0 {
		return nil, &session.Error{Code: session.TooMany, Op: "ask for mail", Wait: wait}
	}
	t.mails.add(to, now)
	t.mailers.add(from, now)
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.mails.takeBack(to, time.Now())
		t.mailers.takeBack(from, time.Now())
	}, nil
}

// attempt is one that was counted.
type attempt struct {
	t                      *throttle
	pair, address, account place
}

// Attempt counts a try for an account's identifier, known or not, from an address. pause is how long to make it take. TooMany, with
// the wait: it is too early for another one.
func (t *throttle) Attempt(identifier, address string) (a attempt, pause time.Duration, err error) {
	network := networkOf(address)
	a = attempt{t, placeOf(network, identifier), placeOf(network), placeOf("", identifier)}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := max(t.pairs.left(a.pair, now), t.addresses.left(a.address, now)); wait > 0 {
		return a, 0, &session.Error{Code: session.TooMany, Op: "sign in", Wait: wait}
	}
	t.pairs.add(a.pair, now)
	t.addresses.add(a.address, now)
	return a, t.accounts.add(a.account, now), nil
}

// Right takes the attempt back: the password was right. Of the address and of the account only this one is forgotten: whoever has an
// account could otherwise go on guessing another.
func (a attempt) Right() {
	now := time.Now()
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.pairs.set(a.pair, count{})
	a.t.addresses.takeBack(a.address, now)
	a.t.accounts.takeBack(a.account, now)
}

// TakeBack is for an attempt that came to no verdict.
func (a attempt) TakeBack() {
	now := time.Now()
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.t.pairs.takeBack(a.pair, now)
	a.t.addresses.takeBack(a.address, now)
	a.t.accounts.takeBack(a.account, now)
}
