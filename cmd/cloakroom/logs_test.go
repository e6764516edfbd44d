package main

import (
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/config"
)

// pad is a writer that can be read at any time.
type pad struct {
	mu     sync.Mutex
	text   strings.Builder
	writes int
}

func (p *pad) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	return p.text.Write(b)
}

func (p *pad) read() (string, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String(), p.writes
}

func newOutput(w io.Writer) *output {
	return &output{to: w, close: func() error { return nil }}
}

func TestOutput_AccessRecordsWaitAtMost200ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pad
		o := newOutput(&p)
		time.Sleep(time.Second) // an output at rest
		for range 3 {
			io.WriteString(held{o}, "request\n")
			time.Sleep(60 * time.Millisecond)
		}
		synctest.Wait()
		if text, _ := p.read(); text != "" {
			t.Errorf("after 180 ms: %q", text)
		}
		time.Sleep(20 * time.Millisecond)
		synctest.Wait()
		if text, writes := p.read(); text != "request\nrequest\nrequest\n" || writes != 1 {
			t.Errorf("after 200 ms: %q in %d writes", text, writes)
		}
		io.WriteString(held{o}, "last\n")
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
		if text, _ := p.read(); !strings.HasSuffix(text, "last\n") {
			t.Errorf("after the end: %q", text)
		}
	})
}

func TestOutput_NeitherLateNorTorn(t *testing.T) {
	var p pad
	o := newOutput(&p)
	defer o.Close()
	io.WriteString(held{o}, "request 1\n")
	io.WriteString(o, "login\n") // an audit record never waits, and comes after what was before it
	if text, _ := p.read(); text != "request 1\nlogin\n" {
		t.Errorf("got %q", text)
	}
	record := strings.Repeat("x", 1023) + "\n"
	for range holdBytes / len(record) {
		io.WriteString(held{o}, record)
	}
	text, writes := p.read()
	if writes != 3 || !strings.HasSuffix(text, "x\n") || len(text) != 16+holdBytes {
		t.Errorf("%d bytes in %d writes", len(text), writes)
	}
}

func TestLogs_OneFileForBoth(t *testing.T) {
	path := filepath.Join(t.TempDir(), "both.log")
	l, err := openLogs(config.Log{Format: "json", Access: path, Audit: path})
	if err != nil {
		t.Fatal(err)
	}
	l.access.Info("request", "path", "/a\nb")
	l.audit.Record(t.Context(), audit.Event{Action: audit.Login, Subject: "eve\n{\"action\":\"logout\"}"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// G2: a line end in a name stays inside its record.
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], `"msg":"request"`) || !strings.Contains(lines[1], `"action":"login"`) {
		t.Errorf("got %s", text)
	}
	if at, err := os.Stat(path); err != nil || at.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", at.Mode(), err)
	}
}

func TestLogs_FileThatCannotBe(t *testing.T) {
	_, err := openLogs(config.Log{Access: filepath.Join(t.TempDir(), "no", "folder"), Audit: "off"})
	var wrong configError
	if !errors.As(err, &wrong) || !strings.Contains(err.Error(), "log.access: ") {
		t.Errorf("got %v", err)
	}
}

func TestServerLog_PanicsAreErrors(t *testing.T) {
	var p pad
	s := serverLog{slog.New(slog.NewTextHandler(&p, nil))}
	io.WriteString(s, "http: TLS handshake error from 192.0.2.1:1: EOF\n")
	if text, _ := p.read(); text != "" {
		t.Errorf("told at info: %s", text)
	}
	io.WriteString(s, "http: panic serving 192.0.2.1:1: oh\ngoroutine 1\n")
	if text, _ := p.read(); !strings.Contains(text, "level=ERROR") || strings.Count(text, "\n") != 1 {
		t.Errorf("got %s", text)
	}
}
