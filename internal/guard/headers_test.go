package guard

import (
	"net/http"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/origin"
)

func TestPageHeaders_H3_H5_H6(t *testing.T) {
	h := http.Header{"Vary": {"Accept-Encoding"}}
	PageHeaders(h)
	policy := directives(h.Get("Content-Security-Policy"))
	for name, want := range map[string]string{
		"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "object-src": "'none'", "base-uri": "'none'", "frame-ancestors": "'none'", "form-action": "'self'",
	} {
		if policy[name] != want {
			t.Errorf("%s is %q, want %q", name, policy[name], want)
		}
	}
	if all := h.Get("Content-Security-Policy"); strings.Contains(all, "unsafe") || strings.Contains(all, "*") {
		t.Errorf("policy %q", all)
	}
	same(t, h, map[string]string{
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "same-origin",
		"X-Content-Type-Options":       "nosniff",
		"Cache-Control":                "no-store",
	})
	if h.Get("Permissions-Policy") == "" {
		t.Error("no Permissions-Policy")
	}
	varies(t, h, "Accept-Encoding", "Cookie", "Origin", "Sec-Fetch-Site")

	provider, err := origin.Parse("https://login.example.org")
	if err != nil {
		t.Fatal(err)
	}
	PageHeaders(h, provider)
	if got := directives(h.Get("Content-Security-Policy"))["form-action"]; got != "'self' https://login.example.org" {
		t.Errorf("form-action %q", got)
	}
	if n := len(h["Vary"]); n != 2 {
		t.Errorf("set twice, Vary has %d lines", n)
	}
}

func TestAPIHeaders_H1_H3_H8_K5_X11(t *testing.T) {
	h := http.Header{}
	APIHeaders(h)
	same(t, h, map[string]string{
		"X-Content-Type-Options":       "nosniff",
		"Cache-Control":                "no-store",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
	})
	varies(t, h, "Cookie", "Origin", "Sec-Fetch-Site")
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

func directives(policy string) map[string]string {
	all := make(map[string]string)
	for one := range strings.SplitSeq(policy, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(one), " ")
		all[name] = value
	}
	return all
}
