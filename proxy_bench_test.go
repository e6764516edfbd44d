package cloakroom_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// BenchmarkWarmRequest is one API request of a signed-in browser, and the same through a bare reverse proxy that is tuned alike.
// Only their difference says something: both include the upstream. "make bench" measures the ratio in processes of their own.
func BenchmarkWarmRequest(b *testing.B) {
	answer := []byte(`{"sub":"user-1","name":"Ada User","email":"ada@example.com"}`)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	defer api.Close()
	target, err := url.Parse(api.URL)
	if err != nil {
		b.Fatal(err)
	}
	pool := &benchPool{sync.Pool{New: func() any { return new([32 << 10]byte) }}}
	bare := &httputil.ReverseProxy{
		Rewrite:    func(pr *httputil.ProxyRequest) { pr.SetURL(target); pr.SetXForwarded() },
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true, ResponseHeaderTimeout: 30 * time.Second},
		BufferPool: pool,
	}
	b.Run("bare", func(b *testing.B) { benchmarkRequest(b, bare, "none") })

	gateway, cookie := signedInGateway(b, api.URL)
	b.Run("gateway", func(b *testing.B) { benchmarkRequest(b, gateway, cookie) })
}

// benchmarkRequest calls h as a server would, with what a browser sends.
func benchmarkRequest(b *testing.B, h http.Handler, cookie string) {
	header := http.Header{
		"Accept": {"*/*"}, "Accept-Encoding": {"gzip, deflate, br, zstd"}, "Accept-Language": {"en-US,en;q=0.9"},
		"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}, "Referer": {appURL + "/"},
		"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"},
		"Cookie":     {"theme=dark; __Host-Http-session=" + cookie},
	}
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), "GET", "/api/me", nil)
		r.Header, r.Host = header, "app.example.com"
		w := &discard{header: http.Header{}}
		h.ServeHTTP(w, r)
		if w.status != http.StatusOK {
			b.Fatal(w.status)
		}
	}
}

// discard is a ResponseWriter that costs next to nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) Flush()                      {}

// signedInGateway is a gateway and the ticket of a session there.
func signedInGateway(b *testing.B, upstream string) (gateway *cloakroom.Gateway, ticket string) {
	op := fakeop.New(b)
	store := memory.New()
	gateway, err := cloakroom.New(b.Context(), cloakroom.Config{
		URL: appURL, Keys: []string{cloakroom.NewKey()}, Store: store,
		Providers: map[string]cloakroom.Provider{"main": {Issuer: op.Issuer(), ClientID: fakeop.ClientID, ClientSecret: fakeop.ClientSecret}},
		Routes:    []cloakroom.Route{{Path: "/api/", Upstream: upstream}},
		Observe: cloakroom.Observe{
			Log:     slog.New(slog.DiscardHandler),
			Access:  slog.New(slog.NewJSONHandler(io.Discard, nil)),
			Metrics: prometheus.NewRegistry(),
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	visit := func(path string, cookies ...*http.Cookie) *http.Response {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "app.example.com"
		for name, value := range map[string]string{"Site": "none", "Mode": "navigate", "Dest": "document"} {
			r.Header.Set("Sec-Fetch-"+name, value)
		}
		for _, c := range cookies {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		gateway.ServeHTTP(w, r)
		return w.Result()
	}
	begun := visit("/auth/login")
	to, err := begun.Location()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range visit("/auth/callback?"+op.Visit(to).Encode(), begun.Cookies()...).Cookies() {
		if c.Name == "__Host-Http-session" && c.MaxAge >= 0 {
			ticket = c.Value
		}
	}
	if ticket == "" {
		b.Fatal("not signed in")
	}
	return gateway, ticket
}

type benchPool struct{ pool sync.Pool }

func (b *benchPool) Get() []byte  { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *benchPool) Put(p []byte) { b.pool.Put((*[32 << 10]byte)(p)) }
