package gateway

import (
	"bytes"
	"net/http"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// client serves the client's script. Its name has no version, so browsers ask each time and mostly hear that nothing changed.
func (g *Gateway) client(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("ETag", g.Client.ETag)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Resource-Policy", "same-site")
	http.ServeContent(w, r, "client.js", time.Time{}, bytes.NewReader(g.Client.Text))
	return nil
}

// remember has the session's cookies written when the headers go out, from what is known by then.
func (g *Gateway) remember(r *http.Request, s *session.Session) {
	x := telemetry.Of(r)
	x.Session = s.LogID
	x.BeforeHeaders = func(http.Header) { g.Desk.Write(x, r, s) }
}
