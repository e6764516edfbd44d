// Package config reads a configuration: one YAML file, the environment and files with secrets become one [Config].
//
// Each option is declared once, in options.go or accounts.go: its key, its default, its meaning and its rules. The variable that goes before
// it, its line in the reference and its errors come from there. A wrong file is answered with all of its mistakes, each with
// the line it is in.
package config

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/cloakroom-go/cloakroom"
)

// Config is a whole configuration. Printing it shows nothing of it.
type Config struct {
	cloakroom.Config // what the gateway obeys. Store is nil: OpenStore opens it from StoreDSN. So is Accounts.Database

	File        string   // where it was read from
	Listen      string   // address of the public listener, HOST:PORT
	Admin       string   // address of the admin listener, or "off"
	PProf       bool     // profiles on the admin listener
	Control     Control  // where administrators ask
	TLS         TLS      // zero: plain http
	StoreDSN    string   // for OpenStore
	AccountsDSN string   // for OpenAccounts; "" where there are none
	KeyFiles    []string // beside Keys: the file that each was read from, "" for none
	Log         Log      // what is written where
	Warnings    []string // what works and should not stay so

	inline bool // a secret stands in the file itself
}

// Control is the unix socket over which sessions are listed and ended.
type Control struct {
	Path  string // "off" for none
	Named bool   // the configuration says so: then it must be possible
}

// TLS names the files of a certificate. Both are set or none.
type TLS struct{ Cert, Key string }

// Log says what the program writes, and where to.
type Log struct {
	Level  slog.Level
	Format string // "auto" (text on a terminal, JSON otherwise), "text" or "json"
	Access string // a record for each request: "stdout", "stderr", "off" or a file
	Audit  string // a record of who did what: the same
}

// Format keeps secrets out of whatever prints a Config.
func (c Config) Format(s fmt.State, _ rune) { io.WriteString(s, "config "+c.File) }

// LogValue is the same for logs.
func (c Config) LogValue() slog.Value { return slog.StringValue("config " + c.File) }

// Load reads a file and this process's environment. The error is Problems, or says why the file cannot be read.
func Load(path string) (*Config, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer file.Close()
	at, err := file.Stat()
	if err != nil {
		return nil, reason(err)
	}
	if at.IsDir() {
		return nil, fmt.Errorf("%s: is a folder", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, maxBytes+1))
	if err != nil {
		return nil, reason(err)
	}
	c, err := Parse(path, text, os.Environ())
	if err == nil && c.inline && at.Mode().Perm()&0o004 != 0 {
		c.Warnings = append(c.Warnings, path+": has a secret in it, and everyone on this machine can read it; chmod 600, or write {file: PATH} for the secret")
	}
	return c, err
}

// Parse reads the text of a file. name is the file's path: errors begin with it, and paths in the file are relative to its
// folder. environ is like os.Environ. The error is Problems: all that is wrong.
func Parse(name string, text []byte, environ []string) (*Config, error) {
	r := &reading{file: name, env: newEnvironment(environ)}
	start := place{line: 1, column: 1}
	plain := strings.ReplaceAll(strings.TrimPrefix(string(text), "\ufeff"), "\r\n", "\n")
	switch {
	case len(text) > maxBytes:
		r.wrong(start, "the file is longer than 1 MiB; that is no configuration")
		return nil, r.problems
	case !utf8.ValidString(plain):
		r.wrong(start, "the file is not UTF-8 text")
		return nil, r.problems
	case strings.ContainsRune(plain, 0):
		r.wrong(start, "the file has a zero byte; it is no text")
		return nil, r.problems
	}
	r.lines = strings.Split(plain, "\n")

	top, ok := r.tree(plain, start)
	if !ok {
		return nil, r.problems
	}
	if top.kind != mapping && top.kind != nothing {
		r.wrong(top.at, "a configuration is keys with values, not %s; the first is url", top.kind)
		return nil, r.problems
	}
	c := &Config{File: name}
	f := &form{reading: r, at: start, pairs: top.pairs}
	options(f, c)
	f.close()
	r.strangers()
	if len(r.problems) > 0 {
		r.problems.sort()
		return nil, r.problems
	}
	c.Warnings, c.inline = r.warnings, r.inline
	c.ReadKeys = rereading(c.Keys, c.KeyFiles)
	return c, nil
}
