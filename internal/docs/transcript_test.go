package docs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/demo"
)

// TestTranscript runs the commands of README.md against the demo and compares what they print with what README.md shows. "…" in
// it stands for what is another each time.
func TestTranscript(t *testing.T) {
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT TESTED: the commands in README.md, because there is no %s here", program)
		}
	}
	blocks := fences(t, "README.md", "console")
	if len(blocks) != 1 {
		t.Fatalf("README.md has %d console blocks, this test knows of one", len(blocks))
	}
	address := startDemo(t)
	// Where the demo lives by default, and here.
	here := strings.NewReplacer("http://127.0.0.1:8080", address.String(), "cloakroom-8080-", "cloakroom-"+address.Port()+"-")
	steps := readSteps(t, here.Replace(blocks[0].text))
	for i, got := range run(t, steps) {
		if want := steps[i].pattern(); !want.MatchString(got) {
			t.Errorf("$ %s\n got: %s\nwant: %s", steps[i].command, got, steps[i].output)
		}
	}
}

// startDemo runs the demo on a free port until the test ends.
func startDemo(t *testing.T) *url.URL {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var log bytes.Buffer
	o := demo.Options{Listen: "127.0.0.1:0", Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() { done <- demo.Run(ctx, o, func(url string) { ready <- url }) }()
	select {
	case text := <-ready:
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if t.Failed() {
				t.Log(log.String())
			}
		})
		address, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return address
	case err := <-done:
		cancel()
		t.Fatal(err)
		return nil
	}
}

// step is one command and what it prints.
type step struct{ command, output string }

// pattern matches what the step prints: "…" is anything within a line, and the demo's provider may have found another port.
func (s step) pattern() *regexp.Regexp {
	text := regexp.QuoteMeta(strings.TrimSpace(s.output))
	text = strings.NewReplacer("…", ".*", "localhost:8081", `localhost:\d+`).Replace(text)
	return regexp.MustCompile("^" + text + "$")
}

func readSteps(t *testing.T, text string) (steps []step) {
	t.Helper()
	continued := false
	for line := range strings.Lines(text) {
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case continued:
			steps[len(steps)-1].command += line
		case isCommand:
			steps = append(steps, step{command: command})
		case len(steps) == 0:
			t.Fatalf("the block begins with %q, not with a command", line)
		default:
			steps[len(steps)-1].output += line
		}
		continued = (continued || isCommand) && strings.HasSuffix(line, "\\\n")
	}
	if len(steps) < 5 {
		t.Fatalf("only %d commands were found", len(steps))
	}
	return steps
}

// run runs the commands in one shell and returns what each printed.
func run(t *testing.T, steps []step) []string {
	t.Helper()
	const mark = "=== end of a step ==="
	var script strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&script, "%s\necho '%s'\n", s.command, mark)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "transcript")
	if err := os.WriteFile(file, []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	shell := exec.CommandContext(ctx, "bash", "--norc", file)
	shell.Dir = dir
	// Nobody's .curlrc, proxy or language.
	shell.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C", "NO_PROXY=*"}
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	parts := strings.Split(strings.ReplaceAll(string(out), "\r", ""), mark+"\n")
	if len(parts) != len(steps)+1 {
		t.Fatalf("%d answers for %d commands:\n%s", len(parts)-1, len(steps), out)
	}
	printed := parts[:len(steps)]
	for i := range printed {
		printed[i] = strings.TrimSpace(printed[i])
	}
	return printed
}
