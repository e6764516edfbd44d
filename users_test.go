package cloakroom_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/internal/hook"
)

// table is a user table of somebody else's, with one person in it.
type table struct {
	mu   sync.Mutex
	user *cloakroom.User
	down bool
	seen []string
}

func adasRow() *cloakroom.User {
	return &cloakroom.User{
		Subject: "people|7", Email: adasAddress, EmailVerified: true, Username: "ada", Name: "Ada Lovelace", Version: "1",
		Claims: map[string]any{"plan": "pro", "sub": "somebody else"},
	}
}

func (p *table) change(change func(*table)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

func (p *table) answer(what string, match bool) (*cloakroom.User, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, what)
	switch {
	case p.down:
		return nil, errors.New("the database of the user table is away")
	case p.user == nil || !match:
		return nil, nil
	}
	u := *p.user
	return &u, nil
}

func (p *table) SignIn(_ context.Context, identifier, password string) (*cloakroom.User, error) {
	return p.answer("sign in "+identifier, strings.EqualFold(identifier, "ada") && password == adasPassword)
}

func (p *table) Find(_ context.Context, subject string) (*cloakroom.User, error) {
	return p.answer("find "+subject, subject == "people|7")
}

// behindHook has the same table answer over HTTP.
func behindHook(t *testing.T, p *table) cloakroom.Users {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct{ Type, Identifier, Password, Sub string }
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			t.Error(err)
		}
		var u *cloakroom.User
		var err error
		if q.Type == "sign_in" {
			u, err = p.SignIn(r.Context(), q.Identifier, q.Password)
		} else {
			u, err = p.Find(r.Context(), q.Sub)
		}
		if err != nil {
			http.Error(w, q.Password, http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"user": u})
	}))
	t.Cleanup(server.Close)
	h, err := hook.New(hook.Options{URL: server.URL, Secret: hook.NewSecret()})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// withTable gives a rig the people of p, directly and behind the hook.
func withTable(t *testing.T, do func(t *testing.T, p *table, with func(*cloakroom.Config))) {
	for name, users := range map[string]func(*testing.T, *table) cloakroom.Users{
		"Interface": func(_ *testing.T, p *table) cloakroom.Users { return p },
		"Hook":      behindHook,
	} {
		t.Run(name, func(t *testing.T) {
			p := &table{user: adasRow()}
			do(t, p, withAccounts(t, func(c *cloakroom.Config) {
				c.Accounts.Users, c.Accounts.Login = users(t, p), "username"
				c.Accounts.Tokens.Claims = []string{"plan"}
			}))
		})
	}
}

// People of somebody else's user table sign in on our page and by JSON, and the API gets a token of ours.
func TestUsers_U11_SignInAndToken(t *testing.T) {
	withTable(t, func(t *testing.T, _ *table, with func(*cloakroom.Config)) {
		r := newRig(t, with)
		b := r.browser()
		p := b.fill(b.visit("/auth/login?return_to=/page/"), map[string]string{"identifier": " Ada ", "password": adasPassword})
		if p.Status != http.StatusOK || p.URL != "/page/" {
			t.Fatalf("%d %s: %.300s\n%s", p.Status, p.URL, p.Body, r.logs)
		}
		claims := partOf(t, r.currentToken(), 1)
		if claims["sub"] != "people|7" || claims["plan"] != "pro" || claims["iss"] != appURL+"/auth" {
			t.Errorf("claims %v", claims)
		}
		user := b.fetch("GET", "/auth/session").json(t)["user"].(map[string]any)
		if user["email"] != adasAddress || user["name"] != "Ada Lovelace" || user["preferred_username"] != "ada" {
			t.Errorf("user %v", user)
		}
		other := r.browser()
		if p := other.sendJSON("/auth/login", map[string]any{"identifier": "ada", "password": adasPassword}); p.Status != http.StatusOK || other.ticket() == "" {
			t.Errorf("by JSON: %d %s", p.Status, p.Body)
		}
		if strings.Contains(r.logs.String(), adasPassword) {
			t.Error("the password is in the log")
		}
	})
}

