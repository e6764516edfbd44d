package postgres_test

import (
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/postgres"
	"github.com/cloakroom-go/cloakroom/store/postgres/postgrestest"
)

// An operator is told what to do, and the password is nowhere.
func TestOpenAccounts_SaysWhatToDo(t *testing.T) {
	cluster := postgrestest.Running(t)
	super := postgrestest.Open(t, postgrestest.Schema(t))
	for _, statement := range []string{"CREATE ROLE wary LOGIN PASSWORD 'swordfish'", "CREATE ROLE guest LOGIN"} {
		if _, err := super.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	secure := forward(t, withTLS(server, func(*tls.Conn) {}))
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	wary := func(database, query string) string {
		return "postgres://wary:hunter2@/" + database + "?host=" + url.QueryEscape(cluster.Folder) + query
	}
	at := func(address, query string) string { return "postgres://guest:hunter2@" + address + "/postgres" + query }
	for _, v := range []struct{ name, dsn, err, hint string }{
		{"another password", wary("postgres", ""), "28P01", "look at user and password, and at pg_hba.conf there: it must let wary into postgres"},
		{"no such database", strings.Replace(wary("missing", ""), "wary", "guest", 1), "3D000", `CREATE DATABASE "missing" OWNER "guest"`},
		{"no right to make the schema", strings.Replace(wary("postgres", ""), "wary", "guest", 1), "42501", `CREATE SCHEMA cloakroom AUTHORIZATION "guest"`},
		{"a standby", cluster.DSN("postgres", url.Values{"search_path": {"standby"}, "default_transaction_read_only": {"on"}}), "25006", "name the primary"},
		{"nobody is there", at(free.Addr().String(), ""), "connection refused", "is PostgreSQL running there"},
		{"no TLS", at(postgrestest.NewWire(t).Address, "?sslmode=verify-full"), "refused TLS", "add ?sslmode=disable on a private network"},
		{"a certificate that nobody knows", at(secure, "?sslmode=verify-full"), "unknown authority", "add ?sslrootcert=FILE"},
		{"a certificate of another host", strings.Replace(at(secure, "?sslmode=verify-full&sslrootcert="+authority(t, server)), "127.0.0.1", "localhost", 1), "localhost", "name the host as its certificate does"},
	} {
		t.Run(v.name, func(t *testing.T) {
			db, err := postgres.OpenAccounts(context.Background(), v.dsn)
			if err == nil {
				db.Close()
				t.Fatal("it opens")
			}
			if session.CodeOf(err) != session.ProviderDown || !strings.Contains(err.Error(), v.err) || !strings.Contains(session.HintOf(err), v.hint) {
				t.Errorf("%v\nhint: %s", err, session.HintOf(err))
			}
			if strings.Contains(err.Error()+session.HintOf(err), "hunter2") {
				t.Errorf("the password is told: %v", err)
			}
		})
	}
}

func TestOpenAccounts_UnreadableAddresses(t *testing.T) {
	for _, dsn := range []string{
		"postgres://u:hunter2@host:port/db", "postgres://u:hun/ter2@host/db", "postgres://u:hunter2%zz@host/db", "mysql://u:hunter2@host/db",
		"postgres://u:hunter2@host/db?sslmode=perhaps", "postgres://u:hunter2@host/db?connect_timeout=hunter2", "host=h password=hunter2",
		"postgres://u:hunter2@host/db?sslmode=verify-full&sslrootcert=/nowhere/hunter2", "postgres://u@host/db?search_path=a,hunter2",
	} {
		_, err := postgres.OpenAccounts(context.Background(), dsn)
		if session.CodeOf(err) != session.Unavailable || postgres.Check(dsn) == nil || session.HintOf(err) == "" {
			t.Errorf("%s: %v", dsn, err)
		} else if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "ter2") {
			t.Errorf("%s is told: %v", dsn, err)
		}
	}
}

// A server on another machine shows a certificate that is good, unless the address says otherwise: libpq would take any, or none.
func TestOpenAccounts_VerifiesServersElsewhere(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for _, v := range []struct {
		dsn    string
		verify bool
	}{
		{"postgres://u@db.example.com/app", true},
		{"postgresql://u@db.example.com:6432/app?application_name=x", true},
		{"postgres://u@db.example.com/app?sslmode=disable", false},
		{"postgres://u@db.example.com/app?sslmode=require", false},
		{"postgres://u@127.0.0.1/app", false},
		{"postgres://u@[::1]/app", false},
		{"postgres://u@/app?host=/run/postgresql", false},
	} {
		verify, err := postgres.Verifies(v.dsn)
		if err != nil || verify != v.verify {
			t.Errorf("%s: verifies %v, %v", v.dsn, verify, err)
		}
	}
}

