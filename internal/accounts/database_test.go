package accounts

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestDatabase_ANewerSchemaIsRefused(t *testing.T) {
	overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
		a := replica(nil)
		if _, err := a.db.db.Exec("INSERT INTO account_schema VALUES (1000, 0)"); err != nil {
			t.Fatal(err)
		}
		_, err := New(context.Background(), Options{Database: a.o.Database}, somewhere)
		wantCode(t, err, session.ProviderDown)
		if err == nil || !strings.Contains(err.Error(), "a newer Cloakroom wrote it") || session.HintOf(err) != "run that newer version" {
			t.Errorf("%v, hint %q", err, session.HintOf(err))
		}
	})
}

// link keeps one that leads to an account.
func (a *Accounts) link(t *testing.T, for_ purpose, account *Account, of detail) string {
	t.Helper()
	of.Epoch = account.epoch
	token, err := a.db.addLink(context.Background(), for_, account.ID, of)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// Of what can be done once, one of many who do it at the same instant does it, in whatever process.
func TestDatabase_OneOfManyAtOnce(t *testing.T) {
	ctx := context.Background()
	const many = 8
	key, _ := emailKey(ada)
	one := func(others session.Code) map[session.Code]int { return map[session.Code]int{"": 1, others: many - 1} }
	for _, v := range []struct {
		name string
		want map[session.Code]int
		// prepare returns what is done at once, by the accounts of one process or the other
		prepare func(t *testing.T, a *Accounts, ann *Account) func(a *Accounts, i int) error
	}{
		{"U9 one link for a new password", one(session.LinkOver), func(t *testing.T, a *Accounts, ann *Account) func(*Accounts, int) error {
			token := a.link(t, forReset, ann, detail{Key: key})
			return func(a *Accounts, i int) error {
				_, _, err := a.ResetPassword(ctx, token, fmt.Sprint("another password ", i))
				return err
			}
		}},
		{"U9 several links for a new password", one(session.LinkOver), func(t *testing.T, a *Accounts, ann *Account) func(*Accounts, int) error {
			var tokens []string
			for range many {
				tokens = append(tokens, a.link(t, forReset, ann, detail{Key: key}))
			}
			return func(a *Accounts, i int) error {
				_, _, err := a.ResetPassword(ctx, tokens[i], fmt.Sprint("another password ", i))
				return err
			}
		}},
		{"U9 links to sign in with", one(session.LinkOver), func(t *testing.T, a *Accounts, ann *Account) func(*Accounts, int) error {
			var tokens []string
			for range many {
				tokens = append(tokens, a.link(t, forSignIn, ann, detail{Key: key, State: "one login"}))
			}
			var found []*MailedSignIn
			for _, token := range tokens {
				m, err := a.FindMailedSignIn(ctx, token)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, m)
			}
			return func(a *Accounts, i int) error { _, err := a.SignInByLink(ctx, found[i]); return err }
		}},
		{"a link that makes an account", one(session.LinkOver), func(t *testing.T, a *Accounts, _ *Account) func(*Accounts, int) error {
			token := a.link(t, forRegistration, &Account{}, detail{Key: "new@example.com", Email: "new@example.com"})
			c, err := a.ConfirmableEmail(ctx, token)
			if err != nil {
				t.Fatal(err)
			}
			return func(a *Accounts, _ int) error { _, err := a.ConfirmEmail(ctx, c); return err }
		}},
		{"several links that make an account of one address", one(session.IdentifierTaken), func(t *testing.T, a *Accounts, _ *Account) func(*Accounts, int) error {
			var all []*Confirmation
			for range many {
				c, err := a.ConfirmableEmail(ctx, a.link(t, forRegistration, &Account{}, detail{Key: "new@example.com", Email: "new@example.com"}))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, c)
			}
			return func(a *Accounts, i int) error { _, err := a.ConfirmEmail(ctx, all[i]); return err }
		}},
		{"several people who get one address", one(session.IdentifierTaken), func(t *testing.T, a *Accounts, _ *Account) func(*Accounts, int) error {
			var all []*Confirmation
			for i := range many {
				person := a.mustRegister(t, fmt.Sprintf("person%d@example.com", i))
				c, err := a.ConfirmableEmail(ctx, a.link(t, forAddress, person, detail{Key: "new@example.com", Email: "new@example.com"}))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, c)
			}
			return func(a *Accounts, i int) error {
				if i == 0 { // and one registers
					_, err := a.Add(ctx, Registration{Identifier: "new@example.com", Password: password})
					return err
				}
				_, err := a.ConfirmEmail(ctx, all[i])
				return err
			}
		}},
		{"U13 a code of the authenticator", one(session.WrongCode), func(t *testing.T, a *Accounts, ann *Account) func(*Accounts, int) error {
			secret, _ := a.withAuthenticator(t, ann)
			code := codeAt(secret, time.Now().Unix()/30+1)
			return func(a *Accounts, i int) error { return a.spendCode(ctx, ann, code) }
		}},
		{"U13 a recovery code", one(session.WrongCode), func(t *testing.T, a *Accounts, ann *Account) func(*Accounts, int) error {
			_, codes := a.withAuthenticator(t, ann)
			return func(a *Accounts, i int) error { return a.CheckCode(ctx, ann, codes[0], fmt.Sprintf("192.0.2.%d", i)) }
		}},
		{"U13 an authenticator that is set up", one(session.Conflict), func(t *testing.T, a *Accounts, ann *Account) func(*Accounts, int) error {
			o := a.Offer(ann, "session")
			opened, err := a.openOffer(ann, "session", o.Sealed)
			if err != nil {
				t.Fatal(err)
			}
			code := codeAt(opened.Secret, time.Now().Unix()/30)
			return func(a *Accounts, _ int) error {
				copied := *ann
				_, err := a.Accept(ctx, &copied, "session", o.Sealed, code)
				return err
			}
		}},
		{"U8 a password that is changed", one(session.Conflict), func(_ *testing.T, _ *Accounts, ann *Account) func(*Accounts, int) error {
			return func(a *Accounts, _ int) error {
				copied := *ann
				return a.db.setPassword(ctx, &copied, "a hash")
			}
		}},
		{"somebody imported who registers", one(session.IdentifierTaken), func(*testing.T, *Accounts, *Account) func(*Accounts, int) error {
			return func(a *Accounts, i int) error {
				if i > 0 {
					_, err := a.Add(ctx, Registration{Identifier: "new@example.com", Password: password})
					return err
				}
				done, err := a.Import(ctx, strings.NewReader(`{"email":"new@example.com"}`), ImportOptions{})
				if err == nil && done.Added == 0 {
					err = session.Fail(session.IdentifierTaken, "import", "somebody was first")
				}
				return err
			}
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
				// Nobody answers there: whom a change is told of is not told.
				with := func(o *Options) { o.Mail = &mail.Options{Server: "127.0.0.1:1", From: "app@example.com"} }
				both := []*Accounts{replica(with), replica(with)}
				do := v.prepare(t, both[0], both[0].mustRegister(t, ada))
				wantOutcome(t, allAtOnce(many, func(i int) error { return do(both[i%2], i) }), v.want)
			})
		})
	}
}

