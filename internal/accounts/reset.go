package accounts

import (
	"context"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/session"
)

// ResetPath is the page that a link to set a new password leads to, behind the endpoints' prefix.
const ResetPath = "reset-password"

// Forgot mails a link to set a new password with, if there is such an account. The answer and its time are the same if there is none.
// address is the client's. BadIdentifier: nobody can be called so; TooMany: too many mails were asked for; MailDown: none can be sent now.
func (a *Accounts) Forgot(ctx context.Context, identifier, address string) error {
	key, err := emailKey(strings.TrimSpace(identifier))
	if err != nil {
		return err
	}
	return a.mailing(key, address, func() error {
		return a.post(ctx, func(ctx context.Context, line *mail.Line) error {
			account, err := a.db.byKey(ctx, LoginEmail, key)
			if err != nil || account == nil || !account.Disabled.IsZero() {
				return err
			}
			to, err := mailbox(account.Email)
			if err != nil {
				return err
			}
			return a.sendLink(ctx, line, forReset, account.ID, detail{Epoch: account.epoch, Key: key}, to, func(token string) letter {
				return letter{
					Subject: "Set a new password at " + a.base.Host,
					Text:    "Somebody, probably you, asked to set a new password for your account at " + a.base.Host + ". This works once, within 10 minutes:",
					Link:    a.linkFor(a.o.ResetPage, ResetPath, token), Button: "Set a new password",
					Rest: "If it was not you, there is nothing to do: your password stays as it is.",
				}
			})
		})
	})
}

// mailing counts a mail that somebody asks for. One that could not be sent does not count.
func (a *Accounts) mailing(key, address string, send func() error) error {
	takeBack, err := a.throttle.Mail(key, address)
	if err != nil {
		return err
	}
	err = send()
	if session.CodeOf(err) == session.MailDown {
		takeBack()
	}
	return err
}

// resettable finds the link and its account.
func (a *Accounts) resettable(ctx context.Context, token string) (*link, *Account, error) {
	l, err := a.db.findLink(ctx, forReset, token)
	if err != nil {
		return nil, nil, err
	}
	account, err := a.db.byID(ctx, l.account)
	if err != nil {
		return nil, nil, err
	}
	if account == nil || !account.Disabled.IsZero() || account.epoch != l.Epoch {
		return nil, nil, session.Fail(session.LinkOver, "find link", "the account is gone or disabled, or its credentials changed since")
	}
	return l, account, nil
}

// Resettable returns the account that a link sets a new password for, and spends nothing. LinkOver: none.
func (a *Accounts) Resettable(ctx context.Context, token string) (*Account, error) {
	_, account, err := a.resettable(ctx, token)
	return account, err
}

// ResetPassword sets a new password by a link, which is used up, with every other link of the account. A new epoch begins: the
// caller ends the sessions. Whoever read the mail has the address, so it is verified. Where nobody had shown that before, authenticator,
// recovery codes and passkeys go with the old password: a stranger may have registered, and set them up to keep the owner out. Where somebody
// had, or an operator made the account, they stay: reading a mail is one factor. alone says that they went. LinkOver: as of Resettable;
// PasswordShort and so on leave the link as it is.
func (a *Accounts) ResetPassword(ctx context.Context, token, password string) (account *Account, alone bool, err error) {
	l, account, err := a.resettable(ctx, token)
	if err != nil {
		return nil, false, err
	}
	if err := fit(password, l.Key); err != nil {
		return nil, false, err
	}
	hash, err := a.hasher.Hash(ctx, password)
	if err != nil {
		return nil, false, err
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	err = a.db.within(ctx, "reset password", func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, account.ID); err != nil {
			return err
		}
		if err := l.spend(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_link WHERE account = ?", account.ID); err != nil {
			return err
		}
		var strangers int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM account WHERE id = ? AND email_verified = 0 AND (imported IS NULL OR imported <> ?)",
			account.ID, byOperator).Scan(&strangers); err != nil {
			return err
		}
		if alone = strangers > 0; alone {
			if err := tx.dropFactors(ctx, account.ID); err != nil {
				return err
			}
		}
		return hit(tx.ExecContext(ctx, "UPDATE account SET password = ?, epoch = epoch + 1, "+
			"email_verified = CASE WHEN email_verified = 0 AND email_key = ? THEN ? ELSE email_verified END WHERE id = ? AND epoch = ? AND disabled = 0",
			hash, l.Key, millis(now), account.ID, l.Epoch))
	})
	if err != nil {
		return nil, false, err
	}
	account.epoch, account.password = account.epoch+1, hash
	if account.EmailVerified.IsZero() {
		account.EmailVerified = now
	}
	return account, alone, nil
}
