package accounts

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"database/sql"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// What authenticator apps agree on without being told (RFC 6238).
const (
	codeStep   = 30 * time.Second
	codeDigits = 6
	codeWindow = 1 // steps that a clock may be off, either way
	secretSize = 20
)

const (
	offerLifetime = 15 * time.Minute
	stepLifetime  = 5 * time.Minute
)

// Methods that sign-ins are made of (RFC 8176).
const (
	ByPassword = "pwd"
	ByCode     = "otp" // of an authenticator app, or a recovery code
	Strongly   = "mfa" // by more than one factor
)

var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// codeAt is the code of a secret in a step of time (RFC 4226 §5.3). SHA-1 is what all apps know, and is sound in an HMAC.
func codeAt(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(step)))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0xf
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%0*d", codeDigits, n%1_000_000)
}

// stepOf finds the step near now that a code is of.
func stepOf(secret []byte, code string, now time.Time) (int64, bool) {
	current := now.Unix() / int64(codeStep/time.Second)
	found, ok := int64(0), false
	for step := current - codeWindow; step <= current+codeWindow; step++ {
		if seal.Equal([]byte(codeAt(secret, step)), []byte(code)) {
			found, ok = step, true
		}
	}
	return found, ok
}

// Factors are what an account has beside its password.
type Factors struct {
	Authenticator time.Time // since when there is one; zero: there is none
	Recovery      int       // codes that are left
}

// Factors says what an account has beside its password.
func (a *Accounts) Factors(ctx context.Context, account *Account) (Factors, error) {
	var f Factors
	var created int64
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	err := a.db.QueryRowContext(ctx, "SELECT COALESCE((SELECT created FROM account_totp WHERE account = ?), 0), (SELECT COUNT(*) FROM account_recovery WHERE account = ?)",
		account.ID, account.ID).Scan(&created, &f.Recovery)
	f.Authenticator = timeOf(created)
	return f, fail("read factors", err)
}

// Offer is an authenticator that is not set up yet. Nothing of it is kept here before a code shows that the person has it.
type Offer struct {
	URI    string // otpauth:, what the app reads from a QR code
	Secret string // the same for typing, in groups
	Sealed string // the same for Accept, good for 15 minutes
}

type offer struct {
	Secret []byte `json:"s"`
	At     int64  `json:"t"` // seconds
}

// Offer makes a new secret for an account, in one session of it.
func (a *Accounts) Offer(account *Account, sessionID string) Offer {
	return a.offer(account, sessionID, offer{seal.Random(secretSize), time.Now().Unix()})
}

// Again shows an offer once more, after a code that was not right. LoginLost: it is none, or too old.
func (a *Accounts) Again(account *Account, sessionID, sealed string) (Offer, error) {
	o, err := a.openOffer(account, sessionID, sealed)
	if err != nil {
		return Offer{}, err
	}
	return a.offer(account, sessionID, o), nil
}

func (a *Accounts) offer(account *Account, sessionID string, o offer) Offer {
	secret := base32Text.EncodeToString(o.Secret)
	host := a.base.Hostname()
	who := account.Identifier(a.o.Login)
	uri := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + host + ":" + who, RawQuery: "secret=" + secret + "&issuer=" + url.QueryEscape(host)}
	var groups []string
	for group := range slices.Chunk([]byte(secret), 4) {
		groups = append(groups, string(group))
	}
	return Offer{URI: uri.String(), Secret: strings.Join(groups, " "), Sealed: sealJSON(a.offers, o, offeredTo(account, sessionID))}
}

// offeredTo is whom an offer is for: an account in one session, as it signs in now. What was offered before a change is over by it.
func offeredTo(account *Account, sessionID string) string {
	return account.ID + "\x00" + sessionID + "\x00" + account.Epoch()
}

func (a *Accounts) openOffer(account *Account, sessionID, sealed string) (offer, error) {
	var o offer
	if !openJSON(a.offers, sealed, &o, offeredTo(account, sessionID)) || time.Since(time.Unix(o.At, 0)) > offerLifetime {
		return o, session.Fail(session.LoginLost, "set up authenticator", "no offer to this session, or too old")
	}
	return o, nil
}

// Allow lets somebody who has just shown who they are set a password, in one session of them, within 15 minutes.
func (a *Accounts) Allow(account *Account, sessionID string) string {
	return sealJSON(a.offers, offer{At: time.Now().Unix()}, "password\x00"+offeredTo(account, sessionID))
}

