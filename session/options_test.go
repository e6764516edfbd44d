package session_test

import (
	"crypto/subtle"
	"encoding/base64"
	"math"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestOptions_T1T2T3_Ends(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return now.Add(d) }
	o := session.Options{Idle: 30 * time.Minute, Absolute: 12 * time.Hour}
	for _, c := range []struct {
		name     string
		tokens   session.Tokens
		absolute time.Time
		want     time.Time
	}{
		{"idle", session.Tokens{Refresh: "r", Expires: at(time.Minute)}, at(time.Hour), at(30 * time.Minute)},
		{"absolute", session.Tokens{Refresh: "r"}, at(10 * time.Minute), at(10 * time.Minute)},
		{"refresh token", session.Tokens{Refresh: "r", RefreshExpires: at(5 * time.Minute)}, at(time.Hour), at(5 * time.Minute)},
		{"refresh token outlives it", session.Tokens{Refresh: "r", RefreshExpires: at(5 * time.Hour)}, at(time.Hour), at(30 * time.Minute)},
		{"no refresh token", session.Tokens{Expires: at(time.Minute)}, at(time.Hour), at(time.Minute)},
		{"no refresh token, no lifetime", session.Tokens{}, at(time.Hour), at(30 * time.Minute)},
	} {
		s := &session.Session{Grant: session.Grant{Tokens: c.tokens}, Life: session.Life{Seen: now, Absolute: c.absolute}}
		if got := o.Ends(s); !got.Equal(c.want) {
			t.Errorf("%s: ends after %v, want %v", c.name, got.Sub(now), c.want.Sub(now))
		}
	}
}

func TestOptions_T1_SlideDue(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		idle, want time.Duration
	}{
		{30 * time.Minute, 3 * time.Minute}, {8 * time.Hour, 48 * time.Minute}, {5 * time.Minute, time.Minute}, {time.Minute, 30 * time.Second},
	} {
		o, s := session.Options{Idle: c.idle}, &session.Session{Life: session.Life{Seen: now}}
		if o.SlideDue(s, now.Add(c.want-1)) || !o.SlideDue(s, now.Add(c.want)) {
			t.Errorf("idle %v: a slide is not due after exactly %v", c.idle, c.want)
		}
	}
}

func TestPending_L2L5_DerivesThreeSecretsFromOne(t *testing.T) {
	seen := map[string]bool{}
	for round := range 1000 {
		p := session.NewPending("p", "https://id.example", session.Intent{Round: round % (session.MaxRounds + 1)})
		for what, text := range map[string]string{"state": p.State(), "nonce": p.Nonce(), "verifier": p.Verifier(), "challenge": p.Challenge()} {
			if want := map[string]int{"state": 33, "nonce": 43, "verifier": 43, "challenge": 43}[what]; len(text) != want {
				t.Errorf("%s is %d characters long, want %d", what, len(text), want)
			}
			if seen[text] {
				t.Fatalf("%s %q came twice", what, text)
			}
			seen[text] = true
		}
		if got := session.RoundOf(p.State()); got != p.Round {
			t.Errorf("RoundOf: %d, want %d", got, p.Round)
		}
	}
	for _, text := range []string{"", "5", "01234567890123456789012345678901", "012345678901234567890123456789016", "0123456789012345678901234567890155"} {
		if got := session.RoundOf(text); got != 0 {
			t.Errorf("RoundOf(%q): %d, want 0", text, got)
		}
	}
}

// What a login is known by looks like chance: each byte of it, over ten thousand logins, by Pearson's chi-square test.
func TestPending_L5_Uniform(t *testing.T) {
	const logins = 10_000
	texts := map[string][][]byte{}
	for range logins {
		p := session.NewPending("p", "https://id.example", session.Intent{})
		one := map[string][]byte{"state": decode(t, p.State()[:session.StateSize-1]), "nonce": decode(t, p.Nonce()), "verifier": decode(t, p.Verifier())}
		// One secret makes all three, and none of them tells of another.
		one["state and nonce"], one["state and verifier"], one["nonce and verifier"] = xor(one["state"], one["nonce"]), xor(one["state"], one["verifier"]), xor(one["nonce"], one["verifier"])
		for what, text := range one {
			texts[what] = append(texts[what], text)
		}
	}
	for what, all := range texts {
		if bits := 8 * len(all[0]); bits < 128 {
			t.Errorf("%s has %d bits", what, bits)
		}
		seen := map[string]bool{}
		for _, text := range all {
			if seen[string(text)] {
				t.Errorf("%s: %x came twice", what, text)
			}
			seen[string(text)] = true
		}
		if at, chi := worst(all); chi < leastChi || chi > mostChi {
			t.Errorf("%s: chi-square is %.0f at byte %d, want %d to %d", what, chi, at, leastChi, mostChi)
		}
	}

	// The test sees what is not chance: the fixed bits of a UUID.
	var uuids [][]byte
	for range logins {
		id := seal.Random(16)
		id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
		uuids = append(uuids, id)
	}
	if at, chi := worst(uuids); at != 6 || chi < mostChi {
		t.Errorf("UUIDs: chi-square is %.0f at byte %d, so the test is blind", chi, at)
	}
}

// With 255 degrees of freedom chance leaves these bounds once in 10^10 times.
const leastChi, mostChi = 130, 430

// worst is the chi-square of the byte that is farthest from uniform, and its place.
func worst(texts [][]byte) (place int, chi float64) {
	const expected = 255 // the mean of chi-square
	chi = expected
	for at := range texts[0] {
		var counts [256]float64
		for _, text := range texts {
			counts[text[at]]++
		}
		mean, sum := float64(len(texts))/256, 0.0
		for _, n := range counts {
			sum += (n - mean) * (n - mean) / mean
		}
		if math.Abs(sum-expected) > math.Abs(chi-expected) {
			place, chi = at, sum
		}
	}
	return place, chi
}

func decode(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return raw
}

func xor(a, b []byte) []byte {
	both := make([]byte, min(len(a), len(b)))
	subtle.XORBytes(both, a[:len(both)], b[:len(both)])
	return both
}
