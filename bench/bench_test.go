package main

import (
	"context"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/store/postgres/postgrestest"
)

// TestRun_PrintsItsFigures runs the whole benchmark for a moment: both programs, the login, every kind of line. What the numbers
// are is not a test's business, on machines that do other things besides.
func TestRun_PrintsItsFigures(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the benchmark reads the CPU time of other processes, which it can on Linux only")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // it compiles the program
	defer cancel()
	var out strings.Builder
	all := os.Getenv("TEST_POSTGRES") == postgrestest.Required // as make test sets it
	if err := run(ctx, options{rounds: 2, requests: 40, concurrency: 4, inPackage: all}, &out); err != nil {
		t.Fatal(err)
	}
	lines := []string{"cpu-ratio mint N quartiles N N range N N rounds 1", "speed-ratio import N quartiles N N range N N rounds 1"}
	if !all {
		t.Log("NOT RUN: mint and import, for which more has to be compiled; make test runs them")
		lines = nil
	}
	const number = `(\d+(?:\.\d+)?)`
	for _, line := range append(lines,
		"cpu-ratio warm-ticket N quartiles N N range N N rounds 2",
		"cpu-ratio sealed N quartiles N N range N N rounds 2",
		"cpu-ratio sealed-over-short N quartiles N N range N N rounds 2",
		"cpu-ratio cookie N quartiles N N range N N rounds 2",
		"cpu-ratio split N quartiles N N range N N rounds 2",
		"cpu-ratio token N quartiles N N range N N rounds 2",
		"cpu-ratio verify-cached N quartiles N N range N N rounds 1",
		"cpu-ratio login N quartiles N N range N N rounds 2",
		"time-ratio login N quartiles N N range N N rounds 2",
		"per-second login N bare-hash N",
		"rss-mib N-logins-at-once N",
		"cpu-ratio warm-ticket-over-bearer N quartiles N N range N N rounds 2",
		"cpu-us bare N quartiles N N range N N",
		"cpu-us bare-sealed N quartiles N N range N N",
		"cpu-us warm-ticket N quartiles N N range N N",
		"allocs bare N",
		"allocs warm-ticket N",
		"latency-us bare p50 N p99 N",
		"latency-us warm-ticket p50 N p99 N",
	) {
		match := regexp.MustCompile(`(?m)^` + strings.ReplaceAll(line, "N", number) + `$`).FindStringSubmatch(out.String())
		if match == nil {
			t.Errorf("no line like %q", line)
			continue
		}
		for _, text := range match[1:] {
			if f, err := strconv.ParseFloat(text, 64); err != nil || f <= 0 {
				t.Errorf("%q: %s is no measurement", match[0], text)
			}
		}
	}
	if t.Failed() {
		t.Logf("it printed\n%s", out.String())
	}
}

// TestCheck_CountsTokens is about the check that makes the measurement one of the right thing: a gateway that forwards without
// the token, or answers by itself, would look fast.
func TestCheck_CountsTokens(t *testing.T) {
	for _, c := range []struct {
		name                  string
		with, without         int64
		wantWith, wantWithout int
		ok                    bool
	}{
		{"all with", 10, 0, 10, 0, true},
		{"all without", 0, 10, 0, 10, true},
		{"one without", 9, 1, 10, 0, false},
		{"one lost", 9, 0, 10, 0, false},
		{"a token where none belongs", 1, 9, 0, 10, false},
		{"none at all", 0, 0, 10, 0, false},
		{"an endpoint of the gateway", 0, 0, 0, 0, true},
		{"an endpoint that forwards", 0, 1, 0, 0, false},
	} {
		a := &api{}
		a.with.Store(c.with)
		a.without.Store(c.without)
		if err := a.check(c.wantWith, c.wantWithout); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestQuantile(t *testing.T) {
	for _, c := range []struct {
		sorted  []float64
		percent int
		want    float64
	}{
		{[]float64{7}, 50, 7},
		{[]float64{1, 2}, 50, 1.5},
		{[]float64{1, 2, 3}, 50, 2},
		{[]float64{1, 2, 3, 4, 5}, 25, 2},
		{[]float64{1, 2, 3, 4, 5}, 99, 4.96},
		{[]float64{1, 2, 3, 4, 5}, 100, 5},
	} {
		if got := quantile(c.sorted, c.percent); got < c.want-1e-9 || got > c.want+1e-9 {
			t.Errorf("%d%% of %v is %v, not %v", c.percent, c.sorted, got, c.want)
		}
	}
}
