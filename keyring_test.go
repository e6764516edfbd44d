package cloakroom_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// keyFile is a file of keys.
type keyFile struct {
	t testing.TB

	mu   sync.Mutex
	text string
}

func newKeyFile(t testing.TB) *keyFile { return &keyFile{t: t, text: cloakroom.NewKey()} }

// keys has a gateway read its keys from the file.
func (f *keyFile) keys(c *cloakroom.Config) {
	texts, _ := f.read(context.Background())
	c.Keys, c.ReadKeys = texts, f.read
}

func (f *keyFile) read(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []string{f.text}, nil
}

func (f *keyFile) ring() *seal.Keyring {
	f.t.Helper()
	texts, _ := f.read(f.t.Context())
	ring, err := seal.NewKeyring(texts...)
	if err != nil {
		f.t.Fatal(err)
	}
	return ring
}

func (f *keyFile) set(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.text = text
}

// rotate adds a key that seals after a time, and returns its name.
func (f *keyFile) rotate(in time.Duration) seal.KeyID {
	f.t.Helper()
	key := seal.NewKey()
	f.set(f.ring().WithKey(f.text, key, time.Now().Add(in).Truncate(time.Second)))
	k, err := seal.ParseKey(key)
	if err != nil {
		f.t.Fatal(err)
	}
	return k.ID()
}

func (f *keyFile) retire(id seal.KeyID) { f.t.Helper(); f.set(f.ring().WithoutKey(f.text, id)) }

// sealer is the key that seals by the file.
func (f *keyFile) sealer() seal.KeyID {
	f.t.Helper()
	for _, m := range f.ring().Members() {
		if m.Seals {
			return m.ID
		}
	}
	f.t.Fatal("no key seals")
	return seal.KeyID{}
}