// What is counted in the database is counted also when it happens at the same instant.
func TestDatabase_CountsOfManyAtOnce(t *testing.T) {
	ctx := context.Background()
	const many = 8
	for _, v := range []struct {
		name, count string
		want        int
		prepare     func(t *testing.T, a *Accounts, ann *Account) func(a *Accounts, i int) error
	}{
		{"U13 the recovery codes of the last who asked are left", "SELECT COUNT(*) FROM account_recovery", recoveryCodes, func(_ *testing.T, _ *Accounts, ann *Account) func(*Accounts, int) error {
			return func(a *Accounts, _ int) error { _, err := a.RenewRecovery(ctx, ann); return err }
		}},
		{"U11 one key takes over", "SELECT COUNT(*) FROM account_key", 2, func(*testing.T, *Accounts, *Account) func(*Accounts, int) error {
			return func(a *Accounts, _ int) error { return a.keys.Rotate(ctx) }
		}},
		{"somebody who is disabled is named once", "SELECT COUNT(*) FROM account_ending", 1, func(_ *testing.T, _ *Accounts, ann *Account) func(*Accounts, int) error {
			return func(a *Accounts, _ int) error { return a.Disable(ctx, ann.ID) }
		}},
		{"a revoked token is noted once", "SELECT COUNT(*) FROM account_revoked", 1, func(*testing.T, *Accounts, *Account) func(*Accounts, int) error {
			return func(a *Accounts, _ int) error { return a.db.revoke(ctx, []byte("a token"), time.Now().Add(time.Hour)) }
		}},
		{"one code is mailed for a login", "SELECT COUNT(*) FROM account_link", 1, func(*testing.T, *Accounts, *Account) func(*Accounts, int) error {
			return func(a *Accounts, _ int) error { return a.db.putCode(ctx, "one login", detail{Key: ada}) }
		}},
		{"passkeys do not grow beyond the limit", "SELECT COUNT(*) FROM account_passkey", MostPasskeys, func(t *testing.T, a *Accounts, ann *Account) func(*Accounts, int) error {
			add := func(a *Accounts) error {
				c, err := a.NewPasskey(ctx, ann, "session")
				if err != nil {
					return err
				}
				return a.AddPasskey(ctx, ann, "session", "", c.Sealed, "response", func() error { return nil })
			}
			for range MostPasskeys - 1 {
				if err := add(a); err != nil {
					t.Fatal(err)
				}
			}
			return func(a *Accounts, _ int) error {
				if err := add(a); session.CodeOf(err) != session.WrongPasskey && session.CodeOf(err) != session.BadRequest {
					return err
				}
				return nil
			}
		}},
	} {
		t.Run(v.name, func(t *testing.T) {
			overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
				with := func(o *Options) { o.Passkeys = anyPasskey{} }
				both := []*Accounts{replica(with), replica(with)}
				do := v.prepare(t, both[0], both[0].mustRegister(t, ada))
				wantOutcome(t, allAtOnce(many, func(i int) error { return do(both[i%2], i) }), map[session.Code]int{"": many})
				var rows int
				if err := both[0].db.db.QueryRow(v.count).Scan(&rows); err != nil || rows != v.want {
					t.Errorf("%d rows, want %d: %v", rows, v.want, err)
				}
			})
		})
	}
}

