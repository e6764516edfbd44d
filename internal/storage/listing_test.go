package storage

import (
	"context"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// collect returns what a listing yields, in the order of creation.
func collect(t *testing.T, listing iter.Seq2[session.Listed, error]) []session.Listed {
	t.Helper()
	var all []session.Listed
	for l, err := range listing {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b session.Listed) int { return a.Created.Compare(b.Created) })
	return all
}

var ada = session.Selector{Issuer: issuer, Subject: "ada"}

func TestListing_T6_FollowsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProvider(5 * time.Minute)
		g := newRig(t, session.Options{Idle: 30 * time.Minute, Absolute: 10 * time.Hour}, p)
		store := memory.New()
		r := g.replica(t.Context(), t, store)
		began := time.Now()
		s, value := r.login(t, p.login(), func(s *session.Session) { s.Device = session.Device{Browser: "Firefox", System: "Linux"} })
		want := session.Listed{
			ID: s.ID, LogID: s.LogID, Provider: "p", Issuer: issuer, Subject: "ada", SID: "sid-1", Device: session.Device{Browser: "Firefox", System: "Linux"},
		}
		for _, at := range []time.Duration{0, 10 * time.Minute, time.Hour} { // slides and renewals in between
			for time.Since(began) < at {
				time.Sleep(time.Minute)
				used, err := r.use(value)
				if err != nil {
					t.Fatal(err)
				}
				if next := r.written(used, value); next != "" {
					value = next
				}
			}
			for name, which := range map[string]session.Selector{"person": ada, "name": {LogID: s.LogID}, "sid": {Issuer: issuer, SID: "sid-1"}} {
				list := collect(t, r.List(t.Context(), which))
				if len(list) != 1 {
					t.Fatalf("after %v, by %s: %d sessions, want 1", at, name, len(list))
				}
				l := list[0]
				if age := time.Since(l.Seen); age < 0 || age >= 3*time.Minute || !l.Created.Equal(began) || !l.Expires.Equal(l.Seen.Add(30*time.Minute).Truncate(time.Millisecond)) {
					t.Errorf("after %v, by %s: created %v, seen %v, ends %v", at, name, l.Created, l.Seen, l.Expires)
				}
				if l.Created, l.Seen, l.Expires = (time.Time{}), (time.Time{}), (time.Time{}); l != want {
					t.Errorf("after %v, by %s: %+v, want %+v", at, name, l, want)
				}
			}
		}
		if p.asked() == 0 {
			t.Error("nothing was renewed: this test shows less than it says")
		}
		time.Sleep(30 * time.Minute)
		if list := collect(t, r.List(t.Context(), ada)); len(list) != 0 {
			t.Errorf("a session that is over is listed: %+v", list)
		}
	})
}

// What is listed needs the keyring and nothing else; who has the store alone reads nothing and can put nothing in its place.
func TestListing_S4_S6_SealedWithTheKeyringAlone(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := memory.New()
	a, _ := g.replica(t.Context(), t, store).login(t, forever)
	r := g.replica(t.Context(), t, store) // knows no ticket
	b, _ := r.login(t, forever, func(s *session.Session) { s.Grant.Subject = "bob" })
	if list := collect(t, r.List(t.Context(), ada)); len(list) != 1 || list[0].ID != a.ID || list[0].Subject != "ada" {
		t.Errorf("another replica lists %+v", list)
	}
	recA, errA := store.Get(t.Context(), a.ID)
	recB, errB := store.Get(t.Context(), b.ID)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	for i := range recA.Meta {
		recA.Meta[i] ^= 0x80
		if _, err := r.tickets.openMeta(recA); err == nil {
			t.Fatalf("byte %d of %d altered, and it opens", i, len(recA.Meta))
		}
		recA.Meta[i] ^= 0x80
	}
	recA.Meta, recA.WriteID = recB.Meta, [16]byte{1}
	if err := store.Put(t.Context(), recA); err != nil {
		t.Fatal(err)
	}
	list := collect(t, r.List(t.Context(), ada))
	if len(list) != 1 || list[0].Subject != "" || list[0].ID != a.ID {
		t.Errorf("with another's meta: %+v, want the session without a word of it", list)
	}
	g.ring = ringOf(t, seal.NewKey())
	if list := collect(t, g.replica(t.Context(), t, store).All(t.Context())); len(list) != 2 || list[0].Subject != "" || list[1].Subject != "" {
		t.Errorf("another keyring lists %+v", list)
	}
}