// A certificate that the address names the authority of is enough.
func TestOpenAccounts_OverTLS(t *testing.T) {
	socket := filepath.Join(postgrestest.Running(t).Folder, ".s.PGSQL.5432")
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	secured := make(chan bool, 1)
	address := forward(t, withTLS(server, func(conn *tls.Conn) {
		select {
		case secured <- conn.ConnectionState().HandshakeComplete:
		default:
		}
		inside, err := net.Dial("unix", socket)
		if err != nil {
			return
		}
		defer inside.Close()
		go func() {
			io.Copy(inside, conn)
			inside.Close()
		}()
		io.Copy(conn, inside)
	}))
	db := postgrestest.Open(t, fmt.Sprintf("postgres://postgres@%s/postgres?search_path=over_tls&sslmode=verify-full&sslrootcert=%s", address, authority(t, server)))
	var one int
	if err := db.QueryRow("SELECT 1").Scan(&one); err != nil || !<-secured {
		t.Errorf("%d, %v", one, err)
	}
	db.Close() // before the server
}

// A gateway takes no more connections than it says, and what the server does for it ends by itself.
func TestOpenAccounts_IsBounded(t *testing.T) {
	db := postgrestest.Open(t, postgrestest.Schema(t))
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			if _, err := db.Exec("SELECT pg_sleep(0.02)"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := db.Stats().OpenConnections; n == 0 || n > 8 {
		t.Errorf("%d connections", n)
	}
	for name, want := range map[string]string{"statement_timeout": "8s", "idle_in_transaction_session_timeout": "8s", "application_name": "cloakroom"} {
		var got string
		if err := db.QueryRow("SELECT current_setting($1)", name).Scan(&got); err != nil || got != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}

// Several that start at once find one schema, and a role that may not make it uses the one that is there.
func TestOpenAccounts_MakesTheSchemaOnce(t *testing.T) {
	dsn := postgrestest.Schema(t)
	var all sync.WaitGroup
	dbs := make([]*sql.DB, 6)
	for i := range dbs {
		all.Go(func() {
			var err error
			if dbs[i], err = postgres.OpenAccounts(context.Background(), dsn); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, db := range dbs {
		defer db.Close()
	}
	var name string
	if err := dbs[0].QueryRow("SELECT current_schema()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{"CREATE ROLE tenant LOGIN", "GRANT USAGE, CREATE ON SCHEMA " + name + " TO tenant"} {
		if _, err := dbs[0].Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	db := postgrestest.Open(t, strings.Replace(dsn, "postgres@", "tenant@", 1))
	if _, err := db.Exec("CREATE TABLE mine (id BIGINT)"); err != nil {
		t.Error(err)
	}
}

// Connections that the server ended are replaced, and what is asked meanwhile is told in words.
func TestOpenAccounts_ComesBack(t *testing.T) {
	wire := postgrestest.NewWire(t)
	db := postgrestest.Open(t, wire.DSN())
	wire.Cut()
	var verdict *session.Error
	for range 20 { // the first may meet a connection that has just been cut
		verdict = nil
		if err := db.Ping(); err == nil {
			t.Fatal("it answers")
		} else if errors.As(err, &verdict) {
			break
		}
	}
	if verdict == nil || verdict.Code != session.ProviderDown || verdict.Hint == "" || !strings.Contains(verdict.Op, "connect postgres://postgres@127.0.0.1") {
		t.Errorf("while it is away: %+v", verdict)
	}
	wire.Mend()
	if err := db.Ping(); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// forward listens on a port of this machine, and hands each connection to do.
func forward(t *testing.T, do func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { defer conn.Close(); do(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String()
}

// authority writes the certificate of a test server, which signed itself, into a file.
func authority(t *testing.T, server *httptest.Server) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "authority.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withTLS answers to the wish for TLS, with a certificate for 127.0.0.1 and example.com of an authority that nobody knows.
func withTLS(server *httptest.Server, do func(*tls.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		var wish [8]byte
		if _, err := io.ReadFull(conn, wish[:]); err != nil {
			return
		}
		io.WriteString(conn, "S")
		secure := tls.Server(conn, &tls.Config{Certificates: server.TLS.Certificates})
		if secure.Handshake() == nil {
			do(secure)
		}
	}
}
