package cloakroom_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// inCookies has sessions rest in cookies.
func inCookies(c *cloakroom.Config) { c.Cookie.Storage = "sealed" }

// bearer is the access token with which the browser's requests reach the API.
func (b *browser) bearer() string {
	b.t.Helper()
	b.fetch("GET", "/api/me")
	return strings.TrimPrefix(b.r.last().Header.Get("Authorization"), "Bearer ")
}

// padded makes ID tokens longer by n characters that nothing compresses away.
func padded(n int) fakeop.Lie {
	return fakeop.IDToken(func(c map[string]any) { c["padding"] = strings.Repeat("x", n) })
}

func TestSealed_S4_NothingToRead(t *testing.T) {
	r := newRig(t, inCookies, padded(1500))
	a, b := r.browser().signIn(), r.browser().signIn()
	if a.ticket() == b.ticket() || a.ticket()[1:40] == b.ticket()[1:40] {
		t.Error("the same person's sessions look alike")
	}
	for name, c := range a.cookies {
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" {
			t.Errorf("C1 C2: %v", c)
		}
		for _, tell := range []string{"eyJhbGciOi", "\"sub\"", fakeop.Subject, a.bearer()[len("eyJhbGciOi"):40]} {
			if strings.Contains(c.Value, tell) {
				t.Errorf("%s tells %q", name, tell)
			}
		}
	}
	if n := len(a.cookies); n > 12 {
		t.Errorf("C12: %d cookies", n)
	}
}

// What was altered, mixed or taken elsewhere is nobody's session. It is never a fault of ours.
func TestSealed_S6_CookiesNobodyCanUse(t *testing.T) {
	key := cloakroom.NewKey()
	with := func(url string) *rig {
		return newRig(t, func(c *cloakroom.Config) { inCookies(c); c.URL, c.Keys = url, []string{key} }, padded(2000))
	}
	r, foreign := with(appURL), newRig(t, inCookies, padded(2000))
	elsewhere := with("https://other.example.com")
	a, b := r.browser().signIn(), r.browser().signIn()
	if len(a.ticket()) < 4000 {
		t.Fatalf("the session takes one cookie only: %d characters", len(a.ticket()))
	}
	value := func(b *browser, i int) string { return b.cookies[part(i)].Value }
	cookies := func(values ...string) string {
		var pairs []string
		for i, v := range values {
			pairs = append(pairs, part(i)+"="+v)
		}
		return strings.Join(pairs, "; ")
	}
	a0, a1, b0, b1 := value(a, 0), value(a, 1), value(b, 0), value(b, 1)
	strange := elsewhere.browser()
	strange.visit("/auth/login?return_to=/page/")
	for _, tt := range []struct {
		name, cookie string
		status       int
	}{
		{"as they were", cookies(a0, a1), http.StatusOK},
		{"in another order", part(1) + "=" + a1 + "; " + part(0) + "=" + a0, http.StatusOK},
		{"a stale part behind", cookies(a0, a1, b1), http.StatusOK},
		{"the last part missing", cookies(a0), http.StatusUnauthorized},
		{"the first part missing", part(1) + "=" + a1, http.StatusUnauthorized},
		{"swapped between sessions", cookies(a0, b1), http.StatusUnauthorized},
		{"swapped the other way", cookies(b0, a1), http.StatusUnauthorized},
		{"reordered", cookies(a1, a0), http.StatusUnauthorized},
		{"the count altered", cookies("1"+a0[1:], a1), http.StatusUnauthorized},
		{"the count out of range", cookies("9"+a0[1:], a1), http.StatusUnauthorized},
		{"one character altered", cookies(flip(a0, 900), a1), http.StatusUnauthorized},
		{"the salt altered", cookies(flip(a0, 5), a1), http.StatusUnauthorized},
		{"the key id altered", cookies(flip(a0, 46), a1), http.StatusUnauthorized},
		{"cut short", cookies(a0, a1[:len(a1)-4]), http.StatusUnauthorized},
		{"empty parts", cookies("", ""), http.StatusUnauthorized},
		{"not base64", cookies("2"+strings.Repeat("!", 60), "x"), http.StatusUnauthorized},
		{"in the ticket's place", sessionCookie + "=" + a0, http.StatusUnauthorized},
		{"from another key", foreign.browser().signIn().header().Get("Cookie"), http.StatusUnauthorized},
		{"from another host under the same key", strange.header().Get("Cookie"), http.StatusUnauthorized},
		{"a part twice", cookies(a0, a1) + "; " + part(1) + "=" + a1, http.StatusBadRequest},
		{"a part twice, once empty", part(1) + "=; " + cookies(a0, a1), http.StatusBadRequest},
		{"a part twice, empty behind", cookies(a0, a1) + "; " + part(0) + "=", http.StatusBadRequest},
		{"the last use twice", cookies(a0, a1) + "; " + sessionCookie + ".t=; " + sessionCookie + ".t=x", http.StatusBadRequest},
		{"a last use that is none", cookies(a0, a1) + "; " + sessionCookie + ".t=x", http.StatusOK},
		{"one byte", cookies("1"), http.StatusUnauthorized},
		{"64 kB", cookies("4"+strings.Repeat("A", 16<<10), strings.Repeat("A", 16<<10), strings.Repeat("A", 16<<10), strings.Repeat("A", 16<<10)), http.StatusUnauthorized},
	} {
		p := r.browser().do(request{method: "GET", path: "/api/me", site: "same-origin", header: http.Header{"Cookie": {tt.cookie}}})
		if p.Status != tt.status {
			t.Errorf("%s: %d, want %d", tt.name, p.Status, tt.status)
		}
	}
}

