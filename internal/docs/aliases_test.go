package docs

import (
	"go/ast"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom"
)

var item = regexp.MustCompile(`(?m)^\s*- (\w+)`)

// TestAliases_ListTheirFields keeps the comments in config.go whole. go doc shows no field of an alias of an internal type: what
// is not in its comment, a reader of the library does not find.
func TestAliases_ListTheirFields(t *testing.T) {
	types := map[string]reflect.Type{
		"Provider": reflect.TypeFor[cloakroom.Provider](), "Route": reflect.TypeFor[cloakroom.Route](),
		"CookieOptions": reflect.TypeFor[cloakroom.CookieOptions](), "EndpointOptions": reflect.TypeFor[cloakroom.EndpointOptions](),
		"GuardOptions": reflect.TypeFor[cloakroom.GuardOptions](), "FileOptions": reflect.TypeFor[cloakroom.FileOptions](),
		"Accounts": reflect.TypeFor[cloakroom.Accounts](), "PasswordHash": reflect.TypeFor[cloakroom.PasswordHash](),
		"PageOptions": reflect.TypeFor[cloakroom.PageOptions](), "AccountTokens": reflect.TypeFor[cloakroom.AccountTokens](),
		"MailOptions": reflect.TypeFor[cloakroom.MailOptions](), "User": reflect.TypeFor[cloakroom.User](), "Users": reflect.TypeFor[cloakroom.Users](),
		"AnonymousOptions": reflect.TypeFor[cloakroom.AnonymousOptions](),
		"TokenOptions":     reflect.TypeFor[cloakroom.TokenOptions](),
	}
	comments := internalAliases(t, "config.go")
	for name := range comments {
		if types[name] == nil {
			t.Errorf("%s is an alias of an internal type that this test does not know", name)
		}
	}
	for name, of := range types {
		var listed, fields []string
		for _, m := range item.FindAllStringSubmatch(comments[name], -1) {
			listed = append(listed, m[1])
		}
		if of.Kind() == reflect.Interface {
			for m := range of.Methods() {
				fields = append(fields, m.Name)
			}
			slices.Sort(listed)
			if !slices.Equal(listed, fields) {
				t.Errorf("the comment of %s lists %q, and its methods are %q", name, listed, fields)
			}
			continue
		}
		for f := range of.Fields() {
			fields = append(fields, f.Name)
			if f.Type.Kind() != reflect.Struct {
				continue
			}
			for inner := range f.Type.Fields() {
				if !regexp.MustCompile(`\b` + inner.Name + `\b`).MatchString(comments[name]) {
					t.Errorf("the comment of %s does not have %s.%s", name, f.Name, inner.Name)
				}
			}
		}
		if !slices.Equal(listed, fields) {
			t.Errorf("the comment of %s lists\n%s\nand its fields are\n%s", name, strings.Join(listed, " "), strings.Join(fields, " "))
		}
	}
}

// internalAliases returns the comments of the aliases in a file that name types of internal packages.
func internalAliases(t *testing.T, path string) map[string]string {
	t.Helper()
	file := parse(t, path)
	internal := map[string]bool{}
	for _, i := range file.Imports {
		if imported, err := strconv.Unquote(i.Path.Value); err == nil && strings.Contains(imported, "/internal/") {
			internal[filepath.Base(imported)] = true
		}
	}
	comments := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || !spec.Assign.IsValid() {
			return true
		}
		if of, ok := spec.Type.(*ast.SelectorExpr); ok && internal[of.X.(*ast.Ident).Name] {
			comments[spec.Name.Name] = spec.Doc.Text()
		}
		return true
	})
	return comments
}
