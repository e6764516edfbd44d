package guard

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

func armed(t testing.TB, mode string) *Guard {
	t.Helper()
	o, err := origin.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.NewKeyring("Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4")
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(o, Options{CSRF: mode, Origins: []string{listed}}, ring)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func of(id byte, issuer, subject, access string) *session.Session {
	return &session.Session{ID: session.ID{id}, Grant: session.Grant{Issuer: issuer, Subject: subject, Tokens: session.Tokens{Access: access}}}
}

func TestCSRF_X2_Header(t *testing.T) {
	g := armed(t, CSRFHeader)
	with := func(more map[string]string) map[string]string {
		h := map[string]string{"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Origin": own}
		for name, value := range more {
			if h[name] = value; value == absent {
				delete(h, name)
			}
		}
		return h
	}
	for _, c := range []struct {
		name, method string
		header       map[string]string
		want         session.Code
	}{
		{"a write with it", "POST", with(map[string]string{TokenHeader: "1"}), ""},
		{"a read with it", "GET", with(map[string]string{TokenHeader: "1"}), ""},
		{"a write without", "POST", with(nil), session.CrossSite},
		{"a read without", "GET", with(nil), session.CrossSite},
		{"an empty one", "GET", with(map[string]string{TokenHeader: ""}), session.CrossSite},
		{"a head without", "HEAD", with(nil), session.CrossSite},
		{"a listed front end with it", "POST", with(map[string]string{TokenHeader: "1", "Sec-Fetch-Site": "same-site", "Origin": listed}), ""},
		{"a listed front end without", "GET", with(map[string]string{"Sec-Fetch-Site": "same-site", "Origin": listed}), session.CrossSite},

		// What cannot send a header, as Chromium and Firefox ask for it.
		{"an image", "GET", with(map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}), ""},
		{"a style", "GET", with(map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "style"}), ""},
		{"a script", "GET", with(map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}), ""},
		{"a module", "GET", with(map[string]string{"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "script"}), ""},
		{"a worker", "GET", with(map[string]string{"Sec-Fetch-Mode": "same-origin", "Sec-Fetch-Dest": "worker"}), ""},
		{"a preload", "GET", with(map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "empty"}), ""},
		{"a frame", "GET", with(map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}), ""},
		{"a download by <a download>", "GET", with(map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "empty", "Origin": absent}), ""},
		{"a download by a link", "GET", with(map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Origin": absent}), ""},
		{"a link of another site to a page", "GET", with(map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Origin": absent}), ""},
		{"an address typed in", "GET", with(map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Origin": absent}), ""},
		{"EventSource", "GET", with(map[string]string{"Accept": "text/event-stream"}), ""},
		{"EventSource of a sibling", "GET", with(map[string]string{"Accept": "text/event-stream", "Sec-Fetch-Site": "same-site", "Origin": "https://evil.example.com"}), session.CrossSite},
		{"EventSource of a listed front end", "GET", with(map[string]string{"Accept": "text/event-stream", "Sec-Fetch-Site": "same-site", "Origin": listed}), session.CrossSite},
		{"a write that wants events", "POST", with(map[string]string{"Accept": "text/event-stream"}), session.CrossSite},
		{"an image of a sibling", "GET", with(map[string]string{"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", "Origin": absent}), session.CrossSite},
		{"an image of nowhere", "GET", with(map[string]string{"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image", "Origin": absent}), session.CrossSite},
		{"a beacon", "POST", with(map[string]string{"Sec-Fetch-Mode": "no-cors"}), session.CrossSite},
		{"a form of our own", "POST", with(map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}), session.CrossSite},

		{"WebSocket in Firefox", "GET", with(map[string]string{"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-Fetch-Mode": "websocket", "Sec-Fetch-Dest": "empty"}), ""},
		{"WebSocket in Chromium", "GET", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Origin": own}, ""},
		{"WebSocket of a listed front end", "GET", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Origin": listed}, ""},
		{"WebSocket of a sibling", "GET", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Origin": "https://evil.example.com"}, session.CrossSite},
		{"WebSocket by Referer alone", "GET", map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Referer": own + "/"}, session.CrossSite},
		{"WebSocket without Origin", "GET", with(map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Origin": absent}), session.CrossSite},
		{"a write that looks like one", "POST", with(map[string]string{"Connection": "Upgrade", "Upgrade": "websocket"}), session.CrossSite},

		{"an old browser's read", "GET", map[string]string{"Accept": "text/html", "Referer": own + "/"}, session.CrossSite},
		{"another site with it", "POST", with(map[string]string{TokenHeader: "1", "Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}), session.CrossSite},
		{"a program that says nothing", "GET", map[string]string{}, session.CrossSite},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "/api/", nil)
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			if err := g.Check(r); session.CodeOf(err) != c.want {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestCSRF_X8_TokensOfOthers(t *testing.T) {
	g := armed(t, CSRFToken)
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://id.example","sub":"ada"}`))
	s := of(1, "https://id.example", "ada", "h."+claims+".s")
	token := g.Token(s)
	if again := g.Token(of(1, "https://id.example", "ada", "opaque")); again != token {
		t.Error("the token is another one after a renewal")
	}
	if again := armed(t, CSRFToken).Token(s); again != token {
		t.Error("another replica makes another token")
	}
	post := func(token string) error {
		r := httptest.NewRequest("POST", "/api/", nil)
		r.Header.Set(TokenHeader, token)
		return g.CheckToken(r, s)
	}
	if err := post(token); err != nil {
		t.Fatal(err)
	}
	other := armed(t, CSRFToken)
	other.tokens.key = func() []byte { return bytes.Repeat([]byte{9}, 32) }
	for name, wrong := range map[string]string{
		"none": "", "one of another session": g.Token(of(2, "https://id.example", "ada", "")), "of another person": g.Token(of(1, "https://id.example", "eve", "")),
		"of another issuer": g.Token(of(1, "https://evil.example", "ada", "")), "under another key": other.Token(s), "cut short": token[:len(token)-1],
		"longer": token + "A", "another version": "2" + token[1:], "the companion": g.Companion(s), "in capitals": strings.ToUpper(token),
	} {
		if err := post(wrong); session.CodeOf(err) != session.CrossSite {
			t.Errorf("%s: %v, want cross_site", name, err)
		}
	}
	r := httptest.NewRequest("POST", "/api/", nil)
	r.Header[tokenHeaderKey] = []string{token, token}
	if err := g.CheckToken(r, s); session.CodeOf(err) != session.CrossSite {
		t.Errorf("twice: %v, want cross_site", err)
	}
	for method, want := range map[string]bool{"GET": false, "HEAD": false, "OPTIONS": false, "POST": true, "DELETE": true, "PUT": true, "BREW": true} {
		if got := g.WantsToken(httptest.NewRequest(method, "/", nil)); got != want {
			t.Errorf("%s wants a token: %v", method, got)
		}
	}
	if armed(t, CSRFOrigin).WantsToken(httptest.NewRequest("POST", "/", nil)) || armed(t, CSRFHeader).Token(s) != "" {
		t.Error("tokens where there are none")
	}
}

// An API that gets the access token in a cookie knows whom that names, which need not be the name in the ID token.
func TestCSRF_X8_NamesThePersonOfTheToken(t *testing.T) {
	encoded := func(claims string) string {
		return "h." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".s"
	}
	g, plain := armed(t, CSRFToken), armed(t, CSRFToken)
	g.NameByToken()
	for _, c := range []struct{ name, access, issuer, subject string }{
		{"a JWT", encoded(`{"iss":"https://api.example","sub":"7"}`), "https://api.example", "7"},
		{"a JWT without sub", encoded(`{"iss":"https://api.example"}`), "https://id.example", "ada"},
		{"an opaque token", "opaque", "https://id.example", "ada"},
		{"one with two dots", "a.b.c", "https://id.example", "ada"},
	} {
		s := of(1, "https://id.example", "ada", c.access)
		if issuer, subject := g.tokens.person(s); issuer != c.issuer || subject != c.subject {
			t.Errorf("%s: %s of %s", c.name, subject, issuer)
		}
		if plain.Token(s) != plain.Token(of(1, "https://id.example", "ada", "")) {
			t.Errorf("%s: where no API sees it, it decides", c.name)
		}
	}
}

// The form is found, and whoever reads the body afterwards gets all of it.
func TestCSRF_X8_Forms(t *testing.T) {
	g := armed(t, CSRFToken)
	s := of(1, "https://id.example", "ada", "")
	token := g.Token(s)
	multi := func(fields ...string) (kind, body string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for i := 0; i < len(fields); i += 2 {
			if err := w.WriteField(fields[i], fields[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		return w.FormDataContentType(), b.String()
	}
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name string
		kind func() (string, string)
		want session.Code
	}{
		{name: "first", kind: func() (string, string) { return form, "_csrf=" + token + "&a=1" }},
		{name: "last", kind: func() (string, string) { return form + "; charset=utf-8", "a=1&_csrf=" + token }},
		{name: "escaped", kind: func() (string, string) { return form, "_csrf=" + strings.Replace(token, ".", "%2E", 1) }},
		{name: "in a long form", kind: func() (string, string) { return form, "_csrf=" + token + "&a=" + strings.Repeat("x", 1<<20) }},
		{name: "upload", kind: func() (string, string) { return multi("_csrf", token, "file", strings.Repeat("x", 1<<20)) }},
		{name: "missing", kind: func() (string, string) { return form, "a=1" }, want: session.CrossSite},
		{name: "twice", kind: func() (string, string) { return form, "_csrf=" + token + "&_csrf=" + token }, want: session.CrossSite},
		{name: "wrong", kind: func() (string, string) { return form, "_csrf=" + token + "x" }, want: session.CrossSite},
		{name: "behind a long field", kind: func() (string, string) { return form, "a=" + strings.Repeat("x", maxForm) + "&_csrf=" + token }, want: session.CrossSite},
		{name: "cut off", kind: func() (string, string) { return form, "a=" + strings.Repeat("x", maxForm-20) + "&_csrf=" + token }, want: session.CrossSite},
		{name: "upload, second", kind: func() (string, string) { return multi("a", "1", "_csrf", token) }, want: session.CrossSite},
		{name: "upload without boundary", kind: func() (string, string) { return "multipart/form-data", "x" }, want: session.CrossSite},
		{name: "text that looks like a form", kind: func() (string, string) { return "text/plain", "_csrf=" + token }, want: session.CrossSite},
		{name: "JSON", kind: func() (string, string) { return "application/json", `{"_csrf":"` + token + `"}` }, want: session.CrossSite},
		{name: "no type", kind: func() (string, string) { return "", "_csrf=" + token }, want: session.CrossSite},
	} {
		t.Run(c.name, func(t *testing.T) {
			kind, body := c.kind()
			r := httptest.NewRequest("POST", "/api/", strings.NewReader(body))
			r.Header.Set("Content-Type", kind)
			if err := g.CheckToken(r, s); session.CodeOf(err) != c.want {
				t.Errorf("%v, want %q", err, c.want)
			}
			left, err := io.ReadAll(r.Body)
			if err != nil || string(left) != body {
				t.Errorf("of %d bytes %d are left: %v", len(body), len(left), err)
			}
		})
	}
}

// FuzzFormToken: whatever comes, the body is left as it was, however it arrives; and what is found is what any reader of the form
// finds there. Its corpus is in testdata.
func FuzzFormToken(f *testing.F) {
	seeds, err := filepath.Glob("testdata/fuzz/FuzzFormToken/*")
	if err != nil || len(seeds) < 10 {
		f.Fatalf("%d seeds, %v", len(seeds), err)
	}
	f.Fuzz(func(t *testing.T, kind, body string) {
		read := func(from io.Reader) (string, error) {
			r := httptest.NewRequest("POST", "/", from)
			r.Header.Set("Content-Type", kind)
			token, err := FormToken(r)
			if left, err := io.ReadAll(r.Body); err != nil || string(left) != body {
				t.Errorf("of %d bytes %d are left: %v", len(body), len(left), err)
			}
			return token, err
		}
		token, err := read(strings.NewReader(body))
		if slowly, slowErr := read(iotest.OneByteReader(strings.NewReader(body))); slowly != token || (slowErr == nil) != (err == nil) {
			t.Errorf("byte by byte it is %q (%v), at once %q (%v)", slowly, slowErr, token, err)
		}
		if err != nil {
			return
		}
		if len(token) > maxToken {
			t.Errorf("a token of %d bytes", len(token))
		}
		switch media, params, _ := mime.ParseMediaType(kind); media {
		case "application/x-www-form-urlencoded":
			// A mistake elsewhere in the form is the API's to judge.
			if form, _ := url.ParseQuery(body); !slices.Contains(form[TokenField], token) {
				t.Errorf("a form without %q: %q", token, form)
			}
		case "multipart/form-data":
			part, err := multipart.NewReader(strings.NewReader(body), params["boundary"]).NextRawPart()
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(part)
			if err != nil || part.FormName() != TokenField || string(text) != token {
				t.Errorf("the first part is %q: %q, %v", part.FormName(), text, err)
			}
		default:
			t.Errorf("a token in %q", kind)
		}
	})
}

// docs/api.md shows these bytes; other languages are tested with them.
func TestCSRF_Vector(t *testing.T) {
	g := armed(t, CSRFToken)
	g.tokens.key, g.tokens.sids = func() []byte { return bytes.Repeat([]byte{7}, 32) }, func() []byte { return bytes.Repeat([]byte{8}, 32) }
	s := of(9, "https://id.example", "ada", "")
	const (
		token     = "1.5S23EI2KiKaGE19Ka7tbuOzSNfHeqqsQohE-nlUNi_w"
		companion = "1.WNig1JnPplzNYbKLyQ3QPA.9433VBlJstQlx-zZKRVRWJSSEQnARxdvs0-l50ubjtA"
	)
	if g.Token(s) != token || g.Companion(s) != companion {
		t.Errorf("token %s, companion %s", g.Token(s), g.Companion(s))
	}
	api := armedAPI(t, bytes.Repeat([]byte{7}, 32))
	r := httptest.NewRequest("POST", "/api/", nil)
	r.Header.Set(TokenHeader, token)
	if err := api.CheckCompanion(r, companion, "https://id.example", "ada"); err != nil {
		t.Errorf("an API that has the key: %v", err)
	}
}

func armedAPI(t testing.TB, key []byte) *Guard {
	t.Helper()
	o, err := origin.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	g, err := NewForAPI(o, Options{CSRF: CSRFToken}, key)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// An API on another host has the key and two values that the browser brings, nothing else.
func TestCSRF_X8_AtAnotherHost(t *testing.T) {
	g := armed(t, CSRFToken)
	const id = "https://id.example"
	mine, again, theirs := of(1, id, "ada", ""), of(2, id, "ada", ""), of(3, id, "eve", "")
	api, stranger := armedAPI(t, g.tokens.key()), armedAPI(t, seal.Random(32))
	for _, c := range []struct {
		name                             string
		api                              *Guard
		companion, token, issuer, person string
		want                             session.Code
	}{
		{"both of the session", api, g.Companion(mine), g.Token(mine), id, "ada", ""},
		{"eve's pair, planted beside ada's access token", api, g.Companion(theirs), g.Token(theirs), id, "ada", session.CrossSite},
		{"eve's companion and ada's token", api, g.Companion(theirs), g.Token(mine), id, "ada", session.CrossSite},
		{"eve's token", api, g.Companion(mine), g.Token(theirs), id, "ada", session.CrossSite},
		{"the token of a session before", api, g.Companion(mine), g.Token(again), id, "ada", session.CrossSite},
		{"the same name at another issuer", api, g.Companion(mine), g.Token(mine), "https://other.example", "ada", session.CrossSite},
		{"no companion", api, "", g.Token(mine), id, "ada", session.CrossSite},
		{"no token", api, g.Companion(mine), "", id, "ada", session.CrossSite},
		{"the companion as the token", api, g.Companion(mine), g.Companion(mine), id, "ada", session.CrossSite},
		{"the token as the companion", api, g.Token(mine), g.Token(mine), id, "ada", session.CrossSite},
		{"a companion without its MAC", api, g.Companion(mine)[:25], g.Token(mine), id, "ada", session.CrossSite},
		{"a companion cut short", api, g.Companion(mine)[:len(g.Companion(mine))-1], g.Token(mine), id, "ada", session.CrossSite},
		{"a companion of another version", api, "2" + g.Companion(mine)[1:], g.Token(mine), id, "ada", session.CrossSite},
		{"another session's name in it", api, strings.Replace(g.Companion(mine), g.tokens.sid(mine), g.tokens.sid(again), 1), g.Token(again), id, "ada", session.CrossSite},
		{"under another key", stranger, g.Companion(mine), g.Token(mine), id, "ada", session.CrossSite},
	} {
		r := httptest.NewRequest("POST", "/api/", nil)
		if c.token != "" {
			r.Header.Set(TokenHeader, c.token)
		}
		if err := c.api.CheckCompanion(r, c.companion, c.issuer, c.person); session.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseKey(t *testing.T) {
	key := seal.Random(32)
	if got, err := ParseKey(FormatKey(key) + "\n"); err != nil || !bytes.Equal(got, key) {
		t.Errorf("%v", err)
	}
	for _, text := range []string{"", keyPrefix, FormatKey(key[:31]), FormatKey(key) + "A", FormatKey(key)[1:], keyPrefix + strings.Repeat("!", 43)} {
		if _, err := ParseKey(text); err == nil || len(text) > 20 && strings.Contains(err.Error(), text[20:]) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
