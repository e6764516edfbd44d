// Package cloakroom keeps OAuth tokens out of browsers: it signs people in with OpenID providers, keeps and renews their
// tokens, gives the browser an HttpOnly cookie that says nothing, and turns that cookie back into "Authorization: Bearer" for
// the APIs behind it.
//
// A [Gateway] is an http.Handler. It can stand in front of whole applications, by its routes, or inside a Go server:
//
//	gw, err := cloakroom.New(ctx, cfg)
//	mux.Handle("/auth/", gw)
//	mux.Handle("/api/", gw.Require(api)) // in the handler: s, _ := cloakroom.FromContext(r.Context())
package cloakroom

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/accounts"
	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/control"
	"github.com/cloakroom-go/cloakroom/internal/gateway"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/internal/proxy"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// Gateway is the whole gateway. It is safe for concurrent use.
type Gateway struct {
	cfg       Config        // defaults filled in
	own       origin.Origin // of cfg.URL
	local     bool          // it is this machine's
	providers map[string]session.Provider
	renewer   *session.Renewer
	endpoints *gateway.Gateway
	proxy     *proxy.Proxy
	live      *proxy.Live
	metrics   *telemetry.Metrics
	guard     *guard.Guard
	ring      *seal.Keyring
	trusted   origin.Proxies
	answers   *answer.Answers
	control   *control.Handler
	people    *accounts.Accounts // nil: there are none
	stop      context.CancelFunc
}

// Session is one person's stay in one browser, as [FromContext] returns it.
type Session = session.Session

// FromContext returns the session of a request that came through [Gateway.Require] or a route. It is shared: do not change it.
func FromContext(ctx context.Context) (*Session, bool) { return session.FromContext(ctx) }

// NewKey returns a fresh random key for Config.Keys.
func NewKey() string { return seal.NewKey() }

// CSRFKey returns the key with which APIs on other hosts check CSRF tokens, in the form that package verify and docs/api.md take. It
// is derived from keys, as in Config.Keys, and opens nothing else.
func CSRFKey(keys []string) (string, error) {
	ring, err := seal.NewKeyring(keys...)
	if err != nil {
		return "", fmt.Errorf("cloakroom: keys: %w", err)
	}
	return guard.FormatKey(guard.Key(ring)), nil
}

// New puts a gateway together. It checks the whole configuration and contacts nobody: a provider that is down now does not
// keep the gateway from starting. Until [Gateway.Close], or until ctx ends, it follows the store's changes and sweeps it.
func New(ctx context.Context, cfg Config) (*Gateway, error) {
	a, err := begin(cfg)
	if err != nil {
		return nil, fmt.Errorf("cloakroom: %w", err)
	}
	ctx, a.stop = context.WithCancel(ctx)
	for _, add := range []func(context.Context) error{a.addProviders, a.addAccounts, a.addGuard, a.addSessions, a.addEndpoints, a.addRoutes} {
		if err := add(ctx); err != nil {
			a.stop()
			return nil, fmt.Errorf("cloakroom: %w", err)
		}
	}
	a.tend(ctx)
	return a.Gateway, nil
}

// ServeHTTP serves our endpoints under the prefix, and the routes everywhere else.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.secureFirst(w, r) {
		return
	}
	if g.endpoints.Serves(r.URL.Path) {
		g.serve(w, r, g.endpoints)
		return
	}
	g.serve(w, r, g.proxy)
}

// secureFirst sends a browser that came over plain http to https before any cookie is set (C13). Only a proxy's word says that
// it did; a browser's own would do no harm, since all it gets is the redirect.
func (g *Gateway) secureFirst(w http.ResponseWriter, r *http.Request) bool {
	if r.TLS != nil || !g.own.Secure() || !strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "http") {
		return false
	}
	w.Header().Set("Connection", "close")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "Please use https.", http.StatusBadRequest) // what a body held has been seen; do not let it be sent again
		return true
	}
	w.Header().Set("Cache-Control", "no-store") // it depends on a header that caches do not know of
	http.Redirect(w, r, g.own.String()+"/"+strings.TrimLeft(r.URL.RequestURI(), "/"), http.StatusFound)
	return true
}