// Each cookie stays below what browsers keep, all together below what servers on the way take, and what does not fit fails at
// login, in words. An answer that sets them all stays below the 8 KiB that docs/operations.md asks of a proxy.
func TestSealed_C4_C5_C6_Sizes(t *testing.T) {
	for _, n := range []int{0, 500, 1200, 2000, 3000, 6 << 10, 12 << 10, 20 << 10} {
		r := newRig(t, inCookies, padded(n))
		b := r.browser()
		p := b.visit("/auth/login?return_to=/page/")
		total := 0
		for _, c := range b.cookies {
			if line := c.String(); len(line) > 4096 {
				t.Errorf("%d more: a cookie of %d bytes", n, len(line))
			}
			total += len(c.Name) + len(c.Value) + 3
		}
		if b.largest > 8<<10-64 { // room for the status line
			t.Errorf("%d more: an answer's header has %d bytes", n, b.largest)
		}
		if n <= 2000 {
			if p.Status != http.StatusOK || p.URL != "/page/" || total > 6<<10 {
				t.Errorf("%d more: %d %s, %d bytes of cookies", n, p.Status, p.URL, total)
			}
			continue
		}
		if n < 6<<10 {
			continue // near the limit either is right
		}
		if p.Status != http.StatusBadGateway || b.ticket() != "" || !strings.Contains(r.logs.String(), "session.storage: store") || !strings.Contains(r.logs.String(), "session_too_large") {
			t.Errorf("%d more: %d, holds %d characters; log:\n%s", n, p.Status, len(b.ticket()), r.logs)
		}
		if p := b.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
			t.Errorf("%d more: signed in all the same: %d", n, p.Status)
		}
	}
}

// C7: a session that takes fewer cookies than before leaves none behind, and one that takes more gets them.
func TestSealed_C7_ShrinksAndGrows(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	size := 3000
	lie := fakeop.Tokens(func(answer map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		answer["access_token"] = "opaque-" + strings.Repeat("x", size)
	})
	r := newRig(t, func(c *cloakroom.Config) {
		inCookies(c)
		p := c.Providers["main"]
		p.UserinfoOff = true
		c.Providers["main"] = p
	}, lie, fakeop.AccessLifetime(time.Second), fakeop.IDToken(fakeop.Drop("at_hash")))
	b := r.browser().signIn()
	for _, step := range []struct{ size, parts int }{{1, 1}, {3000, 2}, {1, 1}} {
		mu.Lock()
		size = step.size
		mu.Unlock()
		time.Sleep(1100 * time.Millisecond) // real sockets: the access token expires in real time
		if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
			t.Fatalf("%d bytes: %d", step.size, p.Status)
		}
		parts := 0
		for i := range 4 {
			if b.cookies[part(i)] != nil {
				parts++
			}
		}
		if parts != step.parts {
			t.Errorf("%d bytes: %d cookies, want %d", step.size, parts, step.parts)
		}
		if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
			t.Errorf("%d bytes, afterwards: %d", step.size, p.Status)
		}
	}
}

// S9: a copy of the cookies is worth nothing after the logout, on every replica.
func TestSealed_S9_ReplayAfterLogout(t *testing.T) {
	r := newRig(t, inCookies)
	for _, everywhere := range []string{"", "?everywhere=1"} {
		b, other := r.browser().signIn(), r.browser().signIn()
		thief := b.copy()
		if p := thief.fetch("GET", "/api/me"); p.Status != http.StatusOK {
			t.Fatalf("the copy answers %d before", p.Status)
		}
		if p := b.fetch("POST", "/auth/logout"+everywhere); p.Status != http.StatusOK {
			t.Fatal(p.Status)
		}
		if left := slices.Collect(maps.Keys(b.cookies)); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
		if p := thief.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
			t.Errorf("%q: the copy answers %d", everywhere, p.Status)
		}
		want := map[string]int{"": http.StatusOK, "?everywhere=1": http.StatusUnauthorized}[everywhere]
		if p := other.fetch("GET", "/api/me"); p.Status != want {
			t.Errorf("%q: the person's other browser answers %d, want %d", everywhere, p.Status, want)
		}
		if p := r.browser().signIn().fetch("GET", "/api/me"); p.Status != http.StatusOK {
			t.Errorf("%q: signing in again right away: %d", everywhere, p.Status)
		}
	}
}

// Cookies that nobody of us sealed cost no read of the store.
func TestSealed_UnknownCookiesNeverReachTheStore(t *testing.T) {
	store := &countingStore{Store: memory.New()}
	r := newRig(t, func(c *cloakroom.Config) { inCookies(c); c.Store = store })
	b := r.browser().signIn()
	good, before := b.ticket(), store.gets.Load()
	for i := range 2000 {
		p := flip(flip(good, 1+i%60), 70+i%50)
		req := http.Header{"Cookie": {part(0) + "=" + p}}
		if p := r.browser().do(request{method: "GET", path: "/api/me", site: "same-origin", header: req}); p.Status != http.StatusUnauthorized {
			t.Fatalf("cookie %d: %d", i, p.Status)
		}
	}
	if n := store.gets.Load() - before; n != 0 {
		t.Errorf("the store was read %d times", n)
	}
}
