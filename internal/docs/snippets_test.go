package docs

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/hook"
)

// fence is a fenced block of a page.
type fence struct {
	page string
	line int
	text string
}

// fences returns the blocks of one language in a page.
func fences(t *testing.T, page, language string) (found []fence) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	var open *fence
	inside := false
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case inside && line == "```":
			if open != nil {
				found = append(found, *open)
			}
			inside, open = false, nil
		case open != nil:
			open.text += line + "\n"
		case !inside && strings.HasPrefix(line, "```"):
			inside = true
			if line == "```"+language {
				open = &fence{page: page, line: i + 1}
			}
		}
	}
	if inside {
		t.Errorf("%s: a block is not closed", page)
	}
	return found
}

// pages are what people read, as paths from the root.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md", "CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "examples/*/*.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(more) == 0 {
			t.Fatalf("no pages in %s: %v", pattern, err)
		}
		for _, path := range more {
			rest, err := filepath.Rel(root, path)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, filepath.ToSlash(rest))
		}
	}
	return found
}

// base completes a snippet that shows only a part of a configuration.
var base = []string{
	"url: https://app.example.com",
	"trusted_proxies: [127.0.0.1/32]", // TLS may end elsewhere
	"keys: [{file: cloakroom.key}]",
	"providers: {main: {issuer: https://login.example.com/, client_id: my-app, client_secret: {file: client.secret}}}",
	"routes: [{path: /api/, upstream: http://127.0.0.1:3000}]",
}

var firstKey = regexp.MustCompile(`(?m)^[a-z_]+:`)

// TestSnippets_ConfigurationsAreAccepted reads every YAML block of the pages as a configuration file.
func TestSnippets_ConfigurationsAreAccepted(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cloakroom.key": cloakroom.NewKey(), "cloakroom-2.key": cloakroom.NewKey(), "client.secret": "s3cr3t", "mail-password": "s3cr3t", "billing.key": cloakroom.NewKey(), "hook.key": hook.NewSecret(),
		"database.url": "postgres://cloakroom:s3cr3t@db.example.com/people",
		"cert.pem":     "-", "key.pem": "-", "brand.css": "-", "brand.svg": "-", "dist/index.html": "<!doctype html>",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seen := 0
	for _, page := range pages(t) {
		for _, f := range fences(t, page, "yaml") {
			seen++
			text := f.text
			for _, line := range base {
				if key := firstKey.FindString(line); !strings.HasPrefix(text, key) && !strings.Contains(text, "\n"+key) {
					text += line + "\n"
				}
			}
			c, err := config.Parse(filepath.Join(dir, "cloakroom.yaml"), []byte(text), nil)
			if err != nil {
				t.Errorf("%s:%d:\n%v", f.page, f.line, err)
			} else if len(c.Warnings) > 0 {
				t.Errorf("%s:%d: %v", f.page, f.line, c.Warnings)
			}
		}
	}
	if seen < 3 {
		t.Errorf("only %d configurations were found", seen)
	}
}

var (
	link    = regexp.MustCompile(`(?:\]\(|src="|href=")([^)"\s]+)`)
	heading = regexp.MustCompile("(?m)^#+ (.+)$")
	code    = regexp.MustCompile("(?s)```.*?\n```|`[^`\n]*`")
)

// TestSnippets_LinksLeadSomewhere follows the links between pages, headings included.
func TestSnippets_LinksLeadSomewhere(t *testing.T) {
	seen := 0
	for _, page := range pages(t) {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			seen++
			path, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(root, page)
			if path != "" {
				target = filepath.Join(root, filepath.Dir(page), path)
			}
			found, err := os.ReadFile(target)
			if stat, e := os.Stat(target); e == nil && stat.IsDir() {
				err = nil
			}
			if err != nil {
				t.Errorf("%s: the link %s leads nowhere", page, m[1])
			} else if anchor != "" && !anchors(string(found))[anchor] {
				t.Errorf("%s: %s has no heading %q", page, target, anchor)
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d links were found", seen)
	}
}

// anchors are the names that code hosts give to headings.
func anchors(text string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := strings.ToLower(strings.TrimSpace(m[1]))
		name = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(name, "")
		names[strings.ReplaceAll(name, " ", "-")] = true
	}
	return names
}

