package cloakroom_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// sendJSON posts JSON as a page's script does.
func (b *browser) sendJSON(path string, body any, change ...func(*request)) *page {
	b.t.Helper()
	text, ok := body.(string)
	if !ok {
		raw, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		text = string(raw)
	}
	q := request{method: "POST", path: path, site: "same-origin", body: text, header: http.Header{"Content-Type": {"application/json"}}}
	for _, f := range change {
		f(&q)
	}
	return b.do(q)
}

// code is the code of a problem.
func (p *page) code(t *testing.T) session.Code {
	t.Helper()
	kind, _ := p.json(t)["type"].(string)
	return session.Code(strings.TrimPrefix(kind, "urn:cloakroom:"))
}

// enrolled registers somebody by JSON.
func (b *browser) enrolled() *browser {
	b.t.Helper()
	if p := b.sendJSON("/auth/register", adas(adasPassword)); p.Status != http.StatusOK {
		b.t.Fatalf("register: %d %s\n%s", p.Status, p.Body, b.r.logs)
	}
	return b
}

// A front end with a form of its own signs in with one request, and is told what GET session tells. With memory, and only there, it
// gets the access token too.
func TestAccountsAPI_LoginAnswersTheSession(t *testing.T) {
	for _, delivery := range []string{"proxy", "cookie", "split", "memory"} {
		t.Run(delivery, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Tokens.Delivery = delivery }))
			r.browser().enrolled()
			b := r.browser()
			p := b.sendJSON("/auth/login", adas(adasPassword))
			if p.Status != http.StatusOK || p.Header.Get("Cache-Control") != "no-store" || p.Header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %v %s", p.Status, p.Header, p.Body)
			}
			got, want := p.json(t), b.fetch("GET", "/auth/session").json(t)
			tokens := map[string]any{}
			for _, name := range []string{"access_token", "token_type", "expires_in"} {
				if v, ok := got[name]; ok {
					tokens[name] = v
					delete(got, name)
				}
			}
			if !maps.EqualFunc(got, want, func(a, b any) bool { x, _ := json.Marshal(a); y, _ := json.Marshal(b); return string(x) == string(y) }) || got["authenticated"] != true {
				t.Errorf("login answers\n%v, session\n%v", got, want)
			}
			header := http.Header{}
			if delivery == "memory" {
				if len(tokens) != 3 || tokens["token_type"] != "Bearer" || tokens["expires_in"].(float64) > 600 {
					t.Fatalf("tokens %v", tokens)
				}
				header.Set("Authorization", "Bearer "+tokens["access_token"].(string))
			} else if len(tokens) != 0 {
				t.Errorf("tokens %v", tokens)
			}
			if p := b.do(request{method: "GET", path: "/api/x", site: "same-origin", header: header}); p.Status != http.StatusOK {
				t.Errorf("the API: %d %s", p.Status, p.Body)
			}
			if c := b.cookies[holding()]; c == nil || c.MaxAge != 0 {
				t.Errorf("cookie %v", c)
			}
		})
	}
}

