package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

const issuer = "https://id.example"

func ringOf(t rapid.TB, keys ...string) *seal.Keyring {
	t.Helper()
	ring, err := seal.NewKeyring(keys...)
	if err != nil {
		t.Fatalf("NewKeyring: %v", err)
	}
	return ring
}

// replica is one gateway, without the network around it.
type replica struct {
	*session.Desk
	storage Storage
	tickets *Tickets // nil when sessions rest in cookies
	sealed  *Sealed  // nil when they rest in the store
	lives   session.Options
	renewer *session.Renewer
}

// rig is what several replicas share.
type rig struct {
	ring     *seal.Keyring
	lives    session.Options
	options  Options
	provider session.Provider
	audit    *log

	audiences []string // of the routes
}

func newRig(t rapid.TB, lives session.Options, p session.Provider) *rig {
	return &rig{ring: ringOf(t, seal.NewKey()), lives: lives, provider: p, audit: &log{}}
}

func (g *rig) replica(ctx context.Context, t rapid.TB, store session.Store) *replica {
	t.Helper()
	own, err := origin.Parse("https://app.example")
	if err != nil {
		t.Fatal(err)
	}
	storage, err := New(ctx, store, g.ring, own, cookie.New(true, ""), g.lives, g.options)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	renewer := session.NewRenewer(storage, func(name string) (session.Provider, bool) { return g.provider, name == "p" }, g.audit, g.audiences...)
	r := &replica{Desk: session.NewDesk(storage, delivery.Proxy{}, renewer, g.lives, g.audit), storage: storage, lives: g.lives, renewer: renewer}
	r.tickets, _ = storage.(*Tickets)
	r.sealed, _ = storage.(*Sealed)
	return r
}

// login opens a session and returns it with the cookie that the browser gets.
func (r *replica) login(t rapid.TB, tokens session.Tokens, change ...func(*session.Session)) (*session.Session, string) {
	t.Helper()
	now := time.Now().Round(0)
	s := &session.Session{
		Grant: session.Grant{Provider: "p", Issuer: issuer, Subject: "ada", SID: "sid-1", Tokens: tokens, Claims: map[string]any{"name": "Ada"}},
		Life:  session.Life{Created: now, Seen: now, Renewed: now, Absolute: now.Add(r.lives.Absolute)},
	}
	for _, f := range change {
		f(s)
	}
	stored, err := r.storage.Update(context.Background(), s, func(*session.Session) error { return nil })
	if err != nil {
		t.Fatalf("store a new session: %v", err)
	}
	value := r.written(stored, "")
	if value == "" {
		t.Fatalf("a new session set no cookie")
	}
	return stored, value
}

// written is what a browser with the cookies value has after an answer for s; "" if the answer sets none, "-" if it clears them.
// A ticket stands there alone, cookies of a sealed session with their names.
func (r *replica) written(s *session.Session, value string) string {
	w := httptest.NewRecorder()
	r.Desk.Write(w, with(value), s)
	set := w.Result().Cookies()
	if len(set) == 0 {
		return ""
	}
	jar := map[string]string{}
	cookie.Each(with(value), func(name, value string) { jar[name] = value })
	for _, c := range set {
		if jar[c.Name] = c.Value; c.MaxAge < 0 {
			delete(jar, c.Name)
		}
	}
	if len(jar) == 0 {
		return "-"
	}
	if r.tickets != nil {
		return jar[sessionCookie]
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(jar)) {
		pairs = append(pairs, name+"="+jar[name])
	}
	return strings.Join(pairs, "; ")
}

const sessionCookie = "__Host-Http-session"

// with is a request that carries the session's cookies, as written returns them.
func with(value string) *http.Request {
	r := httptest.NewRequest("GET", "https://app.example/api/me", nil)
	switch {
	case strings.Contains(value, "="):
		r.Header.Set("Cookie", value)
	case value != "":
		r.Header.Set("Cookie", sessionCookie+"="+value)
	}
	return r
}

func (r *replica) use(value string) (*session.Session, error) {
	return r.Use(context.Background(), with(value))
}

func (r *replica) look(value string) (*session.Session, error) {
	return r.Look(context.Background(), with(value))
}

// generation reads the generation from cookies; 0 when they are none of ours.
func (g *rig) generation(value string) uint32 {
	if g.options.Storage != "sealed" {
		t, _ := decodeTicket(g.ring.MAC("ticket"), value)
		return t.generation
	}
	if s := g.unsealed(value); s != nil {
		return s.Generation
	}
	return 0
}

// lastUse is what the cookies of a sealed session say.
func (g *rig) lastUse(value string) time.Time {
	if s := g.unsealed(value); s != nil {
		return s.Life.Seen
	}
	return time.Time{}
}

