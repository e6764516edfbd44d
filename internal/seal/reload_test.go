package seal

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// followed is a ring whose texts can be changed. It counts how often they are read and keeps what was told.
type followed struct {
	*Keyring
	mu    sync.Mutex
	texts []string
	err   error
	reads int
	told  []error
}

func follow(t testing.TB, texts ...string) *followed {
	f := &followed{Keyring: ringOf(t, texts...)}
	f.Follow(func(context.Context) ([]string, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.reads++
		return f.texts, f.err
	}, func(err error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.told = append(f.told, err)
	})
	return f
}

func (f *followed) set(err error, texts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.texts, f.err = texts, err
}

// Boxes, MACs and lasting keys that were made before follow.
func TestReload_S8_WhatWasMadeBeforeFollows(t *testing.T) {
	one, two := NewKey(), NewKey()
	rotated := ringOf(t, one).WithKey(one, two, time.Now())
	retired := ringOf(t, rotated).WithoutKey(rotated, idOf(t, one))
	f := follow(t, one)
	box, mac, lasting := f.Box("test"), f.MAC("test"), f.Lasting("test")
	old, key := box.Seal([]byte("x"), nil), string(lasting.Key())
	id, sign := mac.Signer()
	sum := sign([]byte("x"))
	opens := func(name string, want bool) {
		t.Helper()
		if _, err := box.Open(old, nil); (err == nil) != want {
			t.Errorf("%s: opens what the first key sealed: %v, want %v", name, err, want)
		}
		if got := mac.Verify(id, []byte("x"), sum[:]); got != want {
			t.Errorf("%s: verifies what the first key signed: %v, want %v", name, got, want)
		}
		if box.Knows(idOf(t, one)) != want {
			t.Errorf("%s: knows the first key, want %v", name, want)
		}
		if string(lasting.Key()) != key {
			t.Errorf("%s: the lasting key is another", name)
		}
	}
	opens("before", true)
	for _, step := range []struct {
		name, text, seals string
		opens             bool
	}{{"rotated", rotated, two, true}, {"retired", retired, two, false}, {"back", rotated, two, true}} {
		f.set(nil, step.text)
		if err := f.Reload(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		opens(step.name, step.opens)
		signer, _ := mac.Signer()
		if want := idOf(t, step.seals); sealer(box) != want || signer != want {
			t.Errorf("%s: %s seals and %s signs, want %s", step.name, sealer(box), signer, want)
		}
	}
	// Another installation's keys: everything from before is over, the lasting keys as well.
	f.set(nil, NewKey())
	if err := f.Reload(t.Context()); err != nil || box.Knows(idOf(t, two)) || string(lasting.Key()) == key {
		t.Errorf("all keys replaced: %v", err)
	}
}

func TestReload_S8_WhatCannotBeUsedChangesNothing(t *testing.T) {
	one, two := NewKey(), NewKey()
	gone := errors.New("cloakroom.key: no such file or directory")
	for _, c := range []struct {
		name, text string
		err        error
		want       string
	}{
		{"not there", "", gone, "no such file"},
		{"empty", "", nil, "there is no key in it"},
		{"short", one + "\nc2hvcnQ", nil, "line 2: a key is 32 bytes long, this one 5"},
		{"twice", one + "\n" + one, nil, "is there twice"},
		{"none that seals yet", two + " active_from=9999-12-31T00:00:00Z", nil, "no key seals yet"},
		{"another index key", two + "\n" + one + "\n" + NewKey(), nil, "the index key is another, though keys stayed"},
	} {
		f := follow(t, two+"\n"+one)
		box, lasting := f.Box("test"), string(f.Lasting("test").Key())
		f.set(c.err, c.text)
		err := f.Reload(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || len(f.told) != 1 || f.told[0] != err {
			t.Errorf("%s: %v and told %v, want %q", c.name, err, f.told, c.want)
		}
		if !box.Knows(idOf(t, one)) || sealer(box) != idOf(t, two) || string(f.Lasting("test").Key()) != lasting {
			t.Errorf("%s: the ring from before did not stay", c.name)
		}
	}
	if err := ringOf(t, one).Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to read keys from") {
		t.Errorf("without anything to read: %v", err)
	}
}

// An unknown key has the texts read, so that a replica that was told nothing opens what another one sealed; and no more than once in
// ten seconds, whatever comes.
func TestReload_S8_UnknownKeysReadOnceInAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := NewKey(), NewKey()
		f := follow(t, one)
		f.set(nil, one)
		box, mac, theirs := f.Box("test"), f.MAC("test"), ringOf(t, two)
		sealed := theirs.Box("test").Seal([]byte("x"), nil)
		id, sign := theirs.MAC("test").Signer()
		sum := sign([]byte("x"))

		var opened atomic.Int64
		all := func(n int) {
			var wait sync.WaitGroup
			for range n {
				wait.Go(func() {
					if _, err := box.Open(sealed, nil); err == nil {
						opened.Add(1)
					}
					if mac.Verify(id, []byte("x"), sum[:]) {
						opened.Add(1)
					}
				})
			}
			wait.Wait()
		}
		all(20)
		if f.reads != 1 || len(f.told) != 0 || opened.Load() != 0 {
			t.Errorf("unknown: read %d times, told %v, opened %d", f.reads, f.told, opened.Load())
		}
		f.set(nil, ringOf(t, one).WithKey(one, two, time.Now()))
		time.Sleep(reloadRest - time.Nanosecond)
		if all(20); f.reads != 1 || opened.Load() != 0 {
			t.Errorf("within ten seconds: read %d times, opened %d", f.reads, opened.Load())
		}
		time.Sleep(time.Nanosecond)
		if all(20); f.reads != 2 || opened.Load() != 40 || len(f.told) != 1 || f.told[0] != nil {
			t.Errorf("after ten seconds: read %d times, opened %d, told %v", f.reads, opened.Load(), f.told)
		}
		if sealer(box) != id {
			t.Error("the new key does not seal")
		}
		// What cannot be read is told, and costs nothing else.
		f.set(errors.New("away"), "")
		time.Sleep(reloadRest)
		if _, err := box.Open(append([]byte("none"), sealed[4:]...), nil); err == nil || len(f.told) != 2 || f.told[1] == nil {
			t.Errorf("unreadable: %v, told %v", err, f.told)
		}
		if all(1); opened.Load() != 42 {
			t.Error("the keys from before did not stay")
		}
		// Who says on purpose that there are new keys does not wait.
		f.set(nil, one)
		if err := f.Reload(t.Context()); err != nil || box.Knows(id) {
			t.Errorf("Reload: %v", err)
		}
	})
}

