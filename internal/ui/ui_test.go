package ui

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

const prefix = "/auth/"

// every writes each page, with s in every field that holds text and u in every one that holds an address.
func every(p *Pages, s, u string) map[string]func(http.ResponseWriter) {
	return map[string]func(http.ResponseWriter){
		"error": func(w http.ResponseWriter) {
			p.Error(w, 502, ErrorPage{Title: s, Text: s, RequestID: s, TryAgain: u, Home: u})
		},
		"error without anything": func(w http.ResponseWriter) { p.Error(w, 500, ErrorPage{Title: s}) },
		"forbidden":              func(w http.ResponseWriter) { p.Forbidden(w, ForbiddenPage{SignIn: u, RequestID: s, Home: u}) },
		"continue":               func(w http.ResponseWriter) { p.Continue(w, u) },
		"signed out":             func(w http.ResponseWriter) { p.SignedOut(w, SignedOutPage{SignIn: u, Home: u}) },
		"chooser":                func(w http.ResponseWriter) { p.Chooser(w, []Choice{{s, u}, {s, u}}) },
		"form": func(w http.ResponseWriter) {
			p.Form(w, 422, FormPage{
				Title: s, Text: s, Action: u, Hidden: url.Values{s: {s}}, Wrong: s, Button: s, Links: []Link{{u, s}}, Others: []Link{{u, s}}, Username: s,
				Inputs: []Input{
					{Name: "identifier", Label: s, Type: "text", Autocomplete: "username", Value: s, Hint: s},
					{Name: "password", Label: s, Type: "password", Autocomplete: "new-password", Hint: s, Wrong: s, Least: 8},
					{Name: "code", Label: s, Type: "text", Value: s, Digits: true, Most: 60},
					{Name: "remember", Label: s, Type: "checkbox", Value: "1"},
				},
			})
		},
		"scan": func(w http.ResponseWriter) {
			p.Form(w, 200, FormPage{Title: s, Action: u, Button: s, Scan: &Scan{URI: "otpauth://totp/" + s, Text: s, Secret: s}})
		},
		"passkey": func(w http.ResponseWriter) {
			p.Form(w, 200, FormPage{Title: s, Text: s, Passkey: &Passkey{
				Action: u, Hidden: url.Values{s: {s}}, Ceremony: "create", Options: s, Button: s, Failed: s, Without: s,
			}})
		},
		"account": func(w http.ResponseWriter) {
			b := &Button{Action: u, Name: s, Hidden: url.Values{s: {s}}}
			p.Account(w, AccountPage{Title: s, Text: s, Notice: s, Links: []Link{{u, s}}, Sections: []Section{
				{Title: s, Text: s, Rows: []Row{{Name: s, Text: s, Button: b}, {Name: s, Link: Link{u, s}, Also: Link{u, s}}}}, {Title: s, Codes: []string{s, s}, Link: Link{u, s}, Button: b},
			}})
		},
		"secret form": func(w http.ResponseWriter) {
			p.Form(w, 200, FormPage{Title: s, Action: u, Hidden: url.Values{"token": {s}}, Button: s, Secret: true})
		},
		"notice": func(w http.ResponseWriter) { p.Notice(w, 200, s, s, Link{u, s}, Link{u, s}) },
		"submit": func(w http.ResponseWriter) { p.Submit(w, u, url.Values{s: {s}, "other": {s, s}}) },
	}
}

// read writes a page and parses it.
func read(t *testing.T, write func(http.ResponseWriter)) (*http.Response, []*html.Node) {
	t.Helper()
	w := httptest.NewRecorder()
	write(w)
	response := w.Result()
	document, err := html.ParseWithOptions(response.Body, html.ParseOptionEnableScripting(false)) // what is for browsers without script counts
	if err != nil {
		t.Fatal(err)
	}
	return response, slices.Collect(document.Descendants())
}

