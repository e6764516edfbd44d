package storage

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

// limited is a rig that holds people to n sessions.
func limited(t *testing.T, n int, full string) *rig {
	lives := session.DefaultOptions()
	lives.MaxSessions, lives.WhenFull = n, full
	return newRig(t, lives, newProvider(0))
}

// admit lets a person sign in as the callback does. It returns who ended for it.
func (r *replica) admit(t *testing.T, person string, replaced ...session.ID) (s *session.Session, value string, ended []session.ID, err error) {
	t.Helper()
	s, value = r.login(t, forever, func(s *session.Session) { s.Grant.Subject = person })
	err = r.Admit(context.Background(), s, replaced, func(l session.Listed) { ended = append(ended, l.ID) })
	return s, value, ended, err
}

func TestAdmit_T6_TheOldestEnds(t *testing.T) {
	g := limited(t, 2, session.EndOldest)
	r := g.replica(t.Context(), t, memory.New())
	var ids []session.ID
	var values []string
	for i := range 5 {
		s, value, ended, err := r.admit(t, "ada")
		if err != nil {
			t.Fatal(err)
		}
		if i >= 2 && !slices.Equal(ended, ids[i-2:i-1]) || i < 2 && ended != nil {
			t.Errorf("login %d ended %d sessions, want the oldest alone", i+1, len(ended))
		}
		ids, values = append(ids, s.ID), append(values, value)
		if _, _, _, err := r.admit(t, "bob"); err != nil { // another person has a limit of their own
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // the next begins later
	}
	for i, value := range values {
		_, err := r.use(value)
		want := map[bool]session.Code{true: session.None, false: ""}[i < 3]
		wantCode(t, "session "+string(rune('1'+i)), err, want)
	}
	// Longest in use is not oldest: the order is that of the logins.
	if _, err := r.use(values[3]); err != nil {
		t.Fatal(err)
	}
	if _, _, ended, err := r.admit(t, "ada"); err != nil || !slices.Equal(ended, ids[3:4]) {
		t.Errorf("one more: %d ended, %v; want the one that began first", len(ended), err)
	}
}

func TestAdmit_T6_TheNewestIsRefused(t *testing.T) {
	g := limited(t, 2, session.Refuse)
	r := g.replica(t.Context(), t, memory.New())
	first, _, _, _ := r.admit(t, "ada")
	_, second, _, err := r.admit(t, "ada")
	if err != nil {
		t.Fatal(err)
	}
	_, third, ended, err := r.admit(t, "ada")
	wantCode(t, "a third login", err, session.SessionLimit)
	if ended != nil {
		t.Errorf("it ended %d others", len(ended))
	}
	_, err = r.use(third)
	wantCode(t, "the refused session", err, session.None)
	if _, err := r.use(second); err != nil {
		t.Errorf("the second: %v", err)
	}
	// In the same browser a login replaces the session that is there, and needs no further place.
	if _, _, _, err := r.admit(t, "ada", first.ID); err != nil {
		t.Errorf("a login in a browser that has a session: %v", err)
	}
	if _, err := r.storage.End(t.Context(), session.Selector{ID: first.ID}); err != nil {
		t.Fatal(err)
	}
	_, _, _, err = r.admit(t, "ada")
	wantCode(t, "no place is free yet", err, session.SessionLimit)
	if _, err := r.storage.End(t.Context(), ada); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err = r.admit(t, "ada"); err != nil {
		t.Errorf("after the others ended: %v", err)
	}
}

// A limit that was not there before, or was higher, holds from the next login on.
func TestAdmit_T6_ALowerLimit(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := memory.New()
	before := g.replica(t.Context(), t, store)
	for range 250 {
		before.admit(t, "ada")
	}
	g.lives.MaxSessions = 3
	r := g.replica(t.Context(), t, store)
	if _, _, ended, err := r.admit(t, "ada"); err != nil || len(ended) != 248 {
		t.Errorf("%d ended, %v; want all but 3", len(ended), err)
	}
	if n := len(collect(t, r.List(t.Context(), ada))); n != 3 {
		t.Errorf("%d are left, want 3", n)
	}
}

// The promise, with many logins of one person at once: never are there more sessions in browsers than there may be.
func TestAdmit_T6_ManyAtOnce(t *testing.T) {
	stores := map[string]func(*testing.T) session.Store{
		"memory": func(*testing.T) session.Store { return memory.New() },
		"sqlite": func(t *testing.T) session.Store {
			s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			return s
		},
	}
	const most, each = 3, 12
	for name, open := range stores {
		for _, full := range []string{session.EndOldest, session.Refuse} {
			for replicas, kind := range map[int]string{1: "one process", 3: "three replicas"} {
				t.Run(strings.Join([]string{name, full, kind}, ", "), func(t *testing.T) {
					g, store := limited(t, most, full), open(t)
					var all []*replica
					for range replicas {
						all = append(all, g.replica(t.Context(), t, store))
					}
					var mu sync.Mutex
					answered := map[session.ID]bool{}
					living := func() (n int) {
						for _, l := range collect(t, all[0].List(t.Context(), ada)) {
							if answered[l.ID] {
								n++
							}
						}
						return n
					}
					var work sync.WaitGroup
					for i := range each * replicas {
						work.Go(func() {
							r, now := all[i%replicas], time.Now()
							s, err := r.storage.Update(context.Background(), &session.Session{Grant: session.Grant{Provider: "p", Issuer: issuer, Subject: "ada", Tokens: forever}}, func(s *session.Session) error {
								s.Life = session.Life{Created: now, Seen: now, Renewed: now, Absolute: now.Add(time.Hour)}
								return nil
							})
							if err != nil {
								t.Error(err)
								return
							}
							err = r.Admit(context.Background(), s, nil, func(session.Listed) {})
							if code := session.CodeOf(err); code != "" && code != session.SessionLimit {
								t.Error(err)
							}
							mu.Lock()
							defer mu.Unlock()
							answered[s.ID] = err == nil
							if n := living(); n > most {
								t.Errorf("%d sessions live, want at most %d", n, most)
							}
						})
					}
					work.Wait()
					total := len(collect(t, all[0].List(t.Context(), ada)))
					if total > most || replicas == 1 && total != most {
						t.Errorf("%d are left, want %d", total, most)
					}
				})
			}
		}
	}
}
