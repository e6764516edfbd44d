package delivery

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	claims    = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ1c2VyLTEifQ"
	signature = "c2lnbmF0dXJl"
	jwt       = claims + "." + signature
)

// newDelivery is a delivery at https://app.example.com, and what it logs.
func newDelivery(t *testing.T, o Options) (session.Delivery, *bytes.Buffer) {
	t.Helper()
	own, err := origin.Parse("https://app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	d, err := New(o, own, o.Jar(cookie.New(true, "443")), session.DefaultOptions(), nil, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return d, &log
}

// newSession has a token that lives five minutes, and was received age ago.
func newSession(token string, age time.Duration) *session.Session {
	now := time.Now()
	return &session.Session{
		LogID: "log-id",
		Grant: session.Grant{Tokens: session.Tokens{Access: token, Refresh: "r", Expires: now.Add(5*time.Minute - age)}},
		Life:  session.Life{Created: now, Seen: now, Renewed: now.Add(-age), Absolute: now.Add(12 * time.Hour)},
	}
}

func request(path, cookies string) *http.Request {
	r := httptest.NewRequest("GET", path, nil)
	if cookies != "" {
		r.Header.Set("Cookie", cookies)
	}
	return r
}

func setBy(d session.Delivery, r *http.Request, s *session.Session) []string {
	w := httptest.NewRecorder()
	d.Deliver(w, r, s)
	return w.Header()["Set-Cookie"]
}

func TestOutbound_P2_TheCurrentTokenAndNoOther(t *testing.T) {
	brought := "a=1; __Host-Http-session=x; __Host-Http-access_token=old; __Host-access_token=old; __Host-Http-access_token.sig=old; b=2"
	for _, c := range []struct {
		options Options
		cookie  string
		bearer  string
	}{
		{Options{Delivery: "proxy"}, brought, "Bearer " + jwt}, // the proxy strips before, and knows of no token cookies
		{Options{Delivery: "cookie"}, "a=1; b=2; __Host-Http-access_token=" + jwt, ""},
		{Options{Delivery: "split"}, "a=1; b=2; __Host-access_token=" + claims + "; __Host-Http-access_token.sig=" + signature, ""},
	} {
		t.Run(c.options.Delivery, func(t *testing.T) {
			d, _ := newDelivery(t, c.options)
			out := request("/api/", brought)
			out.Header.Set("Authorization", "Bearer theirs")
			for range 2 { // again, as for a repetition with a newer token
				if err := d.Outbound(out, newSession(jwt, 0)); err != nil {
					t.Fatal(err)
				}
			}
			if got := out.Header.Get("Cookie"); got != c.cookie {
				t.Errorf("Cookie %q, want %q", got, c.cookie)
			}
			if got := out.Header.Get("Authorization"); got != c.bearer {
				t.Errorf("Authorization %q, want %q", got, c.bearer)
			}
			if err := d.Outbound(out, nil); err != nil || out.Header.Get("Authorization") != "" || strings.Contains(out.Header.Get("Cookie"), claims) {
				t.Errorf("anonymous, with %v: %v", err, out.Header)
			}
			if d.Word() != c.options.Delivery {
				t.Errorf("it is called %q", d.Word())
			}
		})
	}
}

func TestOutbound_WhatCannotBeSplitGoesNowhere(t *testing.T) {
	d, _ := newDelivery(t, Options{Delivery: "split"})
	out := request("/api/", "__Host-access_token=old")
	err := d.Outbound(out, newSession("opaque", 0))
	if session.CodeOf(err) != session.ProviderRefused || len(out.Header["Cookie"]) != 0 || len(out.Header["Authorization"]) != 0 {
		t.Errorf("%v, with %v", err, out.Header)
	}
}

func TestDeliver_C7_C14_SetsAndWithdrawsTheSame(t *testing.T) {
	for _, c := range []struct {
		options     Options
		set, forget []string
	}{
		{Options{Delivery: "proxy"}, nil, nil},
		{Options{Delivery: "cookie"},
			[]string{"__Host-Http-access_token=" + jwt + "; Path=/; Max-Age=300; HttpOnly; Secure; SameSite=Strict"},
			[]string{"__Host-Http-access_token=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Strict"}},
		{Options{Delivery: "split", Domain: "example.com", Path: "/api"},
			[]string{"__Secure-access_token=" + claims + "; Path=/api; Domain=example.com; Max-Age=300; Secure; SameSite=Strict",
				"__Secure-access_token.sig=" + signature + "; Path=/api; Domain=example.com; Max-Age=300; HttpOnly; Secure; SameSite=Strict"},
			[]string{"__Secure-access_token=; Path=/api; Domain=example.com; Max-Age=0; Secure; SameSite=Strict",
				"__Secure-access_token.sig=; Path=/api; Domain=example.com; Max-Age=0; HttpOnly; Secure; SameSite=Strict"}},
	} {
		t.Run(c.options.Delivery, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := newDelivery(t, c.options)
				r := request("/", "")
				if got := setBy(d, r, newSession(jwt, 0)); strings.Join(got, "\n") != strings.Join(c.set, "\n") {
					t.Errorf("set\n%q, want\n%q", got, c.set)
				}
				if got := setBy(d, r, nil); strings.Join(got, "\n") != strings.Join(c.forget, "\n") {
					t.Errorf("withdrawn by\n%q, want\n%q", got, c.forget)
				}
			})
		})
	}
}