func named(nodes []*html.Node, name string) (found []*html.Node) {
	for _, n := range nodes {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return b.String()
}

func TestPages_H3_H5_H6_Headers(t *testing.T) {
	status := map[string]int{"error": 502, "error without anything": 500, "forbidden": 403, "form": 422}
	formAction := map[string]string{"submit": "https:", "form": "'self'", "secret form": "'self'", "account": "'self'", "scan": "'self'", "passkey": "'self'"}
	referrer := map[string]string{"submit": "strict-origin", "form": "same-origin", "account": "same-origin", "scan": "same-origin", "passkey": "same-origin"}
	for name, write := range every(New(prefix), "word", "https://op.example/end") {
		t.Run(name, func(t *testing.T) {
			response, _ := read(t, write)
			if want := max(status[name], 200); response.StatusCode != want {
				t.Errorf("status %d, want %d", response.StatusCode, want)
			}
			for key, want := range map[string]string{
				"Content-Type":               "text/html; charset=utf-8",
				"Cache-Control":              "no-store",
				"Cross-Origin-Opener-Policy": "same-origin",
				"X-Content-Type-Options":     "nosniff",
				"Permissions-Policy":         "camera=(), geolocation=(), microphone=()",
				"Referrer-Policy":            cmp.Or(referrer[name], "no-referrer"),
			} {
				if got := response.Header.Get(key); got != want {
					t.Errorf("%s: %q, want %q", key, got, want)
				}
			}
			want := "default-src 'none'; style-src 'self'; img-src 'self'; object-src 'none'; base-uri 'none'; " +
				"frame-ancestors 'none'; form-action " + cmp.Or(formAction[name], "'none'")
			if name == "submit" || name == "passkey" {
				want += "; script-src 'self'"
			}
			if got := response.Header.Get("Content-Security-Policy"); got != want {
				t.Errorf("policy\n%s, want\n%s", got, want)
			}
		})
	}
}

func TestPages_Structure(t *testing.T) {
	p := New(prefix)
	for name, write := range every(p, "word", "/next") {
		t.Run(name, func(t *testing.T) {
			_, nodes := read(t, write)
			if root := named(nodes, "html"); attribute(root[0], "lang") != "en" {
				t.Error("no language")
			}
			for _, one := range []string{"h1", "title", "main"} {
				found := named(nodes, one)
				if len(found) != 1 || strings.TrimSpace(text(found[0])) == "" {
					t.Errorf("%d of %s, want one that is not empty", len(found), one)
				}
			}
			if len(named(nodes, "style")) > 0 {
				t.Error("an inline style element")
			}
			for _, n := range nodes {
				if n.Type != html.ElementNode {
					continue
				}
				for _, a := range n.Attr {
					if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
						t.Errorf("inline %s in %s", a.Key, n.Data)
					}
					loads := a.Key == "src" || n.Data == "link" && a.Key == "href"
					if hashed, ok := strings.CutPrefix(a.Val, prefix+"assets/"); loads && (!ok || p.assets[hashed].content == nil) {
						t.Errorf("%s loads %q, which is no asset of ours", n.Data, a.Val)
					}
				}
				if n.Data == "script" && (attribute(n, "src") == "" || n.FirstChild != nil) {
					t.Error("an inline script")
				}
				if (n.Data == "a" || n.Data == "button") && strings.TrimSpace(text(n)) == "" {
					t.Errorf("%s without words", n.Data)
				}
			}
			if scripts := len(named(nodes, "script")); scripts > 0 && name != "submit" && name != "passkey" {
				t.Errorf("%d scripts", scripts)
			}
		})
	}
}

var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onfocus=alert(1) autofocus='`, `</title></main><h1>x`,
	`{{.}}`, `&lt;b&gt;`, `javascript:alert(1)`, `--><svg/onload=alert(1)>`, `"; url=//evil.example`, "\u202egnp.exe", `<base href=//evil.example>`,
}

