package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

func TestRun_RefusesOtherMachines(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:8080", ":8080", "[::]:8080", "192.0.2.1:8080", "example.com:8080", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:70000"} {
		err := Run(t.Context(), Options{Listen: listen, Dir: t.TempDir()}, func(string) { t.Errorf("%s: served", listen) })
		if !errors.Is(err, &session.Error{Code: session.BadRequest}) || session.HintOf(err) == "" || !strings.Contains(err.Error(), listen) {
			t.Errorf("%s: got %v, hint %q", listen, err, session.HintOf(err))
		}
	}
}

// signIn signs a browser in through the gateway.
func (b *browser) signIn(base, username string) view {
	b.t.Helper()
	page := b.open(base+"/auth/login").want(b.t, http.StatusOK, "password")
	return b.submit(page, url.Values{"username": {username}, "password": {"anything"}}).want(b.t, http.StatusOK, "")
}

// seen is GET /auth/session.
type seen struct {
	Authenticated bool
	User          map[string]string
	AccessExpires time.Time `json:"access_expires_at"`
}

func (b *browser) session(base string) (s seen) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(b.open(base+"/auth/session").want(b.t, http.StatusOK, "").text), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// stream returns the lines of an answer as they come, until the test ends.
func (b *browser) stream(address string) <-chan string {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	b.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	res, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		defer res.Body.Close()
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			select {
			case lines <- in.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines
}

// watch reads the journal until stop says so.
func (b *browser) watch(base string, stop func(event) bool) {
	b.t.Helper()
	timeout := time.After(10 * time.Second)
	lines := b.stream(base + "/demo/events")
	for {
		select {
		case line, more := <-lines:
			if !more {
				b.t.Fatal("the journal ended before the event came")
			}
			text, ok := strings.CutPrefix(line, "data: ")
			if !ok {
				continue
			}
			var e event
			if err := json.Unmarshal([]byte(text), &e); err != nil {
				b.t.Fatal(err)
			}
			if stop(e) {
				return
			}
		case <-timeout:
			b.t.Fatal("the event did not come")
		}
	}
}

func TestRun_SignInUseSignOut(t *testing.T) {
	t.Parallel()
	demo := start(t, seeded(t), "127.0.0.1:0", 30*time.Second)
	b := newBrowser(t)
	page := b.open(demo.url+"/").want(t, http.StatusOK, "Hand in your tokens")
	if policy := page.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'self';") || strings.Contains(policy, "unsafe") {
		t.Errorf("the page's policy: %s", policy)
	}
	if inline := regexp.MustCompile(`<script[^>]*>[^<]|<style|\s(style|on\w+)=`).FindString(page.text); inline != "" {
		t.Errorf("the page has something inline: %s", inline)
	}
	b.open(demo.url+"/auth/client.js").want(t, http.StatusOK, "createClient")

	b.signIn(demo.url, "ada")
	if s := b.session(demo.url); !s.Authenticated || s.User["name"] != "Ada" {
		t.Fatalf("session: %+v", s)
	}
	b.open(demo.url+"/api/me").want(t, http.StatusOK, "ada@demo.example")
	const own = "same-origin"
	b.send("POST", demo.url+"/api/notes", "application/json", `{"text":"milk"}`, "Sec-Fetch-Site", own).want(t, http.StatusCreated, "milk")
	b.open(demo.url+"/api/notes").want(t, http.StatusOK, "milk")
	b.send("POST", demo.url+"/api/graphql", "application/json", `{"query":"{ me { name } notes { text } }"}`, "Sec-Fetch-Site", own).
		want(t, http.StatusOK, `{"data":{"me":{"name":"Ada"},"notes":[{"text":"milk"}]}}`)
	b.post(demo.url+"/api/email", url.Values{"email": {"countess@example.com"}}, "Sec-Fetch-Site", own).want(t, http.StatusOK, "Hand in your tokens")
	b.open(demo.url+"/api/me").want(t, http.StatusOK, "countess@example.com")

	stream := b.stream(demo.url + "/api/events") // it goes on for a minute: what comes at once was not held back
	if line := <-stream; !strings.HasPrefix(line, `data: {"time":`) {
		t.Errorf("the stream began with %q", line)
	}

	var views struct{ Cookies []cookieView }
	answer := b.open(demo.url+"/demo/cookies").want(t, http.StatusOK, "HttpOnly").text
	if err := json.Unmarshal([]byte(answer), &views); err != nil || len(views.Cookies) != 1 || views.Cookies[0].Readable {
		t.Errorf("cookies: %s, %v", answer, err)
	}
	base, err := url.Parse(demo.url)
	if err != nil {
		t.Fatal(err)
	}
	if value := b.Jar.Cookies(base)[0].Value; strings.Contains(answer, value) {
		t.Error("the description has the cookie's value")
	}

	b.post(demo.url+"/api/email", url.Values{"email": {"x@evil.example"}}, "Origin", "https://evil.example").want(t, http.StatusForbidden, "")
	b.watch(demo.url, func(e event) bool { return e.Action == "refused" && e.Reason == string(session.CrossSite) })

	out := b.send("POST", demo.url+"/auth/logout", "text/plain", "", "Sec-Fetch-Site", own, "Accept", "application/json").want(t, http.StatusOK, "logout_url")
	var next struct {
		URL string `json:"logout_url"`
	}
	if err := json.Unmarshal([]byte(out.text), &next); err != nil {
		t.Fatal(err)
	}
	to, err := base.Parse(next.URL)
	if err != nil {
		t.Fatal(err)
	}
	back := b.open(to.String()).want(t, http.StatusOK, "Hand in your tokens")
	if back.Request.URL.Host != base.Host {
		t.Errorf("signed out at %s", back.Request.URL)
	}
	if b.session(demo.url).Authenticated {
		t.Error("still signed in")
	}
	b.open(demo.url+"/auth/login").want(t, http.StatusOK, "password") // signed out at the provider, too
}

