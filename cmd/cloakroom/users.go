package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/control"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

func usersCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:   "users",
		Short: "People of our own: the accounts of the configuration",
		Long: "People of our own: the accounts of the configuration. These commands work on their database, whether or not a gateway runs.\n" +
			"The one that runs with the same configuration ends the sessions of whoever is disabled or reset at once, others within a second.",
	}, addUserCommand(), listUsersCommand(), disableUserCommand(), enableUserCommand(), resetUserCommand(), importUsersCommand())
}

// directory is the accounts of a configuration.
type directory struct {
	*accounts.Accounts
	login   string
	audit   string // where the configuration has the audit log
	control string // the gateway's control socket, or "off"
	close   func() error
}

func openDirectory(ctx context.Context, path string) (*directory, error) {
	k, err := loadKeyring(path)
	if err != nil {
		return nil, err
	}
	if k.Accounts == nil {
		return nil, configError{hinted{fmt.Errorf("%s: there are no accounts", k.File), "accounts: {database: sqlite:accounts.db} switches them on"}}
	}
	if k.Accounts.Users != nil {
		return nil, configError{hinted{fmt.Errorf("%s: the people are where accounts.hook answers", k.File), "add, disable and reset them there"}}
	}
	db, err := config.OpenAccounts(ctx, k.AccountsDSN)
	if err != nil {
		return nil, err
	}
	o := *k.Accounts
	o.Database = db
	a, err := accounts.New(ctx, o, accounts.Place{Origin: k.URL, Prefix: k.Endpoints.Prefix, Ring: k.Keyring, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, errors.Join(newFailed(err), db.Close())
	}
	return &directory{a, a.Login(), k.Log.Audit, k.Control.Path, db.Close}, nil
}

// changed writes down that an operator changed what somebody signs in with, or whether they may: into the file of the audit log, or on standard error, where a
// supervisor takes it up. Standard output is for what was asked for.
func (d *directory) changed(ctx context.Context, a *accounts.Account, what string) error {
	if d.audit == "stdout" {
		d.audit = "stderr"
	}
	l, err := openLogs(config.Log{Format: "auto", Access: "off", Audit: d.audit})
	if err != nil || l.audit == nil {
		return err
	}
	l.audit.Record(ctx, audit.Event{Time: time.Now(), Action: audit.Changed, Provider: accounts.Name, Issuer: d.Issuer(), Subject: a.ID, Reason: what + ", by an operator"})
	return l.Close()
}

// endWait is how long a command waits for a gateway that ends somebody's sessions. The gateway goes on without it.
const endWait = 5 * time.Second

// endNow has the gateway of this configuration end the sessions of whoever was closed, and says in words how far that is. One that cannot be
// asked does so all the same: it looks into the database each second.
func (d *directory) endNow(ctx context.Context) string {
	const soon = "a gateway that runs ends the person's sessions within a second"
	if d.control == "off" {
		return soon
	}
	ctx, cancel := context.WithTimeout(ctx, endWait)
	defer cancel()
	switch err := control.NewClient(d.control).EndClosed(ctx); {
	case err == nil:
		return "the gateway at " + d.control + " has ended the person's sessions, any other does within a second"
	case errors.Is(err, control.ErrUnreachable), session.CodeOf(err) == session.NotFound:
		return soon
	default:
		return "the gateway at " + d.control + " could not end the person's sessions, and tries again each second: " + err.Error()
	}
}

// userCommand is a command about one person, or about all of them.
func userCommand(use, short, long string, args cobra.PositionalArgs, run func(c *cobra.Command, d *directory, args []string) error) *cobra.Command {
	var path string
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: args,
		RunE: func(c *cobra.Command, args []string) (err error) {
			d, err := openDirectory(c.Context(), path)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, d.close()) }()
			return inWords(run(c, d, args))
		},
	}
	configFlag(c, &path)
	return c
}

// inWords says what a person would be told who tried the same on a page, and to the operator what only operators can do.
func inWords(err error) error {
	code := session.CodeOf(err)
	_, title, text := answer.Words(code)
	switch code {
	case session.BadIdentifier, session.PasswordShort, session.PasswordLong, session.PasswordCommon:
		return hinted{errors.New(title), text}
	case session.IdentifierTaken:
		return hinted{errors.New(title), "cloakroom users reset sets another password for it"}
	case session.None:
		return hinted{err, "cloakroom users list shows all there are"}
	}
	return err
}

const passwordHelp = "\n\nThe password is asked for on a terminal, and else the first line of the standard input. --generate makes one and prints it."

func addUserCommand() *cobra.Command {
	var name string
	var generate bool
	c := userCommand("add IDENTIFIER", "Make an account", "Make an account for an e-mail address or a user name, as accounts.login has it."+passwordHelp, cobra.ExactArgs(1),
		func(c *cobra.Command, d *directory, args []string) error {
			password, err := newPassword(c, generate)
			if err != nil {
				return err
			}
			a, err := d.Add(c.Context(), accounts.Registration{Identifier: args[0], Password: password, Name: name})
			if err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "added %s as %s\n", a.Identifier(d.login), a.ID)
			return printPassword(c.OutOrStdout(), password, generate)
		})
	c.Flags().StringVar(&name, "name", "", "how the person wants to be called")
	c.Flags().BoolVar(&generate, "generate", false, "make a password and print it")
	return c
}

