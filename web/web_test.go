package web

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write client/src/code.ts from the list in session/errors.go")

// TestClient_Size gates what a page has to load: at most 3 kB, minified and gzipped.
func TestClient_Size(t *testing.T) {
	const limit = 3 << 10
	if len(Client) == 0 {
		t.Fatal("the embedded client is empty: npm run build in web/client")
	}
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(Client); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if packed.Len() > limit {
		t.Errorf("client.js is %d bytes gzipped, want at most %d", packed.Len(), limit)
	}
	t.Logf("client.js: %d bytes, %d gzipped", len(Client), packed.Len())
}

// TestClient_IsAnES2022Module looks for what a page imports, and for what would load something else.
func TestClient_IsAnES2022Module(t *testing.T) {
	if !regexp.MustCompile(`export\{[^}]*\bas createClient\b[^}]*\}`).Match(Client) {
		t.Error("client.js does not export createClient")
	}
	for _, foreign := range []string{"import ", "import(", "require(", "sourceMappingURL", "localStorage", "sessionStorage"} {
		if bytes.Contains(Client, []byte(foreign)) {
			t.Errorf("client.js contains %q", foreign)
		}
	}
}

func TestClientETag(t *testing.T) {
	// RFC 9110 §8.8.3: a strong tag has no W/, and is quoted.
	if !regexp.MustCompile(`^"[A-Za-z0-9_-]{22}"$`).MatchString(ClientETag) {
		t.Errorf("ClientETag = %s, want 128 bits in quotes", ClientETag)
	}
	if got := etag(Client); got != ClientETag {
		t.Errorf("ClientETag = %s, want that of Client, %s", ClientETag, got)
	}
	if etag(append(bytes.Clone(Client), '\n')) == ClientETag {
		t.Error("another client has the same ClientETag")
	}
}

// TestCodes_EqualTheGoList keeps the client's closed list of errors the same as the gateway's.
func TestCodes_EqualTheGoList(t *testing.T) {
	const path = "client/src/code.ts"
	want := codesTS(t, "../session/errors.go")
	if *update {
		if err := os.WriteFile(path, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not made from session/errors.go: go test ./web -update, then npm run build in web/client", path)
	}
}

// codesTS writes the constants of type Code as TypeScript.
func codesTS(t *testing.T, path string) []byte {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.WriteString("// Made from session/errors.go by `go test ./web -update`.\n\n")
	b.WriteString("/** Every word by which the gateway says why it refused or failed. */\nexport const codes = [\n")
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Code" {
			fmt.Fprintf(&b, "  %s, // %s\n", spec.Values[0].(*ast.BasicLit).Value, strings.TrimSpace(spec.Comment.Text()))
			n++
		}
		return true
	})
	if n == 0 {
		t.Fatalf("%s has no constant of type Code", path)
	}
	b.WriteString("] as const;\n\n/** Why the gateway refused or failed. The list is closed. */\nexport type Code = (typeof codes)[number];\n")
	return b.Bytes()
}
