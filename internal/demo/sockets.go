package demo

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cloakroom-go/cloakroom/session"
)

// drainTime is how long requests in flight may take when the demonstration ends.
const drainTime = 10 * time.Second

// checkLoopback refuses an address that other machines could reach.
func checkLoopback(listen string) error {
	refuse := func(err error) error {
		return &session.Error{
			Code: session.BadRequest, Op: "demo", Err: err,
			Hint: "listen on 127.0.0.1, [::1] or localhost; for other machines configure a real provider and run cloakroom serve",
		}
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return refuse(fmt.Errorf("the listen address %q is not host:port: %w", listen, err))
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number > 65534 {
		return refuse(fmt.Errorf("the listen address %q has no port between 0 and 65534", listen))
	}
	if host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return refuse(fmt.Errorf("the demonstration does not listen on %q: everyone can sign in as anyone here, so it is for this machine only", listen))
	}
	return nil
}

// sockets are where the parts listen, and what browsers call them.
type sockets struct {
	url, issuer                              string
	certificate                              *tls.Config // of all but provider and API, where browsers know the app by https
	front, provider, api, attacker, baseline []net.Listener
	sibling, foreign, bare                   *url.URL // of the laboratory
}

// listen opens the sockets. The provider goes by another name of this machine than the gateway, so that it is another site,
// as it is in production: cookies ignore ports. Its port is part of the issuer and stays from start to start.
func listen(o Options, l *ledger) (s sockets, err error) {
	defer func() {
		if err != nil {
			s.close()
			err = fmt.Errorf("demo: %w", err)
		}
	}()
	front, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return s, &session.Error{
			Code: session.Internal, Op: "listen", Err: err, Hint: "choose another port with --listen 127.0.0.1:PORT; 0 takes any",
		}
	}
	s.front = []net.Listener{front}
	base, err := s.own(o)
	if err != nil {
		return s, err
	}
	other := "localhost" // a name of this machine that is not the gateway's
	if base.Hostname() == "localhost" {
		other = "127.0.0.1"
	}
	if s.provider, err = listenAgain(l, portOf(front)+1, o.Log); err != nil {
		return s, err
	}
	s.issuer = "http://" + net.JoinHostPort(other, strconv.Itoa(portOf(s.provider[0])))
	api, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return s, err
	}
	s.api = []net.Listener{api}
	if s.attacker, err = listenTwice(0); err != nil {
		return s, err
	}
	if s.baseline, err = listenTwice(0); err != nil {
		return s, err
	}
	at := func(name string, l []net.Listener) *url.URL {
		return &url.URL{Scheme: base.Scheme, Host: net.JoinHostPort(name, strconv.Itoa(portOf(l[0])))}
	}
	// The attacker goes by two names at one address: a sibling of the app, and one on another site. Where there are no names, over
	// http, another port of the app's own host is the sibling: sites have no ports, origins have.
	s.sibling = at(cmp.Or(o.Sibling, base.Hostname()), s.attacker)
	s.foreign = at(cmp.Or(o.Foreign, other), s.attacker)
	s.bare = at(base.Hostname(), s.baseline)
	return s, nil
}

func portOf(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }

// own says what browsers call the gateway, and with https reads its certificate.
func (s *sockets) own(o Options) (*url.URL, error) {
	host, _, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, err
	}
	if o.Accounts && net.ParseIP(host) != nil {
		host = "localhost" // browsers make passkeys for a name only
	}
	port := portOf(s.front[0])
	s.url = "http://" + net.JoinHostPort(host, strconv.Itoa(port))
	if port == 80 {
		s.url = "http://" + host
	}
	if o.URL != "" {
		s.url = o.URL
	}
	base, err := url.Parse(s.url)
	if err != nil || base.Host == "" || base.Path != "" {
		return nil, &session.Error{Code: session.BadRequest, Op: "demo", Err: fmt.Errorf("the url %q is not scheme://host:port", s.url)}
	}
	if base.Scheme == "https" {
		pair, err := tls.LoadX509KeyPair(o.TLSCert, o.TLSKey)
		if err != nil {
			return nil, &session.Error{Code: session.BadRequest, Op: "demo", Err: err, Hint: "an https url needs --tls-cert and --tls-key"}
		}
		s.certificate = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	return base, nil
}

// listenAgain listens at the port of the last start. The first time it tries next, then any; so it does where the port is taken.
func listenAgain(l *ledger, next int, log *slog.Logger) (listeners []net.Listener, err error) {
	old := l.page.Port
	candidates := []int{old, next, 0, 0, 0} // 0: any
	if old == 0 {
		candidates = candidates[1:]
	}
	for _, candidate := range candidates {
		if listeners, err = listenTwice(candidate); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	now := portOf(listeners[0])
	if now == old {
		return listeners, nil
	}
	if old != 0 {
		log.Warn("the demo provider's port is taken: who is signed in must sign in again", "port", old)
	}
	return listeners, l.setPort(now)
}

// listenTwice listens on both of this machine's own addresses, because browsers try either for "localhost". A machine without
// IPv6 has one.
func listenTwice(port int) ([]net.Listener, error) {
	four, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	six, err := net.Listen("tcp", net.JoinHostPort("::1", strconv.Itoa(portOf(four))))
	switch {
	case err == nil:
		return []net.Listener{four, six}, nil
	case errors.Is(err, syscall.EADDRINUSE):
		four.Close()
		return nil, err
	}
	return []net.Listener{four}, nil
}

func (s *sockets) close() {
	for _, group := range [][]net.Listener{s.front, s.provider, s.api, s.attacker, s.baseline} {
		for _, l := range group {
			if l != nil {
				l.Close()
			}
		}
	}
}

// handlers are what serves at the sockets, and what waits for the gateway's own work.
type handlers struct {
	front, provider, api, attacker, baseline http.Handler
	drained                                  func(context.Context) error
}

// serve runs until ctx ends. The front stops first: what it still has in flight needs the others.
func (s *sockets) serve(ctx context.Context, o Options, h handlers, ready func()) error {
	group, ctx := errgroup.WithContext(ctx)
	start := func(handler http.Handler, listeners []net.Listener, secure *tls.Config) *http.Server {
		server := &http.Server{
			Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
			ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		}
		for _, l := range listeners {
			if secure != nil {
				l = tls.NewListener(l, secure)
			}
			group.Go(func() error {
				if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
					return fmt.Errorf("demo: %w", err)
				}
				return nil
			})
		}
		return server
	}
	provider, api := start(h.provider, s.provider, nil), start(h.api, s.api, nil)
	front, attacker, baseline := start(h.front, s.front, s.certificate), start(h.attacker, s.attacker, s.certificate), start(h.baseline, s.baseline, s.certificate)
	group.Go(func() error {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		err := errors.Join(front.Shutdown(stop), attacker.Shutdown(stop), baseline.Shutdown(stop), h.drained(stop), api.Shutdown(stop), provider.Shutdown(stop))
		for _, server := range []*http.Server{front, attacker, baseline, api, provider} {
			server.Close()
		}
		return err
	})
	ready()
	return group.Wait()
}
