package accounts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/passkeys"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

func TestNew_U12_NobodyIsThere(t *testing.T) {
	a := open(t, nil)
	var n int
	if err := a.db.db.QueryRow("SELECT count(*) FROM account").Scan(&n); err != nil || n != 0 {
		t.Errorf("a new database has %d accounts, %v", n, err)
	}
}

func TestNew_RefusesWhatCannotBe(t *testing.T) {
	db := openFile(t, filepath.Join(t.TempDir(), "accounts.db"))
	for want, o := range map[string]Options{
		"a database is needed":                    {},
		`"phone" is neither email nor username`:   {Database: db, Login: "phone"},
		"hash: this is easily guessed; take at":   {Database: db, Hash: Hash{Memory: 1024}},
		"threads 1 to 16":                         {Database: db, Hash: Hash{Threads: 17}},
		"time 1 to 32":                            {Database: db, Hash: Hash{Time: 33}},
		"memory is at most 262144 KiB, time 1 to": {Database: db, Hash: Hash{Memory: 1 << 20}},
		"reset_page: there is no mail":            {Database: db, ResetPage: "/new-password"},
		`reset_page: "//evil.example" is no path`: {Database: db, ResetPage: "//evil.example"},
		`reset_page: "/a?b" is no path`:           {Database: db, ResetPage: "/a?b"},
		`verify_page: "welcome" is no path`:       {Database: db, VerifyPage: "welcome"},
		"mail, passkeys, register_off and verify": {Database: db, Users: &one{}, Passkeys: passkeys.New()},
		"with users of your own they are where":   {Database: db, Users: &one{}, Mail: &mail.Options{Server: "mail.example.com:465", From: "a@example.com"}},
	} {
		if _, err := New(context.Background(), o, somewhere); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// An identifier is found however it is typed, and kept as it was typed at first.
func TestSignIn_FindsTheAccount(t *testing.T) {
	for _, v := range []struct{ login, registered, typed string }{
		{LoginEmail, "Ada@Example.com", " ada@EXAMPLE.com\t"},
		{LoginUsername, "Ada", "ADA"},
		{LoginUsername, "Zoe\u0308", "zo\u00eb"},
	} {
		t.Run(v.login, func(t *testing.T) {
			a := open(t, func(o *Options) { o.Login = v.login })
			made := a.mustRegister(t, v.registered)
			found, err := a.SignIn(context.Background(), v.typed, password, home)
			if err != nil || found.ID != made.ID || found.Identifier(v.login) != v.registered || len(made.ID) != 22 {
				t.Errorf("%+v, %v", found, err)
			}
			if found.Created.IsZero() || !found.Disabled.IsZero() || !found.EmailVerified.IsZero() {
				t.Errorf("times of a new account: %+v", found)
			}
		})
	}
}

func TestRegister_OneOfManyAtOnceWins(t *testing.T) {
	overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
		all := []*Accounts{replica(nil), replica(nil)}
		came := allAtOnce(20, func(i int) error {
			identifier := ada
			if i%3 == 0 {
				identifier = strings.ToUpper(ada)
			}
			_, err := all[i%2].Register(context.Background(), Registration{Identifier: identifier, Password: fmt.Sprint("password of ", i)}, fmt.Sprintf("192.0.2.%d", i))
			return err
		})
		wantOutcome(t, came, map[session.Code]int{"": 1, session.IdentifierTaken: 19})
	})
}

func TestRegister_Off(t *testing.T) {
	a := open(t, func(o *Options) { o.RegisterOff = true })
	_, err := a.Register(context.Background(), Registration{Identifier: ada, Password: password}, home)
	wantCode(t, err, session.NotFound)
	a.mustRegister(t, ada) // an operator may
}

func TestRegister_RefusesNamesThatBreakLines(t *testing.T) {
	a := open(t, nil)
	for _, name := range []string{
		"Ada\r\nX-Admin: 1", "Ada\x00", strings.Repeat("a", 201), "\xff",
		"Ada\u009b31m", "Ada\u0085x", "Ada\u2028x", "\u202eadA", "\u2067Ada", // what terminals and lists would obey
	} {
		_, err := a.Add(context.Background(), Registration{Identifier: ada, Password: password, Name: name})
		if wantCode(t, err, session.BadRequest); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	if _, err := a.Add(context.Background(), Registration{Identifier: ada, Password: password, Name: "نرگس‌خاتون 👩\u200d💻"}); err != nil {
		t.Errorf("a name that is one: %v", err)
	}
}

func TestChangePassword_U8_NeedsTheCurrentOne(t *testing.T) {
	a := open(t, nil)
	made := a.mustRegister(t, ada)
	const next = "quite another phrase"
	for _, current := range []string{"", next, "wrong " + password} {
		_, err := a.changePassword(context.Background(), made.ID, current, next, home)
		wantCode(t, err, session.WrongPassword)
	}
	_, err := a.changePassword(context.Background(), "nobody", password, next, home)
	wantCode(t, err, session.WrongPassword)
	changed, err := a.changePassword(context.Background(), made.ID, password, next, home)
	if err != nil || changed.epoch != made.epoch+1 {
		t.Fatalf("%+v, %v", changed, err)
	}
	_, err = a.SignIn(context.Background(), ada, password, home)
	wantCode(t, err, session.WrongCredentials)
	if _, err := a.SignIn(context.Background(), ada, next, home); err != nil {
		t.Error(err)
	}
}

// Guessing the current password from a stolen session is as slow as at the door.
func TestChangePassword_U7_IsThrottled(t *testing.T) {
	a := open(t, nil)
	made := a.mustRegister(t, ada)
	var err error
	for range pairRule.free + 2 {
		_, err = a.changePassword(context.Background(), made.ID, "wrong "+password, "quite another phrase", home)
	}
	wantCode(t, err, session.TooMany)
}

func TestChangePassword_OneOfTwoAtOnceWins(t *testing.T) {
	a := open(t, nil)
	made := a.mustRegister(t, ada)
	stale := *made
	if err := a.db.setPassword(context.Background(), made, "first"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, a.db.setPassword(context.Background(), &stale, "second"), session.Conflict)
}

func TestOpenAccounts_FileIsPrivateAndOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	openOver(t, kindSQLite, path)
	state, err := os.Stat(path)
	if err != nil || state.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", state.Mode(), err)
	}

	sessions := filepath.Join(t.TempDir(), "sessions.db")
	store, err := sqlite.Open(context.Background(), sessions)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	_, err = sqlite.OpenAccounts(context.Background(), sessions)
	if session.CodeOf(err) != session.Unavailable || !strings.Contains(session.HintOf(err), "a file of their own") {
		t.Errorf("a file with sessions: %v", err)
	}
	_, err = sqlite.OpenAccounts(context.Background(), filepath.Join(t.TempDir(), "no", "folder.db"))
	if session.CodeOf(err) != session.Unavailable || session.HintOf(err) == "" {
		t.Errorf("no folder: %v", err)
	}
}
