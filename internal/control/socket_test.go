//go:build unix

package control

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
)

// wantRefused wants Listen to say why it does not, with something to do about it, and to leave what is there.
func wantRefused(t *testing.T, path, reason string) {
	t.Helper()
	before, _ := os.Lstat(path)
	l, err := Listen(path)
	if err == nil {
		l.Close()
	}
	if session.CodeOf(err) != session.Unavailable || !strings.Contains(err.Error(), reason) || !strings.Contains(session.HintOf(err), "control: PATH") {
		t.Errorf("%v (hint %q), want %q", err, session.HintOf(err), reason)
	}
	if after, _ := os.Lstat(path); before != nil && !os.SameFile(before, after) {
		t.Error("what was there is gone")
	}
}

func listening(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Whoever looks all the time, under a umask that hides nothing, never sees a socket that others could use.
func TestListen_IsPrivateFromItsFirstInstant(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	folder := t.TempDir()
	path := filepath.Join(folder, "control.sock")
	var done atomic.Bool
	seen := make(chan int)
	go func() {
		n := 0
		for !done.Load() {
			// All there is, in whatever folder can be entered by others.
			filepath.WalkDir(folder, func(name string, d os.DirEntry, err error) error {
				if err != nil || name == folder {
					return nil
				}
				at, err := os.Lstat(name)
				switch {
				case err != nil:
				case at.IsDir() && at.Mode().Perm()&0o077 == 0:
					return filepath.SkipDir
				case at.Mode().Perm()&0o077 != 0:
					t.Errorf("%s has mode %v", name, at.Mode())
				case at.Mode().Type() == os.ModeSocket:
					n++
				}
				return nil
			})
		}
		seen <- n
	}()
	for range 300 {
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	l := listening(t, path)
	done.Store(true)
	if n := <-seen; n == 0 {
		t.Error("the watcher never saw it: this test shows nothing")
	}
	if at, err := os.Lstat(path); err != nil || at.Mode() != os.ModeSocket|0o600 {
		t.Errorf("%v, %v", at, err)
	}
	if l.Addr().String() != path {
		t.Errorf("it says it is at %s", l.Addr())
	}
	if left, _ := os.ReadDir(folder); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestListen_ReplacesAStaleOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false) // as a killed process would leave it
	stale.Close()
	l := listening(t, path)
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Write([]byte("x"))
			conn.Close()
		}
	}()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if n, err := conn.Read(make([]byte, 1)); n != 1 {
		t.Errorf("nothing answers: %v", err)
	}
}

func TestListen_Refuses(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	first := listening(t, at("live.sock"))
	wantRefused(t, at("live.sock"), "another process listens at")
	if conn, err := net.Dial("unix", at("live.sock")); err != nil {
		t.Errorf("the living one: %v", err)
	} else {
		conn.Close()
	}
	first.Close()
	if _, err := os.Lstat(at("live.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a closed one stays: %v", err)
	}

	if err := errors.Join(
		os.WriteFile(at("notes.txt"), []byte("mine"), 0o600), os.Mkdir(at("folder"), 0o700), os.Symlink(at("notes.txt"), at("link")), os.Symlink(at("nowhere"), at("dangling")),
	); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"notes.txt", "folder", "link", "dangling"} {
		wantRefused(t, at(name), "is no socket")
	}
	wantRefused(t, at("none/control.sock"), "no such file")
	wantRefused(t, at(strings.Repeat("x", 120)), "too long")
}

// Who closes late must not take away the socket of a gateway that came after.
func TestListen_CloseLeavesAnothers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	first := listening(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	listening(t, path)
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the second one's socket: %v", err)
	}
}
