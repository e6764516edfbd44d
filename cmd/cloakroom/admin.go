package main

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/internal/origin"
)

// readyWithin bounds how long /readyz asks around.
const readyWithin = 5 * time.Second

// admin is what the admin listener serves.
type admin struct {
	gateway  *cloakroom.Gateway
	draining atomic.Bool
}

func (a *admin) handler(metrics prometheus.Gatherer, profiles bool) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", a.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// onThisMachine keeps pages of other sites out of a listener that only this machine reaches: a browser here would bring them there
// under their own names (DNS rebinding). A listener for other machines goes by names that we cannot know.
func onThisMachine(address net.Addr, h http.Handler) http.Handler {
	if tcp, ok := address.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !origin.NamesThisMachine(r.Host) {
			http.Error(w, "Not under this name: use localhost or the address.", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// finding is a cloakroom.Finding as a line of /readyz.
type finding struct {
	OK      bool   `json:"ok"`
	Subject string `json:"subject"`
	Text    string `json:"text,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// ready answers 200 when the gateway can do its work, else 503: one JSON object a line, each for a part.
func (a *admin) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	found := a.gateway.Ready(ctx)
	if a.draining.Load() {
		found = append(found, cloakroom.Finding{Subject: "process", Text: "is shutting down"})
	}
	status := http.StatusOK
	for _, f := range found {
		if !f.OK {
			status = http.StatusServiceUnavailable
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	lines := json.NewEncoder(w)
	for _, f := range found {
		lines.Encode(finding(f))
	}
}
