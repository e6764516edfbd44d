package lab

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// careless is a gateway that does wrong whatever can be done wrong, with an API that believes what it reads: every attack that
// needs no browser must find that out.
type careless struct {
	mu       sync.Mutex
	sessions map[string]string // who, by the first characters of a cookie: the rest is not looked at
	entered  string
	issued   []string
}

func subjectOf(username string) string { return "subject of " + username }

func (c *careless) mint(username string) (Tokens, error) {
	claims := must(json.Marshal(map[string]string{"sub": subjectOf(username), "role": "customer", "email": username + "@demo.example", "jti": rand.Text()}))
	token := "aGVhZA." + base64.RawURLEncoding.EncodeToString(claims) + ".c2lnbmF0dXJl"
	c.mu.Lock()
	defer c.mu.Unlock()
	c.issued = append(c.issued, token)
	return Tokens{Access: token, Refresh: "refresh-" + rand.Text()}, nil
}

// api believes the claims of any token, signed or not.
func (c *careless) api(w http.ResponseWriter, r *http.Request) {
	claims, ok := claimsOf(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if !ok {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/api/badge") {
		w.Header().Set("Cache-Control", "public, max-age=600")
	}
	answer2(w, claims)
}

func answer2(w http.ResponseWriter, body any) {
	w.WriteHeader(http.StatusOK)
	json.NewEncoder(w).Encode(body)
}

func (c *careless) who(r *http.Request) (string, bool) {
	cookie, err := r.Cookie("session")
	if err != nil || len(cookie.Value) < 8 {
		return "", false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	who, ok := c.sessions[cookie.Value[:8]]
	return who, ok
}

func (c *careless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	who, signedIn := c.who(r)
	switch {
	case r.URL.Path == "/auth/login":
		value := rand.Text()
		if cookie, err := r.Cookie("session"); err == nil {
			value = cookie.Value
		}
		c.mu.Lock()
		c.sessions[value[:8]] = c.entered
		c.mu.Unlock()
		http.SetCookie(w, &http.Cookie{Name: "session", Value: value, Path: "/"})
		if to := r.URL.Query().Get("return_to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusSeeOther)
		}
	case r.URL.Path == "/auth/session":
		answer2(w, map[string]any{"authenticated": signedIn, "user": map[string]string{"sub": subjectOf(who)}})
	case r.URL.Path == "/auth/logout":
		w.WriteHeader(http.StatusNoContent)
	case signedIn:
		t, _ := c.mint(who)
		r.Header.Set("Authorization", "Bearer "+t.Access)
		c.api(w, r)
	default:
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// at is a visit in which somebody is signed in at a careless gateway.
func (c *careless) at(t *testing.T, column string) *visit {
	t.Helper()
	parse := func(text string) *url.URL { return must(url.Parse(text)) }
	l := New(World{
		App: parse("http://app.example"), Issuer: parse("http://issuer.example"), Sibling: parse("http://evil.app.example"), Foreign: parse("http://evil.example"),
		Baseline: parse("http://old.example"), API: http.HandlerFunc(c.api), Mint: c.mint, Good: func(s string) bool { return strings.HasPrefix(s, "refresh-") },
		Refresh: func(string) (Tokens, error) { return c.mint(victim) },
		Enter: func(username string) *http.Cookie {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.entered = username
			return &http.Cookie{Name: "provider", Value: username}
		},
		Issued: func() []string { return c.issued },
		Stored: func(context.Context) ([]byte, error) {
			return []byte("a record of " + strings.Join(c.issued, " ")), nil
		},
		Client: &http.Client{Transport: http.DefaultTransport},
	})
	found, ok := columnOf(column)
	if !ok {
		t.Fatal(column)
	}
	r := &run{lab: l, ctx: t.Context(), id: "run"}
	v := &visit{Lab: l, run: r, column: found, gateway: c}
	if !found.Baseline() {
		_, cookies, err := v.signedIn(t.Context(), victim)
		if err != nil {
			t.Fatal(err)
		}
		v.cookies = joined(cookies)
	}
	return v
}

// made makes the stops of an attack with what a tab saw, and judges it.
func made(t *testing.T, v *visit, id string, seen ...string) string {
	t.Helper()
	a := makers[id](v)
	for i, s := range a.stops {
		if s.tell != nil {
			s.tell()
		}
		report := "{}"
		if i < len(seen) {
			report = seen[i]
		}
		if s.hear != nil {
			if err := s.hear(json.RawMessage(report)); err != nil {
				t.Fatal(err)
			}
		}
	}
	end, _, err := a.judge(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	entry, _ := attackOf(id)
	if entry.Ends[end].Is == "" {
		t.Errorf("%s: %q is not listed", id, end)
	}
	return end
}

// An attack that could not succeed would show nothing when it is blocked.
func TestJudges_FindWhatIsWrong(t *testing.T) {
	c := &careless{sessions: map[string]string{}}
	token, err := c.mint(victim)
	if err != nil {
		t.Fatal(err)
	}
	loot := `[{"where":"a drawer","what":"` + token.Access + `"}]`
	me := `{"sub":"` + subjectOf(victim) + `"}`
	for _, a := range []struct {
		attack, column string
		seen           []string
		want           string
	}{
		{"forge-cookie", "store-proxy", nil, "believed"},
		{"plant-session", "store-proxy", nil, "joined"},
		{"open-redirect", "store-proxy", nil, "escaped"},
		{"shared-cache", "store-proxy", nil, "leaked"},
		{"stolen-profile", "store-proxy", nil, "session"},
		{"stolen-profile", "local-storage", []string{`{"stored":["` + token.Access + `"]}`}, "access"},
		{"stolen-profile", "local-storage", []string{`{"stored":["` + token.Refresh + `"]}`}, "refresh"},
		{"stolen-profile", "local-storage", []string{`{"stored":["a draft of a letter"]}`}, "nothing"},
		{"stolen-store", "store-proxy", nil, "token"},
		{"replay-logout", "store-proxy", nil, "session"},
		{"reuse-refresh", "local-storage", nil, "again"},
		{"read-tokens", "store-proxy", []string{loot}, "access"},
		{"read-tokens", "store-proxy", []string{"[]"}, "nothing"},
		{"edit-role", "store-split", []string{`{"page":"admin","api":"customer"}`}, "page"},
		{"edit-role", "store-split", []string{`{"page":"admin","api":"admin"}`}, "api"},
		{"edit-role", "store-split", []string{`{"page":"customer","api":"customer"}`}, "nothing"},
		{"fetch-cross", "store-proxy", []string{`{"text":"` + subjectOf(victim) + `"}`}, "read"},
		{"websocket", "store-proxy", []string{`{"text":""}`, `{"text":"` + subjectOf(victim) + `"}`}, "sibling"},
		{"websocket", "store-proxy", []string{`{"text":"` + subjectOf(victim) + `"}`}, "anyone"},
		{"framing", "store-proxy", []string{`{"shown":true,"signedIn":false}`, `{"shown":false}`}, "empty"},
		{"framing", "store-proxy", []string{`{"shown":true,"signedIn":true}`}, "anyone"},
		{"toss-cookie", "store-proxy", []string{"", me}, "ignored"},
		{"toss-cookie", "store-proxy", []string{"", `{"sub":"` + subjectOf(attacker) + `"}`}, "attacker"},
		{"toss-cookie", "store-proxy", []string{"", `{"status":400}`}, "broken"},
	} {
		if got := made(t, c.at(t, a.column), a.attack, a.seen...); got != a.want {
			t.Errorf("%s in %s: got %s, want %s", a.attack, a.column, got, a.want)
		}
	}
}

// What arrived at the attacker's is judged by its worth, and by the way it came.
func TestJudges_WhatArrives(t *testing.T) {
	c := &careless{sessions: map[string]string{}}
	token, err := c.mint(victim)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []struct {
		by, loot string
		had      string
		want     string
	}{
		{"policy fetch", token.Access, `{"had":true}`, "access"},
		{"policy navigation", token.Access, `{"had":true}`, "access-navigation"},
		{"policy navigation", "nothing", `{"had":false}`, "nothing"},
		{"elsewhere", token.Access, `{"had":true}`, "stopped"},
	} {
		v := c.at(t, "store-memory")
		v.run.inbox.put(a.by, a.loot)
		if got := made(t, v, "send-policy", a.had); got != a.want {
			t.Errorf("%s by %q: got %s, want %s", a.loot, a.by, got, a.want)
		}
	}
}

func TestCache_ByTheBook(t *testing.T) {
	for _, c := range []struct {
		name     string
		answer   map[string]string
		asked    string // Authorization
		storable bool
	}{
		{"public", map[string]string{"Cache-Control": "public, max-age=60"}, "", true},
		{"private", map[string]string{"Cache-Control": "private, max-age=60"}, "", false},
		{"no-store", map[string]string{"Cache-Control": "no-store"}, "", false},
		{"says nothing", nil, "", false},
		{"with a bearer, max-age alone", map[string]string{"Cache-Control": "max-age=60"}, "Bearer x", false},
		{"with a bearer, public", map[string]string{"Cache-Control": "public, max-age=60"}, "Bearer x", true},
		{"varies by everything", map[string]string{"Cache-Control": "public, max-age=60", "Vary": "*"}, "", false},
	} {
		header := http.Header{}
		for name, value := range c.answer {
			header.Set(name, value)
		}
		asked := http.Header{}
		asked.Set("Authorization", c.asked)
		if got := (reply{status: http.StatusOK, header: header}).storable(asked); got != c.storable {
			t.Errorf("%s: stored %v, want %v", c.name, got, c.storable)
		}
	}
	k := kept{reply{header: http.Header{"Vary": {"Accept, Cookie"}}}, http.Header{"Cookie": {"session=hers"}}}
	if k.serves(http.Header{}) || !k.serves(http.Header{"Cookie": {"session=hers"}}) {
		t.Error("Vary is not kept to")
	}
}

func TestAsBrowsersRead(t *testing.T) {
	base := must(url.Parse("https://app.example/auth/continue"))
	for _, text := range []string{"//evil.example/", `/\evil.example/`, `\\evil.example/`, "/\t/evil.example/", " https://evil.example/"} {
		if to, err := base.Parse(asBrowsersRead(text)); err != nil || to.Host != "evil.example" {
			t.Errorf("%q leads to %v, %v", text, to, err)
		}
	}
}

func TestHolds(t *testing.T) {
	secret := "aGVhZA." + base64.RawURLEncoding.EncodeToString([]byte("the claims of somebody, long enough")) + ".c2ln"
	for text, want := range map[string]bool{
		"x" + secret + "y": true, "so: the claims of somebody, long enough!": true, "nothing of the kind": false, "sig head": false,
	} {
		if got := holds([]byte(text), secret); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
