package issuer

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// However many tokens come, the memory for them is bounded; and what is used stays.
func TestKnown_Bounded(t *testing.T) {
	k, now := NewKnown[int](), time.Unix(1_800_000_000, 0)
	key := func(n int) [32]byte {
		key, err := KeyOf(fmt.Sprint(n), "api")
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	for n := range 5000 { // ten kilobytes each would be 50 MB, and what is made of them more
		k.Put(key(n), n, 10<<10, now, time.Time{})
		if got, ok := k.Get(key(0), now); !ok || got != 0 {
			t.Fatalf("what is used all the time is forgotten after %d more", n)
		}
		if weight := k.recent.Weight(); weight > mostMemory {
			t.Fatalf("%d bytes are remembered", weight)
		}
	}
	if _, ok := k.Get(key(4999), now); !ok {
		t.Error("the newest is not remembered")
	}
	if _, ok := k.Get(key(1), now); ok {
		t.Error("nothing is forgotten")
	}
}

func TestKnown_A5_UntilItEnds(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		name string
		end  time.Duration // 0: it does not say
		want time.Duration
	}{
		{"in an hour", time.Hour, time.Minute}, {"in ten seconds", 10 * time.Second, 10 * time.Second}, {"unknown", 0, time.Minute},
	} {
		k, end := NewKnown[int](), time.Time{}
		if c.end > 0 {
			end = start.Add(c.end)
		}
		k.Put([32]byte{1}, 7, 0, start, end)
		if v, ok := k.Get([32]byte{1}, start.Add(c.want-1)); !ok || v != 7 {
			t.Errorf("%s: forgotten before %s", c.name, c.want)
		}
		if _, ok := k.Get([32]byte{1}, start.Add(c.want)); ok {
			t.Errorf("%s: believed after %s", c.name, c.want)
		}
		if _, ok := k.Get([32]byte{2}, start); ok {
			t.Errorf("%s: another one is known", c.name)
		}
	}
}

func TestKeyOf(t *testing.T) {
	a, err1 := KeyOf("token", "a")
	b, err2 := KeyOf("token", "b")
	if err1 != nil || err2 != nil || a == b {
		t.Errorf("what is good for one API is good for another: %v, %v", err1, err2)
	}
	if _, err := KeyOf(strings.Repeat("x", mostToken), "a"); err != nil {
		t.Error(err)
	}
	if _, err := KeyOf(strings.Repeat("x", mostToken+1), "a"); session.CodeOf(err) != session.TokenInvalid {
		t.Errorf("got %v, want token_invalid", err)
	}
}
