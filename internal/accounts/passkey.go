package accounts

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// Passkeys do the ceremonies of WebAuthn. Those of package passkeys are the ones; its methods say what each is for.
type Passkeys interface {
	Create(host, origin string, handle []byte, name string, known [][]byte) (options, pending []byte, err error)
	Created(host, origin string, pending, response []byte) (id, credential []byte, err error)
	Ask(host, origin string) (options, pending []byte, err error)
	Asked(host, origin string, pending, response []byte, find func(id []byte) (handle, credential []byte, err error)) (id, changed []byte, err error)
}

// ByPasskey is a sign-in with a passkey (RFC 8176): a key in the person's possession, and what unlocks it. So it is Strongly as well.
const ByPasskey = "pop"

// Limits of passkeys.
const (
	MostPasskeys    = 20       // of one account
	MostPasskeyName = 60       // characters
	mostResponse    = 32 << 10 // bytes of what a browser's ceremony returned
	ceremonyLife    = 5 * time.Minute
	signInLife      = session.LoginLifetime // of the ceremony on a page to sign in on: it waits there as long as the login does
)

// Passkey is one of a person's.
type Passkey struct {
	ID      string // base64url
	Name    string // as the person calls it
	Created time.Time
	Used    time.Time // zero: never
}

// Ceremony is what the browser is to do, and what has to come back with its result.
type Ceremony struct {
	Options string // JSON, for navigator.credentials
	Sealed  string // good for 5 minutes, to sign in as long as the login is, for whom it was made, and once: spend of AddPasskey and SignInByPasskey sees to that
}

type ceremony struct {
	Pending []byte    `json:"p"`
	At      int64     `json:"t"` // seconds
	Who     *newcomer `json:"w,omitempty"`
}

// TakesPasskeys reports whether passkeys can be had here. A host that is an IP address cannot be a relying party.
func (a *Accounts) TakesPasskeys() bool {
	_, err := netip.ParseAddr(strings.Trim(a.base.Hostname(), "[]"))
	return a.o.Passkeys != nil && err != nil
}

func (a *Accounts) ceremony(options, pending []byte, err error, who *newcomer, context string) (Ceremony, error) {
	if err != nil {
		return Ceremony{}, &session.Error{Code: session.Internal, Op: "begin passkey", Err: err}
	}
	return Ceremony{Options: string(options), Sealed: sealJSON(a.ceremonies, ceremony{pending, time.Now().Unix(), who}, context)}, nil
}

func (a *Accounts) resumeCeremony(op, sealed, response, context string, life time.Duration) (c ceremony, err error) {
	switch {
	case !a.TakesPasskeys():
		return c, session.Fail(session.NotFound, op, "there are no passkeys here")
	case !openJSON(a.ceremonies, sealed, &c, context) || time.Since(time.Unix(c.At, 0)) > life:
		return c, session.Fail(session.WrongPasskey, op, "no ceremony of this login or session, or too long ago")
	case len(response) > mostResponse:
		return c, session.Fail(session.WrongPasskey, op, "a response of %d bytes", len(response))
	}
	return c, nil
}

// mostHandle bounds what passkeys call an account, in bytes (WebAuthn §5.4.3).
const mostHandle = 64

// handleOf is what passkeys call an account: its id, unless it was brought along and is too long.
func handleOf(id string) []byte {
	if len(id) <= mostHandle {
		return []byte(id)
	}
	sum := seal.HashText("passkey handle", id)
	return sum[:]
}

// NewPasskey begins to make one, in one session of the person.
func (a *Accounts) NewPasskey(ctx context.Context, account *Account, sessionID string) (Ceremony, error) {
	const op = "begin passkey"
	if !a.TakesPasskeys() {
		return Ceremony{}, session.Fail(session.NotFound, op, "there are no passkeys here")
	}
	var known [][]byte
	err := a.eachPasskey(ctx, account, func(_ Passkey, credential []byte) { known = append(known, credential) })
	if err != nil {
		return Ceremony{}, err
	}
	if len(known) >= MostPasskeys {
		return Ceremony{}, session.Fail(session.BadRequest, op, "there are %d already", len(known))
	}
	options, pending, err := a.o.Passkeys.Create(a.base.Hostname(), a.origin, handleOf(account.ID), account.Identifier(a.o.Login), known)
	return a.ceremony(options, pending, err, nil, "create\x00"+offeredTo(account, sessionID))
}

