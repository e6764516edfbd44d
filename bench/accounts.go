package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/errgroup"
)

// The gateway's default hash, which the bare one must be too.
const (
	hashMemory   = 47104 // KiB
	hashTime     = 1
	hashThreads  = 1
	hashText     = "$argon2id$v=19$m=47104,t=1,p=1$"
	somePassword = "correct horse battery"
)

var hashSalt = []byte("0123456789abcdef")

func bareHash() []byte {
	return argon2.IDKey([]byte(somePassword), hashSalt, hashTime, hashMemory, hashThreads, 32)
}

// crowd is how many people sign in at once.
const crowd = 500

// loggingIn measures a sign-in to an account of ours by POST /auth/login at a gateway of its own, beside the bare hash of the password:
// CPU time one by one, how many a second with as many at once as there are cores, and what memory the process has had (VmHWM) once a crowd
// came at the same moment.
func loggingIn(ctx context.Context, program, dir string, o options, w io.Writer) error {
	home := filepath.Join(dir, "accounts")
	people := min(crowd, o.requests) // in a short run there are few
	if err := configure(home, "http://127.0.0.1:1", "http://127.0.0.1:1", "accounts: {database: sqlite:accounts.db}\ntrusted_proxies: [127.0.0.0/8]\nlimits: {logins_per_address: 100000, logins: 100000}"); err != nil {
		return err
	}
	config := filepath.Join(home, "cloakroom.yaml")
	if err := enrol(ctx, program, config, people); err != nil {
		return err
	}
	p, err := start(ctx, program, "serve", "--config", config)
	if err != nil {
		return err
	}
	defer p.stop()

	var login, bare, loginTime, bareTime []time.Duration
	const each, together = 4, 20 // in a round: one by one, and as many at a time as there are cores
	cores := runtime.GOMAXPROCS(0)
	for round := range max(2, o.rounds/4) {
		var hashing, signing time.Duration
		for i := range each { // turn by turn: a hash finds the memory of the one before gone cold, in both
			used, err := spent(ownCPU, func() error { bareHash(); return nil })
			if err != nil {
				return err
			}
			hashing += used
			if used, err = spent(p.cpuTime, func() error { return signInAs(ctx, p.public, (round*each+i)%people) }); err != nil {
				return err
			}
			signing += used
		}
		bare, login = append(bare, hashing/each), append(login, signing/each)

		bareTime = append(bareTime, sideBySide(cores, together, func(int) error { bareHash(); return nil }, &err)/together)
		loginTime = append(loginTime, sideBySide(cores, together, func(i int) error { return signInAs(ctx, p.public, (round*together+i)%people) }, &err)/together)
		if err != nil {
			return err
		}
	}
	ratio(w, "cpu-ratio login", 2, login, bare)
	ratio(w, "time-ratio login", 2, loginTime, bareTime)
	fmt.Fprintf(w, "per-second login %.1f bare-hash %.1f\n", perSecond(loginTime), perSecond(bareTime))

	var failed error
	sideBySide(people, people, func(i int) error { return signInAs(ctx, p.public, i) }, &failed)
	if failed != nil {
		return failed
	}
	peak, err := p.peakMemory()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "rss-mib %d-logins-at-once %d\n", people, peak>>20)
	return nil
}

// spent is what a process uses while something is done.
func spent(cpu func() (time.Duration, error), do func() error) (time.Duration, error) {
	before, err := cpu()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := cpu()
	return after - before, err
}

// perSecond is how many there were in a second over all rounds, each of which says how long one took. The machine's own ups and downs last
// for several rounds, so that the medians of two series can be from different times.
func perSecond(each []time.Duration) float64 {
	var all time.Duration
	for _, d := range each {
		all += d
	}
	return float64(len(each)) * float64(time.Second) / float64(all)
}

// sideBySide does n things, so many at a time, and returns how long all of them took. The first error goes to err.
func sideBySide(at, n int, do func(int) error, err *error) time.Duration {
	var g errgroup.Group
	g.SetLimit(at)
	began := time.Now()
	for i := range n {
		g.Go(func() error { return do(i) })
	}
	if e := g.Wait(); e != nil && *err == nil {
		*err = e
	}
	return time.Since(began)
}

// enrol imports people with hashes of the default cost.
func enrol(ctx context.Context, program, config string, people int) error {
	hash := hashText + base64.RawStdEncoding.EncodeToString(hashSalt) + "$" + base64.RawStdEncoding.EncodeToString(bareHash())
	var lines strings.Builder
	for i := range people {
		fmt.Fprintf(&lines, `{"email":%q,"password_hash":%q}`+"\n", emailOf(i), hash)
	}
	c := exec.CommandContext(ctx, program, "users", "import", "-", "--config", config)
	c.Stdin = strings.NewReader(lines.String())
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("users import: %w\n%s", err, out)
	}
	return nil
}

func emailOf(i int) string { return fmt.Sprintf("person-%d@example.com", i) }

// signInAs signs one of the people in. Each comes from an address of its own, as people do.
func signInAs(ctx context.Context, public string, i int) error {
	body, err := json.Marshal(map[string]string{"identifier": emailOf(i), "password": somePassword})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, "POST", public+"/auth/login", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Host = "localhost:8080"
	req.Header = http.Header{
		"Content-Type": {"application/json"}, "Accept": {"application/json"}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://localhost:8080"},
		"X-Csrf-Token": {"1"}, "X-Forwarded-For": {fmt.Sprintf("198.18.%d.%d", i>>8, i&255)},
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err == nil && (res.StatusCode != http.StatusOK || !bytes.Contains(text, []byte(`"authenticated":true`))) {
		err = fmt.Errorf("POST /auth/login: %s\n%s", res.Status, text)
	}
	return err
}

// peakMemory is the most that the process has had in memory so far, in bytes.
func (p *process) peakMemory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(text, []byte("VmHWM:"))
	number, _, _ := bytes.Cut(bytes.TrimLeft(rest, " \t"), []byte(" "))
	kib, err := strconv.ParseInt(string(number), 10, 64)
	return kib << 10, err
}

// inPackage runs the benchmarks of internal/accounts that need to be where the code is, and prints their ratios: mint, an access token
// over the bare ES256 signature of as many bytes (CPU time); and import, people with hashes a second over bare inserts of the same rows.
func inPackage(ctx context.Context, o options, w io.Writer) error {
	args := []string{"test", module + "internal/accounts", "-run", "^$", "-bench", "^Benchmark(Mint|Import)", "-count", strconv.Itoa(max(1, o.rounds/20))}
	if o.rounds < 8 {
		args = append(args, "-short", "-benchtime", "1x")
	}
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test: %w\n%s", err, out)
	}
	for _, line := range []struct{ name, bench, unit string }{{"cpu-ratio mint", "Mint", "cpu-ratio"}, {"speed-ratio import", "Import", "of-bare"}} {
		var values []float64
		for _, m := range regexp.MustCompile(`(?m)^Benchmark`+line.bench+`\S*\s.*?([0-9.]+) `+line.unit).FindAllSubmatch(out, -1) {
			v, err := strconv.ParseFloat(string(m[1]), 64)
			if err != nil {
				return err
			}
			values = append(values, v)
		}
		if len(values) == 0 {
			return fmt.Errorf("no figure %s of Benchmark%s in\n%s", line.unit, line.bench, out)
		}
		summary(w, line.name, 2, values)
	}
	return nil
}
