package storage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

func newSealedRig(t *testing.T, p session.Provider) *rig {
	g := newRig(t, session.DefaultOptions(), p)
	g.options.Storage = "sealed"
	return g
}

// jwt is a token of about n characters that nothing makes shorter.
func jwt(n int) string {
	part := func(n int) string {
		raw := make([]byte, n)
		for i := range raw {
			raw[i] = byte(rand.Uint32())
		}
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	return part(60) + "." + part((n-170)*3/4) + "." + part(64)
}

func TestSealed_ThreeTokensInTwoCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSealedRig(t, newProvider(0)).replica(t.Context(), t, memory.New())
		tokens := session.Tokens{Access: jwt(1200), Refresh: jwt(1200), ID: jwt(1200), Type: "Bearer", Expires: time.Now().Add(time.Hour), Scope: "openid profile email offline_access"}
		_, value := r.login(t, tokens, func(s *session.Session) {
			s.Grant.Claims = map[string]any{"sub": "auth0|5f7c8ec7c33c6c004bbafe82", "name": "Ada Lovelace", "email": "ada@example.com", "email_verified": true, "iss": issuer}
		})
		if n := strings.Count(value, "="); n != 2 {
			t.Errorf("%d cookies, want 2: %d characters", n, len(value))
		}
		s, err := r.use(value)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tokens, s.Grant.Tokens); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPacked_TokensComeBackToTheLetter(t *testing.T) {
	for _, token := range []string{
		"", "x", "opaque", "a.b", "a.b.c", "YQ.Yg.Yw", "YR.Yg.Yw", "..", "....", "YQ.Yg.Yw.ZA.ZQ", "YQ.Y\ng.Yw", "YQ.Yg.Yw=", strings.Repeat("A", 64<<10), jwt(900),
		"\x00", "ä.ö.ü", "YQ..Yw",
	} {
		got, ok := unpackToken(packToken(token))
		if !ok || got != token {
			t.Errorf("%.40q came back as %.40q, %v", token, got, ok)
		}
	}
	if n := len(packToken(jwt(1200))); n > 910 {
		t.Errorf("a token of 1200 characters takes %d bytes", n)
	}
}

