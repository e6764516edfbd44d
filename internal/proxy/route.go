package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/cloakroom-go/cloakroom/internal/files"
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
	case r.Auth == AuthOff && r.Allow != nil:
		return fail("allow needs a session, and auth is off")
	case r.Timeout < 0:
		return fail("the timeout is negative")
	}
	for header := range r.Identity {
		if !httpguts.ValidHeaderFieldName(header) || forbiddenIdentity[http.CanonicalHeaderKey(header)] {
			return fail("identity: %q cannot carry a claim", header)
		}
	}
	return nil
}

// forbiddenIdentity are headers that mean something to HTTP itself.
var forbiddenIdentity = map[string]bool{
	"Authorization": true, "Connection": true, "Content-Length": true, "Cookie": true, "Host": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true, "Forwarded": true, "X-Forwarded-For": true,
	"X-Forwarded-Host": true, "X-Forwarded-Proto": true, "X-Real-Ip": true, "X-Request-Id": true,
}

// table finds routes by path: the exact one, else the longest prefix that ends in a slash.
type table struct {
	exact    map[string]*route
	prefixes []*route // longest first
}

func (t *table) add(r *route) error {
	if t.exact == nil {
		t.exact = map[string]*route{}
	}
	if t.exact[r.Path] != nil {
		return fmt.Errorf("route %q is there twice", r.Path)
	}
	t.exact[r.Path] = r
	if strings.HasSuffix(r.Path, "/") {
		t.prefixes = append(t.prefixes, r)
		slices.SortStableFunc(t.prefixes, func(a, b *route) int { return len(b.Path) - len(a.Path) })
	}
	return nil
}

func (t *table) match(path string) *route {
	if r := t.exact[path]; r != nil {
		return r
	}
	for _, r := range t.prefixes {
		if strings.HasPrefix(path, r.Path) {
			return r
		}
	}
	return nil
}
