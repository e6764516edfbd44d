package accounts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// verdicts imports text, and returns what became of it, and what was said of lines.
func (a *Accounts) verdicts(t *testing.T, text string) (Imported, []string) {
	t.Helper()
	var told []string
	done, err := a.Import(context.Background(), strings.NewReader(text), ImportOptions{Refused: func(line int, why error) {
		told = append(told, fmt.Sprintf("%d: %s", line, why))
	}})
	if err != nil {
		t.Fatal(err)
	}
	return done, told
}

func (a *Accounts) everybody(t *testing.T) []*Account {
	t.Helper()
	var all []*Account
	for one, err := range a.All(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

// People sign in with the passwords that they had, and what else was known of them came along.
func TestImport_U1_U2_PeopleSignInAsBefore(t *testing.T) {
	const bcrypted = "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkY8jIucDrjc8deX1s2." // of "", a published vector: nobody can sign in with it
	a := open(t, nil)
	hash, err := a.hasher.Hash(context.Background(), password)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"CSV": "\ufeffSub,email,Email_Verified,name,password_hash,created,disabled,claims.plan\r\n" +
			`auth0|1,Ada@Example.com,true,"Lovelace, ""Ada""",` + quoted(hash) + ",2020-01-02 03:04:05,,pro\r\n\r\n",
		"semicolons": "sub;email;email_verified;name;password_hash;created;claims.plan\n" +
			`auth0|1;Ada@Example.com;1;"Lovelace, ""Ada""";` + hash + ";2020-01-02T03:04:05Z;pro\n",
		"JSON lines": `{"sub":"auth0|1","email":"Ada@Example.com","email_verified":"2021-01-01T00:00:00Z","name":"Lovelace, \"Ada\"","password_hash":"` + hash + `","created":"2020-01-02T03:04:05Z","claims":{"plan":"pro"},"disabled":false}`,
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, nil)
			if done, told := a.verdicts(t, text); done.Added != 1 || done.Refused != 0 || done.Bytes != int64(len(text)) {
				t.Fatalf("%+v %q", done, told)
			}
			found, err := a.SignIn(context.Background(), "ada@example.com", password, home)
			if err != nil {
				t.Fatal(err)
			}
			if found.ID != "auth0|1" || found.Email != "Ada@Example.com" || found.Name != `Lovelace, "Ada"` || found.Claims["plan"] != "pro" || found.EmailVerified.IsZero() || !found.Disabled.IsZero() {
				t.Errorf("%+v", found)
			}
			if got := found.Created.Format(time.RFC3339); got != "2020-01-02T03:04:05Z" {
				t.Errorf("created %s", got)
			}
		})
	}
	done, told := a.verdicts(t, "email,password_hash\nada@example.com,"+bcrypted+"\ngrace@example.com,\n")
	if done.Added != 2 {
		t.Fatalf("%+v %q", done, told)
	}
	for _, who := range []string{ada, "grace@example.com"} {
		_, err := a.SignIn(context.Background(), who, password, home)
		wantCode(t, err, session.WrongCredentials)
	}
}

func quoted(text string) string { return `"` + text + `"` }

