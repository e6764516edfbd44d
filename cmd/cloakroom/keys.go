package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom"
)

func keysCommand() *cobra.Command {
	keys := &cobra.Command{Use: "keys", Short: "Keys that seal cookies and records"}
	keys.AddCommand(&cobra.Command{
		Use:   "new",
		Short: "Print a fresh key",
		Long: "Print a fresh key: 32 random bytes. Keep it in a file that only the gateway can read:\n\n" +
			"  (umask 077; cloakroom keys new > cloakroom.key)",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), cloakroom.NewKey())
			return err
		},
	})
	keys.AddCommand(csrfKeyCommand())
	return keys
}

func csrfKeyCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "csrf",
		Short: "Print the key with which APIs check CSRF tokens",
		Long: "Print the key with which an API that reads the token from a cookie checks the CSRF token beside it (csrf: token).\n" +
			"It is derived from the keys of the configuration, opens nothing else, and stays the same when a key is added.",
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
