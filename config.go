package cloakroom

import (
	"log/slog"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/internal/gateway"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/oidc"
	"github.com/cloakroom-go/cloakroom/internal/proxy"
	"github.com/cloakroom-go/cloakroom/internal/storage"
	"github.com/cloakroom-go/cloakroom/session"
)

// The options of the parts, each documented where it is obeyed.
type (
	// Provider is an OpenID provider.
	Provider = oidc.Options
	// Route sends the requests under one path to an upstream or a folder.
	Route = proxy.Route
	// Allow says who may enter.
	Allow = session.Allow
	// SessionOptions are the lifetimes of sessions.
	SessionOptions = session.Options
	// CookieOptions shape the session cookie.
	CookieOptions = storage.Options
	// EndpointOptions shape the endpoints under /auth/.
	EndpointOptions = gateway.Options
	// GuardOptions say which other origins may use the session.
	GuardOptions = guard.Options
)

// What Route.Auth may say.
const (
	AuthRequired = proxy.AuthRequired
	AuthOptional = proxy.AuthOptional
	AuthOff      = proxy.AuthOff
)

// Config is everything a gateway is made of. URL, Keys, Store and one provider are needed; the zero value of the rest is its
// default.
type Config struct {
	URL       string              // what the browser types: scheme, host and port, nothing else; https, but on this machine
	Keys      []string            // secrets of the keyring; the first seals, all open. NewKey makes one
	Store     session.Store       // where sessions rest; the caller closes it after the gateway
	Providers map[string]Provider // by name
	Session   SessionOptions      // zero fields take the defaults
	Cookie    CookieOptions
	Endpoints EndpointOptions
	Guard     GuardOptions
	Routes    []Route
	Trusted   []netip.Prefix // proxies in front of us, whose X-Forwarded-For counts
	Observe   Observe

	// InsecureHTTP allows a URL of plain http on another host than this machine. Everyone on the network can then take
	// sessions over.
	InsecureHTTP bool
}

// Observe says where the gateway tells what it does.
type Observe struct {
	Log     *slog.Logger          // what operators read; default: slog.Default()
	Access  *slog.Logger          // one record for each request; nil: none
	Audit   audit.Sink            // who did what; nil: none
	Metrics prometheus.Registerer // nil: none
}
