package postgres

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/cloakroom-go/cloakroom/session"
)

// fail makes an Error of err. To the accounts it is the provider that is down.
func fail(op string, c *pgx.ConnConfig, err error) error {
	var verdict *session.Error
	if errors.As(err, &verdict) {
		return verdict
	}
	return &session.Error{Code: session.ProviderDown, Op: op + " " + where(c), Err: brief{err}, Hint: hint(c, err)}
}

// brief says on one line, and once, what the driver says of each address that it tried.
type brief struct{ error }

func (b brief) Unwrap() error { return b.error }

func (b brief) Error() string {
	var tried []string
	for line := range strings.Lines(b.error.Error()) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "failed to connect to `") && !slices.Contains(tried, line) {
			tried = append(tried, line)
		}
	}
	if len(tried) == 0 {
		return b.error.Error()
	}
	return strings.Join(tried, "; ")
}

// hint says what an operator can do about an error while connecting.
func hint(c *pgx.ConnConfig, err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return hintOf(c, answer)
	}
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &unknown):
		return "add ?sslrootcert=FILE with the authority that signed its certificate, or sslmode=disable on a private network"
	case errors.As(err, &other), errors.As(err, &certificate):
		return "name the host as its certificate does, or give it a certificate that is good now; sslmode=disable on a private network"
	case strings.Contains(err.Error(), "server refused TLS"):
		return "switch TLS on there (ssl = on), or add ?sslmode=disable on a private network"
	}
	return "is PostgreSQL running there, and may this machine connect (listen_addresses, firewall)?"
}

// hintOf is hint for what the server answered, by its SQLSTATE.
func hintOf(c *pgx.ConnConfig, answer *pgconn.PgError) string {
	switch answer.Code {
	case "28P01", "28000":
		return fmt.Sprintf("look at user and password, and at pg_hba.conf there: it must let %s into %s from here", c.User, c.Database)
	case "3D000":
		return fmt.Sprintf("create it there: CREATE DATABASE %s OWNER %s", pgx.Identifier{c.Database}.Sanitize(), pgx.Identifier{c.User}.Sanitize())
	case "42501":
		return fmt.Sprintf("let somebody who may make the schema: CREATE SCHEMA %s AUTHORIZATION %s", c.RuntimeParams["search_path"], pgx.Identifier{c.User}.Sanitize())
	case "53300":
		return fmt.Sprintf("raise max_connections there; each gateway takes up to %d", mostConns)
	case "25006":
		return "it takes no writes: name the primary, or all of them, as HOST1,HOST2 with ?target_session_attrs=read-write"
	case "57P03":
		return "it is starting or stopping: try again in a moment"
	case "08P01":
		return "connect to PostgreSQL itself: PgBouncer does not pass on what a connection begins with"
	}
	return "look into PostgreSQL's own log"
}
