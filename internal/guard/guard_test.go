package guard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	own    = "https://app.example.com"
	listed = "https://front.example.com"
)

func newGuard(t testing.TB, own string, listed ...string) *Guard {
	t.Helper()
	o, err := origin.Parse(own)
	if err != nil {
		t.Fatal(err)
	}
	g, err := New(o, Options{Origins: listed}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// absent stands for a header that is not there; "" is one that is there and empty.
const absent = "(absent)"

// kind is one way to ask.
type kind struct {
	name, method string
	header       map[string]string
}

var (
	fetched   = map[string]string{"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty", "Accept": "text/html"} // the Accept is the script's
	navigated = map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"}
	framed    = map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe", "Accept": "text/html"}
	unsaid    = map[string]string{"Accept": "text/html"}
	upgraded  = map[string]string{"Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-Fetch-Mode": "websocket", "Sec-Fetch-Dest": "websocket"}
	disguised = map[string]string{"Connection": "Upgrade", "Upgrade": "WebSocket", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

	reads = []kind{{"fetch", "GET", fetched}, {"head", "HEAD", fetched}, {"frame", "GET", framed}, {"bare", "GET", unsaid}}
	pages = []kind{{"page", "GET", navigated}, {"page head", "HEAD", navigated}}
	forms = []kind{{"form", "POST", navigated}}
	// What writes, and is no document navigation. A method that is no one's is a write; so is OPTIONS: a preflight is answered
	// before the guard.
	writes = []kind{{"fetch", "POST", fetched}, {"put", "PUT", fetched}, {"patch", "PATCH", fetched}, {"delete", "DELETE", fetched},
		{"options", "OPTIONS", fetched}, {"lower case", "get", fetched}, {"own method", "PURGE", fetched}, {"form in a frame", "POST", framed}, {"bare", "POST", unsaid}}
	upgrades = []kind{{"upgrade", "GET", upgraded}, {"upgrade that navigates", "GET", disguised}}
)

func joined(kinds ...[]kind) (all []kind) {
	for _, k := range kinds {
		all = append(all, k...)
	}
	return all
}

// origins are the columns of the matrix.
var origins = []string{
	absent, own, listed, "null",
	"https://evil.test",                 // column 5: foreign in every way
	"http://app.example.com",            // the scheme
	"https://app.example.com:8443",      // the port
	"https://app.example.com.evil.test", // the suffix tricks
	"https://evil-app.example.com",
	"https://sub.app.example.com",
	"https://app.example.com@evil.test",
	"https://front.example.com.evil.test",
	"HTTPS://APP.EXAMPLE.COM", // no browser writes it so
	"",
}

var referers = []string{absent, own + "/page?code=secret", listed + "/", "https://evil.test/" + own, "https://app.example.com.evil.test/", "https://app.example.com@evil.test/",
	"https://app.example.com:8443/", "http://app.example.com/", own, ""}

// matrix is the table of the design. In passes, a letter stands for each column of origins up to the fourth: '+' passes, '.' is
// refused; the fifth stands for all others.
var matrix = []struct {
	x      string
	site   string
	kinds  []kind
	passes string // absent, own, listed, null, foreign
}{
	{"X1", "same-origin", joined(reads, pages), "+++++"},
	{"X3", "same-origin", joined(writes, forms), "++++."},
	{"X9", "same-origin", upgrades, "++++."},

	{"X1", "same-site", pages, "+++++"},
	{"X1", "same-site", reads, "..+.."},
	{"X3", "same-site", joined(writes, forms), "..+.."},
	{"X9", "same-site", upgrades, "..+.."},

	{"X1", "cross-site", pages, "+++++"},
	{"X1", "cross-site", reads, "..+.."},
	{"X3", "cross-site", joined(writes, forms), "..+.."},
	{"X9", "cross-site", upgrades, "..+.."},

	{"X1", "none", joined(reads, pages), "+++++"},
	{"X3", "none", writes, "....."},
	{"X3", "none", forms, "+++.."},
	{"X9", "none", upgrades, "....."},

	// Not a word of the standard: as if another site.
	{"X3", "", joined(reads, writes, forms, upgrades), "..+.."},
	{"X3", "same-origin ", joined(reads, writes, forms, upgrades), "..+.."},
	{"X3", "Same-Origin", joined(reads, writes, forms, upgrades), "..+.."},
	{"X3", "sibling", pages, "+++++"},

	// The dot in the first column: as the Referer says, tested in TestCheck_X4_Referer.
	{"X4", absent, joined(reads, pages), "+++++"},
	{"X4", absent, joined(writes, forms), ".++.."},
	{"X9", absent, upgrades, ".++.."},
}

func request(k kind, site, from, referer string) *http.Request {
	r := httptest.NewRequest(k.method, "/api/notes", nil)
	r.Host = "internal:8080" // a proxy in front rewrote it
	for name, value := range k.header {
		r.Header.Set(name, value)
	}
	for name, value := range map[string]string{"Sec-Fetch-Site": site, "Origin": from, "Referer": referer} {
		if value != absent {
			r.Header.Set(name, value)
		}
	}
	return r
}

func TestCheck_Matrix(t *testing.T) {
	g := newGuard(t, own, listed)
	for _, row := range matrix {
		for _, k := range row.kinds {
			t.Run(fmt.Sprintf("%s/%s/%s %s", row.x, row.site, k.name, k.method), func(t *testing.T) {
				for i, from := range origins {
					for _, referer := range referers {
						if row.site == absent && from == absent && referer != absent {
							continue
						}
						want := session.CrossSite
						if row.passes[min(i, len(row.passes)-1)] == '+' {
							want = ""
						}
						err := g.Check(request(k, row.site, from, referer))
						if got := session.CodeOf(err); got != want {
							t.Errorf("Origin %q, Referer %q: %q (%v), want %q", from, referer, got, err, want)
						}
					}
				}
			})
		}
	}
}

func TestCheck_X4_Referer(t *testing.T) {
	g := newGuard(t, own, listed)
	for referer, want := range map[string]session.Code{
		absent:                              session.CrossSite,
		"":                                  session.CrossSite,
		own:                                 "",
		own + "/page?x=y":                   "",
		own + "?x":                          "",
		own + "#x":                          "",
		listed + "/":                        "",
		"http://app.example.com/":           session.CrossSite,
		"https://app.example.com:8443/":     session.CrossSite,
		"https://app.example.com.evil.test": session.CrossSite,
		"https://app.example.com@evil.test": session.CrossSite,
		"https://app.example.com\\.evil/":   session.CrossSite,
		"https://app.example.co":            session.CrossSite,
		"https://evil.test/" + own:          session.CrossSite,
		"https://evil.test?" + own:          session.CrossSite,
		" " + own + "/":                     session.CrossSite,
		"null":                              session.CrossSite,
		"about:blank":                       session.CrossSite,
	} {
		for _, k := range joined(writes, forms, upgrades) {
			err := g.Check(request(k, absent, absent, referer))
			if got := session.CodeOf(err); got != want {
				t.Errorf("%s %s with Referer %q: %q (%v), want %q", k.name, k.method, referer, got, err, want)
			}
		}
		for _, k := range joined(reads, pages) {
			if err := g.Check(request(k, absent, absent, referer)); err != nil {
				t.Errorf("%s %s with Referer %q: %v", k.name, k.method, referer, err)
			}
		}
	}
}

func TestCheck_X6_TraceAndConnect(t *testing.T) {
	g := newGuard(t, own)
	for _, method := range []string{"TRACE", "CONNECT"} {
		err := g.Check(request(kind{method: method, header: fetched}, "same-origin", own, absent))
		if got := session.CodeOf(err); got != session.BadMethod {
			t.Errorf("%s: %q (%v)", method, got, err)
		}
	}
}

func TestCheck_X3_AHeaderTwice(t *testing.T) {
	g := newGuard(t, own, listed)
	for name, values := range map[string][2]string{
		"Sec-Fetch-Site": {"same-origin", "cross-site"},
		"Sec-Fetch-Mode": {"navigate", "cors"},
		"Sec-Fetch-Dest": {"document", "empty"},
		"Origin":         {own, "https://evil.test"},
		"Referer":        {own + "/", "https://evil.test/"},
	} {
		for _, k := range joined(reads, pages, writes, forms, upgrades) {
			r := request(k, "same-origin", own, own+"/")
			if err := g.Check(r); err != nil {
				t.Fatalf("%s %s: %v", k.name, k.method, err)
			}
			r.Header[name] = values[:]
			if err := g.Check(r); session.CodeOf(err) != session.CrossSite {
				t.Errorf("%s %s with %s twice: %v", k.name, k.method, name, err)
			}
		}
	}
}

// TestCheck_X7_SimpleContentTypes: no content type makes a difference.
func TestCheck_X7_SimpleContentTypes(t *testing.T) {
	g := newGuard(t, own, listed)
	for _, content := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/json", ""} {
		for _, c := range []struct {
			name, site, from, referer string
			want                      session.Code
		}{
			{"our own form", "same-origin", own, own + "/", ""},
			{"our own form, no Referer", "same-origin", own, absent, ""},
			{"our own form, old browser", absent, own, absent, ""},
			{"our own form, older browser", absent, absent, own + "/page", ""},
			{"a listed front end", "same-site", listed, absent, ""},
			{"a form elsewhere", "cross-site", "https://evil.test", absent, session.CrossSite},
			{"a form on a sibling", "same-site", "https://evil.example.com", absent, session.CrossSite},
			{"a form elsewhere, old browser", absent, "https://evil.test", own + "/", session.CrossSite},
			{"a sandboxed frame", "cross-site", "null", absent, session.CrossSite},
			{"a sandboxed frame, old browser", absent, "null", own + "/", session.CrossSite},
			{"no proof at all", absent, absent, absent, session.CrossSite},
		} {
			r := request(forms[0], c.site, c.from, c.referer)
			r.Header.Set("Content-Type", content)
			if err := g.Check(r); session.CodeOf(err) != c.want {
				t.Errorf("%s as %q: %v, want %q", c.name, content, err, c.want)
			}
		}
	}
}

func TestCheck_X5_SandboxedNull(t *testing.T) {
	g := newGuard(t, own, listed)
	for _, site := range []string{"same-site", "cross-site", "none", absent, "", "whatever"} {
		for _, k := range joined(writes, forms, upgrades) {
			if err := g.Check(request(k, site, "null", own+"/")); session.CodeOf(err) != session.CrossSite {
				t.Errorf("%s %s, Sec-Fetch-Site %q: %v", k.name, k.method, site, err)
			}
		}
	}
	if _, err := New(g.own, Options{Origins: []string{"null"}}, nil); err == nil {
		t.Error("null can be listed")
	}
}

// TestCheck_X3_NoForeignOriginWrites: whatever else a request says, a foreign Origin never writes.
func TestCheck_X3_NoForeignOriginWrites(t *testing.T) {
	g := newGuard(t, own, listed)
	sites := []string{absent, "", "same-origin", "same-site", "cross-site", "none", "x"}
	foreign := rapid.OneOf(rapid.SampledFrom(origins[4:]), rapid.String(), rapid.StringMatching(`https?://[a-z.:@/]{0,30}`),
		rapid.Custom(func(t *rapid.T) string { return own + rapid.StringN(1, 5, -1).Draw(t, "suffix") }))
	rapid.Check(t, func(t *rapid.T) {
		k := rapid.SampledFrom(joined(writes, forms, upgrades)).Draw(t, "kind")
		k.header = rapid.SampledFrom([]map[string]string{k.header, fetched, navigated, unsaid}).Draw(t, "header")
		if k.method == "GET" {
			k.header = upgraded
		}
		site := rapid.SampledFrom(sites).Draw(t, "site")
		from := foreign.Filter(func(s string) bool { return s != own && s != listed && s != absent && s != "null" }).Draw(t, "origin")
		r := request(k, site, from, rapid.SampledFrom(referers).Draw(t, "referer"))
		r.Host = rapid.SampledFrom([]string{"app.example.com", strings.TrimPrefix(from, "https://")}).Draw(t, "host")
		err := g.Check(r)
		if session.CodeOf(err) != session.CrossSite {
			t.Fatalf("passes: %v", err)
		}
		if len(err.Error()) > 1000 {
			t.Fatalf("%d bytes of reason", len(err.Error()))
		}
	})
}

// TestCheck_X4_WhereTheLibraryFailsOpen keeps in mind why Check is more than the standard library: each of these passes there.
func TestCheck_X4_WhereTheLibraryFailsOpen(t *testing.T) {
	g := newGuard(t, own, listed)
	for name, r := range map[string]*http.Request{
		"neither Sec-Fetch-Site nor Origin":    request(writes[0], absent, absent, absent),
		"plain http of the same host":          request(writes[0], absent, "http://app.example.com", absent),
		"a name of his on our address":         request(writes[0], absent, "https://evil.test", absent),
		"a name of his, Sec-Fetch-Site agrees": request(writes[0], "same-origin", "https://evil.test", absent),
		"an empty Origin":                      request(writes[0], absent, "", absent),
		"none, but no navigation":              request(writes[0], "none", absent, absent),
		"an upgrade from anywhere":             request(upgrades[0], "cross-site", "https://evil.test", absent),
		"OPTIONS from anywhere":                request(kind{method: "OPTIONS"}, "cross-site", "https://evil.test", absent),
	} {
		r.Host = "app.example.com"
		if strings.HasPrefix(name, "a name of his") {
			r.Host = "evil.test"
		}
		if err := g.library.Check(r); err != nil {
			t.Errorf("%s: the library refuses it now: %v", name, err)
		}
		if err := g.Check(r); session.CodeOf(err) != session.CrossSite {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheck_TellsTheOperatorWhyAndNoSecret(t *testing.T) {
	g := newGuard(t, own, listed)
	for _, c := range []struct {
		r            *http.Request
		reason, hint string
	}{
		{request(writes[0], "cross-site", "https://evil.test", absent), `POST with Sec-Fetch-Site "cross-site", Origin "https://evil.test"`, hintList},
		{request(reads[0], "cross-site", absent, absent), `GET with Sec-Fetch-Site "cross-site", Origin missing`, hintList},
		{request(writes[0], "same-origin", "http://localhost:5173", absent), `Origin is "http://localhost:5173" and ours ` + own, hintOwn},
		{request(writes[0], "none", absent, absent), `Sec-Fetch-Mode "cors", Sec-Fetch-Dest "empty", Origin missing`, ""},
		{request(writes[0], absent, "https://evil.test", absent), `no Sec-Fetch-Site, and Origin "https://evil.test" is neither ours nor listed`, hintList},
		{request(writes[0], absent, absent, absent), `POST without Sec-Fetch-Site, Origin and Referer`, ""},
		{request(writes[0], absent, absent, "https://evil.test/cb?code=secret"), `Referer is on https://evil.test, neither`, hintList},
		{request(writes[0], absent, absent, "https://me:secret@evil.test/"), `Referer has no readable origin`, ""},
		{request(writes[0], absent, absent, "secret"), `Referer has no readable origin`, ""},
		{request(writes[0], absent, "https://evil.test\r\nx: y", absent), `"https://evil.test\r\nx: y"`, hintList},
	} {
		err := g.Check(c.r)
		if session.CodeOf(err) != session.CrossSite || !strings.Contains(err.Error(), c.reason) || session.HintOf(err) != c.hint {
			t.Errorf("%v (hint %q); want %q (hint %q)", err, session.HintOf(err), c.reason, c.hint)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("a secret in %v", err)
		}
	}
}

func TestNew_K1_OriginsList(t *testing.T) {
	g := newGuard(t, own, "https://FRONT.example.com:443", listed, own, "http://localhost:5173", "https://other.test")
	var got []string
	for _, o := range g.Listed() {
		got = append(got, o.String())
	}
	if want := listed + " http://localhost:5173 https://other.test"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	dev := newGuard(t, "http://localhost:8080", "http://dev.test:3000")
	if len(dev.Listed()) != 1 {
		t.Errorf("%v", dev.Listed())
	}
	bad := []string{"*", "https://*.example.com", "null", "front.example.com", "https://front.example.com/", "http://front.example.com", ""}
	_, err := New(g.own, Options{Origins: append(bad, listed)}, nil)
	if err == nil {
		t.Fatal("all of them can be listed")
	}
	if lines := strings.Split(err.Error(), "\n"); len(lines) != len(bad) {
		t.Errorf("%d reasons for %d mistakes:\n%v", len(lines), len(bad), err)
	}
	for _, text := range bad {
		if !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("nothing said of %q", text)
		}
	}
	if _, err := New(origin.Origin{}, Options{}, nil); err == nil {
		t.Error("a guard of nothing")
	}
}

// TestCheck_OverTheWire: what net/http makes of real bytes is what Check expects.
func TestCheck_OverTheWire(t *testing.T) {
	g := newGuard(t, own, listed)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e *session.Error
		switch err := g.Check(r); {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case errors.As(err, &e) && e.Code == session.BadMethod:
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		name, lines string
		want        int
	}{
		{"X1 own page", "GET / HTTP/1.1\nsec-fetch-site: same-origin", 204},
		{"X3 cross-site POST", "POST / HTTP/1.1\nsec-fetch-site: cross-site\norigin: https://evil.test", 403},
		{"X3 two in one, other case", "POST / HTTP/1.1\nSEC-FETCH-SITE: same-origin\nsec-fetch-site: cross-site", 403},
		{"X4 behind a proxy", "POST / HTTP/1.1\norigin: " + own, 204},
		{"X4 no proof", "POST / HTTP/1.1", 403},
		{"X6 TRACE", "TRACE / HTTP/1.1\nsec-fetch-site: same-origin", 405},
		{"X6 CONNECT", "CONNECT app.example.com:443 HTTP/1.1", 405},
		{"X9 upgrade elsewhere", "GET / HTTP/1.1\nconnection: keep-alive, upgrade\nupgrade: WebSocket\norigin: https://evil.test", 403},
		{"X9 upgrade without Origin", "GET / HTTP/1.1\nconnection: upgrade\nupgrade: websocket", 403},
		{"X9 own upgrade", "GET / HTTP/1.1\nconnection: upgrade\nupgrade: websocket\norigin: " + own, 204},
		{"X9 listed upgrade", "GET / HTTP/1.1\nconnection: upgrade\nupgrade: websocket\norigin: " + listed, 204},
	} {
		if got := status(t, server.Listener.Addr().String(), c.lines); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func status(t *testing.T, addr, lines string) int {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(context.WithoutCancel(t.Context()), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, strings.ReplaceAll(lines, "\n", "\r\n")+"\r\nHost: internal\r\nContent-Length: 0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer.StatusCode
}

// passing is what passes, by each way through Check.
func passing() map[string]*http.Request {
	return map[string]*http.Request{
		"read":            request(reads[0], "same-origin", absent, own+"/"),
		"write":           request(writes[0], "same-origin", own, own+"/"),
		"page from afar":  request(pages[0], "cross-site", absent, absent),
		"form of nowhere": request(forms[0], "none", absent, absent),
		"listed":          request(writes[0], "same-site", listed, absent),
		"old browser":     request(writes[0], absent, own, absent),
		"older browser":   request(writes[0], absent, absent, listed+"/"),
		"upgrade":         request(upgrades[0], absent, own, absent),
		"no browser":      request(reads[3], absent, absent, absent),
	}
}

func TestCheck_AllocatesNothing(t *testing.T) {
	g := newGuard(t, own, listed)
	for name, r := range passing() {
		if err := g.Check(r); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(100, func() { _ = g.Check(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkCheck(b *testing.B) {
	g := newGuard(b, own, listed)
	for name, r := range passing() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = g.Check(r)
			}
		})
	}
	r := request(writes[0], "cross-site", "https://evil.test", absent)
	b.Run("refused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = g.Check(r)
		}
	})
}
