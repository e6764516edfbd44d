package storage

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

var _ session.Storage = (*Tickets)(nil)

// forever are tokens that never make a session end or renew.
var forever = session.Tokens{Access: "access-0", Type: "Bearer", Refresh: "refresh-0"}

func wantCode(t *testing.T, what string, err error, want session.Code) {
	t.Helper()
	if got := session.CodeOf(err); got != want {
		t.Errorf("%s: %q (%v), want %q", what, got, err, want)
	}
}

func TestStore_S3_HoldsNoTicketAndNoToken(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := memory.New()
	r := g.replica(t.Context(), t, store)
	tokens := session.Tokens{Access: "access-SECRET", Refresh: "refresh-SECRET", ID: "eyJ-SECRET"}
	s, value := r.login(t, tokens)
	if err := NewNotes(store, g.ring).Put(t.Context(), "logout", "name-SECRET", []byte("text-SECRET"), time.Minute); err != nil {
		t.Fatal(err)
	}
	records, err := store.Scan(t.Context(), session.ID{}, 10)
	if err != nil || len(records) != 2 {
		t.Fatalf("Scan: %d records, %v; want 2", len(records), err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records {
		fields := map[string][]byte{"ID": rec.ID[:], "WriteID": rec.WriteID[:], "Meta": rec.Meta, "Body": rec.Body}
		for _, key := range rec.Index {
			fields["Index"] = append(fields["Index"], key[:]...)
		}
		for name, field := range fields {
			for _, secret := range [][]byte{[]byte("SECRET"), []byte(value), raw, s.Secret, []byte("ada"), []byte("sid-1"), []byte(issuer), []byte("eyJ")} {
				if bytes.Contains(field, secret) {
					t.Errorf("field %s of a record holds %q", name, secret)
				}
			}
		}
	}
}

// Whoever can write to the store, but has no ticket, cannot make it say anything.
func TestStore_S5_AlteredAndSwappedBodiesAreRefused(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := memory.New()
	r := g.replica(t.Context(), t, store)
	a, valueA := r.login(t, forever)
	b, _ := r.login(t, forever)
	recA, errA := store.Get(t.Context(), a.ID)
	recB, errB := store.Get(t.Context(), b.ID)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	put := func(body []byte) {
		t.Helper()
		rec, err := store.Get(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		rec.Body, rec.WriteID = body, [16]byte(seal.Random(16))
		if err := store.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		r.tickets.cache.drop(a.ID)
	}
	for i := range recA.Body {
		altered := bytes.Clone(recA.Body)
		altered[i] ^= 0x80
		put(altered)
		if _, err := r.look(valueA); session.CodeOf(err) != session.None {
			t.Fatalf("a body with byte %d of %d altered: %v, want none", i, len(altered), err)
		}
	}
	for name, body := range map[string][]byte{"swapped": recB.Body, "empty": nil, "short": recA.Body[:20]} {
		put(body)
		_, err := r.look(valueA)
		wantCode(t, name+" body", err, session.None)
	}
	put(recA.Body)
	if _, err := r.look(valueA); err != nil {
		t.Errorf("its own body again: %v", err)
	}
}

func TestStore_S5_AnotherInstallationOpensNothing(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := memory.New()
	_, value := g.replica(t.Context(), t, store).login(t, forever)
	g.ring = ringOf(t, seal.NewKey())
	_, err := g.replica(t.Context(), t, store).look(value)
	wantCode(t, "the ticket of another installation", err, session.None)
}

func TestLoad_C8_TwoCookiesOfOneNameAreRefused(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	r := g.replica(t.Context(), t, memory.New())
	_, value := r.login(t, forever)
	req := with(value)
	req.Header.Add("Cookie", "__Host-Http-session="+value)
	_, err := r.Use(t.Context(), req)
	wantCode(t, "two session cookies", err, session.BadRequest)
	_, err = r.use("")
	wantCode(t, "no cookie", err, session.None)
	_, err = r.use("garbage")
	wantCode(t, "a cookie that is none of ours", err, session.None)
}

func TestLifetime(t *testing.T) {
	lives := session.Options{Idle: 10 * time.Minute, Absolute: time.Hour}
	for _, c := range []struct {
		name   string
		tokens session.Tokens
		every  time.Duration // between uses; 0: none
		look   bool
		ends   time.Duration // the session is served right before, and not from then on
	}{
		{"T1_IdleEndsIt", forever, 0, false, 10 * time.Minute},
		{"T2_AbsoluteEndsAnActiveOne", forever, time.Minute, false, time.Hour},
		{"T4_LookingDoesNotKeepItAlive", forever, 10 * time.Second, true, 10 * time.Minute},
		{"T3_EndsWithTheRefreshToken", session.Tokens{Refresh: "r", RefreshExpires: time.Unix(5, 0)}, 0, false, 5 * time.Second},
		{"T3_EndsWithTheAccessTokenWhenThereIsNoOther", session.Tokens{Expires: time.Unix(7, 0)}, time.Second, false, 7 * time.Second},
	} {
		inEachStorage(t, func(t *testing.T, storage string) {
			t.Run(c.name, func(t *testing.T) { endsAt(t, storage, lives, c.tokens, c.every, c.look, c.ends) })
		})
	}
}

// endsAt wants a session to be served right before its end and not from then on.
func endsAt(t *testing.T, storage string, lives session.Options, tokens session.Tokens, every time.Duration, look bool, ends time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, lives, newProvider(0))
		g.options.Storage = storage
		r := g.replica(t.Context(), t, memory.New())
		began := time.Now()
		for _, at := range []*time.Time{&tokens.Expires, &tokens.RefreshExpires} {
			if !at.IsZero() {
				*at = began.Add(time.Duration(at.Unix()) * time.Second)
			}
		}
		_, value := r.login(t, tokens)
		ask := r.use
		if look {
			ask = r.look
		}
		for every > 0 && time.Since(began)+every < ends {
			time.Sleep(every)
			s, err := ask(value)
			if err != nil {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			if next := r.written(s, value); next != "" {
				value = next
			}
		}
		time.Sleep(time.Until(began.Add(ends - time.Millisecond)))
		if _, err := r.look(value); err != nil {
			t.Errorf("S7: a moment before its end: %v", err)
		}
		time.Sleep(time.Millisecond)
		// S7: the browser still sends the cookie, whatever its Max-Age said. A store has forgotten the session by then.
		want := map[string]session.Code{"store": session.None, "sealed": session.Expired}[storage]
		_, err := r.use(value)
		wantCode(t, "at its end", err, want)
		_, err = r.look(value)
		wantCode(t, "at its end", err, want)
	})
}

// A store that still has what is over (its clock is late) does not prolong anything.
func TestLifetime_S7_EndIsInTheSealedBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, session.Options{Idle: time.Minute, Absolute: time.Hour}, newProvider(0))
		store := memory.New()
		r := g.replica(t.Context(), t, store)
		s, value := r.login(t, forever)
		rec, err := store.Get(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		rec.Expires, rec.WriteID = rec.Expires.Add(24*time.Hour), [16]byte{1}
		if err := store.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		_, err = r.use(value)
		wantCode(t, "an expired session in a live record", err, session.Expired)
	})
}

