package delivery

import (
	"net/http"

	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

// Memory leaves the access token with the page, which asks for it by POST token and keeps it in a variable. Requests to an API
// bring it as a bearer beside the cookie: a token that only our own pages can have is what keeps the API safe from the requests of
// others, and a session that lives is what makes a copied token worth nothing here.
type Memory struct{ Proxy }

// Word returns "memory".
func (Memory) Word() string { return "memory" }

// Admit wants the access token of s as a bearer, or the one before it: another tab may have renewed it a moment ago. What goes
// upstream is always the current one.
//
// A browser cannot send a header with a WebSocket's handshake. It always sends Origin there, which the guard has compared with ours
// and the listed ones by now, and no page can change either: so the cookie opens one that brings an Origin.
func (Memory) Admit(r *http.Request, s *session.Session) error {
	token, err := issuer.BearerOf(r.Header)
	switch {
	case err != nil:
		return err
	case token == "" && r.Method == http.MethodGet && r.ProtoMajor == 1 && origin.IsUpgrade(r) && len(r.Header["Origin"]) == 1:
		return nil
	case token == "":
		return session.Fail(session.TokenRequired, op, "the request brings no bearer")
	case !s.Holds(token):
		return session.Fail(session.TokenRequired, op, "the bearer is neither the session's access token nor the one before")
	}
	return nil
}
