// Package delivery is how the access token reaches the API.
package delivery

import (
	"net/http"

	"github.com/cloakroom-go/cloakroom/session"
)

// Proxy sends the access token upstream as a bearer (RFC 6750 §2.1). The browser never gets it.
type Proxy struct{}

// Outbound sets the Authorization header, or removes it for an anonymous request.
func (Proxy) Outbound(out *http.Request, s *session.Session) error {
	if s == nil {
		delete(out.Header, "Authorization")
		return nil
	}
	out.Header["Authorization"] = session.BearerOf(s)
	return nil
}

// Deliver does nothing: there is nothing that the browser needs.
func (Proxy) Deliver(http.ResponseWriter, *http.Request, *session.Session) {}