func resetUserCommand() *cobra.Command {
	var generate, factors bool
	c := userCommand("reset IDENTIFIER", "Set another password and end all sessions",
		"Set another password, and end all sessions of the person. Authenticator app, recovery codes and passkeys stay, also those of somebody who\n"+
			"registered with an address that is not theirs. With --factors the password stays, and these are taken away: for somebody who has lost\n"+
			"them, and is who they say they are. An account that may have been a stranger's, or has no password, needs both, one after the other."+passwordHelp, cobra.ExactArgs(1),
		func(c *cobra.Command, d *directory, args []string) error {
			a, err := d.Find(c.Context(), args[0])
			if err != nil {
				return err
			}
			if factors {
				if err := d.ResetFactors(c.Context(), a.ID); err != nil {
					return err
				}
				fmt.Fprintf(c.ErrOrStderr(), "%s signs in with the password alone; %s\n", a.Identifier(d.login), d.endNow(c.Context()))
				return d.changed(c.Context(), a, "factors")
			}
			password, err := newPassword(c, generate)
			if err != nil {
				return err
			}
			if err := d.Reset(c.Context(), a, password); err != nil {
				return err
			}
			told := d.endNow(c.Context())
			if err := d.changed(c.Context(), a, "password"); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "reset %s; %s\n", a.Identifier(d.login), told)
			return printPassword(c.OutOrStdout(), password, generate)
		})
	c.Flags().BoolVar(&generate, "generate", false, "make a password and print it")
	c.Flags().BoolVar(&factors, "factors", false, "take away authenticator app, recovery codes and passkeys instead")
	exclusive(c, "generate", "factors")
	return c
}

func disableUserCommand() *cobra.Command {
	return userCommand("disable IDENTIFIER", "Keep somebody out and end all sessions", "Keep somebody out, and end all of their sessions.", cobra.ExactArgs(1),
		func(c *cobra.Command, d *directory, args []string) error {
			a, err := d.Find(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := d.Disable(c.Context(), a.ID); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "disabled %s; %s\n", a.Identifier(d.login), d.endNow(c.Context()))
			return d.changed(c.Context(), a, "disabled")
		})
}

func enableUserCommand() *cobra.Command {
	return userCommand("enable IDENTIFIER", "Let somebody in again", "Let somebody in again who was disabled. The password is the same.", cobra.ExactArgs(1),
		func(c *cobra.Command, d *directory, args []string) error {
			a, err := d.Find(c.Context(), args[0])
			if err != nil {
				return err
			}
			if err := d.Enable(c.Context(), a.ID); err != nil {
				return err
			}
			fmt.Fprintf(c.ErrOrStderr(), "enabled %s\n", a.Identifier(d.login))
			return d.changed(c.Context(), a, "enabled")
		})
}

func listUsersCommand() *cobra.Command {
	var asJSON bool
	c := userCommand("list", "List the accounts, the oldest first", "List the accounts, the oldest first.", cobra.NoArgs,
		func(c *cobra.Command, d *directory, _ []string) error {
			return d.list(c.Context(), c.OutOrStdout(), asJSON)
		})
	c.Flags().BoolVar(&asJSON, "json", false, "one JSON object a line")
	return c
}

func (d *directory) list(ctx context.Context, w io.Writer, asJSON bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	if !asJSON {
		fmt.Fprintln(table, "IDENTIFIER\tNAME\tSUBJECT\tCREATED\tSTATE")
	}
	for a, err := range d.All(ctx) {
		if err != nil {
			return err
		}
		if asJSON {
			text, err := json.Marshal(userOf(a))
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s\n", text); err != nil {
				return err
			}
			continue
		}
		state := "active"
		if !a.Disabled.IsZero() {
			state = "disabled since " + stamp3339(a.Disabled)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", cmp.Or(a.Identifier(d.login), "-"), cmp.Or(a.Name, "-"), a.ID, stamp3339(a.Created), state)
	}
	return table.Flush()
}

// user is an account as programs read it.
type user struct {
	Subject       string     `json:"sub"`
	Email         string     `json:"email,omitempty"`
	EmailVerified bool       `json:"email_verified,omitempty"`
	Username      string     `json:"username,omitempty"`
	Name          string     `json:"name,omitempty"`
	Created       time.Time  `json:"created"`
	Disabled      *time.Time `json:"disabled,omitempty"`
}

func userOf(a *accounts.Account) user {
	u := user{Subject: a.ID, Email: a.Email, EmailVerified: !a.EmailVerified.IsZero(), Username: a.Username, Name: a.Name, Created: a.Created}
	if !a.Disabled.IsZero() {
		u.Disabled = &a.Disabled
	}
	return u
}

// newPassword makes one, asks for it on a terminal, or reads it.
func newPassword(c *cobra.Command, generate bool) (string, error) {
	if generate {
		return seal.RandomText(15), nil // 20 characters, 120 bits
	}
	if in, ok := c.InOrStdin().(*os.File); ok && term.IsTerminal(int(in.Fd())) {
		return askPassword(in, c.ErrOrStderr())
	}
	line, err := bufio.NewReader(io.LimitReader(c.InOrStdin(), 4<<10)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"); line == "" {
		return "", hinted{errors.New("there is no password on the standard input"), "write it there, or give --generate"}
	}
	return line, nil
}

// askPassword asks twice, and shows nothing of it.
func askPassword(in *os.File, out io.Writer) (string, error) {
	var typed [2]string
	for i, question := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(out, question)
		text, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(out)
		if err != nil {
			return "", err
		}
		typed[i] = string(text)
	}
	if typed[0] != typed[1] {
		return "", errors.New("these are two different passwords")
	}
	return typed[0], nil
}

func printPassword(w io.Writer, password string, generated bool) error {
	if !generated {
		return nil
	}
	_, err := fmt.Fprintln(w, password)
	return err
}