// What the ID token tells is kept once. A claim that differs from it, or that it does not have, is kept beside it.
func TestPacked_ClaimsOfTheIDTokenAreKeptOnce(t *testing.T) {
	const payload = `{"aud":"app","big":12345678901234567890,"email":"ada@example.com","groups":["staff",{"a":[1]}],"name":"Ada","nonce":"n","none":null,"sub":"1"}`
	id := "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
	var all map[string]any
	if err := json.Unmarshal([]byte(payload), &all); err != nil {
		t.Fatal(err)
	}
	without := func(names ...string) map[string]any {
		c := maps.Clone(all)
		for _, name := range names {
			delete(c, name)
		}
		return c
	}
	other := without("nonce")
	other["name"], other["picture"] = "Ada L.", "p.png"
	for _, test := range []struct {
		name, id string
		claims   map[string]any
		beside   int // claims in the body
	}{
		{"all of them", id, all, 0},
		{"without protocol claims", id, without("aud", "nonce"), 0},
		{"another name, one more", id, other, 2},
		{"none", id, nil, 0},
		{"no ID token", "", without("aud"), 7},
		{"an ID token that is none", "a.b.c", without("aud"), 7},
	} {
		s := &session.Session{Grant: session.Grant{Claims: test.claims, Tokens: session.Tokens{ID: test.id}}}
		rest, _ := untold(test.claims, test.id)
		if len(rest) != test.beside {
			t.Errorf("%s: %d claims are kept beside the ID token, want %d: %v", test.name, len(rest), test.beside, rest)
		}
		packed, err := pack(s)
		if err != nil {
			t.Fatal(err)
		}
		back, err := unpack(packed)
		if err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.claims, back.Grant.Claims, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", test.name, diff)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	s := &session.Session{Grant: session.Grant{Tokens: session.Tokens{Access: "YQ.Yg.Yw", Refresh: "r"}}}
	packed, err := pack(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed)
	f.Add(packed[:len(packed)-1])
	f.Add([]byte{packedVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := unpack(b)
		if err != nil {
			return
		}
		again, err := pack(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := unpack(again); err != nil || back.Grant.Tokens != s.Grant.Tokens {
			t.Fatalf("%v: %v", err, back)
		}
	})
}

// Every byte counts: whatever is altered opens nothing. The same session sealed twice shares nothing.
func TestEnvelope_S5_S6_EveryByteIsAuthenticated(t *testing.T) {
	ring := ringOf(t, seal.NewKey())
	e := envelope{jar: cookie.New(true, ""), box: ring.Box("session cookie"), host: "https://app.example"}
	salt, plain := seal.Random(saltSize), []byte("a session")
	text, ok := e.seal(salt, plain)
	if !ok {
		t.Fatal("it does not fit")
	}
	if _, got, ok := e.open(text, 1); !ok || string(got) != string(plain) {
		t.Fatalf("%q, %v", got, ok)
	}
	raw, err := base64.RawURLEncoding.DecodeString(text[1:])
	if err != nil {
		t.Fatal(err)
	}
	for i := range raw {
		raw[i] ^= 1
		if _, _, ok := e.open("1"+base64.RawURLEncoding.EncodeToString(raw), 1); ok {
			t.Errorf("byte %d can be altered", i)
		}
		raw[i] ^= 1
	}
	if _, _, ok := e.open(text, 2); ok {
		t.Error("the number of cookies is not authenticated")
	}
	for name, other := range map[string]envelope{
		"another name":    {jar: cookie.New(false, "80"), box: e.box, host: e.host},
		"another host":    {jar: e.jar, box: e.box, host: "https://other.example"},
		"another purpose": {jar: e.jar, box: ring.Box("session seen"), host: e.host},
		"another key":     {jar: e.jar, box: ringOf(t, seal.NewKey()).Box("session cookie"), host: e.host},
	} {
		if _, _, ok := other.open(text, 1); ok {
			t.Errorf("it opens under %s", name)
		}
	}
	later := e.context(1)
	later[len(later)-2]++
	if _, _, ok := e.open("1"+base64.RawURLEncoding.EncodeToString(append(salt[:saltSize:saltSize], e.box.SealUnder(salt, plain, later)...)), 1); ok {
		t.Error("it opens under another format version")
	}
	seen := map[string]bool{}
	for range 10_000 {
		text, _ := e.seal(seal.Random(saltSize), plain)
		if nonce := text[1+48 : 1+64]; seen[nonce] {
			t.Fatal("a nonce came twice")
		} else {
			seen[nonce] = true
		}
	}
}

// The server goes by what is sealed, whatever Max-Age a cookie is kept with.
func TestSealed_S7_T1_LifetimesAreTheServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newSealedRig(t, newProvider(0))
		r := g.replica(t.Context(), t, memory.New())
		_, value := r.login(t, forever)
		began, first := time.Now(), value
		for time.Since(began) < g.lives.Absolute-2*g.lives.Idle {
			time.Sleep(g.lives.Idle - time.Minute)
			s, err := r.use(value)
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			if v := r.written(s, value); v != "" {
				value = v
			}
		}
		if _, err := r.use(first); session.CodeOf(err) != session.Expired {
			t.Errorf("the cookies without the last use: %v, want expired", err)
		}
		if g.generation(value) != 1 {
			t.Error("a slide wrote the large cookies")
		}
		time.Sleep(g.lives.Idle - time.Second)
		if _, err := r.use(value); err != nil {
			t.Errorf("within its idle time: %v", err)
		}
		time.Sleep(g.lives.Absolute)
		if _, err := r.use(value); session.CodeOf(err) != session.Expired {
			t.Errorf("after its absolute end: %v, want expired", err)
		}
	})
}

