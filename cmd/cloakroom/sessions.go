package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/internal/control"
	"github.com/cloakroom-go/cloakroom/session"
)

func sessionsCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "sessions",
		Short: "See who is signed in at a running gateway, and end sessions",
		Long:  "See who is signed in at a running gateway, and end sessions. It is asked over its control socket (control in the configuration).",
	}, listCommand(), revokeCommand())
}

// gatewayFlags say which gateway is asked.
type gatewayFlags struct{ config, socket string }

func (g *gatewayFlags) add(c *cobra.Command) {
	configFlag(c, &g.config)
	c.Flags().StringVar(&g.socket, "control", "", "the gateway's control socket, instead of the one that the configuration names")
}

func (g *gatewayFlags) client() (*control.Client, error) {
	if g.socket != "" {
		return control.NewClient(g.socket), nil
	}
	cfg, err := load(g.config)
	if err != nil {
		return nil, err
	}
	if cfg.Control.Path == "off" {
		return nil, hinted{fmt.Errorf("%s says control: off", cfg.File), "name a socket there and start the gateway again"}
	}
	return control.NewClient(cfg.Control.Path), nil
}

var errNoUser = errors.New("--user is empty: give it a subject")

// userFlags name a person.
func userFlags(c *cobra.Command, user, issuer *string) {
	c.Flags().StringVar(user, "user", "", "the person with this subject (sub)")
	c.Flags().StringVar(issuer, "issuer", "", "with --user: only at this issuer, not at all of the gateway's providers")
}

func listCommand() *cobra.Command {
	var at gatewayFlags
	var user, issuer string
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "Print the sessions that live now",
		Long: "Print the sessions that live now, in no order: for each what the logs call it, when it began, when it was last seen, the browser and\n" +
			"system that its login came from, the provider, and the person's subject there.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if user == "" && (issuer != "" || c.Flags().Changed("user")) {
				return errNoUser
			}
			gateway, err := at.client()
			if err != nil {
				return err
			}
			print := table(c.OutOrStdout())
			if asJSON {
				lines := json.NewEncoder(c.OutOrStdout())
				print = func(s control.Session) error { return lines.Encode(s) }
			}
			return gateway.List(c.Context(), user, issuer, print)
		},
	}
	at.add(c)
	userFlags(c, &user, &issuer)
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return c
}

// table prints one session a line, each as it comes: there may be a million.
func table(w io.Writer) func(control.Session) error {
	const row = "%-12s  %-16s  %-16s  %-28s  %-12s  %s\n"
	headed := false
	return func(s control.Session) error {
		if !headed {
			headed = true
			fmt.Fprintf(w, row, "ID", "BEGAN (UTC)", "LAST SEEN", "DEVICE", "PROVIDER", "USER")
		}
		device := session.Device{Browser: s.Browser, System: s.System}
		_, err := fmt.Fprintf(w, row, printable(s.ID), minute(s.Created), minute(s.LastSeen), printable(device.String()), printable(s.Provider), printable(s.User))
		return err
	}
}

func minute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// printable shows what comes from elsewhere without letting it speak to the terminal.
func printable(text string) string {
	if strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }) {
		return strconv.Quote(text)
	}
	return cmp.Or(text, "-")
}

func revokeCommand() *cobra.Command {
	var at gatewayFlags
	var user, issuer, id string
	var all bool
	c := &cobra.Command{
		Use:   "revoke",
		Short: "End the sessions of a person, one session, or all",
		Long: "End the sessions of a person (--user), one session by what the logs and the list call it (--session), or all (--all). They are refused from\n" +
			"that moment on, and WebSockets close. Their refresh tokens cannot be revoked at the provider: they are sealed under cookies that are elsewhere.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// The empty value of a variable that a script forgot to set must not mean everyone.
			switch {
			case user == "" && (issuer != "" || c.Flags().Changed("user")):
				return errNoUser
			case user == "" && id == "" && !all:
				return errors.New("say what is to end: --user SUBJECT, --session ID or --all")
			}
			gateway, err := at.client()
			if err != nil {
				return err
			}
			var ended control.Ended
			switch {
			case user != "":
				ended, err = gateway.RevokeUser(c.Context(), user, issuer)
			case id != "":
				ended, err = gateway.RevokeSession(c.Context(), id)
			case all:
				ended, err = gateway.RevokeAll(c.Context())
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), outcome(ended))
			return err
		},
	}
	at.add(c)
	userFlags(c, &user, &issuer)
	c.Flags().StringVar(&id, "session", "", "the session with this id")
	c.Flags().BoolVar(&all, "all", false, "all sessions")
	exclusive(c, "user", "session", "all")
	return c
}

func outcome(e control.Ended) string {
	switch {
	case !e.Counted:
		return "ended: all sessions of this person; they rest in browsers, so nobody knows how many there were"
	case e.Sessions == 1:
		return "ended: 1 session"
	}
	return fmt.Sprintf("ended: %d sessions", e.Sessions)
}
