package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/control"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/postgres"
)

// checkWithin bounds all that check asks.
const checkWithin = 30 * time.Second

func checkCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong before production does",
		Long: "Read the configuration, open the store, and ask provider and upstreams whether they are there. One line a finding: ✓, ! to consider, or ✗.\n" +
			"It leaves no file behind, and does not touch a SQLite file that a running gateway has.\n" +
			"Exit status 0: no ✗; 1: some ✗; 2: the configuration is wrong.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), checkWithin)
			defer cancel()
			p := printer{w: c.OutOrStdout(), colour: colours(c.OutOrStdout())}
			p.ok("config", cfg.File+" is sound")
			for _, w := range cfg.Warnings {
				p.warning(w)
			}
			if cfg.TLS != (config.TLS{}) {
				p.finding(checkCertificate(cfg, time.Now()))
			}
			checkControl(cfg.Control, &p)
			if err := checkGateway(ctx, cfg, &p); err != nil {
				return err
			}
			if p.failed {
				return errSilent
			}
			return nil
		},
	}
	configFlag(c, &path)
	return c
}

// checkControl looks at the place of the control socket, if the configuration names one.
func checkControl(c config.Control, p *printer) {
	if !c.Named || c.Path == "off" {
		return
	}
	err := control.Free(c.Path)
	switch {
	case err == nil:
		p.ok("control", "a socket can be at "+c.Path)
	case errors.Is(err, control.ErrAnswers):
		p.warning("control: " + err.Error() + ", perhaps the running gateway")
	default:
		p.finding(cloakroom.Finding{Subject: "control", Text: err.Error(), Hint: hintOf(err)})
	}
}

// checkGateway asks what a gateway of this configuration depends on.
func checkGateway(ctx context.Context, cfg *config.Config, p *printer) error {
	store, closer := openToCheck(ctx, cfg.StoreDSN, p)
	tested := store != nil
	if !tested { // what else is wrong is told all the same
		var err error
		if store, closer, err = config.OpenStore(ctx, "memory:"); err != nil {
			return err
		}
	}
	defer closer.Close()
	cfg.Store = store
	people, closeAccounts, err := openAccountsToCheck(ctx, cfg, p)
	if err != nil {
		return err
	}
	defer closeAccounts()
	cfg.Observe.Log = slog.New(slog.DiscardHandler) // the findings say it
	gateway, err := cloakroom.New(ctx, cfg.Config)
	if err != nil {
		return newFailed(err)
	}
	for _, f := range gateway.Check(ctx) {
		if f.Subject == "store" && !tested || f.Subject == "accounts" && !people && (f.OK || cfg.Accounts.Users == nil) {
			continue // that was of what stood in for it; a hook was asked itself
		}
		p.finding(f)
	}
	return gateway.Close(ctx)
}

// openToCheck opens the store for a look that leaves no file behind. Where that cannot be, it tells what it found out instead
// and returns nil.
func openToCheck(ctx context.Context, dsn string, p *printer) (session.Store, io.Closer) {
	fault := func(err error) (session.Store, io.Closer) {
		p.finding(cloakroom.Finding{Subject: "store", Text: err.Error(), Hint: hintOf(err)})
		return nil, nil
	}
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		path, err := filepath.EvalSymlinks(path) // the lock is beside the file itself
		switch {
		case errors.Is(err, os.ErrNotExist):
			if err := tryFolder(ctx, dsn); err != nil {
				return fault(err)
			}
			p.ok("store", strings.TrimPrefix(dsn, "sqlite:")+" will be created at first start; its folder can be written")
			return nil, nil
		case err != nil:
			return fault(err)
		}
		if _, err := os.Stat(path + ".lock"); errors.Is(err, os.ErrNotExist) {
			// To open it would leave a lock there, and to remove a lock may let two gateways in.
			p.warning("store: " + path + " is there, and no gateway has opened it in this place; not tested")
			return nil, nil
		}
	}
	store, closer, err := config.OpenStore(ctx, dsn)
	if held := heldBy(err); held != nil {
		p.warning("store: " + held.Error() + ", perhaps the running gateway; not tested")
		return nil, nil
	}
	if err != nil {
		return fault(err)
	}
	return store, closer
}