// AddPasskey finishes what NewPasskey began. spend is asked whether it may, once the response is known to be good: what is made up leaves
// nothing. WrongPasskey: the response is not that of this ceremony, or not good; Conflict: the account was changed at the same time.
func (a *Accounts) AddPasskey(ctx context.Context, account *Account, sessionID, name, sealed, response string, spend func() error) error {
	const op = "add passkey"
	c, err := a.resumeCeremony(op, sealed, response, "create\x00"+offeredTo(account, sessionID), ceremonyLife)
	if err != nil {
		return err
	}
	made, err := a.created(op, c, name, response, spend)
	if err != nil {
		return err
	}
	return a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.holdAsIs(ctx, account, op); err != nil {
			return err
		}
		var known int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM account_passkey WHERE account = ?", account.ID).Scan(&known); err != nil {
			return err
		}
		if known >= MostPasskeys {
			return session.Fail(session.WrongPasskey, op, "there are %d already", known)
		}
		return made.insert(ctx, tx, op, account)
	})
}

// newPasskey is one that a ceremony made.
type newPasskey struct {
	id, credential []byte
	name           string
}

// created looks at what a ceremony made, and spends the ceremony.
func (a *Accounts) created(op string, c ceremony, name, response string, spend func() error) (*newPasskey, error) {
	if name = strings.TrimSpace(name); name == "" {
		name = "Passkey"
	}
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > MostPasskeyName || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, session.Fail(session.BadRequest, op, "a name of more than %d characters, or not printable", MostPasskeyName)
	}
	id, credential, err := a.o.Passkeys.Created(a.base.Hostname(), a.origin, c.Pending, []byte(response))
	if err != nil {
		return nil, &session.Error{Code: session.WrongPasskey, Op: op, Err: err}
	}
	return &newPasskey{id, credential, name}, spend()
}

func (k *newPasskey) insert(ctx context.Context, tx *transaction, op string, account *Account) error {
	rows, err := affected(tx.ExecContext(ctx, "INSERT INTO account_passkey (id, account, name, credential, created, used) VALUES (?, ?, ?, ?, ?, 0) ON CONFLICT DO NOTHING",
		k.id, account.ID, k.name, k.credential, time.Now().UnixMilli()))
	if err == nil && rows == 0 {
		err = session.Fail(session.WrongPasskey, op, "it is there already")
	}
	return err
}

// RemovePasskey forgets one of the person's, and begins a new epoch: what was signed in with it may be on a device that is lost. NotFound:
// there is no such passkey; LastWay: it is the last one of a person without a password.
func (a *Accounts) RemovePasskey(ctx context.Context, account *Account, id string) error {
	const op = "remove passkey"
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		return session.Fail(session.NotFound, op, "no id of a passkey")
	}
	err = a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, account.ID); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "DELETE FROM account_passkey WHERE id = ? AND account = ?", raw, account.ID)
		if err := met(result, err, op); session.CodeOf(err) == session.Conflict {
			return session.Fail(session.NotFound, op, "this person has no such passkey")
		} else if err != nil {
			return err
		}
		if !account.HasPassword() {
			if err := a.keepWay(ctx, tx, account, op); err != nil {
				return err
			}
		}
		return nextEpoch(ctx, tx, account, op)
	})
	if err == nil {
		account.epoch++
	}
	return err
}

// keepWay is LastWay for an account that has no passkey left. Two that are removed at once are of one epoch, and one of them is late.
func (a *Accounts) keepWay(ctx context.Context, tx *transaction, account *Account, op string) error {
	var left int
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM account_passkey WHERE account = ?", account.ID).Scan(&left)
	if err == nil && (left == 0 || !a.TakesPasskeys()) {
		err = session.Fail(session.LastWay, op, "there is nothing else that the person could sign in with")
	}
	return err
}

// RemovePassword leaves an account its passkeys alone, and begins a new epoch. Confirm comes first. LastWay: there are none.
func (a *Accounts) RemovePassword(ctx context.Context, account *Account) error {
	const op = "remove password"
	err := a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, account.ID); err != nil {
			return err
		}
		if err := a.keepWay(ctx, tx, account, op); err != nil {
			return err
		}
		result, err := tx.ExecContext(ctx, "UPDATE account SET password = '', epoch = epoch + 1 WHERE id = ? AND epoch = ?", account.ID, account.epoch)
		return met(result, err, op)
	})
	if err == nil {
		account.epoch, account.password = account.epoch+1, ""
	}
	return err
}

// Passkeys are those of an account, the oldest first.
func (a *Accounts) Passkeys(ctx context.Context, account *Account) (all []Passkey, err error) {
	err = a.eachPasskey(ctx, account, func(p Passkey, _ []byte) { all = append(all, p) })
	return all, err
}