// Looking is no use: it moves nothing (T4). And one session's small cookie says nothing about another.
func TestSealed_T4_TheSmallCookie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newSealedRig(t, newProvider(0))
		r := g.replica(t.Context(), t, memory.New())
		_, a := r.login(t, forever)
		_, b := r.login(t, forever)
		time.Sleep(10 * time.Minute)
		if s, err := r.look(a); err != nil || r.written(s, a) != "" {
			t.Errorf("a look: %v, writes %q", err, r.written(s, a))
		}
		s, err := r.use(b)
		if err != nil {
			t.Fatal(err)
		}
		slid := r.written(s, b)
		if r.written(s, slid) != "" {
			t.Error("what the browser has is written again")
		}
		_, small, ok := strings.Cut(slid, ".t=")
		if !ok {
			t.Fatalf("no small cookie: %s", slid)
		}
		forged := a + "; " + sessionCookie + ".t=" + small
		time.Sleep(25 * time.Minute)
		if _, err := r.use(forged); session.CodeOf(err) != session.Expired {
			t.Errorf("another session's small cookie keeps this one alive: %v", err)
		}
		if _, err := r.use(slid); err != nil {
			t.Errorf("its own: %v", err)
		}
	})
}

// What superseded cookies get: the next generation while it was not seen to arrive, nothing after that, and never the grant.
func TestSealed_T5_SupersededCookies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(10 * time.Minute)
		g := newSealedRig(t, p)
		store := memory.New()
		r, other := g.replica(t.Context(), t, store), g.replica(t.Context(), t, store)
		synctest.Wait()
		_, old := r.login(t, p.login())
		time.Sleep(11 * time.Minute)
		s, err := r.use(old)
		if err != nil {
			t.Fatal(err)
		}
		next := r.written(s, old)
		for name, from := range map[string]*replica{"here": r, "at another replica": other} {
			again, err := from.use(old)
			if err != nil || again.Grant.Tokens.Access != s.Grant.Tokens.Access || g.generation(from.written(again, old)) != 2 {
				t.Errorf("a lost answer, %s: %v, %v", name, again, err)
			}
		}
		time.Sleep(15 * time.Minute)
		if again, err := other.use(old); err != nil || g.generation(other.written(again, old)) < 2 {
			t.Errorf("an answer that was lost 15 minutes ago: %v, %v", again, err)
		} else {
			next = other.written(again, old)
		}
		time.Sleep(time.Minute)
		if _, err := r.use(next); err != nil { // it arrived
			t.Fatal(err)
		}
		time.Sleep(session.Grace - time.Second)
		if _, err := other.use(old); err != nil {
			t.Errorf("within the grace: %v", err)
		}
		time.Sleep(2 * time.Second)
		if _, err := other.use(old); session.CodeOf(err) != session.Stolen {
			t.Errorf("after the grace: %v, want stolen", err)
		}
		synctest.Wait()
		if _, err := r.use(next); session.CodeOf(err) != session.None {
			t.Errorf("two holders, and the session goes on: %v", err)
		}
		if n := g.audit.count(audit.Theft); n != 1 || len(p.reused) != 0 {
			t.Errorf("%d thefts in the audit log, reused %v", n, p.reused)
		}
	})
}

// Replicas with a store between them renew once. Replicas without one do not know of each other: a provider that is strict about
// its refresh tokens then ends the session. That is what docs/security.md says.
func TestSealed_R7_ReplicasWithAndWithoutAStore(t *testing.T) {
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared store %v", shared), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(time.Minute)
				g := newSealedRig(t, p)
				store := memory.New()
				a := g.replica(t.Context(), t, store)
				if !shared {
					store = memory.New()
				}
				b := g.replica(t.Context(), t, store)
				synctest.Wait()
				_, value := a.login(t, p.login())
				time.Sleep(61 * time.Second)
				if _, err := a.use(value); err != nil {
					t.Fatal(err)
				}
				_, err := b.use(value)
				if want := map[bool]session.Code{true: "", false: session.GrantOver}[shared]; session.CodeOf(err) != want {
					t.Errorf("the second replica: %v, want %q", err, want)
				}
				if shared && p.asked() != 1 {
					t.Errorf("the provider was asked %d times", p.asked())
				}
			})
		})
	}
}

