package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
)

// How long a record of the access log may wait, and how many bytes of them.
const (
	holdFor   = 200 * time.Millisecond
	holdBytes = 64 << 10
)

// output is one file, pipe or terminal that records go to, each as a whole line.
type output struct {
	mu    sync.Mutex
	to    io.Writer
	close func() error
	held  []byte
	timer *time.Timer // runs while something is held; nil before the first time
}

// Write writes one record at once, after those that are held.
func (o *output) Write(record []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.release()
	return o.to.Write(record)
}

// held is an output whose records may wait: a system call for each request would cost more than the rest of the log.
type held struct{ *output }

func (h held) Write(record []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = append(h.held, record...)
	switch {
	case len(h.held) >= holdBytes:
		h.release()
	case len(h.held) > len(record): // the timer runs
	case h.timer == nil:
		h.timer = time.AfterFunc(holdFor, h.flush)
	default:
		h.timer.Reset(holdFor)
	}
	return len(record), nil
}

func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.release()
}

// release writes what is held. A disk that is full costs the records and not the requests.
func (o *output) release() {
	if len(o.held) > 0 {
		o.to.Write(o.held)
		o.held = o.held[:0]
		o.timer.Stop()
	}
}

func (o *output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.release()
	return o.close()
}

// logs is where the program says what it does.
type logs struct {
	log    *slog.Logger // what operators read, on standard error
	access *slog.Logger // nil: none
	audit  audit.Sink   // nil: none

	format  string
	outputs map[string]*output // by name, so that two logs in one file do not tear each other's lines
}

// openLogs opens the logs. The caller closes them last of all.
func openLogs(o config.Log) (*logs, error) {
	l := &logs{format: o.Format, outputs: map[string]*output{}}
	errs := make([]error, 0, 2)
	open := func(key, name string) *output {
		out, err := l.output(name)
		if err != nil {
			errs = append(errs, configError{fmt.Errorf("log.%s: %w", key, err)})
		}
		return out
	}
	stderr, _ := l.output("stderr")
	l.log = slog.New(l.handler(stderr, o.Level))
	if out := open("access", o.Access); out != nil {
		l.access = slog.New(l.accessHandler(out))
	}
	if out := open("audit", o.Audit); out != nil {
		l.audit = audit.Log(slog.New(l.handler(out, slog.LevelInfo)))
	}
	if err := errors.Join(errs...); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// output returns the output of that name: stdout, stderr, a file, or nil for off.
func (l *logs) output(name string) (*output, error) {
	if out, ok := l.outputs[name]; ok {
		return out, nil
	}
	out := &output{close: func() error { return nil }}
	switch name {
	case "off":
		return nil, nil
	case "stdout":
		out.to = os.Stdout
	case "stderr":
		out.to = os.Stderr
	default:
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, err
		}
		out.to, out.close = file, file.Close
	}
	l.outputs[name] = out
	return out, nil
}

func (l *logs) handler(out *output, level slog.Level) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if l.isText(out) {
		return slog.NewTextHandler(out, options)
	}
	return slog.NewJSONHandler(out, options)
}

func (l *logs) accessHandler(out *output) slog.Handler {
	if l.isText(out) {
		return slog.NewTextHandler(held{out}, nil)
	}
	return telemetry.AccessHandler(held{out})
}

func (l *logs) isText(out *output) bool {
	return l.format == "text" || l.format == "auto" && isTerminal(out.to)
}

// Close writes what is held and closes the files.
func (l *logs) Close() error {
	var errs []error
	for _, out := range l.outputs {
		errs = append(errs, out.Close())
	}
	return errors.Join(errs...)
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// serverLog takes what net/http says. It is mostly about clients that went away; a panic is about us.
type serverLog struct{ log *slog.Logger }

func (s serverLog) Write(line []byte) (int, error) {
	text := string(bytes.TrimSpace(line))
	if bytes.HasPrefix(line, []byte("http: panic serving")) {
		s.log.Error("a request ended in a panic", "error", text)
	} else {
		s.log.Debug("http server", "error", text)
	}
	return len(line), nil
}
