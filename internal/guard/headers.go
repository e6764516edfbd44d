package guard

import "net/http"

// APIHeaders sets the headers of an answer for scripts: a problem, the session as JSON. Only our own origin can load it, and
// nothing comes of opening it as a page. The same-origin resource policy does not stop a listed origin: it asks by CORS, where
// the policy does not apply (Fetch §3.7).
func APIHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Add("Vary", "Cookie, Origin, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest") // what the guard looks at
}

// StrictTransport sets HSTS for a year, hosts under ours included, when our own origin is https (RFC 6797). It leaves this
// machine's own names alone: there the promise would bind every other program on every port.
func (g *Guard) StrictTransport(h http.Header) {
	if g.own.Secure() && !g.own.Loopback() {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}
