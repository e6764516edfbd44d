package session_test

import (
	"testing"
	"time"

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
