package telemetry_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/telemetry"
)

// TestAccessHandler_WritesWhatSlogWrites compares it with the handler that it stands for, on plain and on odd values.
func TestAccessHandler_WritesWhatSlogWrites(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7_008_000, time.UTC)
	texts := []string{"", "plain", `quo"te`, `back\slash`, "new\nline", "tab\t", "\x00\x7f", "<script>&", "é漢🎫", "\u2028", "bad\xff utf8", strings.Repeat("long", 20_000)}
	var attrs []slog.Attr
	for _, text := range texts {
		attrs = append(attrs, slog.String("path", text), slog.String(text, "value"))
	}
	for _, n := range []int64{0, -1, 200, math.MaxInt64, math.MinInt64} {
		attrs = append(attrs, slog.Int64("bytes", n))
	}
	for _, f := range []float64{0, 0.001, 1.5, 12.345, 1234567.891, -2.5, 1e20} {
		attrs = append(attrs, slog.Float64("duration_ms", f))
	}
	for name, a := range map[string]slog.Attr{
		"bool": slog.Bool("b", true), "time": slog.Time("t", at), "group": slog.Group("g", slog.Int("n", 1)), "any": slog.Any("a", []int{1}),
		"many": {}, "small": slog.Float64("f", 1e-7), "big": slog.Float64("f", 1e21), "none": slog.Float64("f", math.NaN()), "inf": slog.Float64("f", math.Inf(1)),
	} {
		for _, level := range []slog.Level{slog.LevelInfo, slog.LevelError + 1} {
			record := slog.NewRecord(at, level, "request", 0)
			record.AddAttrs(attrs...)
			if name != "many" {
				record.AddAttrs(a)
			}
			var got, want bytes.Buffer
			if err := telemetry.AccessHandler(&got).Handle(context.Background(), record); err != nil {
				t.Fatal(err)
			}
			if err := slog.NewJSONHandler(&want, nil).Handle(context.Background(), record); err != nil {
				t.Fatal(err)
			}
			if got.String() != want.String() {
				t.Errorf("%s:\ngot  %.300s\nwant %.300s", name, firstDifference(got.String(), want.String()), firstDifference(want.String(), got.String()))
			}
		}
	}
}

// firstDifference is what is left of a from shortly before where b differs.
func firstDifference(a, b string) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return a[max(0, i-20):]
		}
	}
	return a[min(len(a), len(b)):]
}

// TestAccessHandler_Derived is for loggers that were made with attributes of their own.
func TestAccessHandler_Derived(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(telemetry.AccessHandler(&out)).With("app", "shop").WithGroup("http")
	log.Info("request", "status", 200)
	if got := out.String(); !strings.Contains(got, `"app":"shop","http":{"status":200}`) {
		t.Errorf("wrote %s", got)
	}
}

// TestAccessHandler_G2_OneRecordIsOneLine has clients write what they like into a record.
func TestAccessHandler_G2_OneRecordIsOneLine(t *testing.T) {
	var out bytes.Buffer
	record := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	record.AddAttrs(slog.String("path", "/\r\n{\"msg\":\"forged\"}\u2028"))
	if err := telemetry.AccessHandler(&out).Handle(context.Background(), record); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.HasSuffix(out.String(), "}\n") {
		t.Errorf("%d line ends in %q", n, out.String())
	}
}

func TestAccessHandler_AllocatesNothing(t *testing.T) {
	h := telemetry.AccessHandler(discard{})
	record := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	record.AddAttrs(slog.String("path", "/api/orders"), slog.Int("status", 200), slog.Float64("duration_ms", 1.234))
	if n := testing.AllocsPerRun(100, func() { _ = h.Handle(context.Background(), record) }); n > 0 {
		t.Errorf("%v allocations for a record", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
