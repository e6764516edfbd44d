package accounts

import (
	"context"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/session"
)

// VerifyPath is the page that a link to verify an address leads to, behind the endpoints' prefix.
const VerifyPath = "verify-email"

// Verifies reports whether an account is made only once its address is verified, by RegisterByMail.
func (a *Accounts) Verifies() bool { return a.mail != nil && !a.o.VerifyEmailOff }

// RegisterByMail mails a link that makes an account. Whoever has one of that address is told of that, by mail: no answer, and no time,
// tells whether there is one. state names the login that led here, "" for none. The rest is as of Register; MailDown: no mail can be
// sent now, and nothing is kept.
func (a *Accounts) RegisterByMail(ctx context.Context, r Registration, state, address string) error {
	if a.o.RegisterOff {
		return session.Fail(session.NotFound, "register", "registering is off")
	}
	if err := a.throttle.Register(address); err != nil {
		return err
	}
	r.Hash = ""
	_, hash, err := a.prepare(ctx, &r)
	if err != nil {
		return err
	}
	return a.mailAccount(ctx, detail{Email: r.Identifier, Name: r.Name, Password: hash, State: state}, address)
}

// haveOne tells somebody that there is an account of their address.
func (a *Accounts) haveOne(what string) letter {
	return letter{
		Subject: "You have an account at " + a.base.Host,
		Text: "Somebody, probably you, tried to " + what + " with this address at " + a.base.Host + ". It has an account already: sign in with it. " +
			"If you forgot the password, the page to sign in on leads to a new one.",
		Link: a.at("login", nil).String(), Button: "Sign in",
		Rest: "If it was not you, there is nothing to do.",
	}
}

// CheckEmail is BadIdentifier for what cannot be an address here.
func CheckEmail(email string) error {
	email = strings.TrimSpace(email)
	if _, err := emailKey(email); err != nil {
		return err
	}
	_, err := mailbox(email)
	return err
}

// AskEmail mails a link that gives an account another address, to that address: Confirm comes first. Of the account's own address the link
// verifies it, and nothing has to come first. BadIdentifier: as of CheckEmail; the rest is as of RegisterByMail.
func (a *Accounts) AskEmail(ctx context.Context, account *Account, email, address string) error {
	email = strings.TrimSpace(email)
	key, err := emailKey(email)
	if err != nil {
		return err
	}
	to, err := mailbox(email)
	if err != nil {
		return err
	}
	return a.mailing(key, address, func() error {
		return a.post(ctx, func(ctx context.Context, line *mail.Line) error {
			other, err := a.db.byKey(ctx, LoginEmail, key)
			if err != nil {
				return err
			}
			if other != nil && other.ID != account.ID {
				return line.Send(a.seal(a.haveOne("give an account this address, or to register"), to))
			}
			of := detail{Epoch: account.epoch, Key: key, Email: email, Same: other != nil}
			subject, text := "Confirm your new address at ", "wants to sign in at "+a.base.Host+" with this address from now on"
			if of.Same {
				subject, text = "Confirm your address at ", "signs in at "+a.base.Host+" with this address"
			}
			return a.sendLink(ctx, line, forAddress, account.ID, of, to, func(token string) letter {
				return letter{
					Subject: subject + a.base.Host,
					Text:    "Somebody, probably you, " + text + ". This works once, within 10 minutes:",
					Link:    a.linkFor(a.o.VerifyPage, VerifyPath, token), Button: "Confirm the address",
					Rest: "If it was not you, there is nothing to do: without this nothing changes.",
				}
			})
		})
	})
}

// Confirmation is what a link is about to confirm.
type Confirmation struct {
	Email     string
	Account   string // whose address it becomes; "" for an account that is made by it
	Same      bool   // it is the account's address already: nothing changes but that it is verified
	State     string // of the login that led to it, "" for none
	ByPasskey bool   // the account is made of a passkey, and has no password: ProveByPasskey is in the place of Prove

	l *link
}

// ConfirmableEmail looks at a link that verifies an address, and spends nothing. LinkOver: there is none.
func (a *Accounts) ConfirmableEmail(ctx context.Context, token string) (*Confirmation, error) {
	l, err := a.db.findLink(ctx, forRegistration, token)
	if session.CodeOf(err) == session.LinkOver {
		l, err = a.db.findLink(ctx, forAddress, token)
	}
	if err != nil {
		return nil, err
	}
	return &Confirmation{Email: l.Email, Account: l.account, Same: l.Same, State: l.State, ByPasskey: l.Passkey != nil, l: l}, nil
}