func TestSlide_T1_IsWrittenAtMostOncePerTenth(t *testing.T) {
	for _, c := range []struct {
		idle, apart time.Duration
	}{{30 * time.Minute, 3 * time.Minute}, {5 * time.Minute, time.Minute}, {time.Minute, 30 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, session.Options{Idle: c.idle, Absolute: 10 * time.Hour}, newProvider(0))
			store := &ear{Store: memory.New()}
			r := g.replica(t.Context(), t, store)
			_, value := r.login(t, forever)
			if _, err := r.use(value); err != nil { // notes that the ticket arrived
				t.Fatal(err)
			}
			before, span := store.puts.Load(), time.Hour
			for began := time.Now(); time.Since(began) < span; time.Sleep(time.Second) {
				if _, err := r.use(value); err != nil {
					t.Fatal(err)
				}
			}
			if got, most := store.puts.Load()-before, int64(span/c.apart); got > most || got < most/2 {
				t.Errorf("idle %v: %d writes in an hour of a request each second, want at most %d", c.idle, got, most)
			}
		})
	}
}

func TestWrite_C11_MaxAgeOnlyWhenPersistent(t *testing.T) {
	for _, c := range []struct {
		name                 string
		persistent, remember bool
		want                 int
	}{{"session cookie", false, false, 0}, {"option persistent", true, false, 3600 - 600}, {"login asked for it", false, true, 3600 - 600}} {
		inEachStorage(t, func(t *testing.T, storage string) {
			t.Run(c.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := newRig(t, session.Options{Idle: 30 * time.Minute, Absolute: time.Hour, Persistent: c.persistent}, newProvider(0))
					g.options.Storage = storage
					r := g.replica(t.Context(), t, memory.New())
					s, value := r.login(t, forever, func(s *session.Session) { s.Life.Remember = c.remember })
					time.Sleep(10 * time.Minute)
					w := httptest.NewRecorder()
					r.Write(w, with(""), s)
					if used, err := r.use(value); err != nil { // what a slide writes lasts as long
						t.Fatal(err)
					} else {
						r.Write(w, with(value), used)
					}
					cookies := slices.DeleteFunc(w.Result().Cookies(), func(c *http.Cookie) bool { return c.MaxAge < 0 }) // of longer sessions
					if want := map[string]int{"store": 1, "sealed": 2}[storage]; len(cookies) != want {
						t.Errorf("%d cookies, want %d", len(cookies), want)
					}
					for _, got := range cookies {
						if got.MaxAge != c.want {
							t.Errorf("%v, want Max-Age %d", got, c.want)
						}
					}
				})
			})
		})
	}
}

