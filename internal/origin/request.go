package origin

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// IsNavigation reports whether a person is waiting to see a page: the browser says that it navigates a whole document
// (Sec-Fetch-Mode navigate, Sec-Fetch-Dest document; a frame is none). Where it says neither, a GET or HEAD whose Accept has
// text/html counts. A WebSocket upgrade never does. The method is not looked at otherwise: a form that is sent navigates too.
func IsNavigation(r *http.Request) bool {
	if IsUpgrade(r) {
		return false
	}
	if len(r.Header["Sec-Fetch-Mode"]) > 0 || len(r.Header["Sec-Fetch-Dest"]) > 0 {
		return IsDocument(r)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, accept := range r.Header["Accept"] {
		if strings.Contains(accept, "text/html") {
			return true
		}
	}
	return false
}

// IsDocument reports whether the browser itself says that it navigates a whole document. Unlike [IsNavigation] it takes no
// Accept for an answer, which the script of any site can set.
func IsDocument(r *http.Request) bool {
	return says(r.Header, "Sec-Fetch-Mode", "navigate") && says(r.Header, "Sec-Fetch-Dest", "document") && !IsUpgrade(r)
}

// CrossSiteNavigation reports whether r is a GET of a whole document that a page of another site began. SameSite=Strict
// cookies stay away from such a request, so that the absence of ours says nothing.
func CrossSiteNavigation(r *http.Request) bool {
	return r.Method == http.MethodGet && IsDocument(r) && says(r.Header, "Sec-Fetch-Site", "cross-site")
}

// IsPrefetch reports whether the browser fetches r ahead of time, before the person asked for it: prefetch, prerender, or
// the preview of older browsers. Nothing may begin because of it.
func IsPrefetch(r *http.Request) bool {
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		for _, value := range r.Header[name] {
			for word := range strings.FieldsFuncSeq(value, func(c rune) bool { return c == ',' || c == ';' || c == ' ' }) {
				if strings.EqualFold(word, "prefetch") || strings.EqualFold(word, "prerender") || strings.EqualFold(word, "preview") {
					return true
				}
			}
		}
	}
	return false
}

// NamesThisMachine reports whether a Host header, with or without port, is an address, localhost or a name under it, or absent. A page
// of another site that had its own name point at this machine (DNS rebinding) says that name here: to its browser we are that site.
// No browser leaves Host out, and an address needs no DNS.
func NamesThisMachine(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	_, err := netip.ParseAddr(host)
	return err == nil || host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// IsUpgrade reports whether r asks for a WebSocket over HTTP/1.1 (RFC 6455 §4.1): "upgrade" among the tokens of Connection,
// "websocket" among those of Upgrade, in any case and any line. Browsers can ask for no other upgrade.
func IsUpgrade(r *http.Request) bool {
	return hasToken(r.Header["Upgrade"], "websocket") && hasToken(r.Header["Connection"], "upgrade")
}

func hasToken(values []string, token string) bool {
	for _, value := range values {
		for one := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.Trim(one, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// says reports whether a header is there once, with this value.
func says(h http.Header, name, value string) bool {
	values := h[name]
	return len(values) == 1 && values[0] == value
}