func TestAccountsAPI_Remember(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	b := r.browser()
	if p := b.sendJSON("/auth/register", map[string]any{"identifier": adasAddress, "password": adasPassword, "name": "Ada", "remember": true}); p.Status != http.StatusOK || p.json(t)["user"].(map[string]any)["name"] != "Ada" {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if c := b.cookies[holding()]; c == nil || c.MaxAge == 0 {
		t.Errorf("cookie %v", c)
	}
}

func TestAccountsAPI_Refusals(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	r.browser().enrolled()
	grace := func(password string) map[string]string {
		return map[string]string{"identifier": "grace@example.com", "password": password}
	}
	as := func(kind string) func(*request) {
		return func(q *request) { q.header = http.Header{"Content-Type": {kind}} }
	}
	for _, v := range []struct {
		name, path string
		body       any
		change     func(*request)
		status     int
		code       session.Code
	}{
		{"WrongPassword", "login", adas("wrong password"), nil, 422, session.WrongCredentials},
		{"Unknown", "login", grace(adasPassword), nil, 422, session.WrongCredentials},
		{"NoFields", "login", "{}", nil, 422, session.WrongCredentials},
		{"Taken", "register", adas(adasPassword), nil, 409, session.IdentifierTaken},
		{"TakenInUpperCase", "register", map[string]string{"identifier": "ADA@EXAMPLE.COM", "password": adasPassword}, nil, 409, session.IdentifierTaken},
		{"NoAddress", "register", map[string]string{"identifier": "grace", "password": adasPassword}, nil, 422, session.BadIdentifier},
		{"LookAlike", "register", map[string]string{"identifier": "\u0430da@example.com", "password": adasPassword}, nil, 422, session.BadIdentifier},
		{"Short", "register", grace("1234567"), nil, 422, session.PasswordShort},
		{"1025Bytes", "register", grace(strings.Repeat("x", 1025)), nil, 422, session.PasswordLong},
		{"Common", "register", grace("Password1"), nil, 422, session.PasswordCommon},
		{"LoneSurrogate", "register", `{"identifier":"grace@example.com","password":"\ud800 is no character"}`, nil, 400, session.BadRequest},
		{"100000Bytes", "login", adas(strings.Repeat("x", 100_000)), nil, 413, session.TooLarge},
		{"Form", "login", "identifier=a&password=b", as("application/x-www-form-urlencoded"), 400, session.BadRequest},
		{"PlainText", "login", adas(adasPassword), as("text/plain"), 400, session.BadRequest},
		{"NoType", "login", adas(adasPassword), as(""), 400, session.BadRequest},
		{"OtherFields", "login", `{"identifier":"a","password":"b","admin":true}`, nil, 400, session.BadRequest},
		{"TwoObjects", "login", `{"identifier":"a","password":"b"} {}`, nil, 400, session.BadRequest},
		{"List", "login", `["a","b"]`, nil, 400, session.BadRequest},
		{"NotUTF8", "login", "{\"identifier\":\"a\",\"password\":\"\xff\"}", nil, 400, session.BadRequest},
		{"Nothing", "login", "", nil, 400, session.BadRequest},
		{"Query", "login?identifier=a", adas(adasPassword), nil, 400, session.BadRequest},
	} {
		t.Run(v.name, func(t *testing.T) {
			b := r.browser()
			change := v.change
			if change == nil {
				change = func(*request) {}
			}
			p := b.sendJSON("/auth/"+v.path, v.body, change)
			if p.Status != v.status || p.code(t) != v.code || b.ticket() != "" {
				t.Errorf("%d %s, want %d %s", p.Status, p.Body, v.status, v.code)
			}
		})
	}
}

func TestAccountsAPI_U7_RetryAfter(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	b := r.browser()
	for range 10 {
		p := b.sendJSON("/auth/login", adas("wrong password"))
		if p.Status == http.StatusTooManyRequests {
			if p.code(t) != session.TooMany || p.Header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q: %s", p.Header.Get("Retry-After"), p.Body)
			}
			return
		}
	}
	t.Error("ten wrong passwords, and no end")
}

// Only our own pages and listed origins may sign somebody in, whatever csrf says.
func TestAccountsAPI_U10_WhereItComesFrom(t *testing.T) {
	const front = "https://front.example.com"
	for _, csrf := range []string{"origin", "header", "token"} {
		t.Run(csrf, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Guard.CSRF, c.Guard.Origins = csrf, []string{front} }))
			r.browser().enrolled()
			for _, v := range []struct {
				site, origin string
				status       int
			}{
				{"same-origin", appURL, 200}, {"same-site", front, 200}, {"", appURL, 200},
				{"same-site", "https://sibling.example.com", 403}, {"cross-site", "https://evil.example", 403}, {"", "https://evil.example", 403}, {"", "", 403}, {"none", "", 403},
			} {
				for _, path := range []string{"/auth/login", "/auth/register"} {
					b := r.browser()
					p := b.sendJSON(path, adas(adasPassword), func(q *request) {
						q.site = v.site
						if v.origin != "" {
							q.header.Set("Origin", v.origin)
						}
					})
					want := v.status
					if path == "/auth/register" && want == 200 {
						want = 409
					}
					if p.Status != want || (b.ticket() != "") != (p.Status == 200) {
						t.Errorf("%s, %s from %q: %d, want %d", path, v.site, v.origin, p.Status, want)
					}
					if v.origin == front && p.Header.Get("Access-Control-Allow-Origin") != front {
						t.Errorf("%s: a listed origin cannot read the answer", path)
					}
				}
			}
			ask := func(origin, method string) *page {
				return r.browser().do(request{method: "OPTIONS", path: "/auth/login", site: "same-site", header: http.Header{
					"Origin": {origin}, "Access-Control-Request-Method": {method}, "Access-Control-Request-Headers": {"content-type"},
				}})
			}
			if p := ask(front, "POST"); p.Header.Get("Access-Control-Allow-Origin") != front || !strings.Contains(p.Header.Get("Access-Control-Allow-Methods"), "POST") || strings.Contains(p.Header.Get("Access-Control-Allow-Methods"), "GET") {
				t.Errorf("preflight: %d %v", p.Status, p.Header)
			}
			if p := ask("https://evil.example", "POST"); p.Header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("preflight of another: %d %v", p.Status, p.Header)
			}
		})
	}
}

