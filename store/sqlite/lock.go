//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/cloakroom-go/cloakroom/session"
)

// lock makes this process the only one that serves the database at path, until the returned file is closed or the process
// ends. The lock is on a file beside it, path.lock, which holds our process id and stays: removing it would let two in.
func lock(path string) (io.Closer, error) {
	f, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		return nil, &session.Error{
			Code: session.Unavailable, Op: "lock store",
			Err:  fmt.Errorf("%s is in use by %s", path, holder(f)),
			Hint: "one process serves a SQLite file: stop that one, or give this one a file of its own",
		}
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func holder(f *os.File) string {
	var text [20]byte
	n, _ := f.ReadAt(text[:], 0)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text[:n])))
	switch {
	case err != nil: // it has the lock and is about to write
		return "another process"
	case pid == os.Getpid():
		return fmt.Sprintf("this same process (pid %d)", pid)
	}
	return fmt.Sprintf("another process (pid %d)", pid)
}
