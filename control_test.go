package cloakroom_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/control"
	"github.com/cloakroom-go/cloakroom/session"
)

// administrator asks the rig's gateway over a socket.
func (r *rig) administrator() *control.Client {
	r.t.Helper()
	path := filepath.Join(r.t.TempDir(), "control.sock")
	l, err := control.Listen(path)
	if err != nil {
		r.t.Fatal(err)
	}
	server := &http.Server{Handler: r.gateway.Control()}
	go server.Serve(l)
	r.t.Cleanup(func() { server.Close() })
	return control.NewClient(path)
}

// listed is what an administrator sees, sorted by user.
func listed(t *testing.T, c *control.Client, user, issuer string) []control.Session {
	t.Helper()
	var all []control.Session
	if err := c.List(t.Context(), user, issuer, func(s control.Session) error { all = append(all, s); return nil }); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b control.Session) int { return strings.Compare(a.User, b.User) })
	return all
}

// as signs a browser in as somebody.
func (b *browser) as(person string) *browser {
	b.t.Helper()
	b.r.op.Tell(fakeop.Person(person, map[string]any{}))
	return b.signIn()
}

func TestControl_T6_AdministratorsSeeAndEndSessions(t *testing.T) {
	t.Parallel()
	var hits atomic.Int32
	r := newRig(t, func(c *cloakroom.Config) {
		inStore(c)
		withRoutes(cloakroom.Route{Path: "/ws/", Upstream: echoServer(t, &hits)})(c)
	})
	admin := r.administrator()
	if all := listed(t, admin, "", ""); len(all) != 0 {
		t.Errorf("nobody is signed in: %v", all)
	}
	ada, phone, bob := r.device(firefoxOnLinux).as("ada"), r.device(safariOnIPhone).as("ada"), r.browser().as("bob")
	all := listed(t, admin, "", "")
	if len(all) != 3 || all[0].User != "ada" || all[1].User != "ada" || all[2].User != "bob" {
		t.Fatalf("listed %+v", all)
	}
	for _, s := range listed(t, admin, "ada", "") {
		if s.Provider != "main" || s.Issuer != r.op.Issuer() || time.Since(s.Created) > time.Minute || time.Since(s.LastSeen) > time.Minute || time.Until(s.Expires) < 20*time.Minute {
			t.Errorf("listed %+v", s)
		}
	}
	if n := len(listed(t, admin, "ada", r.op.Issuer())) + len(listed(t, admin, "ada", "https://other.example")) + len(listed(t, admin, "nobody", "")); n != 2 {
		t.Errorf("narrowed lists have %d sessions, want 2", n)
	}

	status := func(b *browser) int { t.Helper(); return b.fetch("GET", "/api/me").Status }
	want := func(what string, adas, phones, bobs int) {
		t.Helper()
		if a, p, o := status(ada), status(phone), status(bob); a != adas || p != phones || o != bobs {
			t.Errorf("%s: %d %d %d, want %d %d %d", what, a, p, o, adas, phones, bobs)
		}
	}
	want("before", 200, 200, 200)
	socket, _, err := phone.socket("/ws/", appURL)
	if err != nil {
		t.Fatal(err)
	}
	id := phone.idOf(true)
	if !slices.ContainsFunc(all, func(s control.Session) bool { return s.ID == id && s.Browser == "Safari" && s.System == "iPhone" }) {
		t.Errorf("the phone is %s, listed %+v", id, all)
	}
	if ended, err := admin.RevokeSession(t.Context(), id); err != nil || ended != (control.Ended{Sessions: 1, Counted: true}) {
		t.Errorf("one session: %+v, %v", ended, err)
	}
	want("one session", 200, 401, 200)
	if _, _, err = socket.Read(t.Context()); websocket.CloseStatus(err) != 4401 {
		t.Errorf("its socket: %v", err)
	}
	for _, id := range []string{id, "AAAAAAAAAAAA", "../x?y=1#z", "\x00"} {
		if _, err := admin.RevokeSession(t.Context(), id); session.CodeOf(err) != session.NotFound {
			t.Errorf("no session of id %q: %v", id, err)
		}
	}
	phone.as("ada")
	if ended, err := admin.RevokeUser(t.Context(), "ada", "https://other.example"); err != nil || ended.Sessions != 0 {
		t.Errorf("at another issuer: %+v, %v", ended, err)
	}
	if ended, err := admin.RevokeUser(t.Context(), "ada", ""); err != nil || ended.Sessions != 2 || !ended.Counted {
		t.Errorf("a person: %+v, %v", ended, err)
	}
	want("a person", 401, 401, 200)
	ada.as("ada")
	if ended, err := admin.RevokeAll(t.Context()); err != nil || ended.Sessions != 2 {
		t.Errorf("all: %+v, %v", ended, err)
	}
	want("all", 401, 401, 401)
	if got := r.reasons(audit.Ended); len(got) != 5 || slices.ContainsFunc(got, func(s string) bool { return s != "by an administrator" }) {
		t.Errorf("audit: %q, want 5 endings by an administrator", got)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		if e.Action == audit.Ended && (e.Session == "" || e.Subject == "" || e.Provider != "main") {
			t.Errorf("audit: %+v", e)
		}
	}
}

