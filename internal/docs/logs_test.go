package docs

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// What is written has exactly the attributes that the page lists, beside slog's own.
func TestLogs_HaveTheListedAttributes(t *testing.T) {
	var access, failures, events bytes.Buffer
	logger := func(b *bytes.Buffer) *slog.Logger {
		return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	store := memory.New()
	t.Cleanup(func() { store.Close() })
	gw, err := cloakroom.New(t.Context(), cloakroom.Config{
		URL: "https://app.example.com", Keys: []string{cloakroom.NewKey()}, Store: store,
		Providers: map[string]cloakroom.Provider{"main": {Issuer: "https://login.example.com/", ClientID: "app", ClientSecret: "s3cr3t"}},
		Observe:   cloakroom.Observe{Log: logger(&failures), Access: logger(&access)},
	})
	if err != nil {
		t.Fatal(err)
	}
	forged := httptest.NewRequest("POST", "/auth/logout", nil)
	forged.Header.Set("Origin", "https://evil.example")
	forged.Header.Set("Sec-Fetch-Site", "cross-site")
	gw.ServeHTTP(httptest.NewRecorder(), forged)
	audit.Log(logger(&events)).Record(t.Context(), audit.Event{
		Time: time.Now(), Action: audit.Login, Session: "x", Provider: "x", Issuer: "x", Subject: "x", Address: "x", RequestID: "x", Reason: "x",
	})

	groups := constants(t, "internal/telemetry/metrics.go")
	for _, log := range []struct {
		name string
		text []byte
		want []string
	}{
		{"access", access.Bytes(), values(groups[0].list)},
		{"audit", events.Bytes(), values(eventFields(t))},
		{"error", failures.Bytes(), append(values(groups[1].list), "request_id", "method", "path")},
	} {
		var record map[string]any
		if err := json.Unmarshal(log.text, &record); err != nil {
			t.Errorf("%s log: %v in %s", log.name, err, log.text)
			continue
		}
		want := append([]string{slog.LevelKey, slog.MessageKey, slog.TimeKey}, log.want...)
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(record)); !slices.Equal(got, slices.Compact(want)) {
			t.Errorf("%s log has %v, the page lists %v", log.name, got, slices.Compact(want))
		}
	}
}

// The examples on the page are such records, too. An audit record leaves out what does not apply.
func TestLogs_ExamplesAreRecords(t *testing.T) {
	examples := fences(t, "docs/logs.md", "json")
	if len(examples) != 2 {
		t.Fatalf("docs/logs.md has %d examples, this test knows of two", len(examples))
	}
	own := []string{slog.LevelKey, slog.MessageKey, slog.TimeKey}
	for i, listed := range [][]string{values(constants(t, "internal/telemetry/metrics.go")[0].list), values(eventFields(t))} {
		var record map[string]any
		if err := json.Unmarshal([]byte(examples[i].text), &record); err != nil {
			t.Fatal(err)
		}
		for name := range record {
			if !slices.Contains(append(listed, own...), name) {
				t.Errorf("docs/logs.md:%d: %s is not listed", examples[i].line, name)
			}
		}
		if i == 0 && len(record) != len(listed)+len(own) {
			t.Errorf("docs/logs.md:%d: %d attributes, %d are listed", examples[i].line, len(record), len(listed)+len(own))
		}
	}
}

func values(list []constant) (names []string) {
	for _, c := range list {
		names = append(names, c.value)
	}
	return names
}
