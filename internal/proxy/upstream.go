package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// upstream forwards the requests of one route to its API.
type upstream struct {
	proxy    *Proxy
	route    *route
	target   *url.URL
	base     string // of the target's path, without a slash at its end
	strip    string // what is taken off a request's path, likewise
	identity []claimHeader
	reverse  httputil.ReverseProxy
}

// claimHeader is a header that carries a claim.
type claimHeader struct{ name, claim string }

func (p *Proxy) newUpstream(m *route) (*upstream, error) {
	target, err := url.Parse(m.Upstream)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" ||
		target.User != nil || target.RawQuery != "" || target.Fragment != "" {
		return nil, fmt.Errorf("route %q: the upstream is not http(s)://host[:port][/path]", m.Path)
	}
	u := &upstream{proxy: p, route: m, target: target, base: strings.TrimSuffix(target.Path, "/")}
	if m.StripPrefix {
		u.strip = strings.TrimSuffix(m.Path, "/")
	}
	for header, claim := range m.Identity {
		u.identity = append(u.identity, claimHeader{http.CanonicalHeaderKey(header), claim})
	}
	u.reverse = httputil.ReverseProxy{
		Rewrite:        rewrite,
		Transport:      retryOnce{newTransport(m.Timeout)},
		ModifyResponse: modify,
		ErrorHandler:   fail,
		BufferPool:     &buffers,
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
		ExpectContinueTimeout:  time.Second, // a refused upload is then not sent
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           1024,
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        4 * time.Second, // servers close theirs after 5 s and more; a POST that is on its way then would be lost
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true, // bytes pass as they are
	}
}

var buffers = bufferPool{sync.Pool{New: func() any { return new([32 << 10]byte) }}}

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte  { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *bufferPool) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }

// serve forwards one request.
func (u *upstream) serve(x *telemetry.Exchange, r *http.Request, s *session.Session) {
	c := &call{Exchange: x, upstream: u, in: r, session: s}
	if err := c.address(r.Context()); err != nil {
		u.proxy.turnAway(x, r, err)
		return
	}
	if !c.takeBody() {
		return
	}
	if isSocket(r) {
		c.serveSocket()
		return
	}
	if s == nil && c.body != nil {
		c.serveUpload()
		return
	}
	c.forward(r.Context())
}

// rewrite makes the request that the upstream sees. Its own headers go in last, so that a client's "Connection: Authorization"
// cannot take them away.
func rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	c := callOf(out)
	u, p := c.upstream, c.upstream.proxy
	u.address(out)
	out.Header = p.forwarded(c.in.Header, out.Header)
	h := out.Header
	out.Trailer = nil
	p.Answers.Jar.Strip(h)
	own := []string{c.ID, c.Address}
	h["X-Request-Id"] = own[0:1:1]
	if c.Address != "" {
		h["X-Forwarded-For"] = own[1:2:2]
	}
	h["X-Forwarded-Host"] = p.host
	h["X-Forwarded-Proto"] = p.proto
	// The delivery cannot fail for a session that is alive; if one ever does, no token goes along.
	if err := p.Delivery.Outbound(out, c.outbound()); err != nil {
		delete(h, "Authorization")
	}
	if c.bearer != nil {
		h["Authorization"] = []string{"Bearer " + c.bearer.Tokens.Access}
	}
	for _, i := range u.identity {
		value := ""
		if grant := c.whose(); grant != nil {
			value = headerValue(grant.Claim(i.claim))
		}
		h[i.name] = []string{value}
	}
}

// isSocket reports whether r may become a WebSocket (RFC 6455 §4.1).
func isSocket(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && r.ProtoMinor >= 1 && origin.IsUpgrade(r)
}

// address turns a request's URL into the upstream's. What the client encoded stays encoded.
func (u *upstream) address(out *http.Request) {
	to := out.URL
	to.Scheme, to.Host, out.Host = u.target.Scheme, u.target.Host, u.target.Host
	if u.strip != "" {
		to.Path = withSlash(strings.TrimPrefix(to.Path, u.strip))
		if raw, ok := strings.CutPrefix(to.RawPath, u.strip); ok {
			to.RawPath = withSlash(raw)
		} else {
			to.RawPath = "" // the prefix itself was encoded: the usual form will do
		}
	}
	if u.base != "" {
		if to.RawPath != "" {
			to.RawPath = (&url.URL{Path: u.base}).EscapedPath() + to.RawPath
		}
		to.Path = u.base + to.Path
	}
}

func withSlash(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return "/" + path
}

// public is the reverse of address for what an upstream says of itself: browsers cannot follow its own name, and need not
// learn it (P7). Addresses elsewhere stay as they are.
func (u *upstream) public(location string) string {
	to, err := url.Parse(location)
	if err != nil || !strings.EqualFold(to.Host, u.target.Host) {
		return location
	}
	to.Scheme, to.Host, to.User = "", "", nil
	path := to.EscapedPath()
	if below, ok := strings.CutPrefix(path, (&url.URL{Path: u.base}).EscapedPath()); ok && (below == "" || below[0] == '/') {
		path = u.strip + withSlash(below)
	}
	to.Path, to.RawPath = "", ""
	return "/" + strings.TrimLeft(path, "/") + to.String() // "//" would name another host
}

// modify takes out of an answer what only the gateway may say to a browser (P9, K4).
func modify(res *http.Response) error {
	c := callOf(res.Request)
	if res.StatusCode == http.StatusSwitchingProtocols {
		if _, asked := res.Request.Header["Upgrade"]; !asked {
			return errors.New("the upstream switched protocols unasked")
		}
	}
	c.trailers = res.ContentLength < 0 || res.ProtoMajor > 1
	c.length = res.ContentLength
	c.answer = res.Body
	h := res.Header
	c.scrub(h)
	for _, name := range [...]string{"Location", "Content-Location"} {
		if locations, ok := h[name]; ok {
			h[name] = []string{c.upstream.public(locations[0])}
		}
	}
	if kind := h["Content-Type"]; c.unwatch == nil && res.StatusCode == http.StatusOK && len(kind) > 0 && isStream(kind[0]) {
		over, end, err := c.watch(c.in.Context())
		if err != nil {
			return err
		}
		c.breakOff(over, end)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		// Moved, for the reverse proxy would copy each value. Those of ours that are there by now an upstream cannot say. Without a
		// Content-Type the reverse proxy does not know of event streams either, which call.Write flushes as it does all that goes on.
		maps.Copy(c.Header(), h)
		clear(h)
	}
	return nil
}

// isStream reports whether answers of this type go on for as long as someone listens.
func isStream(contentType string) bool {
	contentType, _, _ = strings.Cut(contentType, ";")
	contentType = strings.ToLower(strings.TrimSpace(contentType))
	return streams[contentType] || strings.HasPrefix(contentType, "application/grpc")
}

var streams = set(
	"text/event-stream", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/json-seq",
	"application/stream+json", "multipart/x-mixed-replace", "multipart/mixed",
)