func TestControl_T6_WhereSessionsRestInBrowsers(t *testing.T) {
	r := newRig(t, inCookies)
	admin := r.administrator()
	ada, phone, bob := r.browser().as("ada"), r.browser().as("ada"), r.browser().as("bob")
	refused := func(what string, err error, hint string) {
		t.Helper()
		if session.CodeOf(err) != session.Unlisted || !strings.Contains(err.Error(), "rest in browsers") || !strings.Contains(session.HintOf(err), hint) {
			t.Errorf("%s: %v (hint %q)", what, err, session.HintOf(err))
		}
	}
	refused("list", admin.List(t.Context(), "", "", nil), "session.storage: store")
	refused("list of one", admin.List(t.Context(), "ada", "", nil), "session.storage: store")
	_, err := admin.RevokeSession(t.Context(), "AAAAAAAAAAAA")
	refused("one session", err, "all sessions of a person")
	_, err = admin.RevokeAll(t.Context())
	refused("all", err, "new keys")

	if ended, err := admin.RevokeUser(t.Context(), "ada", r.op.Issuer()+"/"); session.CodeOf(err) != session.NotFound || !strings.Contains(session.HintOf(err), r.op.Issuer()) {
		t.Errorf("an issuer with a slip of the pen: %+v, %v (hint %q)", ended, err, session.HintOf(err))
	}
	if p := phone.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Fatalf("before: %d", p.Status)
	}
	if ended, err := admin.RevokeUser(t.Context(), "ada", ""); err != nil || ended.Counted {
		t.Errorf("a person: %+v, %v", ended, err)
	}
	for b, want := range map[*browser]int{ada: 401, phone: 401, bob: 200} {
		if p := b.fetch("GET", "/api/me"); p.Status != want {
			t.Errorf("%d, want %d", p.Status, want)
		}
	}
	if got := fmt.Sprint(r.reasons(audit.Ended)); got != "[by an administrator, all of the person's]" {
		t.Errorf("audit: %s", got)
	}
	ada.as("ada") // a new session is none of those
}

func TestControl_WhatMakesNoSense(t *testing.T) {
	r := newRig(t, inStore)
	b := r.browser().signIn()
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: r.gateway.Control()}
	go server.Serve(l)
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}
	for q, want := range map[string]int{
		"DELETE /sessions": 400, "DELETE /sessions?user=": 400, "DELETE /sessions?all=yes": 400, "DELETE /sessions?user=x&all=1": 400,
		"DELETE /sessions?user=%zz&all=1": 400, "DELETE /sessions?user=nobody&issuer=%zz": 400, "DELETE /sessions?user=nobody;issuer=x": 400, "DELETE /sessions?all=1&all=1": 400,
		"DELETE /sessions?user=nobody&user=x": 400, "DELETE /sessions?all=1&usr=nobody": 400, "GET /sessions?usr=nobody": 400, "GET /sessions?user=%zz": 400, "GET /sessions?id=x": 400,
		"DELETE /sessions?user=x&id=y": 400, "DELETE /sessions?id=y&all=1": 400, "POST /sessions": 405, "GET /": 404, "GET /session": 404,
	} {
		method, target, _ := strings.Cut(q, " ")
		req, _ := http.NewRequest(method, "http://control"+target, nil)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %d, want %d", q, res.StatusCode, want)
		}
	}
	if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("a session was ended: %d", p.Status)
	}
}

// slowStore gives one page and waits with the next.
type slowStore struct {
	session.Store
	mu    sync.Mutex
	pages int
	wait  chan struct{}
	fail  error
}

