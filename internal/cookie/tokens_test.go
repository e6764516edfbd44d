package cookie

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The names and attributes that docs/api.md promises to programs in other languages.
func TestToken_C1_C2_NamesAndAttributes(t *testing.T) {
	for _, c := range []struct {
		name     string
		jar      Jar
		base     string
		readable bool
		want     string
	}{
		{"own host", New(true, "443").WithTokens("", ""), AccessToken, false,
			"__Host-Http-access_token=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Strict"},
		{"own host, readable", New(true, "443").WithTokens("", "/"), AccessToken, true,
			"__Host-access_token=v; Path=/; Max-Age=60; Secure; SameSite=Strict"},
		{"own host, signature", New(true, "443").WithTokens("", "/"), Signature, false,
			"__Host-Http-access_token.sig=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Strict"},
		{"own host, companion", New(true, "443").WithTokens("", "/"), CSRF, false,
			"__Host-Http-csrf=v; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Strict"},
		{"domain", New(true, "443").WithTokens("example.com", ""), AccessToken, false,
			"__Secure-access_token=v; Path=/; Domain=example.com; Max-Age=60; HttpOnly; Secure; SameSite=Strict"},
		{"domain, readable", New(true, "443").WithTokens("example.com", ""), AccessToken, true,
			"__Secure-access_token=v; Path=/; Domain=example.com; Max-Age=60; Secure; SameSite=Strict"},
		{"path", New(true, "443").WithTokens("", "/api"), Signature, false,
			"__Secure-access_token.sig=v; Path=/api; Max-Age=60; HttpOnly; Secure; SameSite=Strict"},
		{"both", New(true, "443").WithTokens("example.com", "/api"), CSRF, false,
			"__Secure-csrf=v; Path=/api; Domain=example.com; Max-Age=60; HttpOnly; Secure; SameSite=Strict"},
		{"plain http", New(false, "8080").WithTokens("", ""), AccessToken, false,
			"cloakroom-8080-access_token=v; Path=/; Max-Age=60; HttpOnly; SameSite=Strict"},
		{"plain http, readable, path", New(false, "8080").WithTokens("", "/api"), AccessToken, true,
			"cloakroom-8080-access_token=v; Path=/api; Max-Age=60; SameSite=Strict"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, token := httptest.NewRecorder(), c.jar.Token(c.base, c.readable)
			c.jar.SetToken(w, token, "v", time.Minute+time.Millisecond)
			if got := w.Header()["Set-Cookie"]; len(got) != 1 || got[0] != c.want {
				t.Errorf("set by %q, want %q", got, c.want)
			}
			if got := w.Header().Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control is %q", got)
			}
			// C7: what clears a cookie names the same domain, path and prefix, or it clears another one.
			c.jar.ClearToken(w, token)
			want := strings.NewReplacer("=v;", "=;", "Max-Age=60", "Max-Age=0").Replace(c.want)
			if got := w.Header()["Set-Cookie"]; len(got) != 1 || got[0] != want {
				t.Errorf("cleared by %q, want %q", got, want)
			}
			if size := c.jar.TokenSize(token, "v"); size < len(c.want) || size > len(c.want)+len("34560000") {
				t.Errorf("TokenSize is %d, the cookie has %d bytes", size, len(c.want))
			}
			if !c.jar.Owns(token.Name) {
				t.Error("it is not ours")
			}
		})
	}
}

