package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

func TestRewrite_S8_AllOrNothing(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "ring.key"), filepath.Join(dir, "link.key")
	reset := func(mode os.FileMode) {
		t.Helper()
		os.Remove(file + ".new")
		if err := errors.Join(os.WriteFile(file, []byte("old\n"), 0o600), os.Chmod(file, mode)); err != nil {
			t.Fatal(err)
		}
	}
	reset(0o600)
	if err := os.Symlink("ring.key", link); err != nil {
		t.Fatal(err)
	}
	own := errors.New("no such key")
	to := func(text string, err error) func(string) (string, error) {
		return func(string) (string, error) { return text, err }
	}
	for _, c := range []struct {
		name, path, was string
		mode            os.FileMode
		change          func(string) (string, error)
		want, text      string
	}{
		{"changed", file, "old", 0o600, to("new\n", nil), "", "new\n"},
		{"through a link", link, "old", 0o640, to("new\n", nil), "", "new\n"},
		{"read only", file, "old", 0o400, to("new\n", nil), "", "new\n"},
		{"refused", file, "old", 0o600, to("new\n", own), "no such key", "old\n"},
		{"somebody else was faster", file, "older", 0o600, to("new\n", nil), "changed a moment ago", "old\n"},
		{"others can read it", file, "old", 0o644, to("new\n", nil), "others can read or write", "old\n"},
		{"others can write it", file, "old", 0o602, to("new\n", nil), "others can read or write", "old\n"},
		{"a folder", dir, "old", 0o600, to("new\n", nil), "is not a file", "old\n"},
		{"nothing", filepath.Join(dir, "none"), "old", 0o600, to("new\n", nil), "no such file", "old\n"},
	} {
		reset(c.mode)
		err := rewrite(c.path, c.was, c.change)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		text, err := os.ReadFile(file)
		at, err2 := os.Lstat(file)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		if string(text) != c.text || at.Mode() != c.mode {
			t.Errorf("%s: %q of mode %v, want %q of mode %v", c.name, text, at.Mode(), c.text, c.mode)
		}
		if _, err := os.Lstat(file + ".new"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something is left: %v", c.name, err)
		}
	}
	if at, err := os.Lstat(link); err != nil || at.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is none any more: %v", err)
	}

	// Of many at once, none undoes another's work.
	reset(0o600)
	var wait sync.WaitGroup
	var changed atomic.Int64
	for range 20 {
		wait.Go(func() {
			if rewrite(file, "old", to("new\n", nil)) == nil {
				changed.Add(1)
			}
		})
	}
	if wait.Wait(); changed.Load() != 1 {
		t.Errorf("%d changed it, want one", changed.Load())
	}
}
