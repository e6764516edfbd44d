package accounts

import (
	"context"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	recoveryCodes = 10
	recoverySize  = 15 // bytes: more than 112 bits, so that a plain hash is enough
)

// RenewRecovery replaces the recovery codes that are left. Conflict: the account was changed at the same time.
func (a *Accounts) RenewRecovery(ctx context.Context, account *Account) (codes []string, err error) {
	const op = "renew recovery codes"
	err = a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.holdAsIs(ctx, account, op); err != nil {
			return err
		}
		codes, err = replaceRecovery(ctx, tx, account)
		return err
	})
	return codes, err
}

func replaceRecovery(ctx context.Context, tx *transaction, account *Account) ([]string, error) {
	if _, err := tx.ExecContext(ctx, "DELETE FROM account_recovery WHERE account = ?", account.ID); err != nil {
		return nil, err
	}
	codes := make([]string, recoveryCodes)
	for i := range codes {
		text := strings.ToLower(base32Text.EncodeToString(seal.Random(recoverySize)))
		codes[i] = text[:6] + "-" + text[6:12] + "-" + text[12:18] + "-" + text[18:]
		if _, err := tx.ExecContext(ctx, "INSERT INTO account_recovery (account, hash) VALUES (?, ?)", account.ID, hashRecovery(account.ID, codes[i])); err != nil {
			return nil, err
		}
	}
	return codes, nil
}

func hashRecovery(id, code string) []byte {
	sum := seal.HashText("recovery code", id, strip(code))
	return sum[:]
}

// strip takes out what people put between the characters of a code.
func strip(code string) string {
	return strings.ToLower(strings.NewReplacer(" ", "", "-", "", "\u00a0", "", "\t", "").Replace(code))
}

func (a *Accounts) spendRecovery(ctx context.Context, account *Account, code, address string) error {
	const op = "check recovery code"
	tried, pause, err := a.throttle.Attempt("recovery "+account.ID, address)
	if err != nil {
		return err
	}
	if err := sleep(ctx, pause); err != nil {
		return err
	}
	rows, err := a.db.change(ctx, op, "DELETE FROM account_recovery WHERE account = ? AND hash = ?", account.ID, hashRecovery(account.ID, code))
	if err != nil {
		tried.TakeBack()
		return err
	}
	if rows == 0 {
		return session.Fail(session.WrongCode, op, "it is none, or was used before")
	}
	tried.Right()
	return nil
}