func (r *rig) reloadKeys() {
	r.t.Helper()
	if err := r.gateway.ReloadKeys(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// keyID is the key under which the browser's session is.
func (b *browser) keyID() (id seal.KeyID) {
	b.t.Helper()
	text, at := b.ticket(), 1 // behind the version of a ticket
	if resting() == "sealed" {
		text, at = text[1:], 32 // behind the salt
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(raw) < at+4 {
		b.t.Fatalf("no session of ours: %v", err)
	}
	copy(id[:], raw[at:])
	return id
}

// begin goes to the provider and comes back with the way to the callback.
func (b *browser) begin() (callback string) {
	b.t.Helper()
	p := b.do(request{method: "GET", path: "/auth/login?return_to=/page/", site: "none", nav: true})
	u, err := url.Parse(p.Header.Get("Location"))
	if err != nil || p.Status != http.StatusFound {
		b.t.Fatalf("no login began: %d %v", p.Status, err)
	}
	callback, _ = b.provider(u)
	return callback
}

// logoutURL signs out as the page's script does.
func (b *browser) logoutURL(token string) string {
	b.t.Helper()
	p := b.write("/auth/logout", token)
	var answer struct {
		URL string `json:"logout_url"`
	}
	if err := json.Unmarshal([]byte(p.Body), &answer); err != nil || p.Status != http.StatusOK {
		b.t.Fatalf("logout: %d %.200s", p.Status, p.Body)
	}
	return answer.URL
}

// load is many people at once, each with a browser and at one thing.
type load struct {
	stop chan struct{}
	wait sync.WaitGroup

	mu     sync.Mutex
	again  *sync.Cond
	rounds map[string]int
}

func newLoad(t *testing.T) *load {
	l := &load{stop: make(chan struct{}), rounds: map[string]int{}}
	l.again = sync.NewCond(&l.mu)
	t.Cleanup(l.end)
	return l
}

// run repeats each, until the load ends or it returns false.
func (l *load) run(name string, each func() bool) {
	l.mu.Lock()
	l.rounds[name] = 0
	l.mu.Unlock()
	l.wait.Go(func() {
		for {
			select {
			case <-l.stop:
				return
			default:
			}
			if !each() {
				l.mu.Lock()
				delete(l.rounds, name)
				l.again.Broadcast()
				l.mu.Unlock()
				return
			}
			l.mu.Lock()
			l.rounds[name]++
			l.again.Broadcast()
			l.mu.Unlock()
		}
	})
}

// rest waits until everyone has been around some times more.
func (l *load) rest(times int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	want := map[string]int{}
	for name, n := range l.rounds {
		want[name] = n + times
	}
	for name, n := range want {
		for {
			if now, ok := l.rounds[name]; !ok || now >= n {
				break
			}
			l.again.Wait()
		}
	}
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.wait.Wait()
}

// Keys come and go while people work, sign in and sign out. A rotation signs nobody out; what a retired key sealed is signed out, and
// nothing ever fails.
func TestKeys_S8_RotationUnderLoad(t *testing.T) {
	t.Parallel()
	file := newKeyFile(t)
	r := newRig(t, func(c *cloakroom.Config) {
		file.keys(c)
		byCSRF("token")(c)
		c.Endpoints.LoginsPer, c.Endpoints.LoginsInAll = 1e6, 1e6
	}, fakeop.AccessLifetime(time.Second))
	first := file.sealer()
	csrf, err := cloakroom.CSRFKey([]string{file.text})
	if err != nil {
		t.Fatal(err)
	}

	// What is in flight when the key changes: a login, a logout, an ended session's copy, a renewal whose answer was lost, and an idle tab.
	login, out, lost, idle := r.browser(), r.browser().signIn(), r.browser().signIn(), r.browser().signIn()
	callback := login.begin()
	late, over := r.browser(), r.browser().signIn()
	lateCallback, lateNext := late.begin(), over.logoutURL(over.csrfToken())
	dead := out.copy()
	next := out.logoutURL(out.csrfToken())
	if p := dead.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Fatalf("a copy of an ended session: %d", p.Status)
	}
	token := idle.csrfToken()

	l := newLoad(t)
	workers := map[string]*browser{}
	for _, name := range []string{"one", "two", "three"} {
		b := r.browser().signIn()
		token := b.csrfToken()
		workers[name] = b
		l.run(name, func() bool {
			for _, p := range []*page{b.fetch("GET", "/api/x"), b.write("/api/x", token), b.fetch("GET", "/auth/session"), b.visit("/page/")} {
				if p.Status != http.StatusOK || p.URL == "/auth/session" && p.json(t)["csrf_token"] != token {
					t.Errorf("%s: %s: %d %.300s", name, p.URL, p.Status, p.Body)
					return false
				}
			}
			return true
		})
	}
	l.run("who comes and goes", func() bool {
		b := r.browser().signIn()
		thief, token := b.copy(), b.csrfToken()
		b.logoutURL(token)
		if p := thief.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" {
			t.Errorf("a copy of an ended session: %d %.300s", p.Status, p.Body)
			return false
		}
		return true
	})
	l.rest(2)

	// A new key opens and does not seal yet, then it seals.
	file.rotate(time.Hour)
	r.reloadKeys()
	l.rest(2)
	if b := r.browser().signIn(); b.keyID() != first {
		t.Errorf("%s seals, want the first key, %s", b.keyID(), first)
	}
	second := file.rotate(0)
	stale := lost.copy()
	for renewals := r.op.Refreshes(); r.op.Refreshes() == renewals || resting() == "sealed" && lost.ticket() == stale.ticket(); l.rest(1) {
		if stale = lost.copy(); lost.fetch("GET", "/api/x").Status != http.StatusOK {
			t.Fatal("signed out before the rotation")
		}
	}
	r.reloadKeys()
	l.rest(2)
	if b := r.browser().signIn(); b.keyID() != second {
		t.Errorf("%s seals, want the second key, %s", b.keyID(), second)
	}
	for _, c := range []struct {
		name string
		p    *page
		want int
		at   string
	}{
		{"the login in flight", login.navigate(callback, "cross-site"), http.StatusOK, "/page/"},
		{"the idle tab", idle.write("/api/x", token), http.StatusOK, "/api/x"},
		{"who did not get the renewal's answer", stale.fetch("GET", "/api/x"), http.StatusOK, "/api/x"},
		{"the copy of the ended session", dead.fetch("GET", "/api/x"), http.StatusUnauthorized, "/api/x"},
	} {
		if c.p.Status != c.want || c.p.URL != c.at {
			t.Errorf("%s: %d at %s, want %d at %s: %.300s", c.name, c.p.Status, c.p.URL, c.want, c.at, c.p.Body)
		}
	}
	if p := out.do(request{method: "GET", path: next, site: "same-origin", nav: true}); p.Status != http.StatusSeeOther && p.Status != http.StatusFound || !strings.HasPrefix(p.Header.Get("Location"), r.op.Issuer()) {
		t.Errorf("the logout in flight: %d to %q", p.Status, p.Header.Get("Location"))
	}
	if login.keyID() != second {
		t.Errorf("the login that was in flight is sealed by %s, want %s", login.keyID(), second)
	}
	if got, err := cloakroom.CSRFKey([]string{file.text}); err != nil || got != csrf {
		t.Errorf("APIs need another key: %v", err)
	}
	l.end()

	// The first key goes while everybody asks: who still has a cookie of it is signed out.
	atOnce := newLoad(t)
	names := map[string]*browser{"idle": idle, "stale": stale, "login": login, "dead": dead}
	for name, b := range workers {
		names[name] = b
	}
	fresh := r.browser().signIn()
	names["fresh"] = fresh
	for name, b := range names {
		atOnce.run(name, func() bool {
			p := b.fetch("GET", "/api/x")
			if p.Status != http.StatusOK && (p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required") {
				t.Errorf("%s: %d %.300s", name, p.Status, p.Body)
			}
			return true
		})
	}
	atOnce.rest(2)
	file.retire(first)
	r.reloadKeys()
	atOnce.rest(2)
	atOnce.end()
	delete(names, "dead")
	was := map[string]seal.KeyID{}
	for name, b := range names {
		was[name] = b.keyID()
		want := http.StatusOK
		if was[name] == first {
			want = http.StatusUnauthorized
		}
		if p := b.fetch("GET", "/api/x"); p.Status != want {
			t.Errorf("%s, sealed by %s: %d, want %d", name, was[name], p.Status, want)
		}
		if want == http.StatusOK {
			continue
		}
		if p := b.visit("/page/"); p.Status != http.StatusOK || p.URL != "/page/" || b.keyID() != second {
			t.Errorf("%s does not sign in again: %d at %s", name, p.Status, p.URL)
		}
	}
	if was["fresh"] != second || was["login"] != second || resting() == "store" && was["idle"] != first {
		t.Errorf("the keys of the sessions were %v", was)
	}
	if got, err := cloakroom.CSRFKey([]string{file.text}); err != nil || got != csrf {
		t.Errorf("APIs need another key after the retirement: %v", err)
	}
	if p := dead.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the copy of the ended session lives again: %d", p.Status)
	}

	if p := late.navigate(lateCallback, "cross-site"); p.URL != "/" || late.keyID() != second { // where it was to lead is lost with its cookie
		t.Errorf("a login that the key left alone does not begin anew: %d at %s: %.300s", p.Status, p.URL, p.Body)
	}
	if p := over.do(request{method: "GET", path: lateNext, site: "same-origin", nav: true}); p.Status >= 500 || strings.HasPrefix(p.Header.Get("Location"), r.op.Issuer()) {
		t.Errorf("a logout that the key left alone: %d to %q", p.Status, p.Header.Get("Location"))
	}

	// And all of a person's sessions are found, whichever key was there when they began.
	if p := fresh.write("/auth/logout?everywhere=1", fresh.csrfToken()); p.Status != http.StatusOK {
		t.Fatalf("logout everywhere: %d %.300s", p.Status, p.Body)
	}
	if p := login.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the other session of the person: %d", p.Status)
	}
}

