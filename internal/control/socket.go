package control

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// mostPath is how long the path of a unix socket may be everywhere (macOS: 104 bytes with the zero at the end).
const mostPath = 103

// elsewhere is what always helps.
const elsewhere = "; or name another place with control: PATH, or none with control: off"

// Listen makes a unix socket of mode 0600 at path. A socket that nobody listens at any more is replaced; a living one, and
// whatever is no socket, stays where it is, and the error says so. Closing the listener removes it.
func Listen(path string) (net.Listener, error) {
	if err := Free(path); err != nil {
		return nil, err
	}
	// A socket is made with whatever rights the umask leaves, and until they are taken away anyone may connect. So it is made in a
	// folder that nobody else can enter, and moved to its place when it is private. The move also replaces a stale one at once.
	folder, err := os.MkdirTemp(filepath.Dir(path), ".c")
	if err != nil {
		return nil, fault(err, "the user of this process must be able to write the folder "+filepath.Dir(path)+elsewhere)
	}
	defer os.RemoveAll(folder)
	made := filepath.Join(folder, "s")
	if len(made) > mostPath || len(path) > mostPath {
		return nil, fault(fmt.Errorf("%s is too long for a socket", path), "a socket's path has at most 80 characters"+elsewhere)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return nil, fault(err, "this folder takes no sockets"+elsewhere)
	}
	l.SetUnlinkOnClose(false) // it would look where it was made
	s := &socket{UnixListener: l, path: path}
	if err := s.settle(made); err != nil {
		l.Close()
		return nil, fault(err, "this folder takes no sockets"+elsewhere)
	}
	return s, nil
}

// socket is a listener that removes its file when it is closed.
type socket struct {
	*net.UnixListener
	path string
	file os.FileInfo
}

// settle moves the socket to its place, once only its owner can use it.
func (s *socket) settle(made string) (err error) {
	if err := os.Chmod(made, 0o600); err != nil {
		return err
	}
	if s.file, err = os.Lstat(made); err != nil {
		return err
	}
	return os.Rename(made, s.path)
}

// Addr is where it is.
func (s *socket) Addr() net.Addr { return &net.UnixAddr{Name: s.path, Net: "unix"} }

// Close stops listening and removes the file, unless it is another's by now.
func (s *socket) Close() error {
	if at, err := os.Lstat(s.path); err == nil && os.SameFile(at, s.file) {
		_ = os.Remove(s.path)
	}
	return s.UnixListener.Close()
}

// ErrAnswers says that a socket is in use.
var ErrAnswers = errors.New("another process listens")

// Free says why no socket can be made at path, as far as that shows without making one. ErrAnswers: there is one, and somebody answers.
func Free(path string) error {
	at, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err := os.Stat(filepath.Dir(path)); err != nil {
			return fault(err, "make the folder first"+elsewhere)
		}
		return nil
	case err != nil:
		return fault(err, "the user of this process must be able to look there"+elsewhere)
	case at.Mode().Type() != os.ModeSocket: // a link neither
		return fault(fmt.Errorf("%s is there, and is no socket", path), "move it away"+elsewhere)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		return fault(fmt.Errorf("%w at %s", ErrAnswers, path), "stop it"+elsewhere)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist): // nobody is left
		return nil
	}
	return fault(fmt.Errorf("whether a process listens at %s cannot be told: %w", path, err), "remove it if none does"+elsewhere)
}

func fault(err error, hint string) error {
	return &session.Error{Code: session.Unavailable, Err: err, Hint: hint}
}