// rotate makes the session's next generation, as a renewal does.
func rotate(t *testing.T, r *replica, s *session.Session) *session.Session {
	t.Helper()
	next, err := r.tickets.Update(context.Background(), s, func(c *session.Session) error {
		c.Generation, c.Presented = c.Generation+1, time.Time{}
		return nil
	})
	if err != nil {
		t.Fatalf("rotate: %v", err)
	}
	return next
}

func TestWrite_SaysWhatIsKnownWhenHeadersGoOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, session.DefaultOptions(), newProvider(0))
		r := g.replica(t.Context(), t, memory.New())
		synctest.Wait() // its watch is up
		_, first := r.login(t, forever)
		s, err := r.use(first)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.written(s, first); got != "" {
			t.Errorf("the browser has the current ticket and got %q", got)
		}
		rotate(t, r, s)
		again, err := r.look(first)
		if err != nil {
			t.Fatal(err)
		}
		second := r.written(again, first)
		if g.generation(second) != 2 {
			t.Fatalf("who comes with generation 1 gets generation %d, want 2", g.generation(second))
		}
		// Knowledge that is older than the browser's never goes out: here a replica that has not heard of generation 2.
		synctest.Wait()
		stale := *s
		stale.Carried = 2
		rec, err := r.tickets.store.Get(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		r.tickets.cache.drop(s.ID)
		r.tickets.cache.put(s, len(rec.Body), r.tickets.cache.mark(s.ID), time.Now())
		if got := r.written(&stale, second); got != "" {
			t.Errorf("a browser with generation 2 was given generation %d", g.generation(got))
		}
		// A slow answer that came with generation 1 says nothing once its grace is over.
		r.tickets.cache.drop(s.ID)
		if _, err := r.use(second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(session.Grace)
		if got := r.written(again, first); got != "" {
			t.Errorf("after the grace, generation 1 was given generation %d", g.generation(got))
		}
		// Nor for an ended session, nor for one that is gone.
		fresh := rotate(t, r, s)
		fresh.Carried = 2
		if _, err := r.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
			t.Fatal(err)
		}
		if got := r.written(fresh, second); got != "" {
			t.Errorf("an ended session set the cookie %q", got)
		}
		if got := r.written(nil, second); got != "-" {
			t.Errorf("Write of nil: %q, want the cookie cleared", got)
		}
	})
}

func TestCookie_C2_IsHostOnlyStrictAndSmall(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	for option, want := range map[string]string{"": "Strict", "strict": "Strict", "lax": "Lax"} {
		g.options.SameSite = option
		r := g.replica(t.Context(), t, memory.New())
		s, _ := r.login(t, forever)
		w := httptest.NewRecorder()
		r.Write(w, with(""), s)
		line := w.Header().Get("Set-Cookie")
		for _, part := range []string{"__Host-Http-session=", "; Path=/", "; HttpOnly", "; Secure", "; SameSite=" + want} {
			if !strings.Contains(line, part) {
				t.Errorf("same_site %q: %q lacks %q", option, line, part)
			}
		}
		if strings.Contains(line, "Domain") || len(line) > 300 { // C4 allows 4096
			t.Errorf("%d bytes: %q", len(line), line)
		}
		if w.Header().Get("Cache-Control") != "no-store" {
			t.Error("an answer with a cookie may be cached")
		}
	}
	g.options.SameSite = "none"
	if _, err := NewTickets(t.Context(), memory.New(), g.ring, cookie.New(true, ""), g.lives, g.options); err == nil {
		t.Error("same_site: none is accepted")
	}
}

