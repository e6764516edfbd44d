package session

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestDeviceOf_T6_InWords(t *testing.T) {
	for _, c := range []struct{ agent, brands, platform, want string }{
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:153.0) Gecko/20100101 Firefox/153.0", "", "", "Firefox on Windows"},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0", "", "", "Firefox on Linux"},
		{"Mozilla/5.0 (Android 16; Mobile; rv:153.0) Gecko/153.0 Firefox/153.0", "", "", "Firefox on Android"},
		{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/153.0 Mobile/15E148 Safari/605.1.15", "", "", "Firefox on iPhone"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15", "", "", "Safari on macOS"},
		{"Mozilla/5.0 (iPad; CPU OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1", "", "", "Safari on iPad"},
		{"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36", "", "", "Chrome on Android"},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36", "", "", "Chrome on ChromeOS"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0", "", "", "Edge on Windows"},
		{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 OPR/120.0.0.0", "", "", "Opera on Windows"},
		{"Mozilla/5.0 (Linux; Android 15; Pixel 9; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/156.0.0.0 Mobile Safari/537.36", "", "", "an Android app on Android"},
		{"curl/8.14.1", "", "", "curl"},

		// What Chromium says beside: its User-Agent hides who built it, and freezes the system.
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36", `"Chromium";v="156", "Brave";v="156", "Not?A_Brand";v="24"`, `"Linux"`, "Brave on Linux"},
		{"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36", `"Not/A)Brand";v="8", "Chromium";v="156", "Google Chrome";v="156"`, `"Chrome OS"`, "Chrome on ChromeOS"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36", `"Chromium";v="156", "Not/A)Brand";v="8"`, `"macOS"`, "Chromium on macOS"},
		{"", `"Microsoft Edge";v="156", "Chromium";v="156"`, `"Windows"`, "Edge on Windows"},
		{"Mozilla/5.0 (Windows NT 10.0; rv:153.0) Firefox/153.0", `"Something New";v="1"`, `"Fuchsia"`, "Firefox on Windows"},

		{"", "", "", "an unknown device"},
		{"<script>alert(1)</script>", `"<b>"`, `"<i>"`, "an unknown device"},
		{"Teapot/1.0 (OpenBSD)", "", "", "an unknown browser on OpenBSD"},
		{strings.Repeat("x", 1<<20) + "Firefox/1 Windows", "", "", "an unknown device"},
	} {
		h := http.Header{}
		for name, value := range map[string]string{"User-Agent": c.agent, "Sec-CH-UA": c.brands, "Sec-CH-UA-Platform": c.platform} {
			if value != "" {
				h.Set(name, value)
			}
		}
		if got := DeviceOf(h).String(); got != c.want {
			t.Errorf("%.120s | %s | %s: %q, want %q", c.agent, c.brands, c.platform, got, c.want)
		}
	}
}

// Whatever comes, only words of the lists go out.
func FuzzDeviceOf(f *testing.F) {
	f.Add("Mozilla/5.0 (Windows NT 10.0) Firefox/1", `"Chromium";v="1"`, `"Windows"`)
	f.Add("", "\x00\xff", `"`)
	var words []string
	for _, list := range [][]sign{brands, browsers, platforms, systems, {{"", ""}}} {
		for _, s := range list {
			words = append(words, s.word)
		}
	}
	f.Fuzz(func(t *testing.T, agent, brands, platform string) {
		d := DeviceOf(http.Header{"User-Agent": {agent}, "Sec-Ch-Ua": {brands}, "Sec-Ch-Ua-Platform": {platform}})
		if !slices.Contains(words, d.Browser) || !slices.Contains(words, d.System) {
			t.Errorf("%q is not from the lists", d)
		}
		if d != DeviceOf(http.Header{"User-Agent": {agent, "second"}, "Sec-Ch-Ua": {brands}, "Sec-Ch-Ua-Platform": {platform}}) {
			t.Error("a second header changes it")
		}
	})
}