// The cookie's life is the token's, and not longer than the session: whoever idles out leaves no token behind.
func TestDeliver_LivesNoLongerThanTokenAndSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, _ := newDelivery(t, Options{Delivery: "cookie"})
		now := time.Now()
		for _, c := range []struct {
			change func(*session.Session)
			want   string
		}{
			{func(s *session.Session) {}, "Max-Age=300;"},
			{func(s *session.Session) { s.Grant.Tokens.Expires = now.Add(24 * time.Hour) }, "Max-Age=1800;"},
			{func(s *session.Session) { s.Life.Absolute = now.Add(time.Minute) }, "Max-Age=60;"},
			{func(s *session.Session) { s.Grant.Tokens.Expires = time.Time{} }, "Max-Age=1800;"},
			{func(s *session.Session) { s.Grant.Tokens.Expires = now.Add(1500 * time.Millisecond) }, "Max-Age=1;"},
			{func(s *session.Session) { s.Grant.Tokens.Expires = now.Add(900 * time.Millisecond) }, ""},
			{func(s *session.Session) { s.Grant.Tokens.Expires = now.Add(-time.Second) }, ""},
		} {
			s := newSession(jwt, 0)
			c.change(s)
			got := strings.Join(setBy(d, request("/", ""), s), "\n")
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		}
	})
}

func TestDelivered(t *testing.T) {
	whole, halves := Options{Delivery: "cookie"}, Options{Delivery: "split"}
	far := Options{Delivery: "cookie", Path: "/api"}
	for _, c := range []struct {
		name    string
		options Options
		path    string
		cookies string
		token   string
		age     time.Duration
		want    bool
	}{
		{"it has it", whole, "/", "__Host-Http-access_token=" + jwt, jwt, 0, true},
		{"it has it, an hour later", whole, "/", "__Host-Http-access_token=" + jwt, jwt, time.Hour, true},
		{"it has none", whole, "/", "", jwt, time.Minute, false},
		{"it has an older one", whole, "/", "__Host-Http-access_token=" + jwt + "x", jwt, time.Minute, false},
		{"C8_it has two", whole, "/", "__Host-Http-access_token=" + jwt + "; __Host-Http-access_token=" + jwt, jwt, time.Minute, false},
		{"C9_another name", whole, "/", "__host-http-access_token=" + jwt, jwt, time.Minute, false},
		{"both halves", halves, "/", "__Host-access_token=" + claims + "; __Host-Http-access_token.sig=" + signature, jwt, 0, true},
		{"one half", halves, "/", "__Host-access_token=" + claims, jwt, time.Minute, false},
		{"the other half", halves, "/", "__Host-Http-access_token.sig=" + signature, jwt, time.Minute, false},
		{"halves of two tokens", halves, "/", "__Host-access_token=" + claims + "; __Host-Http-access_token.sig=b2xk", jwt, time.Minute, false},
		{"a half that script has changed", halves, "/", "__Host-access_token=" + claims + "x; __Host-Http-access_token.sig=" + signature, jwt, time.Minute, false},
		{"the token is over: the browser has dropped it", whole, "/", "", jwt, 6 * time.Minute, true},
		{"out of sight, just received", far, "/", "", jwt, 29 * time.Second, false},
		{"out of sight, a while ago", far, "/", "", jwt, 30 * time.Second, true},
		{"in sight", far, "/api/x", "", jwt, time.Minute, false},
		{"in sight, and there", far, "/api/x", "__Secure-access_token=" + jwt, jwt, time.Minute, true},
		{"does not fit, and there is nothing to take back", halves, "/", "", "opaque", time.Minute, true},
		{"does not fit, and the one before is still there", halves, "/", "__Host-access_token=" + claims, "opaque", time.Minute, false},
		{"too large, and the one before is still there", whole, "/", "__Host-Http-access_token=" + jwt, strings.Repeat("x", 5000), time.Minute, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, _ := newDelivery(t, c.options)
				if got := d.Delivered(request(c.path, c.cookies), newSession(c.token, c.age)); got != c.want {
					t.Errorf("%v, want %v", got, c.want)
				}
			})
		})
	}
}

