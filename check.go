package cloakroom

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

// Finding is one thing that was looked at.
type Finding struct {
	OK      bool
	Subject string // what was looked at: "store", "provider main", "route /api/"
	Text    string // what was found
	Hint    string // what to do about it; "" when OK
}

// probeTimeout bounds each look at something outside.
const probeTimeout = 10 * time.Second

// Ready looks at what a request needs: the store takes writes, and each provider can be reached. It is made for a readiness
// probe; call it often, the providers are asked every few seconds at most.
func (g *Gateway) Ready(ctx context.Context) []Finding {
	looks := []func(context.Context) Finding{g.lookAtStore}
	for _, name := range sortedNames(g.cfg.Providers) {
		looks = append(looks, func(ctx context.Context) Finding { return g.lookAtProvider(ctx, name) })
	}
	return lookAll(ctx, looks)
}

// Check looks at everything that could be wrong before production shows it: what Ready looks at, the upstreams, the cookies and
// the origins. It contacts provider, store and upstreams, and changes nothing.
func (g *Gateway) Check(ctx context.Context) []Finding {
	looks := []func(context.Context) Finding{g.lookAtURL}
	for _, text := range g.cfg.Guard.Origins {
		looks = append(looks, func(context.Context) Finding { return g.lookAtOrigin(text) })
	}
	for _, r := range g.cfg.Routes {
		if r.Upstream != "" {
			looks = append(looks, func(ctx context.Context) Finding { return lookAtUpstream(ctx, r) })
		}
	}
	return append(g.Ready(ctx), lookAll(ctx, looks)...)
}

func lookAll(ctx context.Context, looks []func(context.Context) Finding) []Finding {
	found := make([]Finding, len(looks))
	var all sync.WaitGroup
	for i, look := range looks {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probeTimeout)
			defer cancel()
			found[i] = look(ctx)
		})
	}
	all.Wait()
	return found
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (g *Gateway) lookAtStore(ctx context.Context) Finding {
	f := Finding{OK: true, Subject: "store", Text: "it can be read and written"}
	pinger, ok := g.cfg.Store.(session.Pinger)
	if !ok {
		f.Text = "it offers no way to ask"
		return f
	}
	if err := pinger.Ping(ctx); err != nil {
		return fault(f.Subject, err, "sessions cannot be opened or begun until the store is back")
	}
	return f
}

func (g *Gateway) lookAtProvider(ctx context.Context, name string) Finding {
	subject := "provider " + name
	if err := g.providers[name].Probe(ctx); err != nil {
		return fault(subject, err, "is the issuer's address right, and can this machine reach it?")
	}
	f := Finding{OK: true, Subject: subject, Text: "metadata and keys of " + g.providers[name].Issuer() + " are sound"}
	if o := g.cfg.Providers[name]; o.Audience == "" && len(o.Resource) == 0 {
		f.Text += "; no audience or resource is set, so many providers issue an opaque access token: set one if the API wants a JWT"
	}
	return f
}

func (g *Gateway) lookAtURL(context.Context) Finding {
	own, err := origin.Parse(g.cfg.URL)
	switch {
	case err != nil:
		return fault("url", err, "write it like https://app.example.com")
	case own.Secure():
		return Finding{OK: true, Subject: "cookies", Text: "__Host-Http- prefix, Secure, HttpOnly, SameSite=" + orStrict(g.cfg.Cookie.SameSite)}
	case own.Loopback():
		return Finding{OK: true, Subject: "cookies", Text: "plain http on this machine: no prefix and no Secure, fit for development only"}
	}
	return Finding{Subject: "cookies", Text: "plain http: everyone on the way can take the session", Hint: "serve the gateway over https"}
}

func orStrict(sameSite string) string {
	if sameSite == "" {
		return "strict"
	}
	return sameSite
}

func (g *Gateway) lookAtOrigin(text string) Finding {
	subject := "origin " + text
	own, err := origin.Parse(g.cfg.URL)
	if err != nil {
		return fault(subject, err, "")
	}
	listed, err := origin.Parse(text)
	if err != nil {
		return fault(subject, err, "write it like https://app.example.com")
	}
	if !origin.SameSite(own, listed) {
		return Finding{
			Subject: subject, Text: "another site than " + own.String() + ": browsers do not send it the session cookie",
			Hint: "put that front end behind the gateway, or on a host of the same site",
		}
	}
	return Finding{OK: true, Subject: subject, Text: "the same site as " + own.String()}
}

func lookAtUpstream(ctx context.Context, r Route) Finding {
	subject := "route " + r.Path
	target, err := url.Parse(r.Upstream)
	if err != nil {
		return fault(subject, err, "write it like http://127.0.0.1:3000")
	}
	host := target.Host
	if target.Port() == "" {
		host = net.JoinHostPort(target.Hostname(), map[string]string{"http": "80", "https": "443"}[target.Scheme])
	}
	var conn net.Conn
	if target.Scheme == "https" {
		conn, err = (&tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12}}).DialContext(ctx, "tcp", host)
	} else {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", host)
	}
	if err != nil {
		return fault(subject, err, "start the upstream, or mend its address")
	}
	conn.Close()
	return Finding{OK: true, Subject: subject, Text: "the upstream " + target.Host + " takes connections"}
}

// fault is a finding that something is wrong. The error's own hint is better than a general one.
func fault(subject string, err error, hint string) Finding {
	if h := session.HintOf(err); h != "" {
		hint = h
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s", probeTimeout)
	}
	return Finding{Subject: subject, Text: strings.TrimSpace(err.Error()), Hint: hint}
}

// secureFirst sends a browser that came over plain http to https before any cookie is set (C13). Only a proxy's word says that
// it did; a browser's own would do no harm, since all it gets is the redirect.
func (g *Gateway) secureFirst(w http.ResponseWriter, r *http.Request) bool {
	if r.TLS != nil || !g.secure || !strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "http") {
		return false
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "Please use https.", http.StatusBadRequest) // what a body held has been seen; do not let it be sent again
		return true
	}
	http.Redirect(w, r, g.cfg.URL+r.URL.RequestURI(), http.StatusMovedPermanently)
	return true
}
