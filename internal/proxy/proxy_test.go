package proxy

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/delivery"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/internal/storage"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// desk is a proxy over real storage, whose sessions a test makes as old as it needs them.
type desk struct {
	t       *testing.T
	tickets *storage.Tickets
	*session.Desk
	provider provider
	live     *Live
	told     map[session.ChangeKind]chan struct{} // what the store's watcher said, once everyone knows
	server   *httptest.Server
	proxy    *Proxy
	elapsed  time.Duration // how long ago requests began, as far as the proxy knows
}

// provider renews tokens, as long as it is asked to.
type provider struct {
	session.Provider
	refreshes atomic.Int32
	over      atomic.Bool
}

func (p *provider) Refresh(_ context.Context, g session.Grant, want session.Want) (session.Tokens, error) {
	n := p.refreshes.Add(1)
	if p.over.Load() {
		return session.Tokens{}, session.Fail(session.GrantOver, "refresh", "invalid_grant")
	}
	tokens := g.Tokens
	tokens.Access, tokens.Expires = "access-"+want.Audience+string('0'+n), time.Now().Add(time.Hour)
	return tokens, nil
}

// Addressees is "own" for the tokens of sessions.
func (p *provider) Addressees(_ string, want session.Want) []string {
	return []string{cmp.Or(want.Audience, "own")}
}

func newDesk(t *testing.T, serve http.HandlerFunc) *desk { return newDeskBy(t, "proxy", serve) }

