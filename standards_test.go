package cloakroom_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// standards are the numbered requirements that hold here, by their groups: login, callback, ID token, sealing, lifetimes,
// refresh, logout, cookies, cross-site requests, CORS, proxying, headers, operation, tokens in the page, APIs that verify,
// accounts.
var standards = map[string]string{
	"U": "1-13",
	"L": "1-11 13 15-17", "CB": "1-10", "ID": "1-14", "S": "1-10", "T": "1-8", "R": "1-8", "O": "1-4 10 11",
	"C": "1-14", "X": "1-11", "K": "1-5", "P": "1-7 9-12", "H": "1-8", "G": "1-7",
	"M": "1-3 5", "A": "1-8",
}

// named finds requirement numbers where tests are named after them.
var named = regexp.MustCompile(`(?:^|[^A-Za-z0-9])((?:CB|ID|[LSTROCXKPHGMAU])[0-9]{1,2})(?:[^A-Za-z0-9]|$)`)

// Every requirement is shown by a test that bears its number.
func TestStandards_EachIsNamedByATest(t *testing.T) {
	t.Parallel()
	shown := map[string]bool{}
	files := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == ".git") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") && !strings.HasSuffix(path, ".test.js") && !strings.HasSuffix(path, ".test.ts") || path == "standards_test.go" {
			return nil
		}
		text, err := os.ReadFile(path)
		files++
		// Twice, since two numbers may share the character between them.
		for _, from := range []string{string(text), strings.ReplaceAll(string(text), "_", "__")} {
			for _, m := range named.FindAllStringSubmatch(strings.ReplaceAll(from, " ", "  "), -1) {
				shown[m[1]] = true
			}
		}
		return err
	})
	if err != nil || files < 20 {
		t.Fatalf("%d files of tests: %v", files, err)
	}
	for group, ranges := range standards {
		for part := range strings.FieldsSeq(ranges) {
			from, to, isRange := strings.Cut(part, "-")
			if !isRange {
				to = from
			}
			first, err1 := strconv.Atoi(from)
			last, err2 := strconv.Atoi(to)
			if err1 != nil || err2 != nil {
				t.Fatalf("%s: %q", group, part)
			}
			for n := first; n <= last; n++ {
				if name := group + strconv.Itoa(n); !shown[name] {
					t.Errorf("%s is named by no test", name)
				}
			}
		}
	}
}
