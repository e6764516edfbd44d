package gateway

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// handedOut is what a page gets to see of a session's tokens (RFC 6749 §5.1). Nothing is ever added.
type handedOut struct {
	Access  string `json:"access_token"`
	Type    string `json:"token_type"`
	Expires int64  `json:"expires_in"` // seconds, and not longer than the session
}

// token gives the page its access token. Only our own pages and the listed ones get here: the guard has looked, and an answer to
// another origin could not be read. A page that asks for less than was granted never gets more than that, whatever lies here
// (browser-based apps §6.2.2.3).
func (g *Gateway) token(w http.ResponseWriter, r *http.Request) error {
	wanted, err := wantedScope(r)
	if err != nil {
		return err
	}
	s, err := g.Desk.Use(r.Context(), r)
	if err != nil {
		return err
	}
	tokens := s.Grant.Tokens
	if len(wanted) > 0 {
		granted := strings.Fields(tokens.Scope)
		beyond := slices.ContainsFunc(wanted, func(name string) bool { return !slices.Contains(granted, name) })
		less := slices.ContainsFunc(granted, func(name string) bool { return !slices.Contains(wanted, name) })
		switch {
		case beyond:
			return session.Fail(session.BadRequest, "hand out token", "the scope asked for was not granted")
		case less && !g.narrows.Allow(s.ID):
			return session.Fail(session.TooMany, "hand out token", "more than %d narrower tokens for one session in a minute", narrowedEach)
		case less:
			if tokens, err = g.Desk.Narrow(r.Context(), s, strings.Join(wanted, " ")); err != nil {
				return err
			}
		}
	}
	g.remember(r, s)
	return writeJSON(w, g.handOut(s, tokens))
}

// handOut is what the page of s gets to see of tokens.
func (g *Gateway) handOut(s *session.Session, tokens session.Tokens) handedOut {
	end := g.Desk.Ends(s)
	if !tokens.Expires.IsZero() && tokens.Expires.Before(end) {
		end = tokens.Expires
	}
	return handedOut{Access: tokens.Access, Type: "Bearer", Expires: int64(max(time.Until(end), 0) / time.Second)}
}

// mostScope bounds the body of a request for a token, and the names in its scope.
const (
	mostScope = 4 << 10
	mostNames = 64
)

// wantedScope reads which scope a page asks for; none means all. A request that says something in any other way is refused: it would
// get more than it meant.
func wantedScope(r *http.Request) ([]string, error) {
	const op = "read scope"
	if r.URL.RawQuery != "" {
		return nil, session.Fail(session.BadRequest, op, "a query: scope belongs into the body")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, mostScope+1))
	switch {
	case err != nil:
		return nil, session.Fail(session.BadRequest, op, "read the body: %w", err)
	case len(body) > mostScope:
		return nil, session.Fail(session.TooLarge, op, "more than %d bytes", mostScope)
	case len(body) == 0:
		return nil, nil
	}
	scope := ""
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch kind {
	case "application/x-www-form-urlencoded":
		form, err := single(string(body))
		if err != nil {
			return nil, err
		}
		for name := range form {
			if name != "scope" && name != "_csrf" {
				return nil, session.Fail(session.BadRequest, op, "the form has something else than scope")
			}
		}
		scope = form.Get("scope")
	case "application/json":
		var asked struct {
			Scope string `json:"scope"`
		}
		d := json.NewDecoder(bytes.NewReader(body))
		d.DisallowUnknownFields()
		if d.Decode(&asked) != nil || d.Decode(&struct{}{}) != io.EOF {
			return nil, session.Fail(session.BadRequest, op, "the body is not the JSON it should be: an object with scope and nothing else")
		}
		scope = asked.Scope
	default:
		return nil, session.Fail(session.BadRequest, op, "the body is neither a form nor JSON")
	}
	names := strings.Fields(scope)
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) > mostNames || strings.ContainsFunc(scope, func(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }) {
		return nil, session.Fail(session.BadRequest, op, "no scope (RFC 6749 §3.3)")
	}
	return names, nil
}
