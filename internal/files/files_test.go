package files

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// built is one time for all files, as reproducible builds set it.
var built = time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)

// folder writes the named files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, dir, name, content, built)
	}
	return dir
}

func write(t *testing.T, dir, name, content string, at time.Time) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, at, at); err != nil {
		t.Fatal(err)
	}
}

// serve starts a real server for dir and returns a function that asks it. Headers are "Name: value".
func serve(t *testing.T, dir string, o Options) func(method, path string, headers ...string) answer {
	t.Helper()
	h, err := New(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return func(method, path string, headers ...string) answer {
		t.Helper()
		r, err := http.NewRequest(method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Add(name, value)
		}
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		return answer{response, string(body)}
	}
}

type answer struct {
	*http.Response
	body string
}

func (a answer) want(t *testing.T, status int, body string) {
	t.Helper()
	if a.StatusCode != status || a.body != body {
		t.Errorf("%s %s: got %d %q, want %d %q", a.Request.Method, a.Request.URL.Path, a.StatusCode, a.body, status, body)
	}
}

func (a answer) wantHeader(t *testing.T, name, want string) {
	t.Helper()
	if got := strings.Join(a.Header.Values(name), " | "); got != want {
		t.Errorf("%s %s: %s is %q, want %q", a.Request.Method, a.Request.URL.Path, name, got, want)
	}
}

const (
	navigation = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	page       = "<!doctype html><title>App</title>"
	script     = "console.log('0123456789')"
)

func app(t *testing.T) string {
	return folder(t, map[string]string{
		"index.html":                             page,
		"assets/index-B3x9kQ2a.js":               script,
		"assets/index-B3x9kQ2a.js.br":            "brotli of the script",
		"assets/index-B3x9kQ2a.js.gz":            "gzip of the script",
		"assets/index-B3x9kQ2a.js.zst":           "zstd of the script",
		"style.css":                              "a{}",
		"docs/index.html":                        "<title>Docs</title>",
		"empty/file.txt":                         "x",
		".env":                                   "SECRET=1",
		".git/config":                            "[core]",
		"docs/.htpasswd":                         "a:b",
		".well-known/security.txt":               "Contact: x",
		".well-known/.hidden":                    "x",
		".well-known/apple-app-site-association": "{}",
		"page-B3x9kQ2a.html":                     page,
	})
}

func TestServe(t *testing.T) {
	ask := serve(t, app(t), Options{})
	for _, c := range []struct {
		name, path, accept string
		status             int
		body, contentType  string
		cache              string
	}{
		{"the root", "/", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"a page by name", "/index.html", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"a hashed script", "/assets/index-B3x9kQ2a.js", "Accept: */*", 200, script, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"},
		{"a style without hash", "/style.css", "Accept: text/css,*/*;q=0.1", 200, "a{}", "text/css; charset=utf-8", "no-cache"},
		{"HTML is never immutable", "/page-B3x9kQ2a.html", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"a folder's index", "/docs/", "Accept: */*", 200, "<title>Docs</title>", "text/html; charset=utf-8", "no-cache"},
		{"well-known", "/.well-known/security.txt", "Accept: */*", 200, "Contact: x", "text/plain; charset=utf-8", "no-cache"},
		{"well-known without extension", "/.well-known/apple-app-site-association", "Accept: */*", 200, "{}", "application/json", "no-cache"},

		{"fallback", "/orders/42", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"fallback, deep", "/a/b/c/", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"fallback, dot in a name", "/users/john.doe", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"fallback, below a file", "/style.css/x", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"fallback, folder without index", "/empty/", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"fallback, missing page", "/old.html", navigation, 200, page, "text/html; charset=utf-8", "no-cache"},
		{"fallback, address longer than a file name", "/" + strings.Repeat("x", 300), navigation, 200, page, "text/html; charset=utf-8", "no-cache"},

		{"fetch gets no fallback", "/orders/42", "Accept: */*", 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"fetch of JSON gets no fallback", "/orders/42", "Accept: application/json", 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"HTML refused by weight", "/orders/42", "Accept: text/html;q=0, */*", 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"a missing script is never HTML", "/assets/gone.js", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"a missing image is never HTML", "/logo.PNG", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"no listing", "/empty/", "Accept: */*", 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"no listing of a deeper folder", "/assets/", "Accept: */*", 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"a file is no folder", "/style.css/", "Accept: */*", 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"dot file", "/.env", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"dot folder", "/.git/config", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"dot file deeper", "/docs/.htpasswd", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"dot file in well-known", "/.well-known/.hidden", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"well-known has no fallback", "/.well-known/change-password", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"up", "/../files.go", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"up, encoded", "/%2e%2e/files.go", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"up, encoded slash", "/docs%2f..%2f..%2ffiles.go", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"backslash", "/docs%5c..%5cstyle.css", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"NUL", "/style.css%00.html", navigation, 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
		{"absolute", "//etc/passwd", "Accept: */*", 404, "Not found.\n", "text/plain; charset=utf-8", "no-cache"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask("GET", c.path, c.accept)
			a.want(t, c.status, c.body)
			a.wantHeader(t, "Content-Type", c.contentType)
			a.wantHeader(t, "Cache-Control", c.cache)
			a.wantHeader(t, "X-Content-Type-Options", "nosniff")

			head := ask("HEAD", c.path, c.accept)
			head.want(t, c.status, "")
			for _, name := range []string{"Content-Type", "Cache-Control", "Etag", "Vary"} {
				head.wantHeader(t, name, a.Header.Get(name))
			}
			if c.status == 200 && head.ContentLength != int64(len(c.body)) {
				t.Errorf("HEAD says %d bytes, GET sends %d", head.ContentLength, len(c.body))
			}
		})
	}
}

func TestMethods(t *testing.T) {
	ask := serve(t, app(t), Options{})
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} {
		a := ask(method, "/", navigation)
		if a.StatusCode != 405 {
			t.Errorf("%s: %d, want 405", method, a.StatusCode)
		}
		a.wantHeader(t, "Allow", "GET, HEAD")
		a.wantHeader(t, "X-Content-Type-Options", "nosniff")
	}
}

func TestFolderWithoutSlash(t *testing.T) {
	dir := app(t)
	write(t, dir, "a:b/index.html", "odd", built)
	write(t, dir, "%2f/index.html", "odd", built)
	ask := serve(t, dir, Options{})
	for path, location := range map[string]string{"/docs": "docs/", "/docs?a=1&b=%2F": "docs/?a=1&b=%2F", "/a:b": "./a:b/", "/%252f": "%252f/"} {
		a := ask("GET", path, navigation)
		if a.StatusCode != 307 {
			t.Errorf("%s: %d, want 307", path, a.StatusCode)
		}
		a.wantHeader(t, "Location", location)
		a.wantHeader(t, "Cache-Control", "no-cache")
	}
}

func TestFallbackOptions(t *testing.T) {
	dir := app(t)
	t.Run("none", func(t *testing.T) {
		serve(t, dir, Options{Fallback: "-"})("GET", "/orders", navigation).want(t, 404, "Not found.\n")
	})
	t.Run("named", func(t *testing.T) {
		a := serve(t, dir, Options{Fallback: "docs/index.html"})("GET", "/orders", navigation)
		a.want(t, 200, "<title>Docs</title>")
		a.wantHeader(t, "Vary", "Accept, Accept-Encoding")
	})
	t.Run("not built yet", func(t *testing.T) {
		serve(t, t.TempDir(), Options{})("GET", "/", navigation).want(t, 404, "Not found.\n")
	})
}

func TestNew_Refuses(t *testing.T) {
	dir := app(t)
	for _, c := range []struct {
		name, dir string
		options   Options
		want      string
	}{
		{"missing folder", filepath.Join(dir, "gone"), Options{}, "there is no such folder"},
		{"a file", filepath.Join(dir, "index.html"), Options{}, "name the folder it is in"},
		{"missing fallback", dir, Options{Fallback: "app.html"}, "there is no such file"},
		{"fallback outside", dir, Options{Fallback: "../index.html"}, "name a file inside"},
		{"hidden fallback", dir, Options{Fallback: ".env"}, "name a file inside"},
		{"header that breaks answers", dir, Options{Headers: map[string]string{"content-length": "3"}}, "not the operator's to set"},
		{"header that is a cookie", dir, Options{Headers: map[string]string{"Set-Cookie": "a=b"}}, "not the operator's to set"},
		{"header with a line break", dir, Options{Headers: map[string]string{"X-A": "b\r\nSet-Cookie: c=d"}}, "control character"},
		{"no header name", dir, Options{Headers: map[string]string{"X A": "b"}}, "not a header name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := New(c.dir, c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestSymlinks(t *testing.T) {
	outside := folder(t, map[string]string{"secret.txt": "secret", "index.html": "secret"})
	dir := app(t)
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(filepath.Join(outside, "secret.txt"), "absolute.txt")
	link("../"+filepath.Base(outside)+"/secret.txt", "relative.txt")
	link(outside, "folder")
	link(filepath.Join(outside, "secret.txt"), "style.css.gz")
	link("loop", "loop")
	link("style.css", "inside.css")

	ask := serve(t, dir, Options{})
	for _, path := range []string{"/absolute.txt", "/relative.txt", "/folder/secret.txt", "/folder/", "/folder", "/loop"} {
		ask("GET", path, "Accept: */*").want(t, 404, "Not found.\n")
		ask("GET", path, navigation).want(t, 404, "Not found.\n")
	}
	ask("GET", "/style.css", "Accept-Encoding: gzip").want(t, 200, "a{}")
	ask("GET", "/inside.css").want(t, 200, "a{}")
}

func TestChangesWhileRunning(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "dist")
	write(t, dir, "index.html", "one", built)
	ask := serve(t, dir, Options{})
	first := ask("GET", "/")
	first.want(t, 200, "one")
	known := "If-None-Match: " + first.Header.Get("Etag")
	ask("GET", "/", known).want(t, 304, "")

	t.Run("the same size and time, another content", func(t *testing.T) {
		next := filepath.Join(base, "next")
		write(t, next, "index.html", "two", built)
		if err := os.Rename(filepath.Join(next, "index.html"), filepath.Join(dir, "index.html")); err != nil {
			t.Fatal(err)
		}
		ask("GET", "/", known).want(t, 200, "two")
	})
	t.Run("written in place", func(t *testing.T) {
		write(t, dir, "index.html", "three", built.Add(time.Second))
		ask("GET", "/", known).want(t, 200, "three")
	})
	t.Run("written twice within a moment", func(t *testing.T) {
		now := time.Now()
		write(t, dir, "index.html", "four!", now)
		four := ask("GET", "/")
		write(t, dir, "index.html", "five!", now)
		ask("GET", "/", "If-None-Match: "+four.Header.Get("Etag")).want(t, 200, "five!")
	})
	t.Run("the folder away, and back", func(t *testing.T) {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		a := ask("GET", "/", navigation)
		a.want(t, 503, "Not available right now.\n")
		a.wantHeader(t, "Retry-After", "1")
		write(t, dir, "index.html", "six", built)
		ask("GET", "/").want(t, 200, "six")
	})
	t.Run("a link to another release", func(t *testing.T) {
		write(t, base, "1/index.html", "release 1", built)
		write(t, base, "2/index.html", "release 2", built)
		current := filepath.Join(base, "current")
		if err := os.Symlink("1", current); err != nil {
			t.Fatal(err)
		}
		ask := serve(t, current, Options{})
		ask("GET", "/").want(t, 200, "release 1")
		if err := os.Symlink("2", current+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(current+".new", current); err != nil {
			t.Fatal(err)
		}
		ask("GET", "/").want(t, 200, "release 2")
	})
}

func TestConditions(t *testing.T) {
	ask := serve(t, app(t), Options{})
	const path = "/assets/index-B3x9kQ2a.js"
	plain := ask("GET", path)
	tag, changed := plain.Header.Get("Etag"), plain.Header.Get("Last-Modified")
	if !strings.HasPrefix(tag, `"`) || changed != built.Format(http.TimeFormat) {
		t.Fatalf("validators: %q, %q", tag, changed)
	}
	for _, c := range []struct {
		name    string
		headers []string
		status  int
		body    string
	}{
		{"tag known", []string{"If-None-Match: " + tag}, 304, ""},
		{"tag known among others", []string{`If-None-Match: "x", W/` + tag}, 304, ""},
		{"tag unknown", []string{`If-None-Match: "x"`}, 200, script},
		{"tag over time", []string{`If-None-Match: "x"`, "If-Modified-Since: " + changed}, 200, script},
		{"not modified", []string{"If-Modified-Since: " + changed}, 304, ""},
		{"modified", []string{"If-Modified-Since: " + built.Add(-time.Hour).Format(http.TimeFormat)}, 200, script},
		{"range", []string{"Range: bytes=0-6"}, 206, "console"},
		{"suffix", []string{"Range: bytes=-2"}, 206, "')"},
		{"range beyond", []string{"Range: bytes=1000-"}, 416, "invalid range: failed to overlap\n"},
		{"range of the same file", []string{"Range: bytes=0-6", "If-Range: " + tag}, 206, "console"},
		{"range of the same time", []string{"Range: bytes=0-6", "If-Range: " + changed}, 206, "console"},
		{"range of another file", []string{"Range: bytes=0-6", `If-Range: "x"`}, 200, script},
		{"match fails", []string{`If-Match: "x"`}, 412, ""},

		{"the tag of another encoding", []string{"If-None-Match: " + tag, "Accept-Encoding: br"}, 200, "brotli of the script"},
		{"compressed range", []string{"Range: bytes=0-5", "Accept-Encoding: br"}, 206, "brotli"},
		{"compressed range of the plain file", []string{"Range: bytes=0-5", "Accept-Encoding: br", "If-Range: " + tag}, 200, "brotli of the script"},
		{"several compressed ranges", []string{"Range: bytes=0-1,4-5", "Accept-Encoding: br"}, 200, "brotli of the script"},
		{"compressed, match fails", []string{`If-Match: "x"`, "Accept-Encoding: br"}, 412, ""},
		{"compressed range beyond", []string{"Range: bytes=1000-", "Accept-Encoding: br"}, 416, "invalid range: failed to overlap\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask("GET", path, c.headers...)
			a.want(t, c.status, c.body)
			a.wantHeader(t, "Vary", "Accept-Encoding")
			if c.status == 416 {
				a.wantHeader(t, "Content-Encoding", "")
			}
			head := ask("HEAD", path, c.headers...)
			head.want(t, c.status, "")
		})
	}
	t.Run("several ranges", func(t *testing.T) {
		a := ask("GET", path, "Range: bytes=0-1,4-5")
		if a.StatusCode != 206 || !strings.HasPrefix(a.Header.Get("Content-Type"), "multipart/byteranges") {
			t.Errorf("got %d %s", a.StatusCode, a.Header.Get("Content-Type"))
		}
	})
}

func TestEncodings(t *testing.T) {
	dir := app(t)
	write(t, dir, "stale.css", "new", built)
	write(t, dir, "stale.css.gz", "old", built.Add(-time.Minute))
	write(t, dir, "same-second.css", "new", built.Add(900*time.Millisecond))
	write(t, dir, "same-second.css.gz", "compressed", built)
	write(t, dir, "index.html.gz", "gzip of the page", built)
	if err := os.Mkdir(filepath.Join(dir, "style.css.gz"), 0o755); err != nil {
		t.Fatal(err)
	}
	ask := serve(t, dir, Options{})
	const path = "/assets/index-B3x9kQ2a.js"
	for _, c := range []struct{ name, path, accept, coding, body string }{
		{"chromium", path, "gzip, deflate, br, zstd", "br", "brotli of the script"},
		{"over plain http", path, "gzip, deflate", "gzip", "gzip of the script"},
		{"weights", path, "br;q=0.5, gzip;q=0.8, zstd;q=0.7", "gzip", "gzip of the script"},
		{"zero", path, "br;q=0, zstd;q=0.0, gzip", "gzip", "gzip of the script"},
		{"capitals and spaces", path, " GZip ; Q=1 ", "gzip", "gzip of the script"},
		{"anything", path, "*", "br", "brotli of the script"},
		{"anything but", path, "br;q=0, *", "zstd", "zstd of the script"},
		{"nothing", path, "*;q=0", "", script},
		{"media players", path, "identity;q=1, *;q=0", "", script},
		{"identity liked better", path, "gzip;q=0.5, identity", "", script},
		{"unreadable weight", path, "br;q=2, gzip;q=x", "", script},
		{"unknown", path, "compress, deflate", "", script},
		{"empty", path, "", "", script},
		{"older than the file", "/stale.css", "gzip", "", "new"},
		{"archived to the second", "/same-second.css", "gzip", "gzip", "compressed"},
		{"a folder", "/style.css", "gzip", "", "a{}"},
		{"the fallback too", "/orders", "gzip", "gzip", "gzip of the page"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask("GET", c.path, navigation, "Accept-Encoding: "+c.accept)
			a.want(t, 200, c.body)
			a.wantHeader(t, "Content-Encoding", c.coding)
			if a.ContentLength != int64(len(c.body)) {
				t.Errorf("Content-Length %d, want %d", a.ContentLength, len(c.body))
			}
			if a.Header.Get("Content-Type") == "application/gzip" {
				t.Error("the type is that of the archive, not of the file")
			}
			if !strings.Contains(a.Header.Get("Vary"), "Accept-Encoding") {
				t.Errorf("Vary: %q", a.Header.Get("Vary"))
			}
		})
	}
	t.Run("one tag each", func(t *testing.T) {
		seen := map[string]string{}
		for _, coding := range []string{"identity", "br", "zstd", "gzip"} {
			tag := ask("GET", path, "Accept-Encoding: "+coding).Header.Get("Etag")
			if other, ok := seen[tag]; ok {
				t.Errorf("%s and %s share %s", coding, other, tag)
			}
			seen[tag] = coding
		}
	})
	t.Run("asked for by its own name", func(t *testing.T) {
		a := ask("GET", path+".gz", "Accept-Encoding: gzip")
		a.wantHeader(t, "Content-Encoding", "")
		a.wantHeader(t, "Content-Type", "application/gzip")
	})
}

func TestHeaders_H5_H6(t *testing.T) {
	dir := app(t)
	write(t, dir, "logo.svg", "<svg/>", built)
	t.Run("by default", func(t *testing.T) {
		ask := serve(t, dir, Options{})
		for _, path := range []string{"/", "/orders", "/logo.svg"} {
			a := ask("GET", path, navigation)
			a.wantHeader(t, "Content-Security-Policy", StarterCSP)
			a.wantHeader(t, "Cross-Origin-Opener-Policy", "same-origin")
		}
		ask("GET", "/style.css").wantHeader(t, "Content-Security-Policy", "")
		for _, part := range []string{"frame-ancestors 'none'", "object-src 'none'", "base-uri 'none'", "default-src 'self'"} {
			if !strings.Contains(StarterCSP, part) {
				t.Errorf("the starter policy lacks %s", part)
			}
		}
		if strings.Contains(strings.ReplaceAll(StarterCSP, "style-src 'self' 'unsafe-inline'", ""), "unsafe") {
			t.Error("the starter policy allows inline script")
		}
	})
	t.Run("own policy", func(t *testing.T) {
		serve(t, dir, Options{CSP: "default-src *"})("GET", "/").wantHeader(t, "Content-Security-Policy", "default-src *")
	})
	t.Run("no policy", func(t *testing.T) {
		serve(t, dir, Options{CSP: "off"})("GET", "/").wantHeader(t, "Content-Security-Policy", "")
	})
	t.Run("the operator's, on every answer", func(t *testing.T) {
		ask := serve(t, dir, Options{Headers: map[string]string{
			"x-robots-tag": "noindex", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": ""}})
		for _, a := range []answer{ask("GET", "/"), ask("GET", "/gone"), ask("POST", "/"), ask("GET", "/docs")} {
			a.wantHeader(t, "X-Robots-Tag", "noindex")
			a.wantHeader(t, "Referrer-Policy", "same-origin")
			a.wantHeader(t, "Cross-Origin-Opener-Policy", "")
		}
	})
	t.Run("behind a login (H1)", func(t *testing.T) {
		ask := serve(t, dir, Options{Private: true})
		ask("GET", "/").wantHeader(t, "Cache-Control", "private, no-cache")
		ask("GET", "/assets/index-B3x9kQ2a.js").wantHeader(t, "Cache-Control", "private, max-age=31536000, immutable")
	})
}

func TestTag_LargeFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "video.mp4", "x", built)
	if err := os.Truncate(filepath.Join(dir, "video.mp4"), maxSummed+1); err != nil {
		t.Fatal(err)
	}
	ask := serve(t, dir, Options{})
	a := ask("GET", "/video.mp4", "Range: bytes=0-0")
	a.want(t, 206, "x")
	if again := ask("HEAD", "/video.mp4"); again.Header.Get("Etag") != a.Header.Get("Etag") || again.ContentLength != maxSummed+1 {
		t.Errorf("HEAD: %v", again.Header)
	}
}

func TestIsHashed(t *testing.T) {
	for name, want := range map[string]bool{
		"assets/index-B3x9kQ2a.js":              true, // Vite
		"assets/index-B3-9k_2a.css":             true, // Vite: base64url holds - and _
		"assets/index-B3x9kQ2a.js.map":          true,
		"assets/my-page-B3x9kQ2a.js":            true,
		"main.8f3a1c2b.css":                     true, // webpack
		"main.8f3a1c2b.chunk.js":                true,
		"main.8f3a1c2b9d0e4f5a6b7c.js":          true,
		"main.8f3a1c2b.js.LICENSE.txt":          true,
		"static/media/8f3a1c2b9d0e4f5a6b7c.png": true,
		"logo.8f3a1c2b.svg":                     true, // Parcel
		"main-5PRFU5ZL.js":                      true, // esbuild, Angular
		"chunk-OAOF4Q2L.js":                     true,
		"styles-5INURTSO.css":                   true,
		"_app/start.B3x9kQ2a.js":                true, // SvelteKit

		"index.html": false, "app.js": false, "bootstrap.min.js": false, "jquery-3.7.1.js": false, "jquery-3.7.1.min.js": false,
		"background-component.js": false, "service-worker.js": false, "apple-touch-icon-180x180.png": false,
		"Inter-SemiBold.woff2": false, "logo-Retina2x.png": false, "app-SETTINGS.json": false, "doc-VERSION2.txt": false,
		"report-20240101.pdf": false, "backup-20240101123000.zip": false, "photo-decade90.jpg": false, "x-deadbeef.js": false,
		"lib-MyButton.js": false, "icon.DarkMode.svg": false, "main.prod.js": false, "B3x9kQ2a": false, "-B3x9kQ2a": false,
		"avatar-550e8400-e29b-41d4-a716-44665544000a.png": false, "polyfills-es2015.js": false, "a.standard.js": false,
		"8f3a1c2b.js": false, "": false, ".": false, "B3x9kQ2a/app.js": false, "fonts.roboto-v30-latin-regular.woff2": false,
	} {
		if got := isHashed(name); got != want {
			t.Errorf("isHashed(%q) = %v", name, got)
		}
	}
}

// TestReplacedWhileAsked: every answer must be whole, and its tag its own, although times and sizes never change.
func TestReplacedWhileAsked(t *testing.T) {
	dir := folder(t, map[string]string{"index.html": "a"})
	h, err := New(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	replace := func(i int) error {
		next := filepath.Join(dir, "next")
		return errors.Join(
			os.WriteFile(next, bytes.Repeat([]byte{byte('a' + i%26)}, 1000), 0o644),
			os.Chtimes(next, built, built),
			os.Rename(next, filepath.Join(dir, "index.html")))
	}
	done := make(chan error, 1)
	go func() {
		var err error
		for i := range 200 {
			err = errors.Join(err, replace(i))
		}
		done <- err
	}()
	contentOf := map[string]string{}
	for running := true; running; {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			running = false
		default:
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		tag, body := w.Header().Get("Etag"), w.Body.String()
		if known, ok := contentOf[tag]; w.Code != 200 || ok && known != body {
			t.Errorf("%d: %s stands for %.3q and %.3q", w.Code, tag, known, body)
		}
		contentOf[tag] = body
	}
	if len(contentOf) < 2 {
		t.Fatal("nothing changed meanwhile")
	}
}