// Whoever writes a form finds in the log what the body should have been, and nothing of what it was.
func TestAccountsAPI_LogSaysWhatTheBodyShouldBe(t *testing.T) {
	r := newRig(t, withPasskeys(t, nil))
	b := r.browser().enrolled()
	for _, v := range []struct{ path, body, kind, hint string }{
		{"login", `{"email":"ada@example.com","password":"hunter2"}`, "application/json", "one object of identifier, password, code, remember, and nothing else"},
		{"passkeys/ask", `{"hunter2":1}`, "application/json", "one object of no fields, and nothing else"},
		{"passkeys/remove", `{"hunter2":1}`, "application/json", "one object of current_password, code, ceremony, response, id, and nothing else"},
		{"register", `identifier=ada&password=hunter2`, "application/x-www-form-urlencoded", "Content-Type: application/json"},
	} {
		before := len(r.logs.String())
		if p := b.sendJSON("/auth/"+v.path, v.body, func(q *request) { q.header.Set("Content-Type", v.kind) }); p.code(t) != session.BadRequest {
			t.Errorf("%s: %d %s", v.path, p.Status, p.Body)
		}
		if log := r.logs.String()[before:]; !strings.Contains(log, v.hint) || strings.Contains(log, "hunter2") {
			t.Errorf("%s: no %q in %s", v.path, v.hint, log)
		}
	}
}

// A ticket that was there before a login, planted or the person's own, is worth nothing after it.
func TestAccountsAPI_CB9_NewSessionAtLogin(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	planted := r.browser().enrolled()
	victim := planted.copy()
	if p := victim.sendJSON("/auth/login", adas(adasPassword)); p.Status != http.StatusOK {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	if victim.ticket() == planted.ticket() {
		t.Error("the ticket is the planted one")
	}
	if p := planted.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the planted ticket: %d", p.Status)
	}
	if p := victim.fetch("GET", "/api/x"); p.Status != http.StatusOK {
		t.Errorf("the new one: %d", p.Status)
	}
}

func TestAccountsAPI_AllowDecides(t *testing.T) {
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) {
		c.Endpoints.Allow = &cloakroom.Allow{EmailDomains: []string{"example.com"}} // and nobody has verified the address
	}))
	b := r.browser()
	if p := b.sendJSON("/auth/register", adas(adasPassword)); p.Status != http.StatusForbidden || p.code(t) != session.NotAllowed || b.ticket() != "" {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

func TestAccountsAPI_RegisterOff(t *testing.T) {
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.RegisterOff = true }))
	if p := r.browser().sendJSON("/auth/register", adas(adasPassword)); p.Status != http.StatusMethodNotAllowed {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// Who knows the current password changes it: the other sessions end, this one goes on under a new ticket.
func TestAccountsAPI_U8_ChangePassword(t *testing.T) {
	t.Parallel()
	const next = "quite another phrase"
	r := newRig(t, withAccounts(t, nil))
	b := r.browser().enrolled()
	other := r.browser()
	other.sendJSON("/auth/login", adas(adasPassword))
	change := func(b *browser, current, next string) *page {
		return b.sendJSON("/auth/password", map[string]string{"current_password": current, "new_password": next})
	}
	for _, v := range []struct {
		name          string
		b             *browser
		current, next string
		status        int
		code          session.Code
	}{
		{"NoSession", r.browser(), adasPassword, next, 401, session.None},
		{"WithoutTheCurrent", b, "", next, 403, session.WrongPassword},
		{"WrongCurrent", b, "wrong password", next, 403, session.WrongPassword},
		{"Short", b, adasPassword, "short", 422, session.PasswordShort},
		{"Common", b, adasPassword, "password1", 422, session.PasswordCommon},
	} {
		if p := change(v.b, v.current, v.next); p.Status != v.status || p.code(t) != v.code {
			t.Errorf("%s: %d %s, want %d %s", v.name, p.Status, p.Body, v.status, v.code)
		}
	}
	if p := other.fetch("GET", "/api/x"); p.Status != http.StatusOK {
		t.Fatalf("refused changes ended a session: %d", p.Status)
	}
	before := b.copy()
	p := change(b, adasPassword, next)
	if p.Status != http.StatusOK || p.json(t)["authenticated"] != true || b.ticket() == before.ticket() {
		t.Fatalf("%d %s", p.Status, p.Body)
	}
	for name, v := range map[string]struct {
		b    *browser
		want int
	}{"this one": {b, 200}, "its old ticket": {before, 401}, "the other": {other, 401}} {
		if p := v.b.fetch("GET", "/api/x"); p.Status != v.want {
			t.Errorf("%s: %d, want %d", name, p.Status, v.want)
		}
	}
	if p := r.browser().sendJSON("/auth/login", adas(adasPassword)); p.Status != 422 {
		t.Errorf("the old password: %d", p.Status)
	}
	if p := r.browser().sendJSON("/auth/login", adas(next)); p.Status != 200 {
		t.Errorf("the new password: %d", p.Status)
	}
	if !slices.Contains(r.actions(), audit.Changed) {
		t.Errorf("audit: %v", r.actions())
	}
	for _, secret := range []string{adasPassword, next, "wrong password"} {
		if strings.Contains(r.logs.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// The password of somebody who came from a provider is there.
func TestAccountsAPI_PasswordOfAProvider(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) {
		c.Accounts = people(t)
	})
	b := r.browser()
	b.visit("/auth/login?provider=main&return_to=/page/")
	p := b.sendJSON("/auth/password", map[string]string{"current_password": "x", "new_password": "quite another phrase"})
	if p.Status != http.StatusForbidden || p.code(t) != session.NotAllowed {
		t.Errorf("%d %s", p.Status, p.Body)
	}
}

// The token of csrf: token is asked of a change of the password, unlike of a login.
func TestAccountsAPI_X_PasswordNeedsTheToken(t *testing.T) {
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Guard.CSRF = "token" }))
	b := r.browser().enrolled()
	change := map[string]string{"current_password": adasPassword, "new_password": "quite another phrase"}
	if p := b.sendJSON("/auth/password", change); p.Status != http.StatusForbidden {
		t.Errorf("without: %d %s", p.Status, p.Body)
	}
	token := b.fetch("GET", "/auth/session").json(t)["csrf_token"].(string)
	if p := b.sendJSON("/auth/password", change, func(q *request) { q.header.Set("X-CSRF-Token", token) }); p.Status != http.StatusOK {
		t.Errorf("with: %d %s", p.Status, p.Body)
	}
}

