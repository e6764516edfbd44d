package origin

import (
	"net/http"
	"strings"
	"testing"
)

// asks makes a request of "Name: value" lines.
func asks(method string, lines ...string) *http.Request {
	r := &http.Request{Method: method, Header: http.Header{}}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

const (
	navigate  = "Sec-Fetch-Mode: navigate"
	document  = "Sec-Fetch-Dest: document"
	crossSite = "Sec-Fetch-Site: cross-site"
	html      = "Accept: text/html,application/xhtml+xml,*/*;q=0.8"
)

func TestIsNavigation_L11(t *testing.T) {
	for _, c := range []struct {
		name string
		r    *http.Request
		want bool
	}{
		{"a click", asks("GET", navigate, document, html), true},
		{"a click, whatever it accepts", asks("GET", navigate, document), true},
		{"a form", asks("POST", navigate, document), true},
		{"an iframe", asks("GET", navigate, "Sec-Fetch-Dest: iframe", html), false},
		{"a frame", asks("GET", navigate, "Sec-Fetch-Dest: frame", html), false},
		{"an object", asks("GET", navigate, "Sec-Fetch-Dest: object", html), false},
		{"an img", asks("GET", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image", "Accept: image/*"), false},
		{"a fetch that accepts HTML", asks("GET", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", html), false},
		{"only the mode", asks("GET", navigate, html), false},
		{"only the destination", asks("GET", document, html), false},
		{"the mode twice", asks("GET", navigate, navigate, document, html), false},
		{"an old browser", asks("GET", html), true},
		{"an old browser's HEAD", asks("HEAD", html), true},
		{"an old browser's form", asks("POST", html), false},
		{"curl", asks("GET", "Accept: */*"), false},
		{"nothing said", asks("GET"), false},
		{"an API call", asks("GET", "Accept: application/json"), false},
		{"two lines of Accept", asks("GET", "Accept: application/json", html), true},
		{"an upgrade", asks("GET", html, "Connection: Upgrade", "Upgrade: websocket"), false},
		{"an upgrade that navigates", asks("GET", navigate, document, "Connection: Upgrade", "Upgrade: websocket"), false},
	} {
		if IsNavigation(c.r) != c.want {
			t.Errorf("%s: want %v", c.name, c.want)
		}
	}
}

func TestIsDocument_TakesNoAcceptForAnAnswer(t *testing.T) {
	if IsDocument(asks("GET", html)) || !IsDocument(asks("GET", navigate, document)) {
		t.Error("only Sec-Fetch-Mode and Sec-Fetch-Dest count")
	}
}

func TestCrossSiteNavigation(t *testing.T) {
	for _, c := range []struct {
		name string
		r    *http.Request
		want bool
	}{
		{"a link elsewhere", asks("GET", navigate, document, crossSite), true},
		{"a link on a sibling", asks("GET", navigate, document, "Sec-Fetch-Site: same-site"), false},
		{"a link of ours", asks("GET", navigate, document, "Sec-Fetch-Site: same-origin"), false},
		{"the address bar", asks("GET", navigate, document, "Sec-Fetch-Site: none"), false},
		{"a form elsewhere", asks("POST", navigate, document, crossSite), false},
		{"HEAD", asks("HEAD", navigate, document, crossSite), false},
		{"an iframe elsewhere", asks("GET", navigate, "Sec-Fetch-Dest: iframe", crossSite), false},
		{"a fetch elsewhere", asks("GET", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty", crossSite, html), false},
		{"an old browser", asks("GET", html), false},
	} {
		if CrossSiteNavigation(c.r) != c.want {
			t.Errorf("%s: want %v", c.name, c.want)
		}
	}
}

func TestIsPrefetch(t *testing.T) {
	for line, want := range map[string]bool{
		"Sec-Purpose: prefetch":                     true,
		"Sec-Purpose: prefetch;prerender":           true,
		"Sec-Purpose: prefetch; prerender":          true,
		"Sec-Purpose: Prefetch;anonymous-client-ip": true,
		"Purpose: prefetch":                         true,
		"X-Moz: prefetch":                           true,
		"X-Purpose: preview":                        true,
		"Sec-Purpose: navigate":                     false,
		"Sec-Purpose: prefetching":                  false,
		"X-Other: prefetch":                         false,
	} {
		if IsPrefetch(asks("GET", line)) != want {
			t.Errorf("%q: want %v", line, want)
		}
	}
	if !IsPrefetch(asks("GET", "Purpose: x", "Purpose: prefetch")) {
		t.Error("the second line does not count")
	}
}

func TestIsUpgrade_X9(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  bool
	}{
		{[]string{"Connection: Upgrade", "Upgrade: websocket"}, true},
		{[]string{"Connection: keep-alive, Upgrade", "Upgrade: WebSocket"}, true},
		{[]string{"Connection: keep-alive", "Connection: \tUPGRADE ", "Upgrade: h2c,websocket"}, true},
		{[]string{"Connection: Upgrade", "Upgrade: h2c"}, false},
		{[]string{"Connection: Upgrade", "Upgrade: websockets"}, false},
		{[]string{"Connection: NoUpgrade", "Upgrade: websocket"}, false},
		{[]string{"Upgrade: websocket"}, false},
		{[]string{"Connection: Upgrade"}, false},
		{nil, false},
	} {
		if IsUpgrade(asks("GET", c.lines...)) != c.want {
			t.Errorf("%q: want %v", c.lines, c.want)
		}
	}
}

func TestNamesThisMachine(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:8080": true, "LOCALHOST:8080": true, "app.localhost:8080": true, "": true,
		"127.0.0.1": true, "127.0.0.1:9090": true, "[::1]": true, "[::1]:9090": true, "::1": true, "10.1.2.3:9090": true,
		"evil.example": false, "evil.example:8080": false, "localhost.evil.example": false, "notlocalhost": false, "localhost.": false,
		"127.0.0.1.evil.example": false, "127.0.0.1.nip.io:8080": false, "0x7f.1": false, "2130706433": false, ":8080": true,
		"evil.example:8080:localhost": false, "[evil.example]": false, "localhost@evil.example": false, "cloakroom:9090": false,
	} {
		if got := NamesThisMachine(host); got != want {
			t.Errorf("%q: %t", host, got)
		}
	}
}
