package answer

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/internal/ui"
	"github.com/cloakroom-go/cloakroom/session"
)

// codes reads the closed list from its source.
func codes(t *testing.T) []session.Code {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../session/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []session.Code
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Code" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, session.Code(text))
		}
		return true
	})
	if len(found) < 10 {
		t.Fatalf("only %d codes found: the test looks at the wrong place", len(found))
	}
	return found
}

func TestRows_OneForEachCode(t *testing.T) {
	all := codes(t)
	for _, code := range all {
		r, ok := rows[code]
		if !ok {
			t.Errorf("code %q has no row", code)
			continue
		}
		if r.title == "" || r.text == "" || r.status < 400 || r.login != (r.status == http.StatusUnauthorized && challenges[code].authenticate == "") {
			t.Errorf("code %q: %+v", code, r)
		}
	}
	if len(rows) != len(all) {
		t.Errorf("%d rows for %d codes", len(rows), len(all))
	}
}

func newAnswers(t *testing.T, log *strings.Builder) *Answers {
	t.Helper()
	metrics, err := telemetry.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Answers{
		Prefix: "/auth/", Jar: cookie.New(true, "443"), Pages: ui.New("/auth/"), Metrics: metrics,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// Whatever goes wrong, the error itself is for the log: neither script nor a person sees it.
func TestFail_H7_ErrorStaysHere(t *testing.T) {
	for _, code := range append(codes(t), "a code nobody knows") {
		for _, accept := range []string{"text/html", "application/json"} {
			var log strings.Builder
			a := newAnswers(t, &log)
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/api/x", nil)
			r.Header.Set("Accept", accept)
			a.Fail(w, r, &session.Error{Code: code, Op: "canary-op", Err: errors.New("canary-err"), Hint: "canary-hint"})
			if all := w.Body.String() + w.Header().Get("Location"); strings.Contains(all, "canary") {
				t.Errorf("%s, %s: %s", code, accept, all)
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s, %s: Cache-Control %q", code, accept, w.Header().Get("Cache-Control"))
			}
			if !strings.Contains(log.String(), "canary-err") || !strings.Contains(log.String(), "canary-hint") {
				t.Errorf("%s, %s: the log says %s", code, accept, log.String())
			}
		}
	}
}

func TestFail_AnErrorWithoutACode(t *testing.T) {
	var log strings.Builder
	w := httptest.NewRecorder()
	newAnswers(t, &log).Fail(w, httptest.NewRequest("GET", "/", nil), errors.New("anything"))
	if w.Code != http.StatusInternalServerError || !strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("%d, log %s", w.Code, log.String())
	}
}

func TestReturnPath(t *testing.T) {
	for _, tt := range []struct{ method, target, want string }{
		{"GET", "/a/b?c=d", "/a/b?c=d"},
		{"POST", "/a/b?c=d", "/"},
		{"GET", "//evil.example/x", "/evil.example/x"},
	} {
		r := httptest.NewRequest(tt.method, "/", nil)
		r.URL, r.RequestURI = mustParse(t, tt.target), tt.target
		if got := returnPath(r); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.target, got, tt.want)
		}
	}
}

func mustParse(t *testing.T, target string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(target)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