// A mailed code is guessed as often as it may be, however many guess at once.
func TestDatabase_GuessesOfACodeAtOnce(t *testing.T) {
	overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
		ctx := context.Background()
		both := []*Accounts{replica(nil), replica(nil)}
		both[0].mustRegister(t, ada)
		_, p, err := both[0].Begin(ctx, session.Intent{ReturnTo: "/"})
		if err != nil {
			t.Fatal(err)
		}
		key, _ := emailKey(ada)
		if err := both[0].db.putCode(ctx, p.State(), detail{Key: key, Code: codeHash(p.State(), "123456")}); err != nil {
			t.Fatal(err)
		}
		allAtOnce(40, func(i int) error { _, err := both[i%2].SignInByCode(ctx, p, "000000"); return err })
		l, err := both[0].db.findLink(ctx, forCode, codeName(p.State()))
		if err != nil || l.Tries > CodeTries || l.Tries == 0 {
			t.Errorf("%d tries, %v", l.Tries, err)
		}
	})
}

// What one process has signed another verifies and renews, until the account is closed in either.
func TestDatabase_R8_RenewedByAnother(t *testing.T) {
	overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
		ctx := context.Background()
		one, two := replica(nil), replica(nil)
		account := one.mustRegister(t, ada)
		g := one.grant(t, account)
		tokens, err := two.Refresh(ctx, g, session.Want{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.VerifyAccess(ctx, tokens.Access, somewhere.Origin); err != nil {
			t.Error(err)
		}
		if err := one.Disable(ctx, account.ID); err != nil {
			t.Fatal(err)
		}
		_, err = two.Refresh(ctx, g, session.Want{})
		wantCode(t, err, session.GrantOver)
	})
}

