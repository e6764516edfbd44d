package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

var _ session.Lister = (*Tickets)(nil)

// metaVersion is the version of a record's meta. A newer one than this program knows is not opened.
const metaVersion = 1

// meta is what a record says of its session to whoever has the keyring and no ticket. Its names are part of the stored format.
type meta struct {
	V        int       `json:"v"`
	Provider string    `json:"p"`
	Issuer   string    `json:"iss"`
	Subject  string    `json:"sub"`
	SID      string    `json:"sid,omitempty"`
	Created  time.Time `json:"c"`
	Seen     time.Time `json:"s"`
	Device   device    `json:"d,omitzero"`
}

// sealMeta seals under the record's id, which is no secret: it makes a key for each record, so that no number of slides wears
// one key out. What it seals is small: sub and sid have at most 255 bytes, and all else is ours.
func (t *Tickets) sealMeta(s *session.Session) ([]byte, error) {
	text, err := json.Marshal(meta{
		V: metaVersion, Provider: s.Grant.Provider, Issuer: s.Grant.Issuer, Subject: s.Grant.Subject, SID: s.Grant.SID,
		Created: s.Life.Created, Seen: s.Life.Seen, Device: device(s.Device),
	})
	if err != nil {
		return nil, err
	}
	return t.metas.SealUnder(s.ID[:], text, s.ID[:]), nil
}

func (t *Tickets) openMeta(rec session.Record) (m meta, err error) {
	text, err := t.metas.OpenUnder(rec.ID[:], rec.Meta, rec.ID[:])
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err == nil && m.V != metaVersion {
		err = fmt.Errorf("meta of version %d, this program knows %d", m.V, metaVersion)
	}
	return m, err
}

// listed is what is known of a record's session.
func (t *Tickets) listed(rec session.Record) session.Listed {
	l := session.Listed{ID: rec.ID, LogID: logID(t.logIDs, rec.ID), Expires: rec.Expires}
	if m, err := t.openMeta(rec); err == nil {
		l.Provider, l.Issuer, l.Subject, l.SID = m.Provider, m.Issuer, m.Subject, m.SID
		l.Created, l.Seen, l.Device = m.Created, m.Seen, session.Device(m.Device)
	}
	return l
}

// List goes over the sessions of a person, or the one of a name. See session.Lister.
func (t *Tickets) List(ctx context.Context, which session.Selector) iter.Seq2[session.Listed, error] {
	return t.list(t.find(ctx, which))
}

// All goes over the whole store. Whatever else is kept there has no keys to be found by. See session.Lister.
func (t *Tickets) All(ctx context.Context) iter.Seq2[session.Listed, error] {
	scanner, ok := t.store.(session.Scanner)
	if !ok {
		return t.list(failed(t.lacks("Scanner")))
	}
	return t.list(paged(func(after session.ID) ([]session.Record, error) { return scanner.Scan(ctx, after, pageSize) }))
}

func (t *Tickets) list(records iter.Seq2[session.Record, error]) iter.Seq2[session.Listed, error] {
	return func(yield func(session.Listed, error) bool) {
		for rec, err := range records {
			switch {
			case err != nil:
				yield(session.Listed{}, err)
				return
			case len(rec.Index) > 0 && !yield(t.listed(rec), nil):
				return
			}
		}
	}
}

// find goes over the living records that which selects.
func (t *Tickets) find(ctx context.Context, which session.Selector) iter.Seq2[session.Record, error] {
	index, ok := t.store.(session.Index)
	if !ok {
		return failed(t.lacks("Index"))
	}
	key := t.keyOf(which)
	return paged(func(after session.ID) ([]session.Record, error) { return index.Find(ctx, key, after, pageSize) })
}

// keyOf is the key of a record that which selects.
func (t *Tickets) keyOf(which session.Selector) session.Key {
	switch {
	case which.LogID != "":
		return t.key("", "log", which.LogID)
	case which.SID != "":
		return t.key(which.Issuer, "sid", which.SID)
	}
	return t.key(which.Issuer, "sub", which.Subject)
}

func (t *Tickets) lacks(power string) error {
	return &session.Error{
		Code: session.Unlisted, Op: "list sessions", Err: fmt.Errorf("the store is no session.%s (%T)", power, t.store),
		Hint: "the stores of this module can list sessions",
	}
}

// pageSize is how many records are in memory at a time.
const pageSize = 100

// paged goes over the living records of all pages.
func paged(page func(after session.ID) ([]session.Record, error)) iter.Seq2[session.Record, error] {
	return func(yield func(session.Record, error) bool) {
		var after session.ID
		for {
			records, err := page(after)
			if err != nil {
				yield(session.Record{}, err)
				return
			}
			if len(records) == 0 {
				return
			}
			now := time.Now()
			for _, rec := range records {
				if after = rec.ID; now.Before(rec.Expires) && !yield(rec, nil) {
					return
				}
			}
		}
	}
}

func failed(err error) iter.Seq2[session.Record, error] {
	return func(yield func(session.Record, error) bool) { yield(session.Record{}, err) }
}
