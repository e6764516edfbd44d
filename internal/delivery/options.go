package delivery

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"golang.org/x/net/publicsuffix"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

// Options say how the access token reaches the API.
type Options struct {
	Delivery string // "proxy" (default), "cookie", "split" or "memory"
	Domain   string // of the token cookies: the url's host or a parent of it; "": our host alone
	Path     string // of the token cookies; default: "/"
}

// Words are what Options.Delivery may say.
var Words = []string{"proxy", "cookie", "split", "memory"}

// InCookies reports whether the browser gets the token in cookies, which Domain and Path are for.
func (o Options) InCookies() bool { return o.Delivery == "cookie" || o.Delivery == "split" }

// Jar returns jar with the token cookies in it, if there are any.
func (o Options) Jar(jar cookie.Jar) cookie.Jar {
	if !o.InCookies() {
		return jar
	}
	return jar.WithTokens(o.Domain, o.Path)
}

// New returns the delivery that o names, at a gateway of this origin. The jar is that of [Options.Jar]. companion makes the value of
// the cookie beside the token that an API on another host checks CSRF tokens with; nil for none.
func New(o Options, own origin.Origin, jar cookie.Jar, lives session.Options, companion func(*session.Session) string, log *slog.Logger) (session.Delivery, error) {
	if !o.InCookies() && (o.Domain != "" || o.Path != "") {
		return nil, errors.New("domain and path are those of token cookies: they go with cookie and split")
	}
	if o.Domain != "" {
		if err := CheckDomain(own.Host(), o.Domain); err != nil {
			return nil, fmt.Errorf("domain: %w", err)
		}
	}
	if o.Path != "" {
		if err := CheckPath(o.Path); err != nil {
			return nil, fmt.Errorf("path: %w", err)
		}
	}
	switch o.Delivery {
	case "", "proxy":
		return Proxy{}, nil
	case "memory":
		return Memory{}, nil
	case "cookie":
		return &Cookies{
			jar: jar, lives: lives, log: log, companion: companion,
			token: jar.Token(cookie.AccessToken, false), csrf: jar.Token(cookie.CSRF, false),
		}, nil
	case "split":
		return &Cookies{
			jar: jar, lives: lives, log: log, companion: companion, split: true,
			token: jar.Token(cookie.AccessToken, true), signature: jar.Token(cookie.Signature, false), csrf: jar.Token(cookie.CSRF, false),
		}, nil
	}
	return nil, fmt.Errorf("%q is none of %s", o.Delivery, strings.Join(Words, ", "))
}

// CheckDomain says why a cookie set by host cannot be for domain, or should not be: then whoever gets a host below it gets the
// tokens.
func CheckDomain(host, domain string) error {
	switch {
	case strings.HasPrefix(domain, "."):
		return fmt.Errorf("%q begins with a dot; write %s, which means all hosts below it as well", domain, domain[1:])
	case domain != strings.ToLower(domain) || strings.ContainsAny(domain, " \t\r\n/:*;,"):
		return fmt.Errorf("%q is no domain; write it in small letters, without scheme and port", domain)
	case net.ParseIP(domain) != nil:
		return fmt.Errorf("%q is an address; only names have a domain", domain)
	case !strings.Contains(domain, "."):
		return fmt.Errorf("%q has one part; a domain has at least two", domain)
	case host != domain && !strings.HasSuffix(host, "."+domain):
		return fmt.Errorf("%q is neither the url's host %s nor a parent of it; no browser would take the cookies", domain, host)
	}
	if suffix, _ := publicsuffix.PublicSuffix(domain); suffix == domain {
		return fmt.Errorf("anyone can have a host below %q; no browser would take the cookies", domain)
	}
	return nil
}

// CheckPath says why a cookie cannot be for path.
func CheckPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("%q does not begin with a slash", path)
	case len(path) > 1024: // browsers then take the page's own path instead, without a word (RFC 6265bis §5.6)
		return errors.New("it is longer than 1024 bytes")
	case strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(";,?#%\\\"", c) }):
		return fmt.Errorf("%q has characters that the path of a cookie cannot have", path)
	}
	return nil
}
