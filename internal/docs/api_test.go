package docs

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/internal/cookie"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/origin"
)

func apiPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The names that the page promises are those that the gateway sets.
func TestAPI_CookieNames(t *testing.T) {
	page := apiPage(t)
	for label, jar := range map[string]cookie.Jar{
		"`https`, neither `tokens.domain` nor `tokens.path`": cookie.New(true, "443").WithTokens("", ""),
		"`https`, one of them, or both":                      cookie.New(true, "443").WithTokens("example.com", "/api"),
		"`http`, on port PORT (development)":                 cookie.New(false, "PORT").WithTokens("", ""),
	} {
		cells := []string{label}
		for _, c := range []cookie.Token{
			jar.Token(cookie.AccessToken, false), jar.Token(cookie.AccessToken, true), jar.Token(cookie.Signature, false), jar.Token(cookie.CSRF, false),
		} {
			cells = append(cells, "`"+c.Name+"`")
		}
		if row := "| " + strings.Join(cells, " | ") + " |\n"; !strings.Contains(page, row) {
			t.Errorf("docs/api.md lacks the row\n%s", row)
		}
	}
}

var vector = regexp.MustCompile(`key +(\S+)\niss +(\S+)\nsub +(\S+)\nSESSION +(\S+)\ncookie +(\S+)\ntoken +(\S+)\n`)

// The test vector is true: an API that has this key takes these values. TestCSRF_Vector says that a gateway makes them.
func TestAPI_CSRFVector(t *testing.T) {
	found := vector.FindAllStringSubmatch(apiPage(t), -1)
	if len(found) != 1 {
		t.Fatalf("docs/api.md has %d test vectors", len(found))
	}
	text, issuer, subject, session, companion, token := found[0][1], found[0][2], found[0][3], found[0][4], found[0][5], found[0][6]
	key, err := guard.ParseKey(text)
	if err != nil {
		t.Fatal(err)
	}
	own, err := origin.Parse("https://api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	g, err := guard.NewForAPI(own, guard.Options{CSRF: guard.CSRFToken}, key)
	if err != nil {
		t.Fatal(err)
	}
	r := &http.Request{Method: "POST", Header: http.Header{}}
	r.Header.Set(guard.TokenHeader, token)
	if err := g.CheckCompanion(r, companion, issuer, subject); err != nil || strings.Split(companion, ".")[1] != session {
		t.Error(err)
	}
	source, err := os.ReadFile(filepath.Join(root, "internal", "guard", "csrf_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{companion, token} {
		if !strings.Contains(string(source), `"`+value+`"`) {
			t.Errorf("TestCSRF_Vector does not have %s", value)
		}
	}
}
