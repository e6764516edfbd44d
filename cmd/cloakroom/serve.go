package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/config"
	"github.com/cloakroom-go/cloakroom/internal/control"
	"github.com/cloakroom-go/cloakroom/session"
)

// drainWithin is how long requests in flight may take to end, once the program is told to.
const drainWithin = 30 * time.Second

func serveCommand() *cobra.Command {
	var path string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			logs, err := openLogs(cfg.Log)
			if err != nil {
				return err
			}
			defer logs.Close()
			return serve(c.Context(), cfg, logs)
		},
	}
	configFlag(c, &path)
	return c
}

// serve runs until ctx ends, and then lets everything that was begun come to its end.
func serve(ctx context.Context, cfg *config.Config, logs *logs) (err error) {
	hangups := make(chan os.Signal, 1) // from the beginning: one that comes early must not end the program
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for _, w := range cfg.Warnings {
		logs.log.Warn(w)
	}
	crypt, err := encryption(ctx, cfg.TLS, logs.log)
	if err != nil {
		return err
	}
	// The ports first: a second gateway is told so before it touches the store.
	at, err := openPorts(cfg, logs.log)
	if err != nil {
		return err
	}
	defer at.close()
	closeStores, err := openStores(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStores()) }()

	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	cfg.Observe = cloakroom.Observe{Log: logs.log, Access: logs.access, Audit: logs.audit, Metrics: metrics}
	// Not ctx: the gateway goes on following its store while requests drain.
	gateway, err := cloakroom.New(context.WithoutCancel(ctx), cfg.Config)
	if err != nil {
		return newFailed(err)
	}

	servers := newServers(logs.log)
	duties := &admin{gateway: gateway}
	if at.private != nil {
		servers.start(at.private, onThisMachine(at.private.Addr(), duties.handler(metrics, cfg.PProf)), nil)
	}
	if at.control != nil {
		servers.start(at.control, gateway.Control(), nil)
	}
	front := servers.start(at.public, gateway, crypt)
	front.RegisterOnShutdown(gateway.Drain)
	logs.log.Info("serving", "url", cfg.URL, "listen", at.public.Addr().String(), "admin", addressOf(at.private), "control", addressOf(at.control), "version", version())

	for running := true; running; {
		select {
		case <-hangups:
			_ = gateway.ReloadKeys(ctx) // which says in the log what came of it
		case <-ctx.Done():
			running = false
		case err = <-servers.failed:
			running = false
		}
	}
	duties.draining.Store(true) // first, so that whoever spreads the load sends no more
	err = errors.Join(err, drain(front, gateway, logs.log))
	servers.close()
	logs.log.Info("stopped")
	return err
}

// encryption is how the public port is encrypted, nil for not at all.
func encryption(ctx context.Context, o config.TLS, log *slog.Logger) (*tls.Config, error) {
	if o == (config.TLS{}) {
		return nil, nil
	}
	c, err := loadCertificate(o, log)
	if err != nil {
		return nil, err
	}
	go c.follow(ctx)
	return c.tls(), nil
}

// ports are where the gateway is reached: by browsers, and by those who run it, nil for not at all.
type ports struct{ public, private, control net.Listener }

func openPorts(cfg *config.Config, log *slog.Logger) (p ports, err error) {
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.public, err = listen("listen", cfg.Listen); err != nil {
		return p, err
	}
	if cfg.Admin != "off" {
		if p.private, err = listen("admin", cfg.Admin); err != nil {
			return p, err
		}
	}
	p.control, err = controlSocket(cfg.Control, log)
	return p, err
}

func (p ports) close() {
	for _, l := range []net.Listener{p.control, p.private, p.public} {
		if l != nil {
			l.Close()
		}
	}
}

// openStores opens where sessions rest, and accounts of our own if there are any, and puts them into cfg. It returns what closes them.
func openStores(ctx context.Context, cfg *config.Config) (func() error, error) {
	store, closer, err := config.OpenStore(ctx, cfg.StoreDSN)
	if err != nil {
		return nil, err
	}
	cfg.Store = store
	if cfg.Accounts == nil {
		return closer.Close, nil
	}
	db, err := config.OpenAccounts(ctx, cfg.AccountsDSN)
	if err != nil {
		return nil, errors.Join(err, closer.Close())
	}
	cfg.Accounts.Database = db
	return func() error {
		db.Close()
		return closer.Close()
	}, nil
}

// drain lets the requests in flight finish, and what they began.
func drain(front *http.Server, gateway *cloakroom.Gateway, log *slog.Logger) error {
	log.Info("draining", "at_most", drainWithin.String())
	end, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	if err := front.Shutdown(end); err != nil {
		log.Warn("requests were cut off after the time to drain", "error", err.Error())
		front.Close()
	}
	// Renewals and revocations that requests began have a life of their own. They get time even if requests took all of it.
	settle, cancel := context.WithTimeout(context.Background(), drainWithin)
	defer cancel()
	return gateway.Close(settle)
}

// newFailed tells a wrong configuration from a store that is away, or a database of accounts.
func newFailed(err error) error {
	switch session.CodeOf(err) {
	case session.Unavailable, session.ProviderDown:
		return err
	}
	return configError{err}
}

func listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, hinted{fmt.Errorf("%s: %s is taken by another program", key, address), "stop it, or change " + key + " in the configuration"}
	case errors.Is(err, syscall.EACCES):
		return nil, hinted{fmt.Errorf("%s: %s needs rights that this program does not have", key, address), "take a port from 1024 on, or give the program CAP_NET_BIND_SERVICE"}
	case err != nil:
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

// controlSocket makes the socket of the administrators, or returns nil: the gateway does without one that nobody asked for.
func controlSocket(c config.Control, log *slog.Logger) (net.Listener, error) {
	if c.Path == "off" {
		return nil, nil
	}
	socket, err := control.Listen(c.Path)
	switch {
	case err == nil:
		return socket, nil
	case c.Named:
		return nil, fmt.Errorf("control: %w", err)
	}
	log.Warn("there is no control socket, so sessions can be neither listed nor revoked", "error", err.Error(), "hint", hintOf(err))
	return nil, nil
}

func addressOf(l net.Listener) string {
	if l == nil {
		return "off"
	}
	return l.Addr().String()
}

// servers are the listeners at work.
type servers struct {
	log    *slog.Logger
	all    []*http.Server
	failed chan error
}

func newServers(log *slog.Logger) *servers {
	return &servers{log: log, failed: make(chan error, 3)}
}

// start serves h. There is no time-out for writing: streams last. A nil crypt is plain http.
func (s *servers) start(l net.Listener, h http.Handler, crypt *tls.Config) *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		TLSConfig:         crypt,
		ErrorLog:          log.New(serverLog{s.log}, "", 0),
	}
	s.all = append(s.all, server)
	go func() {
		var err error
		if crypt != nil {
			err = server.ServeTLS(l, "", "")
		} else {
			err = server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			s.failed <- fmt.Errorf("serve %s: %w", l.Addr(), err)
		}
	}()
	return server
}

func (s *servers) close() {
	for _, server := range s.all {
		server.Close()
	}
}
