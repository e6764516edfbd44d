package storage

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// signIn logs in with tokens of p and lets the ticket arrive.
func signIn(t *testing.T, r *replica, p *provider) (*session.Session, string) {
	t.Helper()
	_, value := r.login(t, p.login())
	s, err := r.use(value)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return s, value
}

func TestRenewal_R1_OneRefreshPerExpiry(t *testing.T) {
	for _, replicas := range []int{1, 2} {
		for _, c := range []struct {
			name string
			at   time.Duration // after the login
		}{{"early", 55 * time.Second}, {"expired", 61 * time.Second}} {
			t.Run(fmt.Sprintf("%d replicas, %s", replicas, c.name), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newProvider(time.Minute)
					p.before, p.back = time.Second, time.Second
					g := newRig(t, session.DefaultOptions(), p)
					store := memory.New()
					var all []*replica
					for range replicas {
						all = append(all, g.replica(t.Context(), t, &ear{Store: store, slow: time.Millisecond}))
					}
					synctest.Wait()
					_, value := signIn(t, all[0], p)
					time.Sleep(c.at)
					var wg sync.WaitGroup
					for i := range 200 {
						wg.Go(func() {
							s, err := all[i%replicas].use(value)
							if err != nil {
								t.Errorf("a request at expiry: %v", err)
							} else if !time.Now().Before(s.Grant.Tokens.Expires) {
								t.Errorf("%s went upstream after it expired", s.Grant.Tokens.Access)
							}
						})
					}
					wg.Wait()
					time.Sleep(5 * time.Second)
					if n := p.asked(); n != 1 || len(p.reused) != 0 {
						t.Errorf("the provider was asked %d times, reused %v; want once", n, p.reused)
					}
					for _, r := range all {
						if s, err := r.use(value); err != nil || s.Grant.Tokens.Access != "access-2" {
							t.Errorf("afterwards: %v, %v; want access-2", s, err)
						}
					}
				})
			})
		}
	}
}

// A JWT's exp is in whole seconds: an issuer that rounds down is a second before us, and an API goes by its word.
func TestRenewal_NoTokenInItsLastSecond(t *testing.T) {
	for _, life := range []time.Duration{3 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(life)
				r := newRig(t, session.DefaultOptions(), p).replica(t.Context(), t, memory.New())
				_, value := signIn(t, r, p)
				for range 100 {
					time.Sleep(life / 40)
					s, err := r.use(value)
					if err != nil {
						t.Fatal(err)
					}
					if left := time.Until(s.Grant.Tokens.Expires); left <= time.Second {
						t.Fatalf("%s goes upstream with %v left", s.Grant.Tokens.Access, left)
					}
				}
				if n := p.asked(); n < 2 || n > 5 {
					t.Errorf("%d refreshes in two and a half lives", n)
				}
			})
		})
	}
}

// A tab that is closed does not cancel what its request began.
func TestRenewal_R1_OutlivesItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		p.back = 3 * time.Second
		r := newRig(t, session.DefaultOptions(), p).replica(t.Context(), t, memory.New())
		_, value := signIn(t, r, p)
		time.Sleep(61 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.Use(ctx, with(value)); err == nil {
			t.Fatal("the request did not wait")
		}
		time.Sleep(5 * time.Second)
		if s, err := r.use(value); err != nil || s.Grant.Tokens.Access != "access-2" || p.asked() != 1 {
			t.Errorf("%v, %v after %d calls; want access-2 after one", s, err, p.asked())
		}
	})
}

func TestRenewal_R2_IsStoredBeforeAnyoneIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		e := &ear{Store: memory.New()}
		g := newRig(t, session.DefaultOptions(), p)
		r := g.replica(t.Context(), t, e)
		_, value := signIn(t, r, p)
		time.Sleep(61 * time.Second)
		failed := 0
		e.fail = func(op string) error { // the store fails right after the provider has rotated, for 3 s
			if op == "put" && p.asked() > 0 && failed < 12 {
				failed++
				return away(op)
			}
			return nil
		}
		s, err := r.use(value)
		if err != nil || s.Grant.Tokens.Refresh != "refresh-2" {
			t.Fatalf("%v, %v; want refresh-2", s, err)
		}
		if failed == 0 {
			t.Fatal("the store never failed")
		}
		// Another replica sees what the waiter got: it had been stored.
		e.fail = nil
		other, err := g.replica(t.Context(), t, &ear{Store: e.Store}).use(value)
		if err != nil || other.Grant.Tokens.Refresh != s.Grant.Tokens.Refresh || p.asked() != 1 {
			t.Errorf("another replica has %v, %v after %d calls", other, err, p.asked())
		}
	})
}

