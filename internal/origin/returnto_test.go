package origin

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

const ownText = "https://app.example.com"

var listedTexts = []string{"https://front.example.com", "http://localhost:5173"}

func returnTo(t testing.TB, raw string) (string, bool) {
	t.Helper()
	var listed []Origin
	for _, text := range listedTexts {
		listed = append(listed, must(t, text))
	}
	return ReturnTo(raw, must(t, ownText), listed)
}

func TestReturnTo_L10_Taken(t *testing.T) {
	for raw, want := range map[string]string{
		"/":                                      "/",
		"/?":                                     "/",
		"/a/b/":                                  "/a/b/",
		"/a?b=c&d=e;f#g":                         "/a?b=c&d=e;f#g",
		"/?next=//evil.test":                     "/?next=//evil.test",
		"/?next=https://evil.test":               "/?next=https://evil.test",
		"/#//evil.test":                          "/#//evil.test",
		"/#/route?x=y":                           "/#/route?x=y",
		"/@evil.test":                            "/@evil.test",
		"/https://evil.test":                     "", // an empty segment
		"/https:evil.test":                       "/https:evil.test",
		"/.well-known/x":                         "/.well-known/x",
		"/...":                                   "/...",
		"/bücher?ü=ß#ö":                          "/b%C3%BCcher?%C3%BC=%C3%9F#%C3%B6",
		"/b%C3%BCcher":                           "/b%C3%BCcher",
		"/a%20b":                                 "/a%20b",
		`/?a=\b"<>` + "`{|}^":                    "/?a=%5Cb%22%3C%3E%60%7B%7C%7D%5E",
		"/?a=100%":                               "/?a=100%",
		ownText:                                  "/",
		ownText + "/a?b#c":                       "/a?b#c",
		ownText + ":443/a":                       "/a",
		"HTTPS://APP.example.COM/a":              "/a",
		ownText + "?a":                           "/?a",
		ownText + "#a":                           "/#a",
		"https://front.example.com":              "https://front.example.com/",
		"https://front.example.com/a?b#c":        "https://front.example.com/a?b#c",
		"https://FRONT.example.com:443/a":        "https://front.example.com/a",
		"http://localhost:5173/?a":               "http://localhost:5173/?a",
		"/" + strings.Repeat("a", maxReturnTo-1): "/" + strings.Repeat("a", maxReturnTo-1),
	} {
		got, ok := returnTo(t, raw)
		if got != want || ok != (want != "") {
			t.Errorf("ReturnTo(%q) = %q, %v; want %q", raw, got, ok, want)
		}
	}
}

// openRedirects is what has worked against somebody, somewhere.
var openRedirects = []string{
	"", " ", " /a", "/a ", "/a b", "/a?b c", ownText + "/" + strings.Repeat("a", maxReturnTo-10), "evil.test", "a/b", "./a", "../a", "?a", "#a", "@evil.test", ".evil.test", ":443",
	"//evil.test", "///evil.test", "////evil.test", "/\\evil.test", "\\\\evil.test", "\\/evil.test", "/\\/evil.test", "//\\evil.test",
	"/%5cevil.test", "/%5Cevil.test", "/%2fevil.test", "/%2Fevil.test", "%2f%2fevil.test", "/%252fevil.test", "/%255cevil.test",
	"/%09/evil.test", "/\t/evil.test", "/\n/evil.test", "/\r/evil.test", "\t//evil.test", "/%0a/evil.test", "/%0d%0aLocation:%20//evil.test",
	"/\r\nSet-Cookie: a=b", "/a\x00b", "/%00", "/a\x7fb", "/\u0085/evil.test", "/a\u00a0b\x80",
	"/a//evil.test", "/..//evil.test", "/.//evil.test", "/a/..//evil.test", "/%2e%2e//evil.test", "/%2e/", "/a/%2E%2e/b", "/a/../b", "/a/..", "/.", "/a/.",
	"/..;/evil.test", "/a;b=c", "/a%3bb",
	"https:evil.test", "https:/evil.test", "https:///evil.test", "https:app.example.com", "https:\\\\evil.test", "https:\\/\\/evil.test", "http:evil.test",
	"https://evil.test", "http://app.example.com/", "https://app.example.com:8443/", "https://app.example.com.evil.test/", "https://app.example.com@evil.test/",
	"https://app.example.com:pw@evil.test/", "https://evil.test#@app.example.com/", "https://evil.test?@app.example.com", "https://evil.test\\@app.example.com/",
	"https://app.example.com\\@evil.test/", "https://app.example.com\\.evil.test/", "https://app.example.com%2eevil.test/", "https://app.example.com%00.evil.test",
	"https://app.example.com./", "https://me@app.example.com/", "https://app.example.com//evil.test", "https://app.example.com/\\evil.test",
	"https://front.example.com:8443/", "https://a.front.example.com/", "https://front.example.com.evil.test", "https://front.example.com//evil.test",
	"https://evil\u3002test", "https://\uff45vil.test", "https://app\uff0eexample.com/", "https://xn--evl-loa.test", "https://ａpp.example.com",
	"javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "javascript://app.example.com/%0aalert(1)", "data:text/html,x", "vbscript:x", "blob:https://app.example.com/x",
	"file:///etc/passwd", "ftp://app.example.com/", "mailto:a@b", "//app.example.com", "///app.example.com/a", "https://[::1]/", "https://0x7f.1/", "/%", "/%zz", "/\xff", "/%ff", "/%c0%af",
	"/a#%zz", "/" + strings.Repeat("a", maxReturnTo), "/?" + strings.Repeat("ü", maxReturnTo/3), "/" + strings.Repeat("ü", maxReturnTo/4),
}