// surroundings are what the Go blocks of the pages stand in, in their order.
var surroundings = []struct{ page, imports, header string }{
	{
		"README.md", `"context"; "net/http"; "github.com/cloakroom-go/cloakroom"; "github.com/cloakroom-go/cloakroom/session"`,
		"func run(ctx context.Context, key string, store session.Store, issuer, id, secret string, mux *http.ServeMux, api http.Handler) error {",
	},
	{"README.md", `"net/http"; "github.com/cloakroom-go/cloakroom/verify"`, "func run(issuer string, mux *http.ServeMux, api http.Handler) error {"},
	{
		"docs/accounts.md", `"log/slog"; "net/http"; "github.com/cloakroom-go/cloakroom/verify"`,
		"func run(mux *http.ServeMux, api http.Handler) error {",
	},
	{
		"docs/accounts.md", `"context"; "net/http"; "github.com/cloakroom-go/cloakroom"; "github.com/cloakroom-go/cloakroom/passkeys"; "github.com/cloakroom-go/cloakroom/session"; "github.com/cloakroom-go/cloakroom/store/sqlite"`,
		"func run(ctx context.Context, key string, store session.Store, mux *http.ServeMux) error {",
	},
	{
		"docs/accounts.md", `"context"; "database/sql"; "github.com/cloakroom-go/cloakroom"`,
		"type table struct{ cloakroom.Users }\nfunc run(cfg *cloakroom.Config, signing *sql.DB, db cloakroom.Users) error {",
	},
	{"docs/api.md", `"net/http"; "os"; "github.com/cloakroom-go/cloakroom/verify"`, "func run(mux *http.ServeMux, notes http.Handler) error {"},
}