func TestListing_S8_FindsAcrossKeys(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := memory.New()
	older, newer := seal.NewKey(), seal.NewKey()
	g.ring = ringOf(t, older)
	first, _ := g.replica(t.Context(), t, store).login(t, forever)
	g.ring = ringOf(t, newer, older)
	r := g.replica(t.Context(), t, store)
	second, _ := r.login(t, forever)
	list := collect(t, r.List(t.Context(), ada))
	if len(list) != 2 || list[0].LogID != first.LogID || list[1].LogID != second.LogID {
		t.Errorf("listed %+v, want both under the names they had", list)
	}
	if n, err := r.storage.End(t.Context(), session.Selector{LogID: first.LogID}); n != 1 || err != nil {
		t.Errorf("ending the first by its name: %d, %v", n, err)
	}
}

func TestListing_All_IsOfSessionsOnly(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	store := memory.New()
	r := g.replica(t.Context(), t, store)
	notes := NewNotes(store, g.ring)
	want := map[session.ID]bool{}
	for i := range 3*pageSize + 1 {
		s, _ := r.login(t, forever)
		want[s.ID] = true
		if err := notes.Put(t.Context(), "logout", string(rune('a'+i)), nil, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	for _, l := range collect(t, r.All(t.Context())) {
		if !want[l.ID] {
			t.Fatalf("twice, or no session: %+v", l)
		}
		delete(want, l.ID)
	}
	if len(want) != 0 {
		t.Errorf("%d sessions are not listed", len(want))
	}
	ended := 0
	if n, listed, err := r.Revoke(t.Context(), ada, func(session.Listed) { ended++ }); n != 3*pageSize+1 || ended != n || !listed || err != nil {
		t.Errorf("ended %d, told %d, listed %v: %v", n, ended, listed, err)
	}
	if list := collect(t, r.All(t.Context())); len(list) != 0 {
		t.Errorf("%d are left", len(list))
	}
}

// plain is a store without any power.
type plain struct{ session.Store }

func TestListing_WithoutThePower(t *testing.T) {
	g := newRig(t, session.DefaultOptions(), newProvider(0))
	for _, storage := range []string{"store", "sealed"} {
		g.options.Storage = storage
		r := g.replica(t.Context(), t, plain{memory.New()})
		s, _ := r.login(t, forever)
		for name, listing := range map[string]iter.Seq2[session.Listed, error]{"List": r.List(t.Context(), ada), "All": r.All(t.Context())} {
			n := 0
			for _, err := range listing {
				n++
				wantCode(t, storage+": "+name, err, session.Unlisted)
				if session.HintOf(err) == "" {
					t.Errorf("%s: %s: no hint", storage, name)
				}
			}
			if n != 1 {
				t.Errorf("%s: %s yielded %d times, want one error", storage, name, n)
			}
		}
		_, err := r.storage.End(t.Context(), session.Selector{LogID: s.LogID})
		wantCode(t, storage+": ending by name", err, session.Unlisted)
		_, listed, err := r.Revoke(context.Background(), ada, func(session.Listed) {})
		want := map[string]session.Code{"store": session.Unlisted, "sealed": ""}[storage]
		if session.CodeOf(err) != want || storage == "sealed" && listed {
			t.Errorf("%s: ending by person: listed %v, %v; want %q", storage, listed, err, want)
		}
	}
}
