package seal

import (
	"encoding/base64"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func idOf(t testing.TB, text string) KeyID {
	t.Helper()
	k, err := ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	return k.ID()
}

// sealer is the key under which a box seals now.
func sealer(b *Box) KeyID { return KeyID(b.Seal(nil, nil)[:4]) }

func TestNewKeyring_S8_WhatIsRefused(t *testing.T) {
	one, two := NewKey(), NewKey()
	index := func() string { return "index " + indexPrefix + base64.RawURLEncoding.EncodeToString(Random(32)) }
	same := index()
	many := strings.Builder{}
	for range 17 {
		many.WriteString(NewKey() + "\n")
	}
	for _, c := range []struct {
		name  string
		texts []string
		want  string // "" for what is taken
	}{
		{"one", []string{one}, ""},
		{"two", []string{one, two}, ""},
		{"a file", []string{"# for people\n\n" + one + "  # the old one\r\n\t" + two + " active_from=2026-01-02T03:04:05+01:00\n" + index() + "\n"}, ""},
		{"a file that begins with a mark of UTF-8", []string{"\ufeff" + one + "\n"}, ""},
		{"the same index twice", []string{one + "\n" + same, two + "\n" + same}, ""},
		{"a file with an index alone beside a key", []string{one, same + "\n"}, ""},

		{"none", nil, "a keyring has 1 to 16 keys, not 0"},
		{"an empty one", []string{one, ""}, "key 2: there is no key in it; make one with: cloakroom keys new"},
		{"words for people alone", []string{"# nothing\n"}, "key 1: there is no key in it"},
		{"an index alone", []string{same}, "a keyring has 1 to 16 keys, not 0"},
		{"seventeen", []string{many.String()}, "line 17: a keyring has at most 16 keys"},
		{"seventeen in two", []string{strings.Join(strings.SplitAfter(many.String(), "\n")[:16], ""), one}, "a keyring has 1 to 16 keys, not 17"},
		{"twice in a file", []string{one + "\n" + two + "\n" + one}, "line 3: key " + idOf(t, one).String() + " is there twice"},
		{"twice", []string{one, two, "\n" + one}, "key " + idOf(t, one).String() + " is there twice: 1 and 3 of the list have it"},
		{"a short key", []string{one + "\nc2hvcnQ\n"}, "line 2: a key is 32 bytes long, this one 5"},
		{"a key that is none", []string{one + "\n" + strings.Repeat("!", 43) + "\n"}, "line 2: a key is 32 bytes in base64"},
		{"a made-up key", []string{one + "\n" + strings.Repeat("00", 32) + "\n"}, "line 2: this key is not random"},
		{"two keys in a line", []string{one + " " + two}, "each key has a line of its own"},
		{"an unknown word", []string{one + " expires=2026-01-02T03:04:05Z"}, "behind a key there may be active_from=TIME and nothing else"},
		{"active_from twice", []string{one + " active_from=2026-01-02T03:04:05Z active_from=2026-01-02T03:04:05Z"}, "active_from=TIME and nothing else"},
		{"a date", []string{one + " active_from=2026-01-02"}, "active_from= wants a time like 2026-11-26T12:00:00Z"},
		{"two index lines", []string{same + "\n" + same + "\n" + one}, "line 2: a keyring has one index line"},
		{"an index without a key", []string{"index\n" + one}, "line 1: a keyring has one index line: index KEY"},
		{"a short index", []string{"index c2hvcnQ\n" + one}, "line 1: a key is 32 bytes long, this one 5"},
		{"two different indexes", []string{one + "\n" + index(), two + "\n" + index()}, "there are two index lines, and they differ"},
		{"none that seals yet", []string{one + " active_from=9999-12-31T00:00:00Z"}, "no key seals yet: the first, " + idOf(t, one).String() + ", does from 9999-12-31T00:00:00Z"},
	} {
		_, err := NewKeyring(c.texts...)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), one) || strings.Contains(err.Error(), two) || strings.Contains(err.Error(), indexPrefix)) {
			t.Errorf("%s: the error holds a key: %v", c.name, err)
		}
	}
}

