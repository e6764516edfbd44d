package sqlite

import (
	"bytes"
	"database/sql"
	"errors"
	"iter"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// replace is Put inside a transaction: it reads, decides and writes.
func (st *statements) replace(rec session.Record) error {
	old, oldKeys, err := st.read(rec.ID)
	if err != nil {
		return err
	}
	live := time.Now().Before(old.Expires)
	switch {
	case live && old.Version == rec.Version, !live && rec.Version == 0:
	case live && old.WriteID == rec.WriteID:
		return nil
	default:
		return session.Fail(session.Conflict, "put record", "the record has changed or is gone")
	}
	keys := join(rec.Index)
	if !bytes.Equal(keys, oldKeys) {
		for k := range split(oldKeys) {
			if _, err := st.dropKey.Exec(k[:], rec.ID[:]); err != nil {
				return err
			}
		}
		for k := range split(keys) {
			if _, err := st.addKey.Exec(k[:], rec.ID[:]); err != nil {
				return err
			}
		}
	}
	_, err = st.put.Exec(rec.ID[:], rec.Version+1, rec.WriteID[:], rec.Expires.UnixMilli(), keys, some(rec.Meta), some(rec.Body))
	return err
}

// read returns what decides about a write, and the record's keys in a row. A missing record is like one long dead.
func (st *statements) read(id session.ID) (rec session.Record, keys []byte, err error) {
	var writeID []byte
	var expires int64
	err = st.state.QueryRow(id[:]).Scan(&rec.Version, &writeID, &expires, &keys)
	if errors.Is(err, sql.ErrNoRows) {
		return session.Record{}, nil, nil
	}
	copy(rec.WriteID[:], writeID)
	rec.Expires = time.UnixMilli(expires)
	return rec, keys, err
}

func (st *statements) drop(id, keys []byte) error {
	for k := range split(keys) {
		if _, err := st.dropKey.Exec(k[:], id); err != nil {
			return err
		}
	}
	_, err := st.remove.Exec(id)
	return err
}

func (st *statements) sweep(now time.Time) (int, error) {
	rows, err := st.expired.Query(now.UnixMilli(), sweepBatch)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	type dead struct{ id, keys []byte }
	var batch []dead
	for rows.Next() {
		var d dead
		if err := rows.Scan(&d.id, &d.keys); err != nil {
			return 0, err
		}
		batch = append(batch, d)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	rows.Close() // before the rows under it go
	for _, d := range batch {
		if err := st.drop(d.id, d.keys); err != nil {
			return 0, err
		}
	}
	return len(batch), nil
}

// some is b, and never NULL.
func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// join puts keys in a row, as the column record.keys has them.
func join(keys []session.Key) []byte {
	row := make([]byte, 0, len(keys)*len(session.Key{}))
	for _, k := range keys {
		row = append(row, k[:]...)
	}
	return row
}

// split is the way back.
func split(row []byte) iter.Seq[session.Key] {
	return func(yield func(session.Key) bool) {
		const size = len(session.Key{})
		for ; len(row) >= size; row = row[size:] {
			if !yield(session.Key(row)) {
				return
			}
		}
	}
}
