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
	return keys
}
