package seal

import (
	"bytes"
	"crypto/aes"
	"errors"
	"testing"
)

func ringOf(t testing.TB, texts ...string) *Keyring {
	t.Helper()
	r, err := NewKeyring(texts...)
	if err != nil {
		t.Fatalf("NewKeyring: %v", err)
	}
	return r
}

// ways are the two ways to seal, under one shape.
var ways = map[string]struct {
	seal func(b *Box, plain, context []byte) []byte
	open func(b *Box, sealed, context []byte) ([]byte, error)
}{
	"Seal": {(*Box).Seal, (*Box).Open},
	"SealUnder": {
		func(b *Box, plain, context []byte) []byte { return b.SealUnder([]byte("secret"), plain, context) },
		func(b *Box, sealed, context []byte) ([]byte, error) {
			return b.OpenUnder([]byte("secret"), sealed, context)
		},
	},
}

func TestBox_S5_EveryByteIsAuthenticated(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			b := ringOf(t, NewKey()).Box("test")
			plain, context := []byte("tokens"), []byte("context")
			sealed := way.seal(b, plain, context)
			if len(sealed) != len(plain)+Overhead {
				t.Errorf("sealed is %d bytes longer, want %d", len(sealed)-len(plain), Overhead)
			}
			if got, err := way.open(b, sealed, context); err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("open: %q, %v", got, err)
			}
			for i := range sealed {
				for bit := range 8 {
					altered := bytes.Clone(sealed)
					altered[i] ^= 1 << bit
					if got, err := way.open(b, altered, context); !errors.Is(err, ErrOpen) || got != nil {
						t.Errorf("byte %d, bit %d altered: %q, %v", i, bit, got, err)
					}
				}
				if _, err := way.open(b, sealed[:i], context); !errors.Is(err, ErrOpen) {
					t.Errorf("cut to %d bytes: %v", i, err)
				}
			}
			for _, other := range []string{"", "contex", "context2"} {
				if _, err := way.open(b, sealed, []byte(other)); !errors.Is(err, ErrOpen) {
					t.Errorf("context %q: %v", other, err)
				}
			}
		})
	}
}

func TestBox_S5_PurposesAndKeysAreApart(t *testing.T) {
	one, two := NewKey(), NewKey()
	for name, way := range ways {
		sealed := way.seal(ringOf(t, one).Box("session"), []byte("x"), nil)
		for _, c := range []struct {
			name string
			box  *Box
			want bool
		}{
			{"same", ringOf(t, one).Box("session"), true},
			{"rotated", ringOf(t, two, one).Box("session"), true},
			{"key retired", ringOf(t, two).Box("session"), false},
			{"other purpose", ringOf(t, one).Box("session2"), false},
		} {
			if _, err := way.open(c.box, sealed, nil); (err == nil) != c.want {
				t.Errorf("%s, %s: %v, want opened %v", name, c.name, err, c.want)
			}
		}
	}
	b := ringOf(t, one).Box("session")
	if _, err := b.Open(b.SealUnder(nil, []byte("x"), nil), nil); err == nil {
		t.Error("Open opens what was sealed under a secret")
	}
	if _, err := b.OpenUnder([]byte("a"), b.SealUnder([]byte("b"), []byte("x"), nil), nil); err == nil {
		t.Error("another secret opens")
	}
}

func TestBox_S5_NoncesAreUnique(t *testing.T) {
	b := ringOf(t, NewKey()).Box("test")
	seen := make(map[[12]byte]struct{}, 1_000_000)
	for range 1_000_000 {
		seen[[12]byte(b.Seal(nil, nil)[4:16])] = struct{}{}
	}
	if len(seen) != 1_000_000 {
		t.Errorf("%d nonces in a million seals", len(seen))
	}
}

func TestBox_S4_SamePlaintextSealsDifferently(t *testing.T) {
	b := ringOf(t, NewKey()).Box("test")
	if bytes.Equal(b.Seal([]byte("x"), nil)[16:], b.Seal([]byte("x"), nil)[16:]) {
		t.Error("the same text was sealed the same way twice")
	}
}

func TestMAC_KeysAndPurposesAreApart(t *testing.T) {
	one, two := NewKey(), NewKey()
	mac := ringOf(t, one).MAC("ticket")
	text := []byte("text")
	id, sign := mac.Signer()
	sum := sign(text)
	for _, c := range []struct {
		name string
		mac  *MAC
		sum  []byte
		want bool
	}{
		{"whole", mac, sum[:], true},
		{"prefix of 16", mac, sum[:16], true},
		{"prefix of 15", mac, sum[:15], false},
		{"none", mac, nil, false},
		{"longer", mac, append(sum[:], 0), false},
		{"rotated", ringOf(t, two, one).MAC("ticket"), sum[:], true},
		{"other key", ringOf(t, two).MAC("ticket"), sum[:], false},
		{"other purpose", ringOf(t, one).MAC("index"), sum[:], false},
	} {
		if got := c.mac.Verify(id, text, c.sum); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	for i := range sum {
		altered := sum
		altered[i] ^= 1
		if mac.Verify(id, text, altered[:]) {
			t.Errorf("byte %d altered and taken", i)
		}
	}
	if newer, _ := ringOf(t, two, one).MAC("ticket").Signer(); newer == id {
		t.Error("the second key of the ring signs")
	}
}

func TestDerive_TellsPurposesApart(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, c := range []struct {
		name string
		sum  [32]byte
	}{
		{"derive a", Derive([]byte("s"), "a")}, {"derive b", Derive([]byte("s"), "b")}, {"derive other", Derive([]byte("t"), "a")},
		{"hash a", Hash("a", []byte("s"))}, {"hash b", Hash("b", []byte("s"))}, {"hash ab", Hash("as", nil)},
	} {
		if other, ok := seen[c.sum]; ok {
			t.Errorf("%s and %s are the same", c.name, other)
		}
		seen[c.sum] = c.name
	}
}

func BenchmarkSealUnder(b *testing.B) {
	box, secret, plain := ringOf(b, NewKey()).Box("test"), Random(32), make([]byte, 2048)
	b.ReportAllocs()
	b.SetBytes(int64(len(plain)))
	for b.Loop() {
		box.SealUnder(secret, plain, secret)
	}
}

func BenchmarkOpenUnder(b *testing.B) {
	box, secret := ringOf(b, NewKey()).Box("test"), Random(32)
	sealed := box.SealUnder(secret, make([]byte, 2048), secret)
	b.ReportAllocs()
	b.SetBytes(2048)
	for b.Loop() {
		if _, err := box.OpenUnder(secret, sealed, secret); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	box, plain := ringOf(b, NewKey()).Box("test"), make([]byte, 20*aes.BlockSize)
	b.ReportAllocs()
	for b.Loop() {
		box.Seal(plain, nil)
	}
}
