package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"
)

// AccessHandler writes records to w as slog.NewJSONHandler does, each in one call. It is for the access log, where the general
// handler was the dearest part of a request: it writes strings and numbers itself and leaves the rest to the other.
func AccessHandler(w io.Writer) slog.Handler {
	return &accessHandler{Handler: slog.NewJSONHandler(w, nil), w: w}
}

type accessHandler struct {
	slog.Handler // for what is rare
	w            io.Writer
	mu           sync.Mutex
	line         []byte // of the record at hand
}

func (h *accessHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.PC != 0 || r.Time.IsZero() {
		return h.Handler.Handle(ctx, r)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	b := append(h.line[:0], `{"time":"`...)
	b = r.Time.Round(0).AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, r.Level.String()...)
	b = append(b, `","msg":`...)
	b = appendText(b, r.Message)
	plain := true
	r.Attrs(func(a slog.Attr) bool {
		b = appendText(append(b, ','), a.Key)
		b = append(b, ':')
		switch a.Value.Kind() {
		case slog.KindString:
			b = appendText(b, a.Value.String())
		case slog.KindInt64:
			b = strconv.AppendInt(b, a.Value.Int64(), 10)
		case slog.KindFloat64:
			f := a.Value.Float64()
			b = strconv.AppendFloat(b, f, 'f', -1, 64)
			plain = f == 0 || math.Abs(f) >= 1e-6 && math.Abs(f) < 1e21 // others are written with an exponent, or not at all
		default:
			plain = false
		}
		return plain
	})
	b = append(b, '}', '\n')
	if h.line = b; cap(b) > 64<<10 {
		h.line = nil // one long path must not be kept for ever
	}
	if !plain {
		return h.Handler.Handle(ctx, r)
	}
	_, err := h.w.Write(b)
	return err
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