func TestStrip_P2_TokenCookies(t *testing.T) {
	host, wide, dev, none := New(true, "443").WithTokens("", ""), New(true, "443").WithTokens("example.com", ""), New(false, "8080").WithTokens("", ""), New(true, "443")
	for _, c := range []struct {
		name       string
		jar        Jar
		line, want string
	}{
		{"whole", host, "a=1; __Host-Http-session=s; __Host-Http-access_token=t", "a=1"},
		{"split", host, "__Host-access_token=h.p; a=1; __Host-Http-access_token.sig=s; b=2", "a=1; b=2"},
		{"only the readable half", host, "a=1; __Host-access_token=h.p", "a=1"},
		{"the session first", host, "__Host-Http-session=s; __Host-access_token=h.p", ""},
		{"the session last", host, "__Host-access_token=h.p; __Host-Http-session=s", ""},
		{"of a domain", wide, "a=1; __Secure-access_token=h.p; __Secure-access_token.sig=s; __Secure-csrf=c", "a=1"},
		{"of the configuration before", host, "__Secure-access_token=t; a=1", "a=1"},
		{"of the configuration before, the other way", wide, "__Host-Http-access_token=t; __Host-access_token=t; a=1", "a=1"},
		{"not ours", host, "__Host-access_tokens=x; __Host-id=1; __Secure-access_token.x=2; access_token=3; csrf=4", "__Host-access_tokens=x; __Host-id=1; __Secure-access_token.x=2; access_token=3; csrf=4"},
		{"C9_OtherCase", host, "__host-access_token=x; __SECURE-access_token=y", "__host-access_token=x; __SECURE-access_token=y"},
		{"plain http", dev, "cloakroom-8080-access_token=t; cloakroom-8080-access_token.sig=s; cloakroom-9090-access_token=t; __Secure-access_token=x", "cloakroom-9090-access_token=t; __Secure-access_token=x"},
		// An application that has such a cookie of its own keeps it, as long as there are none of ours.
		{"no token cookies", none, "__Secure-access_token=theirs; __Host-access_token=theirs; __Host-Http-session=s", "__Secure-access_token=theirs; __Host-access_token=theirs"},
		{"no token cookies any more", none, "__Host-Http-access_token=t; a=1", "a=1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{"Cookie": {c.line}}
			c.jar.Strip(h)
			if got := h.Get("Cookie"); got != c.want {
				t.Errorf("passes %q, want %q", got, c.want)
			}
		})
	}
}

// An upstream must not be able to plant what an API, or we, would take for ours.
func TestDropSet_P9_TokenCookies(t *testing.T) {
	jar := New(true, "443").WithTokens("example.com", "")
	h := http.Header{"Set-Cookie": {
		"__Secure-access_token=x", "__SECURE-Access_Token =x; Domain=example.com", "=__Host-access_token=x", "__Secure-csrf=x", "__Host-Http-access_token=x",
		"__Secure-access_token.sig=x", "__Secure-theirs=1", "access_token=2",
	}}
	jar.DropSet(h)
	if diff := cmp.Diff([]string{"__Secure-theirs=1", "access_token=2"}, h["Set-Cookie"]); diff != "" {
		t.Error(diff)
	}
	h = http.Header{"Set-Cookie": {"__Secure-access_token=x"}}
	New(true, "443").DropSet(h)
	if len(h["Set-Cookie"]) != 1 {
		t.Error("without token cookies the name is the application's")
	}
}

func TestReach(t *testing.T) {
	for _, c := range []struct {
		path, at string
		want     bool
	}{
		{"", "/", true}, {"/", "/x/y", true}, {"/api", "/api", true}, {"/api", "/api/x", true}, {"/api", "/apis", false}, {"/api", "/", false},
		{"/api/", "/api", false}, {"/api/", "/api/x", true}, {"/api", "/%61pi/x", false}, // browsers compare what they send
	} {
		r := httptest.NewRequest("GET", c.at, nil)
		if got := New(true, "").WithTokens("", c.path).Reach(r); got != c.want {
			t.Errorf("cookies of %q reach %q: %v", c.path, c.at, got)
		}
	}
}

func TestCarries(t *testing.T) {
	jar := New(true, "443").WithTokens("example.com", "")
	for line, want := range map[string]bool{
		"": false, "a=1": false, "__Host-Http-login.x=1": false, "__Host-Http-session=": true, "a=1; __Host-Http-session.0=x": true,
		"__Secure-access_token=x": true, "__Secure-access_token.sig=x": true, "__host-http-session=x": false,
	} {
		if got := jar.Carries(&http.Request{Header: http.Header{"Cookie": {line}}}); got != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}

func TestAttach(t *testing.T) {
	for _, c := range [][]string{{"t=1"}, {"a=1; t=1", "a=1"}, {"a=1; b=2; t=1", "a=1", "b=2"}} {
		h := http.Header{}
		if len(c) > 1 {
			h["Cookie"] = c[1:]
		}
		Attach(h, "t=1")
		if got := h["Cookie"]; len(got) != 1 || got[0] != c[0] {
			t.Errorf("%q, want %q", got, c[0])
		}
	}
}
