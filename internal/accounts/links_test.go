package accounts

import (
	"context"
	"strings"
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
		_, _, err = a.ResetPassword(ctx, token, "quite another phrase")
		wantCode(t, err, session.LinkOver)
		wantCode(t, a.db.within(ctx, "spend", func(ctx context.Context, tx *transaction) error { return l.spend(ctx, tx) }), session.LinkOver)
	})
}

// Somebody registered with the address of another, which no mail proved, made a passkey and set up an authenticator. A mail that the other one reads verifies nothing
// that they can go on to use: a link to sign in verifies no account that has other ways in, and one for a new password takes them away.
func TestLink_U9_AddressOfAnother(t *testing.T) {
	ctx := context.Background()
	a := open(t, func(o *Options) { o.Passkeys = anyPasskey{} })
	key, _ := emailKey(ada)
	spend := func() error { return nil }
	factors := func(account *Account) {
		t.Helper()
		offer := a.Offer(account, "session")
		secret, err := base32Text.DecodeString(strings.ReplaceAll(offer.Secret, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Accept(ctx, account, "session", offer.Sealed, codeAt(secret, time.Now().Unix()/30)); err != nil {
			t.Fatal(err)
		}
		c, err := a.NewPasskey(ctx, account, "session")
		if err != nil {
			t.Fatal(err)
		}
		if err := a.AddPasskey(ctx, account, "session", "", c.Sealed, "response", spend); err != nil {
			t.Fatal(err)
		}
	}
	signIn := func(account *Account) *Account {
		t.Helper()
		m, err := a.FindMailedSignIn(ctx, a.link(t, forSignIn, account, detail{Key: key}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.SignInByLink(ctx, m); err != nil {
			t.Fatal(err)
		}
		if account, err = a.Of(ctx, account.ID); err != nil {
			t.Fatal(err)
		}
		return account
	}
	type left struct {
		keys, recovery int
		authenticator  bool
	}
	reset := func(account *Account) left {
		t.Helper()
		hadShown := !account.EmailVerified.IsZero()
		account, first, err := a.ResetPassword(ctx, a.link(t, forReset, account, detail{Key: key}), "quite another phrase")
		if err != nil || first == hadShown || account.EmailVerified.IsZero() {
			t.Fatal(first, err)
		}
		if account, err = a.Of(ctx, account.ID); err != nil || account.EmailVerified.IsZero() {
			t.Errorf("not verified by a new password: %v", err)
		}
		keys, err := a.Passkeys(ctx, account)
		if err != nil {
			t.Fatal(err)
		}
		f, err := a.Factors(ctx, account)
		if err != nil {
			t.Fatal(err)
		}
		return left{len(keys), f.Recovery, !f.Authenticator.IsZero()}
	}
	account := a.mustRegister(t, ada)
	if !signIn(account).EmailVerified.IsZero() {
		t.Error("verified, and whoever registered has the password")
	}
	factors(account)
	if got := reset(account); got != (left{}) {
		t.Errorf("after a new password there are %+v", got)
	}
	// From now on all that there is is of whoever has the address.
	if account, _ = a.Of(ctx, account.ID); account != nil {
		factors(account)
		if got := reset(account); got != (left{1, 10, true}) {
			t.Errorf("after another new password there are %+v", got)
		}
	}
	// Who has no other way in than the address has it.
	if _, err := a.db.change(ctx, "import", "UPDATE account SET password = '', email_verified = 0 WHERE id = ?", account.ID); err != nil {
		t.Fatal(err)
	}
	account, _ = a.Of(ctx, account.ID)
	if !signIn(account).EmailVerified.IsZero() {
		t.Error("verified, and there is a passkey")
	}
	if _, err := a.db.change(ctx, "import", "DELETE FROM account_passkey WHERE account = ?", account.ID); err != nil {
		t.Fatal(err)
	}
	if signIn(account).EmailVerified.IsZero() {
		t.Error("not verified, and the mail is the only way in")
	}
}

// Where an operator made the account, no stranger can have registered with the address: a second step was set up by whom it was made for, and a
// mail alone takes nobody past it.
func TestLink_U8_U9_AnOperatorMadeTheAccount(t *testing.T) {
	ctx := context.Background()
	a := open(t, nil)
	who := Registration{Identifier: ada, Password: password}
	for name, v := range map[string]struct {
		identifier string
		make       func(who Registration) error
		keeps      bool
	}{
		"by the command": {"cat@example.com", func(who Registration) error { _, err := a.Add(ctx, who); return err }, true},
		"registered":     {"bob@example.com", func(who Registration) error { _, err := a.Register(ctx, who, home); return err }, false},
		"imported": {"ann@example.com", func(who Registration) error {
			_, err := a.Import(ctx, strings.NewReader(`{"email":"ann@example.com"}`), ImportOptions{})
			return err
		}, false},
	} {
		who.Identifier = v.identifier
		if err := v.make(who); err != nil {
			t.Fatal(name, err)
		}
		account, err := a.Find(ctx, v.identifier)
		if err != nil {
			t.Fatal(name, err)
		}
		offer := a.Offer(account, "session")
		secret, err := base32Text.DecodeString(strings.ReplaceAll(offer.Secret, " ", ""))
		if err != nil {
			t.Fatal(name, err)
		}
		if _, err := a.Accept(ctx, account, "session", offer.Sealed, codeAt(secret, time.Now().Unix()/30)); err != nil {
			t.Fatal(name, err)
		}
		key, _ := emailKey(v.identifier)
		account, alone, err := a.ResetPassword(ctx, a.link(t, forReset, account, detail{Key: key}), "quite another phrase")
		if err != nil || alone == v.keeps || account.EmailVerified.IsZero() {
			t.Errorf("%s: took the rest away: %v, %v", name, alone, err)
		}
		f, err := a.Factors(ctx, account)
		if err != nil || f.Authenticator.IsZero() == v.keeps || f.Recovery > 0 != v.keeps {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
	// What was imported again is known by its source, and nobody else is.
	done, err := a.Import(ctx, strings.NewReader(`{"email":"cat@example.com"}`+"\n"+`{"email":"ann@example.com"}`), ImportOptions{})
	if err != nil || done.Refused != 1 || done.Added != 0 {
		t.Errorf("%+v, %v", done, err)
	}
}
