package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// baselines hold tokens where script reads them, to show what that costs. They are the lab's, and no page but the lab's has them.
// A name that ends in a slash is a folder.
var baselines = map[string]string{
	"internal/demo/lab/baseline/": "the laboratory's baselines, which are attacked",
}

// others name a storage of the page and keep no token there.
var others = map[string]string{
	"internal/demo/lab/app/injected.js": "looks for tokens, as injected script does; keeps which run its tab belongs to",
	"internal/demo/lab/evil/page.js":    "tosses cookies at the app, as a sibling host does",
	"internal/demo/lab/app/tab.js":      "forgets which run its tab belongs to",
	"e2e/cases/leaks.test.js":           "looks for tokens in every place of a page",
	"e2e/cases/session.test.js":         "keeps a draft of a text, as an app would before the login",
	"examples/test/":                    "asserts that nothing is kept",
	"web/client/test/apis.test.ts":      "looks for the token everywhere, and has cookies to see where they are sent",
	"e2e/cases/login.test.js":           "plants a session cookie, as an attacker would before the login",
}

// script is where code for browsers is, snippets for them where pages are.
var script = map[string]bool{
	".js": true, ".mjs": true, ".cjs": true, ".jsx": true, ".ts": true, ".mts": true, ".tsx": true, ".vue": true, ".html": true, ".svelte": true,
}

// kept is a storage of a page by its name, or a cookie that script writes.
var kept = regexp.MustCompile(`\b(?:localStorage|sessionStorage)\b|\bdocument\s*\.\s*cookie\s*=[^=]|\bcookieStore\s*\.\s*set\b`)

// No page and no example keeps a token where script reads it, but for the lab's baselines and the snippets that show how it was before.
// It looks for the storages' names, not for tokens: what is not named cannot be used by accident.
func TestStorage_NoTokenWhereScriptReadsIt(t *testing.T) {
	files, snippets, before := 0, 0, 0
	allowed := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "node_modules", ".git":
				return filepath.SkipDir
			}
			return nil
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		isPage := filepath.Ext(name) == ".md"
		if !script[filepath.Ext(name)] && !isPage {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if isPage {
			blocks := codeBlocks(string(text))
			for _, b := range blocks {
				switch m := kept.FindString(b.text); {
				case strings.HasSuffix(b.info, " before"):
					before++
					if m == "" {
						t.Errorf("%s:%d: marked before, and keeps nothing in a storage: take the mark off", name, b.line)
					}
				case m != "":
					t.Errorf("%s:%d: a snippet names %s; if it shows how things were, mark it: ```js before", name, b.line, m)
				}
			}
			snippets += len(blocks)
			return nil
		}
		files++
		m := kept.FindString(string(text))
		if m == "" {
			return nil
		}
		if entry := listed(name); entry != "" {
			allowed[entry] = true
		} else if !generated(name) {
			t.Errorf("%s names %s. Only the lab's baselines keep tokens there; they are listed in this test", name, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range []map[string]string{baselines, others} {
		for name := range list {
			if !allowed[name] {
				t.Errorf("%s is listed and names no storage any more: take it off the list", name)
			}
		}
	}
	if files < 30 || snippets < 20 {
		t.Fatalf("only %d files and %d snippets were looked at", files, snippets)
	}
	t.Logf("%d files, %d snippets, %d of them marked before", files, snippets, before)
}

// listed is the entry of the two lists that has name.
func listed(name string) string {
	for _, list := range []map[string]string{baselines, others} {
		for entry := range list {
			if name == entry || strings.HasSuffix(entry, "/") && strings.HasPrefix(name, entry) {
				return entry
			}
		}
	}
	return ""
}

// generated says of a file that a build of an example made it: frameworks bring code of their own that reads storages.
func generated(name string) bool {
	return strings.HasPrefix(name, "examples/") && strings.Contains(name, "/dist/")
}

type block struct {
	info string // the language, and what stands behind it
	line int
	text string
}

// codeBlocks are the fenced blocks of a page, of whatever language.
func codeBlocks(text string) (found []block) {
	inside := false
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if inside = !inside; inside {
				found = append(found, block{info: strings.TrimPrefix(line, "```"), line: i + 1})
			}
		case inside:
			found[len(found)-1].text += line + "\n"
		}
	}
	return found
}

// The search finds what it is for.
func TestStorage_Finds(t *testing.T) {
	for _, text := range []string{
		`localStorage.setItem("token", t)`, `sessionStorage["token"] = t`, `const { localStorage: s } = window`, `window.localStorage.token = t`,
		`document.cookie = "token=" + t`, `document . cookie="token"`, `await cookieStore.set("token", t)`,
	} {
		if !kept.MatchString(text) {
			t.Errorf("not found: %s", text)
		}
	}
	for _, text := range []string{`document.cookie === ""`, `show(document.cookie)`, `const storage = new Map()`} {
		if m := kept.FindString(text); m != "" {
			t.Errorf("%s is found in %s", m, text)
		}
	}
	page := "```js before\na\n```\ntext\n```console\nb\nc\n```\n"
	if b := codeBlocks(page); len(b) != 2 || b[0].info != "js before" || b[0].text != "a\n" || b[1].line != 5 || b[1].text != "b\nc\n" {
		t.Errorf("%+v", b)
	}
}