// Of two replicas one gets a key later. While the key waits that makes no difference; what the other one seals in spite of that is
// ignored and kept, and opens as soon as the file is there.
func TestKeys_S8_ReplicaThatHasTheKeyLater(t *testing.T) {
	t.Parallel()
	file := newKeyFile(t)
	later := &keyFile{t: t, text: file.text}
	var cfg cloakroom.Config
	r := newRig(t, func(c *cloakroom.Config) { file.keys(c); cfg = *c })
	later.keys(&cfg)
	replica, err := cloakroom.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = replica.Close(context.Background()) })
	server := httptest.NewServer(replica)
	t.Cleanup(server.Close)
	there := func(b *browser) *page {
		t.Helper()
		c := b.copy()
		c.r = &rig{t: t, server: server, op: r.op}
		p := c.fetch("GET", "/api/x")
		if c.ticket() != b.ticket() {
			t.Errorf("the replica changed the cookies: %d", p.Status)
		}
		return p
	}

	file.rotate(time.Hour)
	r.reloadKeys()
	b := r.browser().signIn()
	if p := there(b); p.Status != http.StatusOK {
		t.Errorf("while the key waits: %d", p.Status)
	}
	file.rotate(0)
	r.reloadKeys()
	b = r.browser().signIn()
	if p := there(b); p.Status != http.StatusUnauthorized || p.Header.Get("Cloakroom") != "login-required" {
		t.Errorf("before the replica has the key: %d %.300s", p.Status, p.Body)
	}
	later.set(file.text)
	if err := replica.ReloadKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if p := there(b); p.Status != http.StatusOK {
		t.Errorf("when it has the key: %d %.300s", p.Status, p.Body)
	}

	// A replica that nobody told looks by itself.
	later.text = file.text
	if replica, err = cloakroom.New(t.Context(), cfg); err != nil { // with the keys from the beginning
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = replica.Close(context.Background()) })
	server.Config.Handler = replica
	if p := there(b); p.Status != http.StatusOK || !strings.Contains(r.logs.String(), "keys reloaded") {
		t.Errorf("by itself: %d %.300s", p.Status, p.Body)
	}
}

