package accounts

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"maps"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// followEvery is how often the database is asked whose sessions to end. Another process may have disabled somebody: the command line,
// or another replica.
const followEvery = time.Second

// Follow ends the sessions of people whose accounts were disabled or given another password by an operator, and reads the signing keys
// again now and then, until ctx ends. end ends all of a person's; it may be called for somebody twice.
func (a *Accounts) Follow(ctx context.Context, end func(ctx context.Context, subject string) error) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	reload, failing := time.Now().Add(keyReload), false
	for {
		var err error
		if now := time.Now(); !now.Before(reload) {
			reload = now.Add(keyReload)
			err = a.keys.Reload(ctx)
		}
		err = errors.Join(err, a.EndClosed(ctx, end))
		if err != nil && !failing && ctx.Err() == nil {
			a.log.Warn("accounts cannot be followed", telemetry.AttrError, err.Error(), telemetry.AttrHint, session.HintOf(err))
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// endingStays is how long somebody is named whose sessions are to be ended: so long every gateway that shares the accounts sees the name.
const endingStays = time.Minute

// EndClosed is one look of Follow, which may be under way: when it returns nil, the sessions of everybody who was closed or reset before have
// ended. end is that of Follow.
func (a *Accounts) EndClosed(ctx context.Context, end func(ctx context.Context, subject string) error) error {
	a.ending.Lock()
	defer a.ending.Unlock()
	return a.endAll(ctx, end)
}

// endAll ends the sessions of everybody who is named in the table, unless this process has, and takes out the names that are old.
func (a *Accounts) endAll(ctx context.Context, end func(ctx context.Context, subject string) error) error {
	type ending struct {
		account string
		since   int64
	}
	var all []ending
	const op = "look for sessions to end"
	within, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	rows, err := a.db.QueryContext(within, "SELECT account, since FROM account_ending")
	if err != nil {
		return fail(op, err)
	}
	defer rows.Close()
	for rows.Next() {
		var e ending
		if err := rows.Scan(&e.account, &e.since); err != nil {
			return fail(op, err)
		}
		all = append(all, e)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return fail(op, err)
	}
	named := map[string]int64{}
	for _, e := range all {
		named[e.account] = e.since
	}
	maps.DeleteFunc(a.ended, func(account string, since int64) bool { return named[account] != since })
	for _, e := range all {
		if a.ended[e.account] != e.since {
			if err := end(ctx, e.account); err != nil {
				return err
			}
			a.ended[e.account] = e.since
		}
		if time.Since(time.Unix(0, e.since)) < endingStays {
			continue
		}
		if _, err := a.db.change(ctx, op, "DELETE FROM account_ending WHERE account = ? AND since = ?", e.account, e.since); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the account of an identifier. None: there is none.
func (a *Accounts) Find(ctx context.Context, identifier string) (*Account, error) {
	key, err := keyOf(a.o.Login, strings.TrimSpace(identifier))
	if err != nil {
		return nil, err
	}
	account, err := a.db.byKey(ctx, a.o.Login, key)
	if err == nil && account == nil {
		err = session.Fail(session.None, "find account", "there is no account %q", identifier)
	}
	return account, err
}

// Of returns the account of a subject. None: there is none any more.
func (a *Accounts) Of(ctx context.Context, id string) (*Account, error) {
	account, err := a.db.byID(ctx, id)
	if err == nil && account == nil {
		err = session.Fail(session.None, "find account", "there is no such account")
	}
	return account, err
}

// All goes over the accounts, the oldest first. An error is the last it yields.
func (a *Accounts) All(ctx context.Context) iter.Seq2[*Account, error] { return a.db.all(ctx) }

// Disable keeps somebody out, and has all of their sessions ended. Enable lets them in again. None: there is no such account.
func (a *Accounts) Disable(ctx context.Context, id string) error {
	return a.close(ctx, "disable account", id, func(ctx context.Context, tx *transaction) (sql.Result, error) {
		return tx.ExecContext(ctx, "UPDATE account SET disabled = ?, epoch = epoch + 1 WHERE id = ?", time.Now().UnixMilli(), id)
	})
}

// Enable undoes Disable. Sessions that were ended stay so.
func (a *Accounts) Enable(ctx context.Context, id string) error {
	return a.found(a.db.change(ctx, "enable account", "UPDATE account SET disabled = 0 WHERE id = ?", id))
}

// Reset gives an account another password, for an operator who was asked to, and has all of its sessions ended.
func (a *Accounts) Reset(ctx context.Context, account *Account, password string) error {
	key, _ := keyOf(a.o.Login, account.Identifier(a.o.Login))
	if err := fit(password, key); err != nil {
		return err
	}
	hash, err := a.hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	return a.close(ctx, "reset password", account.ID, func(ctx context.Context, tx *transaction) (sql.Result, error) {
		return tx.ExecContext(ctx, "UPDATE account SET password = ?, epoch = epoch + 1 WHERE id = ?", hash, account.ID)
	})
}

// ResetFactors takes away what an account has beside its password: authenticator, recovery codes and passkeys, for an operator who was
// asked to by somebody who lost them. It has all of its sessions ended. None: there is no such account.
func (a *Accounts) ResetFactors(ctx context.Context, id string) error {
	return a.close(ctx, "reset factors", id, func(ctx context.Context, tx *transaction) (sql.Result, error) {
		if err := tx.dropFactors(ctx, id); err != nil {
			return nil, err
		}
		return tx.ExecContext(ctx, "UPDATE account SET epoch = epoch + 1 WHERE id = ?", id)
	})
}

// dropFactors takes away what an account that is held has beside its password.
func (tx *transaction) dropFactors(ctx context.Context, id string) error {
	for _, table := range []string{"account_totp", "account_recovery", "account_passkey"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE account = ?", id); err != nil {
			return err
		}
	}
	return nil
}

// SignOut begins a new epoch: whatever the person is signed in with is over at its next renewal.
func (a *Accounts) SignOut(ctx context.Context, id string) error {
	return a.found(a.db.change(ctx, "sign out everywhere", "UPDATE account SET epoch = epoch + 1 WHERE id = ?", id))
}

// close changes an account and names it for endAll, both or neither.
func (a *Accounts) close(ctx context.Context, op, id string, change func(ctx context.Context, tx *transaction) (sql.Result, error)) error {
	return a.db.within(ctx, op, func(ctx context.Context, tx *transaction) error {
		if err := tx.hold(ctx, id); err != nil {
			return err
		}
		result, err := change(ctx, tx)
		if err != nil {
			return err
		}
		rows, err := result.RowsAffected()
		if err := a.found(rows, err); err != nil {
			return err
		}
		// Who is named already is named anew, so that nobody takes out what they did not see.
		if _, err := tx.ExecContext(ctx, "DELETE FROM account_ending WHERE account = ?", id); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO account_ending (account, since) VALUES (?, ?)", id, time.Now().UnixNano())
		return err
	})
}

func (a *Accounts) found(rows int64, err error) error {
	if err == nil && rows == 0 {
		return session.Fail(session.None, "find account", "there is no such account")
	}
	return err
}