// Require lets only requests with a session through to next, which finds it with [FromContext]. Navigations without one are
// sent to the login, everything else gets 401. The guard, allow, renewal and cookies are those of a route, and so are the headers:
// next gets the access token where an upstream would.
func (g *Gateway) Require(next http.Handler) http.Handler {
	required := g.proxy.Require(next)
	meter := g.metrics.Route("require")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.serve(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			telemetry.Of(r).Route = meter
			required.ServeHTTP(w, r)
		}))
	})
}

// serve counts and logs a request around h.
func (g *Gateway) serve(w http.ResponseWriter, r *http.Request, h http.Handler) {
	x, r, outermost := telemetry.Begin(w, r, requestID)
	if outermost {
		if addr := g.trusted.Client(r); addr.IsValid() {
			x.Address = addr.String()
		}
		defer g.count(x, r)
		g.guard.StrictTransport(x.Header())
	}
	if r.ProtoMajor == 1 && len(r.TransferEncoding) > 0 {
		// It may have had a Content-Length too, which net/http drops without a word, and a proxy in front may have gone by that
		// one: what follows on the connection need not be a request (RFC 9112 §6.1).
		x.Header().Set("Connection", "close")
	}
	if g.local && !origin.NamesThisMachine(r.Host) && !g.trusted.Sent(r) {
		g.answers.Fail(x, r, &session.Error{
			Code: session.WrongHost, Op: "serve", Err: fmt.Errorf("host %.100q, and url is %s", r.Host, g.own),
			Hint: "open " + g.own.String() + ", or set url to what people type; a proxy that sends a name of its own belongs into trusted_proxies",
		})
		return
	}
	h.ServeHTTP(x, r)
}

// requestID names one request in logs and pages. It is no secret: it need only be another each time.
func requestID() string {
	var id [9]byte
	binary.LittleEndian.PutUint64(id[:], rand.Uint64())
	id[8] = byte(rand.Uint32())
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func (g *Gateway) count(x *telemetry.Exchange, r *http.Request) {
	took := time.Since(x.Started)
	name := ""
	if x.Route != nil {
		x.Route.Count(x.Status, took)
		name = x.Route.Name
	}
	if g.cfg.Observe.Access == nil {
		return
	}
	q := telemetry.Request{
		At: x.Started.Add(took), ID: x.ID, Method: r.Method, Path: r.URL.Path, Route: name, Status: x.Status, Bytes: x.Bytes,
		Duration: took, Address: x.Address, Session: x.Session,
	}
	q.Log(g.cfg.Observe.Access.Handler())
}

// ReloadKeys reads the keys anew, by Config.ReadKeys, and takes them while requests go on. Keys that cannot be used are refused as a
// whole, and those from before stay. What came of it is in the log as well.
func (g *Gateway) ReloadKeys(ctx context.Context) error { return g.ring.Reload(ctx) }

// toldKeys says what came of reading the keys anew.
func toldKeys(log *slog.Logger, ring *seal.Keyring, err error) {
	if err != nil {
		log.Error("keys not reloaded, those from before stay", telemetry.AttrError, err.Error(), telemetry.AttrHint, "mend them and reload again")
		return
	}
	var seals, opens []string
	for _, k := range ring.Members() {
		if k.Seals {
			seals = append(seals, k.ID.String())
		} else {
			opens = append(opens, k.ID.String())
		}
	}
	log.Info("keys reloaded", "seals", strings.Join(seals, " "), "opens", strings.Join(opens, " "))
}

// Drain ends the streams through routes, WebSockets with the close code 1001, so that a server can shut down: give it to
// http.Server.RegisterOnShutdown.
func (g *Gateway) Drain() { g.live.Drain() }

// Close drains, waits until no stream, no renewal and no revocation is under way, or ctx ends, and stops following the store.
// Requests must have been drained before: http.Server.Shutdown does that. The store stays open; it is the caller's.
func (g *Gateway) Close(ctx context.Context) error {
	err := errors.Join(g.live.Close(ctx), g.renewer.Close(ctx))
	if g.people != nil {
		err = errors.Join(err, g.people.Close(ctx))
	}
	g.stop()
	return err
}
