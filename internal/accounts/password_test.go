package accounts

import (
	"context"
	"fmt"
	"regexp"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// What is stored is a PHC string with the recommended cost and a salt of its own, and not the password.
func TestPassword_U1_StoredAsArgon2id(t *testing.T) {
	a := open(t, nil)
	a.hasher = newHasher(Options{}.withDefaults().Hash)
	first, second := a.mustRegister(t, ada), a.mustRegister(t, "grace@example.com")
	form := regexp.MustCompile(`^\$argon2id\$v=19\$m=47104,t=1,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$`)
	for _, account := range []*Account{first, second} {
		stored, err := a.db.byID(context.Background(), account.ID)
		if err != nil || !form.MatchString(stored.password) {
			t.Errorf("stored as %q, %v", stored.password, err)
		}
	}
	if first.password == second.password {
		t.Error("the same password has the same hash twice: no salt")
	}
}

func TestArgon2id_RefusesWhatIsOutOfBounds(t *testing.T) {
	for _, phc := range []string{
		"x", "$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=4096,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1,p=0$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1,p=1$$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFh$CTFh",
	} {
		if ok, err := newHasher(cheap).Verify(context.Background(), phc, "password"); ok || err == nil {
			t.Errorf("%q was taken: %t, %v", phc, ok, err)
		}
	}
}

func TestHash_U1_RefusesWhatIsTooCheap(t *testing.T) {
	for _, v := range []struct {
		hash Hash
		good bool
	}{
		{Hash{}, true}, {Hash{Memory: 47104, Time: 1, Threads: 1}, true}, {Hash{Memory: 19456, Time: 2, Threads: 1}, true}, {Hash{Memory: 12288, Time: 3, Threads: 1}, true}, {Hash{Memory: 7168, Time: 5, Threads: 2}, true},
		{Hash{Memory: 19456, Time: 1, Threads: 1}, false}, {Hash{Memory: 47103, Time: 1, Threads: 4}, false}, {Hash{Memory: 4096, Time: 32, Threads: 1}, false}, {Hash{Memory: 47104, Time: 100, Threads: 1}, false},
		{Hash{Memory: 1 << 20, Time: 1, Threads: 1}, false}, {Hash{Memory: 47104, Time: 1, Threads: 1000}, false}, {Hash{Memory: -1, Time: 1, Threads: 1}, false},
	} {
		if err := v.hash.WithDefaults().Check(); (err == nil) != v.good {
			t.Errorf("%+v: %v", v.hash, err)
		}
	}
}

// A hash that costs less than hashes do now is replaced at the next login, and only then.
func TestSignIn_U2_RehashesWhenTheCostGrew(t *testing.T) {
	a := open(t, nil)
	made := a.mustRegister(t, ada)
	stored := func() string {
		t.Helper()
		account, err := a.db.byID(context.Background(), made.ID)
		if err != nil {
			t.Fatal(err)
		}
		return account.password
	}
	for _, v := range []struct {
		cost Hash
		want string
	}{
		{Hash{Memory: 128, Time: 1, Threads: 1}, "m=128,t=1,p=1"}, {Hash{Memory: 128, Time: 2, Threads: 1}, "m=128,t=2,p=1"},
		{cheap, "m=128,t=2,p=1"}, // it costs more than is asked for: that is as well
	} {
		a.hasher = newHasher(v.cost)
		if _, err := a.SignIn(context.Background(), ada, "wrong "+password, home); err == nil {
			t.Fatal("a wrong password was right")
		}
		before := stored()
		if _, err := a.SignIn(context.Background(), ada, password, home); err != nil {
			t.Fatal(err)
		}
		if after := stored(); !strings.Contains(after, v.want) || v.cost == cheap && after != before {
			t.Errorf("with %+v: %q, want %s", v.cost, after, v.want)
		}
	}
	if now, _ := a.db.byID(context.Background(), made.ID); now.epoch != made.epoch {
		t.Error("a rehash is no change of the password: sessions go on")
	}
}

// However many sign in at once, only a few hash: each takes 46 MiB. All of them get their answer.
func TestSignIn_U3_ManyAtOnceTakeBoundedMemory(t *testing.T) {
	a := open(t, nil)
	a.hasher = newHasher(Options{}.withDefaults().Hash)
	a.mustRegister(t, ada)
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/total:bytes"}}
	stop, peak := make(chan struct{}), uint64(0)
	var watch, all sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				metrics.Read(heap)
				peak = max(peak, heap[0].Value.Uint64())
			}
		}
	})
	const logins = 40
	for range logins {
		all.Go(func() {
			if _, err := a.SignIn(context.Background(), ada, password, ""); err != nil && session.CodeOf(err) != session.TooMany {
				t.Errorf("sign in: %v", err)
			}
		})
	}
	all.Wait()
	close(stop)
	watch.Wait()
	if most := uint64(400 << 20); peak > most {
		t.Errorf("the heap had %d MiB, %d logins", peak>>20, logins)
	}
}

