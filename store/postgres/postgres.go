// Package postgres has the accounts of a gateway in PostgreSQL: for more than one gateway, or where there is one anyway.
package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/cloakroom-go/cloakroom/session"
)

// Schema is where the tables are, unless the DSN names another: ?search_path=NAME.
const Schema = "cloakroom"

// Limits of one process.
const (
	mostConns   = 8
	idleLife    = 5 * time.Minute
	connLife    = 30 * time.Minute // so that a server that took over is found
	connectWait = 5 * time.Second
	// A call of ours ends after 5 seconds. What the server does for one that it did not hear the end of ends soon after.
	serverWait = "8000" // milliseconds
)

// OpenAccounts opens the database that dsn names for the accounts of a gateway, for cloakroom.Accounts.Database, and makes the schema for
// their tables where it is missing. dsn is postgres://USER:PASSWORD@HOST:PORT/DATABASE with the parameters of libpq. Without sslmode the
// certificate of a server on another machine is verified, and it must have one. Its errors carry a hint and never show the password.
func OpenAccounts(ctx context.Context, dsn string) (*sql.DB, error) {
	return open(ctx, dsn, makeSchema)
}

// Vacant reports whether no accounts have been in that database. It makes nothing.
func Vacant(ctx context.Context, dsn string) (vacant bool, err error) {
	db, err := open(ctx, dsn, func(ctx context.Context, db *sql.DB, _ string) error {
		return db.QueryRowContext(ctx, "SELECT to_regclass('account_schema') IS NULL").Scan(&vacant)
	})
	if err != nil {
		return false, err
	}
	return vacant, db.Close()
}

// open opens a database and does something with it first.
func open(ctx context.Context, dsn string, first func(ctx context.Context, db *sql.DB, schema string) error) (*sql.DB, error) {
	const op = "open accounts"
	c, err := parse(dsn)
	if err != nil {
		return nil, &session.Error{Code: session.Unavailable, Op: op, Err: err, Hint: "write it like postgres://USER:PASSWORD@HOST/DATABASE"}
	}
	db := sql.OpenDB(connector{stdlib.GetConnector(*c), c})
	db.SetMaxOpenConns(mostConns)
	db.SetMaxIdleConns(mostConns)
	db.SetConnMaxIdleTime(idleLife)
	db.SetConnMaxLifetime(connLife)
	ctx, cancel := context.WithTimeout(ctx, 2*connectWait)
	defer cancel()
	if err := first(ctx, db, c.RuntimeParams["search_path"]); err != nil {
		db.Close()
		return nil, fail(op, c, err)
	}
	return db, nil
}

// Check says what is wrong with a DSN, and shows nothing of it.
func Check(dsn string) error {
	_, err := parse(dsn)
	return err
}

// parse reads a DSN. Its errors show nothing of it: where it is wrong nobody knows which part is the password.
func parse(dsn string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("the parts of the address cannot be told apart; in a password write % as %25, @ as %40, : as %3A, / as %2F")
	}
	c, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, errors.New("PostgreSQL's driver does not take the address: look at the port, at the parameters behind ?, and whether the files they name can be read")
	}
	query := u.Query()
	if c.TLSConfig != nil && !query.Has("sslmode") && os.Getenv("PGSSLMODE") == "" && !here(c.Host) {
		// libpq would go on without TLS where the server has none, and take any certificate where it has.
		query.Set("sslmode", "verify-full")
		u.RawQuery = query.Encode()
		if c, err = pgx.ParseConfig(u.String()); err != nil {
			return nil, errors.New("PostgreSQL's driver does not take the address with sslmode=verify-full")
		}
	}
	if !query.Has("connect_timeout") {
		c.ConnectTimeout = connectWait
	}
	for name, v := range map[string]string{
		"search_path": Schema, "application_name": "cloakroom",
		"statement_timeout": serverWait, "idle_in_transaction_session_timeout": serverWait,
	} {
		if c.RuntimeParams[name] == "" {
			c.RuntimeParams[name] = v
		}
	}
	if !plainName.MatchString(c.RuntimeParams["search_path"]) {
		return nil, errors.New("search_path is the name of one schema, of small letters, digits and _")
	}
	return c, nil
}

var plainName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// here reports whether a host is this machine.
func here(host string) bool {
	ip := net.ParseIP(host)
	return strings.HasPrefix(host, "/") || host == "localhost" || ip != nil && ip.IsLoopback()
}

// connector makes connections, and says in words why one cannot be made.
type connector struct {
	driver.Connector
	c *pgx.ConnConfig
}

// Connect is [driver.Connector.Connect].
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, fail("connect", c.c, err)
	}
	return conn, nil
}

// Driver is [driver.Connector.Driver].
func (c connector) Driver() driver.Driver { return dialect{c.Connector.Driver()} }

// dialect tells those who have the database what it understands.
type dialect struct{ driver.Driver }

// Dialect is "postgres".
func (dialect) Dialect() string { return "postgres" }

// makeSchema makes the schema if it is not there. Of several who start at once one does.
func makeSchema(ctx context.Context, db *sql.DB, name string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	var there bool
	if err := tx.QueryRowContext(ctx, "SELECT to_regnamespace($1) IS NOT NULL", name).Scan(&there); err != nil {
		return err
	}
	if there { // to ask for it once more would take a right that the role need not have
		return nil
	}
	for _, statement := range []string{"SELECT pg_advisory_xact_lock(hashtext('cloakroom schema'))", "CREATE SCHEMA IF NOT EXISTS " + name} {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// where is what an operator knows the database by.
func where(c *pgx.ConnConfig) string {
	host := c.Host
	if !strings.HasPrefix(host, "/") {
		host = net.JoinHostPort(host, strconv.Itoa(int(c.Port)))
	}
	return fmt.Sprintf("postgres://%s@%s/%s", c.User, host, c.Database)
}
