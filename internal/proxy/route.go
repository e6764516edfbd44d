package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/cloakroom-go/cloakroom/internal/files"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

// Auth says whether a route needs a session.
type Auth string

// The values of Auth. The zero value is AuthRequired.
const (
	AuthRequired Auth = "required" // 401, or the login for a navigation, without a session
	AuthOptional Auth = "optional" // with a session the token goes along, without one the request goes on as anonymous
	AuthOff      Auth = "off"      // the session is not looked at, no token goes along
)

// Route sends the requests under one path somewhere. Exactly one of Upstream and Files is set.
type Route struct {
	Path        string            // "/api/" and all below it, or exactly "/health"; the longest match wins
	Upstream    string            // http(s)://host[:port][/base]
	Files       string            // a folder of static files
	Auth        Auth              // default: required
	Methods     []string          // nil: all but TRACE and CONNECT
	StripPrefix bool              // forward the path without Path
	Timeout     time.Duration     // until the upstream's answer begins; default 30 s
	MaxBody     int64             // bytes a request may carry; default 32 MiB, -1: no limit
	Identity    map[string]string // header → claim; a client's copies are dropped, absent claims are sent empty
	Allow       *session.Allow    // narrows the gateway's own
	Bearer      Bearer            // BearerAccept: an access token opens it as well, without a session
	Audience    string            // of the upstream: the token that goes there is for it alone, and one that comes by Bearer must be for it
	File        files.Options     // how Files are served
}

// check refuses a route that cannot be served as it stands.
func (r *Route) check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("route %q: "+format, append([]any{r.Path}, args...)...)
	}
	switch {
	case !strings.HasPrefix(r.Path, "/"):
		return fail("the path does not begin with a slash")
	case (r.Upstream == "") == (r.Files == ""):
		return fail("give it either an upstream or files")
	case r.Auth != AuthRequired && r.Auth != AuthOptional && r.Auth != AuthOff:
		return fail("auth is %q, not one of required, optional, off", r.Auth)
	case r.Auth == AuthOff && len(r.Identity) > 0:
		return fail("identity needs a session, and auth is off")
	case r.Bearer != "" && r.Bearer != BearerAccept:
		return fail("bearer is %q, not accept", r.Bearer)
	case r.Bearer == BearerAccept && r.Audience == "":
		return fail("bearer needs an audience: only a token for this API may open it")
	case r.Bearer == BearerAccept && (r.Upstream == "" || r.Auth == AuthOff):
		return fail("bearer is for an upstream that looks at who comes; files do not, and auth off neither")
	case r.Audience != "" && (r.Upstream == "" || r.Auth == AuthOff):
		return fail("audience is for an upstream that gets the session's token; files do not, and auth off neither")
	case r.Auth != AuthRequired && r.Allow != nil:
		return fail("allow needs auth required: with %s, whoever may not enter has only to sign out", r.Auth)
	case !origin.CleanPath(&http.Request{URL: &url.URL{Path: r.Path}}):
		return fail("no request gets there: paths have no empty or dot elements, no backslash and no semicolon")
	case r.Timeout < 0:
		return fail("the timeout is negative")
	}
	if err := CheckAudience(r.Audience); err != nil {
		return fail("audience: %w", err)
	}
	for _, method := range r.Methods {
		if !httpguts.ValidHeaderFieldName(method) || strings.ToUpper(method) != method || method == http.MethodTrace || method == http.MethodConnect {
			return fail("methods: %q is not one that can be forwarded; names are in capitals", method)
		}
	}
	names := map[string]bool{}
	for header := range r.Identity {
		name := http.CanonicalHeaderKey(header)
		if !CanCarryClaim(header) {
			return fail("identity: %q cannot carry a claim", header)
		}
		if names[name] {
			return fail("identity: %q is there twice", name)
		}
		names[name] = true
	}
	return nil
}

// mostAudience bounds what an API is called, in bytes.
const mostAudience = 512

// CheckAudience says why an API cannot be called so.
func CheckAudience(name string) error {
	if len(name) > mostAudience {
		return fmt.Errorf("%d bytes are too many; %d are the most", len(name), mostAudience)
	}
	return nil
}

// CanCarryClaim reports whether a route may put a claim into this header. It may not where the header means something to HTTP or
// to the guard of an upstream, or where we set it to something else.
func CanCarryClaim(header string) bool {
	name := http.CanonicalHeaderKey(header)
	return httpguts.ValidHeaderFieldName(header) && !notForClaims[name] && !strings.HasPrefix(name, "Sec-")
}

var notForClaims = set(
	"Authorization", "Connection", "Content-Length", "Content-Type", "Content-Encoding", "Cookie", "Expect", "Host", "Keep-Alive",
	"Origin", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Range", "Referer", "Set-Cookie", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "X-Csrf-Token", "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "X-Request-Id",
)

// table finds routes by path: the exact one, else the longest prefix that ends in a slash.
type table struct {
	exact    map[string]*route
	folded   map[string]string // paths by their lower case, without the slash at the end
	prefixes []*route          // longest first
}

func (t *table) add(r *route) error {
	if t.exact == nil {
		t.exact, t.folded = map[string]*route{}, map[string]string{}
	}
	if t.exact[r.Path] != nil {
		return fmt.Errorf("route %q is there twice", r.Path)
	}
	t.exact[r.Path] = r
	bare := strings.TrimSuffix(r.Path, "/")
	t.folded[strings.ToLower(bare)] = bare
	if strings.HasSuffix(r.Path, "/") {
		t.prefixes = append(t.prefixes, r)
		slices.SortStableFunc(t.prefixes, func(a, b *route) int { return len(b.Path) - len(a.Path) })
	}
	return nil
}

// match finds the route of r. bare says that r reads the folder of a prefix by its name alone: /app, and the route is /app/.
func (t *table) match(r *http.Request) (m *route, bare bool) {
	path := r.URL.Path
	if m := t.exact[path]; m != nil {
		return m, false
	}
	// Many upstreams take /keys/ for /keys: a rule for the one must not be left by writing the other.
	plain := strings.TrimSuffix(path, "/")
	if m := t.exact[plain]; m != nil {
		return m, false
	}
	if known, ok := t.folded[strings.ToLower(plain)]; ok && known != plain {
		return nil, false // see otherCase
	}
	for _, m := range t.prefixes {
		if strings.HasPrefix(path, m.Path) {
			return m, false
		}
		if len(path)+1 == len(m.Path) && strings.HasPrefix(m.Path, path) {
			return m, r.Method == http.MethodGet || r.Method == http.MethodHead
		}
		if otherCase(path, m.Path) {
			return nil, false
		}
	}
	return nil, false
}

// otherCase reports whether path is below prefix but for the case of its letters. Upstreams that do not care for case would
// serve it, past the rules of that route.
func otherCase(path, prefix string) bool {
	return len(path) >= len(prefix) && strings.EqualFold(path[:len(prefix)], prefix)
}
