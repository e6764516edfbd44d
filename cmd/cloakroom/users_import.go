package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/internal/accounts"
)

const importHelp = `Import people of another system, with their password hashes. FILE is "-" for the standard input.

It is CSV, with the names of its columns in the first line, or JSON Lines, with an object on each:

  email,name,password_hash
  ada@example.com,Ada Lovelace,$2b$10$…

  {"email": "ada@example.com", "name": "Ada Lovelace", "password_hash": "$2b$10$…", "claims": {"plan": "pro"}}

There are sub, email, email_verified, username, name, password_hash, created, disabled and claims (claims.NAME in CSV). What people sign in
with, by accounts.login, is needed. Without a hash somebody has no password until they set one.

A line that is wrong is told by its number, and the rest is imported. The same command again goes on where it was cut short: nobody is
added twice, and accounts that are there stay as they are.`

func importUsersCommand() *cobra.Command {
	var format string
	c := userCommand("import FILE", "Import people of another system", importHelp, cobra.ExactArgs(1),
		func(c *cobra.Command, d *directory, args []string) error {
			if format != "" && !slices.Contains(accounts.Formats, format) {
				return fmt.Errorf("--format is one of %s", strings.Join(accounts.Formats, ", "))
			}
			in, size, err := openImport(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			return d.importAll(c.Context(), in, format, newProgress(c.ErrOrStderr(), size))
		})
	c.Flags().StringVar(&format, "format", "", strings.Join(accounts.Formats, " or ")+"; without it what the file looks like")
	return c
}

// openImport opens a file. Its size is 0 where it is not known.
func openImport(stdin io.Reader, path string) (io.ReadCloser, int64, error) {
	if path == "-" {
		return io.NopCloser(stdin), 0, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	state, err := f.Stat()
	switch {
	case err == nil && state.IsDir():
		err = fmt.Errorf("%s is a folder", path)
	case err == nil && state.Mode().IsRegular():
		return f, state.Size(), nil
	case err == nil:
		return f, 0, nil
	}
	return nil, 0, errors.Join(err, f.Close())
}

func (d *directory) importAll(ctx context.Context, in io.Reader, format string, p *progress) error {
	done, err := d.Import(ctx, in, accounts.ImportOptions{Format: format, Refused: p.refused, Progress: p.show})
	p.end()
	fmt.Fprintf(p.out, "added %d, already there %d, refused %d\n", done.Added, done.There, done.Refused)
	switch {
	case errors.Is(err, context.Canceled):
		return hinted{errors.New("the import was cut short"), "run the same again: it goes on where it was"}
	case err != nil:
		return err
	case done.Refused > 0:
		return hinted{fmt.Errorf("%d lines were refused", done.Refused), "correct them and run the same again: nobody is added twice"}
	}
	return nil
}

// progress tells a person at a terminal how far it is, and everybody what went wrong.
type progress struct {
	out   io.Writer
	live  bool  // a terminal
	size  int64 // of the file; 0: not known
	shown bool
}

func newProgress(out io.Writer, size int64) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, live: ok && term.IsTerminal(int(f.Fd())), size: size}
}

const barWidth = 30

func (p *progress) show(done accounts.Imported) {
	if !p.live {
		return
	}
	p.shown = true
	people := done.Added + done.There + done.Refused
	if p.size == 0 {
		fmt.Fprintf(p.out, "\r\x1b[K%d people", people)
		return
	}
	part := min(done.Bytes, p.size)
	full := int(barWidth * part / p.size)
	fmt.Fprintf(p.out, "\r\x1b[K[%s%s] %3d%%  %d people", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*part/p.size, people)
}

// end removes the bar.
func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

func (p *progress) refused(line int, why error) {
	p.end()
	fmt.Fprintf(p.out, "line %d: %s\n", line, why)
}