// S9, across replicas: within 50 ms, by the store's watch; and a session that ends while it is renewed is not brought back.
// A clock that goes back, or a replica whose clock is ahead, is no way past an end: what was ended seems to have begun after it.
func TestSealed_S9_TheClockGoesBack(t *testing.T) {
	person := session.Selector{Issuer: issuer, Subject: "ada"}
	for _, c := range []struct {
		name  string
		ahead time.Duration
		end   func(r *replica, s *session.Session) error
	}{
		{"a logout", 100 * time.Second, func(r *replica, s *session.Session) error {
			_, err := r.storage.End(context.Background(), session.Selector{ID: s.ID})
			return err
		}},
		{"a theft", 100 * time.Second, func(r *replica, s *session.Session) error {
			_, err := r.storage.Update(context.Background(), s, func(c *session.Session) error { c.Life.Absolute = time.Now(); return nil })
			return err
		}},
		{"signing out everywhere", 50 * time.Second, func(r *replica, s *session.Session) error {
			_, err := r.storage.End(context.Background(), person)
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(time.Hour)
				r := newSealedRig(t, p).replica(t.Context(), t, memory.New())
				synctest.Wait()
				s, value := r.login(t, p.login(), func(s *session.Session) { s.Life.Created = s.Life.Created.Add(c.ahead) })
				if _, err := r.use(value); err != nil {
					t.Fatal(err)
				}
				if err := c.end(r, s); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if _, err := r.use(value); session.CodeOf(err) != session.None {
					t.Errorf("served after its end: %v", err)
				}
				// Nobody is kept out by that. What begins then is younger than the end, and ends with the next one.
				s, value = r.login(t, p.login())
				if _, err := r.use(value); err != nil {
					t.Fatalf("signing in again: %v", err)
				}
				if err := c.end(r, s); err != nil {
					t.Fatal(err)
				}
				if _, err := r.use(value); session.CodeOf(err) != session.None {
					t.Errorf("served after the second end: %v", err)
				}
			})
		})
	}
}

// A session that was made while the clock was ahead outlives others. Its end is remembered for as long; and an end that was written down
// by such a clock keeps nobody out.
func TestSealed_S9_TheClockWasAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ahead = 6 * time.Hour
		p := newProvider(100 * time.Hour)
		g := newSealedRig(t, p)
		g.lives.Idle = g.lives.Absolute
		r := g.replica(t.Context(), t, memory.New())
		synctest.Wait()
		s, value := r.login(t, p.login(), func(s *session.Session) {
			then := time.Now().Round(0).Add(ahead)
			s.Life = session.Life{Created: then, Seen: then, Renewed: then, Absolute: then.Add(r.lives.Absolute)}
		})
		if _, err := r.storage.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
			t.Fatal(err)
		}
		for at := time.Duration(0); at < ahead+r.lives.Absolute; at += time.Hour {
			r.sealed.denials.verdicts.InvalidateAll() // as in a process that has just started
			if _, err := r.use(value); session.CodeOf(err) != session.None {
				t.Fatalf("%s after its end: %v", at, err)
			}
			time.Sleep(time.Hour)
		}
		if err := r.sealed.denials.deny(t.Context(), r.sealed.denials.name("sub", issuer, "ada"), time.Now().Add(ahead)); err != nil {
			t.Fatal(err)
		}
		_, value = r.login(t, p.login())
		if _, err := r.use(value); err != nil {
			t.Errorf("signing in after an end by a clock that is ahead: %v", err)
		}
	})
}

