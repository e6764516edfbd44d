package accounts

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

// clock is a time that tests move.
type clock struct{ now time.Time }

func (c *clock) pass(t *testing.T, k *keys, d time.Duration) {
	t.Helper()
	c.now = c.now.Add(d)
	if err := k.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A key is published before it signs and after it has signed last, and another takes over after 90 days.
func TestKeys_U11_RotateWithOverlap(t *testing.T) {
	a := open(t, nil)
	c := &clock{time.Now()}
	a.keys.now = func() time.Time { return c.now }
	published := func() (ids []string) {
		for _, k := range a.keys.Public() {
			ids = append(ids, k.KeyID)
		}
		return ids
	}
	first := a.keys.signing().id
	c.pass(t, a.keys, keyLife-keyLead-time.Minute)
	if got := published(); !slices.Equal(got, []string{first}) {
		t.Fatalf("before its time: %v", got)
	}
	c.pass(t, a.keys, time.Minute+time.Second)
	both := published()
	if len(both) != 2 || both[0] != first || a.keys.signing().id != first {
		t.Fatalf("published %v, signing %s", both, a.keys.signing().id)
	}
	c.pass(t, a.keys, keyLead-2*time.Second)
	if a.keys.signing().id != first || keyLead < 2*JWKSLife {
		t.Errorf("the new key signs before everybody can have it")
	}
	c.pass(t, a.keys, 2*time.Second)
	if a.keys.signing().id != both[1] {
		t.Error("the new key does not take over")
	}
	c.pass(t, a.keys, keyTail-time.Minute)
	if got := published(); !slices.Equal(got, both) || keyTail < mostLife {
		t.Errorf("the old key is withdrawn while its tokens are good: %v", got)
	}
	c.pass(t, a.keys, 2*time.Minute)
	var rows int
	if err := a.db.db.QueryRow("SELECT count(*) FROM account_key").Scan(&rows); err != nil || rows != 1 || !slices.Equal(published(), both[1:]) {
		t.Errorf("afterwards %d rows, published %v, %v", rows, published(), err)
	}
}

// A token that the old key signed is good until it ends, and one of a key that nobody knew yet is as well.
func TestKeys_U11_TokensVerifyAcrossARotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	open := func() *Accounts {
		a, err := New(context.Background(), Options{Database: openFile(t, path)}, somewhere)
		if err != nil {
			t.Fatal(err)
		}
		a.hasher = newHasher(cheap)
		return a
	}
	one, two := open(), open()
	account := one.mustRegister(t, ada)
	verify := func(a *Accounts, token string) error {
		_, err := a.VerifyAccess(context.Background(), token, somewhere.Origin)
		return err
	}
	before, err := one.mint(account, issued{SignedIn: time.Now().Unix()})
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(two, before.Access); err != nil {
		t.Errorf("another replica: %v", err)
	}
	if err := one.keys.Rotate(context.Background()); err != nil {
		t.Fatal(err)
	}
	one.keys.now = func() time.Time { return time.Now().Add(keyLead) }
	if err := one.keys.Reload(context.Background()); err != nil {
		t.Fatal(err)
	}
	after, err := one.mint(account, issued{SignedIn: time.Now().Unix()})
	if err != nil {
		t.Fatal(err)
	}
	if issuerKey(t, before.Access) == issuerKey(t, after.Access) {
		t.Fatal("no other key signs")
	}
	for _, a := range []*Accounts{one, two} {
		for _, token := range []string{before.Access, after.Access} {
			if err := verify(a, token); err != nil {
				t.Error(err)
			}
		}
	}
}

func issuerKey(t *testing.T, token string) string {
	t.Helper()
	return part(t, token, 0)["kid"].(string)
}

