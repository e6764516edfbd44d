package storage

import (
	"encoding/base64"
	"regexp"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

func TestTicket_S2_TenThousandAreUniqueAndMeaningless(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	r := g.replica(t.Context(), t, memory.New())
	text := regexp.MustCompile(`^[A-Za-z0-9_-]{76}$`)
	seen := map[[32]byte]bool{}
	var ones [256]int
	const n = 10_000
	for range n {
		_, value := r.login(t, session.Tokens{}) // the same person each time
		if !text.MatchString(value) {
			t.Fatalf("the ticket %q is not 76 characters of base64url", value)
		}
		ticket, ok := decodeTicket(r.tickets.tickets, value)
		if !ok || seen[ticket.secret] {
			t.Fatalf("ticket %q: decoded %v, seen before %v", value, ok, seen[ticket.secret])
		}
		seen[ticket.secret] = true
		for bit := range ones {
			ones[bit] += int(ticket.secret[bit/8] >> (bit % 8) & 1)
		}
	}
	for bit, count := range ones { // 7 standard deviations: chance fails once in 10^9 runs
		if count < n/2-350 || count > n/2+350 {
			t.Errorf("bit %d of 256 is set in %d of %d tickets", bit, count, n)
		}
	}
}

func TestTicket_S5_EveryByteIsAuthenticated(t *testing.T) {
	mac := ringOf(t, seal.NewKey()).MAC("ticket")
	value := ticket{secret: [32]byte(seal.Random(32)), generation: 7}.encode(mac)
	if _, ok := decodeTicket(mac, value); !ok {
		t.Fatal("a ticket of ours is refused")
	}
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		if _, ok := decodeTicket(mac, base64.RawURLEncoding.EncodeToString(raw)); ok {
			t.Errorf("a ticket with byte %d altered is taken", i)
		}
		raw[i] ^= 1
	}
	for _, bad := range []string{"", value[:len(value)-1], value + "A", value[:75] + "=", " " + value[1:], value[:75] + "\n"} {
		if _, ok := decodeTicket(mac, bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestTicket_S5_KeysAndPurposesAreApart(t *testing.T) {
	key, other := seal.NewKey(), seal.NewKey()
	value := ticket{secret: [32]byte(seal.Random(32)), generation: 1}.encode(ringOf(t, key).MAC("ticket"))
	for _, c := range []struct {
		name string
		mac  *seal.MAC
		want bool
	}{
		{"the same ring", ringOf(t, key).MAC("ticket"), true},
		{"a rotated ring", ringOf(t, other, key).MAC("ticket"), true},
		{"another installation", ringOf(t, other).MAC("ticket"), false},
		{"another purpose", ringOf(t, key).MAC("log id"), false},
	} {
		if _, ok := decodeTicket(c.mac, value); ok != c.want {
			t.Errorf("%s: taken is %v, want %v", c.name, ok, c.want)
		}
	}
}

// fuzzKey is fixed, so that the corpus can hold tickets that verify.
const fuzzKey = "b87db981fdca6766516bba413c45d6956ae69902010943a45db8b2d618e43a52"

func FuzzDecodeTicket(f *testing.F) {
	mac := ringOf(f, fuzzKey).MAC("ticket")
	good := ticket{secret: [32]byte{1, 2, 3}, generation: 4}.encode(mac)
	for _, text := range []string{"", good, good[:len(good)-1], good + "=", good[:40] + "\r\n" + good[42:], "AQ" + good} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := decodeTicket(mac, text)
		if !ok {
			if got != (ticket{}) {
				t.Errorf("refused, and yet something was returned")
			}
			return
		}
		if again := got.encode(mac); again != text { // one ticket has one spelling
			t.Errorf("%q was taken for %q", text, again)
		}
	})
}

func BenchmarkDecodeTicket(b *testing.B) {
	mac := ringOf(b, seal.NewKey()).MAC("ticket")
	value := ticket{secret: [32]byte(seal.Random(32)), generation: 1}.encode(mac)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := decodeTicket(mac, value); !ok {
			b.Fatal("refused")
		}
	}
}
