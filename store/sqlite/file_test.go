package sqlite

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/session/storetest"
)

// The test binary is its own second process: these variables say what it does, and to which file.
const (
	childEnv = "SQLITE_TEST_CHILD"
	fileEnv  = "SQLITE_TEST_FILE"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "open":
		childOpen(os.Getenv(fileEnv))
	case "write":
		childWrite(os.Getenv(fileEnv))
	default:
		goleak.VerifyTestMain(m)
	}
}

func child(t *testing.T, does, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", childEnv+"="+does, fileEnv+"="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// childOpen says how Open went, and serves until its input ends.
func childOpen(path string) {
	s, err := Open(context.Background(), path)
	if err != nil {
		fmt.Println(session.CodeOf(err), err, "hint:", session.HintOf(err))
		return
	}
	fmt.Println("serving")
	bufio.NewReader(os.Stdin).ReadByte()
	s.Close()
}

// childWrite puts records from many goroutines until it is killed, and prints the id of each once Put has answered.
func childWrite(path string) {
	s, err := Open(context.Background(), path)
	if err != nil {
		fmt.Println(err)
		return
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				rec := storetest.Record(session.Key{1})
				if err := s.Put(context.Background(), rec); err != nil {
					fmt.Println(err)
					return
				}
				os.Stdout.WriteString(hex.EncodeToString(rec.ID[:]) + "\n") // one write a line: lines do not mix
			}
		})
	}
	all.Wait()
}

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "cloakroom.db") }

func mustOpen(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func mustClose(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// wantRefusal checks that err is Unavailable, has a hint, and says all of words.
func wantRefusal(t *testing.T, err error, words ...string) {
	t.Helper()
	if session.CodeOf(err) != session.Unavailable || session.HintOf(err) == "" {
		t.Fatalf("got %v (hint %q), want Unavailable with a hint", err, session.HintOf(err))
	}
	for _, w := range words {
		if text := err.Error() + " | " + session.HintOf(err); !strings.Contains(text, w) {
			t.Errorf("%q does not say %q", text, w)
		}
	}
}

// outsider is another program's connection to the file.
func outsider(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func exec1(t *testing.T, conn *sql.Conn, text string) {
	t.Helper()
	if _, err := conn.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func TestOpen_RecordsSurvive(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	key := session.Key{9}
	rec := storetest.Record(key)
	if err := s.Put(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	mustClose(t, s) // twice is no error
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); !os.IsNotExist(err) {
			t.Errorf("Close left %s (%v): some connection is still open", suffix, err)
		}
	}
	s = mustOpen(t, path)
	got, err := s.Get(t.Context(), rec.ID)
	if err != nil || got.Version != 1 || got.WriteID != rec.WriteID || !bytes.Equal(got.Body, rec.Body) {
		t.Errorf("after opening again: version %d, %v; want what was put", got.Version, err)
	}
	if found, err := s.Find(t.Context(), key, session.ID{}, 10); err != nil || len(found) != 1 {
		t.Errorf("Find after opening again: %d records, %v; want 1", len(found), err)
	}
	if err := s.Put(t.Context(), rec); err != nil {
		t.Errorf("the same write after opening again: %v, want success", err)
	}
}

func TestOpen_FilesAreTheOwnersOnly(t *testing.T) {
	path := newPath(t)
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, path)
	if err := s.Put(t.Context(), storetest.Record()); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		state, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if state.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o, want 600", filepath.Base(path+suffix), state.Mode().Perm())
		}
	}
}

func TestOpen_WALAndNormal(t *testing.T) {
	s := mustOpen(t, newPath(t))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "1"} {
		var got string
		if err := s.writer.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v; want %q", pragma, got, err, want)
		}
	}
}

func TestOpen_MissingFolder(t *testing.T) {
	_, err := Open(t.Context(), filepath.Join(t.TempDir(), "nowhere", "cloakroom.db"))
	wantRefusal(t, err, "nowhere", "make the folder")
}

func TestOpen_SecondProcessIsToldWhoHoldsIt(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{path, link} {
		out, err := child(t, "open", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"unavailable", fmt.Sprintf("another process (pid %d)", os.Getpid()), "hint: one process serves a SQLite file: stop that one, or give this one a file of its own"} {
			if !strings.Contains(string(out), word) {
				t.Errorf("the second process said %q, want %q in it", out, word)
			}
		}
	}
	_, err := Open(t.Context(), path)
	wantRefusal(t, err, "this same process")
	if err := s.Put(t.Context(), storetest.Record()); err != nil {
		t.Errorf("Put by the holder after others were refused: %v", err)
	}
	mustClose(t, s)

	// And the other way about: the child holds it, and lets go when it ends.
	cmd := child(t, "open", path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "serving\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	_, err = Open(t.Context(), path)
	wantRefusal(t, err, fmt.Sprintf("another process (pid %d)", cmd.Process.Pid))
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, path)
}