// The lease proves that the store takes writes before a refresh token is spent.
func TestRenewal_R2_NoRefreshWhileTheStoreTakesNoWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		e := &ear{Store: memory.New()}
		r := newRig(t, session.DefaultOptions(), p).replica(t.Context(), t, e)
		_, value := signIn(t, r, p)
		e.fail = func(op string) error {
			if op == "put" {
				return away(op)
			}
			return nil
		}
		time.Sleep(55 * time.Second)
		if _, err := r.use(value); err != nil {
			t.Errorf("the token works: %v", err)
		}
		time.Sleep(6 * time.Second)
		_, err := r.use(value)
		wantCode(t, "the token has expired", err, session.Unavailable)
		if p.asked() != 0 {
			t.Errorf("%d refresh tokens were spent", p.asked())
		}
		e.fail = nil
		time.Sleep(3 * time.Second)
		if _, err := r.use(value); err != nil {
			t.Errorf("the store is back: %v", err)
		}
	})
}

func TestRenewal_R3R4_WhatEndsASession(t *testing.T) {
	for _, code := range []session.Code{session.GrantOver, session.ProviderLied} {
		t.Run(string(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(time.Minute)
				p.say = func(int) error { return session.Fail(code, "refresh", "no") }
				g := newRig(t, session.DefaultOptions(), p)
				store := memory.New()
				r := g.replica(t.Context(), t, store)
				s, value := signIn(t, r, p)
				time.Sleep(61 * time.Second)
				_, err := r.use(value)
				wantCode(t, "the request that renewed", err, session.GrantOver)
				_, err = r.use(value)
				wantCode(t, "the next one", err, session.None)
				if _, err := store.Get(t.Context(), s.ID); session.CodeOf(err) != session.None {
					t.Errorf("the record is still there: %v", err)
				}
				if n := g.audit.count(audit.Ended); n != 1 {
					t.Errorf("%d ends in the audit log, want 1", n)
				}
			})
		})
	}
}

func TestRenewal_R4_ProviderDownEndsNothing(t *testing.T) {
	for _, code := range []session.Code{session.ProviderDown, session.ProviderRefused} {
		t.Run(string(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newProvider(time.Minute)
				p.say = func(int) error { return session.Fail(code, "refresh", "503") }
				r := newRig(t, session.DefaultOptions(), p).replica(t.Context(), t, memory.New())
				s, value := signIn(t, r, p)
				expires := s.Grant.Tokens.Expires
				for ; time.Now().Before(expires.Add(10 * time.Second)); time.Sleep(250 * time.Millisecond) {
					_, err := r.use(value)
					want := session.Code("")
					if !time.Now().Before(expires) {
						want = code
					}
					if got := session.CodeOf(err); got != want && !(want != "" && got == session.ProviderDown) {
						t.Fatalf("%v before expiry: %q, want %q", time.Until(expires), got, want)
					}
					if _, err := r.look(value); err != nil {
						t.Fatalf("the session is over: %v", err)
					}
				}
				p.mu.Lock()
				p.say = nil
				p.mu.Unlock()
				time.Sleep(31 * time.Second)
				if _, err := r.use(value); err != nil {
					t.Errorf("the provider is back: %v", err)
				}
			})
		})
	}
}

// Fifty sessions want a renewal ten times a second for a minute, and the provider answers 503.
func TestRenewal_R4_BacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		p.before = 100 * time.Millisecond
		r := newRig(t, session.DefaultOptions(), p).replica(t.Context(), t, memory.New())
		// All of them were signed in before the first renewal; each has tokens of its own that this provider will not see.
		values := make([]string, 50)
		for i := range values {
			_, values[i] = r.login(t, session.Tokens{Access: "a", Refresh: "r", Expires: time.Now().Add(time.Minute)})
			if _, err := r.use(values[i]); err != nil {
				t.Fatal(err)
			}
		}
		p.setDown(true)
		time.Sleep(49 * time.Second)
		for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(100 * time.Millisecond) {
			for _, value := range values {
				go func() { _, _ = r.use(value) }()
			}
		}
		time.Sleep(time.Second)
		// Those that began before the first answer, and then one after 1, 2, 4, 8, 16 and 30 s.
		if n := p.asked(); n < 50+4 || n > 50+6 {
			t.Errorf("the provider was asked %d times in a minute of 503s, want 50 at once and about 5 more", n)
		}
	})
}

// Many renewals that fail at once are one failure: the provider is asked again after a second, not after thirty.
func TestRenewal_R4_ManyFailuresAtOnceAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		p.before = 100 * time.Millisecond
		r := newRig(t, session.DefaultOptions(), p).replica(t.Context(), t, memory.New())
		_, mine := r.login(t, p.login())
		values := []string{mine}
		for range 20 {
			_, value := r.login(t, session.Tokens{Access: "a", Refresh: "r", Expires: time.Now().Add(time.Minute)})
			values = append(values, value)
		}
		p.setDown(true)
		time.Sleep(61 * time.Second)
		var wg sync.WaitGroup
		for _, value := range values {
			wg.Go(func() {
				_, err := r.use(value)
				wantCode(t, "while it is down", err, session.ProviderDown)
			})
		}
		wg.Wait()
		p.setDown(false)
		time.Sleep(3 * time.Second)
		if _, err := r.use(mine); err != nil {
			t.Errorf("three seconds later: %v", err)
		}
	})
}