func TestPages_HostileText(t *testing.T) {
	p := New(prefix)
	for name := range every(p, "", "") {
		_, plain := read(t, every(p, "word", "/next")[name])
		for _, s := range hostile {
			t.Run(name+" "+s, func(t *testing.T) {
				_, nodes := read(t, every(p, s, "/next")[name])
				if len(nodes) != len(plain) {
					t.Fatalf("%d nodes, %d with a plain word", len(nodes), len(plain))
				}
				for i, n := range nodes {
					if n.Type != plain[i].Type || n.Type == html.ElementNode && (n.Data != plain[i].Data || len(n.Attr) != len(plain[i].Attr)) {
						t.Errorf("%s became %s", plain[i].Data, n.Data)
					}
					if plain[i].Type == html.TextNode && n.Data != strings.ReplaceAll(plain[i].Data, "word", s) {
						t.Errorf("text %q became %q", plain[i].Data, n.Data)
					}
				}
			})
		}
	}
}

func TestPages_HostileAddress(t *testing.T) {
	p := New(prefix)
	for _, u := range []string{"javascript:alert(1)", "JaVaScRiPt:alert(1)", " javascript:alert(1)", "java\tscript:alert(1)", "data:text/html,x", "vbscript:x", `"><script>`} {
		for name, write := range every(p, "word", u) {
			_, nodes := read(t, write)
			for _, n := range nodes {
				for _, a := range n.Attr {
					to, err := url.Parse(a.Val)
					if (a.Key == "href" || a.Key == "action") && (err != nil || to.Scheme != "") {
						t.Errorf("%s: %q became %s=%q", name, u, a.Key, a.Val)
					}
				}
			}
			if name != "submit" && name != "passkey" && len(named(nodes, "script")) > 0 {
				t.Errorf("%s: %q became a script", name, u)
			}
		}
	}
}

// refreshTarget reads the content of a refresh as browsers do: HTML, "shared declarative refresh steps".
func refreshTarget(t *testing.T, content string) string {
	t.Helper()
	const space = "\t\n\f\r "
	s := strings.TrimLeft(content, space)
	digits := strings.TrimLeft(s, "0123456789")
	if s[:len(s)-len(digits)] != "0" {
		t.Fatalf("refresh %q does not go at once", content)
	}
	s = strings.TrimLeft(digits, "0123456789.")
	s = strings.TrimLeft(s, space)
	s = strings.TrimLeft(strings.TrimPrefix(s, ";"), space)
	if len(s) >= 3 && strings.EqualFold(s[:3], "url") {
		if rest, ok := strings.CutPrefix(strings.TrimLeft(s[3:], space), "="); ok {
			s = strings.TrimLeft(rest, space)
		}
	}
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		s, _, _ = strings.Cut(s[1:], s[:1])
	}
	return s
}

func continued(t *testing.T, target string) (refresh, link string) {
	t.Helper()
	_, nodes := read(t, func(w http.ResponseWriter) { New(prefix).Continue(w, target) })
	found := 0
	for _, n := range named(nodes, "meta") {
		if strings.EqualFold(attribute(n, "http-equiv"), "refresh") {
			refresh = refreshTarget(t, attribute(n, "content"))
			found++
		}
	}
	links := named(nodes, "a")
	if found != 1 || len(links) != 1 {
		t.Fatalf("%d refreshes and %d links, want one of each", found, len(links))
	}
	return refresh, attribute(links[0], "href")
}

func TestContinue_Exact(t *testing.T) {
	for _, target := range []string{
		"/", "/a", "/a?b=c&d=e", "/a;b=c;d", "/a?x=1;url=/evil", `/a"b`, `/a'b`, `/'/"/'`, "/a,b", "/a?q=<script>", "/a?q=&amp;", "/a?q=&quot;", "/a?q=&#x27;",
		"/a#f;url=x", "/url=/b", "/a?b=%22%27%3B%20", "/a+b", "/%2F%2Fevil.example", "/a//b", "/a/../b", "/a?next=https://op.example/x", "/ü?ö=ä", "/a\u00a0",
		"/{{.}}", "/a`b", "/a=b", "/?", "/#", "/a>b", "/:", "/@evil.example", "/a\\b", "/" + strings.Repeat("x", 4000),
	} {
		refresh, link := continued(t, target)
		if refresh != target {
			t.Errorf("refresh to %q, want %q", refresh, target)
		}
		if got, want := unescape(t, link), unescape(t, target); got != want {
			t.Errorf("link to %q, want %q", got, want)
		}
	}
}