// betweenStore does something right before the next new session is stored.
type betweenStore struct {
	*memory.Store
	next atomic.Pointer[func()]
}

func (s *betweenStore) Put(ctx context.Context, rec session.Record) error {
	if len(rec.Index) > 0 && rec.Version == 0 {
		if between := s.next.Swap(nil); between != nil {
			(*between)()
		}
	}
	return s.Store.Put(ctx, rec)
}

// Whoever signs in with the old password at the moment when it is changed, or the account disabled, is not left with a session that the change
// did not find.
func TestAccounts_U8_T7_ALoginMeanwhile(t *testing.T) {
	for name, change := range map[string]func(r *rig, owner *browser, people *cloakroom.Accounts){
		"another password": func(r *rig, owner *browser, _ *cloakroom.Accounts) {
			p := owner.sendJSON("/auth/password", map[string]string{"current_password": adasPassword, "new_password": nextPassword})
			if p.Status != http.StatusOK {
				r.t.Errorf("%d %s", p.Status, p.Body)
			}
		},
		"disabled": func(r *rig, _ *browser, people *cloakroom.Accounts) {
			for _, statement := range []string{
				"UPDATE account SET disabled = 1, epoch = epoch + 1", "INSERT INTO account_ending (account, since) SELECT id, 1 FROM account",
			} {
				if _, err := people.Database.Exec(statement); err != nil {
					r.t.Error(err)
				}
			}
			if err := r.administrator().EndClosed(r.t.Context()); err != nil {
				r.t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := &betweenStore{Store: memory.New()}
			var people *cloakroom.Accounts
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) {
				inStore(c)
				c.Store, people = store, c.Accounts
			}))
			owner, stranger := r.browser().join(), r.browser()
			between := func() { change(r, owner, people) }
			store.next.Store(&between)
			if p := stranger.sendJSON("/auth/login", adas(adasPassword)); p.code(t) != session.LoginDenied || stranger.ticket() != "" {
				t.Errorf("%d %s", p.Status, p.Body)
			}
			if store.next.Load() != nil {
				t.Fatal("nothing was changed meanwhile")
			}
			if p := stranger.askAPI(); p.Status != http.StatusUnauthorized {
				t.Errorf("the API: %d", p.Status)
			}
			if want := map[string]int{"another password": 1, "disabled": 0}[name]; len(listed(t, r.administrator(), "", "")) != want {
				t.Errorf("%d sessions are left, want %d", len(listed(t, r.administrator(), "", "")), want)
			}
		})
	}
}