// A new key opens at once and seals from its time on.
func TestKeyring_S8_SealsFromActiveFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next, last := NewKey(), NewKey(), NewKey()
		at := func(d time.Duration) string {
			return " active_from=" + time.Now().Add(d).UTC().Format(time.RFC3339) + "\n"
		}
		file := old + "\n" + next + at(10*time.Minute) + last + at(5*time.Minute)
		other := ringOf(t, next).Box("test")
		b := ringOf(t, file).Box("test")
		if _, err := b.Open(other.Seal([]byte("x"), nil), nil); err != nil {
			t.Errorf("the new key does not open yet: %v", err)
		}
		for _, step := range []struct {
			after time.Duration
			want  string
		}{{0, old}, {5*time.Minute - time.Second, old}, {time.Second, last}, {5*time.Minute - time.Nanosecond, last}, {time.Nanosecond, next}, {time.Hour, next}} {
			time.Sleep(step.after)
			if got := sealer(b); got != idOf(t, step.want) {
				t.Errorf("after %v more: %s seals, want %s", step.after, got, idOf(t, step.want))
			}
		}
		// Of several entries the first seals that has a key whose time has come.
		young := NewKey()
		b = ringOf(t, young+at(time.Minute), old+"\n"+next+at(-time.Minute)).Box("test")
		if got := sealer(b); got != idOf(t, next) {
			t.Errorf("%s seals before the first entry's time, want %s", got, idOf(t, next))
		}
		time.Sleep(time.Minute)
		if got := sealer(b); got != idOf(t, young) {
			t.Errorf("%s seals after it, want %s", got, idOf(t, young))
		}
		if got := sealer(ringOf(t, old, last+at(-time.Minute)).Box("test")); got != idOf(t, old) {
			t.Errorf("%s seals, want the first of the list", got)
		}
	})
}

// What people and sessions are named by stays when keys come and go.
func TestKeyring_S8_LastingKeysDoNotRotate(t *testing.T) {
	one, two := NewKey(), NewKey()
	lasting := func(texts ...string) string { return string(ringOf(t, texts...).Lasting("test").Key()) }
	rotated := ringOf(t, one).WithKey(one, two, time.Now())
	retired := ringOf(t, rotated).WithoutKey(rotated, idOf(t, one))
	index := ringOf(t, one).WithoutKey(one, idOf(t, one))
	for _, c := range []struct {
		name  string
		texts []string
		same  bool
	}{
		{"the key alone", []string{one}, true},
		{"one put before it", []string{two, one}, true},
		{"rotated", []string{rotated}, true},
		{"rotated, the first retired", []string{retired}, true},
		{"rotated again", []string{ringOf(t, retired).WithKey(retired, NewKey(), time.Now())}, true},
		{"a newer file before it", []string{two, rotated[:strings.Index(rotated, two)]}, true},
		{"the index alone behind another key", []string{two, index}, true},
		{"a file rotated before another", []string{ringOf(t, two, one).WithKey(two, NewKey(), time.Now())}, true},
		{"another key", []string{two}, false},
		{"one put behind it", []string{one, two}, false},
	} {
		if got := lasting(c.texts...) == lasting(one); got != c.same {
			t.Errorf("%s: the same is %v, want %v", c.name, got, c.same)
		}
	}
	r := ringOf(t, one)
	if string(r.Lasting("a").Key()) == string(r.Lasting("b").Key()) {
		t.Error("two purposes have one key")
	}
}

func TestKeyring_S8_TextsKeepWhatPeopleWrote(t *testing.T) {
	one, two, three := NewKey(), NewKey(), NewKey()
	at := time.Date(2026, 1, 2, 4, 4, 5, 0, time.FixedZone("", 3600))
	text := "# mine\r\n\r\n" + one + " # the first\r\n# and the second\n" + two // without an end of the line
	r := ringOf(t, text)
	text = r.WithKey(text, three, at)
	head, rest, ok := strings.Cut(text, "\nindex ")
	index, rest, _ := strings.Cut(rest, "\n")
	if !ok || !strings.HasPrefix(head, "# Keys of Cloakroom") || strings.Contains(head, "cloakroom-") {
		t.Errorf("the new text begins with %q", head)
	}
	if want := "# mine\r\n\r\n" + one + " # the first\r\n# and the second\n" + two + "\n" + three + " active_from=2026-01-02T03:04:05Z\n"; rest != want {
		t.Errorf("%q, want %q", rest, want)
	}
	r = ringOf(t, text)
	text = r.WithoutKey(text, idOf(t, one))
	if want := head + "\nindex " + index + "\n# mine\r\n\r\n# and the second\n" + two + "\n" + three + " active_from=2026-01-02T03:04:05Z\n"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
}

