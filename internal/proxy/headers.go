package proxy

import (
	"maps"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// ours reports whether a request header says to an upstream what only a gateway may say. Names with other signs than letters,
// digits and "-" go as well: some servers read "X_User" or "X.User" as "X-User".
func (p *Proxy) ours(name string) bool {
	if harmless(name) {
		return len(p.identity) > 0 && p.identity[name]
	}
	if dropped[name] || p.identity[name] {
		return true
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return true
		}
	}
	for _, prefix := range droppedPrefixes[name[0]&31] {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// forwarded returns the headers of a request that go to an upstream: those in, without what is about the connection (RFC 9110
// §7.6.1) and what is ours, and those of hop, which are about the connection to the upstream. There is room for ours.
func (p *Proxy) forwarded(in, hop http.Header) http.Header {
	const room = 8
	h := make(http.Header, len(in)+room)
	for name, values := range in {
		if !p.ours(name) {
			h[name] = values
		}
	}
	for _, line := range in["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			delete(h, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	maps.Copy(h, hop)
	return h
}

// harmless reports whether a header is one of the commonest of browsers, which need no closer look.
func harmless(name string) bool {
	switch name {
	case "Accept", "Accept-Encoding", "Accept-Language", "Cache-Control", "Content-Length", "Content-Type", "Cookie", "Dnt",
		"If-Modified-Since", "If-None-Match", "Origin", "Pragma", "Priority", "Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile",
		"Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site", "Sec-Fetch-User", "Sec-Gpc",
		"Upgrade-Insecure-Requests", "User-Agent":
		return true
	}
	return false
}

var dropped = set(
	"Authorization", "Forwarded", "Proxy", "True-Client-Ip", "Fastly-Client-Ip", "Fly-Client-Ip",
	"X-Forwarded", "X-Real-Ip", "X-Cluster-Client-Ip", "X-Envoy-External-Address", "X-Azure-Clientip",
	"X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Original-Host", "X-Original-Forwarded-For", "X-Rewrite-Url",
	"X-User", "X-Email", "X-Groups", "X-Webauth-User", "X-Arr-Clientcert", "X-Request-Id",
	"X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
	// About the connection.
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
)

// droppedPrefixes are those of header families, by the last five bits of their first letter.
var droppedPrefixes = byFirstLetter(
	"X-Forwarded-", "X-User-", "X-Auth-", "X-Remote-", "X-Client-", "X-Ssl-", "X-Amzn-Oidc-", "X-Amzn-Mtls-", "X-Ms-Client-Principal",
	"X-Goog-Authenticated-User-", "X-Goog-Iap-", "Remote-", "Ssl-", "Client-Cert", "Cf-Connecting-", "Cf-Access-", "Oidc-",
	"Secure-Session-", "Sec-Session-", "Sec-Secure-Session-",
)

func byFirstLetter(prefixes ...string) (table [32][]string) {
	for _, p := range prefixes {
		table[p[0]&31] = append(table[p[0]&31], p)
	}
	return table
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, name := range names {
		m[name] = true
	}
	return m
}

// headerValue is a claim if a header can carry it as it is, else "": two people must not look like one.
func headerValue(claim string) string {
	if strings.TrimSpace(claim) != claim || strings.ContainsFunc(claim, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return ""
	}
	return claim
}

// forbids reports whether an upstream may not say this to a browser.
func (c *call) forbids(name string) bool {
	switch name {
	case "Clear-Site-Data", "Strict-Transport-Security", "Alt-Svc", "Cloakroom": // they speak for the whole origin, or for us
		return true
	case "Surrogate-Control", "X-Accel-Expires", "Edge-Control": // they tell a shared cache to keep it, over Cache-Control (RFC 9213)
		return c.whose() != nil
	}
	return strings.HasPrefix(name, "Access-Control-") || strings.HasPrefix(name, "Secure-Session-") || strings.HasPrefix(name, "Sec-Session-") ||
		strings.HasSuffix(name, "Cdn-Cache-Control") && c.whose() != nil
}

// scrub takes out of an answer's headers what an upstream may not say.
func (c *call) scrub(h http.Header) {
	c.upstream.proxy.Answers.Jar.DropSet(h)
	for name := range h {
		if c.forbids(name) {
			delete(h, name)
		}
	}
}

// unshared keeps what an API says about the browser's own cache and takes away what it says to caches that people share: an
// answer made for one session must not be served to another (H2).
func unshared(control []string) string {
	kept := []string{"private"}
	for _, line := range control {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.TrimSpace(directive)
			name, _, _ := strings.Cut(strings.ToLower(directive), "=")
			switch strings.TrimSpace(name) {
			case "no-store":
				return "no-store"
			case "", "public", "s-maxage", "private", "proxy-revalidate":
			default:
				kept = append(kept, directive)
			}
		}
	}
	return strings.Join(kept, ", ")
}

// unsharedLine is unshared as a header's value, made once for what APIs mostly say.
func unsharedLine(control []string) []string {
	if len(control) == 1 {
		if line, ok := usual[control[0]]; ok {
			return line
		}
	}
	return []string{unshared(control)}
}

var usual = map[string][]string{
	"no-store": noStore, "no-cache": {"private, no-cache"}, "private": {"private"}, "private, no-cache": {"private, no-cache"},
}

// Shared by all answers; nothing appends to them in place.
var (
	noStore    = []string{"no-store"}
	varyCookie = []string{"Cookie, Origin, Sec-Fetch-Site"} // the session's, and what the guard looks at
	varyBearer = []string{"Cookie, Origin, Sec-Fetch-Site, Authorization"}
)

// finish sets the headers of an answer right before they go out, when nothing can clear them any more: cookies by what is
// known then, and no cache unless the application said so itself. s is nil without a session; optional says that the same
// address answers people with one too.
func (p *Proxy) finish(x *telemetry.Exchange, r *http.Request, s *session.Session, optional bool) {
	h := x.Header()
	if p.transport != nil {
		h["Strict-Transport-Security"] = p.transport
	}
	if s != nil || optional {
		p.guarded(h)
	}
	p.Guard.Share(h, r)
	if s == nil {
		return
	}
	unshare(h)
	p.Desk.Write(x, r, s)
}

// unshare keeps an answer that was made for one person out of caches that people share, and out of all if it says nothing itself.
func unshare(h http.Header) {
	if control, ok := h["Cache-Control"]; ok {
		h["Cache-Control"] = unsharedLine(control)
	} else {
		h["Cache-Control"] = noStore
	}
}

// guarded sets what goes for every answer behind the guard: it depends on what the guard looks at, and no page of another origin
// loads it past CORS (K5), unless the application knows better.
func (p *Proxy) guarded(h http.Header) {
	guard.Vary(h, p.vary)
	if _, ok := h["Cross-Origin-Resource-Policy"]; !ok {
		h["Cross-Origin-Resource-Policy"] = guard.SameOrigin
	}
}