// TestSnippets_GoCompiles builds the Go blocks of the pages, with the names that they take from their surroundings.
func TestSnippets_GoCompiles(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	seen := map[string]int{}
	for i, around := range surroundings {
		blocks := fences(t, around.page, "go")
		n := seen[around.page]
		if seen[around.page]++; n >= len(blocks) {
			t.Fatalf("%s has %d Go blocks, this test knows of more", around.page, len(blocks))
		}
		at, err := filepath.Abs(filepath.Join("snippet"+strconv.Itoa(i), "snippet.go"))
		if err != nil {
			t.Fatal(err)
		}
		files[at] = write(strconv.Itoa(i)+".go", "package snippet\n\nimport ("+around.imports+")\n\n"+around.header+"\n"+blocks[n].text+"\nreturn nil\n}\n")
	}
	for _, page := range pages(t) {
		if blocks := fences(t, page, "go"); len(blocks) != seen[page] {
			t.Errorf("%s has %d Go blocks, this test knows of %d", page, len(blocks), seen[page])
		}
	}
	replace, err := json.Marshal(map[string]map[string]string{"Replace": files})
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "-overlay", write("overlay.json", string(replace))}
	for i := range surroundings {
		args = append(args, "./snippet"+strconv.Itoa(i))
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSnippets_HookIsVerified runs the function that accounts.md shows over what a hook is asked, and over what others may send.
func TestSnippets_HookIsVerified(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("NOT RUN: node is not installed")
	}
	found := slices.DeleteFunc(fences(t, "docs/accounts.md", "js"), func(f fence) bool { return !strings.Contains(f.text, "export function isAsked") })
	if len(found) != 1 {
		t.Fatalf("%d blocks show how questions are verified", len(found))
	}
	secret := hook.NewSecret()
	asked := make(chan map[string]any, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		headers := map[string]string{}
		for name := range r.Header {
			headers[strings.ToLower(name)] = r.Header.Get(name)
		}
		asked <- map[string]any{"headers": headers, "body": string(body)}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"user": null}`)
	}))
	defer server.Close()
	h, err := hook.New(hook.Options{URL: server.URL, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.SignIn(t.Context(), "ada", "a passphrase of emoji \U0001f9e5"); err != nil {
		t.Fatal(err)
	}
	input, err := json.Marshal(map[string]any{"secret": secret + "\n", "other": hook.NewSecret(), "asked": <-asked})
	if err != nil {
		t.Fatal(err)
	}
	script := found[0].text + `
const { secret, other, asked: { headers, body } } = ` + string(input) + `;
const without = (name) => Object.fromEntries(Object.entries(headers).filter(([key]) => key !== name));
const signature = headers["webhook-signature"];
console.log(JSON.stringify([
  isAsked(secret, headers, body), isAsked(secret, headers, Buffer.from(body)), isAsked(secret, { ...headers, "webhook-signature": "v1,AAAA v1a,AAAA " + signature }, body),
  isAsked(other, headers, body), isAsked(secret, headers, body + " "), isAsked(secret, { ...headers, "webhook-id": "msg_2" }, body), isAsked(secret, {}, body),
  isAsked(secret, { ...headers, "webhook-timestamp": "1614265330" }, body), isAsked(secret, { ...headers, "webhook-signature": "v2" + signature.slice(2) }, body),
  ...["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => isAsked(secret, without(name), body)),
]));`
	run := exec.Command(node, "--input-type=module")
	run.Stdin = strings.NewReader(script)
	out, err := run.CombinedOutput()
	if want := "[true,true,true" + strings.Repeat(",false", 9) + "]"; err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("%v\n%s\nwant %s", err, out, want)
	}
}

var floor = regexp.MustCompile(`"([a-z/]+)":\s+(\d)`)

// TestContributing_NamesEveryFloor keeps the table in CONTRIBUTING.md equal to the floors in house_test.go.
func TestContributing_NamesEveryFloor(t *testing.T) {
	house, err := os.ReadFile(filepath.Join(root, "house_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			rows[strings.TrimSpace(cells[1])] = line
		}
	}
	found := floor.FindAllStringSubmatch(string(house), -1)
	if len(found) < 15 {
		t.Fatalf("only %d packages were found in house_test.go", len(found))
	}
	for _, m := range found {
		name := m[1]
		if strings.HasPrefix(name, "store/") {
			name = "store/…"
		}
		if !strings.Contains(rows[m[2]], "`"+name+"`") {
			t.Errorf("CONTRIBUTING.md does not have %s on floor %s", m[1], m[2])
		}
	}
}

// TestSnippets_ExamplesShowTheirOwnCode finds each snippet of an example's page in one of its files, which a browser runs. What is marked
// before is not there any more: examples/test reads whether it is code.
func TestSnippets_ExamplesShowTheirOwnCode(t *testing.T) {
	readmes, err := filepath.Glob(filepath.Join(root, "examples", "migrate-*", "README.md"))
	if err != nil || len(readmes) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, readme := range readmes {
		text, err := os.ReadFile(readme)
		if err != nil {
			t.Fatal(err)
		}
		folder := filepath.Dir(readme)
		var sources []string
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if script[filepath.Ext(e.Name())] {
				source, err := os.ReadFile(filepath.Join(folder, e.Name()))
				if err != nil {
					t.Fatal(err)
				}
				sources = append(sources, string(source))
			}
		}
		before, after := 0, 0
		for _, b := range codeBlocks(string(text)) {
			switch {
			case strings.HasSuffix(b.info, " before"):
				before++
			case script["."+b.info]:
				after++
				if !slices.ContainsFunc(sources, func(source string) bool { return strings.Contains(source, b.text) }) {
					t.Errorf("%s:%d: these lines are in no file beside it", readme, b.line)
				}
			}
		}
		if before == 0 || after == 0 {
			t.Errorf("%s shows %d snippets of before and %d of after", readme, before, after)
		}
	}
}
