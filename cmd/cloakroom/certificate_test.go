package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/config"
)

// writePair writes a certificate for localhost with that serial number, and its key.
func writePair(t *testing.T, files config.TLS, serial int64, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
	}
	cert, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, files.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write(t, files.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

var written int

// write replaces a file, and makes sure that its time is another one however coarse the clock is.
func write(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	written++
	at := time.Now().Add(time.Duration(written) * time.Second)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func pairIn(dir string) config.TLS {
	return config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
}

func TestCertificate_FollowsItsFiles(t *testing.T) {
	files := pairIn(t.TempDir())
	writePair(t, files, 1, time.Now().Add(time.Hour))
	var said bytes.Buffer
	c, err := loadCertificate(files, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServers(slog.New(slog.DiscardHandler))
	s.start(l, http.NotFoundHandler(), c.tls())
	defer s.close()

	serial := func() int64 {
		t.Helper()
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Errorf("protocol %q", got)
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Fatalf("serial %d", got)
	}
	writePair(t, files, 2, time.Now().Add(time.Hour))
	c.look()
	if got := serial(); got != 2 {
		t.Errorf("serial %d after the files changed", got)
	}
	write(t, files.Cert, []byte("half a certificate"))
	c.look()
	c.look()
	if got := serial(); got != 2 {
		t.Errorf("serial %d after a bad file", got)
	}
	if got := strings.Count(said.String(), "the old one stays"); got != 1 {
		t.Errorf("told %d times: %s", got, said.String())
	}
	writePair(t, files, 3, time.Now().Add(time.Hour))
	c.look()
	if got := serial(); got != 3 {
		t.Errorf("serial %d after the files were mended", got)
	}
	if strings.Contains(said.String(), "PRIVATE") {
		t.Error("the key is in the log")
	}
}

func TestCertificate_G7_NothingBelowTLS12(t *testing.T) {
	files := pairIn(t.TempDir())
	writePair(t, files, 1, time.Now().Add(time.Hour))
	c, err := loadCertificate(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newServers(slog.New(slog.DiscardHandler))
	s.start(l, http.NotFoundHandler(), c.tls())
	defer s.close()
	for version, want := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			conn.Close()
		}
	}
}

func TestCheckCertificate(t *testing.T) {
	for _, v := range []struct {
		name, url string
		lasts     time.Duration
		ok        bool
		want      string
	}{
		{"Good", "https://localhost", 90 * 24 * time.Hour, true, "is for localhost until"},
		{"OtherHost", "https://app.example.com", 90 * 24 * time.Hour, false, "is not for app.example.com"},
		{"EndsSoon", "https://localhost", 24 * time.Hour, false, "ends on"},
	} {
		t.Run(v.name, func(t *testing.T) {
			cfg := &config.Config{Config: cloakroom.Config{URL: v.url}, TLS: pairIn(t.TempDir())}
			writePair(t, cfg.TLS, 1, time.Now().Add(v.lasts))
			f := checkCertificate(cfg, time.Now())
			if f.OK != v.ok || !strings.Contains(f.Text, v.want) || !f.OK && f.Hint == "" {
				t.Errorf("got %+v, want %s", f, v.want)
			}
		})
	}
}

func TestPrinter(t *testing.T) {
	var b strings.Builder
	p := printer{w: &b, colour: true}
	p.ok("store", "is there")
	p.finding(cloakroom.Finding{Subject: "route /", Text: "is away", Hint: "start it"})
	if want := "\x1b[32m✓\x1b[0m store: is there\n\x1b[31m✗\x1b[0m route /: is away → start it\n"; b.String() != want || !p.failed {
		t.Errorf("got %q", b.String())
	}
}