// A token that is over is renewed once, however many ask at the same time; a restart in between changes nothing.
func TestRun_RenewsOnceAndSurvivesRestart(t *testing.T) {
	t.Parallel()
	dir, b := seeded(t), newBrowser(t)
	demo := start(t, dir, "127.0.0.1:0", 2*time.Second)
	b.signIn(demo.url, "ada")
	ends := b.session(demo.url).AccessExpires
	demo.stop()

	demo = start(t, dir, strings.TrimPrefix(demo.url, "http://"), 2*time.Second)
	<-time.After(time.Until(ends) + time.Second) // the lifetime itself is under test; it is told in whole seconds
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() { b.open(demo.url+"/api/me").want(t, http.StatusOK, "ada@demo.example") })
	}
	wait.Wait()
	if b.session(demo.url).AccessExpires.Before(ends.Add(time.Millisecond)) {
		t.Error("the token was not renewed")
	}
	b.CloseIdleConnections()
	b.post(demo.url+"/api/email", url.Values{}, "Origin", "https://evil.example").want(t, http.StatusForbidden, "")
	counts := map[string]int{}
	b.watch(demo.url, func(e event) bool {
		counts[e.From+" "+e.Action]++
		return e.Action == "refused"
	})
	if counts["gateway renewed"] != 1 || counts["provider tokens refreshed"] != 1 {
		t.Errorf("counted %v", counts)
	}
}

func TestRun_FilesArePrivate(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	demo := start(t, dir, "127.0.0.1:0", 30*time.Second)
	b := newBrowser(t)
	b.signIn(demo.url, "ada")
	b.CloseIdleConnections()
	ledger, err := os.Stat(filepath.Join(dir, "demo.json"))
	if err != nil || ledger.Mode().Perm() != 0o600 {
		t.Errorf("demo.json: %v, %v", ledger.Mode(), err)
	}
	demo.stop()
	if log := demo.log.String(); strings.Contains(log, "eyJ") || !strings.Contains(log, `"action":"login"`) {
		t.Errorf("the log: %s", log)
	}
}

