package verify

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/session"
)

// row is how one code is answered.
type row struct {
	status int
	title  string
	bearer string // the error of RFC 6750 §3.1; "" for none
}

// rows are the codes that a verifier has; any other is a fault of ours.
var rows = map[session.Code]row{
	session.None:            {http.StatusUnauthorized, "There is no access token", ""},
	session.TokenInvalid:    {http.StatusUnauthorized, "This access token is no good here", "invalid_token"},
	session.BadRequest:      {http.StatusBadRequest, "Which access token is meant cannot be told", "invalid_request"},
	session.BadMethod:       {http.StatusMethodNotAllowed, "Not this way", ""},
	session.CrossSite:       {http.StatusForbidden, "Another site asked for this, so it was not done", ""},
	session.NotAllowed:      {http.StatusForbidden, "This access token does not allow it", "insufficient_scope"},
	session.ProviderDown:    {http.StatusServiceUnavailable, "Nobody can say now whether this access token is good", ""},
	session.ProviderRefused: {http.StatusBadGateway, "Nobody can say whether this access token is good", ""},
	session.ProviderLied:    {http.StatusBadGateway, "Nobody can say whether this access token is good", ""},
	session.Internal:        {http.StatusInternalServerError, "Something went wrong", ""},
}

// fail answers a request that ended in err, as RFC 6750 §3 and RFC 9457 have it. The error itself goes to the log.
func (v *Verifier) fail(w http.ResponseWriter, r *http.Request, err error, from place, scopes []string) {
	code := session.CodeOf(err)
	row, ok := rows[code]
	if !ok {
		code, row = session.Internal, rows[session.Internal]
	}
	v.note(r, code, row, err)
	h := w.Header()
	if row.status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	if row.status == http.StatusUnauthorized || row.bearer != "" {
		h.Set("WWW-Authenticate", challenge(row.bearer, scopes))
	}
	// The client of the gateway's pages then knows what to do: sign in or renew, fetch another token to bring, or ask for the CSRF token of
	// the session that is there now.
	switch {
	case v.browser != nil && code == session.CrossSite:
		h.Set("Cloakroom", "cross-site")
	case v.browser == nil || row.status != http.StatusUnauthorized:
	case from == inHeader:
		h.Set("Cloakroom", "token-required")
	default:
		h.Set("Cloakroom", "login-required")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(row.status)
	if r.Method != http.MethodHead {
		_ = json.NewEncoder(w).Encode(problem{"urn:cloakroom:" + string(code), row.title, row.status}) // the client has gone if this fails
	}
}

type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
}

// challenge is the value of WWW-Authenticate. Who brought nothing is told no error (RFC 6750 §3.1).
func challenge(code string, scopes []string) string {
	var parts []string
	if code != "" {
		parts = append(parts, `error="`+code+`"`)
	}
	if len(scopes) > 0 {
		parts = append(parts, `scope="`+strings.Join(scopes, " ")+`"`)
	}
	return strings.TrimSpace("Bearer " + strings.Join(parts, ", "))
}

func (v *Verifier) note(r *http.Request, code session.Code, row row, err error) {
	level := slog.LevelDebug
	switch {
	case row.status >= 500:
		level = slog.LevelError
	case row.status != http.StatusUnauthorized:
		level = slog.LevelWarn
	}
	if !v.log.Enabled(r.Context(), level) {
		return
	}
	// The names are those of the gateway's log. The query may hold secrets of the application.
	attrs := []slog.Attr{slog.String("code", string(code)), slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("error", err.Error())}
	if hint := session.HintOf(err); hint != "" {
		attrs = append(attrs, slog.String("hint", hint))
	}
	v.log.LogAttrs(r.Context(), level, "request refused", attrs...)
}
