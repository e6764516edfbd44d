package guard

import (
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/origin"
)

// PageHeaders sets the headers of an HTML page of our own: nothing inline, nothing from elsewhere, never framed, never stored.
// Scripts, styles, images and fetches come from our own origin. Browsers hold the redirects that answer a form to the page's
// policy too: forms are the origins beside our own where a form of this page may end up.
//
// Referrer-Policy is same-origin, since no-referrer would make the page's own forms say "Origin: null". A page whose URL is a
// secret (the callback) has no form and sets no-referrer instead.
func PageHeaders(h http.Header, forms ...origin.Origin) {
	var action strings.Builder
	for _, form := range forms {
		action.WriteString(" " + form.String())
	}
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"+action.String())
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("Referrer-Policy", "same-origin")
	private(h)
}

// APIHeaders sets the headers of an answer for scripts: a problem, the session as JSON. Only our own origin can load it, and
// nothing comes of opening it as a page.
func APIHeaders(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	private(h)
}

// private is what every answer of ours needs that was made for one person. The same-origin resource policy does not stop a
// listed origin: it asks by CORS, where the policy does not apply (Fetch §3.7).
func private(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	Vary(h)
}

// Vary tells caches what the answer to a guarded request depends on. It adds to what is there.
func Vary(h http.Header) {
	const on = "Cookie, Origin, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest"
	for _, line := range h["Vary"] {
		if line == on {
			return
		}
	}
	h.Add("Vary", on)
}

// StrictTransport sets HSTS for a year, hosts under ours included, when our own origin is https (RFC 6797). It leaves this
// machine's own names alone: there the promise would bind every other program on every port.
func (g *Guard) StrictTransport(h http.Header) {
	if g.own.Secure() && !g.own.Loopback() {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}