// openAccountsToCheck opens the accounts, if there are any. Those that are not there yet, or cannot be opened, are told of, and others
// opened in their place; tested is false then. done removes what was tried out.
func openAccountsToCheck(ctx context.Context, cfg *config.Config, p *printer) (tested bool, done func(), err error) {
	if cfg.Accounts == nil {
		return false, func() {}, nil
	}
	fault := func(err error) {
		p.finding(cloakroom.Finding{Subject: "accounts", Text: err.Error(), Hint: hintOf(err)})
	}
	dsn, remove := cfg.AccountsDSN, func() {}
	if path, file := strings.CutPrefix(dsn, "sqlite:"); file {
		_, missing := os.Stat(path)
		if tested = !errors.Is(missing, os.ErrNotExist); !tested {
			if err := tryFolder(ctx, dsn); err != nil {
				fault(err)
			} else {
				p.ok("accounts", path+" will be created at first start; its folder can be written")
			}
		}
	} else if vacant, err := postgres.Vacant(ctx, dsn); err != nil {
		fault(err)
	} else if tested = !vacant; vacant {
		p.ok("accounts", "the database answers; its tables will be created at first start")
	}
	if !tested {
		trial, err := os.MkdirTemp("", "cloakroom-check-")
		if err != nil {
			return false, nil, err
		}
		dsn, remove = "sqlite:"+filepath.Join(trial, "accounts.db"), func() { os.RemoveAll(trial) }
	}
	db, err := config.OpenAccounts(ctx, dsn)
	if err != nil {
		remove()
		return false, nil, err
	}
	cfg.Accounts.Database = db
	return tested, func() { db.Close(); remove() }, nil
}

// tryFolder tries out a SQLite file that is not there yet, in a folder of its own beside its place, which it removes again.
func tryFolder(ctx context.Context, dsn string) (err error) {
	path := strings.TrimPrefix(dsn, "sqlite:")
	folder := filepath.Dir(path)
	if _, err := os.Stat(folder); errors.Is(err, os.ErrNotExist) {
		return hinted{fmt.Errorf("there is no folder for %s", path), "make the folder " + folder + " first"}
	}
	trial, err := os.MkdirTemp(folder, ".cloakroom-check-")
	if err != nil {
		return hinted{fmt.Errorf("%s cannot be created: %w", path, err), "the user of this process must be able to write the folder " + folder}
	}
	defer func() { err = errors.Join(err, os.RemoveAll(trial)) }()
	_, closer, err := config.OpenStore(ctx, "sqlite:"+filepath.Join(trial, "cloakroom.db"))
	if err != nil {
		return err
	}
	return closer.Close()
}

// heldBy returns what says that another process has the store, or nil.
func heldBy(err error) error {
	for ; err != nil; err = errors.Unwrap(err) {
		if e, ok := err.(*session.Error); ok && e.Op == "lock store" {
			return e.Err
		}
	}
	return nil
}

// soon is when a certificate counts as about to end.
const soon = 14 * 24 * time.Hour

func checkCertificate(cfg *config.Config, now time.Time) cloakroom.Finding {
	f := cloakroom.Finding{Subject: "certificate"}
	pair, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
	if err != nil {
		f.Text = err.Error()
		return f
	}
	host := ""
	if u, err := url.Parse(cfg.URL); err == nil {
		host = u.Hostname()
	}
	until := pair.Leaf.NotAfter
	switch {
	case pair.Leaf.VerifyHostname(host) != nil:
		f.Text, f.Hint = "is not for "+host, "get one for the host of url"
	case now.Before(pair.Leaf.NotBefore):
		f.Text, f.Hint = fmt.Sprintf("is good only from %s on", pair.Leaf.NotBefore.Format(time.DateOnly)), "look at the clock of this machine"
	case now.Add(soon).After(until):
		f.Text, f.Hint = fmt.Sprintf("ends on %s", until.Format(time.DateOnly)), "renew it; the running gateway takes the new files by itself"
	default:
		f.OK, f.Text = true, fmt.Sprintf("is for %s until %s", host, until.Format(time.DateOnly))
	}
	return f
}

// printer writes findings, one line each.
type printer struct {
	w      io.Writer
	colour bool
	failed bool
}

func (p *printer) ok(subject, text string) {
	p.finding(cloakroom.Finding{OK: true, Subject: subject, Text: text})
}

func (p *printer) finding(f cloakroom.Finding) {
	line := f.Subject + ": " + f.Text
	if f.Hint != "" {
		line += " → " + f.Hint
	}
	switch {
	case f.OK && f.Hint != "":
		p.line("!", "33", line)
		return
	case f.OK:
		p.line("✓", "32", line)
		return
	}
	p.failed = true
	p.line("✗", "31", line)
}

// warning is for what works and should not stay so.
func (p *printer) warning(text string) { p.line("!", "33", text) }

func (p *printer) line(mark, colour, text string) {
	if p.colour {
		mark = "\x1b[" + colour + "m" + mark + "\x1b[0m"
	}
	fmt.Fprintf(p.w, "%s %s\n", mark, text)
}

// colours reports whether w shows colours: on a terminal, unless NO_COLOR is set (no-color.org).
func colours(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }
