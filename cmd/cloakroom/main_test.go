package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/cloakroom-go/cloakroom/conformance/sidebyside"
	"github.com/cloakroom-go/cloakroom/store/postgres/postgrestest"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

// The test binary is the program, too: scripts and tests run it under its name.
func TestMain(m *testing.M) {
	os.Setenv("GORACE", hasty)
	testscript.Main(checked{m}, map[string]func(){"cloakroom": main})
}

// hasty is GORACE for the program under test: with the race detector each command would sleep for a second before it ends.
const hasty = "atexit_sleep_ms=0"

// checked looks for goroutines that stay behind when all tests are over.
type checked struct{ m *testing.M }

func (c checked) Run() int {
	code := sidebyside.Run(c.m)
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreCurrent()); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
	}
	return code
}

func TestScripts(t *testing.T) {
	provider, upstream := newProvider(t), httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(upstream.Close)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", hasty)
			e.Setenv("ISSUER", provider)
			e.Setenv("UPSTREAM", upstream.URL)
			e.Setenv("PID", strconv.Itoa(os.Getpid()))
			e.Setenv("TAKEN", strconv.Itoa(taken.Addr().(*net.TCPAddr).Port))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status, "mode": mode, "hold": hold, "word": word, "gateway": gateway},
	})
}

// The accounts of the command line may be in PostgreSQL.
func TestScripts_OverPostgreSQL(t *testing.T) {
	postgrestest.Running(t)
	upstream := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(upstream.Close)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/postgres",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", hasty)
			e.Setenv("UPSTREAM", upstream.URL)
			e.Setenv("POSTGRES", postgrestest.Schema(t))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": status},
	})
}

// status runs a command and wants one exit status: status 2 cloakroom check
func status(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// mode wants a file to have these permissions: mode 600 cloakroom.key
func mode(ts *testscript.TestScript, _ bool, args []string) {
	at, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := strconv.FormatUint(uint64(at.Mode().Perm()), 8); got != args[0] {
		ts.Fatalf("mode %s, want %s", got, args[0])
	}
}

// word puts a word of the last standard output into a variable: word NAME LINE WORD
func word(ts *testscript.TestScript, _ bool, args []string) {
	line, err1 := strconv.Atoi(args[1])
	n, err2 := strconv.Atoi(args[2])
	ts.Check(errors.Join(err1, err2))
	lines := strings.Split(ts.ReadFile("stdout"), "\n")
	if line > len(lines) || n > len(strings.Fields(lines[line-1])) {
		ts.Fatalf("no word %d in line %d", n, line)
	}
	ts.Setenv(args[0], strings.Fields(lines[line-1])[n-1])
}

// hold has a SQLite store open until the script ends, as a running gateway would: hold cloakroom.db
func hold(ts *testscript.TestScript, _ bool, args []string) {
	s, err := sqlite.Open(context.Background(), ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(func() { s.Close() })
}

// newProvider serves the metadata and an RSA key, which is all that a start and a check look at.
func newProvider(t *testing.T) (issuer string) {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(v)
		}
	}
	mux.Handle("/.well-known/openid-configuration", answer(map[string]any{
		"issuer":                                server.URL,
		"authorization_endpoint":                server.URL + "/authorize",
		"token_endpoint":                        server.URL + "/token",
		"jwks_uri":                              server.URL + "/keys",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"code_challenge_methods_supported":      []string{"S256"},
	}))
	mux.Handle("/keys", answer(map[string]any{"keys": []any{map[string]string{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "e": "AQAB", "n": modulus,
	}}}))
	return server.URL
}

// modulus is the public half of the key in RFC 7515 appendix A.2.
const modulus = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