func TestFront_OneHostOneOrigin(t *testing.T) {
	demo := start(t, seeded(t), "127.0.0.1:0", 30*time.Second)
	b := newBrowser(t)
	_, port, err := net.SplitHostPort(strings.TrimPrefix(demo.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(host, path, site string) view {
		r, err := http.NewRequest(http.MethodGet, demo.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Sec-Fetch-Site", site)
		return b.staying("").do(r)
	}
	ask("rebound.example:"+port, "/", "none").want(t, http.StatusMisdirectedRequest, demo.url)
	moved := ask("localhost:"+port, "/x?y", "none").want(t, http.StatusTemporaryRedirect, "")
	if to := moved.Header.Get("Location"); to != demo.url+"/x?y" {
		t.Errorf("moved to %s", to)
	}
	for _, path := range []string{"/demo/cookies", "/demo/events"} {
		ask(strings.TrimPrefix(demo.url, "http://"), path, "cross-site").want(t, http.StatusForbidden, "")
	}
	b.send("POST", demo.url+"/demo/lab/run", "text/plain", "", "Sec-Fetch-Site", "same-site").want(t, http.StatusForbidden, "")
}

func TestRun_SaysWhoIsInTheWay(t *testing.T) {
	dir := seeded(t)
	demo := start(t, dir, "127.0.0.1:0", 30*time.Second)
	never := func(string) { t.Error("served") }
	if err := Run(t.Context(), Options{Listen: "127.0.0.1:0", Dir: dir}, never); err == nil || session.HintOf(err) == "" {
		t.Errorf("the same folder: %v, hint %q", err, session.HintOf(err))
	}
	taken := strings.TrimPrefix(demo.url, "http://")
	if err := Run(t.Context(), Options{Listen: taken, Dir: seeded(t)}, never); err == nil || session.HintOf(err) == "" {
		t.Errorf("the same port: %v, hint %q", err, session.HintOf(err))
	}
	if err := Run(t.Context(), Options{Listen: "127.0.0.1:0"}, never); err == nil {
		t.Error("no folder: no error")
	}
}

func TestJournal_GoesOnWhereAReaderWas(t *testing.T) {
	closing := make(chan struct{})
	j := newJournal(closing)
	server := httptest.NewServer(j)
	t.Cleanup(server.Close)
	for range keptEvents + 10 {
		j.note("counted", "")
	}
	events, _ := j.since(0)
	if len(events) != keptEvents {
		t.Fatalf("%d events are kept", len(events))
	}
	close(closing) // every reader gets what there is, and no more
	b := newBrowser(t)
	third := strconv.FormatInt(events[len(events)-4].ID, 10)
	for name, v := range map[string]view{
		"header":    b.send("GET", server.URL, "", "", "Last-Event-ID", third),
		"parameter": b.open(server.URL + "?after=" + third),
	} {
		if n := strings.Count(v.text, "counted"); n != 3 {
			t.Errorf("by %s: %d events", name, n)
		}
	}
	if all := b.open(server.URL); strings.Count(all.text, "counted") != keptEvents {
		t.Error("a new reader does not get everything")
	}
}

func TestShelf_IsBounded(t *testing.T) {
	s := newShelf[int](time.Hour, 3)
	names := []string{}
	for i := range 5 {
		names = append(names, s.put(i))
	}
	for i, name := range names {
		if v, ok := s.take(name); ok != (i >= 2) || ok && v != i {
			t.Errorf("%d: got %d, %v", i, v, ok)
		}
		if _, again := s.take(name); again {
			t.Errorf("%d was taken twice", i)
		}
	}
}
