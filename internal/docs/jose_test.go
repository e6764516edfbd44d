package docs

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/store/memory"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
)

// TestSnippets_JoseVerifies runs the function that accounts.md shows over an access token of a gateway, and over others.
func TestSnippets_JoseVerifies(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("NOT RUN: node is not installed")
	}
	modules := filepath.Join(root, "e2e")
	if _, err := os.Stat(filepath.Join(modules, "node_modules", "jose")); err != nil {
		t.Skip("NOT RUN: npm jose is not installed; (cd e2e && npm ci) does")
	}
	found := slices.DeleteFunc(fences(t, "docs/accounts.md", "js"), func(f fence) bool { return !strings.Contains(f.text, `from "jose"`) })
	if len(found) != 1 {
		t.Fatalf("%d blocks show how jose verifies a token", len(found))
	}
	url, token := accessToken(t)
	script := strings.ReplaceAll(found[0].text, "https://app.example.com", url) + `
const token = ` + "`" + token + "`" + `;
const ends = (authorization) => whoCalls(authorization).then(({ sub }) => typeof sub, (err) => err.code);
const [head, claims, signature] = token.split(".");
const other = Buffer.from(JSON.stringify({ ...JSON.parse(Buffer.from(claims, "base64url")), sub: "mallory" })).toString("base64url");
console.log(await ends("Bearer " + token), await ends("bearer " + token), await ends("Bearer " + [head, other, signature].join(".")), await ends(undefined));
console.log(await whoCalls("Bearer " + token).then(({ iss, aud }) => iss + " " + aud));`
	run := exec.Command(node, "--input-type=module")
	run.Dir, run.Stdin = modules, strings.NewReader(script)
	out, err := run.CombinedOutput()
	want := "string string ERR_JWS_SIGNATURE_VERIFICATION_FAILED ERR_JWS_INVALID\n" + url + "/auth " + url + "\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant %s", err, out, want)
	}
}

// accessToken is one that somebody got who registered at a gateway with accounts.
func accessToken(t *testing.T) (url, token string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url = "http://" + listener.Addr().String()
	people, err := sqlite.OpenAccounts(t.Context(), filepath.Join(t.TempDir(), "accounts.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { people.Close() })
	gw, err := cloakroom.New(t.Context(), cloakroom.Config{
		URL: url, Keys: []string{cloakroom.NewKey()}, Store: memory.New(), Accounts: &cloakroom.Accounts{Database: people},
		Tokens: cloakroom.TokenOptions{Delivery: "memory"},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: gw}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	q, err := http.NewRequestWithContext(t.Context(), "POST", url+"/auth/register", strings.NewReader(`{"identifier":"ada@example.com","password":"correct horse battery"}`))
	if err != nil {
		t.Fatal(err)
	}
	q.Header = http.Header{"Content-Type": {"application/json"}, "Origin": {url}}
	res, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Token == "" {
		t.Fatalf("%d, %v", res.StatusCode, err)
	}
	return url, answer.Token
}
