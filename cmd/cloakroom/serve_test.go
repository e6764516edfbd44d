package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

// process is the program at work.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  chan map[string]any // of its log
	stdout string              // file
	public string              // http://HOST:PORT
	admin  string
}

// start runs "cloakroom serve" and returns when it serves.
func start(t *testing.T, config string, environ ...string) *process {
	t.Helper()
	dir := t.TempDir()
	prepare(t, dir, config)
	return startIn(t, dir, environ...)
}

// prepare writes what a gateway starts from.
func prepare(t *testing.T, dir, config string) {
	t.Helper()
	for name, text := range map[string]string{"cloakroom.yaml": config, "cloakroom.key": cloakroom.NewKey()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// startIn is start in a folder that has all it needs, perhaps from the process before.
func startIn(t *testing.T, dir string, environ ...string) *process {
	t.Helper()
	p := &process{t: t, lines: make(chan map[string]any, 100), stdout: filepath.Join(dir, "stdout")}
	out, err := os.Create(p.stdout)
	if err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command("cloakroom", "serve")
	p.cmd.Dir, p.cmd.Stdout = dir, out
	p.cmd.Env = append(os.Environ(), environ...)
	p.watch()
	t.Cleanup(func() { out.Close() })
	line := p.await("serving")
	p.public, p.admin = "http://"+line["listen"].(string), "http://"+line["admin"].(string)
	return p
}

// watch runs cmd and reads its log.
func watch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, lines: make(chan map[string]any, 100)}
	p.watch()
	return p
}

func (p *process) watch() {
	p.t.Helper()
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		defer close(p.lines)
		for scan := bufio.NewScanner(stderr); scan.Scan(); {
			var line map[string]any
			if json.Unmarshal(scan.Bytes(), &line) != nil {
				line = map[string]any{"msg": scan.Text()}
			}
			p.lines <- line
		}
	}()
	p.t.Cleanup(func() { p.stop(syscall.SIGKILL); <-read })
}

// stop sends a signal and waits for the end.
func (p *process) stop(signal os.Signal) {
	p.cmd.Process.Signal(signal)
	for range p.lines {
	}
	p.cmd.Wait()
}

// await returns the next line of the log with that message.
func (p *process) await(message string) map[string]any {
	p.t.Helper()
	limit := time.After(10 * time.Second)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the program ended before it said %q", message)
			}
			if line["msg"] == message {
				return line
			}
		case <-limit:
			p.t.Fatalf("the program never said %q", message)
		}
	}
}

// get returns status and body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

const served = `url: http://localhost:8080
listen: 127.0.0.1:0
admin: 127.0.0.1:0
keys: [{file: cloakroom.key}]
providers:
  main: {issuer: "${ISSUER}", client_id: app, client_secret: s3cr3t}
routes:
  - {path: /slow, upstream: "${UPSTREAM}", auth: off}
  - {path: /api/, upstream: "${UPSTREAM}"}
`

// SIGTERM while a request waits for the upstream: readiness goes first, the request gets its answer, new ones are refused, the
// access log has all of it, and the exit status is 0.
func TestServe_SIGTERMDrains(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		io.WriteString(w, "the answer")
	}))
	defer upstream.Close()
	p := start(t, served, "ISSUER="+newProvider(t), "UPSTREAM="+upstream.URL)

	if status, body := get(t, p.admin+"/readyz"); status != 200 || strings.Contains(body, `"ok":false`) {
		t.Fatalf("readyz: %d %s", status, body)
	}
	type result struct {
		status int
		body   string
	}
	answered := make(chan result, 1)
	go func() {
		status, body := get(t, p.public+"/slow")
		answered <- result{status, body}
	}()
	<-arrived
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.await("draining")
	if status, body := get(t, p.admin+"/readyz"); status != 503 || !strings.Contains(body, `{"ok":false,"subject":"process","text":"is shutting down"}`) {
		t.Errorf("readyz while draining: %d %s", status, body)
	}
	if status, _ := get(t, p.admin+"/healthz"); status != 200 {
		t.Errorf("healthz while draining: %d", status)
	}
	close(release)
	if got := <-answered; got != (result{200, "the answer"}) {
		t.Errorf("the request in flight got %v", got)
	}
	p.await("stopped")
	for range p.lines { // until standard error is closed
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(p.public, "http://")); err == nil {
		conn.Close()
		t.Error("the port still takes connections")
	}
	log, err := os.ReadFile(p.stdout)
	if err != nil || !strings.Contains(string(log), `"path":"/slow"`) {
		t.Errorf("the access log lacks the request: %s, %v", log, err)
	}
}