// Tokens of 1 byte and of 64 kB, and all around the limit: what passes the check is kept by browsers, what does not has a hint.
func TestCheck_C4_Sizes(t *testing.T) {
	parts := func(claims, signature int) string {
		return "hh." + strings.Repeat("p", claims/4*4) + "." + strings.Repeat("s", signature/4*4)
	}
	sizes := []struct {
		name    string
		options Options
		token   string
		want    session.Code
	}{
		{"one byte", Options{Delivery: "cookie"}, "x", ""},
		{"64 kB", Options{Delivery: "cookie"}, strings.Repeat("x", 64<<10), session.SessionTooLarge},
		{"not for a cookie", Options{Delivery: "cookie"}, `a"b`, session.ProviderRefused},
		{"two cookies in one", Options{Delivery: "cookie"}, "a;b", session.ProviderRefused},
		{"one byte", Options{Delivery: "split"}, "x", session.ProviderRefused},
		{"two parts", Options{Delivery: "split"}, "a.b", session.ProviderRefused},
		{"JWE", Options{Delivery: "split"}, "aa.bb.cc.dd.ee", session.ProviderRefused},
		{"an empty part", Options{Delivery: "split"}, "aa..cc", session.ProviderRefused},
		{"no signature", Options{Delivery: "split"}, "aa.bb.", session.ProviderRefused},
		{"no base64url", Options{Delivery: "split"}, "aa.b=.cc", session.ProviderRefused},
		{"64 kB", Options{Delivery: "split"}, parts(32<<10, 32<<10), session.SessionTooLarge},
		{"a large signature", Options{Delivery: "split"}, parts(100, 4400), session.SessionTooLarge},
		{"each fits, both do not", Options{Delivery: "split"}, parts(3900, 3900), session.SessionTooLarge},
		{"each fits, and both", Options{Delivery: "split"}, parts(3900, 680), ""},
	}
	for _, c := range sizes {
		t.Run(c.options.Delivery+" "+c.name, func(t *testing.T) {
			d, _ := newDelivery(t, c.options)
			err := d.(session.Checker).Check(newSession(c.token, 0))
			if session.CodeOf(err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if hint := session.HintOf(err); err != nil && (!strings.Contains(hint, "proxy") || !strings.Contains(hint, "memory")) {
				t.Errorf("the hint does not say what fits: %q", hint)
			}
			if err != nil && len(c.token) > 8 && strings.Contains(err.Error(), c.token[:8]) {
				t.Errorf("the token is in the error: %v", err)
			}
		})
	}
	for _, o := range []Options{{Delivery: "cookie"}, {Delivery: "cookie", Domain: "example.com", Path: "/api"}} {
		d, _ := newDelivery(t, o)
		fits := 0
		for size := 3900; size < 4200; size++ {
			s := newSession(strings.Repeat("x", size), 0)
			if d.(session.Checker).Check(s) != nil {
				break
			}
			fits = size
			for _, line := range setBy(d, request("/", ""), s) {
				if len(line) > 4096 {
					t.Fatalf("a cookie of %d bytes", len(line))
				}
			}
		}
		if fits < 3900 || fits > 4096-len("__Host-Http-access_token=") {
			t.Errorf("%+v: tokens of up to %d bytes fit", o, fits)
		}
	}
}

// A token that got too large at a renewal must not break the session, nor leave the older one in the browser.
func TestDeliver_C4_TooLargeAfterARenewal(t *testing.T) {
	d, log := newDelivery(t, Options{Delivery: "cookie"})
	r, grown := request("/", "__Host-Http-access_token="+jwt), newSession(strings.Repeat("x", 5000), 0)
	got := setBy(d, r, grown)
	if len(got) != 1 || !strings.HasPrefix(got[0], "__Host-Http-access_token=; Path=/; Max-Age=0;") {
		t.Errorf("the answer sets %q", got)
	}
	if text := log.String(); !strings.Contains(text, "no longer delivered") || !strings.Contains(text, "session=log-id") || strings.Contains(text, "xxxx") {
		t.Errorf("the log has %s", text)
	}
	out := request("/", "")
	if err := d.Outbound(out, grown); err != nil || !strings.Contains(out.Header.Get("Cookie"), "xxxx") {
		t.Errorf("through the gateway it does not go on: %v", err)
	}
	// And back: it shrinks, and fits again.
	if got := setBy(d, request("/", ""), newSession(jwt, 0)); len(got) != 1 || !strings.Contains(got[0], jwt) {
		t.Errorf("the answer sets %q", got)
	}
}

func TestNew_C14_Refuses(t *testing.T) {
	own, err := origin.Parse("https://app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{
		{Delivery: "localStorage"}, {Domain: "example.com"}, {Delivery: "proxy", Path: "/api"}, {Delivery: "cookie", Domain: "com"},
		{Delivery: "cookie", Domain: "other.example"}, {Delivery: "split", Path: "api"}, {Delivery: "split", Path: "/;x"},
	} {
		if _, err := New(o, own, cookie.New(true, "443"), session.DefaultOptions(), nil, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
