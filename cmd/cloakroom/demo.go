package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/demo"
)

func demoCommand() *cobra.Command {
	var o demo.Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show everything in one process: provider, API, page and gateway",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			logs, err := openLogs(config.Log{Level: slog.LevelInfo, Format: "auto", Access: "off", Audit: "off"})
			if err != nil {
				return err
			}
			defer logs.Close()
			o.Log = logs.log
			who := "Sign in with any name and any password."
			if o.Accounts {
				who = "Register with any e-mail address."
				if o.URL == "" {
					who += " Letters are written here."
				}
			}
			return demo.Run(c.Context(), o, func(url string) {
				fmt.Fprintf(c.OutOrStdout(), "\n  The demonstration runs at %s\n  %s Ctrl-C ends it.\n\n", url, who)
			})
		},
	}
	c.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address on this machine")
	c.Flags().StringVar(&o.Dir, "dir", demoFolder(), "where sessions and keys of the demonstration rest")
	c.Flags().StringVar(&o.Mode.Storage, "storage", "store", "where sessions rest: store, sealed")
	c.Flags().StringVar(&o.Mode.Delivery, "delivery", "proxy", "how the access token reaches the API: proxy, cookie, split, memory")
	c.Flags().StringVar(&o.Mode.CSRF, "csrf", "origin", "what a request has to prove beside where it comes from: origin, header, token")
	c.Flags().BoolVar(&o.Accounts, "accounts", false, "without a provider: people register at the gateway itself")
	c.Flags().StringVar(&o.URL, "url", "", "what browsers know it by, with https: needs a certificate")
	c.Flags().StringVar(&o.TLSCert, "tls-cert", "", "file with the certificate, for all names of the demonstration")
	c.Flags().StringVar(&o.TLSKey, "tls-key", "", "file with its key")
	c.Flags().StringVar(&o.Sibling, "lab-sibling", "", "host of the app's site that the laboratory attacks from")
	c.Flags().StringVar(&o.Foreign, "lab-foreign", "", "host of another site that the laboratory attacks from")
	return c
}

func demoFolder() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "cloakroom-demo"
	}
	return filepath.Join(cache, "cloakroom-demo")
}