// Of several processes that start at once one makes the tables, and they share one key.
func TestKeys_OneIsMadeByMany(t *testing.T) {
	for _, kind := range []string{kindSQLite, kindPostgres} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "accounts.db")
			openOver(t, kind, path)
			dbs, ids := make([]*sql.DB, 6), make([]string, 6)
			for i := range dbs {
				dbs[i] = openOver(t, kind, path)
			}
			came := allAtOnce(len(dbs), func(i int) error {
				a, err := New(context.Background(), Options{Database: dbs[i]}, somewhere)
				if err == nil {
					ids[i] = a.keys.signing().id
				}
				return err
			})
			wantOutcome(t, came, map[session.Code]int{"": len(dbs)})
			if len(slices.Compact(ids)) != 1 || ids[0] == "" {
				t.Errorf("keys %v", ids)
			}
			files, err := fs.Glob(migrations, "migrations/"+kind+"/*.sql")
			var applied int
			if err := dbs[0].QueryRow("SELECT COUNT(*) FROM account_schema").Scan(&applied); err != nil || applied != len(files) {
				t.Errorf("%d migrations were applied, of %d: %v", applied, len(files), err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// Another algorithm takes over like another key does.
func TestKeys_AnotherAlgorithmTakesOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	with := func(algorithm string, ring *seal.Keyring) (*Accounts, error) {
		at := somewhere
		at.Ring = ring
		return New(context.Background(), Options{Database: openFile(t, path), Tokens: Tokens{Algorithm: algorithm}}, at)
	}
	if _, err := with("ES256", somewhere.Ring); err != nil {
		t.Fatal(err)
	}
	a, err := with("EdDSA", somewhere.Ring)
	if err != nil {
		t.Fatal(err)
	}
	if a.keys.signing().algorithm != "ES256" || len(a.keys.Public()) != 2 {
		t.Errorf("%s signs, %d keys are published", a.keys.signing().algorithm, len(a.keys.Public()))
	}
	a.keys.now = func() time.Time { return time.Now().Add(keyLead) }
	if a.keys.signing().algorithm != "EdDSA" {
		t.Errorf("later %s signs", a.keys.signing().algorithm)
	}
}

// Keys are sealed. With another key in the ring they are sealed anew, so that the old one can go; without the one they need the
// gateway does not start.
func TestKeys_SealedWithTheRing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	old, young := seal.NewKey(), seal.NewKey()
	start := func(keys ...string) error {
		ring, err := seal.NewKeyring(keys...)
		if err != nil {
			t.Fatal(err)
		}
		at := somewhere
		at.Ring = ring
		_, err = New(context.Background(), Options{Database: openFile(t, path)}, at)
		return err
	}
	if err := start(old); err != nil {
		t.Fatal(err)
	}
	err := start(young)
	if session.CodeOf(err) != session.ProviderDown || !strings.Contains(session.HintOf(err), "put that back") {
		t.Fatalf("with another keyring: %v", err)
	}
	if err := start(young, old); err != nil {
		t.Fatal(err)
	}
	if err := start(young); err != nil {
		t.Errorf("the key was not sealed anew: %v", err)
	}
	var sealed []byte
	if err := openFile(t, path).QueryRow("SELECT sealed FROM account_key").Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	for _, plain := range []string{"PRIVATE", "\x30\x81", "\"d\""} {
		if bytes.Contains(sealed, []byte(plain)) {
			t.Errorf("the key is there in clear: %q", plain)
		}
	}
}

// A row that was moved opens nothing.
func TestKeys_BoundToTheirRow(t *testing.T) {
	a := open(t, nil)
	if _, err := a.db.db.Exec("UPDATE account_key SET generation = 7"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, a.keys.Reload(context.Background()), session.ProviderDown)
}

func TestJWKS_HasNoPrivatePart(t *testing.T) {
	for _, algorithm := range Algorithms {
		a := open(t, func(o *Options) { o.Tokens.Algorithm = algorithm })
		text, err := json.Marshal(a.JWKS())
		if err != nil {
			t.Fatal(err)
		}
		var set struct{ Keys []map[string]any }
		if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) != 1 {
			t.Fatalf("%s, %v", text, err)
		}
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"} {
			if _, there := set.Keys[0][private]; there {
				t.Errorf("%s: %s is published", algorithm, private)
			}
		}
	}
}
