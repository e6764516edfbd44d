package cloakroom_test

import (
	"context"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/postgres/postgrestest"
)

// What people do with accounts is the same where these are in PostgreSQL. make test-all runs all tests of this package so.
func TestAccounts_OverPostgreSQL(t *testing.T) {
	postgrestest.Running(t)
	for _, v := range []struct {
		name string
		play func(*testing.T)
	}{
		{"RegisterSignInAndVerify", TestAccounts_U11_RegisterSignInAndVerify},
		{"WrongIsOnePage", TestAccounts_U6_WrongIsOnePage},
		{"NewSessionAtLogin", TestAccounts_CB9_NewSessionAtLogin},
		{"DisabledIsOutAtOnce", TestAccounts_T7_DisabledIsOutAtOnce},
		{"ChangePassword", TestAccountsAPI_U8_ChangePassword},
		{"ForgottenPassword", TestMail_U9_ForgottenPassword},
		{"OneOfManyVerifies", TestVerify_U9_OneOfManyWins},
		{"ChangeAddress", TestVerify_U8_ChangeAddress},
		{"SignInByMail", TestEmailLink_U9_Link},
		{"TwoSteps", TestFactors_U13_TwoSteps},
		{"Passkeys", TestPasskeys_U8_U13_MakeAndSignIn},
		{"RevokedToken", TestRevocation_U11_EndsATokenAtOnce},
		{"TwoReplicas", TestAccounts_TwoReplicas},
	} {
		t.Run(v.name, v.play)
	}
}

// Two gateways share the accounts: each knows whom the other has registered, takes up its sessions, and what is changed at one holds at
// the other.
func TestAccounts_TwoReplicas(t *testing.T) {
	t.Parallel()
	path, key := filepath.Join(t.TempDir(), "accounts.db"), cloakroom.NewKey()
	var store session.Store
	replica := func() *rig {
		return newRig(t, withAccounts(t, func(c *cloakroom.Config) {
			c.Accounts.Database, c.Keys = accountsFile(t, path), []string{key}
			if store == nil {
				store = c.Store
			}
			c.Store = store
		}))
	}
	one, two := replica(), replica()
	atOne := one.browser().join()
	atTwo := &browser{r: two, t: t, cookies: maps.Clone(atOne.cookies)}
	if p := atTwo.fetch("GET", "/api/x"); p.Status != http.StatusOK {
		t.Fatalf("the session of the one at the other: %d %.300s", p.Status, p.Body)
	}
	keys := func(b *browser) string { return b.fetch("GET", "/auth/jwks").Body }
	if k := keys(atOne); k != keys(atTwo) || !strings.Contains(k, `"kid"`) {
		t.Errorf("the keys differ: %s", k)
	}
	if p := two.browser().sendJSON("/auth/register", adas(adasPassword)); p.Status != http.StatusConflict {
		t.Errorf("registered once more: %d %s", p.Status, p.Body)
	}
	p := two.browser().sendJSON("/auth/login", adas(adasPassword))
	if p.Status != http.StatusOK {
		t.Fatalf("signing in at the other: %d %s", p.Status, p.Body)
	}
	changed := atTwo.sendJSON("/auth/password", map[string]string{"current_password": adasPassword, "new_password": nextPassword})
	if changed.Status != http.StatusOK {
		t.Fatalf("another password: %d %s", changed.Status, changed.Body)
	}
	for deadline := time.Now().Add(5 * time.Second); atOne.fetch("GET", "/api/x").Status != http.StatusUnauthorized; {
		if time.Now().After(deadline) { // the other hears of it by the store
			t.Fatal("what the one began goes on after the other has another password")
		}
		time.Sleep(5 * time.Millisecond)
	}
	for word, want := range map[string]int{adasPassword: http.StatusUnprocessableEntity, nextPassword: http.StatusOK} {
		if p := one.browser().sendJSON("/auth/login", adas(word)); p.Status != want {
			t.Errorf("signing in at the one afterwards: %d, want %d", p.Status, want)
		}
	}
}

// While the database is away, who is signed in goes on, nobody signs in, and the probe says why. Afterwards all is well again.
func TestAccounts_G4_PostgreSQLIsAway(t *testing.T) {
	t.Parallel()
	wire := postgrestest.NewWire(t)
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.Database = postgrestest.Open(t, wire.DSN()) }))
	b := r.browser().join()
	look := func() cloakroom.Finding {
		for _, f := range r.gateway.Ready(context.Background()) {
			if f.Subject == "accounts" {
				return f
			}
		}
		t.Fatal("the probe does not look at the accounts")
		return cloakroom.Finding{}
	}
	if f := look(); !f.OK {
		t.Fatalf("before: %+v", f)
	}
	wire.Cut()
	if p := b.fetch("GET", "/api/x"); p.Status != http.StatusOK {
		t.Errorf("who is signed in: %d", p.Status)
	}
	p := r.browser().sendJSON("/auth/login", adas(adasPassword))
	if p.Status != http.StatusServiceUnavailable || strings.Contains(p.Body, "postgres") {
		t.Errorf("signing in: %d %s", p.Status, p.Body)
	}
	var f cloakroom.Finding
	for range 20 { // the first ones may meet connections that have just been cut
		if f = look(); f.OK {
			t.Fatalf("the probe: %+v", f)
		}
		if strings.Contains(f.Text, "postgres://postgres@127.0.0.1") {
			break
		}
	}
	if !strings.Contains(f.Text, "postgres://postgres@127.0.0.1") || !strings.Contains(f.Hint, "is PostgreSQL running there") {
		t.Errorf("the probe: %+v", f)
	}
	wire.Mend()
	if f := look(); !f.OK {
		t.Errorf("afterwards: %+v", f)
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.Status != http.StatusOK {
		t.Errorf("signing in afterwards: %d %s", p.Status, p.Body)
	}
}

// The probe looks at accounts of every form: opaque tokens, too.
func TestAccounts_ReadyWithOpaqueTokens(t *testing.T) {
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.Tokens.Format = "opaque" }))
	for _, f := range r.gateway.Ready(context.Background()) {
		if !f.OK {
			t.Errorf("%+v", f)
		}
	}
}