// Whoever is nobody gets the one answer, guessing is slowed down, and what cannot be anybody does not come as far as the table.
func TestUsers_U6_U7_Nobody(t *testing.T) {
	withTable(t, func(t *testing.T, p *table, with func(*cloakroom.Config)) {
		r := newRig(t, with)
		b := r.browser()
		for _, v := range []struct{ identifier, password string }{
			{"ada", "wrong"}, {"nobody", adasPassword}, {strings.Repeat("a", 321), adasPassword}, {" ", adasPassword}, {"ada", strings.Repeat("x", 1025)},
		} {
			got := b.sendJSON("/auth/login", map[string]any{"identifier": v.identifier, "password": v.password})
			if got.Status != http.StatusUnprocessableEntity || !strings.Contains(got.Body, "wrong_credentials") {
				t.Errorf("%.20q: %d %s", v.identifier, got.Status, got.Body)
			}
		}
		if len(p.seen) != 2 {
			t.Errorf("the table was asked %q", p.seen)
		}
		status := 0
		for range 10 {
			status = b.sendJSON("/auth/login", map[string]any{"identifier": "ADA", "password": "wrong"}).Status
		}
		if status != http.StatusTooManyRequests {
			t.Errorf("the last of many wrong ones: %d", status)
		}
	})
}

// A table that cannot answer is said so, to a person and to a script, with no word of the password.
func TestUsers_G1_G4_Down(t *testing.T) {
	withTable(t, func(t *testing.T, p *table, with func(*cloakroom.Config)) {
		r := newRig(t, with)
		b := r.browser()
		form := b.visit("/auth/login")
		p.change(func(p *table) { p.down = true })
		page := b.fill(form, map[string]string{"identifier": "ada", "password": adasPassword})
		if page.Status != http.StatusServiceUnavailable || !strings.Contains(page.Header.Get("Content-Type"), "text/html") || page.Header.Get("Retry-After") == "" || b.ticket() != "" {
			t.Errorf("the page: %d %v", page.Status, page.Header)
		}
		answer := b.sendJSON("/auth/login", map[string]any{"identifier": "ada", "password": adasPassword})
		if answer.Status != http.StatusServiceUnavailable || !strings.Contains(answer.Body, "provider_down") {
			t.Errorf("%d %s", answer.Status, answer.Body)
		}
		if all := page.Body + answer.Body + r.logs.String(); strings.Contains(all, adasPassword) || !strings.Contains(r.logs.String(), "provider_down") {
			t.Errorf("what is told: %s", r.logs)
		}
		p.change(func(p *table) { p.down = false })
		if answer := b.sendJSON("/auth/login", map[string]any{"identifier": "ada", "password": adasPassword}); answer.Status != http.StatusOK {
			t.Errorf("up again: %d %s", answer.Status, answer.Body)
		}
	})
}

// What is no person is not believed.
func TestUsers_AnswersThatAreNobody(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*cloakroom.User){
		"no subject":         func(u *cloakroom.User) { u.Subject = "" },
		"a long subject":     func(u *cloakroom.User) { u.Subject = strings.Repeat("7", 129) },
		"spaces in it":       func(u *cloakroom.User) { u.Subject = "people 7" },
		"lines in the name":  func(u *cloakroom.User) { u.Name = "Ada\r\nX-Admin: 1" },
		"lines in the email": func(u *cloakroom.User) { u.Email = "ada@example.com\n" },
		"claims too many":    func(u *cloakroom.User) { u.Claims = map[string]any{"a": strings.Repeat("x", 5000)} },
		"claims of no JSON":  func(u *cloakroom.User) { u.Claims = map[string]any{"a": func() {}} },
	} {
		p := &table{user: adasRow()}
		change(p.user)
		r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.Users = p }))
		b := r.browser()
		if got := b.sendJSON("/auth/login", map[string]any{"identifier": "ada", "password": adasPassword}); got.Status != http.StatusBadGateway || !strings.Contains(got.Body, "provider_lied") || b.ticket() != "" {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
}

// What would change an account is not there.
func TestUsers_NothingIsChangedHere(t *testing.T) {
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.Users = &table{user: adasRow()} }))
	b := r.browser()
	if p := b.sendJSON("/auth/login", map[string]any{"identifier": "ada", "password": adasPassword}); p.Status != http.StatusOK {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	for _, path := range []string{"/auth/register", "/auth/password", "/auth/sign-up", "/auth/forgot", "/auth/reset", "/auth/account"} {
		if p := b.sendJSON(path, map[string]any{}); !slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed}, p.Status) {
			t.Errorf("%s: %d %s", path, p.Status, p.Body)
		}
	}
	if p := r.browser().visit("/auth/register"); !strings.HasPrefix(p.URL, "/auth/sign-in?") || strings.Contains(p.Body, "sign-up") {
		t.Errorf("register leads to %s", p.URL)
	}
}