// Allowed looks at what Allow returned. LoginLost: it is none, or too old.
func (a *Accounts) Allowed(account *Account, sessionID, sealed string) error {
	var o offer
	if !openJSON(a.offers, sealed, &o, "password\x00"+offeredTo(account, sessionID)) || time.Since(time.Unix(o.At, 0)) > offerLifetime {
		return session.Fail(session.LoginLost, "set password", "nothing that this session may do, or too old")
	}
	return nil
}

// Accept sets an authenticator up, if code is one of it, in the place of another, and returns the recovery codes, which nobody is told
// again. It begins a new epoch: whatever was signed in with a password alone is over. WrongCode: it is none of it; Conflict: the account
// was changed at the same time.
func (a *Accounts) Accept(ctx context.Context, account *Account, sessionID, sealed, code string) ([]string, error) {
	const op = "set up authenticator"
	o, err := a.openOffer(account, sessionID, sealed)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	step, ok := stepOf(o.Secret, strip(code), now)
	if !ok {
		return nil, session.Fail(session.WrongCode, op, "the code is not of the secret")
	}
	var codes []string
	err = a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, account.ID); err != nil {
			return err
		}
		if err := nextEpoch(ctx, tx, account, op); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_totp WHERE account = ?", account.ID); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO account_totp (account, sealed, step, created) VALUES (?, ?, ?, ?)",
			account.ID, a.secrets.Seal(o.Secret, []byte(account.ID)), step, millis(now)); err != nil {
			return err
		}
		codes, err = replaceRecovery(ctx, tx, account)
		return err
	})
	if err == nil {
		account.epoch++
	}
	return codes, err
}

// RemoveAuthenticator goes back to the password alone, and begins a new epoch.
func (a *Accounts) RemoveAuthenticator(ctx context.Context, account *Account) error {
	const op = "remove authenticator"
	err := a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, account.ID); err != nil {
			return err
		}
		for _, table := range []string{"account_totp", "account_recovery"} {
			if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE account = ?", account.ID); err != nil {
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

// nextEpoch ends what was signed in under the credentials that account was read with.
func nextEpoch(ctx context.Context, tx *transaction, account *Account, op string) error {
	result, err := tx.ExecContext(ctx, "UPDATE account SET epoch = epoch + 1 WHERE id = ? AND epoch = ?", account.ID, account.epoch)
	return met(result, err, op)
}

// met is Conflict for a statement that changed nothing.
func met(result sql.Result, err error, op string) error {
	if err != nil {
		return err
	}
	if rows, err := result.RowsAffected(); err != nil {
		return err
	} else if rows == 0 {
		return session.Fail(session.Conflict, op, "the account was changed at the same time")
	}
	return nil
}

// mostCode bounds a code as typed, in bytes.
const mostCode = 100

// CheckCode looks at the second factor of somebody whose first was right: a code of the authenticator, or a recovery code. Each is good
// once. CodeRequired: code is ""; WrongCode: it is not good, or not any more; TooMany: too many were wrong, wait.
func (a *Accounts) CheckCode(ctx context.Context, account *Account, code, address string) error {
	const op = "check code"
	if code = strip(code); code == "" {
		return session.Fail(session.CodeRequired, op, "no code came along")
	}
	if len(code) > mostCode || strings.ContainsRune(code, 0) {
		return session.Fail(session.WrongCode, op, "a longer code than any")
	}
	if len(code) != codeDigits {
		return a.spendRecovery(ctx, account, code, address)
	}
	// Who comes here knows the password: waiting is for the account, wherever the tries come from, and keeps nobody out with a recovery code.
	taken, err := a.throttle.Code(account.ID)
	if err != nil {
		return err
	}
	err = a.spendCode(ctx, account, code)
	switch session.CodeOf(err) {
	case "":
		taken.Right()
	case session.WrongCode:
	default:
		taken.TakeBack()
	}
	return err
}

func (a *Accounts) spendCode(ctx context.Context, account *Account, code string) error {
	const op = "check code"
	return a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, account.ID); err != nil {
			return err
		}
		var sealed []byte
		var last int64
		err := tx.QueryRowContext(ctx, "SELECT sealed, step FROM account_totp WHERE account = ?", account.ID).Scan(&sealed, &last)
		if errors.Is(err, sql.ErrNoRows) {
			return session.Fail(session.WrongCode, op, "there is no authenticator any more")
		} else if err != nil {
			return err
		}
		secret, err := a.secrets.Open(sealed, []byte(account.ID))
		if err != nil {
			return &session.Error{
				Code: session.Internal, Op: op, Err: fmt.Errorf("the secret of account %s: %w", account.ID, err),
				Hint: "it was sealed under another index key; put that key back",
			}
		}
		step, ok := stepOf(secret, code, time.Now())
		if !ok {
			return session.Fail(session.WrongCode, op, "the code is another")
		}
		result, err := tx.ExecContext(ctx, "UPDATE account_totp SET step = ? WHERE account = ? AND step < ?", step, account.ID, step)
		if err := met(result, err, op); session.CodeOf(err) == session.Conflict {
			return session.Fail(session.WrongCode, op, "the code, or a later one, was used before")
		} else if err != nil {
			return err
		}
		return nil
	})
}

