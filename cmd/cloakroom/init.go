package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"text/template"

	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/internal/origin"
)

//go:embed cloakroom.yaml.tmpl
var example string

// answers fill in the example.
type answers struct {
	URL, Issuer, ClientID, Upstream, Key, Secret string
	Accounts                                     bool // people of our own, in the place of a provider
}

// own is the origin that the browser will see.
func (a answers) own() origin.Origin {
	o, _ := origin.Parse(a.URL)
	return o
}

// Listen keeps a gateway for this machine on this machine.
func (a answers) Listen() string {
	o := a.own()
	if !o.Loopback() {
		return ":8080"
	}
	host := "127.0.0.1"
	if net.ParseIP(o.Host()) != nil {
		host = o.Host()
	}
	return net.JoinHostPort(host, o.Port())
}

// Secure reports whether something has to speak TLS.
func (a answers) Secure() bool { return a.own().Secure() }

// What comes next: the paths of configuration and key, the url, the path of the client secret.
const (
	atProvider = `wrote %s
wrote %s (keep it secret)

Next:
  1. register %s/auth/callback as redirect URI at the provider
  2. write the issuer and client_id it shows you into %[1]s
  3. write the client secret into %[4]s, for your eyes only; paste it, then Enter and Ctrl-D:
     (umask 077; cat > %[4]s)
  4. cloakroom check --config %[1]s
  5. cloakroom serve --config %[1]s
`
	ofOwn = `wrote %s
wrote %s (keep it secret)

Next:
  1. cloakroom check --config %[1]s
  2. cloakroom serve --config %[1]s
  3. register at %[3]s/auth/register, or: cloakroom users add ada@example.com --config %[1]s
`
)

func initCommand() *cobra.Command {
	var path string
	a := answers{Key: "cloakroom.key", Secret: "client.secret"}
	c := &cobra.Command{
		Use:   "init",
		Short: "Write a configuration to start from, with a fresh key",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if _, err := origin.Parse(a.URL); err != nil {
				return hinted{fmt.Errorf("--url: %w", err), "write it like https://app.example.com"}
			}
			if err := initialize(path, a); err != nil {
				return err
			}
			next := atProvider
			if a.Accounts {
				next = ofOwn
			}
			folder := filepath.Dir(path)
			_, err := fmt.Fprintf(c.OutOrStdout(), next, path, filepath.Join(folder, a.Key), a.URL, filepath.Join(folder, a.Secret))
			return err
		},
	}
	configFlag(c, &path)
	c.Flags().StringVar(&a.URL, "url", "http://localhost:8080", "what the browser will type")
	c.Flags().BoolVar(&a.Accounts, "accounts", false, "people of your own, without a provider")
	c.Flags().StringVar(&a.Issuer, "issuer", "https://login.example.com/", "the provider's issuer")
	c.Flags().StringVar(&a.ClientID, "client-id", "my-app", "as registered at the provider")
	c.Flags().StringVar(&a.Upstream, "upstream", "http://127.0.0.1:3000", "the API behind the gateway")
	exclusive(c, "accounts", "issuer")
	exclusive(c, "accounts", "client-id")
	return c
}

// initialize writes configuration and key, both or none, over nothing.
func initialize(path string, a answers) error {
	t := template.Must(template.New("").Funcs(template.FuncMap{"text": quoted}).Parse(example))
	var text bytes.Buffer
	if err := t.Execute(&text, a); err != nil {
		return err
	}
	key := filepath.Join(filepath.Dir(path), a.Key)
	if err := create(key, 0o600, cloakroom.NewKey()+"\n"); err != nil {
		return err
	}
	if err := create(path, 0o644, text.String()); err != nil {
		os.Remove(key)
		return err
	}
	return nil
}

func create(path string, mode os.FileMode, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if os.IsExist(err) {
		return hinted{fmt.Errorf("%s exists already; nothing was written", path), "go on with: cloakroom check; or write elsewhere: --config FOLDER/cloakroom.yaml"}
	}
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}

// quoted writes a text so that YAML takes it as it is.
func quoted(text string) string { return fmt.Sprintf("%q", text) }
