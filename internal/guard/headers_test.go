package guard

import (
	"net/http"
	"strings"
	"testing"
)

func TestAPIHeaders_H1_H3_H8_K5_X11(t *testing.T) {
	h := http.Header{"Vary": {"Accept-Encoding"}}
	APIHeaders(h)
	same(t, h, map[string]string{
		"X-Content-Type-Options":       "nosniff",
		"Cache-Control":                "no-store",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
	})
	varies(t, h, "Accept-Encoding", "Cookie", "Origin", "Sec-Fetch-Site")
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("K1: %s is there", name)
		}
	}
}

func TestStrictTransport_H4(t *testing.T) {
	for text, want := range map[string]string{
		"https://app.example.com":      "max-age=31536000; includeSubDomains",
		"https://app.example.com:8443": "max-age=31536000; includeSubDomains",
		"http://app.example.com":       "",
		"https://localhost:8443":       "",
		"https://127.0.0.1":            "",
	} {
		h := http.Header{}
		newGuard(t, text).StrictTransport(h)
		if got := h.Get("Strict-Transport-Security"); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func same(t *testing.T, h http.Header, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got := h.Values(name); len(got) != 1 || got[0] != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

func varies(t *testing.T, h http.Header, names ...string) {
	t.Helper()
	all := ", " + strings.Join(h["Vary"], ", ") + ","
	for _, name := range names {
		if !strings.Contains(all, ", "+name+",") {
			t.Errorf("Vary is %q, without %s", h["Vary"], name)
		}
	}
}
