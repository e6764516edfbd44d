package accounts

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// Every mailed link, and the code beside one, works for ten minutes and not a second longer, whatever it is for.
func TestLink_U9_TenMinutes(t *testing.T) {
	const state = "of a login"
	if LinkLife != 10*time.Minute {
		t.Errorf("a link lives %s", LinkLife)
	}
	for name, try := range map[string]func(ctx context.Context, a *Accounts, account *Account, token string) error{
		string(forReset): func(ctx context.Context, a *Accounts, _ *Account, token string) error {
			_, err := a.Resettable(ctx, token)
			return err
		},
		string(forRegistration): func(ctx context.Context, a *Accounts, _ *Account, token string) error {
			_, err := a.ConfirmableEmail(ctx, token)
			return err
		},
		string(forAddress): func(ctx context.Context, a *Accounts, _ *Account, token string) error {
			_, err := a.ConfirmableEmail(ctx, token)
			return err
		},
		string(forSignIn): func(ctx context.Context, a *Accounts, _ *Account, token string) error {
			_, err := a.FindMailedSignIn(ctx, token)
			return err
		},
		string(forCode): func(ctx context.Context, a *Accounts, _ *Account, _ string) error {
			_, err := a.db.findLink(ctx, forCode, codeName(state))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, nil)
			account := a.mustRegister(t, ada)
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				of := detail{Epoch: account.epoch, Key: ada, Email: ada, State: state}
				token, err := a.db.addLink(ctx, purpose(name), account.ID, of)
				if err == nil && purpose(name) == forCode {
					err = a.db.putCode(ctx, state, of)
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(LinkLife - time.Second)
				if err := try(ctx, a, account, token); err != nil {
					t.Errorf("a second before: %v", err)
				}
				time.Sleep(time.Second)
				wantCode(t, try(ctx, a, account, token), session.LinkOver)
			})
		})
	}
}

// A page that was opened in time is of no use after it: what the form sends is looked at again.
func TestLink_U9_FormSentTooLate(t *testing.T) {
	a := open(t, nil)
	account := a.mustRegister(t, ada)
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		token, err := a.db.addLink(ctx, forReset, account.ID, detail{Epoch: account.epoch, Key: ada})
		if err != nil {
			t.Fatal(err)
		}
		l, _, err := a.resettable(ctx, token)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(LinkLife)
		_, err = a.ResetPassword(ctx, token, "quite another phrase")
		wantCode(t, err, session.LinkOver)
		wantCode(t, a.db.within(ctx, "spend", func(ctx context.Context, tx *transaction) error { return l.spend(ctx, tx) }), session.LinkOver)
	})
}