// An answer looks under several names whether its session is over, which takes its time. Whenever an end comes in between, the browser gets
// no cookie any more that the end has cleared.
func TestSealed_S9_EndsWhileAnAnswerLooks(t *testing.T) {
	for name, which := range map[string]func(*session.Session) session.Selector{
		"this one":    func(s *session.Session) session.Selector { return session.Selector{ID: s.ID} },
		"everywhere":  func(*session.Session) session.Selector { return session.Selector{Issuer: issuer, Subject: "ada"} },
		"by provider": func(*session.Session) session.Selector { return session.Selector{Issuer: issuer, SID: "sid-1"} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(time.Hour)
				e := &ear{Store: memory.New(), mode: broken} // nothing is remembered: each look is a call
				r := newSealedRig(t, p).replica(t.Context(), t, e)
				looks := 4 // the handoff, and three names
				for at := range looks {
					gets, ended := 0, false
					_, value := r.login(t, p.login())
					s, err := r.use(value)
					if err != nil {
						t.Fatal(err)
					}
					again := *s
					again.Carried = 0 // as if the browser did not have it yet
					e.fail = func(op string) error {
						if gets++; gets <= at || ended {
							return nil
						}
						ended = true
						_, err := r.storage.End(t.Context(), which(s))
						return err
					}
					got := r.written(&again, "")
					e.fail = nil
					if !ended {
						t.Fatalf("it looked %d times, not %d", gets, looks)
					}
					if got != "" {
						t.Errorf("ended before look %d: the browser got a cookie", at+1)
					}
				}
			})
		})
	}
}

func TestSealed_S9_EndsElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		p.before, p.back = time.Second, time.Second
		g := newSealedRig(t, p)
		store := memory.New()
		a, b := g.replica(t.Context(), t, store), g.replica(t.Context(), t, store)
		synctest.Wait()
		for _, which := range []func(*session.Session) session.Selector{
			func(s *session.Session) session.Selector { return session.Selector{ID: s.ID} },
			func(s *session.Session) session.Selector { return session.Selector{Issuer: issuer, Subject: "ada"} },
			func(s *session.Session) session.Selector {
				return session.Selector{Issuer: issuer, Subject: "ada", SID: "sid-1"}
			},
		} {
			time.Sleep(3 * time.Second)
			p.mu.Lock()
			p.dead = false
			p.mu.Unlock()
			s, value := a.login(t, p.login())
			if _, err := b.use(value); err != nil {
				t.Fatal(err)
			}
			time.Sleep(55 * time.Second)
			renewing, err := b.use(value) // begins to renew, and does not wait for it
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(1500 * time.Millisecond)
			if _, err := a.storage.End(t.Context(), which(s)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if _, err := b.use(value); session.CodeOf(err) != session.None {
				t.Errorf("%v: served after its end: %v", which(s), err)
			}
			time.Sleep(5 * time.Second)
			w := httptest.NewRecorder()
			b.Write(w, with(value), renewing)
			if set := w.Header()["Set-Cookie"]; len(set) != 0 {
				t.Errorf("a late answer sets %v", set)
			}
			p.mu.Lock()
			if !p.revoked[p.current] {
				t.Errorf("%s came after the end and was not revoked", p.current)
			}
			p.mu.Unlock()
		}
	})
}

// While the store is away, what was known recently holds; then nobody is served as anonymous, and nobody is signed out.
func TestSealed_G4_StoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newSealedRig(t, newProvider(0))
		e := &ear{Store: memory.New()}
		r := g.replica(t.Context(), t, e)
		synctest.Wait()
		_, value := r.login(t, forever)
		if _, err := r.use(value); err != nil {
			t.Fatal(err)
		}
		e.fail = away
		e.set(broken)
		for _, step := range []struct {
			after time.Duration
			want  session.Code
		}{{0, ""}, {9 * time.Second, ""}, {5 * time.Second, session.Unavailable}} {
			time.Sleep(step.after)
			if _, err := r.use(value); session.CodeOf(err) != step.want {
				t.Errorf("after %v more: %v, want %q", step.after, err, step.want)
			}
		}
		e.fail = nil
		e.set(hears)
		time.Sleep(time.Second)
		if _, err := r.use(value); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	})
}

