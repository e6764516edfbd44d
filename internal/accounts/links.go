package accounts

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// LinkLife is how long a mailed link works.
const LinkLife = 10 * time.Minute

// purpose is what a link is for. One for something is worth nothing for something else.
type purpose string

const (
	forReset        purpose = "reset"
	forRegistration purpose = "register"
	forAddress      purpose = "address"
	forSignIn       purpose = "sign in"
	forCode         purpose = "code" // of six digits, by the login that it is for
)

// detail is what a link says of what it is for.
type detail struct {
	Epoch int64  `json:"epoch,omitempty"` // of the account's credentials: under others the link is over
	Key   string `json:"key"`             // of the address that it was mailed to

	Email    string         `json:"email,omitempty"`    // the address as it was typed
	Same     bool           `json:"same,omitempty"`     // the account has the address already, and it is not verified
	Name     string         `json:"name,omitempty"`     // of a person who registers
	Password string         `json:"password,omitempty"` // its hash
	Passkey  *linkedPasskey `json:"passkey,omitempty"`  // in its place
	State    string         `json:"state,omitempty"`    // of the login that led to it
	Code     string         `json:"code,omitempty"`     // its hash
	Tries    int            `json:"tries,omitempty"`    // of the code
}

// linkedPasskey is what an account will be made of, and signed in to with. It is no secret.
type linkedPasskey struct {
	Account    string `json:"account"` // its id, under which the device keeps it
	ID         []byte `json:"id"`
	Credential []byte `json:"credential"`
	Name       string `json:"name"`
}

// link is one that works.
type link struct {
	hash    string
	purpose purpose
	account string
	detail
}

func linkHash(token string) string {
	sum := seal.Hash("account link", []byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// addLink keeps a link, and returns the token that stands in it: 192 random bits.
func (d *database) addLink(ctx context.Context, for_ purpose, account string, of detail) (token string, err error) {
	text, err := json.Marshal(of)
	if err != nil {
		return "", err
	}
	token = seal.RandomText(24)
	now := time.Now()
	return token, d.within(ctx, "add link", func(ctx context.Context, tx *transaction) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_link WHERE expires <= ?", now.UnixMilli()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO account_link (hash, purpose, account, detail, expires) VALUES (?, ?, ?, ?, ?)",
			linkHash(token), string(for_), account, string(text), now.Add(LinkLife).UnixMilli())
		return err
	})
}

// dropLink forgets a link that nobody got.
func (d *database) dropLink(ctx context.Context, token string) error {
	_, err := d.change(ctx, "drop link", "DELETE FROM account_link WHERE hash = ?", linkHash(token))
	return err
}

// findLink looks at a link and leaves it as it is: programs open links before people do. LinkOver: it was used, is too old or never was one.
func (d *database) findLink(ctx context.Context, for_ purpose, token string) (*link, error) {
	const op = "find link"
	l := &link{hash: linkHash(token), purpose: for_}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	var text string
	err := d.QueryRowContext(ctx, "SELECT account, detail FROM account_link WHERE hash = ? AND purpose = ? AND expires > ?",
		l.hash, string(for_), time.Now().UnixMilli()).Scan(&l.account, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, session.Fail(session.LinkOver, op, "it was used, is too old, or never was one")
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &l.detail)
	}
	if err != nil {
		return nil, fail(op, err)
	}
	return l, nil
}

// spend uses a link up, within a transaction that does what it is for. LinkOver: somebody was first.
func (l *link) spend(ctx context.Context, tx *transaction) error {
	return hit(tx.ExecContext(ctx, "DELETE FROM account_link WHERE hash = ? AND expires > ?", l.hash, time.Now().UnixMilli()))
}

// hit is LinkOver for a statement that met nothing.
func hit(result sql.Result, err error) error {
	if err != nil {
		return err
	}
	rows, err := result.RowsAffected()
	if err == nil && rows == 0 {
		err = session.Fail(session.LinkOver, "use link", "it was used, or the account was changed, a moment ago")
	}
	return err
}