func (s *slowStore) Scan(ctx context.Context, after session.ID, n int) ([]session.Record, error) {
	s.mu.Lock()
	s.pages++
	first := s.pages == 1
	s.mu.Unlock()
	if !first {
		select {
		case <-s.wait:
		case <-ctx.Done():
			return nil, &session.Error{Code: session.Unavailable, Op: "scan", Err: ctx.Err()}
		}
		if s.fail != nil {
			return nil, s.fail
		}
	}
	return s.Store.(session.Scanner).Scan(ctx, after, n)
}

// A list begins before its end is known, and one that is cut short says so.
func TestControl_ListsStream(t *testing.T) {
	t.Parallel()
	for _, fail := range []error{nil, session.Fail(session.Unavailable, "scan records", "the disk is gone")} {
		store := &slowStore{wait: make(chan struct{}), fail: fail}
		r := newRig(t, func(c *cloakroom.Config) {
			inStore(c)
			store.Store = c.Store
			c.Store = store
			c.Endpoints.LoginsPer = 1000
		})
		for range 150 {
			r.browser().signIn()
		}
		n := 0
		err := r.administrator().List(t.Context(), "", "", func(control.Session) error {
			if n++; n == 20 {
				close(store.wait) // so many have arrived while the second page is waited for
			}
			return nil
		})
		if fail == nil && (err != nil || n != 150) || fail != nil && (session.CodeOf(err) != session.Unavailable || !strings.Contains(err.Error(), "the disk is gone") || n == 150) {
			t.Errorf("%d sessions, %v", n, err)
		}
	}
}

// Who has seen enough leaves, and nothing goes on behind him.
func TestControl_WhoListsMayLeave(t *testing.T) {
	store := &slowStore{wait: make(chan struct{})}
	r := newRig(t, func(c *cloakroom.Config) { inStore(c); store.Store = c.Store; c.Store = store })
	for range 3 {
		r.browser().signIn()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		await(t, "the second page is wanted", func() bool { store.mu.Lock(); defer store.mu.Unlock(); return store.pages == 2 })
		cancel()
	}()
	if err := r.administrator().List(ctx, "", "", func(control.Session) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a list that was left: %v", err)
	}
}

func TestControl_NobodyAnswers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	_, err := control.NewClient(path).RevokeAll(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no gateway answers at "+path) || session.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	l, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(l)
	defer server.Close()
	if _, err := control.NewClient(path).RevokeAll(t.Context()); err == nil || !strings.Contains(err.Error(), "is no gateway") {
		t.Errorf("something else listens: %v", err)
	}
}

// Told over the socket, a gateway ends at once what the database of its accounts says is over. One without accounts says so.
func TestControl_T7_EndsWhoWasClosed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.Database = accountsFile(t, path) }))
	db, admin := accountsFile(t, path), r.administrator()
	for round := range 3 { // it looks by itself each second, too
		b := r.browser()
		if b.sendJSON("/auth/register", adas(adasPassword)); b.ticket() == "" {
			b.sendJSON("/auth/login", adas(adasPassword))
		}
		if p := b.askAPI(); p.Status != http.StatusOK {
			t.Fatalf("before: %d", p.Status)
		}
		// As another process does.
		if _, err := db.Exec(fmt.Sprintf("INSERT INTO account_ending SELECT id, %d FROM account WHERE true ON CONFLICT (account) DO UPDATE SET since = excluded.since", time.Now().UnixNano())); err != nil {
			t.Fatal(err)
		}
		if err := admin.EndClosed(t.Context()); err != nil {
			t.Fatal(err)
		}
		if p := b.askAPI(); p.Status != http.StatusUnauthorized {
			t.Errorf("round %d: still in: %d", round, p.Status)
		}
	}
	if n := r.count(audit.Ended); resting() == "store" && n != 3 {
		t.Errorf("%d records of sessions that ended: %v", n, r.actions())
	}
	if err := newRig(t, nil).administrator().EndClosed(t.Context()); session.CodeOf(err) != session.NotFound || errors.Is(err, control.ErrUnreachable) {
		t.Errorf("without accounts: %v", err)
	}
	if err := control.NewClient(filepath.Join(t.TempDir(), "nowhere.sock")).EndClosed(t.Context()); !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("nobody there: %v", err)
	}
}
