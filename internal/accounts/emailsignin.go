package accounts

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// LinkPath is the page that a link to sign in with leads to, behind the endpoints' prefix.
const LinkPath = SignInPath + "/link"

// CodeTries is how often one may guess a mailed code.
const CodeTries = 5

// BySignInMail is how somebody signed in who read a mail of ours (RFC 8176).
const BySignInMail = "otp"

// SignsInByMail reports whether people may sign in by a mailed link or code.
func (a *Accounts) SignsInByMail() bool { return a.mail != nil && a.o.EmailLink }

// MailSignIn mails a link and a code to sign in with, if there is such an account. The answer and its time are the same if there is none,
// and so is what becomes of codes. The code is good for this login alone. BadIdentifier, TooMany, MailDown: as of Forgot.
func (a *Accounts) MailSignIn(ctx context.Context, p session.Pending, identifier, address string) error {
	key, err := emailKey(strings.TrimSpace(identifier))
	if err != nil {
		return err
	}
	state := p.State()
	return a.mailing(key, address, func() error {
		code, err := newCode()
		if err != nil {
			return err
		}
		// The code is there before anybody may try it, of an account or of none: another mail of this login has another.
		if err := a.db.putCode(ctx, state, detail{Key: key, Code: codeHash(state, code)}); err != nil {
			return err
		}
		err = a.post(ctx, func(ctx context.Context, line *mail.Line) error {
			account, err := a.db.byKey(ctx, LoginEmail, key)
			if err != nil || account == nil || !account.Disabled.IsZero() {
				return err
			}
			to, err := mailbox(account.Email)
			if err != nil {
				return err
			}
			of := detail{Epoch: account.epoch, Key: key, State: state}
			return a.sendLink(ctx, line, forSignIn, account.ID, of, to, func(token string) letter {
				return letter{
					Subject: "Sign in at " + a.base.Host,
					Text:    "Somebody, probably you, wants to sign in at " + a.base.Host + ". In the browser where you began, enter this code:",
					Code:    code, Link: a.linkTo(LinkPath, token), Button: "Or sign in with this link",
					Rest: "Both work within 10 minutes, and one of them once. If it was not you, tell nobody the code: there is nothing else to do.",
				}
			})
		})
		if err != nil {
			_ = a.db.dropLink(context.WithoutCancel(ctx), codeName(state))
		}
		return err
	})
}

func newCode() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%06d", n), nil
}

// codeName is what the code of a login is found by. Without the login's state neither it nor the code can be guessed from the database.
func codeName(state string) string { return "code " + state }

func codeHash(state, code string) string {
	sum := seal.HashText("sign-in code", state, code)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// putCode keeps the code of a login, in the place of an older one.
func (d *database) putCode(ctx context.Context, state string, of detail) error {
	text, err := json.Marshal(of)
	if err != nil {
		return err
	}
	hash, now := linkHash(codeName(state)), time.Now()
	return d.within(ctx, "add code", func(ctx context.Context, tx *transaction) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_link WHERE expires <= ?", now.UnixMilli()); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO account_link (hash, purpose, account, detail, expires) VALUES (?, ?, '', ?, ?) "+
			"ON CONFLICT (hash) DO UPDATE SET detail = excluded.detail, expires = excluded.expires",
			hash, string(forCode), string(text), now.Add(LinkLife).UnixMilli())
		return err
	})
}

// SignInByCode returns the account whose code was mailed for a login. WrongMailCode: it is another; LinkOver: there is none any more, it was
// tried too often, or took too long; TooMany: too many of this address were wrong, in whatever login: wait, or follow the link. All are the
// same where there never was an account.
func (a *Accounts) SignInByCode(ctx context.Context, p session.Pending, code string) (*Account, error) {
	const op = "sign in by code"
	state := p.State()
	l, err := a.db.findLink(ctx, forCode, codeName(state))
	if err != nil {
		return nil, err
	}
	if l.Tries >= CodeTries {
		return nil, session.Fail(session.LinkOver, op, "it was tried too often")
	}
	// Five tries are for one mail, and who guesses asks for another.
	taken, err := a.throttle.Code("mailed to " + l.Key)
	if err != nil {
		return nil, err
	}
	account, err := a.tryCode(ctx, l, state, code)
	switch session.CodeOf(err) {
	case "":
		taken.Right()
	case session.WrongMailCode, session.LinkOver:
	case session.Conflict:
		taken.TakeBack()
		err = &session.Error{Code: session.WrongMailCode, Op: op, Err: err}
	default:
		taken.TakeBack()
	}
	return account, err
}