func TestTheft_T5_EndsTheSessionForBothAndIsSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, session.DefaultOptions(), newProvider(0))
		// A slow store: all the verdicts are reached before the first of them is carried out.
		r := g.replica(t.Context(), t, &ear{Store: memory.New(), slow: 10 * time.Millisecond})
		_, first := r.login(t, forever)
		s, err := r.use(first)
		if err != nil {
			t.Fatal(err)
		}
		s = rotate(t, r, s)
		s.Carried = 1
		second := r.written(s, first)
		if _, err := r.use(first); err != nil {
			t.Errorf("the successor was never presented: %v", err)
		}
		if _, err := r.use(second); err != nil {
			t.Fatal(err)
		}
		time.Sleep(session.Grace - time.Second)
		if _, err := r.use(first); err != nil {
			t.Errorf("inside the grace: %v", err)
		}
		time.Sleep(2 * time.Second)
		var wg sync.WaitGroup
		stolen := make(chan error, 20)
		for range cap(stolen) {
			wg.Go(func() {
				_, err := r.use(first)
				stolen <- err
			})
		}
		wg.Wait()
		close(stolen)
		told := 0
		for err := range stolen {
			if session.CodeOf(err) == session.Stolen {
				told++
			} else if !signedOut(err) {
				t.Errorf("outside the grace: %v", err)
			}
		}
		if n := g.audit.count(audit.Theft); n != 1 || told != 1 {
			t.Errorf("%d audit events, %d requests told; want 1 and 1", n, told)
		}
		for _, value := range []string{first, second} {
			_, err := r.use(value)
			wantCode(t, "afterwards", err, session.None)
		}
	})
}

func TestTheft_IsNoVerdictWhileItCannotBeCarriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, session.DefaultOptions(), newProvider(0))
		store := &ear{Store: memory.New()}
		r := g.replica(t.Context(), t, store)
		s, first := r.login(t, forever)
		for range 2 {
			s = rotate(t, r, s)
		}
		store.fail = func(op string) error {
			if op == "put" {
				return away(op)
			}
			return nil
		}
		_, err := r.use(first)
		wantCode(t, "theft with a store that takes no writes", err, session.Unavailable)
		if n := g.audit.count(audit.Theft); n != 0 {
			t.Errorf("%d thefts in the audit log, the session lives on", n)
		}
		store.fail = func(op string) error { // the record cannot be removed, but what it says is over
			if op == "delete" {
				return away(op)
			}
			return nil
		}
		_, err = r.use(first)
		wantCode(t, "theft", err, session.Stolen)
		s.Carried = s.Generation
		_, err = r.use(ticket{secret: [32]byte(s.Secret), generation: s.Generation}.encode(r.tickets.tickets))
		wantCode(t, "the other holder", err, session.None)
	})
}

// Generation 2 is given out until generation 1's grace is over, 30 s after 2 was presented, and such an answer may be on its
// way for another 25 s. Were generation 3 made before it is there, it would put 2 over 3 in the browser's jar, and the next
// visit would look like theft.
func TestRotation_T5_ALateAnswerDoesNotUndoIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(10 * time.Second) // renewed every 8 s
		g := newRig(t, session.DefaultOptions(), p)
		r := g.replica(t.Context(), t, memory.New())
		_, jar := r.login(t, p.login())
		presented := map[uint32]time.Time{}
		for presented[3].IsZero() {
			s, err := r.use(jar)
			if err != nil {
				t.Fatalf("generation %d: %v", g.generation(jar), err)
			}
			if n := g.generation(jar); presented[n].IsZero() {
				presented[n] = time.Now()
			}
			if answer := r.written(s, jar); answer != "" {
				jar = answer
			}
			if time.Sleep(time.Second); time.Since(presented[1]) > 10*time.Minute {
				t.Fatal("no rotation in ten minutes")
			}
		}
		handedOut := presented[2].Add(session.Grace) // until then
		if since := presented[3].Sub(handedOut); since < 25*time.Second {
			t.Errorf("generation 3 was there %v after 2 was last handed out, want at least 25 s", since)
		} else if since > time.Minute {
			t.Errorf("generation 3 came only %v after 2 was last handed out", since)
		}
	})
}

