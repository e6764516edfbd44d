package seal

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A text of keys is what an entry of a keyring is read from: a key by itself, or a file with a line for each,
//
//	# words behind a # are for people
//	index cloakroom-index-1-…
//	cloakroom-key-1-…
//	cloakroom-key-1-… active_from=2026-11-26T12:00:00Z
//
// The newest key whose time has come seals; of several without a time, the first. The line "index" has the index key of the whole
// ring, where that is not derived from its last key any more: see Lasting.

const activeFromWord = "active_from="

// entry is what one text of keys holds.
type entry struct {
	keys  []Key
	index []byte // nil: no line
}

// MaxKeys bounds a ring.
const MaxKeys = 16

func parseEntry(text string) (entry, error) {
	var e entry
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for i, line := range lines {
		if err := e.read(line); err != nil {
			if len(lines) > 1 {
				err = fmt.Errorf("line %d: %w", i+1, err)
			}
			return entry{}, err
		}
	}
	if len(e.keys) == 0 && e.index == nil {
		return entry{}, errors.New("there is no key in it; " + makeOne)
	}
	return e, nil
}

// read takes in one line. No error of it repeats a word: any could be meant to be a key.
func (e *entry) read(line string) error {
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(line)
	switch {
	case len(words) == 0:
		return nil
	case words[0] == "index":
		if len(words) != 2 || e.index != nil {
			return errors.New("a keyring has one index line: index KEY")
		}
		raw, err := parseSecret(strings.TrimPrefix(words[1], indexPrefix))
		e.index = raw
		return err
	case len(e.keys) == MaxKeys:
		return fmt.Errorf("a keyring has at most %d keys", MaxKeys)
	}
	k, err := ParseKey(words[0])
	if err != nil {
		return err
	}
	for _, word := range words[1:] {
		at, ok := strings.CutPrefix(word, activeFromWord)
		if !ok || !k.activeFrom.IsZero() {
			return errors.New("behind a key there may be " + activeFromWord + "TIME and nothing else; each key has a line of its own")
		}
		if k.activeFrom, err = time.Parse(time.RFC3339, at); err != nil {
			return errors.New(activeFromWord + " wants a time like 2026-11-26T12:00:00Z")
		}
	}
	if slices.ContainsFunc(e.keys, func(other Key) bool { return other.id == k.id }) {
		return fmt.Errorf("key %s is there twice", k.id)
	}
	e.keys = append(e.keys, k)
	return nil
}

// CheckText says what is wrong with a text of keys, by the line where it has several. It never shows any of it.
func CheckText(text string) error {
	_, err := parseEntry(text)
	return err
}

// WithKey returns text, which is one of the ring's, with one more key, that seals from a time on. From then on the text or another of
// the ring has the index line.
func (r *Keyring) WithKey(text, key string, activeFrom time.Time) string {
	return r.pin(text) + key + " " + activeFromWord + activeFrom.UTC().Format(time.RFC3339) + "\n"
}

// WithoutKey returns text, which is one of the ring's, without a key. From then on the text or another of the ring has the index line.
func (r *Keyring) WithoutKey(text string, id KeyID) string {
	var kept strings.Builder
	for line := range strings.Lines(r.pin(text)) {
		var e entry
		if e.read(line) != nil || len(e.keys) == 0 || e.keys[0].id != id {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// pin puts the index line into text if the ring has none.
func (r *Keyring) pin(text string) string {
	text = strings.TrimPrefix(text, "\ufeff")
	if !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	now := r.current.Load()
	if now.pinned {
		return text
	}
	return "# Keys of Cloakroom, a secret. cloakroom keys list shows them, rotate adds one, retire takes one out.\n" +
		"# The index names people and sessions; it stays when keys go.\n" +
		"index " + indexPrefix + base64.RawURLEncoding.EncodeToString(now.index) + "\n" + text
}
