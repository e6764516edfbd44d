package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	introspectPath = "introspect"
	revokePath     = "revoke"
)

// clientAuth is how an API proves who it is (RFC 6749 §2.3.1).
var clientAuth = []string{"client_secret_basic", "client_secret_post"}

// introspect tells an API what a token is good for (RFC 7662 §2). One that is not good is not explained.
func (g *Gateway) introspect(w http.ResponseWriter, r *http.Request) error {
	token, err := g.asked(w, r, "introspect token")
	if err != nil || token == "" {
		return err
	}
	claims, err := g.Accounts.Introspect(r.Context(), token)
	if err != nil {
		return err
	}
	if claims == nil {
		claims = map[string]any{"active": false}
	}
	return writeJSON(w, claims)
}

// revokeToken ends a token (RFC 7009 §2). One that is none is over already.
func (g *Gateway) revokeToken(w http.ResponseWriter, r *http.Request) error {
	token, err := g.asked(w, r, "revoke token")
	if err != nil || token == "" {
		return err
	}
	return g.Accounts.RevokeToken(r.Context(), token)
}

// asked returns the token that an API asks about. "": the answer is written, in the words of RFC 6749 §5.2, which are what libraries
// look for.
func (g *Gateway) asked(w http.ResponseWriter, r *http.Request, op string) (string, error) {
	refuse := func(status int, code string, err error) (string, error) {
		g.Answers.Note(r, err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code}) // the client has gone if this fails
		return "", nil
	}
	form, err := readForm(r, op)
	if err != nil {
		return refuse(http.StatusBadRequest, "invalid_request", err)
	}
	id, secret, err := clientOf(r, form, op)
	if err != nil {
		return refuse(http.StatusBadRequest, "invalid_request", err)
	}
	if !g.Accounts.KnowsAPI(id, secret) {
		g.record(r, audit.Event{Action: audit.Refused, Provider: accounts.Name, Issuer: g.Accounts.Issuer(), Reason: "client"})
		w.Header().Set("WWW-Authenticate", `Basic realm="tokens", charset="UTF-8"`)
		return refuse(http.StatusUnauthorized, "invalid_client", session.Fail(session.NotAllowed, op, "no API of accounts.introspection has this client_id and secret"))
	}
	token := form.Get("token")
	if token == "" {
		return refuse(http.StatusBadRequest, "invalid_request", session.Fail(session.BadRequest, op, "no token in the form"))
	}
	return token, nil
}

// clientOf reads who asks. Both parts of Basic are form-encoded before they are put together (RFC 6749 §2.3.1); they may come in one
// way only.
func clientOf(r *http.Request, form url.Values, op string) (id, secret string, err error) {
	basicID, basicSecret, basic := r.BasicAuth()
	if !basic {
		return form.Get("client_id"), form.Get("client_secret"), nil
	}
	if form.Has("client_secret") || len(r.Header["Authorization"]) > 1 {
		return "", "", session.Fail(session.BadRequest, op, "two secrets: one in Authorization, and another")
	}
	id, err1 := url.QueryUnescape(basicID)
	secret, err2 := url.QueryUnescape(basicSecret)
	if err1 != nil || err2 != nil {
		return "", "", session.Fail(session.BadRequest, op, "Authorization is not form-encoded")
	}
	return id, secret, nil
}