func TestRenewal_R5_AsksForNoMoreThanWasGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(15 * time.Second)
		r := newRig(t, session.DefaultOptions(), p).replica(t.Context(), t, memory.New())
		_, value := signIn(t, r, p)
		for range 3 {
			time.Sleep(16 * time.Second)
			began := time.Now()
			if _, err := r.use(value); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("a renewal took %v: the one before did not give the lease back", took)
			}
		}
		if len(p.scopes) != 3 {
			t.Fatalf("%d refreshes, want 3", len(p.scopes))
		}
		for _, scope := range p.scopes {
			if scope != "openid api" {
				t.Errorf("the provider got a grant of scope %q, granted was %q", scope, "openid api")
			}
		}
	})
}

func TestRenew_OnRequestOnlyWhenTenSecondsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Hour)
		r := newRig(t, session.DefaultOptions(), p).replica(t.Context(), t, memory.New())
		s, value := signIn(t, r, p)
		time.Sleep(session.MinimumAge - time.Millisecond)
		if again, err := r.Renew(t.Context(), s); err != nil || again != s || p.asked() != 0 {
			t.Errorf("too young: %v after %d calls", err, p.asked())
		}
		p.mu.Lock()
		p.life, p.expires = time.Minute, time.Now() // renewing early is what is asked for
		p.mu.Unlock()
		time.Sleep(time.Millisecond)
		for range 5 { // every one of them still has the session as it was
			renewed, err := r.Renew(t.Context(), s)
			if err != nil || renewed.Grant.Tokens.Access != "access-2" {
				t.Errorf("%v, %v; want access-2", renewed, err)
			}
		}
		if p.asked() != 1 {
			t.Errorf("%d calls for one access token, want 1", p.asked())
		}
		if _, err := r.use(value); err != nil {
			t.Error(err)
		}
	})
}

func TestRenewal_EndedInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		p.back = 2 * time.Second
		g := newRig(t, session.DefaultOptions(), p)
		store := memory.New()
		a, b := g.replica(t.Context(), t, store), g.replica(t.Context(), t, store)
		s, value := signIn(t, a, p)
		time.Sleep(61 * time.Second)
		answer := make(chan error, 1)
		go func() {
			_, err := a.use(value)
			answer <- err
		}()
		time.Sleep(time.Second)
		if _, err := b.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "the request that waited", <-answer, session.Ended)
		if _, err := store.Get(t.Context(), s.ID); session.CodeOf(err) != session.None {
			t.Errorf("the session is back: %v", err)
		}
		if !p.revoked["refresh-2"] {
			t.Error("the tokens received for an ended session were not revoked")
		}
		if n := g.audit.count(audit.Revoked); n != 1 {
			t.Errorf("%d revocations in the audit log, want 1", n)
		}
	})
}

// A logout revokes the refresh token while a renewal is under way: the provider's invalid_grant is no second end.
func TestRenewal_LogoutInFlightIsOneEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		p.before = 2 * time.Second
		g := newRig(t, session.DefaultOptions(), p)
		r := g.replica(t.Context(), t, memory.New())
		s, value := signIn(t, r, p)
		time.Sleep(61 * time.Second)
		answer := make(chan error, 1)
		go func() {
			_, err := r.use(value)
			answer <- err
		}()
		time.Sleep(time.Second)
		if _, err := r.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
			t.Fatal(err)
		}
		_ = p.Revoke(t.Context(), s.Grant.Tokens)
		wantCode(t, "the request that waited", <-answer, session.Ended)
		if n := g.audit.count(audit.Ended); n != 0 {
			t.Errorf("%d further ends in the audit log, want none", n)
		}
	})
}

func TestRenewer_CloseWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(time.Minute)
		p.back = 3 * time.Second
		store := memory.New()
		g := newRig(t, session.DefaultOptions(), p)
		r := g.replica(t.Context(), t, store)
		_, value := signIn(t, r, p)
		time.Sleep(55 * time.Second)
		if _, err := r.use(value); err != nil { // begins a renewal and does not wait
			t.Fatal(err)
		}
		if err := r.renewer.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, err := g.replica(t.Context(), t, store).look(value); err != nil || s.Grant.Tokens.Access != "access-2" {
			t.Errorf("after Close: %v, %v; want access-2 in the store", s, err)
		}
		time.Sleep(time.Hour)
		if p.asked() != 1 {
			t.Errorf("%d calls", p.asked())
		}
	})
}
