// Package postgrestest gives tests a real PostgreSQL: a cluster of their own in a temporary folder, which ends with the test process. It
// listens on a Unix socket in that folder and nowhere else, and writes nothing to disk that it does not have to.
package postgrestest

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/store/postgres"
)

// Required is the value of TEST_POSTGRES with which a missing PostgreSQL is an error and no reason to skip.
const Required = "required"

// Cluster is one that runs.
type Cluster struct {
	Folder string // of the socket
}

var (
	start = sync.OnceValues(begin)
	last  atomic.Int64
)

// Running returns the cluster of this process, and starts it if need be. Without PostgreSQL it skips the test, and says so.
func Running(t testing.TB) *Cluster {
	t.Helper()
	c, err := start()
	if errors.Is(err, errMissing) && os.Getenv("TEST_POSTGRES") != Required {
		t.Skip("NOT RUN over PostgreSQL: " + err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Schema returns the DSN of a new, empty schema, as a role that may do anything.
func Schema(t testing.TB) string {
	t.Helper()
	return Running(t).DSN("postgres", url.Values{"search_path": {fmt.Sprintf("test_%d", last.Add(1))}})
}

// Open opens a new schema, or that of a DSN, until the test ends.
func Open(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := postgres.OpenAccounts(context.Background(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// DSN is that of a role in the database that every cluster has.
func (c *Cluster) DSN(role string, query url.Values) string {
	if query == nil {
		query = url.Values{}
	}
	query.Set("host", c.Folder)
	return (&url.URL{Scheme: "postgres", User: url.User(role), Path: "/postgres", RawQuery: query.Encode()}).String()
}

var errMissing = errors.New("initdb and postgres are not installed here; scripts/install.sh does it on Debian")

// programs is the folder of PostgreSQL's programs, which Debian does not have on the path.
func programs() (string, error) {
	if at, err := exec.LookPath("initdb"); err == nil {
		if at, err = filepath.EvalSymlinks(at); err == nil {
			return filepath.Dir(at), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errMissing
	}
	version := func(at string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(at))))
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// owner is who the cluster runs as: PostgreSQL refuses to run as root. nil: this process's user.
func owner() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, err1 := strconv.Atoi(u.Uid)
			gid, err2 := strconv.Atoi(u.Gid)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
		}
	}
	return nil, errors.New("there is no user that PostgreSQL could run as")
}

//go:embed serve.sh
var serve string

func begin() (*Cluster, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	as, err := owner()
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "cloakroom-pg-")
	if err != nil {
		return nil, err
	}
	if as != nil {
		if err := os.Chown(folder, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	// The pipe is held open by this process, and by nobody else: its end is that of the process.
	in, hold, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	held = hold
	shell := exec.Command("/bin/sh", "-c", serve, "sh", folder, bin)
	shell.Dir, shell.Stdin = folder, in
	shell.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	shell.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true} // what interrupts the tests ends them first
	if err := shell.Start(); err != nil {
		return nil, err
	}
	c := &Cluster{Folder: folder}
	gone := make(chan error, 1)
	go func() { gone <- shell.Wait() }()
	if err := c.wait(gone); err != nil {
		return nil, err
	}
	return c, nil
}

var held *os.File // until the process ends

// wait returns once the cluster answers.
func (c *Cluster) wait(gone <-chan error) error {
	db, err := sql.Open("pgx", c.DSN("postgres", nil))
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); ; {
		if err = db.Ping(); err == nil {
			return nil
		}
		select {
		case <-tick.C:
			continue
		case <-gone:
		case <-end:
		}
		log, _ := os.ReadFile(filepath.Join(c.Folder, "log"))
		return fmt.Errorf("PostgreSQL does not start: %w\n%s", err, log)
	}
}
