package telemetry

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"time"
)

// Exchange is one request and its answer as the gateway sees it: a ResponseWriter that knows what was answered, and the place
// where the parts on the way leave what the access log should say.
type Exchange struct {
	http.ResponseWriter
	ID      string
	Address string // of the client, behind trusted proxies; "" if it cannot be told
	Started time.Time
	Route   *RouteMeter
	Session string // LogID, "" for none
	Back    string // where the person wants to be once a sign-in that failed is tried again; "" when nobody knows
	Status  int    // 0: nothing was answered
	Bytes   int64

	// Call is for whoever forwards the request: the hooks of httputil.ReverseProxy find it through the request.
	Call any

	// BeforeHeaders is called once, right before the final headers go out: not for 1xx answers. httputil.ReverseProxy empties
	// the header map after an upstream's 1xx, so whatever was set before would be lost.
	BeforeHeaders func(h http.Header)
}

type exchangeKey struct{}

// Begin returns the exchange for w, and r with the exchange in its context. outermost says that it is the request's first: only
// then is the request to be counted and logged.
func Begin(w http.ResponseWriter, r *http.Request, id func() string) (e *Exchange, _ *http.Request, outermost bool) {
	if e, ok := w.(*Exchange); ok {
		return e, r, false
	}
	outer := Of(r)
	e = &Exchange{ResponseWriter: w}
	if outer != nil {
		e.ID, e.Address, e.Started, e.Route = outer.ID, outer.Address, outer.Started, outer.Route
	} else {
		e.ID, e.Started = id(), time.Now()
	}
	return e, r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e)), outer == nil
}

// Of returns the exchange that r belongs to, or nil.
func Of(r *http.Request) *Exchange {
	e, _ := r.Context().Value(exchangeKey{}).(*Exchange)
	return e
}

// WriteHeader sends the headers. Informational answers pass as they are.
func (e *Exchange) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		e.ResponseWriter.WriteHeader(status)
		return
	}
	e.final(status)
	e.ResponseWriter.WriteHeader(status)
}

func (e *Exchange) final(status int) {
	if e.Status != 0 {
		return
	}
	e.Status = status
	if e.BeforeHeaders != nil {
		e.BeforeHeaders(e.Header())
	}
}

func (e *Exchange) Write(p []byte) (int, error) {
	if e.Status == 0 {
		e.final(http.StatusOK)
	}
	n, err := e.ResponseWriter.Write(p)
	e.Bytes += int64(n)
	return n, err
}

// FlushError sends what is buffered, headers first. It is here, and not left to Unwrap, because a flush may be what sends the
// headers.
func (e *Exchange) FlushError() error {
	if e.Status == 0 {
		e.final(http.StatusOK)
	}
	return http.NewResponseController(e.ResponseWriter).Flush()
}

// Flush is FlushError for those who ask for an http.Flusher.
func (e *Exchange) Flush() { _ = e.FlushError() }

// Hijack hands the connection over, for a WebSocket. Whoever takes it sends the headers himself, so this is their last moment.
func (e *Exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(e.ResponseWriter).Hijack()
	if err == nil {
		e.final(http.StatusSwitchingProtocols)
	}
	return conn, buffered, err
}

// Unwrap is for http.ResponseController.
func (e *Exchange) Unwrap() http.ResponseWriter { return e.ResponseWriter }