// S8: keys are rotated, broken, mended and retired in the file, each time with a SIGHUP, and the process goes on.
func TestServe_S8_SIGHUPReloadsKeys(t *testing.T) {
	t.Parallel()
	p := start(t, served, "ISSUER="+newProvider(t), "UPSTREAM=http://127.0.0.1:1")
	file := filepath.Join(p.cmd.Dir, "cloakroom.key")
	keys := func(args ...string) string {
		t.Helper()
		c := exec.Command("cloakroom", append([]string{"keys"}, args...)...)
		c.Dir, c.Env = p.cmd.Dir, p.cmd.Env
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("keys %v: %v, %s", args, err, out)
		}
		return string(out)
	}
	hangUp := func(want string) map[string]any {
		t.Helper()
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		return p.await(want)
	}
	seals := func() string { // the key under which the process seals a login
		t.Helper()
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Timeout: 10 * time.Second}
		res, err := client.Get(p.public + "/auth/login")
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		for _, c := range res.Cookies() {
			if raw, err := base64.RawURLEncoding.DecodeString(c.Value); err == nil && strings.Contains(c.Name, "login") {
				return hex.EncodeToString(raw[:4])
			}
		}
		t.Fatalf("no login began: %d %v", res.StatusCode, res.Header)
		return ""
	}
	old := seals()
	if line := hangUp("keys reloaded"); line["seals"] != old || line["opens"] != "" {
		t.Errorf("nothing new: %v", line)
	}
	keys("rotate", "--now")
	if got := seals(); got != old {
		t.Errorf("%s seals before the signal, want %s", got, old)
	}
	line := hangUp("keys reloaded")
	fresh, _ := line["seals"].(string)
	if fresh == old || line["opens"] != old || seals() != fresh {
		t.Errorf("rotated: %v, and %s seals", line, seals())
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(good, "c2hvcnQ\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	line = hangUp("keys not reloaded, those from before stay")
	if text, _ := line["error"].(string); line["level"] != "ERROR" || !strings.HasSuffix(text, "cloakroom.key: line 6: a key is 32 bytes long, this one 5; make one with: cloakroom keys new") || line["hint"] != "mend them and reload again" {
		t.Errorf("a bad file: %v", line)
	}
	if seals() != fresh {
		t.Errorf("after a bad file %s seals, want %s", seals(), fresh)
	}
	if err := os.WriteFile(file, good, 0o600); err != nil {
		t.Fatal(err)
	}
	keys("retire", old)
	if line := hangUp("keys reloaded"); line["seals"] != fresh || line["opens"] != "" || seals() != fresh {
		t.Errorf("retired: %v, and %s seals", line, seals())
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.await("stopped")
}

// A provider that is down does not keep the gateway from starting; readiness says why.
func TestServe_StartsWithoutProvider(t *testing.T) {
	p := start(t, served, "ISSUER=http://127.0.0.1:1", "UPSTREAM=http://127.0.0.1:1")
	status, body := get(t, p.admin+"/readyz")
	if status != 503 || !strings.Contains(body, `{"ok":false,"subject":"provider main"`) {
		t.Errorf("readyz: %d %s", status, body)
	}
	for line := range strings.Lines(body) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil || f.Subject == "" || !f.OK && f.Text == "" {
			t.Errorf("%q is no finding: %v", line, err)
		}
	}
	if status, _ := get(t, p.admin+"/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
}

func TestServe_G6_OnlyTheAdminListenerHasMetrics(t *testing.T) {
	p := start(t, served, "ISSUER="+newProvider(t), "UPSTREAM=http://127.0.0.1:1")
	get(t, p.public+"/api/x")
	status, body := get(t, p.admin+"/metrics")
	for _, want := range []string{"go_goroutines ", "process_cpu_seconds_total ", "cloakroom_requests_total{"} {
		if status != 200 || !strings.Contains(body, want) {
			t.Errorf("metrics: %d, without %s", status, want)
		}
	}
	if status, _ := get(t, p.admin+"/debug/pprof/"); status != 404 {
		t.Errorf("profiles without being asked for: %d", status)
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/vars"} {
		if status, _ := get(t, p.public+path); status == 200 {
			t.Errorf("the public listener serves %s", path)
		}
	}
	p2 := start(t, served, "ISSUER="+newProvider(t), "UPSTREAM=http://127.0.0.1:1", "CLOAKROOM_PPROF=true")
	if status, _ := get(t, p2.admin+"/debug/pprof/"); status != 200 {
		t.Errorf("profiles that were asked for: %d", status)
	}
}

// What a client may send before it is anyone is bounded.
func TestServe_HeadersAreBounded(t *testing.T) {
	p := start(t, served, "ISSUER="+newProvider(t), "UPSTREAM=http://127.0.0.1:1")
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	go io.WriteString(conn, "GET /api/ HTTP/1.1\r\nHost: localhost\r\nX: "+strings.Repeat("x", 100<<10)+"\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", res.StatusCode)
	}
}

// The admin listener of this machine answers to this machine's names and to addresses alone: to a browser here, another site's page
// could make it a part of itself by DNS.
func TestServe_AdminRefusesForeignHosts(t *testing.T) {
	p := start(t, served, "ISSUER="+newProvider(t), "UPSTREAM=http://127.0.0.1:1")
	for host, want := range map[string]int{
		"evil.example": 421, "localhost.evil.example:9090": 421, "127.0.0.1.evil.example": 421, "cloakroom": 421,
		"localhost:9090": 200, "127.0.0.1": 200, "[::1]:9090": 200, "10.0.0.7:9090": 200,
	} {
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			if got := raw(t, p.admin, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); got != want {
				t.Errorf("%s of %s: %d, want %d", path, host, got, want)
			}
		}
	}
	if got := raw(t, p.admin, "GET /healthz HTTP/1.0\r\n\r\n"); got != 200 {
		t.Errorf("without Host: %d", got)
	}
}

