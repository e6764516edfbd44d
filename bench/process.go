package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom-go/cloakroom"
)

const module = "github.com/cloakroom-go/cloakroom/"

// programs are the paths of what is measured.
type programs struct{ bare, gateway string }

// build makes both programs with the same compiler and settings.
func build(ctx context.Context, dir string) (programs, error) {
	out, err := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), module+"bench/bare", module+"cmd/cloakroom").CombinedOutput()
	if err != nil {
		return programs{}, fmt.Errorf("go build: %w\n%s", err, out)
	}
	return programs{filepath.Join(dir, "bare"), filepath.Join(dir, "cloakroom")}, nil
}

// configure writes a gateway's files into a folder of its own. more is what its configuration has beside the usual.
func configure(home, api, issuer, more string) error {
	config := fmt.Sprintf(`
url: http://localhost:8080
listen: 127.0.0.1:0
admin: 127.0.0.1:0
pprof: true
keys: [{file: key}]
store: sqlite:sessions.db
providers:
  bench:
    issuer: %s
    client_id: bench
    client_secret: secret
    algorithms: [ES256]
    userinfo: false
routes:
  - {path: /api/, upstream: %q}
log: {access: access.log, audit: audit.log}
%s
`, issuer, api, more)
	err := os.Mkdir(home, 0o700)
	for name, text := range map[string]string{"cloakroom.yaml": config, "key": cloakroom.NewKey()} {
		err = errors.Join(err, os.WriteFile(filepath.Join(home, name), []byte(text), 0o600))
	}
	return err
}

// process is a program at work.
type process struct {
	cmd    *exec.Cmd
	public string // http://HOST:PORT
	admin  string // the same, for metrics and profiles
}

// start runs a program and returns when it says that it serves. It ends with ctx, or when stopped.
func start(ctx context.Context, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, program, args...)}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	for lines := bufio.NewScanner(io.TeeReader(stderr, &said)); lines.Scan(); {
		var line struct{ Msg, Listen, Admin string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			p.public, p.admin = "http://"+line.Listen, "http://"+line.Admin
			go io.Copy(io.Discard, stderr)
			return p, nil
		}
	}
	p.stop()
	return nil, fmt.Errorf("%s does not serve: %s", filepath.Base(program), said.Bytes())
}

func (p *process) stop() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// get reads something of the admin listener.
func (p *process) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, "GET", p.admin+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", path, res.Status)
	}
	return io.ReadAll(res.Body)
}

// mallocs is how many objects the process has allocated so far.
func (p *process) mallocs(ctx context.Context) (float64, error) {
	text, err := p.get(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte("go_memstats_mallocs_total ")); ok {
			return strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		}
	}
	return 0, errors.New("no go_memstats_mallocs_total among the metrics")
}

// profile writes a CPU and an allocation profile of each contender under load.
func profile(ctx context.Context, o options, all []*contender) error {
	if err := os.MkdirAll(o.profiles, 0o755); err != nil {
		return err
	}
	for _, c := range all {
		var cpu, allocs []byte
		under, stop := context.WithCancel(ctx)
		var g errgroup.Group
		g.Go(func() error {
			for under.Err() == nil {
				if _, err := c.load(under, o.requests); err != nil && under.Err() == nil {
					return err
				}
			}
			return nil
		})
		g.Go(func() (err error) {
			defer stop()
			if cpu, err = c.get(ctx, "/debug/pprof/profile?seconds="+strconv.Itoa(int(profileTime/time.Second))); err != nil {
				return err
			}
			allocs, err = c.get(ctx, "/debug/pprof/allocs")
			return err
		})
		err := g.Wait()
		stop()
		for kind, text := range map[string][]byte{"cpu": cpu, "allocs": allocs} {
			err = errors.Join(err, os.WriteFile(filepath.Join(o.profiles, c.name+"."+kind+".pprof"), text, 0o644))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const profileTime = 8 * time.Second
