//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package sqlite

import (
	"fmt"
	"io"
	"runtime"

	"github.com/cloakroom-go/cloakroom/session"
)

// lock refuses: without flock two processes could serve one file, and neither would hear of the other's changes.
func lock(string) (io.Closer, error) {
	return nil, &session.Error{
		Code: session.Unavailable, Op: "lock store",
		Err:  fmt.Errorf("a SQLite file cannot be locked on %s", runtime.GOOS),
		Hint: "use the memory store, or store: memory:",
	}
}
