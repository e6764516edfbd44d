package proxy

import (
	"net/http"
	"strings"
)

// retryOnce renews the access token when an upstream says that it is not good (RFC 6750 §3.1), and asks once more. Providers
// that tell no lifetime, or revoke early, leave no other way to know.
type retryOnce struct{ next http.RoundTripper }

func (t retryOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusUnauthorized || !saysInvalidToken(res.Header) {
		return res, err
	}
	c := callOf(r)
	if c.session == nil {
		return res, nil
	}
	renewed, err := c.renew(r.Context())
	switch {
	case err != nil && signedOut(err):
		res.Body.Close()
		return nil, err // there is no session any more: our own answer says so, and how to sign in
	case err != nil, !renewed, !repeatable(r):
		return res, nil // nothing new was had, or the request cannot be sent again: the upstream's answer stands
	}
	res.Body.Close()
	again := r.Clone(r.Context())
	if err := c.upstream.proxy.Delivery.Outbound(again, c.outbound()); err != nil {
		return nil, err
	}
	return t.next.RoundTrip(again)
}

func saysInvalidToken(h http.Header) bool {
	for _, challenge := range h["Www-Authenticate"] {
		if strings.Contains(strings.ToLower(challenge), "invalid_token") {
			return true
		}
	}
	return false
}

// repeatable reports whether sending r twice does no more than sending it once (R6).
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return r.Body == nil || r.Body == http.NoBody
	}
	return false
}
