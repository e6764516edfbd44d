// Package seal is the only place with authenticated encryption, key derivation and random bytes.
//
// A [Keyring] holds the keys of an installation. Each purpose gets a [Box] of its own: what one purpose sealed, no other
// opens. AES-256-GCM throughout, keys by HKDF-SHA256, so that the standard library's FIPS mode covers all of it.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"sync"
)

// ErrOpen says that something cannot be opened: sealed for another purpose, by an unknown key, altered or cut short. It
// does not say which.
var ErrOpen = errors.New("seal: cannot be opened")

// Box seals and opens for one purpose, and for as long as sessions last: then the key is retired, and what it sealed opens no more. What
// is to be kept for longer is sealed anew in time, or under a Lasting key.
type Box struct{ subkeys derived[map[KeyID]subkey] }

type subkey struct {
	id     KeyID
	aead   cipher.AEAD
	secret []byte // for SealUnder and OpenUnder
}

// Box returns the box for a purpose. The purpose is a short constant text.
func (r *Keyring) Box(purpose string) *Box {
	b := &Box{}
	b.subkeys.keys, b.subkeys.make = r, func(now *ring) map[KeyID]subkey {
		all := make(map[KeyID]subkey, len(now.byID))
		for id, k := range now.byID {
			secret := derive(k.secret, "box "+purpose, 32)
			all[id] = subkey{id: id, aead: newAEAD(secret), secret: secret}
		}
		return all
	}
	return b
}

// Overhead is by how many bytes a sealed text is longer than the plain one.
const Overhead = len(KeyID{}) + 12 + 16

// Seal returns key id ‖ nonce ‖ ciphertext. Whoever opens it must bring the same context, which is authenticated but not
// contained. Nonces are random: 96 bits are good for 2^32 messages under one key (NIST SP 800-38D §8.3). Logins stay far
// below that; whatever is sealed more often belongs in SealUnder.
func (b *Box) Seal(plain, context []byte) []byte {
	sub := b.sealer()
	return sealWith(sub.aead, sub.id, plain, context)
}

// Open returns what was sealed, or ErrOpen.
func (b *Box) Open(sealed, context []byte) ([]byte, error) {
	sub, ok := b.of(sealed)
	if !ok {
		return nil, ErrOpen
	}
	return openWith(sub.aead, sealed, context)
}

// SealUnder is Seal with a key that needs the keyring and a secret that the caller does not keep. Each secret makes a key of
// its own.
func (b *Box) SealUnder(secret, plain, context []byte) []byte {
	sub := b.sealer()
	return sealWith(newAEAD(deriveFrom(sub.secret, secret)), sub.id, plain, context)
}

// OpenUnder opens what SealUnder sealed under the same secret.
func (b *Box) OpenUnder(secret, sealed, context []byte) ([]byte, error) {
	sub, ok := b.of(sealed)
	if !ok {
		return nil, ErrOpen
	}
	return openWith(newAEAD(deriveFrom(sub.secret, secret)), sealed, context)
}

func (b *Box) sealer() subkey {
	all := b.subkeys.get()
	return all.value[all.ring.sealer()]
}

func (b *Box) of(sealed []byte) (subkey, bool) {
	if len(sealed) < Overhead {
		return subkey{}, false
	}
	id := KeyID(sealed[:4])
	sub, ok := b.subkeys.get().value[id]
	if !ok && b.subkeys.keys.learns(id) {
		sub, ok = b.subkeys.get().value[id]
	}
	return sub, ok
}

// Knows reports whether there is a key of that name: whether what it sealed would be opened.
func (b *Box) Knows(id KeyID) bool { return b.subkeys.keys.current.Load().has(id) }

func sealWith(aead cipher.AEAD, id KeyID, plain, context []byte) []byte {
	out := make([]byte, 4+12, len(plain)+Overhead)
	copy(out, id[:])
	rand.Read(out[4:16])
	return aead.Seal(out, out[4:16], plain, bind(id, context))
}

func openWith(aead cipher.AEAD, sealed, context []byte) ([]byte, error) {
	id := KeyID(sealed[:4])
	plain, err := aead.Open(nil, sealed[4:16], sealed[16:], bind(id, context))
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}

func bind(id KeyID, context []byte) []byte {
	return append(append(make([]byte, 0, 4+len(context)), id[:]...), context...)
}

// MAC authenticates short texts for one purpose.
type MAC struct{ subkeys derived[map[KeyID]*macKey] }