// FuzzNewKeyring: no error tells what a text held, and what is taken can be rotated and retired.
func FuzzNewKeyring(f *testing.F) {
	// Fixed, so that what is found can be kept.
	const one, two = keyPrefix + "Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", keyPrefix + "JsqEWBR2aRUb3jXEIdSAE5kyar3nVyV-jTd-DB32lKM"
	for _, text := range []string{"", one, one + "\r\n# words\r\n" + two + " active_from=2026-01-02T03:04:05Z", "index " + two + "\n" + one, "\ufeff" + one, "index", one + " x", "#" + one} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := NewKeyring(text)
		if err != nil {
			for word := range strings.FieldsSeq(text) {
				if len(word) >= 20 && strings.Contains(err.Error(), word) {
					t.Errorf("the error says %q", word)
				}
			}
			return
		}
		before := r.Members()
		if len(before) == MaxKeys {
			return
		}
		fresh := NewKey()
		more := r.WithKey(text, fresh, time.Now())
		rotated, err := NewKeyring(more)
		if err != nil || len(rotated.Members()) != len(before)+1 || string(rotated.Lasting("x").Key()) != string(r.Lasting("x").Key()) {
			t.Fatalf("rotated: %v", err)
		}
		k, _ := ParseKey(fresh)
		retired, err := NewKeyring(rotated.WithoutKey(more, k.ID()))
		if err != nil || len(retired.Members()) != len(before) || string(retired.Lasting("x").Key()) != string(r.Lasting("x").Key()) {
			t.Fatalf("retired: %v", err)
		}
	})
}

// A file with one key opens what it sealed before there were keyring files, also once that file is rotated.
func TestKeyring_S8_OpensWhatASingleKeySealedBefore(t *testing.T) {
	const key = keyPrefix + "Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4"
	decode := func(text string) []byte {
		t.Helper()
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	sealed := decode("QnKnn99LqVMBu-qLBYUreOgOw0EPH0P08YM-CBDLtSxtXtEtfQ")
	under := decode("QnKnn-bR6c7N25hiVWwy3BsNKSXO1HxzeAg24zJZCp55dkLzJw")
	sum := decode("bvlcNwRV74jELNlVQltkOENNljJBEe9uSBn_QsuGTNk")
	for name, text := range map[string]string{"as it is": key + "\n", "rotated": ringOf(t, key).WithKey(key, NewKey(), time.Now())} {
		r := ringOf(t, text)
		b := r.Box("test")
		if plain, err := b.Open(sealed, []byte("context")); err != nil || string(plain) != "plain" {
			t.Errorf("%s: Open: %q, %v", name, plain, err)
		}
		if plain, err := b.OpenUnder([]byte("secret"), under, []byte("context")); err != nil || string(plain) != "plain" {
			t.Errorf("%s: OpenUnder: %q, %v", name, plain, err)
		}
		if !r.MAC("test").Verify(idOf(t, key), []byte("text"), sum) {
			t.Errorf("%s: Verify refuses", name)
		}
	}
}

// What is sealed under a lasting key opens after every sealing key was replaced, for its purpose and context alone.
func TestLasting_S5_S6_Seal(t *testing.T) {
	old := NewKey()
	ring, err := NewKeyring(old)
	if err != nil {
		t.Fatal(err)
	}
	sealed := ring.Lasting("secrets").Seal([]byte("plain"), []byte("ada"))
	if again := ring.Lasting("secrets").Seal([]byte("plain"), []byte("ada")); string(again) == string(sealed) {
		t.Error("the same text is sealed the same twice")
	}
	rotated, err := NewKeyring(NewKey(), old)
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := rotated.Lasting("secrets").Open(sealed, []byte("ada")); err != nil || string(plain) != "plain" {
		t.Errorf("after a rotation: %q, %v", plain, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"AnotherPurpose": func() ([]byte, error) { return ring.Lasting("others").Open(sealed, []byte("ada")) },
		"AnotherContext": func() ([]byte, error) { return ring.Lasting("secrets").Open(sealed, []byte("eve")) },
		"Cut":            func() ([]byte, error) { return ring.Lasting("secrets").Open(sealed[:10], []byte("ada")) },
		"Altered": func() ([]byte, error) {
			b := append([]byte{}, sealed...)
			b[len(b)-1] ^= 1
			return ring.Lasting("secrets").Open(b, []byte("ada"))
		},
	} {
		if plain, err := open(); err != ErrOpen || plain != nil {
			t.Errorf("%s: %q, %v", name, plain, err)
		}
	}
}
