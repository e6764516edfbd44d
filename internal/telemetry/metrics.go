// Package telemetry has every metric and log attribute of the gateway in one list, and counts requests.
package telemetry

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The attributes of the access log, one record for each request with the message "request".
const (
	AttrRequestID = "request_id" // also in error pages, problems and the error log
	AttrMethod    = "method"
	AttrPath      = "path"  // without the query, which may hold a code
	AttrRoute     = "route" // the route's path, or the endpoint's
	AttrStatus    = "status"
	AttrBytes     = "bytes" // of the answer's body
	AttrDuration  = "duration_ms"
	AttrAddress   = "address" // of the client, behind trusted proxies
	AttrSession   = "session" // a keyed hash, also in audit records
)

// The attributes of the error log.
const (
	AttrCode  = "code" // session.Code
	AttrError = "error"
	AttrHint  = "hint"
)

// Metrics counts what the gateway does.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	failures *prometheus.CounterVec
	events   *prometheus.CounterVec
}

// New registers the metrics. A nil registerer is fine: they are then counted and never read.
func New(registerer prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cloakroom_requests_total", Help: "Requests by route and class of status.",
		}, []string{"route", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cloakroom_request_duration_seconds", Help: "Time until a request was answered in full, by route.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"route"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cloakroom_failures_total", Help: "Requests that the gateway itself refused or could not serve, by code.",
		}, []string{"code"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cloakroom_events_total", Help: "Audit events by action: logins, renewals, thefts and the rest.",
		}, []string{"action"}),
	}
	if registerer == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.failures, m.events} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// Failed counts a failure by its code.
func (m *Metrics) Failed(code string) { m.failures.WithLabelValues(code).Inc() }

// Event counts an audit event by its action.
func (m *Metrics) Event(action string) { m.events.WithLabelValues(action).Inc() }

// RouteMeter counts the requests of one route. Its counters are looked up once.
type RouteMeter struct {
	Name     string
	classes  [6]prometheus.Counter
	duration prometheus.Observer
}

var classNames = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Route returns the meter of a route. name comes from the configuration, never from a request.
func (m *Metrics) Route(name string) *RouteMeter {
	meter := &RouteMeter{Name: name, duration: m.duration.WithLabelValues(name)}
	for i, class := range classNames {
		meter.classes[i] = m.requests.WithLabelValues(name, class)
	}
	return meter
}

// Count counts one answered request.
func (m *RouteMeter) Count(status int, took time.Duration) {
	class := status / 100
	if class < 1 || class > 5 {
		class = 0 // hijacked before an answer, or cut off
	}
	if status == http.StatusSwitchingProtocols {
		class = 1
	}
	m.classes[class].Inc()
	m.duration.Observe(took.Seconds())
}