// Confirm asks who is signed in once more, before something is changed that they sign in with (U8): the password, and a code where the
// account has an authenticator. WrongPassword, CodeRequired, WrongCode, TooMany: no.
func (a *Accounts) Confirm(ctx context.Context, id, password, code, address string) (*Account, error) {
	account, err := a.prove(ctx, "confirm", id, password, address)
	if err != nil {
		return account, err
	}
	f, err := a.Factors(ctx, account)
	if err == nil && !f.Authenticator.IsZero() {
		err = a.CheckCode(ctx, account, code, address)
	}
	return account, err
}

// prove is SignIn for somebody who is signed in already.
func (a *Accounts) prove(ctx context.Context, op, id, password, address string) (*Account, error) {
	attempt, pause, err := a.throttle.Attempt(id, address)
	if err != nil {
		return nil, err
	}
	find := func() (*Account, error) { return a.db.byID(ctx, id) }
	account, err := a.verify(ctx, find, password, pause)
	if session.CodeOf(err) == session.WrongCredentials {
		return account, &session.Error{Code: session.WrongPassword, Op: op, Err: err}
	} else if err != nil {
		attempt.TakeBack()
		return nil, err
	}
	attempt.Right()
	return account, nil
}

// step is the first half of a sign-in, sealed for one login.
type step struct {
	Account string   `json:"a"`
	Epoch   string   `json:"e"`
	At      int64    `json:"t"` // seconds
	Methods []string `json:"m"`
}

// HalfWay is for somebody who took the first step by these methods and who has an authenticator: what the page carries to the second step, good for 5
// minutes and for this login alone. It opens nothing by itself.
func (a *Accounts) HalfWay(p session.Pending, account *Account, methods ...string) string {
	return sealJSON(a.steps, step{account.ID, account.Epoch(), time.Now().Unix(), methods}, p.Challenge())
}

// Resume returns who is half way, and by which methods. LoginLost: nobody is, or it took too long.
func (a *Accounts) Resume(ctx context.Context, p session.Pending, sealed string) (*Account, []string, error) {
	const op = "resume sign-in"
	var s step
	if !openJSON(a.steps, sealed, &s, p.Challenge()) || time.Since(time.Unix(s.At, 0)) > stepLifetime {
		return nil, nil, session.Fail(session.LoginLost, op, "no first step of this login, or too long ago")
	}
	account, err := a.current(ctx, s.Account, s.Epoch)
	if err == nil && account == nil {
		err = session.Fail(session.LoginLost, op, "the account was changed meanwhile")
	}
	return account, s.Methods, err
}

// enough reports whether an account may be signed in to by these methods: with an authenticator, not by a password alone. It is asked
// where sessions begin, whatever page or endpoint the methods come from.
func (a *Accounts) enough(ctx context.Context, account *Account, methods []string) error {
	if slices.Contains(methods, Strongly) {
		return nil
	}
	f, err := a.Factors(ctx, account)
	if err == nil && !f.Authenticator.IsZero() {
		err = session.Fail(session.CodeRequired, "redeem code", "the account has a second factor")
	}
	return err
}

func sealJSON(box *seal.Box, v any, context string) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic("accounts: " + err.Error()) // texts, bytes and numbers
	}
	return base64.RawURLEncoding.EncodeToString(box.Seal(text, []byte(context)))
}

// openJSON reads what sealJSON wrote, and reports whether it did.
func openJSON(box *seal.Box, text string, v any, context string) bool {
	// One text for one content, so that the text can be noted as used: the decoder would skip line ends.
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(sealed) > 4<<10 || strings.ContainsAny(text, "\r\n") {
		return false
	}
	plain, err := box.Open(sealed, []byte(context))
	return err == nil && json.Unmarshal(plain, v) == nil
}