func unescape(t *testing.T, s string) string {
	t.Helper()
	s, err := url.PathUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContinue_StaysHere(t *testing.T) {
	for _, target := range []string{
		"", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, "https://evil.example", "http:evil.example", "javascript:alert(1)",
		"/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", " /a", "/a ", "/a\x00", "/a\x7f", "evil", "?a", "#a", "'/a'", "/\xff", ";url=//evil.example",
	} {
		if refresh, link := continued(t, target); refresh != "/" || link != "/" {
			t.Errorf("%q leads to %q and %q", target, refresh, link)
		}
	}
}

func TestForms(t *testing.T) {
	p := New(prefix)
	fields := url.Values{"id_token_hint": {"aaa.bbb.ccc"}, "state": {`<"&'>`}, "twice": {"1", "2"}, `na"me`: {""}}
	for _, action := range []string{"https://op.example/end?a=1&b=2", "https://op.example/"} {
		t.Run(action, func(t *testing.T) {
			_, nodes := read(t, func(w http.ResponseWriter) { p.Submit(w, action, fields) })
			form, button := named(nodes, "form"), named(nodes, "button")
			if len(form) != 1 || len(button) != 1 {
				t.Fatalf("%d forms, %d buttons", len(form), len(button))
			}
			if attribute(form[0], "method") != "post" || attribute(form[0], "action") != action || text(button[0]) != "Continue" {
				t.Errorf("%s %q, button %q", attribute(form[0], "method"), attribute(form[0], "action"), text(button[0]))
			}
			got := url.Values{}
			for _, input := range named(nodes, "input") {
				got.Add(attribute(input, "name"), attribute(input, "value"))
			}
			if got.Encode() != fields.Encode() {
				t.Errorf("posts %v, want %v", got, fields)
			}
		})
	}
	t.Run("over plain http", func(t *testing.T) {
		response, _ := read(t, func(w http.ResponseWriter) { p.Submit(w, "http://localhost:9000/end", fields) })
		if got := response.Header.Get("Content-Security-Policy"); !strings.Contains(got, "form-action 'self' https: http:") {
			t.Errorf("policy %s", got)
		}
	})
}

func TestAssets(t *testing.T) {
	p := New("/gate/")
	server := httptest.NewServer(p.Assets())
	defer server.Close()
	if len(p.assets) != 4 {
		t.Fatalf("%d assets", len(p.assets))
	}
	for name, a := range p.assets {
		for _, method := range []string{"GET", "HEAD"} {
			r, err := http.NewRequest(method, server.URL+"/gate/assets/"+name, nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != 200 || method == "GET" && string(body) != string(a.content) {
				t.Errorf("%s %s: %d, %d bytes, %v", method, name, response.StatusCode, len(body), err)
			}
			for key, want := range map[string]string{
				"Content-Type": a.contentType, "Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff",
			} {
				if got := response.Header.Get(key); got != want {
					t.Errorf("%s: %s is %q, want %q", name, key, got, want)
				}
			}
		}
		if !regexp.MustCompile(`^[a-z]+-[0-9a-f]{12}\.[a-z]+$`).MatchString(name) {
			t.Errorf("%s has no hash", name)
		}
	}
	for _, c := range []struct {
		method, path string
		status       int
	}{{"GET", "/gate/assets/", 404}, {"GET", "/gate/assets/pages.css", 404}, {"GET", "/gate/assets/../ui.go", 404}, {"GET", "/", 404}, {"POST", "/gate/assets/x", 405}} {
		w := httptest.NewRecorder()
		p.Assets().ServeHTTP(w, httptest.NewRequest(c.method, c.path, nil))
		if w.Code != c.status || strings.Contains(w.Header().Get("Cache-Control"), "immutable") {
			t.Errorf("%s %s: %d %v", c.method, c.path, w.Code, w.Header())
		}
	}
}

// TestStyle_Contrast holds the colours to WCAG 2.2 AA: 4.5 to 1 for text (1.4.3), 3 to 1 for what shows focus (1.4.11).
func TestStyle_Contrast(t *testing.T) {
	source, err := folder.ReadFile("assets/pages.css")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(source), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d lists of colours, want light and dark", len(blocks))
	}
	for i, scheme := range []string{"light", "dark"} {
		colours := map[string]float64{}
		for _, c := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(blocks[i][1], -1) {
			colours[c[1]] = luminance(t, c[2])
		}
		for _, c := range []struct {
			front, back string
			least       float64
		}{
			{"ink", "paper", 7}, {"soft", "paper", 4.5}, {"accent", "paper", 4.5}, {"accent-strong", "paper", 4.5},
			{"on-accent", "accent", 4.5}, {"on-accent", "accent-strong", 4.5}, {"on-stub", "stub", 4.5}, {"ink", "room", 7},
		} {
			front, ok1 := colours[c.front]
			back, ok2 := colours[c.back]
			if !ok1 || !ok2 {
				t.Fatalf("%s: no colour %s or %s", scheme, c.front, c.back)
			}
			if ratio := (max(front, back) + 0.05) / (min(front, back) + 0.05); ratio < c.least {
				t.Errorf("%s: %s on %s is %.2f to 1, want %.1f", scheme, c.front, c.back, ratio, c.least)
			}
		}
	}
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	rgb, err := strconv.ParseUint(hex, 16, 24)
	if err != nil {
		t.Fatal(err)
	}
	linear := func(shift uint) float64 {
		c := float64(rgb>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
}

func TestStyle_LoadsNothing(t *testing.T) {
	for name, a := range New(prefix).assets {
		for _, loads := range []string{"url(", "@import", "//"} {
			if got := strings.ReplaceAll(string(a.content), `xmlns="http://www.w3.org/2000/svg"`, ""); strings.Contains(got, loads) {
				t.Errorf("%s holds %s", name, loads)
			}
		}
	}
}

func ExamplePages_Error() {
	p := New("/auth/")
	w := httptest.NewRecorder()
	p.Error(w, http.StatusBadGateway, ErrorPage{
		Title:     "Signing in did not work",
		Text:      "The sign-in service did not answer in time.",
		RequestID: "7f3k-92qd",
		TryAgain:  "/auth/login",
		Home:      "/",
	})
	fmt.Println(w.Code, w.Header().Get("Cache-Control"))
	// Output: 502 no-store
}

// Every field has a label, says by the same means to everyone what is wanted and what is wrong, and the one to begin with has the
// focus. The title says of a page that it comes again.
func TestForm_Fields(t *testing.T) {
	p := New(prefix)
	fields := func(value, wrong string) []Input {
		return []Input{
			{Name: "identifier", Label: "Name", Type: "text", Autocomplete: "username", Value: value, Hint: "the name"},
			{Name: "password", Label: "Password", Type: "password", Autocomplete: "current-password", Wrong: wrong, Hint: "the password"},
		}
	}
	for _, v := range []struct{ name, value, wrong, focus, title string }{
		{"New", "", "", "identifier", "Sign in"},
		{"Begun", "ada", "", "password", "Sign in"},
		{"Wrong", "ada", "not right", "password", "Error: Sign in"},
		{"WrongWithoutValue", "", "not right", "password", "Error: Sign in"},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, nodes := read(t, func(w http.ResponseWriter) {
				p.Form(w, 200, FormPage{Title: "Sign in", Action: "/auth/sign-in", Button: "Sign in", Inputs: fields(v.value, v.wrong)})
			})
			if got := text(named(nodes, "title")[0]); got != v.title {
				t.Errorf("title %q, want %q", got, v.title)
			}
			byID, focused := map[string]*html.Node{}, ""
			for _, n := range nodes {
				if n.Type == html.ElementNode && attribute(n, "id") != "" {
					byID[attribute(n, "id")] = n
				}
				if slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "autofocus" }) {
					focused += attribute(n, "name")
				}
			}
			if focused != v.focus {
				t.Errorf("the focus is on %q, want %q", focused, v.focus)
			}
			for i, label := range named(nodes, "label") {
				field := byID[attribute(label, "for")]
				if field == nil || field.Data != "input" || attribute(field, "autocomplete") == "" {
					t.Fatalf("label %d is for %v", i, field)
				}
				said := ""
				for id := range strings.FieldsSeq(attribute(field, "aria-describedby")) {
					said += text(byID[id]) + "."
				}
				want := []string{"the name.", "the password."}[i]
				if i == 1 && v.wrong != "" {
					want = "not right." + want
				}
				if said != want || (attribute(field, "aria-invalid") == "true") != (i == 1 && v.wrong != "") {
					t.Errorf("%s is described as %q, want %q", attribute(field, "name"), said, want)
				}
				if attribute(field, "maxlength") != "" {
					t.Error("a longest length: a browser would cut what is pasted")
				}
			}
		})
	}
}

