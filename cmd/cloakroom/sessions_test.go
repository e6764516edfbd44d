package main

import (
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cloakroom-go/cloakroom/internal/control"
	"github.com/cloakroom-go/cloakroom/session"
)

// gateway answers at a control socket as a gateway does that has three sessions: gateway control.sock
func gateway(ts *testscript.TestScript, _ bool, args []string) {
	l, err := control.Listen(ts.MkAbs(args[0]))
	ts.Check(err)
	at := time.Date(2026, 11, 26, 9, 30, 0, 0, time.UTC)
	sessions := []control.Session{
		{ID: "bbbbbbbbbbbb", User: "ada", Created: at, LastSeen: at.Add(45 * time.Minute), Browser: "Firefox", System: "Linux"},
		{ID: "cccccccccccc", User: "\x1b[31mbob\u202e", Created: at.Add(time.Minute), LastSeen: at.Add(46 * time.Minute)},
	}
	for i := range sessions {
		sessions[i].Issuer, sessions[i].Provider, sessions[i].Expires = "https://login.example.com/", "main", sessions[i].LastSeen.Add(30*time.Minute)
	}
	sessions = append(sessions, control.Session{ID: "dddddddddddd", Expires: at.Add(time.Hour)})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sessions", func(w http.ResponseWriter, r *http.Request) {
		for _, s := range sessions {
			if user := r.URL.Query().Get("user"); user == "" || user == s.User {
				json.NewEncoder(w).Encode(s)
			}
		}
	})
	mux.HandleFunc("DELETE /sessions", func(w http.ResponseWriter, r *http.Request) {
		answers := map[string]any{
			"id=cccccccccccc": control.Ended{Sessions: 1, Counted: true}, "issuer=&user=ada": control.Ended{Sessions: 2, Counted: true},
			"issuer=&user=sealed": control.Ended{}, "all=1": control.Failure{Code: session.Unlisted, Error: "nothing is listed here", Hint: "do something else"},
		}
		answer, ok := answers[r.URL.RawQuery]
		if _, failed := answer.(control.Failure); failed || !ok {
			w.WriteHeader(http.StatusNotFound)
		}
		json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("DELETE /sessions/closed", func(w http.ResponseWriter, _ *http.Request) {
		if len(args) > 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			json.NewEncoder(w).Encode(control.Failure{Code: session.Unavailable, Error: args[1]})
			return
		}
		json.NewEncoder(w).Encode(control.Ended{})
	})
	server := &http.Server{Handler: mux}
	go server.Serve(l)
	ts.Defer(func() { server.Close() })
}

// run is the program, run beside a process that serves.
func (p *process) run(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("cloakroom", args...)
	cmd.Dir, cmd.Env = p.cmd.Dir, p.cmd.Env
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Whoever is disabled, or whose password is reset, is out when the command returns: the gateway beside it is told.
func TestUsers_T7_OutWhenTheCommandReturns(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(upstream.Close)
	p := start(t, `url: http://localhost:8080
listen: 127.0.0.1:0
admin: 127.0.0.1:0
keys: [{file: cloakroom.key}]
store: "memory:"
accounts: {database: sqlite:accounts.db, hash: {memory: 19456, time: 2}}
routes: [{path: /api/, upstream: "${UPSTREAM}"}]
`, "UPSTREAM="+upstream.URL)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	ask := func(method, path, body string) int {
		t.Helper()
		r, err := http.NewRequest(method, p.public+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = "localhost:8080"
		r.Header = http.Header{"Content-Type": {"application/json"}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://localhost:8080"}}
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	const ada = `{"identifier": "ada@example.com", "password": "correct horse battery"}`
	if status := ask("POST", "/auth/register", ada); status != http.StatusOK {
		t.Fatalf("registering: %d", status)
	}
	for round := range 3 { // the gateway looks by itself each second, too: it is not likely to do so in the right instant each time
		if status := ask("GET", "/api/x", ""); status != http.StatusOK {
			t.Fatalf("before: %d", status)
		}
		out := p.run("users", "disable", "ada@example.com")
		if status := ask("GET", "/api/x", ""); status != http.StatusUnauthorized || !strings.Contains(out, "cloakroom.sock has ended the person's sessions, any other does within a second") {
			t.Errorf("round %d: %d after\n%s", round, status, out)
		}
		p.run("users", "enable", "ada@example.com")
		if status := ask("POST", "/auth/login", ada); status != http.StatusOK {
			t.Fatalf("signing in again: %d", status)
		}
	}
	p.run("users", "reset", "ada@example.com", "--factors")
	if status := ask("GET", "/api/x", ""); status != http.StatusUnauthorized {
		t.Errorf("after a reset: %d", status)
	}
}

// A gateway that nobody gave a socket to has one all the same, of mode 0600, and takes it away when it ends.
func TestServe_ControlSocket(t *testing.T) {
	t.Parallel()
	environ := []string{"ISSUER=" + newProvider(t), "UPSTREAM=http://127.0.0.1:1", "CLOAKROOM_STORE=memory:"}
	p := start(t, served, environ...)
	path := filepath.Join(p.cmd.Dir, "cloakroom.sock")
	if at, err := os.Lstat(path); err != nil || at.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the socket: %v, %v", at, err)
	}
	if out := p.run("sessions", "list"); out != "" {
		t.Errorf("nobody is signed in, and it lists %q", out)
	}
	if out := p.run("sessions", "revoke", "--all"); out != "ended: 0 sessions\n" {
		t.Errorf("revoke --all: %q", out)
	}

	// A second one in the same folder is told. It starts without, unless it was asked for one.
	second := exec.Command("cloakroom", "serve")
	second.Dir, second.Env = p.cmd.Dir, append(p.cmd.Env, "CLOAKROOM_CONTROL=cloakroom.sock")
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "control: another process listens at cloakroom.sock") || !strings.Contains(string(out), "hint: stop it; or name another place") {
		t.Errorf("a second one with the same socket: %v\n%s", err, out)
	}
	lenient := exec.Command("cloakroom", "serve")
	lenient.Dir, lenient.Env = p.cmd.Dir, p.cmd.Env
	other := watch(t, lenient)
	if line := other.await("there is no control socket, so sessions can be neither listed nor revoked"); line["hint"] == "" || !strings.Contains(line["error"].(string), "another process listens at") {
		t.Errorf("it says %v", line)
	}
	if line := other.await("serving"); line["control"] != "off" {
		t.Errorf("it says that its socket is at %v", line["control"])
	}
	other.stop(syscall.SIGTERM)
	if out := p.run("sessions", "list"); out != "" {
		t.Errorf("after the second one has ended: %q", out)
	}

	p.stop(syscall.SIGTERM)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("it leaves its socket: %v", err)
	}

	// One that is killed leaves it, and the next one replaces it.
	killed := start(t, served, environ...)
	killed.stop(syscall.SIGKILL)
	if _, err := os.Lstat(filepath.Join(killed.cmd.Dir, "cloakroom.sock")); err != nil {
		t.Fatalf("a killed one has no time to remove it: %v", err)
	}
	again := exec.Command("cloakroom", "serve")
	again.Dir, again.Env = killed.cmd.Dir, killed.cmd.Env
	watch(t, again).await("serving")
	if out := killed.run("sessions", "list"); out != "" {
		t.Errorf("the one that came after: %q", out)
	}
}
