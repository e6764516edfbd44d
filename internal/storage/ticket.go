package storage

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// A ticket is what the browser holds: version ‖ key id ‖ 32 random bytes ‖ generation ‖ MAC over all before it. The store's
// key is a hash of the random bytes, and the record's body is sealed with a key derived from them and the keyring: neither a
// stolen store nor store and keyring together give a token. The MAC keeps strangers' guesses away from the store, and makes
// generations unforgeable.
const (
	ticketVersion = 1
	ticketSigned  = 1 + 4 + 32 + 4
	ticketSize    = ticketSigned + 16
	ticketText    = (ticketSize*8 + 5) / 6
)

type ticket struct {
	secret     [32]byte
	generation uint32
}

func (t ticket) id() session.ID { return seal.Hash("ticket", t.secret[:]) }

// encode returns the ticket as the cookie's value.
func (t ticket) encode(mac *seal.MAC) string {
	var raw [ticketSize]byte
	key, sign := mac.Signer()
	raw[0] = ticketVersion
	copy(raw[1:], key[:])
	copy(raw[5:], t.secret[:])
	binary.BigEndian.PutUint32(raw[37:], t.generation)
	sum := sign(raw[:ticketSigned])
	copy(raw[ticketSigned:], sum[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// decodeTicket reads a cookie's value. Whatever we did not write is refused; the reason is nobody's business.
func decodeTicket(mac *seal.MAC, text string) (ticket, bool) {
	if len(text) != ticketText {
		return ticket{}, false
	}
	var raw [ticketSize]byte
	n, err := base64.RawURLEncoding.Strict().Decode(raw[:], []byte(text))
	if err != nil || n != ticketSize || raw[0] != ticketVersion {
		return ticket{}, false
	}
	if !mac.Verify(seal.KeyID(raw[1:5]), raw[:ticketSigned], raw[ticketSigned:]) {
		return ticket{}, false
	}
	return ticket{secret: [32]byte(raw[5:37]), generation: binary.BigEndian.Uint32(raw[37:])}, true
}