// Each process ends the sessions that it has of somebody who is disabled, once, and the name is taken out a minute later.
func TestDatabase_T7_EveryProcessEndsSessions(t *testing.T) {
	overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
		ctx := context.Background()
		one, two := replica(nil), replica(nil)
		account := one.mustRegister(t, ada)
		ended := func(a *Accounts) (all []string) {
			t.Helper()
			if err := a.endAll(ctx, func(_ context.Context, subject string) error { all = append(all, subject); return nil }); err != nil {
				t.Fatal(err)
			}
			return all
		}
		for range 2 { // and once more, after the person was let in again
			if err := one.Disable(ctx, account.ID); err != nil {
				t.Fatal(err)
			}
			for _, a := range []*Accounts{one, two} {
				if got := ended(a); !slices.Equal(got, []string{account.ID}) {
					t.Errorf("sessions were ended of %v", got)
				}
				if got := ended(a); got != nil {
					t.Errorf("and again of %v", got)
				}
			}
		}
		if _, err := one.db.db.Exec("UPDATE account_ending SET since = 1"); err != nil {
			t.Fatal(err)
		}
		ended(one)
		var rows int
		if err := one.db.db.QueryRow("SELECT COUNT(*) FROM account_ending").Scan(&rows); err != nil || rows != 0 {
			t.Errorf("%d are named for good, %v", rows, err)
		}
		if ended(one); len(one.ended) != 0 {
			t.Errorf("the process remembers %v", one.ended)
		}
	})
}

// Texts that a database cannot hold are nobody's, and no failure of the database.
func TestDatabase_TextsThatAreNone(t *testing.T) {
	overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
		ctx := context.Background()
		a := replica(nil)
		ann := a.mustRegister(t, ada)
		for _, text := range []string{"a\x00da@example.com", "\xff@example.com", "ada@example.com\x00", "\xed\xa0\x80@example.com"} {
			_, err := a.SignIn(ctx, text, password, home)
			wantCode(t, err, session.WrongCredentials)
			_, err = a.Add(ctx, Registration{Identifier: text, Password: password})
			wantCode(t, err, session.BadIdentifier)
			_, err = a.Find(ctx, text)
			wantCode(t, err, session.BadIdentifier)
			_, err = a.ConfirmableEmail(ctx, text)
			wantCode(t, err, session.LinkOver)
			wantCode(t, a.CheckCode(ctx, ann, text, home), session.WrongCode)
			done, err := a.Import(ctx, strings.NewReader(fmt.Sprintf("%q\n", text)), ImportOptions{Format: FormatLines})
			if err != nil || done.Refused != 1 {
				t.Errorf("%+v, %v", done, err)
			}
		}
		for _, word := range []string{"a pass\x00word", "a long word \U0001f511"} {
			if _, err := a.Add(ctx, Registration{Identifier: fmt.Sprintf("%x@example.com", word), Password: word}); err != nil {
				t.Error(err)
			}
		}
		done, err := a.Import(ctx, strings.NewReader(`{"email":"eve@example.com","claims":{"note":"a\u0000b"}}`), ImportOptions{})
		if err != nil || done.Added != 1 {
			t.Errorf("%+v, %v", done, err)
		}
	})
}

// anyPasskey takes every response for that of another passkey.
type anyPasskey struct{}

func (anyPasskey) Create(string, string, []byte, string, [][]byte) (options, pending []byte, err error) {
	return []byte("{}"), []byte("{}"), nil
}

