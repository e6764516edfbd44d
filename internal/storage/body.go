package storage

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// bodyVersion is the version of a record's body. A newer one than this program knows is not opened.
const bodyVersion = 1

// body is a session as it rests in a record, in short names: it is read on every cache miss.
type body struct {
	V          int            `json:"v"`
	Provider   string         `json:"p"`
	Issuer     string         `json:"iss"`
	Subject    string         `json:"sub"`
	SID        string         `json:"sid,omitempty"`
	Claims     map[string]any `json:"c,omitempty"`
	Tokens     session.Tokens `json:"t"`
	Life       session.Life   `json:"l"`
	Generation uint32         `json:"g"`
	Presented  time.Time      `json:"gp,omitzero"`
	Lease      time.Time      `json:"ls,omitzero"`
}

func encodeBody(s *session.Session) ([]byte, error) {
	return json.Marshal(body{
		V: bodyVersion, Provider: s.Grant.Provider, Issuer: s.Grant.Issuer, Subject: s.Grant.Subject, SID: s.Grant.SID,
		Claims: s.Grant.Claims, Tokens: s.Grant.Tokens, Life: s.Life,
		Generation: s.Generation, Presented: s.Presented, Lease: s.Lease,
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
	return &session.Session{
		Grant: session.Grant{
			Provider: b.Provider, Issuer: b.Issuer, Subject: b.Subject, SID: b.SID, Claims: b.Claims, Tokens: b.Tokens,
		},
		Life:   b.Life,
		Ticket: session.Ticket{Generation: b.Generation, Presented: b.Presented},
		Lease:  b.Lease,
	}, nil
}
