package seal

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// keyPrefix makes a key recognisable to people and to secret scanners, and indexPrefix the same for an index key.
const (
	keyPrefix   = "cloakroom-key-1-"
	indexPrefix = "cloakroom-index-1-"
)

// KeyID names a key. It is derived from the key and tells nothing about it.
type KeyID [4]byte

func (id KeyID) String() string { return hex.EncodeToString(id[:]) }

// Key is one secret of a keyring. It prints as "[secret]".
type Key struct {
	id         KeyID
	secret     []byte
	activeFrom time.Time // it seals from then on; zero: since ever
}

func (Key) String() string   { return "[secret]" }
func (Key) GoString() string { return "[secret]" }

// ID returns the key's name.
func (k Key) ID() KeyID { return k.id }

// NewKey returns a fresh key in the form that ParseKey reads.
func NewKey() string {
	return keyPrefix + base64.RawURLEncoding.EncodeToString(Random(32))
}

const makeOne = "make one with: cloakroom keys new"

// ParseKey reads a key: the form that NewKey writes, or 32 bytes in base64 or hexadecimal. It refuses whatever is shorter or
// plainly not random.
func ParseKey(text string) (Key, error) {
	raw, err := parseSecret(strings.TrimPrefix(strings.TrimSpace(text), keyPrefix))
	if err != nil {
		return Key{}, err
	}
	return Key{id: KeyID(derive(raw, "key id", 4)), secret: raw}, nil
}

func parseSecret(text string) ([]byte, error) {
	raw, ok := decodeSecret(text)
	switch {
	case !ok:
		return nil, errors.New("a key is 32 bytes in base64; " + makeOne)
	case len(raw) != 32:
		return nil, fmt.Errorf("a key is 32 bytes long, this one %d; %s", len(raw), makeOne)
	case madeUp(raw):
		return nil, errors.New("this key is not random; " + makeOne)
	}
	return raw, nil
}

func decodeSecret(text string) ([]byte, bool) {
	if len(text) == 64 {
		if raw, err := hex.DecodeString(text); err == nil {
			return raw, true
		}
	}
	text = strings.TrimRight(text, "=")
	for _, enc := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		if raw, err := enc.DecodeString(text); err == nil {
			return raw, true
		}
	}
	return nil, false
}

// madeUp reports whether 32 bytes are plainly not random: few different ones, as a pattern has that repeats; few different steps
// from one to the next, as in 0, 1, 2, 3; or a text. It refuses a random key less than once in 2^36: 2^-48 for the bytes, 2^-45
// for the steps, and 2^-36.5 for text, which in UTF-8 without control characters is how few of all 32 bytes are. What was only
// chosen badly passes: that cannot be told.
func madeUp(raw []byte) bool {
	steps := make([]byte, 0, 32)
	for i, c := range raw[1:] {
		steps = append(steps, c-raw[i])
	}
	isControl := func(c rune) bool { return c < ' ' || c == 0x7f }
	isText := utf8.Valid(raw) && !strings.ContainsFunc(string(raw), isControl)
	return distinct(raw) <= 16 || distinct(steps) <= 16 || isText
}

func distinct(b []byte) int {
	var seen [256]bool
	n := 0
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}
