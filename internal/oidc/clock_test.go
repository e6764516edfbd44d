package oidc

import (
	"context"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

// clock is the time of both sides, moved by hand: these tests talk over real sockets, where synctest has no power.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func meet(t *testing.T, lies ...fakeop.Lie) (*fakeop.Provider, *Provider, *clock) {
	t.Helper()
	c := &clock{now: time.Unix(1_800_000_000, 0)}
	op := fakeop.New(t, append([]fakeop.Lie{fakeop.Clock(c.Now)}, lies...)...)
	back := &url.URL{Scheme: "https", Host: "app.example.com", Path: "/auth/callback"}
	o := Options{Issuer: op.Issuer(), ClientID: fakeop.ClientID, ClientSecret: fakeop.ClientSecret, UserinfoOff: true}
	p, err := New("main", back, o, op.Client(5*time.Second), nil)
	if err != nil {
		t.Fatal(err)
	}
	p.now = c.Now
	return op, p, c
}

func login(t *testing.T, op *fakeop.Provider, p *Provider) (session.Grant, error) {
	t.Helper()
	address, pending, err := p.Begin(context.Background(), session.Intent{})
	if err != nil {
		return session.Grant{}, err
	}
	return p.Finish(context.Background(), pending, op.Visit(address))
}

func mustLogin(t *testing.T, op *fakeop.Provider, p *Provider) session.Grant {
	t.Helper()
	g, err := login(t, op, p)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func wantCode(t *testing.T, err error, want session.Code) {
	t.Helper()
	if session.CodeOf(err) != want {
		t.Fatalf("got %q (%v), want %q", session.CodeOf(err), err, want)
	}
}

func TestIDToken_ID4_ID5_Leeway(t *testing.T) {
	for _, c := range []struct {
		claim string
		off   time.Duration // from now
		ok    bool
	}{
		{"exp", -61 * time.Second, false},
		{"exp", -60 * time.Second, false},
		{"exp", -59 * time.Second, true},
		{"exp", -30 * time.Second, true},
		{"exp", time.Second, true},
		{"iat", 61 * time.Second, false},
		{"iat", 60 * time.Second, true},
		{"iat", -time.Hour, true},
		{"nbf", 61 * time.Second, false},
		{"nbf", 60 * time.Second, true},
		{"nbf", -time.Hour, true},
	} {
		t.Run(c.claim+" "+c.off.String(), func(t *testing.T) {
			op, p, now := meet(t)
			op.Tell(fakeop.IDToken(fakeop.Set(c.claim, now.Now().Add(c.off).Unix())))
			_, err := login(t, op, p)
			if c.ok {
				wantCode(t, err, "")
			} else {
				wantCode(t, err, session.ProviderLied)
			}
		})
	}
}

func TestKeySet_ID9_ForcedFetches(t *testing.T) {
	op, p, now := meet(t)
	mustLogin(t, op, p)
	keys := func(want int) {
		t.Helper()
		if got := op.Count("jwks"); got != want {
			t.Fatalf("keys were fetched %d times, want %d", got, want)
		}
	}
	keys(1)
	op.RotateKeys() // at once, though the keys were fetched a moment ago
	mustLogin(t, op, p)
	keys(2)
	op.RotateKeys() // and again, which is too soon
	_, err := login(t, op, p)
	wantCode(t, err, session.ProviderLied)
	keys(2)
	now.pass(issuer.KeysForced)
	mustLogin(t, op, p)
	keys(3)
	n := 0
	op.Tell(fakeop.Sign(func(s *fakeop.Signer, c map[string]any) string {
		n++
		return s.With(jose.RS256, s.RSA(), "bad-"+strconv.Itoa(n), c, nil)
	}))
	for window := 1; window <= 3; window++ {
		now.pass(issuer.KeysForced)
		for range 20 {
			_, err := login(t, op, p)
			wantCode(t, err, session.ProviderLied)
		}
		keys(3 + window)
	}
}

// TestKeySet_ID9_AThousandUnknownKeys at once cost one fetch.
func TestKeySet_ID9_AThousandUnknownKeys(t *testing.T) {
	op, p, _ := meet(t)
	mustLogin(t, op, p)
	signer := &fakeop.Signer{}
	var all sync.WaitGroup
	for n := range 1000 {
		token := signer.Unsigned(map[string]any{"alg": "RS256", "kid": "bad-" + strconv.Itoa(n)}, map[string]any{}, "none")
		all.Go(func() {
			if _, err := p.keys.VerifySignature(context.Background(), token); session.CodeOf(err) != session.ProviderLied {
				t.Errorf("got %v", err)
			}
		})
	}
	all.Wait()
	if got := op.Count("jwks"); got != 2 {
		t.Errorf("keys were fetched %d times, the first included", got)
	}
}

func TestKeySet_WithdrawnKey(t *testing.T) {
	op, p, now := meet(t)
	mustLogin(t, op, p)
	op.Tell(fakeop.Keys(func([]any) []any { return nil }))
	mustLogin(t, op, p) // it may be good for ten minutes more
	now.pass(issuer.KeysFresh)
	_, err := login(t, op, p)
	wantCode(t, err, session.ProviderLied)
}

func TestKeySet_ID9_StaleKeysWhileTheProviderIsDown(t *testing.T) {
	op, p, now := meet(t)
	mustLogin(t, op, p)
	op.Tell(fakeop.Status("jwks", 503, ""))
	for range 3 {
		now.pass(issuer.KeysFresh)
		mustLogin(t, op, p)
	}
	now.pass(issuer.KeysFresh + issuer.StaleFor)
	_, err := login(t, op, p)
	wantCode(t, err, session.ProviderDown)
	op.Tell(fakeop.Instead("jwks", nil))
	now.pass(issuer.RetryAfter)
	mustLogin(t, op, p)
}

func TestMetadata_IsKeptAndOutlivesADownProvider(t *testing.T) {
	op, p, now := meet(t)
	begin := func() error {
		_, _, err := p.Begin(context.Background(), session.Intent{})
		return err
	}
	fetched := func(want int) {
		t.Helper()
		if got := op.Count("metadata"); got != want {
			t.Fatalf("the metadata were fetched %d times, want %d", got, want)
		}
	}
	wantCode(t, begin(), "")
	wantCode(t, begin(), "")
	fetched(1)
	now.pass(issuer.MetadataLeast)
	wantCode(t, begin(), "")
	fetched(2)
	op.Tell(fakeop.Status("metadata", 503, ""))
	now.pass(issuer.MetadataLeast)
	for range 5 {
		wantCode(t, begin(), "")
	}
	fetched(3)
	now.pass(issuer.RetryAfter)
	wantCode(t, begin(), "")
	fetched(4)
	op.Tell(fakeop.Instead("metadata", nil), fakeop.Metadata(fakeop.Append("issuer", "x")))
	now.pass(issuer.RetryAfter)
	wantCode(t, begin(), session.ProviderLied) // whoever lies is not served from memory
	fetched(5)
	op.Tell(fakeop.Metadata(func(m map[string]any) { m["issuer"] = op.Issuer() }))
	now.pass(issuer.RetryAfter)
	wantCode(t, begin(), "")
	op.Tell(fakeop.Down())
	now.pass(issuer.MetadataLeast + issuer.StaleFor)
	wantCode(t, begin(), session.ProviderDown)
}

func TestMetadata_BackOffAtStart(t *testing.T) {
	op, p, now := meet(t, fakeop.Down())
	for attempt := 1; attempt <= 3; attempt++ {
		for range 10 {
			_, _, err := p.Begin(context.Background(), session.Intent{})
			wantCode(t, err, session.ProviderDown)
		}
		if got := op.Count("metadata"); got != attempt {
			t.Fatalf("%d attempts, want %d", got, attempt)
		}
		now.pass(issuer.RetryAfter)
	}
	op.Tell(fakeop.Up())
	mustLogin(t, op, p)
}

func TestProbe_AsksAgainAfterAWhile(t *testing.T) {
	op, p, now := meet(t)
	wantCode(t, p.Probe(context.Background()), "")
	op.Tell(fakeop.Down())
	wantCode(t, p.Probe(context.Background()), "")
	now.pass(probeAge)
	wantCode(t, p.Probe(context.Background()), session.ProviderDown) // although the metadata are still fresh
	op.Tell(fakeop.Up())
	now.pass(issuer.RetryAfter)
	wantCode(t, p.Probe(context.Background()), "")
}
