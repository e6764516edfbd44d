package storage

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// bodyVersion is the version of a record's body. A newer one than this program knows is not opened.
const bodyVersion = 1

// body is a session as it rests in a record. Its names are part of the stored format, and short: it is read on every cache miss.
type body struct {
	V          int            `json:"v"`
	Provider   string         `json:"p"`
	Issuer     string         `json:"iss"`
	Subject    string         `json:"sub"`
	SID        string         `json:"sid,omitempty"`
	Claims     map[string]any `json:"c,omitempty"`
	Tokens     tokens         `json:"t"`
	Life       life           `json:"l"`
	Generation uint32         `json:"g"`
	Presented  time.Time      `json:"gp,omitzero"`
	Lease      time.Time      `json:"ls,omitzero"`
	Previous   []byte         `json:"pa,omitempty"`
	Device     device         `json:"d,omitzero"`
}

// device is session.Device under stored names.
type device struct {
	Browser string `json:"b,omitempty"`
	System  string `json:"s,omitempty"`
}

// tokens is session.Tokens under stored names. The compiler keeps the two alike.
type tokens struct {
	Access         string    `json:"a"`
	Type           string    `json:"y,omitempty"`
	Refresh        string    `json:"r,omitempty"`
	ID             string    `json:"i,omitempty"`
	Scope          string    `json:"s,omitempty"`
	Expires        time.Time `json:"e,omitzero"`
	RefreshExpires time.Time `json:"re,omitzero"`
}

// life is session.Life under stored names.
type life struct {
	Created  time.Time `json:"c"`
	Seen     time.Time `json:"s"`
	Renewed  time.Time `json:"r"`
	Absolute time.Time `json:"a"`
	Remember bool      `json:"p,omitempty"`
}

func encodeBody(s *session.Session) ([]byte, error) {
	var previous []byte
	if s.Previous != [32]byte{} {
		previous = s.Previous[:]
	}
	return json.Marshal(body{
		V: bodyVersion, Provider: s.Grant.Provider, Issuer: s.Grant.Issuer, Subject: s.Grant.Subject, SID: s.Grant.SID,
		Claims: s.Grant.Claims, Tokens: tokens(s.Grant.Tokens), Life: life(s.Life),
		Generation: s.Generation, Presented: s.Presented, Lease: s.Lease, Previous: previous, Device: device(s.Device),
	})
}

func decodeBody(text []byte) (*session.Session, error) {
	var b body
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, err
	}
	if b.V != bodyVersion {
		return nil, fmt.Errorf("record of version %d, this program knows %d", b.V, bodyVersion)
	}
	s := &session.Session{
		Grant: session.Grant{
			Provider: b.Provider, Issuer: b.Issuer, Subject: b.Subject, SID: b.SID, Claims: b.Claims, Tokens: session.Tokens(b.Tokens),
		},
		Life:   session.Life(b.Life),
		Device: session.Device(b.Device),
		Ticket: session.Ticket{Generation: b.Generation, Presented: b.Presented},
		Lease:  b.Lease,
	}
	copy(s.Previous[:], b.Previous)
	return s, nil
}