// Every button of a list is described by what it is about: "Sign out" alone says nothing to who does not see the row.
func TestAccount_ButtonsSayWhatTheyAreAbout(t *testing.T) {
	_, nodes := read(t, func(w http.ResponseWriter) {
		New(prefix).Account(w, AccountPage{Title: "Account", Notice: "Done.", Sections: []Section{
			{Title: "Devices", Rows: []Row{
				{Name: "Firefox", Button: &Button{Action: "/auth/account/device", Name: "Sign out", Hidden: url.Values{"id": {"1"}}}},
				{Name: "Password", Link: Link{"/auth/account/password", "Change"}},
			}},
		}})
	})
	byID := map[string]string{}
	for _, n := range nodes {
		if id := attribute(n, "id"); n.Type == html.ElementNode && id != "" {
			if _, twice := byID[id]; twice {
				t.Errorf("id %q is there twice", id)
			}
			byID[id] = strings.TrimSpace(text(n))
		}
	}
	if got := byID[attribute(named(nodes, "button")[0], "aria-describedby")]; got != "Firefox" {
		t.Errorf("the button is about %q", got)
	}
	if got := byID[attribute(named(nodes, "a")[0], "aria-describedby")]; got != "Password" {
		t.Errorf("the link is about %q", got)
	}
	if got := byID[attribute(named(nodes, "section")[0], "aria-labelledby")]; got != "Devices" {
		t.Errorf("the section is called %q", got)
	}
	if !slices.ContainsFunc(nodes, func(n *html.Node) bool { return attribute(n, "role") == "status" && text(n) == "Done." }) {
		t.Error("what was done is not announced")
	}
}

