package accounts

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// After some wrong tries the next has to wait, twice as long each time. The right password from elsewhere is not kept waiting for
// long, and at home it works as soon as the wait is over.
func TestThrottle_U7_DelaysGrowAndNobodyIsLockedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &Accounts{throttle: newThrottle()}
		var waits []time.Duration
		for range 20 {
			_, _, err := a.throttle.Attempt(ada, abroad)
			for session.CodeOf(err) == session.TooMany {
				wait := session.WaitOf(err)
				waits = append(waits, wait)
				time.Sleep(wait - time.Nanosecond)
				if _, _, err := a.throttle.Attempt(ada, abroad); session.CodeOf(err) != session.TooMany {
					t.Fatalf("the wait of %s is not kept: %v", wait, err)
				}
				time.Sleep(time.Nanosecond)
				_, _, err = a.throttle.Attempt(ada, abroad)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if len(waits) != 20-6 || waits[0] != time.Second || waits[1] != 2*time.Second || waits[5] != 32*time.Second || waits[13] != 15*time.Minute {
			t.Errorf("waits %v", waits)
		}

		right, pause, err := a.throttle.Attempt(ada, home)
		if err != nil || pause > accountRule.most {
			t.Fatalf("from another address: %v, pause %s", err, pause)
		}
		right.Right()
		if _, _, err := a.throttle.Attempt(ada, abroad); session.CodeOf(err) != session.TooMany {
			t.Errorf("the person's login lets the other one go on: %v", err)
		}
		time.Sleep(15 * time.Minute)
		right, _, err = a.throttle.Attempt(ada, abroad)
		if err != nil {
			t.Fatal(err)
		}
		right.Right()
		if _, _, err := a.throttle.Attempt(ada, abroad); err != nil {
			t.Errorf("after the right password: %v", err)
		}
	})
}

// Tries that begin before the first is answered count as well.
func TestThrottle_U7_ManyAtOnceAreMany(t *testing.T) {
	a := open(t, nil)
	a.mustRegister(t, ada)
	var all sync.WaitGroup
	var looked atomic.Int64
	for i := range 200 {
		all.Go(func() {
			_, err := a.SignIn(context.Background(), ada, fmt.Sprintf("guess number %d", i), home)
			if session.CodeOf(err) == session.WrongCredentials {
				looked.Add(1)
			}
		})
	}
	all.Wait()
	if n := looked.Load(); n > int64(pairRule.free)+3 || n == 0 {
		t.Errorf("%d of 200 guesses were looked at", n)
	}
}

// One address cannot go through many accounts, and an account of one's own does not help.
func TestThrottle_U7_OneAddressManyAccounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		tried := 0
		for i := range 1000 {
			if _, _, err := th.Attempt(fmt.Sprint("person", i), abroad); err == nil {
				tried++
			}
			if own, _, err := th.Attempt("own", abroad); err == nil {
				own.Right()
			}
		}
		if tried != addressRule.free+1 {
			t.Errorf("%d accounts were tried at once", tried)
		}
		if _, _, err := th.Attempt("person", home); err != nil {
			t.Errorf("another address: %v", err)
		}
		// A hundred people behind one address make a mistake now and then.
		time.Sleep(addressRule.forget / 2)
		for i := range 100 {
			time.Sleep(addressRule.excuse)
			if _, _, err := th.Attempt(fmt.Sprint("colleague", i), abroad); err != nil {
				t.Fatalf("mistake %d of an office: %v", i, err)
			}
		}
		time.Sleep(addressRule.forget + time.Second)
		if _, _, err := th.Attempt("person", abroad); err != nil {
			t.Errorf("an hour later: %v", err)
		}
	})
}

// From many addresses each try for one account takes longer, and none is refused.
func TestThrottle_U7_ManyAddressesOneAccount(t *testing.T) {
	th := newThrottle()
	last := time.Duration(0)
	for i := range 200 {
		_, pause, err := th.Attempt(ada, fmt.Sprintf("198.51.100.%d", i))
		if err != nil || pause < last {
			t.Fatalf("try %d: pause %s after %s, %v", i, pause, last, err)
		}
		last = pause
	}
	if last != accountRule.most {
		t.Errorf("at the end a try takes %s longer", last)
	}
}

// What came to no verdict was no try: a database that is away keeps nobody out.
func TestThrottle_NoVerdictIsTakenBack(t *testing.T) {
	a := open(t, nil)
	a.mustRegister(t, ada)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for range 50 {
		_, err := a.SignIn(ctx, ada, password, home)
		wantCode(t, err, session.ProviderDown)
	}
	if _, err := a.SignIn(context.Background(), ada, password, home); err != nil {
		t.Error(err)
	}
}

func TestThrottle_MemoryIsBounded(t *testing.T) {
	th := newThrottle()
	for i := range 3 * mostCounts {
		_, _, _ = th.Attempt(fmt.Sprint(i), fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff))
	}
	for _, tally := range []*tally{&th.pairs, &th.addresses, &th.accounts} {
		if n := len(tally.young) + len(tally.old); n > 2*mostCounts {
			t.Errorf("%d counts are kept", n)
		}
	}
}

func TestRegister_U7_BoundedByAddress(t *testing.T) {
	a := open(t, nil)
	var err error
	made := 0
	for i := range 100 {
		_, err = a.Register(context.Background(), Registration{Identifier: fmt.Sprintf("person%d@example.com", i), Password: password}, home)
		if err == nil {
			made++
		}
	}
	wantCode(t, err, session.TooMany)
	if made != registerRule.free+1 || session.WaitOf(err) <= 0 {
		t.Errorf("%d accounts were made, wait %s", made, session.WaitOf(err))
	}
	if _, err := a.Register(context.Background(), Registration{Identifier: ada, Password: password}, abroad); err != nil {
		t.Errorf("another address: %v", err)
	}
}