// macKey has HMACs that are ready to use: making one costs more than the sum of a short text, and every request needs one.
type macKey struct{ ready sync.Pool }

// keyed is an HMAC-SHA256 with room for its result.
type keyed struct {
	hash.Hash
	sum [sha256.Size]byte
}

func newMACKey(secret []byte) *macKey {
	return &macKey{sync.Pool{New: func() any { return &keyed{Hash: hmac.New(sha256.New, secret)} }}}
}

func (k *macKey) sum(text []byte) [32]byte {
	h := k.ready.Get().(*keyed)
	defer k.ready.Put(h)
	h.Reset()
	h.Write(text)
	h.Sum(h.sum[:0])
	return h.sum
}

// MAC returns the authenticator for a purpose.
func (r *Keyring) MAC(purpose string) *MAC {
	m := &MAC{}
	m.subkeys.keys, m.subkeys.make = r, func(now *ring) map[KeyID]*macKey {
		all := make(map[KeyID]*macKey, len(now.byID))
		for id, k := range now.byID {
			all[id] = newMACKey(derive(k.secret, "mac "+purpose, 32))
		}
		return all
	}
	return m
}

// Signer returns the key that texts are to be authenticated with now, and what does so.
func (m *MAC) Signer() (id KeyID, sum func(text []byte) [32]byte) {
	all := m.subkeys.get()
	id = all.ring.sealer()
	return id, all.value[id].sum
}

// Verify reports whether sum, or a prefix of it of at least 16 bytes, is the authenticator of text under a key of the ring. It
// takes the same time wherever they differ.
func (m *MAC) Verify(id KeyID, text, sum []byte) bool {
	key, ok := m.subkeys.get().value[id]
	if !ok && m.subkeys.keys.learns(id) {
		key, ok = m.subkeys.get().value[id]
	}
	if !ok || len(sum) < 16 || len(sum) > sha256.Size {
		return false
	}
	want := key.sum(text)
	return hmac.Equal(sum, want[:len(sum)])
}

// Derive returns 32 bytes that depend on secret and purpose and tell nothing about either.
func Derive(secret []byte, purpose string) [32]byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("cloakroom " + purpose))
	return [32]byte(mac.Sum(nil))
}

// HMAC is HMAC-SHA256 as it is, for what others compute as well. The key must serve nothing else.
func HMAC(key, text []byte) [32]byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return [32]byte(mac.Sum(nil))
}

// Hash is SHA-256 under a purpose: for secrets of full entropy only.
func Hash(purpose string, secret []byte) [32]byte {
	text := make([]byte, 0, 64)
	text = append(text, "cloakroom "...)
	text = append(text, purpose...)
	text = append(text, 0)
	return sha256.Sum256(append(text, secret...))
}

// HashText is SHA-256 under a purpose over texts in which no byte is zero: for secrets of full entropy only. It copies nothing to the
// heap unless they have more than 2 kB together.
func HashText(purpose string, texts ...string) [32]byte {
	all := make([]byte, 0, 2<<10)
	all = append(all, "cloakroom "...)
	all = append(all, purpose...)
	for _, text := range texts {
		all = append(all, 0)
		all = append(all, text...)
	}
	return sha256.Sum256(all)
}

// Random returns n random bytes. It never fails: without randomness the program ends.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// RandomText returns n random bytes as base64url.
func RandomText(n int) string { return base64.RawURLEncoding.EncodeToString(Random(n)) }

// Equal compares two secrets in constant time.
func Equal(a, b []byte) bool { return hmac.Equal(a, b) }

func newAEAD(key []byte) cipher.AEAD {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("seal: " + err.Error()) // 32 bytes always make a cipher
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("seal: " + err.Error())
	}
	return aead
}

// derive expands a key of the ring. The ring's keys are uniformly random, so HKDF's extract step is not needed (RFC 5869 §3.3).
func derive(secret []byte, purpose string, n int) []byte {
	out, err := hkdf.Expand(sha256.New, secret, "cloakroom 1 "+purpose, n)
	if err != nil {
		panic("seal: " + err.Error())
	}
	return out
}

// deriveFrom mixes a key of the ring with a secret from outside it.
func deriveFrom(ring, secret []byte) []byte {
	out, err := hkdf.Key(sha256.New, secret, ring, "cloakroom 1 under", 32)
	if err != nil {
		panic("seal: " + err.Error())
	}
	return out
}
