package docs

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cloakroom-go/cloakroom/internal/answer"
	"github.com/cloakroom-go/cloakroom/internal/gateway"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

const root = "../.."

var update = flag.Bool("update", false, "write the generated pages anew")

// TestPages keeps the generated pages equal to the code that they describe.
func TestPages(t *testing.T) {
	for name, page := range map[string]func(*testing.T) string{
		"endpoints.md": endpointsPage,
		"errors.md":    errorsPage,
		"logs.md":      logsPage,
		"threats.md":   threatsPage,
	} {
		t.Run(name, func(t *testing.T) {
			path, want := filepath.Join(root, "docs", name), page(t)
			if *update {
				if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != want {
				t.Errorf("docs/%s is not what the code says: go test ./internal/docs -update", name)
			}
		})
	}
}

func endpointsPage(*testing.T) string {
	always, withAccounts := gateway.Documentation()
	return endpointsIntroduction + always + "\n" + accountsIntroduction + withAccounts
}

func errorsPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(errorsIntroduction)
	for _, g := range constants(t, "session/errors.go") {
		for _, c := range g.list {
			if c.kind != "Code" {
				continue
			}
			status, title, text := answer.Words(session.Code(c.value))
			fmt.Fprintf(&b, "| `%s` | %d | %s | **%s.** %s |\n", c.value, status, cell(c.comment), strings.TrimSuffix(title, "."), text)
		}
	}
	return b.String()
}

func logsPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(logsIntroduction)
	table := func(intro, heads string) { b.WriteString(intro + "\n" + heads) }

	groups := constants(t, "internal/telemetry/metrics.go")
	if len(groups) != 2 {
		t.Fatalf("internal/telemetry has %d lists of attributes; this page knows of the access log's and the error log's", len(groups))
	}
	attributes := func(g group) {
		for _, c := range g.list {
			fmt.Fprintf(&b, "| `%s` | %s |\n", c.value, cell(meaningOf(t, c)))
		}
	}
	table(accessIntroduction, "| attribute | what it is |\n| --- | --- |\n")
	attributes(groups[0])
	table(auditIntroduction, "| action | what happened |\n| --- | --- |\n")
	for _, g := range constants(t, "audit/audit.go") {
		for _, c := range g.list {
			if c.kind == "Action" {
				fmt.Fprintf(&b, "| `%s` | %s |\n", c.value, cell(c.comment))
			}
		}
	}
	table("\nIts fields. One that does not apply is left out.\n", "| field | what it is |\n| --- | --- |\n")
	for _, f := range eventFields(t) {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.value, cell(meaningOf(t, f)))
	}
	table(errorLogIntroduction, "| attribute | what it is |\n| --- | --- |\n")
	attributes(groups[1])
	table(metricsIntroduction, "| metric | labels | what it counts |\n| --- | --- | --- |\n")
	for _, m := range metrics(t) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", m[1], "`"+strings.ReplaceAll(m[3], ",", "`, `")+"`", m[2])
	}
	b.WriteString(metricsEnd)
	return b.String()
}

// unsaid are the names that the code does not explain because they explain themselves there.
var unsaid = map[string]string{
	"method": "of the request", "status": "of the answer; 0 when nothing was answered", "duration_ms": "until the answer was complete, in milliseconds",
	"time": "when it happened", "action": "one of the list above", "issuer": "who vouches for the person", "subject": "who the person is there",
	"address": "of the client, behind trusted proxies", "request_id": "of the request, as in the access log",
	"error": "what failed; never a secret", "hint": "what an operator can do about it",
}

func meaningOf(t *testing.T, c constant) string {
	t.Helper()
	switch {
	case c.value == "code":
		return "one of [the codes](errors.md)"
	case c.comment != "":
		return c.comment
	case unsaid[c.value] != "":
		return unsaid[c.value]
	}
	t.Errorf("%s is explained nowhere", c.value)
	return ""
}

// cell makes a comment fit for a table.
func cell(comment string) string {
	return strings.NewReplacer("|", "\\|", "Reason", "`reason`", "; see session.Session.LogID", "").Replace(comment)
}

// group is one const declaration.
type group struct{ list []constant }

type constant struct{ kind, value, comment string }

// constants reads the const declarations of a file, with the comments behind them.
func constants(t *testing.T, path string) []group {
	t.Helper()
	var groups []group
	for _, d := range parse(t, path).Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		var g group
		for _, s := range decl.Specs {
			spec := s.(*ast.ValueSpec)
			if len(spec.Values) != 1 {
				continue
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				continue
			}
			value, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			c := constant{value: value, comment: strings.TrimSpace(spec.Comment.Text())}
			if name, ok := spec.Type.(*ast.Ident); ok {
				c.kind = name.Name
			}
			g.list = append(g.list, c)
		}
		if len(g.list) > 0 {
			groups = append(groups, g)
		}
	}
	if len(groups) == 0 {
		t.Fatalf("%s has no list of constants any more", path)
	}
	return groups
}

func parse(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// eventFields are the fields of audit.Event, under the names that the log has them by.
func eventFields(t *testing.T) (fields []constant) {
	t.Helper()
	ast.Inspect(parse(t, "audit/audit.go"), func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Event" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			fields = append(fields, constant{value: snake(f.Names[0].Name), comment: strings.TrimSpace(f.Comment.Text())})
		}
		return false
	})
	if len(fields) == 0 {
		t.Fatal("audit.Event has no fields any more")
	}
	return fields
}

var words = regexp.MustCompile(`([a-z])([A-Z])`)

func snake(name string) string { return strings.ToLower(words.ReplaceAllString(name, "${1}_$2")) }

// collected is a prometheus.Registerer that only remembers.
type collected struct {
	prometheus.Registerer
	all []prometheus.Collector
}

func (c *collected) Register(one prometheus.Collector) error {
	c.all = append(c.all, one)
	return nil
}

var description = regexp.MustCompile(`fqName: "([^"]+)", help: "([^"]+)".*variableLabels: \{([^}]*)\}`)

// metrics are name, help and labels of what the gateway counts.
func metrics(t *testing.T) (found [][]string) {
	t.Helper()
	registerer := &collected{}
	if _, err := telemetry.New(registerer); err != nil {
		t.Fatal(err)
	}
	for _, c := range registerer.all {
		descriptions := make(chan *prometheus.Desc, 8)
		c.Describe(descriptions)
		close(descriptions)
		for d := range descriptions {
			m := description.FindStringSubmatch(d.String())
			if m == nil {
				t.Fatalf("cannot read %s", d)
			}
			found = append(found, m)
		}
	}
	return found
}

// A page must not end in the middle: what generates it has failed then.
func TestPages_EndInALine(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil || len(pages) < 5 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(text, []byte("\n")) || bytes.HasSuffix(text, []byte("\n\n")) {
			t.Errorf("%s does not end in one line end", path)
		}
	}
}
