package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/files"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// newFiles serves a folder.
func (p *Proxy) newFiles(m *route) (http.Handler, error) {
	handler, err := files.New(m.Files, m.File)
	if err != nil {
		return nil, fmt.Errorf("route %q: %w", m.Path, err)
	}
	strip := strings.TrimSuffix(m.Path, "/")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s, ok := session.FromContext(r.Context()); ok {
			x := telemetry.Of(r)
			x.BeforeHeaders = func(h http.Header) { p.finish(x, r, h, s) }
		}
		if strip != "" {
			http.StripPrefix(strip, handler).ServeHTTP(w, r)
			return
		}
		handler.ServeHTTP(w, r)
	}), nil
}

// upstream forwards the requests of one route to its API.
type upstream struct {
	proxy   *Proxy
	route   *route
	target  *url.URL
	strip   string
	forward httputil.ReverseProxy
}

func (p *Proxy) newUpstream(m *route) (http.Handler, error) {
	target, err := url.Parse(m.Upstream)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" ||
		target.User != nil || target.RawQuery != "" || target.Fragment != "" {
		return nil, fmt.Errorf("route %q: the upstream is not http(s)://host[:port][/path]", m.Path)
	}
	u := &upstream{proxy: p, route: m, target: target}
	if m.StripPrefix {
		u.strip = strings.TrimSuffix(m.Path, "/")
	}
	u.forward = httputil.ReverseProxy{
		Rewrite:        u.rewrite,
		Transport:      retryOnce{proxy: p, next: newTransport(m.Timeout)},
		ModifyResponse: u.modify,
		ErrorHandler:   u.fail,
		BufferPool:     &buffers,
		FlushInterval:  -1, // streams declare lengths too; a buffered answer gains nothing from waiting
		ErrorLog:       slog.NewLogLogger(p.Answers.Log.Handler(), slog.LevelDebug),
	}
	return u, nil
}

// newTransport is what talks to an upstream: TLS 1.2 or better, verified; redirects are the client's to follow.
func newTransport(timeout time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:            (&net.Dialer{Timeout: min(timeout, 10*time.Second), KeepAlive: 30 * time.Second}).DialContext,
		ResponseHeaderTimeout:  timeout,
		TLSHandshakeTimeout:    10 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // bytes pass as they are
	}
}

var buffers = bufferPool{sync.Pool{New: func() any { return new([32 << 10]byte) }}}

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte  { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *bufferPool) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if u.route.MaxBody > 0 && r.Body != nil && r.Body != http.NoBody {
		if r.ContentLength > u.route.MaxBody {
			u.proxy.Answers.Fail(w, r, session.Fail(session.TooLarge, "forward", "%d bytes, the route takes %d", r.ContentLength, u.route.MaxBody))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, u.route.MaxBody)
	}
	s, _ := session.FromContext(r.Context())
	x := telemetry.Of(r)
	x.BeforeHeaders = func(h http.Header) { u.proxy.finish(x, r, h, s) }
	if s != nil && origin.IsUpgrade(r) {
		u.serveSocket(x, r, s)
		return
	}
	u.forward.ServeHTTP(w, r)
}

// serveSocket forwards a WebSocket, which ends with its session: the page is told first, then the upstream is let go.
func (u *upstream) serveSocket(x *telemetry.Exchange, r *http.Request, s *session.Session) {
	over, end := u.proxy.Live.Watch(r.Context(), s)
	defer end()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	w := &socketWriter{Exchange: x}
	context.AfterFunc(over, func() {
		if context.Cause(over) == errSessionOver {
			w.goodbye()
		}
		cancel()
	})
	u.forward.ServeHTTP(w, r.WithContext(ctx))
}