// newDeskBy is newDesk with another delivery.
func newDeskBy(t *testing.T, word string, serve http.HandlerFunc) *desk {
	t.Helper()
	d := &desk{t: t, told: map[session.ChangeKind]chan struct{}{session.Changed: make(chan struct{}, 100), session.Live: make(chan struct{}, 100)}}
	ctx, cancel := context.WithCancel(context.Background())
	store := memory.New()
	own, err := origin.Parse("https://app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.NewKeyring(seal.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	options := delivery.Options{Delivery: word}
	jar := options.Jar(cookie.New(true, ""))
	deliver, err := delivery.New(options, own, jar, session.DefaultOptions(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if d.tickets, err = storage.NewTickets(ctx, store, ring, jar, session.DefaultOptions(), storage.Options{}); err != nil {
		t.Fatal(err)
	}
	sink := audit.SinkFunc(func(context.Context, audit.Event) {})
	renewer := session.NewRenewer(d.tickets, func(string) (session.Provider, bool) { return &d.provider, true }, sink, "a", "own")
	d.Desk = session.NewDesk(d.tickets, deliver, renewer, session.DefaultOptions(), sink)
	guarding, err := guard.New(own, guard.Options{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := telemetry.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	d.live = NewLive(d.Desk, Anonymous{})
	d.tickets.Listen(d.live.Changed)
	d.tickets.Listen(func(c session.Change) {
		select {
		case d.told[c.Kind] <- struct{}{}:
		default:
		}
	})
	api := httptest.NewServer(serve)
	p, err := New(Parts{
		Own: own, Guard: guarding, Desk: d.Desk, Delivery: deliver, Audit: sink, Live: d.live,
		Answers: &answer.Answers{Prefix: "/auth/", Jar: jar, Pages: ui.New("/auth/"), Log: slog.New(slog.DiscardHandler), Metrics: metrics},
	}, []Route{{Path: "/", Upstream: api.URL}, {Path: "/a/", Upstream: api.URL, Audience: "a"}, {Path: "/own/", Upstream: api.URL, Audience: "own"}}, metrics)
	if err != nil {
		t.Fatal(err)
	}
	d.proxy = p
	d.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x, r, _ := telemetry.Begin(w, r, func() string { return "id" })
		x.Started = x.Started.Add(-d.elapsed)
		p.ServeHTTP(x, r)
	}))
	t.Cleanup(func() {
		d.server.Close()
		api.Close()
		if err := renewer.Close(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		store.Close()
		for _, m := range p.routes.prefixes {
			m.to.(*upstream).reverse.Transport.(retryOnce).next.(*http.Transport).CloseIdleConnections()
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return d
}

// open makes a session whose tokens were renewed and whose ticket was first presented some time ago.
func (d *desk) open(ago time.Duration) (s *session.Session, ticket string) {
	d.t.Helper()
	now := time.Now().Round(0)
	s, err := d.tickets.Update(d.t.Context(), &session.Session{
		Grant: session.Grant{
			Provider: "main", Issuer: "https://op.example", Subject: "user-1",
			Tokens: session.Tokens{Access: "access-0", Refresh: "refresh", Expires: now.Add(time.Hour)},
		},
		Life: session.Life{Created: now, Seen: now, Renewed: now.Add(-ago), Absolute: now.Add(time.Hour)},
	}, func(*session.Session) error { return nil })
	if err != nil {
		d.t.Fatal(err)
	}
	w := httptest.NewRecorder()
	d.tickets.Write(w, httptest.NewRequest("GET", "/", nil), s)
	ticket = w.Result().Cookies()[0].Value
	s, err = d.tickets.Update(d.t.Context(), s, func(c *session.Session) error { c.Presented = now.Add(-ago); return nil })
	if err != nil {
		d.t.Fatal(err)
	}
	return s, ticket
}

// ask sends a request with a ticket and returns the answer, whole.
func (d *desk) ask(method, path, ticket, body string) (*http.Response, string) {
	d.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.server.URL+path, reader)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	req.Header.Set("Cookie", "__Host-Http-session="+ticket)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return res, string(text)
}

func deny(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="api", error="invalid_token"`)
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = io.WriteString(w, "the API's own words")
}

func TestRetry_R6_InvalidToken(t *testing.T) {
	const always, old = "always", "while the token is old"
	for _, tt := range []struct {
		name, method, body string
		denies             string
		age                time.Duration
		over               bool // the grant
		status             int
		hits, refreshes    int32
	}{
		{"good on the second try", "GET", "", old, time.Minute, false, 200, 2, 1},
		{"HEAD", "HEAD", "", old, time.Minute, false, 200, 2, 1},
		{"always denied", "GET", "", always, time.Minute, false, 401, 2, 1},
		{"young token", "GET", "", always, 0, false, 401, 1, 0},
		{"POST with a body", "POST", "x", old, time.Minute, false, 401, 1, 1},
		{"POST without", "POST", "", old, time.Minute, false, 401, 1, 1},
		{"DELETE", "DELETE", "", old, time.Minute, false, 401, 1, 1},
		{"GET with a body", "GET", "x", old, time.Minute, false, 401, 1, 1},
		{"grant is over", "GET", "", always, time.Minute, true, 401, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var hits atomic.Int32
			d := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
				hits.Add(1)
				if tt.denies == always || r.Header.Get("Authorization") == "Bearer access-0" {
					deny(w)
				}
			})
			d.provider.over.Store(tt.over)
			_, ticket := d.open(tt.age)
			res, body := d.ask(tt.method, "/", ticket, tt.body)
			if res.StatusCode != tt.status || hits.Load() != tt.hits || d.provider.refreshes.Load() != tt.refreshes {
				t.Errorf("%d after %d hits and %d refreshes", res.StatusCode, hits.Load(), d.provider.refreshes.Load())
			}
			if ours := res.Header.Get("Cloakroom") == "login-required"; ours != tt.over {
				t.Errorf("our own 401: %v, %q", ours, body)
			}
			if tt.status == 401 && !tt.over && body != "the API's own words" {
				t.Errorf("the API's words became %q", body)
			}
			if tt.over && !strings.Contains(res.Header.Get("Set-Cookie"), "Max-Age=0") {
				t.Errorf("R4: the cookie stays: %q", res.Header.Get("Set-Cookie"))
			}
		})
	}
}

// A route that names an audience has its own token renewed, and nobody else's.
func TestRetry_R6_P8_TokenForOneAPI(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		always     bool // it is denied
		age        time.Duration
		over       bool // the grant
		status     int
		sent       []string // to the API
		refreshes  int32    // after the first token for it
	}{
		{"good on the second try", "/a/", false, time.Minute, false, 200, []string{"access-a1", "access-a2"}, 1},
		{"always denied", "/a/", true, time.Minute, false, 401, []string{"access-a1", "access-a2"}, 1},
		{"young token", "/a/", true, 0, false, 401, []string{"access-a1"}, 0},
		{"grant is over", "/a/", true, time.Minute, true, 401, []string{"access-a1"}, 1},
		{"the session's own", "/own/", false, time.Minute, false, 200, []string{"access-0", "access-1"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sent []string
			d := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
				sent = append(sent, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
				if tt.always || len(sent) == 1 {
					deny(w)
				}
			})
			s, ticket := d.open(time.Minute)
			audience := strings.Trim(tt.path, "/")
			for range 2 { // the second time it is the one that is remembered
				seen, err := d.For(t.Context(), s, audience)
				if err != nil {
					t.Fatal(err)
				}
				seen.Life.Renewed = time.Now().Add(-tt.age)
			}
			before := d.provider.refreshes.Load()
			d.provider.over.Store(tt.over)
			res, body := d.ask("GET", tt.path, ticket, "")
			if n := d.provider.refreshes.Load() - before; res.StatusCode != tt.status || !slices.Equal(sent, tt.sent) || n != tt.refreshes {
				t.Errorf("%d %s: the API got %q, after %d refreshes", res.StatusCode, body, sent, n)
			}
			if ours := res.Header.Get("Cloakroom") == "login-required"; ours != tt.over {
				t.Errorf("our own 401: %v, %q", ours, body)
			}
		})
	}
}

// In cookies the second try brings the new token as well, once, and the browser gets it.
func TestRetry_R6_InCookies(t *testing.T) {
	var seen []string
	d := newDeskBy(t, "cookie", func(w http.ResponseWriter, r *http.Request) {
		if seen = append(seen, r.Header.Get("Cookie")); len(seen) == 1 {
			deny(w)
		}
	})
	_, ticket := d.open(time.Minute)
	res, body := d.ask("GET", "/", ticket+"; a=1; __Host-Http-access_token=access-0", "")
	want := []string{"a=1; __Host-Http-access_token=access-0", "a=1; __Host-Http-access_token=access-1"}
	if res.StatusCode != 200 || !slices.Equal(seen, want) {
		t.Errorf("%d %s after %q, want %q", res.StatusCode, body, seen, want)
	}
	if set := strings.Join(res.Header["Set-Cookie"], "\n"); !strings.Contains(set, "__Host-Http-access_token=access-1;") {
		t.Errorf("the answer sets %q", set)
	}
}

// Two requests with the same dead token renew it once.
func TestRetry_R6_OneRenewalForAll(t *testing.T) {
	var hits atomic.Int32
	d := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		if r.Header.Get("Authorization") == "Bearer access-0" {
			deny(w)
		}
	})
	_, ticket := d.open(time.Minute)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if res, body := d.ask("GET", "/", ticket, ""); res.StatusCode != 200 {
				t.Errorf("%d %s", res.StatusCode, body)
			}
		})
	}
	all.Wait()
	if n := d.provider.refreshes.Load(); n != 1 {
		t.Errorf("%d renewals", n)
	}
}

// A slow answer carries the ticket of a renewal that came while it was under way, and no ticket of a session that has ended.
func TestSlowAnswer_NewestTicket(t *testing.T) {
	for name, early := range map[string]bool{"plain": false, "after a 103": true} {
		t.Run(name, func(t *testing.T) {
			under, release := make(chan struct{}), make(chan struct{})
			d := newDesk(t, func(w http.ResponseWriter, _ *http.Request) {
				under <- struct{}{}
				<-release
				if early {
					w.WriteHeader(http.StatusEarlyHints)
				}
			})
			<-d.told[session.Live] // writes before it would stay untold
			s, ticket := d.open(5 * time.Minute)
			slow := func(meanwhile func()) *http.Response {
				answered := make(chan *http.Response)
				go func() {
					res, _ := d.ask("GET", "/", ticket, "")
					answered <- res
				}()
				<-under
				meanwhile()
				release <- struct{}{}
				return <-answered
			}
			res := slow(func() {
				renewed, err := d.Renew(t.Context(), s)
				if err != nil {
					t.Error(err)
				}
				for range renewed.Version {
					<-d.told[session.Changed]
				}
				another := httptest.NewRequest("GET", "/", nil)
				another.Header.Set("Cookie", "__Host-Http-session="+ticket)
				if _, err := d.Look(t.Context(), another); err != nil { // from now on this process knows
					t.Error(err)
				}
			})
			cookies := res.Cookies()
			if len(cookies) != 1 || cookies[0].Value == ticket || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("renewed meanwhile: %v", res.Header)
			}
			res = slow(func() {
				if _, err := d.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
					t.Error(err)
				}
			})
			if res.StatusCode != 200 || len(res.Cookies()) != 0 {
				t.Errorf("ended meanwhile: %d, cookies %v", res.StatusCode, res.Cookies())
			}
			if res, _ := d.ask("GET", "/", cookies[0].Value, ""); res.StatusCode != 401 {
				t.Errorf("it lives again: %d", res.StatusCode)
			}
		})
	}
}

// A stream whose session ended before the upstream's first byte is over at once, and no goroutine stays behind any of them.
func TestLive_EndedBeforeTheStream(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/maypok86/otter/v2.(*cache[...]).periodicCleanUp"))
	t.Run("streams", func(t *testing.T) {
		under, release := make(chan struct{}), make(chan struct{})
		d := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "Text/Event-Stream; charset=utf-8")
			if r.URL.Path == "/slow" {
				under <- struct{}{}
				<-release
			}
			w.(http.Flusher).Flush()
			if r.URL.Path != "/short" {
				<-r.Context().Done()
			}
		})
		s, ticket := d.open(0)
		for range 10 {
			d.ask("GET", "/short", ticket, "")
		}
		req, _ := http.NewRequestWithContext(t.Context(), "GET", d.server.URL+"/slow", nil)
		req.Header.Set("Cookie", "__Host-Http-session="+ticket)
		over := make(chan error)
		go func() {
			res, err := http.DefaultTransport.RoundTrip(req)
			if err == nil {
				_, err = io.ReadAll(res.Body)
				res.Body.Close()
				if res.StatusCode == http.StatusUnauthorized {
					err = errSessionOver // it broke off before its headers, and the transport asked again by itself
				}
			}
			over <- err
		}()
		<-under
		if _, err := d.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
			t.Fatal(err)
		}
		close(release)
		select {
		case err := <-over:
			if err == nil {
				t.Error("the stream passed for complete")
			}
		case <-time.After(time.Second):
			t.Fatal("the stream goes on")
		}
		d.server.Close()
		d.live.mu.Lock()
		defer d.live.mu.Unlock()
		if n := len(d.live.streams); n != 0 {
			t.Errorf("%d sessions are still followed", n)
		}
	})
}

// An answer that was not said to be a stream, and goes on and on all the same, breaks off when its session is ended.
func TestLive_LongAnswerEndsWithItsSession(t *testing.T) {
	for name, headers := range map[string]http.Header{
		"of unknown length": {"Content-Type": {"application/octet-stream"}},
		"of a known length": {"Content-Type": {"text/plain"}, "Content-Length": {"1000000"}},
	} {
		t.Run(name, func(t *testing.T) {
			more, gone := make(chan struct{}), make(chan struct{})
			d := newDesk(t, func(w http.ResponseWriter, r *http.Request) {
				maps.Copy(w.Header(), headers)
				for {
					_, _ = io.WriteString(w, "part ")
					w.(http.Flusher).Flush()
					select {
					case <-more:
					case <-r.Context().Done():
						close(gone)
						return
					}
				}
			})
			<-d.told[session.Live]
			d.elapsed = longAnswer + time.Second
			s, ticket := d.open(0)
			req, err := http.NewRequestWithContext(t.Context(), "GET", d.server.URL+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Cookie", "__Host-Http-session="+ticket)
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			for range 3 {
				if _, err := io.ReadFull(res.Body, make([]byte, 5)); err != nil {
					t.Fatal(err)
				}
				more <- struct{}{}
			}
			if _, err := d.tickets.End(t.Context(), session.Selector{ID: s.ID}); err != nil {
				t.Fatal(err)
			}
			select {
			case <-gone:
			case <-time.After(5 * time.Second):
				t.Fatal("the answer goes on")
			}
			if _, err := io.ReadAll(res.Body); err == nil {
				t.Error("the answer passed for complete")
			}
			d.server.Close()
			d.live.mu.Lock()
			defer d.live.mu.Unlock()
			if n := len(d.live.streams); n != 0 {
				t.Errorf("%d sessions are still followed", n)
			}
		})
	}
}

// Who merely downloads for longer than his session lasts without other requests gets it all, unless it takes until the absolute end.
func TestLive_LongAnswerOutlastsIdle(t *testing.T) {
	for _, tt := range []struct {
		name  string
		watch func(*Live, context.Context, *session.Session) (context.Context, func())
		after time.Duration
		cause error
	}{
		{"a stream ends when idle", (*Live).Watch, 30 * time.Minute, errSessionOver},
		{"a long answer does not", (*Live).WatchLong, time.Hour, nil},
		{"but at the absolute end", (*Live).WatchLong, 12 * time.Hour, errSessionOver},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				live, s := liveOf(t)
				over, end := tt.watch(live, t.Context(), s)
				defer end()
				time.Sleep(tt.after - time.Second)
				synctest.Wait()
				if err := over.Err(); err != nil {
					t.Fatalf("over early: %v", context.Cause(over))
				}
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if got := context.Cause(over); got != tt.cause {
					t.Errorf("%v, want %v", got, tt.cause)
				}
			})
		})
	}
	t.Run("a shutdown leaves it alone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			live, s := liveOf(t)
			long, endLong := live.WatchLong(t.Context(), s)
			defer endLong()
			stream, end := live.Watch(t.Context(), s)
			defer end()
			live.Drain()
			synctest.Wait()
			if context.Cause(stream) != errDraining || long.Err() != nil {
				t.Errorf("stream: %v, long answer: %v", context.Cause(stream), context.Cause(long))
			}
		})
	})
}

// liveOf is a Live and a session that begins now and that nobody uses. Its store forgets it when it expires.
func liveOf(t *testing.T) (*Live, *session.Session) {
	t.Helper()
	now := time.Now().Round(0)
	s := &session.Session{Life: session.Life{Created: now, Seen: now, Absolute: now.Add(session.DefaultOptions().Absolute)}}
	return NewLive(session.NewDesk(forgetful{}, delivery.Proxy{}, nil, session.DefaultOptions(), nil), Anonymous{}), s
}

type forgetful struct{ session.Storage }

func (forgetful) Update(_ context.Context, s *session.Session, _ func(*session.Session) error) (*session.Session, error) {
	if !time.Now().Before(session.DefaultOptions().Ends(s)) {
		return nil, session.Fail(session.Ended, "update", "gone")
	}
	return s, nil
}

func TestFrameScanner_AnySplit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var stream []byte
		ends := map[int]bool{0: true}
		for range rapid.IntRange(0, 6).Draw(t, "frames") {
			n := rapid.SampledFrom([]int{0, 1, 125, 126, 127, 65535, 65536, 70000}).Draw(t, "length")
			masked := rapid.Bool().Draw(t, "masked")
			stream = append(stream, 0x82)
			bit := byte(0)
			if masked {
				bit = 0x80
			}
			switch {
			case n < 126:
				stream = append(stream, bit|byte(n))
			case n < 65536:
				stream = binary.BigEndian.AppendUint16(append(stream, bit|126), uint16(n))
			default:
				stream = binary.BigEndian.AppendUint64(append(stream, bit|127), uint64(n))
			}
			if masked {
				stream = append(stream, 1, 2, 3, 4)
			}
			stream = append(stream, make([]byte, n)...)
			ends[len(stream)] = true
		}
		var f frameScanner
		for at := 0; at < len(stream); {
			step := rapid.IntRange(1, min(len(stream)-at, 70000)).Draw(t, "step")
			f.scan(stream[at : at+step])
			at += step
			if f.between() != ends[at] {
				t.Fatalf("at %d of %d: between is %v", at, len(stream), f.between())
			}
		}
	})
}

func TestOurs_P3(t *testing.T) {
	p := &Proxy{identity: set("X-Team")}
	for name, want := range map[string]bool{
		"Authorization": true, "X-Team": true, "X_team": true, "X-Team_": true, "X.team": true, "X-Forwarded-Anything": true, "X-Forwarded": true,
		"Client-Cert-Chain": true, "Remote-Groups": true, "X-Goog-Iap-Jwt-Assertion": true, "Ssl-Client-S-Dn": true, "X-Auth-Request-Email": true,
		"Accept": false, "Content-Type": false, "X-Csrf-Token": false, "X-Custom": false, "Cookie": false, "Sec-Fetch-Site": false, "If-None-Match": false,
		"X-Requested-With": false, "Traceparent": false, "Sec-Websocket-Key": false, "Range": false, "Apollo-Require-Preflight": false,
	} {
		if p.ours(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

func FuzzPublic(f *testing.F) {
	for _, seed := range []string{"http://api:3000/v1/x", "//api:3000//evil.example", "http://API:3000", "/x", "https://else.example/", "http://api:3000/v1%2f/..", `http://api:3000/\evil.example`} {
		f.Add(seed)
	}
	u := &upstream{target: &url.URL{Scheme: "http", Host: "api:3000"}, base: "/v1", strip: "/app"}
	f.Fuzz(func(t *testing.T, location string) {
		got := u.public(location)
		if got == location {
			return
		}
		to, err := url.Parse(got)
		if err != nil || to.Host != "" || to.Scheme != "" || !strings.HasPrefix(got, "/") || strings.HasPrefix(got, "//") || strings.HasPrefix(got, `/\`) {
			t.Errorf("%q became %q", location, got)
		}
	})
}

func TestUnshared_H2_UsualLinesAreRight(t *testing.T) {
	for said, line := range usual {
		if want := unshared([]string{said}); len(line) != 1 || line[0] != want {
			t.Errorf("%q becomes %q, want %q", said, line, want)
		}
	}
}