func TestReturnTo_L10_Refused(t *testing.T) {
	for _, raw := range openRedirects {
		if got, ok := returnTo(t, raw); ok || got != "" {
			t.Errorf("ReturnTo(%q) = %q, %v; want it refused", raw, got, ok)
		}
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, raw := range openRedirects {
		f.Add(raw)
	}
	f.Add("/a?b=c#d")
	f.Add("https://front.example.com/ü?ü#ü")
	own := must(f, ownText)
	allowed := append([]string{ownText}, listedTexts...)
	f.Fuzz(func(t *testing.T, raw string) {
		to, ok := returnTo(t, raw)
		if !ok {
			if to != "" {
				t.Fatalf("%q is refused and yet %q", raw, to)
			}
			return
		}
		if len(to) > maxReturnTo || strings.ContainsFunc(to, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
			t.Fatalf("%q is %q: not fit for a header", raw, to)
		}
		if again, ok := returnTo(t, to); !ok || again != to {
			t.Fatalf("%q is %q, which is %q, %v", raw, to, again, ok)
		}
		base, err := url.Parse(own.String() + "/auth/callback")
		if err != nil {
			t.Fatal(err)
		}
		u, err := base.Parse(to)
		if err != nil || u.User != nil || !slices.Contains(allowed, u.Scheme+"://"+u.Host) {
			t.Fatalf("%q is %q: net/url goes to %v, %v", raw, to, u, err)
		}
		if at := browserGoesTo(to); !slices.Contains(allowed, at) {
			t.Fatalf("%q is %q: a browser goes to %q", raw, to, at)
		}
		// Whoever skips our answer and uses what came in must not get elsewhere either.
		if at := browserGoesTo(raw); !slices.Contains(allowed, at) {
			t.Fatalf("%q is taken: a browser goes to %q", raw, at)
		}
	})
}

// TestBrowserGoesTo keeps the fuzz target's idea of a browser honest.
func TestBrowserGoesTo(t *testing.T) {
	for to, want := range map[string]string{
		"/a":                                  ownText,
		"a":                                   ownText,
		"https:a":                             ownText,
		"http:a":                              "http://a",
		"//evil.test":                         "https://evil.test",
		"/\\evil.test":                        "https://evil.test",
		"/\t/evil.test":                       "https://evil.test",
		" \\\\evil.test/":                     "https://evil.test",
		"https:///evil.test":                  "https://evil.test",
		"https:\\evil.test":                   ownText,
		"HTTPS://EVIL.test:443/":              "https://evil.test",
		"https://app.example.com@evil.test/":  "https://evil.test",
		"https://app.example.com\\@evil.test": "https://app.example.com",
		"https://evil.test#@app.example.com":  "https://evil.test",
		"javascript:alert(1)":                 "javascript:",
		"java\nscript:alert(1)":               "javascript:",
		"/%09/evil.test":                      ownText,
	} {
		if at := browserGoesTo(to); at != want {
			t.Errorf("%q goes to %q, want %q", to, at, want)
		}
	}
}

// browserGoesTo follows the states of the WHATWG URL parser (§4.4) as far as they decide on the origin, with our own origin as
// the base: special schemes only, other schemes are returned as "scheme:".
func browserGoesTo(text string) string {
	text = strings.TrimFunc(text, func(c rune) bool { return c <= ' ' })
	text = strings.Map(func(c rune) rune {
		if c == '\t' || c == '\n' || c == '\r' {
			return -1
		}
		return c
	}, text)
	scheme, rest := "https", text
	if name, after, ok := strings.Cut(text, ":"); ok && isScheme(name) {
		name = strings.ToLower(name)
		if name != "http" && name != "https" {
			return name + ":"
		}
		scheme, rest = name, after
	}
	// Two slashes of either kind begin an authority. A scheme other than the base's has one in any case.
	if scheme == "https" && !twoSlashes(rest) {
		return ownText
	}
	rest = strings.TrimLeft(rest, `/\`)
	if i := strings.IndexAny(rest, `/\?#`); i >= 0 {
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	host := strings.ToLower(rest)
	if scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	return scheme + "://" + host
}

func twoSlashes(s string) bool {
	return len(s) >= 2 && strings.IndexByte(`/\`, s[0]) >= 0 && strings.IndexByte(`/\`, s[1]) >= 0
}

func isScheme(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(c rune) bool {
		return !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || strings.ContainsRune("+-.", c))
	}) && 'a' <= name[0]|0x20 && name[0]|0x20 <= 'z'
}
