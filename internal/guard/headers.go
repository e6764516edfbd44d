package guard

import "net/http"

// APIHeaders sets the headers of an answer for scripts: a problem, the session as JSON. Only our own origin can load it, and
// nothing comes of opening it as a page. The same-origin resource policy does not stop a listed origin: it asks by CORS, where
// the policy does not apply (Fetch §3.7).
func APIHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h["Cross-Origin-Resource-Policy"] = SameOrigin
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	Vary(h, varyAPI)
}

// What the guard looks at: it answers the same address otherwise for another origin, or another way to ask (X11).
var varyAPI = []string{"Cookie, Origin, Sec-Fetch-Site, Sec-Fetch-Mode, Sec-Fetch-Dest"}

// SameOrigin is a Cross-Origin-Resource-Policy: no page of another origin may load an answer past CORS.
var SameOrigin = []string{"same-origin"}

// StrictTransport sets HSTS for a year, hosts under ours included, when our own origin is https (RFC 6797). It leaves this
// machine's own names alone: there the promise would bind every other program on every port.
func (g *Guard) StrictTransport(h http.Header) {
	if g.own.Secure() && !g.own.Loopback() {
		h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	}
}
