package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/config"
)

// checkWithin bounds all that check asks.
const checkWithin = 30 * time.Second

func checkCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong before production does",
		Long: "Read the configuration, open the store, and ask provider and upstreams whether they are there. One line a finding.\n" +
			"Exit status 0: all is well; 1: something is not; 2: the configuration is wrong.",
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

// checkGateway asks what a gateway of this configuration depends on.
func checkGateway(ctx context.Context, cfg *config.Config, p *printer) error {
	store, closer, err := config.OpenStore(ctx, cfg.StoreDSN)
	away := err != nil
	if away {
		p.finding(cloakroom.Finding{Subject: "store", Text: err.Error(), Hint: hintOf(err)})
		// What else is wrong is told all the same.
		if store, closer, err = config.OpenStore(ctx, "memory:"); err != nil {
			return err
		}
	}
	defer closer.Close()
	cfg.Store = store
	cfg.Observe.Log = slog.New(slog.DiscardHandler) // the findings say it
	gateway, err := cloakroom.New(ctx, cfg.Config)
	if err != nil {
		return newFailed(err)
	}
	for _, f := range gateway.Check(ctx) {
		if f.Subject != "store" || !away {
			p.finding(f)
		}
	}
	return gateway.Close(ctx)
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
	if f.OK {
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