func TestOpen_NotOurs(t *testing.T) {
	put := func(t *testing.T, path string) {
		s := mustOpen(t, path)
		for range 200 {
			if err := s.Put(t.Context(), storetest.Record()); err != nil {
				t.Fatal(err)
			}
		}
		mustClose(t, s)
	}
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, path string)
		words []string
	}{
		{"no database", func(t *testing.T, path string) {
			if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
				t.Fatal(err)
			}
		}, []string{"not a database", "move", "aside"}},
		{"cut short", func(t *testing.T, path string) {
			put(t, path)
			if err := os.Truncate(path, 8192); err != nil {
				t.Fatal(err)
			}
		}, []string{"malformed", "move", "aside"}},
		{"schema overwritten", func(t *testing.T, path string) {
			put(t, path)
			overwrite(t, path, 100, 3000)
		}, []string{"malformed", "move", "aside"}},
		{"of another program", func(t *testing.T, path string) {
			exec1(t, outsider(t, path), "CREATE TABLE record (mine TEXT)")
		}, []string{"another program"}},
		{"newer schema", func(t *testing.T, path string) {
			put(t, path)
			exec1(t, outsider(t, path), "INSERT INTO schema_version VALUES (1000, 0)")
		}, []string{"schema version 1000", "newer"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := newPath(t)
			c.spoil(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // refused for its own sake, not because the first try kept the lock
				_, err = Open(t.Context(), path)
				wantRefusal(t, err, append(c.words, filepath.Base(path))...)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("Open changed a file that it refused (%v)", err)
			}
		})
	}
}

func overwrite(t *testing.T, path string, from, n int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xa5}, int(n)), from); err != nil {
		t.Fatal(err)
	}
}

func TestStore_CorruptWhileRunning(t *testing.T) {
	path := newPath(t)
	s := mustOpen(t, path)
	var recs []session.Record
	for range 100 {
		rec := storetest.Record()
		rec.Body = make([]byte, 2000)
		recs = append(recs, rec)
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, s)
	state, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, path, 8*4096, state.Size()-8*4096) // all but the schema and the first pages
	s = mustOpen(t, path)
	refused := 0
	for _, rec := range recs {
		if _, err := s.Get(t.Context(), rec.ID); session.CodeOf(err) == session.Unavailable {
			wantRefusal(t, err, "aside")
			refused++
		}
	}
	if refused == 0 {
		t.Error("no Get from a file of garbage was Unavailable")
	}
	var putErr error
	for range 100 {
		if putErr = s.Put(t.Context(), storetest.Record()); putErr != nil {
			break
		}
	}
	wantRefusal(t, putErr, "aside")
}

func TestMigrate_Once(t *testing.T) {
	path := newPath(t)
	applied := func(s *Store) (all []int64) {
		rows, err := s.reader.db.QueryContext(t.Context(), "SELECT version, applied FROM schema_version ORDER BY version")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var version, at int64
			if err := rows.Scan(&version, &at); err != nil {
				t.Fatal(err)
			}
			all = append(all, version, at)
		}
		return all
	}
	s := mustOpen(t, path)
	first := applied(s)
	mustClose(t, s)
	files, err := migrations.ReadDir("migrations")
	if err != nil || len(first) != 2*len(files) || first[0] != 1 {
		t.Fatalf("applied %v, %v; want each of %d migrations, from 1", first, err, len(files))
	}
	for i, f := range files {
		if !strings.HasPrefix(f.Name(), fmt.Sprintf("%04d_", i+1)) {
			t.Errorf("migration %d is called %s: numbers have a gap", i+1, f.Name())
		}
	}
	s = mustOpen(t, path)
	if second := applied(s); fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("migrations ran again: %v, then %v", first, second)
	}
}

func TestStore_DiskFull(t *testing.T) {
	s := mustOpen(t, newPath(t))
	kept := storetest.Record()
	if err := s.Put(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	limit := func(pages string) {
		// The writer is at rest: nobody else is calling.
		exec1(t, s.writer, "PRAGMA max_page_count = "+pages)
	}
	limit("30")
	big := func() session.Record {
		rec := storetest.Record()
		rec.Body = make([]byte, 10_000)
		return rec
	}
	var stored []session.Record
	var err error
	for err == nil && len(stored) < 100 {
		rec := big()
		if err = s.Put(t.Context(), rec); err == nil {
			stored = append(stored, rec)
		}
	}
	wantRefusal(t, err, "full", "make room")
	wantRefusal(t, s.Ping(t.Context()), "full")

	// One that does not fit takes nobody with it, even in one transaction.
	small := kept
	small.Version, small.WriteID = 1, [16]byte{1}
	group := []*write{
		{ctx: t.Context(), do: func(st *statements) error { return st.replace(big()) }},
		{ctx: t.Context(), do: func(st *statements) error { return st.replace(small) }},
	}
	s.commit(group)
	if code(group[0].err) == 0 || group[1].err != nil {
		t.Errorf("a big and a small write together: %v and %v; want full and success", group[0].err, group[1].err)
	}
	for _, rec := range append(stored, kept) {
		if _, err := s.Get(t.Context(), rec.ID); err != nil {
			t.Fatalf("Get from a full file: %v", err)
		}
	}
	if err := s.Delete(t.Context(), stored[0].ID); err != nil {
		t.Fatalf("Delete from a full file: %v", err)
	}
	limit("1000000")
	if err := s.Put(t.Context(), big()); err != nil {
		t.Errorf("Put after room was made: %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("Ping after room was made: %v", err)
	}
}

func openWithBudget(t *testing.T, path string, budget time.Duration) *Store {
	t.Helper()
	s, err := open(t.Context(), path, budget)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestStore_LockedFromOutsideTooLong(t *testing.T) {
	path := newPath(t)
	s := openWithBudget(t, path, 300*time.Millisecond)
	rec := storetest.Record()
	if err := s.Put(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	shell := outsider(t, path)
	exec1(t, shell, "BEGIN IMMEDIATE")
	rec.Version, rec.WriteID = 1, [16]byte{1}
	began := time.Now()
	err := s.Put(t.Context(), rec)
	if session.CodeOf(err) != session.Unavailable {
		t.Errorf("Put into a locked file: %v, want Unavailable", err)
	}
	if took := time.Since(began); took < s.budget || took > 10*s.budget {
		t.Errorf("Put gave up after %v, with a budget of %v", took, s.budget)
	}
	if got, err := s.Get(t.Context(), rec.ID); err != nil || got.Version != 1 {
		t.Errorf("Get from a locked file: version %d, %v; readers need no lock", got.Version, err)
	}
	if err := s.Ping(t.Context()); session.CodeOf(err) != session.Unavailable {
		t.Errorf("Ping of a locked file: %v, want Unavailable", err)
	}
	exec1(t, shell, "ROLLBACK")
	if err := s.Put(t.Context(), rec); err != nil {
		t.Errorf("Put when the lock was gone: %v; it goes on without a restart", err)
	}
}

func TestStore_LockedFromOutsideForAWhile(t *testing.T) {
	path := newPath(t)
	s := openWithBudget(t, path, 10*time.Second)
	shell := outsider(t, path)
	exec1(t, shell, "BEGIN IMMEDIATE")
	rec := storetest.Record()
	put := make(chan error, 1)
	go func() { put <- s.Put(t.Context(), rec) }()
	select {
	case err := <-put:
		t.Fatalf("Put into a locked file returned at once: %v", err)
	case <-time.After(2*busyTimeout + busyTimeout/2): // it is trying, for the third time
	}
	exec1(t, shell, "ROLLBACK")
	if err := <-put; err != nil {
		t.Errorf("Put when the lock was gone: %v", err)
	}
	if got, err := s.Get(t.Context(), rec.ID); err != nil || got.Version != 1 {
		t.Errorf("version %d, %v; want 1, written once", got.Version, err)
	}
}

// R2: what Put acknowledged is there, whatever happens to the process.
func TestStore_R2_KilledInTheMiddleOfWrites(t *testing.T) {
	path := newPath(t)
	cmd := child(t, "write", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var acknowledged []session.ID
	for lines.Scan() {
		raw, err := hex.DecodeString(lines.Text())
		if err != nil || len(raw) != len(session.ID{}) {
			t.Fatalf("the child said %q", lines.Text())
		}
		if acknowledged = append(acknowledged, session.ID(raw)); len(acknowledged) == 300 {
			cmd.Process.Kill() // and read on: what it said until then counts
		}
	}
	if err := cmd.Wait(); err == nil || len(acknowledged) < 300 {
		t.Fatalf("the child ended by itself (%v) after %d records", err, len(acknowledged))
	}
	s := mustOpen(t, path)
	for i, id := range acknowledged {
		if _, err := s.Get(t.Context(), id); err != nil {
			t.Fatalf("record %d of %d acknowledged: %v", i, len(acknowledged), err)
		}
	}
	found, err := s.Find(t.Context(), session.Key{1}, session.ID{}, 1<<20)
	if err != nil || len(found) < len(acknowledged) {
		t.Errorf("Find names %d of at least %d, %v", len(found), len(acknowledged), err)
	}
	var verdict string
	if err := s.reader.db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Errorf("integrity_check: %q, %v", verdict, err)
	}
}

// S3: what was put is all that is in the file; a deleted or swept key leaves no row behind.
func TestStore_S3_NothingIsLeftBehind(t *testing.T) {
	s := mustOpen(t, newPath(t))
	deleted, moved, swept := storetest.Record(session.Key{1}, session.Key{2}), storetest.Record(session.Key{3}), storetest.Record(session.Key{4})
	swept.Expires = time.Now().Add(-time.Hour)
	for _, rec := range []session.Record{deleted, moved, swept} {
		if err := s.Put(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	moved.Version, moved.WriteID, moved.Index = 1, [16]byte{1}, nil
	if err := s.Put(t.Context(), moved); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), deleted.ID); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), time.Now()); err != nil || n != 1 {
		t.Fatalf("Sweep: %d, %v", n, err)
	}
	for query, want := range map[string]int{"SELECT count(*) FROM record": 1, "SELECT count(*) FROM record_key": 0} {
		var got int
		if err := s.reader.db.QueryRowContext(t.Context(), query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", query, got, err, want)
		}
	}
}
