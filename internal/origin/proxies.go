package origin

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
)

const (
	maxHops    = 32 // how many entries of a forwarding header are looked at
	maxAddress = 64 // how many bytes an entry may have: more than any address with port
)

// Proxies are the addresses of proxies in front of us whose forwarding headers count. Without any, none counts.
type Proxies []netip.Prefix

// ParseProxies reads addresses and prefixes (10.0.0.0/8, fd00::/8, 192.0.2.7). It refuses what no set of proxies can be:
// everyone (0.0.0.0/0, ::/0), and anything wider than /8 in IPv4 or /7 in IPv6. An IPv4 prefix written as IPv6
// (::ffff:10.0.0.0/104) is the IPv4 prefix.
func ParseProxies(texts []string) (Proxies, error) {
	proxies := make(Proxies, 0, len(texts))
	for _, text := range texts {
		prefix, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("trusted proxy %s: want an address or a prefix such as 10.0.0.0/8", quote(text))
		}
		least := 8
		if prefix.Addr().Is6() {
			least = 7
		}
		if prefix.Bits() < least {
			return nil, fmt.Errorf("trusted proxy %s: wider than /%d, so strangers could write who they are: name the proxies", quote(text), least)
		}
		proxies = append(proxies, prefix.Masked())
	}
	return proxies, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.ContainsRune(text, '/') {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, errors.New("no address")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
		return netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96), nil
	}
	return prefix, nil
}

// Client returns the address that r came from: the peer's, or, if the peer is a trusted proxy, the right-most address of
// X-Forwarded-For that is none. Whatever stands left of that was written by a stranger. An entry that is no address ends the
// search at the proxy that reported it, as do more than 32 entries; so a stranger never chooses the answer. If all are
// trusted proxies it is the left-most.
//
// The address has no zone, and IPv4 inside IPv6 is IPv4. It is the zero Addr if the peer has no IP address (a unix socket).
func (p Proxies) Client(r *http.Request) netip.Addr {
	client := peer(r)
	if !p.contains(client) {
		return client
	}
	for entry, seen := range fromTheRight(r.Header["X-Forwarded-For"]) {
		addr, ok := parseEntry(entry)
		if !ok || seen > maxHops {
			return client
		}
		client = addr
		if !p.contains(client) {
			return client
		}
	}
	return client
}

// Sent reports whether r came from a trusted proxy.
func (p Proxies) Sent(r *http.Request) bool { return p.contains(peer(r)) }

func (p Proxies) contains(addr netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// AddressKey returns what limits count by: the whole address in IPv4, the /64 in IPv6, where one customer has at least that
// much. All requests without an address count as one.
func AddressKey(addr netip.Addr) netip.Prefix {
	addr = normalAddr(addr)
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	key, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return key
}

func peer(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return normalAddr(addr.Addr())
}

// parseEntry reads an address with or without port, as proxies write it: 192.0.2.7, 192.0.2.7:1234, 2001:db8::1,
// [2001:db8::1], [2001:db8::1]:1234.
func parseEntry(entry string) (netip.Addr, bool) {
	if len(entry) > maxAddress {
		return netip.Addr{}, false
	}
	if addr, err := netip.ParseAddr(entry); err == nil {
		return normalAddr(addr), true
	}
	if strings.HasSuffix(entry, "]") {
		entry += ":0"
	}
	addr, err := netip.ParseAddrPort(entry)
	return normalAddr(addr.Addr()), err == nil
}

func normalAddr(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// fromTheRight walks over the entries of a comma-separated header that may have several lines, last entry first, with their
// running number from 1.
func fromTheRight(lines []string) func(yield func(string, int) bool) {
	return func(yield func(string, int) bool) {
		seen := 0
		for i := len(lines) - 1; i >= 0; i-- {
			for rest, more := lines[i], true; more; {
				comma := strings.LastIndexByte(rest, ',')
				entry := rest[comma+1:]
				if more = comma >= 0; more {
					rest = rest[:comma]
				}
				seen++
				if !yield(strings.Trim(entry, " \t"), seen) {
					return
				}
			}
		}
	}
}
