package telemetry_test

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/telemetry"
)

// The handler is compared with the one that it stands for, on plain and on odd values.
func TestRequest_WritesWhatSlogWrites(t *testing.T) {
	at := time.Date(2026, 2, 3, 4, 5, 6, 7_008_000, time.UTC)
	texts := []string{
		"", "/api/orders", `quo"te`, `back\slash`, "new\nline", "tab\t", "\x00\x7f", "<script>&", "é漢🎫", "\u2028", "bad\xff utf8", strings.Repeat("long", 20_000),
	}
	durations := []time.Duration{0, time.Nanosecond, time.Microsecond, 1234 * time.Microsecond, time.Second, 90 * time.Hour}
	for i, text := range texts {
		q := telemetry.Request{
			At: at, ID: "id", Method: text, Path: text, Route: text, Status: 200 + i, Bytes: int64(i) << 40,
			Duration: durations[i%len(durations)], Address: text, Session: text,
		}
		var got, want bytes.Buffer
		q.Log(telemetry.AccessHandler(&got))
		q.Log(slog.NewJSONHandler(&want, nil))
		if got.String() != want.String() {
			t.Errorf("%.20q:\ngot  %.400s\nwant %.400s", text, got.String(), want.String())
		}
	}
}

// Loggers that were made from it, with attributes of their own, say all they have to say.
func TestRequest_DerivedHandler(t *testing.T) {
	var out bytes.Buffer
	q := telemetry.Request{Status: 200}
	q.Log(slog.New(telemetry.AccessHandler(&out)).With("app", "shop").WithGroup("http").Handler())
	if got := out.String(); !strings.Contains(got, `"app":"shop","http":{`) || !strings.Contains(got, `"status":200`) {
		t.Errorf("wrote %s", got)
	}
}

// Clients write what they like into a path; a record stays one line.
func TestRequest_G2_OneRecordIsOneLine(t *testing.T) {
	var out bytes.Buffer
	q := telemetry.Request{Path: "/\r\n{\"msg\":\"forged\"}\u2028"}
	q.Log(telemetry.AccessHandler(&out))
	if n := strings.Count(out.String(), "\n"); n != 1 || !strings.HasSuffix(out.String(), "}\n") {
		t.Errorf("%d line ends in %q", n, out.String())
	}
}

func TestRequest_AllocatesNothing(t *testing.T) {
	h := telemetry.AccessHandler(io.Discard)
	q := telemetry.Request{At: time.Now(), Path: "/api/orders", Status: 200, Duration: 1234 * time.Microsecond}
	if n := testing.AllocsPerRun(100, func() { q.Log(h) }); n > 0 {
		t.Errorf("%v allocations for a request", n)
	}
}
