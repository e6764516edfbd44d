package storage

import (
	"encoding/base64"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/seal"
)

// An envelope is a session as the browser holds it: the number of cookies as one digit, then in base64url
//
//	salt (32) ‖ key id (4) ‖ nonce (12) ‖ sealed session ‖ tag (16)
//
// cut into as many cookies as it takes. The key is derived from the keyring and the salt, so that each envelope has a key of
// its own and no limit on random nonces is ever near. One tag is over all cookies: they cannot be reordered, cut short, or
// mixed with another session's. What they are, where they belong and how many they are is authenticated with them, and so is
// the key id.
type envelope struct {
	jar  cookie.Jar
	box  *seal.Box
	host string // our origin: a cookie of another installation under the same keys is none of ours
}

const (
	envelopeVersion = 1
	saltSize        = 32
	// An envelope is looked up by the first characters of its text behind the digit: 24 bytes of the salt.
	keySize = 32
)

// envelopeKey names an envelope in memory.
type envelopeKey [keySize]byte

func (e *envelope) context(count int) []byte {
	return append([]byte(e.jar.Part(0)+"\x00"+e.host+"\x00session\x00"), envelopeVersion, byte(count))
}

// cookies is how many cookies a text takes.
func (e *envelope) cookies(text int) int {
	size := e.jar.PartSize()
	return (text + size - 1) / size
}

// seal returns the envelope's text, and false if it takes more cookies than there may be.
func (e *envelope) seal(salt, plain []byte) (string, bool) {
	n := saltSize + len(plain) + seal.Overhead
	count := e.cookies(1 + base64.RawURLEncoding.EncodedLen(n))
	if count > cookie.MaxParts {
		return "", false
	}
	raw := append(append(make([]byte, 0, n), salt...), e.box.SealUnder(salt, plain, e.context(count))...)
	text := make([]byte, 1, 1+base64.RawURLEncoding.EncodedLen(n))
	text[0] = byte('0' + count)
	return string(base64.RawURLEncoding.AppendEncode(text, raw)), true
}

// keyOf returns the name of the envelope that p claims to be, and how many cookies it claims to have. Any cookies beyond them
// are left from before. false: it is none.
func keyOf(p *cookie.Parts) (key envelopeKey, count int, ok bool) {
	first := p.Values[0]
	if len(first) < 1+keySize {
		return key, 0, false
	}
	count = int(first[0]) - '0'
	if count < 1 || count > cookie.MaxParts {
		return key, 0, false
	}
	for _, v := range p.Values[:count] {
		if v == "" {
			return key, 0, false
		}
	}
	return envelopeKey([]byte(first[1 : 1+keySize])), count, true
}

// keyUnder is the name of an envelope with this salt.
func keyUnder(salt []byte) (key envelopeKey) {
	base64.RawURLEncoding.Encode(key[:], salt[:keySize/4*3])
	return key
}

// open returns the salt and what was sealed. false: not one of ours, altered, or from another place; which does not matter.
func (e *envelope) open(text string, count int) (salt, plain []byte, ok bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text[1:])
	if err != nil || len(raw) < saltSize+seal.Overhead {
		return nil, nil, false
	}
	salt = raw[:saltSize:saltSize]
	plain, err = e.box.OpenUnder(salt, raw[saltSize:], e.context(count))
	return salt, plain, err == nil
}

// envelopeSealer is the key that an envelope's text says it is sealed with.
func envelopeSealer(text string) (id seal.KeyID) {
	const before = saltSize - saltSize%3 // where four characters begin that the key id begins in
	raw, err := base64.RawURLEncoding.DecodeString(text[1+before/3*4 : 1+(before+6)/3*4])
	if err == nil {
		copy(id[:], raw[saltSize-before:])
	}
	return id
}

// joined is the text of an envelope that comes in count cookies.
func joined(p *cookie.Parts, count int) string {
	if count == 1 {
		return p.Values[0]
	}
	return strings.Join(p.Values[:count], "")
}
