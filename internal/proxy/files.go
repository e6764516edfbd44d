package proxy

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/cloakroom-go/cloakroom/internal/files"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// folder serves the files of one route.
type folder struct {
	proxy    *Proxy
	optional bool
	handler  http.Handler
}

func (p *Proxy) newFolder(m *route) (*folder, error) {
	options := m.File
	options.Private = options.Private || m.Auth != AuthOff
	handler, err := files.New(m.Files, options)
	if err != nil {
		return nil, fmt.Errorf("route %q: %w", m.Path, err)
	}
	f := &folder{proxy: p, optional: m.Auth == AuthOptional, handler: handler}
	if strip := strings.TrimSuffix(m.Path, "/"); strip != "" {
		f.handler = http.StripPrefix(strip, handler)
	}
	return f, nil
}

func (f *folder) serve(x *telemetry.Exchange, r *http.Request, s *session.Session) {
	x.BeforeHeaders = func(http.Header) { f.proxy.finish(x, r, s, f.optional) }
	f.handler.ServeHTTP(x, r)
}