// tryCode is SignInByCode for a try that was counted. Conflict: another was tried at the same instant, and this one was not looked at.
func (a *Accounts) tryCode(ctx context.Context, l *link, state, code string) (*Account, error) {
	const op = "sign in by code"
	// The code counts its tries before it is looked at, so that a hundred at once are a hundred.
	before, err1 := json.Marshal(l.detail)
	l.Tries++
	after, err2 := json.Marshal(l.detail)
	if err1 != nil || err2 != nil {
		panic("accounts: a link that cannot be written") // texts and numbers
	}
	rows, err := a.db.change(ctx, op, "UPDATE account_link SET detail = ? WHERE hash = ? AND detail = ?", string(after), l.hash, string(before))
	if err != nil {
		return nil, err
	}
	if rows == 0 {
		return nil, session.Fail(session.Conflict, op, "another was tried at the same instant")
	}
	code = strings.Join(strings.Fields(code), "") // as people read it out
	account, err := a.db.byKey(ctx, LoginEmail, l.Key)
	if err != nil {
		return nil, err
	}
	same := subtle.ConstantTimeCompare([]byte(codeHash(state, code)), []byte(l.Code)) == 1
	if !same || account == nil || !account.Disabled.IsZero() {
		if l.Tries >= CodeTries {
			return nil, session.Fail(session.LinkOver, op, "it was tried too often")
		}
		return nil, session.Fail(session.WrongMailCode, op, "the code is another")
	}
	return account, a.signedInByMail(ctx, l, account)
}

// MailedSignIn is what a link signs in to.
type MailedSignIn struct {
	Account *Account
	State   string // of the login that led to it

	l *link
}

// FindMailedSignIn looks at a link to sign in with, and spends nothing. LinkOver: there is none.
func (a *Accounts) FindMailedSignIn(ctx context.Context, token string) (*MailedSignIn, error) {
	l, err := a.db.findLink(ctx, forSignIn, token)
	if err != nil {
		return nil, err
	}
	account, err := a.db.byID(ctx, l.account)
	if err != nil {
		return nil, err
	}
	if account == nil || !account.Disabled.IsZero() || account.epoch != l.Epoch {
		return nil, session.Fail(session.LinkOver, "find link", "the account is gone or disabled, or its credentials changed since")
	}
	return &MailedSignIn{account, l.State, l}, nil
}

// SignInByLink uses a link up. LinkOver: somebody was first.
func (a *Accounts) SignInByLink(ctx context.Context, m *MailedSignIn) (*Account, error) {
	return m.Account, a.signedInByMail(ctx, m.l, m.Account)
}

// signedInByMail spends a link or a code, and every other one to sign in with of the account, and of the login. The address is verified
// where there is no other way in: whoever chose the password may have registered with the address of another, and would go on as its owner.
func (a *Accounts) signedInByMail(ctx context.Context, l *link, account *Account) error {
	now, verified := time.Now().UTC().Truncate(time.Millisecond), false
	err := a.db.within(ctx, "sign in by mail", func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, account.ID); err != nil {
			return err
		}
		if err := l.spend(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_link WHERE account = ? AND purpose = ? OR hash = ?",
			account.ID, string(forSignIn), linkHash(codeName(l.State))); err != nil {
			return err
		}
		rows, err := affected(tx.ExecContext(ctx, "UPDATE account SET email_verified = ? WHERE id = ? AND email_key = ? AND email_verified = 0 "+
			"AND password = '' AND NOT EXISTS (SELECT 1 FROM account_passkey WHERE account = account.id)", millis(now), account.ID, l.Key))
		verified = rows > 0
		return err
	})
	if err == nil && verified {
		account.EmailVerified = now
	}
	return err
}