// Each line that is wrong is told by its number and why, and the rest is imported.
func TestImport_ToldByLine(t *testing.T) {
	lines := []struct{ text, want string }{
		{`{"email":"one@example.com"}`, ""},
		{``, ""},
		{`{"email":"no address"}`, "email: no @ with something before it"},
		{`{"name":"Nobody"}`, "email: it is missing, and what people sign in with"},
		{`{"email":"two@example.com","password":"secret"}`, `there is no field "password" here`},
		{`{"email":"two@example.com","password_hash":"secret"}`, "password_hash: no hash of a kind that is known here"},
		{`{"email":"two@example.com","password_hash":"$2b$10$short"}`, "password_hash: an unreadable bcrypt hash"},
		{`{"email":"two@example.com","password_hash":"$argon2id$v=19$m=99999999,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA"}`, "password_hash: an argon2id hash out of bounds: v=19 m=99999999,t=1,p=1"},
		{`{"email":"two@example.com","name":"a\nb"}`, "name: it has more than 200 bytes, or is not printable"},
		{`{"email":"two@example.com","created":"yesterday"}`, "created: it is neither true, false, nor a time like 2026-01-31T12:00:00Z"},
		{`{"email":"two@example.com","disabled":"perhaps"}`, "disabled: it is neither true, false, nor a time like 2026-01-31T12:00:00Z"},
		{`{"email":"two@example.com","sub":"with space"}`, "sub: it is no more than 128 printable ASCII characters without spaces"},
		{`{"email":"two@example.com","claims":{"sub":"1"}}`, `claims: "sub" is set by the issuer itself`},
		{`{"email":"two@example.com","claims":{"a":"` + strings.Repeat("x", 5000) + `"}}`, "claims: they have more than 4096 bytes"},
		{`{"email":"bad","name":"a\u0000"}`, "email: no @ with something before it; name: it has more than 200 bytes, or is not printable"},
		{`{"email":7}`, "email: a text is wanted, not a number"},
		{`{"email":"two@example.com"} {}`, "there is more behind the object"},
		{`{"email":"two@example.com"`, "the line ends in the middle of an object"},
		{`["two@example.com"]`, "it is no object of JSON"},
		{`two@example.com`, "it is no object of JSON"},
		{"{\"email\":\"\xff@example.com\"}", "it is not UTF-8"},
		{`{"email":"two@example.com","name":"` + strings.Repeat("x", mostLine) + `"}`, "it has more than 65536 bytes"},
		{`{"email":"ONE@example.com"}`, "there is an account ONE@example.com already, and it stays as it is"},
		{`{"email":"one@example.com"}`, ""}, // the same again
		{`{"email":"three@example.com","username":"three","sub":"3"}`, ""},
		{`{"email":"four@example.com","sub":"3"}`, "another account has its sub, or the other name that it has"},
		{`{"email":"four@example.com","username":"THREE"}`, "another account has its sub, or the other name that it has"},
		{`{"email":"last@example.com"}`, ""}, // without a line end: an object says where it ends
	}
	a := open(t, nil)
	var text []string
	var want []string
	for i, l := range lines {
		text = append(text, l.text)
		if l.want != "" {
			want = append(want, fmt.Sprintf("%d: %s", i+1, l.want))
		}
	}
	done, told := a.verdicts(t, strings.Join(text, "\n"))
	if len(told) != len(want) {
		t.Errorf("%d lines are told of, want %d", len(told), len(want))
	}
	for i := range min(len(told), len(want)) {
		if told[i] != want[i] {
			t.Errorf("line %s\nwant %s", told[i], want[i])
		}
		if strings.Contains(told[i], "secret") {
			t.Errorf("what may be a password is told: %s", told[i])
		}
	}
	if done.Added != 3 || done.There != 1 || done.Refused != len(want) {
		t.Errorf("%+v", done)
	}
}

func TestImport_HeadersThatCannotBe(t *testing.T) {
	for header, want := range map[string]string{
		"email,password":      "passwords in clear are not taken",
		"email,phone":         `there is none called "phone"`,
		"ada@example.com,Ada": `there is none called "ada@example.com"`,
		"name":                "email is missing, which people sign in with",
		"email,Email":         `there are two columns "email"`,
		"email,claims.":       `there is none called "claims."`,
		`email,"name`:         "a quote that is not closed",
	} {
		a := open(t, nil)
		_, err := a.Import(context.Background(), strings.NewReader(header+"\nada@example.com,x\n"), ImportOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "line 1: ") {
			t.Errorf("%s: %v, want %q", header, err, want)
		}
		if n := len(a.everybody(t)); n != 0 {
			t.Errorf("%s: %d people were added", header, n)
		}
	}
}

// A file that was cut anywhere, and the whole of it afterwards: nobody is doubled, changed or lost, whatever the format.
func TestImport_CutAnywhereAndRepeated(t *testing.T) {
	for name, text := range map[string]string{
		"CSV":        "email,name,password_hash\na@example.com,Ada,\nb@example.community,\"Bob, B\",\nc@example.com,Cäsar,\n",
		"CSV, email": "name,email\nAda,a@example.com\n\"Bob, B\",b@example.community\nCäsar,c@example.com\n",
		"JSON lines": `{"email":"a@example.com","name":"Ada"}` + "\n" + `{"email":"b@example.community","name":"Bob, B"}` + "\n" + `{"email":"c@example.com","name":"Cäsar"}`,
	} {
		t.Run(name, func(t *testing.T) {
			a := open(t, nil)
			for cut := range len(text) {
				if _, err := a.db.db.Exec("DELETE FROM account"); err != nil {
					t.Fatal(err)
				}
				part, err := a.Import(context.Background(), strings.NewReader(text[:cut]), ImportOptions{})
				if err != nil && part.Added != 0 {
					t.Fatalf("cut at %d: %+v, %v", cut, part, err)
				}
				before := a.everybody(t)
				whole, told := a.verdicts(t, text)
				if whole.Added+whole.There != 3 || whole.There != part.Added || len(told) != 0 {
					t.Fatalf("cut at %d: %+v, then %+v %q", cut, part, whole, told)
				}
				after := a.everybody(t)
				var addresses []string
				for _, one := range after {
					addresses = append(addresses, one.Email)
				}
				slices.Sort(addresses)
				if !slices.Equal(addresses, []string{"a@example.com", "b@example.community", "c@example.com"}) {
					t.Fatalf("cut at %d: %q", cut, addresses)
				}
				for _, one := range before {
					if !slices.ContainsFunc(after, func(o *Account) bool { return o.ID == one.ID && o.Email == one.Email }) {
						t.Fatalf("cut at %d: %s is another now", cut, one.Email)
					}
				}
			}
		})
	}
}