// A style sheet and a logo of one's own come with every page, under addresses of ours, and nothing else may be put there.
func TestDress(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	style, logo := file("own.css", "body { color: red }"), file("own.svg", "<svg/>")
	p := New(prefix)
	if err := p.Dress(Options{Style: style, Logo: logo}); err != nil {
		t.Fatal(err)
	}
	for name, write := range every(p, "word", "/next") {
		_, nodes := read(t, write)
		var sheets []string
		for _, n := range named(nodes, "link") {
			if attribute(n, "rel") == "stylesheet" {
				sheets = append(sheets, attribute(n, "href"))
			}
		}
		images := named(nodes, "img")
		drawn := slices.DeleteFunc(named(nodes, "svg"), func(n *html.Node) bool { return attribute(n, "role") == "img" }) // a QR code stays
		if len(sheets) != 2 || len(images) != 1 || len(drawn) != 0 {
			t.Fatalf("%s: style sheets %v, %d images", name, sheets, len(images))
		}
		for address, want := range map[string]string{sheets[1]: "body { color: red }", attribute(images[0], "src"): "<svg/>"} {
			w := httptest.NewRecorder()
			p.Assets().ServeHTTP(w, httptest.NewRequest("GET", address, nil))
			if w.Code != 200 || w.Body.String() != want {
				t.Errorf("%s: %s is %d %q", name, address, w.Code, w.Body)
			}
		}
	}
	for want, o := range map[string]Options{
		"no such file":               {Style: filepath.Join(dir, "none.css")},
		"none of svg, png, jpg":      {Logo: file("own.gif", "GIF89a")},
		"at most 262144 are taken":   {Style: file("large.css", strings.Repeat(" ", mostLook+1))},
		"large.png has 262145 bytes": {Logo: file("large.png", strings.Repeat(" ", mostLook+1))},
	} {
		if err := New(prefix).Dress(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
