package guard

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

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
	key, err := seal.ParseKey(base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv")))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.NewKeyring(key)
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
		{"an image", "GET", with(map[string]string{"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}), ""},
		{"a download", "GET", with(map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}), ""},
		{"EventSource", "GET", with(map[string]string{"Accept": "text/event-stream"}), ""},
		{"EventSource of a sibling", "GET", with(map[string]string{"Accept": "text/event-stream", "Sec-Fetch-Site": "same-site", "Origin": listed}), session.CrossSite},
		{"WebSocket", "GET", with(map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Fetch-Mode": "websocket", "Sec-Fetch-Dest": "websocket"}), ""},
		{"a form of our own", "POST", with(map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}), session.CrossSite},
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
	post := func(token string) error {
		r := httptest.NewRequest("POST", "/api/", nil)
		r.Header.Set(TokenHeader, token)
		return g.CheckToken(r, s)
	}
	if err := post(token); err != nil {
		t.Fatal(err)
	}
	other := armed(t, CSRFToken)
	other.tokens.key = seal.Random(32)
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

func FuzzFormToken(f *testing.F) {
	f.Add("application/x-www-form-urlencoded", "_csrf=1.x&a=b")
	f.Add("multipart/form-data; boundary=b", "--b\r\nContent-Disposition: form-data; name=\"_csrf\"\r\n\r\n1.x\r\n--b--\r\n")
	f.Add("multipart/form-data; boundary=\"\"", "--\r\n")
	f.Add("application/x-www-form-urlencoded", "_csrf=%zz")
	f.Fuzz(func(t *testing.T, kind, body string) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", kind)
		token, err := formToken(r)
		if err == nil && len(token) > maxToken {
			t.Errorf("a token of %d bytes", len(token))
		}
		if left, err := io.ReadAll(r.Body); err != nil || string(left) != body {
			t.Errorf("of %d bytes %d are left: %v", len(body), len(left), err)
		}
	})
}

// docs/api.md shows these bytes; other languages are tested with them.
func TestCSRF_Vector(t *testing.T) {
	g := armed(t, CSRFToken)
	g.tokens.key, g.tokens.sids = bytes.Repeat([]byte{7}, 32), bytes.Repeat([]byte{8}, 32)
	s := of(9, "https://id.example", "ada", "")
	const (
		token     = "1.Wa_stjzon6KEXWb0zstB5_i78ZkgwBnDAvsyKdA32zo"
		companion = "1.NEPkGgrRTnHZ1t41IS3s4Q.mxBrHikYlo9ksRbn68Ll0bZcVtYgQYl5MfJC10fqnls"
	)
	if g.Token(s) != token || g.Companion(s) != companion {
		t.Errorf("token %s, companion %s", g.Token(s), g.Companion(s))
	}
}

func TestShare_K1_K2_ExactOriginsOnly(t *testing.T) {
	g := armed(t, CSRFOrigin)
	for from, allowed := range map[string]bool{
		listed: true, own: false, "https://evil.example": false, "null": false, "": false, listed + ".evil.example": false, listed + ":443": false,
		"http://front.example.com": false, "https://FRONT.example.com": false, "https://xfront.example.com": false, listed + "/": false, "*": false,
	} {
		r := httptest.NewRequest("GET", "/api/", nil)
		if from != "" {
			r.Header.Set("Origin", from)
		}
		h := http.Header{"Vary": {"Cookie"}}
		g.Share(h, r)
		g.Share(h, r)
		want := map[bool]string{true: from}[allowed]
		if got := h.Get("Access-Control-Allow-Origin"); got != want || (h.Get("Access-Control-Allow-Credentials") == "true") != allowed {
			t.Errorf("%q: allowed %q", from, got)
		}
		if fmt.Sprint(h["Vary"]) != "[Cookie Origin]" {
			t.Errorf("%q: Vary %q", from, h["Vary"])
		}
	}
	h := http.Header{}
	newGuard(t, own).Share(h, httptest.NewRequest("GET", "/", nil))
	if len(h) != 0 {
		t.Errorf("without a list: %v", h)
	}
}

func TestPreflight_K3_MethodsAndHeaders(t *testing.T) {
	g := armed(t, CSRFOrigin)
	for _, c := range []struct {
		name, from, method, headers   string
		methods                       []string
		wantOrigin, wantMethod, wantH string
	}{
		{"a JSON write", listed, "POST", "content-type, x-csrf-token", nil, listed, "POST", "content-type, x-csrf-token"},
		{"a header not listed", listed, "POST", "content-type, x-evil", nil, listed, "POST", "content-type"},
		{"a method of the route", listed, "PUT", "", []string{"GET", "PUT"}, listed, "PUT", ""},
		{"a method that is not the route's", listed, "DELETE", "", []string{"GET", "PUT"}, listed, "", ""},
		{"TRACE", listed, "TRACE", "", nil, listed, "", ""},
		{"an origin not listed", "https://evil.example", "POST", "content-type", nil, "", "", ""},
		{"null", "null", "POST", "content-type", nil, "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("OPTIONS", "/api/", nil)
			r.Header.Set("Origin", c.from)
			r.Header.Set("Access-Control-Request-Method", c.method)
			if c.headers != "" {
				r.Header.Set("Access-Control-Request-Headers", c.headers)
			}
			w := httptest.NewRecorder()
			if !g.Preflight(w, r, c.methods) || w.Code != http.StatusNoContent {
				t.Fatalf("not answered: %d", w.Code)
			}
			h := w.Header()
			if h.Get("Access-Control-Allow-Origin") != c.wantOrigin || h.Get("Access-Control-Allow-Methods") != c.wantMethod || h.Get("Access-Control-Allow-Headers") != c.wantH {
				t.Errorf("%v", h)
			}
		})
	}
	r := httptest.NewRequest("OPTIONS", "/api/", nil)
	if g.Preflight(httptest.NewRecorder(), r, nil) {
		t.Error("OPTIONS that is no preflight was answered")
	}
}
