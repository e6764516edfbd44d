package accounts

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Account is one person's.
type Account struct {
	ID            string // random, 22 characters: the subject of sessions and tokens
	Email         string // as typed; "" for none
	EmailVerified time.Time
	Username      string // as typed; "" for none
	Name          string
	Created       time.Time
	Disabled      time.Time      // zero: not
	Claims        map[string]any // what else is known of the person

	epoch    int64
	version  string // in its place, for people of Users
	password string // its hash
	source   []byte // what it was made from; nil: its person registered. Known where it is made
}

// byOperator is the source of an account that an operator made. Others are of an import.
var byOperator = []byte("operator")

// Identifier is what the person signs in with.
func (a *Account) Identifier(login string) string {
	if login == LoginUsername {
		return a.Username
	}
	return a.Email
}

// HasPassword reports whether the person can sign in with a password.
func (a *Account) HasPassword() bool { return a.password != "" }

const columns = "id, COALESCE(email, ''), email_verified, COALESCE(username, ''), name, claims, created, disabled, epoch, password"

// scanAccount reads the columns.
func scanAccount(row interface{ Scan(...any) error }) (*Account, error) {
	var a Account
	var verified, created, disabled int64
	var claims []byte
	if err := row.Scan(&a.ID, &a.Email, &verified, &a.Username, &a.Name, &claims, &created, &disabled, &a.epoch, &a.password); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(claims, &a.Claims); err != nil {
		return nil, fmt.Errorf("the claims of account %s: %w", a.ID, err)
	}
	a.EmailVerified, a.Created, a.Disabled = timeOf(verified), timeOf(created), timeOf(disabled)
	return &a, nil
}

func timeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// keyColumn is where an identifier's key stands.
func keyColumn(login string) string {
	if login == LoginUsername {
		return "username_key"
	}
	return "email_key"
}

// one returns the account of a row, and nil for no row.
func (d *database) one(ctx context.Context, op, where string, args ...any) (*Account, error) {
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	a, err := scanAccount(d.QueryRowContext(ctx, "SELECT "+columns+" FROM account WHERE "+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return a, fail(op, err)
}

// byKey finds an account by the key of its identifier; nil: there is none.
func (d *database) byKey(ctx context.Context, login, key string) (*Account, error) {
	return d.one(ctx, "find account", keyColumn(login)+" = ?", key)
}

// byID finds an account; nil: there is none.
func (d *database) byID(ctx context.Context, id string) (*Account, error) {
	return d.one(ctx, "find account", "id = ?", id)
}

// add makes an account. IdentifierTaken: another has its key, if only since a moment.
func (d *database) add(ctx context.Context, a *Account, login, key string) (*Account, error) {
	err := d.within(ctx, opAdd, func(ctx context.Context, tx *transaction) error { return a.insert(ctx, tx, login, key) })
	if err != nil {
		return nil, err
	}
	return a, nil
}

const opAdd = "add account"

func newID() string { return seal.RandomText(16) }

func newAccount(login, typed, name, hash string) *Account {
	a := &Account{ID: newID(), Name: name, Created: time.Now().UTC().Truncate(time.Millisecond), epoch: 1, password: hash}
	if login == LoginUsername {
		a.Username = typed
	} else {
		a.Email = typed
	}
	return a
}

func (a *Account) insert(ctx context.Context, tx *transaction, login, key string) error {
	var email, emailKey, username, usernameKey any
	if login == LoginUsername {
		username, usernameKey = a.Username, key
	} else {
		email, emailKey = a.Email, key
	}
	result, err := tx.ExecContext(ctx,
		"INSERT INTO account (id, email, email_key, email_verified, username, username_key, name, claims, password, epoch, created, disabled, imported) "+
			"VALUES (?, ?, ?, ?, ?, ?, ?, '{}', ?, ?, ?, 0, ?) ON CONFLICT DO NOTHING",
		a.ID, email, emailKey, millis(a.EmailVerified), username, usernameKey, a.Name, a.password, a.epoch, millis(a.Created), a.source)
	if err != nil {
		return err
	}
	rows, err := result.RowsAffected()
	if err == nil && rows == 0 {
		err = session.Fail(session.IdentifierTaken, opAdd, "there is one of that name")
	}
	return err
}

// rehash puts a costlier hash of the same password in the place of the old one, if that is still there.
func (d *database) rehash(ctx context.Context, a *Account, hash string) error {
	_, err := d.change(ctx, "rehash password", "UPDATE account SET password = ? WHERE id = ? AND password = ?", hash, a.ID, a.password)
	return err
}

// setPassword changes the password and begins a new epoch. Conflict: it was changed meanwhile, or the account is gone.
func (d *database) setPassword(ctx context.Context, a *Account, hash string) error {
	const op = "change password"
	rows, err := d.change(ctx, op, "UPDATE account SET password = ?, epoch = epoch + 1 WHERE id = ? AND epoch = ?", hash, a.ID, a.epoch)
	if err == nil && rows == 0 {
		err = session.Fail(session.Conflict, op, "the account was changed at the same time")
	}
	if err != nil {
		return err
	}
	a.epoch, a.password = a.epoch+1, hash
	return nil
}

// page is how many accounts are read at a time.
const page = 500

// all goes over the accounts, the oldest first.
func (d *database) all(ctx context.Context) iter.Seq2[*Account, error] {
	return func(yield func(*Account, error) bool) {
		var created int64
		var id string
		for {
			batch, err := d.after(ctx, created, id)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, a := range batch {
				if !yield(a, nil) {
					return
				}
				created, id = millis(a.Created), a.ID
			}
			if len(batch) < page {
				return
			}
		}
	}
}

func (d *database) after(ctx context.Context, created int64, id string) ([]*Account, error) {
	const op = "list accounts"
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	rows, err := d.QueryContext(ctx, "SELECT "+columns+" FROM account WHERE created > ? OR created = ? AND id > ? ORDER BY created, id LIMIT ?", created, created, id, page)
	if err != nil {
		return nil, fail(op, err)
	}
	defer rows.Close()
	var batch []*Account
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return nil, fail(op, err)
		}
		batch = append(batch, a)
	}
	return batch, fail(op, rows.Err())
}