// unsealed is the session in cookies; nil when they are none of ours.
func (g *rig) unsealed(value string) *session.Session {
	own, err := origin.Parse("https://app.example")
	if err != nil {
		panic(err)
	}
	c, err := NewSealed(context.Background(), nothing{}, g.ring, own, cookie.New(true, ""), g.lives, g.options)
	if err != nil {
		panic(err)
	}
	sent := c.jar.Parts(with(value))
	o, ok := c.find(&sent)
	if !ok {
		return nil
	}
	return o.s
}

// nothing is a store that is never asked.
type nothing struct{ session.Store }

// log is an audit sink that counts.
type log struct {
	mu     sync.Mutex
	events []audit.Event
}

func (l *log) Record(_ context.Context, e audit.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *log) count(a audit.Action) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, e := range l.events {
		if e.Action == a {
			n++
		}
	}
	return n
}

// provider rotates its refresh tokens and is strict: a refresh token that comes twice kills the grant.
type provider struct {
	life         time.Duration // of access tokens
	before, back time.Duration // how long a request takes to it, and its answer back
	say          func(call int) error

	mu      sync.Mutex
	calls   int // requests that arrived
	down    bool
	serial  int
	current string
	dead    bool
	reused  []string
	early   []string
	expires time.Time            // of the newest access token
	left    map[string]time.Time // when each refresh token's answer arrived back
	revoked map[string]bool
	scopes  []string
}

func newProvider(life time.Duration) *provider {
	return &provider{life: life, left: map[string]time.Time{}, revoked: map[string]bool{}}
}

// issue makes the next pair of tokens.
func (p *provider) issue() session.Tokens {
	p.serial++
	p.current, p.expires = fmt.Sprintf("refresh-%d", p.serial), time.Now().Round(0).Add(p.life)
	return session.Tokens{
		Access: fmt.Sprintf("access-%d", p.serial), Type: "Bearer", Refresh: p.current, Scope: "openid api", Expires: p.expires,
	}
}

func (p *provider) login() session.Tokens {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issue()
}

func (p *provider) Refresh(ctx context.Context, g session.Grant, _ session.Want) (session.Tokens, error) {
	if err := pause(ctx, p.before); err != nil {
		return session.Tokens{}, &session.Error{Code: session.ProviderDown, Op: "refresh", Err: err}
	}
	tokens, err := p.refresh(g)
	if err != nil {
		return session.Tokens{}, err
	}
	if err := pause(ctx, p.back); err != nil {
		return session.Tokens{}, &session.Error{Code: session.ProviderDown, Op: "refresh", Err: err}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left[tokens.Refresh] = time.Now()
	return tokens, nil
}

func (p *provider) refresh(g session.Grant) (session.Tokens, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	p.scopes = append(p.scopes, g.Tokens.Scope)
	if p.down {
		return session.Tokens{}, session.Fail(session.ProviderDown, "refresh", "503")
	}
	if p.say != nil {
		if err := p.say(p.calls); err != nil {
			return session.Tokens{}, err
		}
	}
	if p.revoked[g.Tokens.Refresh] { // a renewal was under way when the session ended: refused, but no sign of a second holder
		return session.Tokens{}, session.Fail(session.GrantOver, "refresh", "invalid_grant")
	}
	if g.Tokens.Refresh != p.current || p.dead {
		p.dead = true
		p.reused = append(p.reused, g.Tokens.Refresh)
		return session.Tokens{}, session.Fail(session.GrantOver, "refresh", "invalid_grant")
	}
	if left := time.Until(p.expires); left >= min(p.life/5, time.Minute) {
		p.early = append(p.early, fmt.Sprintf("%s with %v left", g.Tokens.Access, left))
	}
	return p.issue(), nil
}

func (p *provider) Revoke(_ context.Context, t session.Tokens) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.revoked[t.Refresh] = true
	if t.Refresh == p.current {
		p.dead = true
	}
	return nil
}

func (p *provider) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func (p *provider) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errUnused = errors.New("not part of this test")

func (p *provider) Begin(context.Context, session.Intent) (*url.URL, session.Pending, error) {
	return nil, session.Pending{}, errUnused
}

func (p *provider) Finish(context.Context, session.Pending, url.Values) (session.Grant, error) {
	return session.Grant{}, errUnused
}

func (p *provider) End(context.Context, session.Grant, *url.URL, string) (*url.URL, error) {
	return nil, errUnused
}

// signedOut reports whether err takes the session away from whoever gets it.
func signedOut(err error) bool {
	return strings.Contains(" none expired ended stolen grant_over ", " "+string(session.CodeOf(err))+" ")
}