// S8: what an older key sealed opens, and the next generation is sealed by the newer one.
func TestSealed_S8_OlderKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older, newer := seal.NewKey(), seal.NewKey()
		p := newProvider(time.Minute)
		g := newSealedRig(t, p)
		store := memory.New()
		g.ring = ringOf(t, older)
		_, value := g.replica(t.Context(), t, store).login(t, p.login())
		g.ring = ringOf(t, newer, older)
		r := g.replica(t.Context(), t, store)
		synctest.Wait()
		time.Sleep(61 * time.Second)
		s, err := r.use(value)
		if err != nil {
			t.Fatal(err)
		}
		value = r.written(s, value)
		g.ring = ringOf(t, newer)
		if s, err := g.replica(t.Context(), t, store).use(value); err != nil || s.Generation != 2 {
			t.Errorf("without the older key: %v, %v", s, err)
		}
	})
}

// S8: once a key is retired, what it sealed is as good as none, also where it was opened before and is remembered.
func TestSealed_S8_RetiredKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older, newer := seal.NewKey(), seal.NewKey()
		rotated := ringOf(t, older).WithKey(older, newer, time.Now().Add(time.Minute))
		id, _ := ringOf(t, older).MAC("ticket").Signer()
		text := rotated
		p := newProvider(time.Minute)
		g := newSealedRig(t, p)
		g.ring = ringOf(t, text)
		g.ring.Follow(func(context.Context) ([]string, error) { return []string{text}, nil }, func(error) {})
		r := g.replica(t.Context(), t, memory.New())
		synctest.Wait()
		_, early := r.login(t, p.login())
		time.Sleep(61 * time.Second)
		s, err := r.use(early)
		if err != nil || s.Generation != 2 {
			t.Fatalf("%+v, %v", s, err)
		}
		late := r.written(s, early) // sealed by the newer one
		_, other := r.login(t, forever)
		text = ringOf(t, rotated).WithoutKey(rotated, id)
		if err := g.ring.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err = r.use(early)
		wantCode(t, "cookies of the older key", err, session.None)
		for name, value := range map[string]string{"the next generation": late, "a later login": other} {
			if _, err := r.use(value); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// S8: a renewal that is noted under a key that this replica has not, or no more, ends in a sign-out and never in a failure.
func TestSealed_S8_HandoffOfAnUnknownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older, newer := seal.NewKey(), seal.NewKey()
		p := newProvider(time.Minute)
		g := newSealedRig(t, p)
		store := memory.New()
		g.ring = ringOf(t, newer, older)
		ahead := g.replica(t.Context(), t, store)
		g.ring = ringOf(t, older)
		behind := g.replica(t.Context(), t, store)
		synctest.Wait()
		_, value := behind.login(t, p.login())
		time.Sleep(61 * time.Second)
		s, err := ahead.use(value)
		if err != nil {
			t.Fatal(err)
		}
		next := ahead.written(s, value)
		_, err = behind.use(value)
		wantCode(t, "the older cookies", err, session.Ended)
		_, err = behind.use(next)
		wantCode(t, "the newer cookies", err, session.None)
		if _, err := ahead.use(next); err != nil {
			t.Errorf("where the key is: %v", err)
		}
	})
}

func TestSealed_AWarmSessionCostsNoRoundTrip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &ear{Store: memory.New()}
		r := newSealedRig(t, newProvider(0)).replica(t.Context(), t, store)
		synctest.Wait()
		_, value := r.login(t, forever)
		if _, err := r.use(value); err != nil {
			t.Fatal(err)
		}
		gets, puts := store.gets.Load(), store.puts.Load()
		for range 100 {
			s, err := r.use(value)
			if err != nil {
				t.Fatal(err)
			}
			if v := r.written(s, value); v != "" {
				t.Fatalf("it writes %q", v)
			}
		}
		if g, p := store.gets.Load()-gets, store.puts.Load()-puts; g+p != 0 {
			t.Errorf("%d reads and %d writes for 100 requests, want none", g, p)
		}
	})
}
