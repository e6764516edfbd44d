// Package origin says where a request came from and where a browser may be sent back to.
//
// Everything it reads was written by a stranger. It compares with what the operator configured, never with what the request
// says of itself, and answers "no" to whatever it does not fully understand.
package origin

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// Origin is a web origin (RFC 6454): scheme, host and port, in one spelling. Two of them are the same origin if and only if
// they are ==. The zero value is no origin.
type Origin struct {
	scheme, host, port string // port is "" where it is the scheme's default; an IPv6 host has no brackets
}

// Parse reads scheme://host[:port], as a browser writes it into an Origin header. Scheme and host may be in capitals and the
// default port may be there; both are normalised. It refuses all else: a path (even "/"), userinfo, a wildcard, "null", a
// scheme other than http and https, a host outside ASCII (internationalised names are given in punycode), a trailing dot,
// and any spelling of an IP address but the usual one, because a browser would rewrite it.
func Parse(text string) (Origin, error) {
	// Looked at first: lower case turns some letters from outside ASCII (the Kelvin sign) into letters of it.
	if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return Origin{}, fmt.Errorf("origin %s: printable ASCII only; write an international name in punycode (xn--…)", quote(text))
	}
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return Origin{}, fmt.Errorf("origin %s: want scheme://host[:port]", quote(text))
	}
	o := Origin{scheme: strings.ToLower(scheme)}
	if o.scheme != "http" && o.scheme != "https" {
		return Origin{}, fmt.Errorf("origin %s: the scheme must be http or https", quote(text))
	}
	if i := strings.IndexAny(rest, "/?#\\"); i >= 0 {
		return Origin{}, fmt.Errorf("origin %s: an origin ends with its host or port: remove %s", quote(text), quote(rest[i:]))
	}
	if strings.ContainsRune(rest, '@') {
		return Origin{}, fmt.Errorf("origin %s: an origin has no user", quote(text))
	}
	host, port, err := splitPort(rest)
	if err == nil {
		o.host, err = normalHost(host)
	}
	if err != nil {
		return Origin{}, fmt.Errorf("origin %s: %w", quote(text), err)
	}
	if port != o.defaultPort() {
		o.port = port
	}
	return o, nil
}

// splitPort cuts off the port, which is a number from 1 to 65535 without leading zeros, or "" where there is none.
func splitPort(authority string) (host, port string, err error) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return authority, "", nil
	}
	host, port = authority[:i], authority[i+1:]
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return "", "", fmt.Errorf("bad port %s", quote(port))
	}
	return host, port, nil
}

func normalHost(host string) (string, error) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		// Browsers write an IPv4 address inside IPv6 in another way than Go does; nobody needs such a host.
		if !ok || err != nil || !addr.Is6() || addr.Is4In6() || addr.Zone() != "" {
			return "", errors.New("bad IPv6 address")
		}
		return addr.String(), nil
	}
	host = strings.ToLower(host)
	if host == "" || len(host) > 253 {
		return "", errors.New("the host must have 1 to 253 characters")
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return "", errors.New("each part of the host must have 1 to 63 characters")
		}
		if strings.ContainsFunc(label, notHost) {
			return "", errors.New("the host may have letters, digits, '-', '_' and '.' only; a wildcard is not possible")
		}
		last = label
	}
	// A browser reads a host whose last part is a number as IPv4, in many notations (0x7f.1 is 127.0.0.1). Only one is ours.
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		if addr, err := netip.ParseAddr(host); err != nil || addr.String() != host {
			return "", errors.New("bad IPv4 address")
		}
	}
	return host, nil
}

func notHost(c rune) bool {
	return !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_')
}

// quote bounds what of a stranger's text reaches an error.
func quote(text string) string {
	const most = 100
	if len(text) > most {
		return strconv.Quote(text[:most]) + "…"
	}
	return strconv.Quote(text)
}

func (o Origin) defaultPort() string {
	if o.scheme == "https" {
		return "443"
	}
	return "80"
}

// String returns o as a browser writes it into an Origin header: lower case, without the default port. The zero value is "".
func (o Origin) String() string {
	if o == (Origin{}) {
		return ""
	}
	host := o.host
	if strings.ContainsRune(host, ':') {
		host = "[" + host + "]"
	}
	if o.port != "" {
		host += ":" + o.port
	}
	return o.scheme + "://" + host
}

// Secure reports whether the scheme is https.
func (o Origin) Secure() bool { return o.scheme == "https" }

// Host returns the host without port; an IPv6 address without brackets.
func (o Origin) Host() string { return o.host }

// Port returns the port's number, also where it is the scheme's default.
func (o Origin) Port() string {
	if o.port == "" && o.scheme != "" {
		return o.defaultPort()
	}
	return o.port
}

// Loopback reports whether the host is this machine to every browser: localhost, a name under it, 127.0.0.0/8 or ::1.
func (o Origin) Loopback() bool {
	addr, err := netip.ParseAddr(o.host)
	return err == nil && addr.IsLoopback() || o.host == "localhost" || strings.HasSuffix(o.host, ".localhost")
}

// IsLocal reports whether our own connection to a host stays on this machine: localhost, 127.0.0.0/8 or ::1. Names under
// localhost are none of these, unlike in [Origin.Loopback]: browsers keep them on the machine, resolvers need not.
func IsLocal(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// SameSite reports whether a browser counts a and b as one site, so that SameSite cookies of the one travel with requests
// from the other: the same scheme, and the same registrable domain by the public suffix list. Ports do not matter. An IP
// address, a single label and a public suffix are each a site of their own.
func SameSite(a, b Origin) bool {
	if a.scheme != b.scheme || a.scheme == "" {
		return false
	}
	return a.host == b.host || site(a.host) != "" && site(a.host) == site(b.host)
}

func site(host string) string {
	if _, err := netip.ParseAddr(host); err == nil {
		return ""
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return ""
	}
	return domain
}