// What is asked from outside takes no more than two seconds, and reloading goes on beside sealing and opening.
func TestReload_S8_BoundedAndBesideUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ringOf(t, NewKey())
		r.Follow(func(ctx context.Context) ([]string, error) { <-ctx.Done(); return nil, ctx.Err() }, func(error) {})
		box, began := r.Box("test"), time.Now()
		if _, err := box.Open(ringOf(t, NewKey()).Box("test").Seal(nil, nil), nil); !errors.Is(err, ErrOpen) || time.Since(began) != reloadWithin {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	one, two := NewKey(), NewKey()
	f := follow(t, one)
	box := f.Box("test")
	stop := make(chan struct{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := box.Open(box.Seal([]byte("x"), nil), nil); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	rotated := ringOf(t, one).WithKey(one, two, time.Now())
	back := strings.Replace(rotated, "\n"+one, "\n"+one+" active_from=9998-01-01T00:00:00Z", 1) // two seals in either
	for i := range 200 {
		f.set(nil, []string{rotated, back}[i%2])
		if err := f.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wait.Wait()
}

func TestMembers_S8_WhoSealsAndUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		old, mid, next, other := NewKey(), NewKey(), NewKey(), NewKey()
		at := func(d time.Duration) string { return " active_from=" + now.Add(d).UTC().Format(time.RFC3339) + "\n" }
		r := ringOf(t, old+"\n"+mid+at(-time.Hour)+next+at(time.Hour), other)
		want := []Member{
			{ID: idOf(t, old), Until: now.Add(-time.Hour)},
			{ID: idOf(t, mid), ActiveFrom: now.Add(-time.Hour), Seals: true, Until: now.Add(time.Hour)},
			{ID: idOf(t, next), ActiveFrom: now.Add(time.Hour)},
			{ID: idOf(t, other), Text: 1},
		}
		for i, m := range r.Members() {
			w := want[i]
			if m.ID != w.ID || m.Text != w.Text || m.Seals != w.Seals || !m.ActiveFrom.Equal(w.ActiveFrom) || !m.Until.Equal(w.Until) {
				t.Errorf("%d: %+v, want %+v", i, m, w)
			}
		}
	})
}
