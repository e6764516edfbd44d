package origin

import (
	"bufio"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

// request is what net/http's server makes of a request target, and false if it makes nothing of it.
func request(target string) (*http.Request, bool) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: app.example.com\r\n\r\n")))
	return r, err == nil
}

func TestCleanPath_P5(t *testing.T) {
	for _, target := range []string{
		"/", "/api", "/api/", "/api/notes/1", "/a.b", "/.well-known/x", "/...", "/..a", "/a..", "/.a/.b", "/a?b=//../%2e%2e;x", "/@evil.test", "/a:b@c",
		"/a%20b", "/100%25", "/100%25/x", "/%25zz", "/b%C3%BCcher", "/%F0%9F%98%80", "/a%3fb", "/a%23b", "/a+b,c=d!$'()*&~_-", "/%41pi", "/x%40y",
	} {
		if r, ok := request(target); !ok || !CleanPath(r) {
			t.Errorf("%q is refused", target)
		}
	}
	refused := 0
	for _, target := range dirtyPaths {
		r, ok := request(target)
		if !ok {
			continue // the server answers 400 by itself
		}
		refused++
		if CleanPath(r) {
			t.Errorf("%q is taken: path %q, raw %q", target, r.URL.Path, r.URL.RawPath)
		}
	}
	if refused < 50 {
		t.Errorf("only %d of the targets came as far as CleanPath", refused)
	}
}

var dirtyPaths = []string{
	"//", "//evil.test/api", "/api//x", "/api//", "///", "/.", "/..", "/./", "/../", "/api/.", "/api/..", "/api/./x", "/api/../x", "/../../etc/passwd",
	"/%2e", "/%2e%2e", "/%2E%2e/x", "/.%2e/x", "/%2e./x", "/a%2eb", "/%2e%2e%2f", "/api%2fx", "/api%2Fx", "/%2f%2fevil.test", "/api%5cx", "/api%5Cx", "/api/..%5cx", `/api\x`, `/\evil.test`,
	"/%252e%252e/x", "/%252E/x", "/api%252fx", "/api%255cx", "/%2500", "/a%253bb", "/a%250ab",
	"/a;b", "/a;b=c/d", "/..;/x", "/a%3bb", "/a%3Bb", "/%00", "/a%00b", "/a%0ab", "/a%0d%0ab", "/a%09b", "/a%1fb", "/a%7fb",
	"/%c0%ae%c0%ae/x", "/%c0%af", "/%e0%80%af", "/%f0%80%80%af", "/%ff", "/%80", "/\xff", "/\xc0\xaf", "/%ed%a0%80", "/a#b", "/a#",
	"http://evil.test/api", "https://app.example.com/api", "http://app.example.com", "http:/api", "http:api", "*", "api", "mailto:a@b", "http://me@app.example.com/",
	"", "/%", "/%z", "/a b",
}

func TestCleanPath_P5_OtherForms(t *testing.T) {
	for name, u := range map[string]*url.URL{
		"CONNECT":            {Host: "evil.test:443"},
		"opaque":             {Opaque: "//evil.test/api"},
		"userinfo":           {User: url.User("me"), Path: "/api"},
		"empty":              {},
		"raw says otherwise": {Path: "/api", RawPath: "/api%2f"},
	} {
		if CleanPath(&http.Request{URL: u}) {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestCleanPath_AllocatesNothing(t *testing.T) {
	for _, target := range []string{"/api/notes/1?x=y", "/b%C3%BCcher/100%25", "/../x"} {
		r, _ := request(target)
		if n := testing.AllocsPerRun(100, func() { CleanPath(r) }); n != 0 {
			t.Errorf("%q: %v allocations", target, n)
		}
	}
}

func FuzzCleanPath(f *testing.F) {
	for _, target := range dirtyPaths {
		f.Add(target)
	}
	f.Add("/api/notes/1?x=y")
	f.Add("/b%C3%BCcher/100%25")
	f.Fuzz(func(t *testing.T, target string) {
		r, ok := request(target)
		if !ok || !CleanPath(r) {
			return
		}
		if !strings.HasPrefix(target, "/") {
			t.Fatalf("%q is no path", target)
		}
		if !utf8.ValidString(r.URL.Path) {
			t.Fatalf("%q is no text", target)
		}
		// Decoded once or twice, the path stays the one that was matched: nothing to clean, nothing to split.
		seen := r.URL.EscapedPath()
		for range 3 {
			tidy := path.Clean(seen)
			if strings.HasSuffix(seen, "/") && tidy != "/" {
				tidy += "/"
			}
			if seen != tidy || strings.ContainsAny(seen, "\\;\x00\r\n\t") {
				t.Fatalf("%q is read as %q, which is %q", target, seen, tidy)
			}
			if strings.Count(seen, "/") != strings.Count(r.URL.Path, "/") {
				t.Fatalf("%q is read as %q: other segments than %q", target, seen, r.URL.Path)
			}
			next, err := url.PathUnescape(seen)
			if err != nil || strings.Contains(next, "%25") {
				break
			}
			seen = next
		}
	})
}

func BenchmarkCleanPath(b *testing.B) {
	r, _ := request("/api/projects/42/notes?x=y")
	b.ReportAllocs()
	for b.Loop() {
		if !CleanPath(r) {
			b.Fatal("refused")
		}
	}
}
