package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/config"
)

// lookEvery is how often the files of the certificate are looked at.
const lookEvery = 5 * time.Second

// certificate is a certificate that follows its files.
type certificate struct {
	files config.TLS
	log   *slog.Logger
	now   atomic.Pointer[tls.Certificate]
	seen  [2]stamp
}

// stamp tells one state of a file from another.
type stamp struct {
	size    int64
	changed time.Time
}

func loadCertificate(files config.TLS, log *slog.Logger) (*certificate, error) {
	c := &certificate{files: files, log: log}
	c.seen = c.stamps() // before the files are read: a change in between is seen
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, configError{fmt.Errorf("tls: %w", err)}
	}
	c.now.Store(&pair)
	return c, nil
}

// tls returns the settings of a listener: TLS 1.2 or newer, HTTP/2 and HTTP/1.1.
func (c *certificate) tls() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}

// follow looks at the files until ctx ends.
func (c *certificate) follow(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.look()
		}
	}
}

// look takes a changed pair. A bad one is told once and the old one stays; the key may be written a moment after its
// certificate.
func (c *certificate) look() {
	seen := c.stamps()
	if seen == c.seen {
		return
	}
	c.seen = seen
	pair, err := tls.LoadX509KeyPair(c.files.Cert, c.files.Key)
	if err != nil {
		c.log.Error("the new certificate is not used; the old one stays", "file", c.files.Cert, "error", err.Error())
		return
	}
	c.now.Store(&pair)
	c.log.Info("new certificate", "file", c.files.Cert, "until", pair.Leaf.NotAfter)
}

func (c *certificate) stamps() (seen [2]stamp) {
	for i, path := range []string{c.files.Cert, c.files.Key} {
		if at, err := os.Stat(path); err == nil {
			seen[i] = stamp{at.Size(), at.ModTime()}
		}
	}
	return seen
}
