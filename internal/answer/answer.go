// Package answer is the one place that turns an error into a response: status, words, log and metric.
package answer

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// bodyPatience is how long a refused request may take to send the rest of its body.
const bodyPatience = 5 * time.Second

// LoginRequired is the value of the header Cloakroom on our own 401, which tells it from an API's.
const LoginRequired = "login-required"

// TokenRequired is that value where the person is signed in and only the access token did not come along: POST token has it.
const TokenRequired = "token-required"

// CrossSite is that value on the guard's 403: a page whose CSRF token is that of an older session asks for the current one.
const CrossSite = "cross-site"

// Answers writes what is not an ordinary response: refusals, errors, and the ways to the login.
type Answers struct {
	Prefix  string // where the endpoints live
	Jar     cookie.Jar
	Pages   *ui.Pages
	Log     *slog.Logger
	Metrics *telemetry.Metrics
}

// Note logs an error that does not stop the request.
func (a *Answers) Note(r *http.Request, err error) {
	code := session.CodeOf(err)
	a.log(r, requestID(r), code, row{status: http.StatusBadRequest}, err)
}

func requestID(r *http.Request) string {
	if e := telemetry.Of(r); e != nil {
		return e.ID
	}
	return ""
}

// Fail answers a request that ended in err. The error itself goes to the log and never into the response.
func (a *Answers) Fail(w http.ResponseWriter, r *http.Request, err error) {
	code := session.CodeOf(err)
	row, ok := rows[code]
	if !ok {
		code, row = session.Internal, rows[session.Internal]
	}
	id := requestID(r)
	a.log(r, id, code, row, err)
	// The server reads on for the rest of a body before it answers; whoever sends none must not keep the connection.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyPatience))
	a.Metrics.Failed(string(code))

	h := w.Header()
	h.Set("Cache-Control", "no-store")
	if row.status == http.StatusServiceUnavailable || row.status == http.StatusTooManyRequests {
		h.Set("Retry-After", RetryAfter(err))
	}
	navigation := origin.IsNavigation(r)
	switch {
	case row.login && navigation:
		if !a.Bounce(w, r) {
			http.Redirect(w, r, a.LoginURL(returnPath(r)), redirectStatus(r))
		}
	case navigation && code == session.NotAllowed:
		a.Pages.Forbidden(w, ui.ForbiddenPage{
			RequestID: id, Home: "/",
			SignIn: a.Prefix + "login?" + url.Values{"return_to": {a.back(r)}, "prompt": {"select_account"}}.Encode(),
		})
	case navigation:
		page := ui.ErrorPage{Title: row.title, Text: row.text + stepOf(err), RequestID: id, Home: "/"}
		if row.retry {
			page.TryAgain = a.retryURL(r)
		}
		a.Pages.Error(w, row.status, page)
	default:
		a.problem(w, r, code, row, id)
	}
}

// RetryAfter is the header of that name for an answer to err: whole seconds.
func RetryAfter(err error) string {
	wait := session.WaitOf(err)
	if wait <= 0 {
		wait = 5 * time.Second
	}
	return strconv.Itoa(int((wait + time.Second - 1) / time.Second))
}

// log writes an error where an operator looks: a fault as such, a refusal as a line for those who look closer.
func (a *Answers) log(r *http.Request, id string, code session.Code, row row, err error) {
	level := slog.LevelDebug
	switch {
	case row.status >= 500:
		level = slog.LevelError
	case row.status != http.StatusUnauthorized && row.status != http.StatusNotFound && row.status != http.StatusMethodNotAllowed:
		level = slog.LevelWarn
	}
	if !a.Log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String(telemetry.AttrRequestID, id), slog.String(telemetry.AttrCode, string(code)),
		slog.String(telemetry.AttrMethod, r.Method), slog.String(telemetry.AttrPath, r.URL.Path),
		slog.String(telemetry.AttrError, err.Error()),
	}
	if hint := session.HintOf(err); hint != "" {
		attrs = append(attrs, slog.String(telemetry.AttrHint, hint))
	}
	a.Log.LogAttrs(r.Context(), level, "request failed", attrs...)
}

// problem answers script and machines (RFC 9457). Its type ends in the code, for programs to tell problems apart.
func (a *Answers) problem(w http.ResponseWriter, r *http.Request, code session.Code, row row, id string) {
	h := w.Header()
	body := struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		LoginURL  string `json:"login_url,omitempty"`
		RequestID string `json:"request_id,omitempty"`
	}{Type: "urn:cloakroom:" + string(code), Title: row.title, Status: row.status, Detail: row.text, RequestID: id}
	if row.login {
		body.LoginURL = a.Prefix + "login"
		h.Set("Cloakroom", LoginRequired)
	}
	if c, ok := challenges[code]; ok {
		if c.authenticate != "" {
			h.Set("WWW-Authenticate", c.authenticate)
		}
		if c.cloakroom != "" {
			h.Set("Cloakroom", c.cloakroom)
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		text = []byte(`{}`)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(row.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(text) // the client has gone if this fails
	}
}

// Bounce sends a navigation that came from another site, without a session cookie, to the same address once more from within
// our own origin: a SameSite=Strict cookie stays at home on the first one. It reports whether it has answered.
func (a *Answers) Bounce(w http.ResponseWriter, r *http.Request) bool {
	if !origin.CrossSiteNavigation(r) {
		return false
	}
	if a.Jar.CarriesSession(r) {
		return false
	}
	a.Pages.Continue(w, returnPath(r))
	return true
}

// LoginURL is where a person signs in and comes back to returnTo from.
func (a *Answers) LoginURL(returnTo string) string {
	return a.Prefix + "login?" + url.Values{"return_to": {returnTo}}.Encode()
}

// retryURL is where "try again" leads: to a new login for our own endpoints, to the same address for everything else.
func (a *Answers) retryURL(r *http.Request) string {
	if strings.HasPrefix(r.URL.Path, a.Prefix) {
		return a.LoginURL(a.back(r))
	}
	return returnPath(r)
}

// back is where the person of a request wanted to be. An endpoint's own address is no such place, and may hold a code.
func (a *Answers) back(r *http.Request) string {
	if !strings.HasPrefix(r.URL.Path, a.Prefix) {
		return returnPath(r)
	}
	if e := telemetry.Of(r); e != nil && e.Back != "" {
		return e.Back
	}
	return "/"
}

// returnPath is the address of r on our own origin, and the start page for one that cannot be repeated. Empty path elements
// at its beginning would name another host.
func returnPath(r *http.Request) string {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "/"
	}
	return "/" + strings.TrimLeft(r.URL.RequestURI(), "/")
}

func redirectStatus(r *http.Request) int {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return http.StatusFound
	}
	return http.StatusSeeOther // never 307: a body must not travel on (RFC 9700 §4.12)
}