func (anyPasskey) Created(string, string, []byte, []byte) (id, credential []byte, err error) {
	return seal.Random(16), bytes.Repeat([]byte("c"), 40), nil
}

func (anyPasskey) Ask(string, string) (options, pending []byte, err error) { return nil, nil, nil }

func (anyPasskey) Asked(string, string, []byte, []byte, func([]byte) ([]byte, []byte, error)) (id, changed []byte, err error) {
	return nil, nil, nil
}

// named is anyPasskey that tells by which handle an account is known to it.
type named struct {
	anyPasskey
	handles *[][]byte
}

func (n named) Create(host, origin string, handle []byte, name string, known [][]byte) (options, pending []byte, err error) {
	*n.handles = append(*n.handles, handle)
	return n.anyPasskey.Create(host, origin, handle, name, known)
}

func (n named) Asked(_, _ string, _, _ []byte, find func([]byte) ([]byte, []byte, error)) (id, changed []byte, err error) {
	handle, _, err := find([]byte("id"))
	*n.handles = append(*n.handles, handle)
	return nil, nil, err
}

// A browser takes no handle of more than 64 bytes (WebAuthn §5.4.3), and people bring subjects of up to 128 along.
func TestPasskey_HandleOfALongSubject(t *testing.T) {
	ctx := context.Background()
	for _, subject := range []string{strings.Repeat("s", 64), strings.Repeat("s", 65), strings.Repeat("s", mostSubject)} {
		var handles [][]byte
		a := open(t, func(o *Options) { o.Passkeys = named{handles: &handles} })
		if done, err := a.Import(ctx, strings.NewReader(`{"sub":"`+subject+`","email":"`+ada+`"}`), ImportOptions{}); err != nil || done.Added != 1 {
			t.Fatalf("%+v, %v", done, err)
		}
		account, err := a.Of(ctx, subject)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.NewPasskey(ctx, account, "session"); err != nil {
			t.Fatal(err)
		}
		if _, err := a.db.change(ctx, "add", "INSERT INTO account_passkey (id, account, name, credential, created, used) VALUES (?, ?, '', ?, 1, 0)", []byte("id"), subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		_, p, _ := a.Begin(ctx, session.Intent{ReturnTo: "/"})
		c, err := a.AskPasskey(p)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = a.SignInByPasskey(ctx, p, c.Sealed, "response", func() error { return nil })
		if len(handles) != 2 || !bytes.Equal(handles[0], handles[1]) || len(handles[0]) == 0 || len(handles[0]) > 64 {
			t.Errorf("%d bytes: handles %q", len(subject), handles)
		}
	}
}

// What another process has written and not committed yet is waited for: whoever has the address by then has it.
func TestDatabase_WaitsForAnAddressThatIsBeingTaken(t *testing.T) {
	ctx := context.Background()
	a, err := New(ctx, Options{Database: openOver(t, kindPostgres, filepath.Join(t.TempDir(), "accounts.db"))}, somewhere)
	if err != nil {
		t.Fatal(err)
	}
	a.hasher = newHasher(cheap)
	c, err := a.ConfirmableEmail(ctx, a.link(t, forAddress, a.mustRegister(t, ada), detail{Key: "new@example.com", Email: "new@example.com"}))
	if err != nil {
		t.Fatal(err)
	}
	tx, err := a.db.db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	other := newAccount(LoginEmail, "new@example.com", "", "")
	if err := other.insert(ctx, &transaction{tx, a.db}, LoginEmail, "new@example.com"); err != nil {
		t.Fatal(err)
	}
	moved := make(chan error, 1)
	go func() { _, err := a.ConfirmEmail(ctx, c); moved <- err }()
	for waiting := 0; waiting == 0; {
		if err := a.db.db.QueryRow("SELECT COUNT(*) FROM pg_locks WHERE NOT granted").Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	wantCode(t, <-moved, session.IdentifierTaken)
}
