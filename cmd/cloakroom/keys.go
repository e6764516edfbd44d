package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/hook"
	"github.com/cloakroom-go/cloakroom/internal/seal"
)

func keysCommand() *cobra.Command {
	var forHook bool
	fresh := &cobra.Command{
		Use:   "new",
		Short: "Print a fresh key",
		Long: "Print a fresh key: 32 random bytes. Keep it in a file that only the gateway can read:\n\n" +
			"  (umask 077; cloakroom keys new > cloakroom.key)",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			text := cloakroom.NewKey()
			if forHook {
				text = hook.NewSecret()
			}
			_, err := fmt.Fprintln(c.OutOrStdout(), text)
			return err
		},
	}
	fresh.Flags().BoolVar(&forHook, "hook", false, "a secret for accounts.hook, as Standard Webhooks writes it")
	return group(&cobra.Command{Use: "keys", Short: "Keys that seal cookies and records"},
		fresh, rotateCommand(), listKeysCommand(), retireCommand(), csrfKeyCommand())
}

// keyring is the configuration's keys, and where they are.
type keyring struct {
	*config.Config
	*seal.Keyring
}

func loadKeyring(path string) (*keyring, error) {
	cfg, err := load(path)
	if err != nil {
		return nil, err
	}
	ring, err := seal.NewKeyring(cfg.Keys...)
	if err != nil {
		return nil, configError{fmt.Errorf("%s: keys: %w", cfg.File, err)}
	}
	return &keyring{cfg, ring}, nil
}

// from says where a key is.
func (k *keyring) from(m seal.Member) string {
	if file := k.KeyFiles[m.Text]; file != "" {
		return file
	}
	return fmt.Sprintf("keys[%d]", m.Text)
}

// neededUntil is when the last session has ended that a key sealed; zero: nobody knows, or not yet.
func (k *keyring) neededUntil(m seal.Member) time.Time {
	if m.Until.IsZero() {
		return m.Until
	}
	return m.Until.Add(k.Session.Absolute)
}

func (k *keyring) sealer() seal.Member {
	all := k.Members()
	return all[slices.IndexFunc(all, func(m seal.Member) bool { return m.Seals })]
}

func stamp3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

func rotateCommand() *cobra.Command {
	var path string
	var in time.Duration
	var now bool
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Add a key that seals from a little later on",
		Long: "Add a fresh key to the file that the sealing key is in, the first of keys. It opens as soon as the gateway has read it,\n" +
			"and seals from a little later on, so that every replica has it before the first cookie that needs it. The keys from\n" +
			"before go on opening: nobody is signed out.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case now && c.Flags().Changed("active-in"):
				return errors.New("--now and --active-in are two answers to one question; give one")
			case in < 0 || in > 30*24*time.Hour:
				return errors.New("--active-in is a time from 0s to 720h")
			case now:
				in = 0
			}
			k, err := loadKeyring(path)
			if err != nil {
				return err
			}
			return k.rotate(c.OutOrStdout(), in)
		},
	}
	configFlag(c, &path)
	c.Flags().DurationVar(&in, "active-in", 10*time.Minute, "from when on it seals")
	c.Flags().BoolVar(&now, "now", false, "have it seal at once: a gateway that has not read it yet takes people for signed out")
	return c
}

func (k *keyring) rotate(w io.Writer, in time.Duration) error {
	file := k.KeyFiles[0]
	if file == "" {
		return hinted{
			fmt.Errorf("the first of keys stands in %s or the environment, and only a file can be rotated", k.File),
			"write that key into a file of mode 0600 and keys: [{file: PATH}] for it; or make one by cloakroom keys new and put it first yourself",
		}
	}
	if n := len(k.Members()); n == seal.MaxKeys {
		return hinted{fmt.Errorf("there are %d keys, and no room for another", n), "cloakroom keys list says which is not needed any more: retire it"}
	}
	fresh := cloakroom.NewKey()
	from := time.Now().Add(in).Truncate(time.Second)
	if in > 0 {
		from = from.Add(time.Second) // never earlier than was asked for
	}
	last := k.sealer()
	err := rewrite(file, k.Keys[0], func(text string) (string, error) {
		text = k.WithKey(text, fresh, from)
		_, err := seal.NewKeyring(append([]string{text}, k.Keys[1:]...)...)
		return text, err
	})
	if err != nil {
		return err
	}
	key, err := seal.ParseKey(fresh)
	if err != nil {
		return err
	}
	seals, before := "opens from now on, and seals from "+stamp3339(from)+" on", "before then"
	if in == 0 {
		seals, before = "seals from now on", "now: until then it takes who comes with a cookie of the new key for signed out"
	}
	_, err = fmt.Fprintf(w, "wrote %s: key %s %s\n\n"+
		"Next:\n"+
		"  1. give each replica the file, and send its gateway SIGHUP, %s\n"+
		"  2. from %s on no session needs key %s any more:\n"+
		"     cloakroom keys retire %[6]s --config %[7]s\n", file, key.ID(), seals, before, stamp3339(from.Add(k.Session.Absolute)), last.ID, k.File)
	return err
}

func listKeysCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "list",
		Short: "Show which keys there are, and which of them seals",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			k, err := loadKeyring(path)
			if err != nil {
				return err
			}
			t := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "KEY\tACTIVE FROM\tIN\tDOES")
			for _, m := range k.Members() {
				from := "ever"
				if !m.ActiveFrom.IsZero() {
					from = stamp3339(m.ActiveFrom)
				}
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", m.ID, from, k.from(m), k.does(m))
			}
			return t.Flush()
		},
	}
	configFlag(c, &path)
	return c
}

// does says what a key is there for.
func (k *keyring) does(m seal.Member) string {
	needed := k.neededUntil(m)
	switch {
	case m.Seals:
		return "seals and opens"
	case m.ActiveFrom.After(time.Now()):
		return "opens, will seal"
	case needed.IsZero():
		return "opens"
	case needed.After(time.Now()):
		return "opens, needed until " + stamp3339(needed)
	}
	return "opens, not needed any more: retire it"
}

func retireCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "retire KEY",
		Short: "Take out a key that seals no more",
		Long: "Take a key out of its file; cloakroom keys list shows which there are. Whatever it sealed opens no more: who still comes\n" +
			"with a cookie of it is signed out.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := loadKeyring(path)
			if err != nil {
				return err
			}
			return k.retire(c.OutOrStdout(), args[0])
		},
	}
	configFlag(c, &path)
	return c
}

func (k *keyring) retire(w io.Writer, id string) error {
	all := k.Members()
	i := slices.IndexFunc(all, func(m seal.Member) bool { return m.ID.String() == strings.ToLower(id) })
	switch {
	case i < 0:
		return hinted{fmt.Errorf("there is no key %q", id), "cloakroom keys list shows them"}
	case len(all) == 1:
		return hinted{fmt.Errorf("key %s is the only one", all[i].ID), "add another first, by cloakroom keys rotate, and wait until it seals"}
	case all[i].Seals:
		return hinted{fmt.Errorf("key %s seals", all[i].ID), "another has to seal before it can go: cloakroom keys rotate adds one; cloakroom keys list says from when on it seals"}
	}
	m := all[i]
	file := k.KeyFiles[m.Text]
	switch {
	case file == "" && k.Pinned():
		return hinted{fmt.Errorf("key %s stands in %s or the environment", m.ID, k.File), "take it out there, " + k.from(m) + ", and restart the gateway"}
	case file == "":
		return hinted{
			fmt.Errorf("key %s stands in %s or the environment", m.ID, k.File),
			"cloakroom keys rotate first: it writes down the index key, which still comes from this key; then take " + k.from(m) + " out there, and restart the gateway",
		}
	}
	err := rewrite(file, k.Keys[m.Text], func(text string) (string, error) {
		text = k.WithoutKey(text, m.ID)
		texts := slices.Clone(k.Keys)
		texts[m.Text] = text
		_, err := seal.NewKeyring(texts...)
		return text, err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "wrote %s: without key %s. %s\n\nNext: give each replica the file, and send its gateway SIGHUP\n", file, m.ID, k.ends(m))
	return err
}

// ends says what the end of a key means.
func (k *keyring) ends(m seal.Member) string {
	const dead = "What it sealed in cookies and in the store opens no more: "
	switch needed := k.neededUntil(m); {
	case m.ActiveFrom.After(time.Now()):
		return "It has sealed nothing yet"
	case needed.IsZero():
		return dead + "whoever still has a session of it is signed out"
	case needed.After(time.Now()):
		return dead + "whoever still has a session of it is signed out,\nand until " + stamp3339(needed) + " there may be such people"
	}
	return dead + "no session of its time is left"
}

func csrfKeyCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "csrf",
		Short: "Print the key with which APIs check CSRF tokens",
		Long: "Print the key with which an API that reads the token from a cookie checks the CSRF token beside it (csrf: token).\n" +
			"It is derived from the keys of the configuration and opens nothing else. It stays the same when keys are added by\n" +
			"cloakroom keys rotate, and when they are retired.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			key, err := cloakroom.CSRFKey(cfg.Keys)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.ErrOrStderr(), "With this key an API that gets the access token in a cookie checks the CSRF token beside it. Give it to such APIs only, as a secret:\n"+
				"whoever has it can make CSRF tokens. It opens no session and no cookie.")
			if cfg.Guard.CSRF != "token" || !cfg.Tokens.InCookies() {
				fmt.Fprintln(c.ErrOrStderr(), "note: "+cfg.File+" does not say csrf: token with tokens.delivery cookie or split, so no API gets such tokens yet")
			}
			_, err = fmt.Fprintln(c.OutOrStdout(), key)
			return err
		},
	}
	configFlag(c, &path)
	return c
}