// Prove says whether a password is the one of whoever asked for the link: reading the mail proves that somebody has the address, not that
// they asked. A stranger who registers with the address of another must not get an account by that person's click, nor somebody whose
// address was mistyped the account of whoever mistyped it. WrongPassword: it is another; TooMany: as of SignIn.
func (a *Accounts) Prove(ctx context.Context, c *Confirmation, password, address string) error {
	if c.Account != "" {
		_, err := a.prove(ctx, "confirm address", c.Account, password, address)
		return err
	}
	attempt, pause, err := a.throttle.Attempt(c.l.hash, address)
	if err != nil {
		return err
	}
	find := func() (*Account, error) { return &Account{password: c.l.Password}, nil }
	if _, err = a.verify(ctx, find, password, pause); session.CodeOf(err) == session.WrongCredentials {
		return &session.Error{Code: session.WrongPassword, Op: "verify password", Err: err}
	} else if err != nil {
		attempt.TakeBack()
		return err
	}
	attempt.Right()
	return nil
}

// ConfirmEmail does what a link is for, once, on the word of the caller that whoever opened it asked for it. IdentifierTaken: somebody else has
// an account of the address since; LinkOver: the link was used, or the account's credentials changed. A changed address begins a new epoch:
// the caller ends the sessions, unless it is the same.
func (a *Accounts) ConfirmEmail(ctx context.Context, c *Confirmation) (*Account, error) {
	if c.Account != "" {
		return a.moveTo(ctx, c.l)
	}
	account := newAccount(LoginEmail, c.l.Email, c.l.Name, c.l.Password)
	account.EmailVerified = account.Created
	if c.ByPasskey {
		account.ID = c.l.Passkey.Account
	}
	err := a.db.within(ctx, opAdd, func(ctx context.Context, tx *transaction) error {
		if err := c.l.spend(ctx, tx); err != nil {
			return err
		}
		err := account.insert(ctx, tx, LoginEmail, c.l.Key)
		if err == nil && c.ByPasskey {
			made := newPasskey{c.l.Passkey.ID, c.l.Passkey.Credential, c.l.Passkey.Name}
			err = made.insert(ctx, tx, opAdd, account)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return account, nil
}

// moveTo gives an account another address, and tells the old one.
func (a *Accounts) moveTo(ctx context.Context, l *link) (*Account, error) {
	const op = "change address"
	account, err := a.db.byID(ctx, l.account)
	if err != nil {
		return nil, err
	}
	if account == nil || !account.Disabled.IsZero() || account.epoch != l.Epoch {
		return nil, session.Fail(session.LinkOver, op, "the account is gone or disabled, or its credentials changed since")
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	err = a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, l.account); err != nil {
			return err
		}
		if err := l.spend(ctx, tx); err != nil {
			return err
		}
		var others int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM account WHERE email_key = ? AND id <> ?", l.Key, l.account).Scan(&others); err != nil {
			return err
		}
		if others > 0 {
			return session.Fail(session.IdentifierTaken, op, "another account has the address since")
		}
		if l.Same {
			return hit(tx.ExecContext(ctx, "UPDATE account SET email_verified = ? WHERE id = ? AND epoch = ? AND email_key = ? AND disabled = 0",
				millis(now), l.account, l.Epoch, l.Key))
		}
		err := hit(tx.ExecContext(ctx, "UPDATE account SET email = ?, email_key = ?, email_verified = ?, epoch = epoch + 1 WHERE id = ? AND epoch = ? AND disabled = 0",
			l.Email, l.Key, millis(now), l.account, l.Epoch))
		if doubled(err) {
			return session.Fail(session.IdentifierTaken, op, "another account got the address at the same time")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if l.Same {
		account.EmailVerified = now
		return account, nil
	}
	old := account.Email
	account.Email, account.EmailVerified, account.epoch = l.Email, now, account.epoch+1
	if to, err := mailbox(old); err == nil {
		_ = a.post(ctx, func(_ context.Context, line *mail.Line) error { // what is done is done, told or not
			return line.Send(a.seal(letter{
				Subject: "Your address at " + a.base.Host + " was changed",
				Text:    "Your account at " + a.base.Host + " has another e-mail address now: this one is not used any more.",
				Rest:    "If it was not you, tell the people who run it at once.",
			}, to))
		})
	}
	return account, nil
}
