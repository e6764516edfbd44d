package gateway

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// view is what the page may know of its session.
type view struct {
	Authenticated   bool           `json:"authenticated"`
	User            map[string]any `json:"user,omitempty"`
	ExpiresAt       *time.Time     `json:"expires_at,omitempty"`
	IdleExpiresAt   *time.Time     `json:"idle_expires_at,omitempty"`
	AccessExpiresAt *time.Time     `json:"access_expires_at,omitempty"`
	CSRFToken       string         `json:"csrf_token,omitempty"`
	Delivery        string         `json:"delivery"` // so that the client knows how the token reaches the API
}

// session tells the page whom it has before it. Whoever is not signed in gets an answer too, not an error.
func (g *Gateway) session(w http.ResponseWriter, r *http.Request) error {
	s, err := g.Desk.Look(r.Context(), r)
	switch session.CodeOf(err) {
	case "":
		g.remember(r, s)
	case session.None, session.Expired, session.Ended, session.Stolen:
	default:
		return err
	}
	return writeJSON(w, g.view(s))
}

func (g *Gateway) view(s *session.Session) view {
	if s == nil {
		return view{Delivery: g.Delivery.Word()}
	}
	// The subject is always there: without it the client could not tell one person from the next.
	v := view{Authenticated: true, User: map[string]any{"sub": s.Grant.Subject}, ExpiresAt: seconds(s.Life.Absolute), IdleExpiresAt: seconds(g.Desk.Ends(s)), Delivery: g.Delivery.Word(), CSRFToken: g.Guard.Token(s)}
	for _, name := range g.options.Claims {
		if claim, ok := s.Grant.Claims[name]; ok {
			v.User[name] = claim
		}
	}
	if !s.Grant.Tokens.Expires.IsZero() {
		v.AccessExpiresAt = seconds(s.Grant.Tokens.Expires)
	}
	return v
}

func seconds(t time.Time) *time.Time {
	t = t.UTC().Truncate(time.Second)
	return &t
}

// refresh renews the access token on the page's word, and gives the browser again what the delivery keeps there, also where it did
// not look as if that was missing: it is for requests that do not come by here. For the same reason it counts as activity.
func (g *Gateway) refresh(w http.ResponseWriter, r *http.Request) error {
	s, err := g.Desk.Use(r.Context(), r)
	if err != nil {
		return err
	}
	renewed, err := g.Desk.Renew(r.Context(), s)
	if err != nil {
		return err
	}
	x := telemetry.Of(r)
	x.Session = renewed.LogID
	x.BeforeHeaders = func(http.Header) {
		g.Desk.Write(x, r, renewed)
		g.Desk.Deliver(x, r, renewed)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func writeJSON(w http.ResponseWriter, v any) error { return writeAs(w, "application/json", v) }

func writeAs(w http.ResponseWriter, kind string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return &session.Error{Code: session.Internal, Op: "encode answer", Err: err}
	}
	w.Header().Set("Content-Type", kind)
	_, _ = w.Write(append(text, '\n')) // the client has gone if this fails
	return nil
}
