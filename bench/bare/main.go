// Command bare is what the gateway is measured against: a reverse proxy that only forwards, tuned as the gateway's own is.
//
//	bare http://UPSTREAM
//
// It prints where it listens, for the public and for measurements, as one line of JSON.
package main

import (
	"encoding/json"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/http/pprof"
	"net/url"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// ballast spares the garbage collector most of its cycles, as the gateway's own does.
var ballast = make([]byte, 32<<20)

func main() {
	upstream, err := url.Parse(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	admin := http.NewServeMux()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	admin.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	admin.HandleFunc("/debug/pprof/", pprof.Index)
	admin.HandleFunc("/debug/pprof/profile", pprof.Profile)

	err = json.NewEncoder(os.Stderr).Encode(map[string]string{
		"msg": "serving", "listen": serve(forwarder(upstream)), "admin": serve(admin),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer runtime.KeepAlive(ballast)
	select {} // until killed
}

// forwarder does what cannot be left out, and nothing else.
func forwarder(upstream *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = upstream.Scheme, upstream.Host, upstream.Host
			r.SetXForwarded() // as any proxy in front of an API does
		},
		// From here on as in internal/proxy, which flushes answers that pause by itself, and lets idle connections go sooner.
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			ResponseHeaderTimeout:  30 * time.Second,
			TLSHandshakeTimeout:    10 * time.Second,
			ExpectContinueTimeout:  time.Second,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           1024,
			MaxIdleConnsPerHost:    256,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: 256 << 10,
			DisableCompression:     true,
		},
		BufferPool:    &buffers,
		FlushInterval: 20 * time.Millisecond,
	}
}

var buffers = bufferPool{sync.Pool{New: func() any { return new([32 << 10]byte) }}}

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte  { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *bufferPool) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }

// serve serves h on a free port, with the limits of the gateway's servers, and returns its address.
func serve(h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	go func() { log.Fatal(server.Serve(l)) }()
	return l.Addr().String()
}
