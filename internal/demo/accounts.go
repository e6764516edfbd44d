package demo

import (
	"context"
	"crypto/tls"
	"database/sql"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/passkeys"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

// openPeople opens the accounts of a demonstration without a provider. They stay where the rest of its state is.
func openPeople(ctx context.Context, o Options) (*sql.DB, error) {
	return sqlite.OpenAccounts(ctx, filepath.Join(o.Dir, "demo-accounts.db"))
}

// leastAccountToken is the shortest life of an access token that accounts take.
const leastAccountToken = 10 * time.Second

// ownAccounts is what stands for a provider's name where the account is the gateway's own.
const ownAccounts = "accounts"

// withPeople has the gateway's own accounts in the place of the provider. Their tokens are for the same API, signed in the way that it
// wants.
func withPeople(cfg *cloakroom.Config, people *sql.DB, o Options) {
	cfg.Providers = nil
	cfg.Accounts = &cloakroom.Accounts{
		Database: people,
		Tokens: cloakroom.AccountTokens{
			Audience: []string{audience}, Algorithm: "RS256", Lifetime: max(o.AccessToken, leastAccountToken), Claims: []string{"email", "name"},
		},
		Passkeys: passkeys.New(), // where browsers know it by a name
	}
	if own, err := url.Parse(cfg.URL); err == nil && origin.IsLocal(own.Hostname()) {
		cfg.Accounts.Mail = &cloakroom.MailOptions{Server: "log", From: "Demonstration <no-reply@demo.example>"}
		cfg.Accounts.VerifyEmailOff, cfg.Accounts.EmailLink = true, true
	}
}

// atFront is a client for the gateway of this process, whatever name and certificate browsers know it by: the API fetches the keys of
// accounts there.
func atFront(s sockets) *http.Client {
	front := s.front[0].Addr().String()
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", front)
		},
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the other end is this very process
	}}
}