// rewrite makes the request that the upstream sees. It runs after hop-by-hop headers are gone, so that a client's
// "Connection: Authorization" cannot take ours away.
func (u *upstream) rewrite(pr *httputil.ProxyRequest) {
	out, in := pr.Out, pr.In
	path := out.URL.Path
	if u.strip != "" {
		path = "/" + strings.TrimPrefix(strings.TrimPrefix(path, u.strip), "/")
		out.URL.RawPath = ""
	}
	out.URL.Scheme, out.URL.Host = u.target.Scheme, u.target.Host
	if base := strings.TrimSuffix(u.target.Path, "/"); base != "" || u.strip != "" {
		out.URL.Path, out.URL.RawPath = base+path, ""
	}
	out.Host = u.target.Host

	h := out.Header
	for name := range h {
		if u.proxy.ours(name) {
			delete(h, name)
		}
	}
	if !origin.IsUpgrade(in) { // WebSockets only: "Upgrade: h2c" would take the connection out of our hands
		delete(h, "Upgrade")
		delete(h, "Connection")
	}
	u.proxy.Answers.Jar.Strip(h)
	h["X-Forwarded-For"] = []string{u.proxy.Answers.Address(in)}
	h["X-Forwarded-Host"] = u.proxy.host
	h["X-Forwarded-Proto"] = u.proxy.proto
	if x := telemetry.Of(in); x != nil {
		h["X-Request-Id"] = []string{x.ID}
	}
	s, _ := session.FromContext(in.Context())
	// The delivery cannot fail for a session that is alive; if one ever does, no token goes along.
	if err := u.proxy.Delivery.Outbound(out, s); err != nil {
		delete(h, "Authorization")
	}
	for header, claim := range u.route.Identity {
		value := ""
		if s != nil {
			value = headerValue(s.Grant.Claim(claim))
		}
		h[http.CanonicalHeaderKey(header)] = []string{value}
	}
}

// ours reports whether a header says to an upstream what only a gateway may say. Names with an underscore go as well: some
// servers read "X_User" as "X-User".
func (p *Proxy) ours(name string) bool {
	return dropped[name] || p.identity[name] || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-User-") ||
		strings.HasPrefix(name, "X-Auth-Request-") || strings.IndexByte(name, '_') >= 0
}

var dropped = set(
	"Authorization", "Forwarded", "X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Rewrite-Url", "X-Real-Ip",
	"X-Client-Ip", "X-Cluster-Client-Ip", "True-Client-Ip", "Cf-Connecting-Ip", "X-User", "X-Email", "X-Remote-User", "Remote-User",
	"X-Ssl-Client-Cert", "Ssl-Client-Cert", "X-Client-Cert", "Client-Cert", "X-Http-Method", "X-Http-Method-Override",
	"X-Method-Override", "X-Request-Id", "Sec-Secure-Session-Id", "Secure-Session-Response", "Proxy",
)

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

// headerValue makes a claim fit for a header: what could end a line or is not text is left out.
func headerValue(claim string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, claim)
}

// modify takes out of an answer what only the gateway may say to a browser (P9, K4).
func (u *upstream) modify(res *http.Response) error {
	h := res.Header
	u.proxy.Answers.Jar.DropSet(h)
	for name := range h {
		if undeliverable[name] || strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	s, ok := session.FromContext(res.Request.Context())
	if !ok {
		return nil
	}
	if control, ok := h["Cache-Control"]; ok {
		h["Cache-Control"] = []string{unshared(control)}
	}
	if strings.HasPrefix(h.Get("Content-Type"), "text/event-stream") {
		res.Body = u.proxy.Live.Body(res, s)
	}
	return nil
}

// undeliverable are headers that speak for the whole origin, or for us.
var undeliverable = set(
	"Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Secure-Session-Registration", "Secure-Session-Challenge", "Cloakroom",
)

// unshared keeps what an API says about the browser's own cache and takes away what it says to caches that people share: an
// answer made for one session must not be served to another (H2).
func unshared(control []string) string {
	kept := []string{}
	for _, line := range control {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.TrimSpace(directive)
			name, _, _ := strings.Cut(strings.ToLower(directive), "=")
			switch name {
			case "no-store":
				return "no-store"
			case "", "public", "s-maxage", "private", "proxy-revalidate":
			default:
				kept = append(kept, directive)
			}
		}
	}
	return strings.Join(append([]string{"private"}, kept...), ", ")
}

// fail answers when an upstream could not.
func (u *upstream) fail(w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	var timeout net.Error
	code, hint := session.UpstreamDown, "is the upstream of route "+u.route.Path+" running at "+u.target.Host+"?"
	switch {
	case errors.As(err, &tooLarge):
		code, hint = session.TooLarge, ""
	case r.Context().Err() == context.Canceled:
		return // the client has gone, or the session of a stream ended: nobody reads an answer
	case errors.As(err, &timeout) && timeout.Timeout():
		code, hint = session.UpstreamSlow, ""
	}
	u.proxy.Answers.Fail(w, r, &session.Error{Code: code, Op: "forward to " + u.target.Host, Err: err, Hint: hint})
}