func TestHasher_U3_QueueIsBounded(t *testing.T) {
	h := newHasher(cheap)
	if err := h.free.Acquire(context.Background(), h.slots); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var waiting sync.WaitGroup
	for range mostWaiting {
		waiting.Go(func() {
			_, err := h.Hash(ctx, password)
			wantCode(t, err, session.ProviderDown)
		})
	}
	for h.waiting.Load() < mostWaiting {
		time.Sleep(time.Millisecond)
	}
	_, err := h.Hash(context.Background(), password)
	wantCode(t, err, session.ProviderDown)
	cancel()
	waiting.Wait()
	h.free.Release(h.slots)
	if _, err := h.Hash(context.Background(), password); err != nil {
		t.Errorf("it does not recover: %v", err)
	}
}

// A hash that takes the memory of several of ours takes their turns, too.
func TestHasher_U3_LargeHashesTakeMoreTurns(t *testing.T) {
	h := newHasher(Hash{Memory: 1024, Time: 1, Threads: 1})
	for _, v := range []struct {
		hash   string
		memory int
	}{
		{"$scrypt$ln=17,r=8,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 128 << 10},
		{"$scrypt$ln=1,r=1,p=1$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 1},
		{"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", 65536},
		{"$pbkdf2-sha256$1000$c2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 1},
	} {
		hash, err := parseHash(v.hash)
		if err != nil || hash.memory() != v.memory {
			t.Fatalf("%s: %v, %d KiB", v.hash, err, hash.memory())
		}
		done, err := h.turn(context.Background(), hash.memory())
		if err != nil {
			t.Fatal(err)
		}
		if h.free.TryAcquire(h.slots) {
			t.Errorf("%s took no turn", v.hash)
		}
		if others := h.slots > 1 && h.free.TryAcquire(1); others != (h.slots > 1 && v.memory <= 1024) {
			t.Errorf("%s leaves others a turn: %t", v.hash, others)
		} else if others {
			h.free.Release(1)
		}
		done()
	}
}

// Nothing is cut, folded or forbidden.
func TestPassword_U4_TakenAsItIs(t *testing.T) {
	seventyTwo := strings.Repeat("x1", 36)
	for _, v := range []struct {
		name, password string
		others         []string // what must not open the account
		code           session.Code
	}{
		{"OneByte", "x", nil, session.PasswordShort},
		{"SevenCharacters", "äöüßéèê", nil, session.PasswordShort},
		{"EightCharacters", "äöüßéèêñ", []string{"aou\u00dfeeen", "ÄÖÜSSÉÈÊÑ"}, ""},
		{"72Bytes", seventyTwo, []string{seventyTwo + "y", seventyTwo[:71]}, ""},
		{"73Bytes", seventyTwo + "y", []string{seventyTwo, seventyTwo + "z"}, ""},
		{"1024Bytes", strings.Repeat("long", 256), []string{strings.Repeat("long", 255) + "lonG"}, ""},
		{"1025Bytes", strings.Repeat("x", 1025), nil, session.PasswordLong},
		{"100000Bytes", strings.Repeat("x", 100_000), nil, session.PasswordLong},
		{"NUL", "before\x00behind", []string{"before", "before\x00", "before\x00other"}, ""},
		{"Emoji", "🐴🔋📎✅🐴🔋📎✅", []string{"🐴🔋📎✅🐴🔋📎❌"}, ""},
		{"Combining", "cafe\u0301 noir", []string{"caf\u00e9 noir", "cafe noir"}, ""},
		{"Spaces", "  spaces around  ", []string{"spaces around"}, ""},
		{"UpperCase", "Correct Horse Battery", []string{"correct horse battery"}, ""},
		{"NotUTF8", "not utf-8 \xff\xfe", nil, session.BadRequest},
		{"Common", "password1", nil, session.PasswordCommon},
		{"CommonInUpperCase", "PassWord1", nil, session.PasswordCommon},
		{"Identifier", "Person@example.com", nil, session.PasswordCommon},
	} {
		t.Run(v.name, func(t *testing.T) {
			a := open(t, nil)
			_, err := a.Register(context.Background(), Registration{Identifier: "person@example.com", Password: v.password}, home)
			if v.code != "" {
				wantCode(t, err, v.code)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range v.others {
				_, err := a.SignIn(context.Background(), "person@example.com", other, home)
				wantCode(t, err, session.WrongCredentials)
			}
			if _, err := a.SignIn(context.Background(), "person@example.com", v.password, home); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPassword_U5_CommonOnesAreRefused(t *testing.T) {
	list := commonest()
	if len(list) < 10_000 || !slices.IsSorted(list) {
		t.Fatalf("a list of %d, sorted: %t", len(list), slices.IsSorted(list))
	}
	for _, one := range list {
		if err := fit(one, ada); session.CodeOf(err) != session.PasswordCommon {
			t.Fatalf("%q: %v", one, err)
		}
	}
	a := open(t, nil)
	made := a.mustRegister(t, ada)
	_, err := a.changePassword(context.Background(), made.ID, password, "trustno1", home)
	wantCode(t, err, session.PasswordCommon)
	if _, err := a.SignIn(context.Background(), ada, password, home); err != nil {
		t.Errorf("a refused change changed something: %v", err)
	}
}

// An unknown identifier, a wrong password and a disabled account take the same time, and are answered alike.
func TestSignIn_U6_SameAnswerAndSameTime(t *testing.T) {
	a := open(t, nil)
	a.hasher = newHasher(Hash{Memory: 4096, Time: 1, Threads: 1})
	a.mustRegister(t, ada)
	gone := a.mustRegister(t, "gone@example.com")
	if _, err := a.db.change(context.Background(), "disable", "UPDATE account SET disabled = 1 WHERE id = ?", gone.ID); err != nil {
		t.Fatal(err)
	}
	attempts := []struct{ identifier, password string }{
		{ada, "wrong " + password}, {"nobody@example.com", password}, {"gone@example.com", password}, {"no address", password},
	}
	// The fastest of many, in turn: what else the machine does only adds. And a few times over, because it may add to all of one kind:
	// a difference that is ours is there every time.
	differ := func() string {
		fastest := make([]time.Duration, len(attempts))
		for round := range 60 {
			for i := range attempts {
				i = (round + i) % len(attempts)
				a.throttle = newThrottle()
				start := time.Now()
				_, err := a.SignIn(context.Background(), attempts[i].identifier, attempts[i].password, home)
				if took := time.Since(start); fastest[i] == 0 || took < fastest[i] {
					fastest[i] = took
				}
				wantCode(t, err, session.WrongCredentials)
			}
		}
		for i, v := range attempts[1:] {
			if got, want := fastest[i+1], fastest[0]; got < want*7/10 || got > want*14/10 {
				return fmt.Sprintf("%s takes %s, a wrong password %s", v.identifier, got, want)
			}
		}
		return ""
	}
	why := differ()
	for tries := 1; why != "" && tries < 5; tries++ {
		why = differ()
	}
	if why != "" {
		t.Error(why)
	}
}