// A listener for other machines goes by names that the configuration does not know.
func TestOnThisMachine_NotForOtherMachines(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for address, want := range map[string]int{"0.0.0.0:9090": 200, "[::]:9090": 200, "10.0.0.7:9090": 200, "127.0.0.1:9090": 421, "[::1]:9090": 421} {
		r := httptest.NewRequest("GET", "http://cloakroom:9090/healthz", nil)
		w := httptest.NewRecorder()
		onThisMachine(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address)), h).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", address, w.Code, want)
		}
	}
}

// raw sends bytes and returns the status of the answer.
func raw(t *testing.T, server, text string) int {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// SIGTERM while a renewal is under way: the provider has rotated the refresh token and its answer is still to come. Were the new
// tokens not stored, the session would be lost, since the old refresh token is dead.
func TestServe_SIGTERMDuringARenewal(t *testing.T) {
	op := fakeop.New(t, fakeop.AccessLifetime(2*time.Second))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get("Authorization")) }))
	defer upstream.Close()
	dir := t.TempDir()
	prepare(t, dir, served)
	run := func() *process {
		return startIn(t, dir, "ISSUER="+op.Issuer(), "UPSTREAM="+upstream.URL,
			"CLOAKROOM_PROVIDERS__MAIN__CLIENT_ID="+fakeop.ClientID, "CLOAKROOM_PROVIDERS__MAIN__CLIENT_SECRET="+fakeop.ClientSecret)
	}
	p := run()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var connected atomic.Int32
	connect := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		connected.Add(1)
		return conn, err
	}
	browser := &http.Client{
		Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: connect},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ask := func(path string) (status int, body, location string) {
		res, err := browser.Get(p.public + path)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Error(err)
		}
		return res.StatusCode, string(text), res.Header.Get("Location")
	}
	_, _, location := ask("/auth/login")
	to, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	ask("/auth/callback?" + op.Visit(to).Encode())
	status, first, _ := ask("/api/x")
	if status != 200 || first == "" {
		t.Fatalf("signed in: %d", status)
	}

	rotated, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	op.Tell(fakeop.Tokens(func(map[string]any) { once.Do(func() { close(rotated); <-release }) }))
	var requests sync.WaitGroup
	began := connected.Load()
	for waiting := true; waiting; {
		select {
		case <-rotated:
			waiting = false
		case <-time.After(10 * time.Millisecond): // a browser that asks now and then
			began++
			requests.Go(func() {
				if status, _, _ := ask("/api/x"); status != 200 {
					t.Errorf("while it was renewed: %d", status)
				}
			})
		}
	}
	for connected.Load() < began {
		time.Sleep(time.Millisecond)
	}
	ask("/auth/client.js") // connections are taken up in turn: those of before have been when this one is answered
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.await("draining")
	close(release)
	requests.Wait()
	p.await("stopped")
	for range p.lines {
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if n := op.Refreshes(); n != 1 {
		t.Errorf("%d refreshes before the restart", n)
	}

	// The second life goes on with what the first one stored: the access token until it is over, which it may be by now, and then
	// the refresh token.
	op.Tell(fakeop.AccessLifetime(time.Hour))
	p = run()
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		status, token, _ := ask("/api/x")
		if status != 200 || token == "" || token == first {
			t.Fatalf("after the restart: %d, with another token: %t", status, token != first)
		}
		if op.Refreshes() == 2 {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the new refresh token does not renew")
		}
	}
	if status, _, _ := ask("/api/x"); status != 200 {
		t.Errorf("renewed: %d", status)
	}
	if n := op.Refreshes(); n != 2 {
		t.Errorf("%d refreshes", n)
	}
}
