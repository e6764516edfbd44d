package cloakroom_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/cloakroom-go/cloakroom"

// floors is the house: a package imports from lower floors only, and packages of one floor do not know each other.
var floors = map[string]int{
	"internal/seal": 0, "internal/cookie": 0, "internal/origin": 0, "internal/ui": 0, "internal/telemetry": 0, "internal/recent": 0, "audit": 0, "web": 0,
	"session": 1, "internal/guard": 2, "internal/issuer": 2, "internal/mail": 2,
	"internal/oidc": 3, "internal/storage": 3, "internal/delivery": 3, "internal/answer": 3, "internal/files": 3, "verify": 3, "passkeys": 3,
	"internal/accounts": 3, "store/memory": 3, "store/sqlite": 3, "store/postgres": 3,
	"internal/gateway": 4, "internal/hook": 4, "internal/proxy": 4, "internal/control": 4,
	"":       5,
	"config": 6, "internal/demo/lab": 6,
	"internal/demo": 7,
	"cmd/cloakroom": 8,
}

// outside are the packages for tests, measurements and readers. They may import anything; nothing of the house imports them.
var outside = []string{"session/storetest", "store/postgres/postgrestest", "conformance", "bench", "examples", "e2e", "internal/docs"}

func TestHouse_ImportsGoDownOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		name := strings.TrimPrefix(strings.TrimPrefix(fields[0], module), "/")
		if isOutside(name) {
			continue
		}
		floor, ok := floors[name]
		if !ok {
			t.Errorf("%q stands on no floor: give it one, or list it as outside", name)
			continue
		}
		seen++
		for _, path := range fields[1:] {
			imported, own := strings.CutPrefix(path, module)
			if !own {
				continue
			}
			imported = strings.TrimPrefix(imported, "/")
			if isOutside(imported) || floors[imported] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d)", name, floor, imported, floors[imported])
			}
		}
	}
	if seen != len(floors) {
		t.Errorf("%d packages stand on floors, the list has %d", seen, len(floors))
	}
}

// light is all that package verify brings into an API, beside the standard library.
var light = []string{
	module + "/audit", module + "/internal/cookie", module + "/internal/guard", module + "/internal/issuer", module + "/internal/origin",
	module + "/internal/recent", module + "/internal/seal", module + "/session", "github.com/go-jose/", "golang.org/x/net/", "golang.org/x/text/",
}

// An API imports package verify alone: no store, no metrics, no provider's client comes along.
func TestHouse_VerifyIsLight(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "./verify").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	paths := strings.Fields(string(out))
	if len(paths) < 5 {
		t.Fatalf("only %q", paths)
	}
	for _, path := range paths {
		if path != module+"/verify" && !slices.ContainsFunc(light, func(p string) bool { return path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p) }) {
			t.Errorf("verify brings %s", path)
		}
	}
}

func isOutside(name string) bool {
	for _, prefix := range outside {
		if name == prefix || strings.HasPrefix(name, prefix+"/") {
			return true
		}
	}
	return false
}
