// Package delivery is how the access token reaches the API.
package delivery

import (
	"net/http"

	"github.com/cloakroom-go/cloakroom/session"
)

// Proxy sends the access token upstream as a bearer (RFC 6750 §2.1). The browser never gets it.
type Proxy struct{}

// Word returns "proxy".
func (Proxy) Word() string { return "proxy" }

// Outbound sets the Authorization header, or removes it for an anonymous request.
func (Proxy) Outbound(out *http.Request, s *session.Session) error {
	if s == nil {
		delete(out.Header, "Authorization")
		return nil
	}
	out.Header["Authorization"] = session.BearerOf(s)
	return nil
}

// Delivered reports true: there is nothing that the browser needs.
func (Proxy) Delivered(*http.Request, *session.Session) bool { return true }

// Deliver does nothing.
func (Proxy) Deliver(http.ResponseWriter, *http.Request, *session.Session) {}