// S8: after a rotation, and after the older key was retired, sessions of the time before are found.
func TestEnd_S8_ByPersonFindsSessionsOfOlderKeys(t *testing.T) {
	old, fresh := seal.NewKey(), seal.NewKey()
	store := memory.New()
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	g.ring = ringOf(t, old)
	_, one := g.replica(t.Context(), t, store).login(t, forever)
	g.ring = ringOf(t, fresh, old)
	_, kept := g.replica(t.Context(), t, store).login(t, forever, func(s *session.Session) { s.Grant.Subject, s.Grant.SID = "eve", "sid-4" })
	rotated := ringOf(t, old).WithKey(old, fresh, time.Now())
	id, _ := ringOf(t, old).MAC("ticket").Signer()
	g.ring = ringOf(t, ringOf(t, rotated).WithoutKey(rotated, id))
	last := g.replica(t.Context(), t, store)
	if n, err := last.tickets.End(t.Context(), session.Selector{Issuer: issuer, Subject: "eve"}); n != 1 || err != nil {
		t.Errorf("End by subject, the older key retired: %d, %v; want 1", n, err)
	}
	_, err := last.look(kept)
	wantCode(t, "ended without the older key", err, session.None)

	g.ring = ringOf(t, fresh, old)
	r := g.replica(t.Context(), t, store)
	_, two := r.login(t, forever, func(s *session.Session) { s.Grant.SID = "sid-2" })
	_, other := r.login(t, forever, func(s *session.Session) { s.Grant.Subject, s.Grant.SID = "bob", "sid-3" })

	n, err := r.tickets.End(t.Context(), session.Selector{Issuer: issuer, Subject: "ada", SID: "sid-2"})
	if n != 1 || err != nil {
		t.Errorf("End by sid: %d, %v; want 1", n, err)
	}
	_, err = r.look(two)
	wantCode(t, "ended by sid", err, session.None)
	n, err = r.tickets.End(t.Context(), session.Selector{Issuer: issuer, Subject: "ada"})
	if n != 1 || err != nil {
		t.Errorf("End by subject: %d, %v; want 1", n, err)
	}
	_, err = r.look(one)
	wantCode(t, "ended by subject", err, session.None)
	if _, err = r.look(other); err != nil {
		t.Errorf("somebody else: %v", err)
	}
}

func TestUpdate_NeverBringsBackWhatWasEnded(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := memory.New()
	r := g.replica(t.Context(), t, store)
	s, _ := r.login(t, forever)
	_, err := r.tickets.Update(t.Context(), s, func(c *session.Session) error {
		if _, err := r.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
			t.Fatal(err)
		}
		c.Life.Seen = time.Now()
		return nil
	})
	wantCode(t, "an update that was under way at the end", err, session.Ended)
	if _, err := store.Get(t.Context(), s.ID); session.CodeOf(err) != session.None {
		t.Errorf("the record is there again: %v", err)
	}
}

func TestUpdate_ReturnsWhatChangeSays(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := &ear{Store: memory.New()}
	r := g.replica(t.Context(), t, store)
	s, _ := r.login(t, forever)
	before := store.puts.Load()
	own := errors.New("own")
	if _, err := r.tickets.Update(t.Context(), s, func(*session.Session) error { return own }); err != own {
		t.Errorf("got %v, want change's own error", err)
	}
	if got, err := r.tickets.Update(t.Context(), s, func(*session.Session) error { return session.Unchanged }); err != nil || got.Version != s.Version {
		t.Errorf("Unchanged: %v, %v", got, err)
	}
	if n := store.puts.Load() - before; n != 0 {
		t.Errorf("%d writes, want none", n)
	}
}

func BenchmarkLoad_Warm(b *testing.B) {
	g := newRig(b, session.DefaultOptions(), newProvider(0))
	r := g.replica(b.Context(), b, memory.New())
	_, value := r.login(b, forever)
	for {
		if _, err := r.use(value); err != nil {
			b.Fatal(err)
		}
		if e, trusted, ok := r.tickets.cache.get(mustTicket(r, value).id(), time.Now()); ok && trusted && !e.s.Presented.IsZero() {
			break
		}
	}
	req := with(value)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.tickets.Load(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func mustTicket(r *replica, value string) ticket {
	t, _ := decodeTicket(r.tickets.tickets, value)
	return t
}