func TestKeys_S8_WhatCannotBeReloadedChangesNothing(t *testing.T) {
	t.Parallel()
	file := newKeyFile(t)
	r := newRig(t, file.keys)
	b := r.browser().signIn()
	file.set(file.text + "\nc2hvcnQ")
	if err := r.gateway.ReloadKeys(t.Context()); err == nil || !strings.Contains(err.Error(), "line 2: a key is 32 bytes long, this one 5") {
		t.Errorf("a short key: %v", err)
	}
	if log := r.logs.String(); !strings.Contains(log, `level=ERROR msg="keys not reloaded, those from before stay" error="key 1: line 2: a key is 32 bytes long`) ||
		!strings.Contains(log, "mend them and reload again") || strings.Contains(log, "c2hvcnQ") {
		t.Errorf("the log says %s", log)
	}
	if p := b.fetch("GET", "/api/x"); p.Status != http.StatusOK {
		t.Errorf("the session: %d", p.Status)
	}
	if p := r.browser().signIn().fetch("GET", "/api/x"); p.Status != http.StatusOK {
		t.Errorf("a new session: %d", p.Status)
	}

	r = newRig(t, nil)
	if err := r.gateway.ReloadKeys(t.Context()); err == nil {
		t.Error("keys that do not come from anywhere are reloaded")
	}
	away := errors.New("the safe is locked")
	r = newRig(t, func(c *cloakroom.Config) {
		c.ReadKeys = func(context.Context) ([]string, error) { return nil, away }
	})
	if err := r.gateway.ReloadKeys(t.Context()); !errors.Is(err, away) {
		t.Errorf("got %v, want the error of ReadKeys", err)
	}
}