func (a *Accounts) eachPasskey(ctx context.Context, account *Account, take func(p Passkey, credential []byte)) error {
	const op = "list passkeys"
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	rows, err := a.db.QueryContext(ctx, "SELECT id, name, credential, created, used FROM account_passkey WHERE account = ? ORDER BY created, id", account.ID)
	if err != nil {
		return fail(op, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, credential []byte
		var name string
		var created, used int64
		if err := rows.Scan(&id, &name, &credential, &created, &used); err != nil {
			return fail(op, err)
		}
		take(Passkey{ID: base64.RawURLEncoding.EncodeToString(id), Name: name, Created: timeOf(created), Used: timeOf(used)}, credential)
	}
	return fail(op, rows.Err())
}

// AskPasskey begins a sign-in with a passkey, within one login.
func (a *Accounts) AskPasskey(p session.Pending) (Ceremony, error) {
	options, pending, err := a.o.Passkeys.Ask(a.base.Hostname(), a.origin)
	return a.ceremony(options, pending, err, nil, "ask\x00"+p.Challenge())
}

// ConfirmsByPasskey reports whether a passkey is what the person of an account shows who they are with: there is no password.
func (a *Accounts) ConfirmsByPasskey(ctx context.Context, account *Account) (bool, error) {
	if account.HasPassword() || !a.TakesPasskeys() {
		return false, nil
	}
	all, err := a.Passkeys(ctx, account)
	return len(all) > 0, err
}

// AskAgain begins to ask somebody who is signed in for a passkey of theirs, in one session of them.
func (a *Accounts) AskAgain(account *Account, sessionID string) (Ceremony, error) {
	if !a.TakesPasskeys() {
		return Ceremony{}, session.Fail(session.NotFound, "begin passkey", "there are no passkeys here")
	}
	options, pending, err := a.o.Passkeys.Ask(a.base.Hostname(), a.origin)
	return a.ceremony(options, pending, err, nil, "confirm\x00"+offeredTo(account, sessionID))
}

// ConfirmByPasskey is Confirm for a person without a password: it finishes what AskAgain began in the same session. spend is that of
// AddPasskey. WrongPassword: they have one; WrongPasskey: it is not good, or another's.
func (a *Accounts) ConfirmByPasskey(ctx context.Context, account *Account, sessionID, sealed, response string, spend func() error) (*Account, error) {
	const op = "confirm by passkey"
	if account.HasPassword() {
		return account, session.Fail(session.WrongPassword, op, "there is a password, and it is asked for")
	}
	c, err := a.resumeCeremony(op, sealed, response, "confirm\x00"+offeredTo(account, sessionID), ceremonyLife)
	if err != nil {
		return account, err
	}
	return a.take(ctx, op, c, response, account.ID, spend)
}

// SignInByPasskey finishes what AskPasskey began for the same login. spend is that of AddPasskey. WrongPasskey is the one answer to an unknown passkey, one that does
// not verify its person, a copy, and a disabled account.
func (a *Accounts) SignInByPasskey(ctx context.Context, p session.Pending, sealed, response string, spend func() error) (*Account, error) {
	const op = "sign in with passkey"
	c, err := a.resumeCeremony(op, sealed, response, "ask\x00"+p.Challenge(), signInLife)
	if err != nil {
		return nil, err
	}
	return a.take(ctx, op, c, response, "", spend)
}

// take returns the account of the passkey that answered a ceremony: anybody's, or that of one.
func (a *Accounts) take(ctx context.Context, op string, c ceremony, response, of string, spend func() error) (*Account, error) {
	var owner string
	var before []byte
	id, changed, err := a.o.Passkeys.Asked(a.base.Hostname(), a.origin, c.Pending, []byte(response), func(id []byte) ([]byte, []byte, error) {
		ctx, cancel := context.WithTimeout(ctx, budget)
		defer cancel()
		err := a.db.QueryRowContext(ctx, "SELECT account, credential FROM account_passkey WHERE id = ?", id).Scan(&owner, &before)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil, session.Fail(session.WrongPasskey, op, "nobody has it")
		}
		if err == nil && of != "" && owner != of {
			return nil, nil, session.Fail(session.WrongPasskey, op, "it is another person's")
		}
		return handleOf(owner), bytes.Clone(before), fail(op, err)
	})
	if err != nil {
		var verdict *session.Error
		if errors.As(err, &verdict) {
			return nil, err
		}
		return nil, &session.Error{Code: session.WrongPasskey, Op: op, Err: err}
	}
	if err := spend(); err != nil {
		return nil, err
	}
	account, err := a.db.byID(ctx, owner)
	if err != nil {
		return nil, err
	}
	if account == nil || !account.Disabled.IsZero() {
		return account, session.Fail(session.WrongPasskey, op, "the account is gone or disabled")
	}
	// The counter grows from the value that was compared: of two responses at once one is late.
	rows, err := a.db.change(ctx, op, "UPDATE account_passkey SET credential = ?, used = ? WHERE id = ? AND credential = ?", changed, time.Now().UnixMilli(), id, before)
	if err == nil && rows == 0 {
		err = session.Fail(session.WrongPasskey, op, "it was used at the same time, or removed")
	}
	return account, err
}
