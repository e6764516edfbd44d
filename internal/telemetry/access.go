package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"strconv"
	"sync"
	"time"
)

// Request is what the access log says of one request.
type Request struct {
	At       time.Time // when it was answered
	ID       string
	Method   string
	Path     string
	Route    string
	Status   int
	Bytes    int64
	Duration time.Duration
	Address  string
	Session  string
}

// Log writes q to h as one record with the message "request".
func (q *Request) Log(h slog.Handler) {
	if a, ok := h.(*accessHandler); ok {
		a.write(q)
		return
	}
	if !h.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	record := slog.NewRecord(q.At, slog.LevelInfo, "request", 0)
	record.AddAttrs(
		slog.String(AttrRequestID, q.ID), slog.String(AttrMethod, q.Method), slog.String(AttrPath, q.Path),
		slog.String(AttrRoute, q.Route), slog.Int(AttrStatus, q.Status), slog.Int64(AttrBytes, q.Bytes),
		slog.Float64(AttrDuration, q.milliseconds()), slog.String(AttrAddress, q.Address), slog.String(AttrSession, q.Session))
	_ = h.Handle(context.Background(), record) // whoever writes the log sees that it fails; the request is answered
}

func (q *Request) milliseconds() float64 { return float64(q.Duration.Microseconds()) / 1000 }

// AccessHandler is slog.NewJSONHandler for the access log: the same lines, each in one call of w. It writes a [Request] without
// making a record of it, which was the dearest part of a request.
func AccessHandler(w io.Writer) slog.Handler {
	return &accessHandler{Handler: slog.NewJSONHandler(w, nil), w: w}
}

type accessHandler struct {
	slog.Handler // for all that is no Request
	w            io.Writer
	mu           sync.Mutex
	line         []byte // of the request at hand
}

func (h *accessHandler) write(q *Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := append(h.line[:0], `{"time":"`...)
	b = q.At.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"INFO","msg":"request","`+AttrRequestID+`":`...)
	b = appendText(b, q.ID)
	b = append(b, `,"`+AttrMethod+`":`...)
	b = appendText(b, q.Method)
	b = append(b, `,"`+AttrPath+`":`...)
	b = appendText(b, q.Path)
	b = append(b, `,"`+AttrRoute+`":`...)
	b = appendText(b, q.Route)
	b = append(b, `,"`+AttrStatus+`":`...)
	b = strconv.AppendInt(b, int64(q.Status), 10)
	b = append(b, `,"`+AttrBytes+`":`...)
	b = strconv.AppendInt(b, q.Bytes, 10)
	b = append(b, `,"`+AttrDuration+`":`...)
	b = strconv.AppendFloat(b, q.milliseconds(), 'f', -1, 64)
	b = append(b, `,"`+AttrAddress+`":`...)
	b = appendText(b, q.Address)
	b = append(b, `,"`+AttrSession+`":`...)
	b = appendText(b, q.Session)
	b = append(b, '}', '\n')
	if h.line = b; cap(b) > 64<<10 {
		h.line = nil // one long path must not be kept for ever
	}
	_, _ = h.w.Write(b) // as in Log
}

// appendText appends a string as JSON.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return appendOdd(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// appendOdd is appendText for strings that need escapes.
func appendOdd(b []byte, s string) []byte {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always encoded
	return append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
}