// Who has signed in and changed since stays so.
func TestImport_RepeatedLater(t *testing.T) {
	a := open(t, nil)
	text := `{"email":"ada@example.com","password_hash":"$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkY8jIucDrjc8deX1s2.","email_verified":true}`
	a.verdicts(t, text)
	account, err := a.Find(context.Background(), ada)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Reset(context.Background(), account, password); err != nil {
		t.Fatal(err)
	}
	if done, told := a.verdicts(t, text); done.There != 1 || done.Refused != 0 {
		t.Fatalf("%+v %q", done, told)
	}
	if _, err := a.SignIn(context.Background(), ada, password, home); err != nil {
		t.Error(err)
	}
}

// Two imports of one file at once, beside each other, in batches.
func TestImport_TwoAtOnce(t *testing.T) {
	const people = batchSize + 7
	text := crowd(people)
	overEach(t, func(t *testing.T, replica func(func(*Options)) *Accounts) {
		all := []*Accounts{replica(nil), replica(nil)}
		var added, there [2]int
		came := allAtOnce(2, func(i int) error {
			done, err := all[i].Import(context.Background(), bytes.NewReader(text), ImportOptions{})
			added[i], there[i] = done.Added, done.There
			return err
		})
		wantOutcome(t, came, map[session.Code]int{"": 2})
		if added[0]+added[1] != people || there[0]+there[1] != people {
			t.Errorf("added %v, there %v", added, there)
		}
	})
}

// An import that is stopped, or whose file breaks, keeps whole batches.
func TestImport_Stopped(t *testing.T) {
	text := crowd(2*batchSize + 1)
	a := open(t, nil)
	ctx, stop := context.WithCancel(context.Background())
	done, err := a.Import(ctx, bytes.NewReader(text), ImportOptions{Progress: func(Imported) { stop() }})
	if !errors.Is(err, context.Canceled) || done.Added != batchSize || len(a.everybody(t)) != batchSize {
		t.Errorf("%+v, %v", done, err)
	}
	broken := errors.New("the disk is gone")
	done, err = a.Import(context.Background(), io.MultiReader(bytes.NewReader(text), iotest.ErrReader(broken)), ImportOptions{})
	if !errors.Is(err, broken) || done.Added != batchSize+1 || done.There != batchSize {
		t.Errorf("%+v, %v", done, err)
	}
}

// crowd is a file with n people and their hashes.
func crowd(n int) []byte {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"email":"person-%d@example.com","name":"Person %[1]d","password_hash":"$argon2id$v=19$m=47104,t=1,p=1$%022d$%043d"}`+"\n", i, i, i)
	}
	return b.Bytes()
}

// BenchmarkImport prints how fast people are imported beside bare inserts of the same rows into the same table: at least half as fast
// is promised.
func BenchmarkImport(b *testing.B) {
	people := 100_000
	if testing.Short() {
		people = 1000
	}
	text := crowd(people)
	fresh := func(name string) *Accounts {
		a, err := New(context.Background(), Options{Database: openFile(b, filepath.Join(b.TempDir(), name))}, somewhere)
		if err != nil {
			b.Fatal(err)
		}
		return a
	}
	for b.Loop() {
		start := time.Now()
		if done, err := fresh("imported.db").Import(context.Background(), bytes.NewReader(text), ImportOptions{}); err != nil || done.Added != people {
			b.Fatalf("%+v, %v", done, err)
		}
		imported := time.Since(start)

		a := fresh("bare.db")
		rows := make([]*row, people)
		for i, line := range bytes.Split(bytes.TrimSpace(text), []byte("\n")) {
			p, err := readObject(line, true)
			if err != nil {
				b.Fatal(err)
			}
			if rows[i], err = p.row(LoginEmail, seal.RandomText(16), time.Now()); err != nil {
				b.Fatal(err)
			}
		}
		start = time.Now()
		for part := range slices.Chunk(rows, batchSize) {
			bare(b, a.db, part)
		}
		inserted := time.Since(start)
		b.ReportMetric(float64(people)/imported.Seconds(), "people/s")
		b.ReportMetric(float64(people)/inserted.Seconds(), "bare/s")
		b.ReportMetric(inserted.Seconds()/imported.Seconds(), "of-bare")
	}
}

func bare(b *testing.B, d *database, rows []*row) {
	tx, err := d.db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	insert, err := tx.Prepare(d.write("INSERT INTO account (id, email, email_key, email_verified, username, username_key, name, claims, password, epoch, created, disabled) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)"))
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range rows {
		if _, err := insert.Exec(r.id, r.email, r.emailKey, r.verified, r.username, r.usernameKey, r.name, r.claims, r.hash, r.created, r.disabled); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}
