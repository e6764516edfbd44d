package guard

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

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
	g.sendable["X-Apollo-Operation-Name"] = true // as of Options.OriginHeaders
	const usual = "GET, HEAD, POST, PUT, PATCH, DELETE"
	for _, c := range []struct {
		name, from, method, headers string
		methods                     []string
		wantMethods, wantHeaders    string // no methods: no leave at all
	}{
		{"a JSON write", listed, "POST", "content-type,x-csrf-token", nil, usual, "content-type, x-csrf-token"},
		{"a read of a page that reads streams", listed, "GET", "", nil, usual, ""},
		{"a header of the application", listed, "POST", "content-type, x-apollo-operation-name", nil, usual, "content-type, x-apollo-operation-name"},
		{"a method of its own", listed, "PROPFIND", "", nil, usual + ", PROPFIND", ""},
		{"a method of the route", listed, "PUT", "", []string{"GET", "PUT"}, "GET, PUT", ""},
		{"a header not listed", listed, "POST", "content-type, x-evil", nil, "", ""},
		{"a bearer where no route takes one", listed, "GET", "authorization", nil, "", ""},
		{"a cookie", listed, "GET", "cookie", nil, "", ""},
		{"sixty-five headers", listed, "GET", strings.Repeat("range,", 65), nil, "", ""},
		{"a method that is not the route's", listed, "DELETE", "", []string{"GET", "PUT"}, "", ""},
		{"TRACE", listed, "TRACE", "", nil, "", ""},
		{"CONNECT", listed, "CONNECT", "", nil, "", ""},
		{"a method that is none", listed, "GET, DELETE", "", nil, "", ""},
		{"a long method", listed, strings.Repeat("X", 33), "", nil, "", ""},
		{"another case", listed, "get", "", []string{"GET"}, "", ""},
		{"an origin not listed", "https://evil.example", "POST", "content-type", nil, "", ""},
		{"a suffix", listed + ".evil.example", "POST", "content-type", nil, "", ""},
		{"null", "null", "POST", "content-type", nil, "", ""},
		{"our own, which needs none", own, "POST", "content-type", nil, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := preflight(c.from, c.method, c.headers)
			w := httptest.NewRecorder()
			if g.Preflight(w, r, c.methods); !IsPreflight(r) || w.Code != http.StatusNoContent {
				t.Fatalf("not answered: %d", w.Code)
			}
			want := http.Header{"Vary": varyPreflight}
			if c.wantMethods != "" {
				want["Access-Control-Allow-Origin"], want["Access-Control-Allow-Credentials"] = []string{c.from}, []string{"true"}
				want["Access-Control-Allow-Methods"], want["Access-Control-Max-Age"] = []string{c.wantMethods}, []string{"600"}
			}
			if c.wantHeaders != "" {
				want["Access-Control-Allow-Headers"] = []string{c.wantHeaders}
			}
			if got := w.Header(); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	}
	for name, r := range map[string]*http.Request{
		"no method asked for": httptest.NewRequest("OPTIONS", "/api/", nil),
		"no origin":           preflight("", "GET", ""),
		"not OPTIONS":         {Method: "GET", Header: preflight(listed, "GET", "").Header},
	} {
		if IsPreflight(r) {
			t.Errorf("%s: taken for a preflight", name)
		}
	}
	twice := preflight(listed, "GET", "")
	twice.Header["Origin"] = []string{listed, listed}
	w := httptest.NewRecorder()
	if g.Preflight(w, twice, nil); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("two origins: %v", w.Header())
	}
}

func preflight(from, method, headers string) *http.Request {
	r := httptest.NewRequest("OPTIONS", "/api/", nil)
	for name, value := range map[string]string{"Origin": from, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	return r
}

func TestVary_X11_EachNameOnce(t *testing.T) {
	for _, c := range []struct {
		old       []string
		add, want string
	}{
		{nil, "Cookie, Origin", "[Cookie, Origin]"},
		{[]string{"Accept-Encoding"}, "Cookie, Origin", "[Accept-Encoding Cookie, Origin]"},
		{[]string{"origin,accept"}, "Cookie, Origin", "[origin,accept Cookie]"},
		{[]string{"Cookie", "Origin"}, "Cookie, Origin", "[Cookie Origin]"},
		{[]string{"Sec-Fetch-Site-X"}, "Sec-Fetch-Site", "[Sec-Fetch-Site-X Sec-Fetch-Site]"},
		{[]string{"*"}, "Cookie, Origin", "[*]"},
	} {
		h := http.Header{}
		if c.old != nil {
			h["Vary"] = c.old
		}
		line := []string{c.add}
		for range 2 {
			if Vary(h, line); fmt.Sprint(h["Vary"]) != c.want {
				t.Errorf("%q and %q: %q, want %s", c.old, c.add, h["Vary"], c.want)
			}
		}
		h.Add("Vary", "More")
		if fmt.Sprint(line) != "["+c.add+"]" {
			t.Errorf("the shared line became %q", line)
		}
	}
}
