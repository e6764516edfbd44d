package proxy

import (
	"io"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// retryOnce renews the access token when an upstream says that it is not good (RFC 6750 §3.1), and asks once more. Providers
// that tell no lifetime, or revoke early, leave no other way to know.
type retryOnce struct {
	proxy *Proxy
	next  http.RoundTripper
}

func (t retryOnce) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err != nil || res.StatusCode != http.StatusUnauthorized || !saysInvalidToken(res.Header) {
		return res, err
	}
	s, ok := session.FromContext(r.Context())
	if !ok {
		return res, nil
	}
	renewed, err := t.proxy.Desk.Renew(r.Context(), s)
	// The upstream's own answer stands when nothing new was had, or the request cannot be sent again.
	if err != nil || renewed.Grant.Tokens.Access == s.Grant.Tokens.Access || !repeatable(r) {
		return res, nil
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10)) // so that the connection can be used again
	res.Body.Close()
	again := r.Clone(r.Context())
	if err := t.proxy.Delivery.Outbound(again, renewed); err != nil {
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
