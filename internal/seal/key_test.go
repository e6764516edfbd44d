package seal

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestParseKey_S8_TakesOnlyWholeRandomKeys(t *testing.T) {
	raw := Random(32)
	run := func(step byte) []byte {
		b := make([]byte, 32)
		for i := range b {
			b[i] = byte(i) * step
		}
		return b
	}
	const long, text, short = "a key is 32 bytes long, this one", "this key is not random", "a key is 32 bytes in base64"
	for _, c := range []struct{ name, text, want string }{
		{"own form", keyPrefix + base64.RawURLEncoding.EncodeToString(raw), ""},
		{"base64url", base64.RawURLEncoding.EncodeToString(raw), ""},
		{"base64, padded, with a newline", base64.StdEncoding.EncodeToString(raw) + "\n", ""},
		{"hexadecimal", hex.EncodeToString(raw), ""},
		{"16 bytes", hex.EncodeToString(raw[:16]), long + " 24"}, // 32 digits are base64, too
		{"33 bytes", base64.RawURLEncoding.EncodeToString(append(raw, 1)), long + " 33"},
		{"nothing", "", long + " 0"},
		{"no base64", "*********", short},
		{"zeros", strings.Repeat("0", 64), text},
		{"a word again and again", base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte("changeme"), 4)), text},
		{"a pattern of 16 bytes", hex.EncodeToString(append(raw[:16:16], raw[:16]...)), text},
		{"0, 1, 2, 3", hex.EncodeToString(run(1)), text},
		{"0, 17, 34", hex.EncodeToString(run(17)), text},
		{"down from 0", base64.RawURLEncoding.EncodeToString(run(255)), text},
		{"two rows", hex.EncodeToString(append(run(1)[:16], run(7)[:16]...)), text},
		{"a passphrase", base64.RawURLEncoding.EncodeToString([]byte("Correct-Horse-Battery-Staple-99!")), text},
		{"a passphrase in hexadecimal", hex.EncodeToString([]byte("Correct-Horse-Battery-Staple-99!")), text},
		{"a passphrase with accents", base64.StdEncoding.EncodeToString([]byte("Crème brûlée à la carte, mon")), text},
		{"digits of another key", base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(raw[:16]))), text},
	} {
		k, err := ParseKey(c.text)
		if (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err != nil && c.text != "" && strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error holds the key", c.name)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", k, k, k, k); strings.Contains(shown, hex.EncodeToString(raw[:4])) || !strings.Contains(shown, "[secret]") {
			t.Errorf("a key prints as %q", shown)
		}
	}
}

// Random keys pass, with a distance: the rule allows 16 different bytes and steps to be too few, a random key has about 30.
func TestParseKey_S8_NeverRefusesARandomKey(t *testing.T) {
	raw, random := make([]byte, 32), rand.NewChaCha8([32]byte{1})
	least := 32
	for range 200_000 {
		random.Read(raw)
		if madeUp(raw) {
			t.Fatalf("%x is refused", raw)
		}
		least = min(least, distinct(raw))
	}
	if least < 20 {
		t.Errorf("a random key with %d different bytes", least)
	}
}
