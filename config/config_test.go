package config

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

var update = flag.Bool("update", false, "write what the tests compare with")

// golden compares got with the file, or writes it.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (- want, + got; -update writes it):\n%s", path, diff)
	}
}

// Each file of testdata is answered as the .txt beside it says. Where lines begin with "# env ", they are the environment.
func TestParse_Files(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files in testdata, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var environ []string
			for line := range strings.Lines(string(text)) {
				if one, ok := strings.CutPrefix(line, "# env "); ok {
					environ = append(environ, strings.TrimSpace(one))
				}
			}
			c, err := Parse(file, text, environ)
			got := ""
			var wrong Problems
			switch {
			case errors.As(err, &wrong):
				got = strings.ReplaceAll(err.Error(), "testdata/", "") + "\n"
			case err != nil:
				t.Fatalf("%T: %v", err, err)
			default:
				got = show(t, c)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
			if strings.Contains(got, "hunter2") {
				t.Error("a secret is in the answer")
			}
		})
	}
}

// show prints a good configuration, its secrets as their lengths.
func show(t *testing.T, c *Config) string {
	t.Helper()
	copied := *c
	copied.Keys = nil
	for _, k := range c.Keys {
		copied.Keys = append(copied.Keys, fmt.Sprintf("(%d characters)", len(k)))
	}
	copied.Providers = map[string]cloakroom.Provider{}
	for name, p := range c.Providers {
		p.ClientSecret = fmt.Sprintf("(%d characters)", len(p.ClientSecret))
		copied.Providers[name] = p
	}
	text, err := json.MarshalIndent(copied, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

const smallest = `url: https://app.example.com
keys: [cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4]
providers:
  main: {issuer: https://login.example.com/, client_id: app, client_secret: hunter2}
routes:
  - {path: /api/, upstream: http://127.0.0.1:3000}
`

// behindProxy says who speaks TLS, so that nothing is warned of.
const behindProxy = "trusted_proxies: [127.0.0.1]\n"

// An https url with neither a certificate nor a proxy works, and should not stay so.
func TestParse_WarnsOfHTTPSThatNobodySpeaks(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"cert.pem", "key.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []struct {
		name, text string
		warns      bool
	}{
		{"Neither", smallest, true},
		{"Certificate", smallest + "tls: {cert: cert.pem, key: key.pem}\n", false},
		{"Proxy", smallest + behindProxy, false},
		{"PlainOnThisMachine", strings.Replace(smallest, "https://app.example.com", "http://localhost:8080", 1), false},
	} {
		t.Run(v.name, func(t *testing.T) {
			c, err := Parse(filepath.Join(dir, "cloakroom.yaml"), []byte(v.text), nil)
			if err != nil {
				t.Fatal(err)
			}
			warned := len(c.Warnings) == 1 && strings.HasPrefix(c.Warnings[0], "url: it is https, and :8080 speaks plain http")
			if warned != v.warns || len(c.Warnings) > 1 {
				t.Errorf("warnings %q, want one: %t", c.Warnings, v.warns)
			}
		})
	}
}

func TestParse_DefaultsOfTheSmallestFile(t *testing.T) {
	c, err := Parse("cloakroom.yaml", []byte(smallest), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct{ name, got, want string }{
		{"listen", c.Listen, ":8080"},
		{"admin", c.Admin, "127.0.0.1:9090"},
		{"control", c.Control.Path, "cloakroom.sock"},
		{"store", c.StoreDSN, "sqlite:cloakroom.db"},
		{"session.idle", c.Session.Idle.String(), "30m0s"},
		{"session.absolute", c.Session.Absolute.String(), "12h0m0s"},
		{"session.same_site", c.Cookie.SameSite, "strict"},
		{"session.max_sessions", strconv.Itoa(c.Session.MaxSessions), "0"},
		{"session.when_full", c.Session.WhenFull, "end_oldest"},
		{"prefix", c.Endpoints.Prefix, "/auth/"},
		{"routes[0].auth", string(c.Routes[0].Auth), "required"},
		{"providers.main.client_secret", c.Providers["main"].ClientSecret, "hunter2"},
	} {
		if v.got != v.want {
			t.Errorf("%s = %q, want %q", v.name, v.got, v.want)
		}
	}
	if c.Endpoints.Allow != nil || c.Routes[0].Allow != nil {
		t.Error("allow without being asked for")
	}
}

// The table names the value that is refused and the words that say why. Everything else of the file is right.
func TestParse_Refuses(t *testing.T) {
	for _, v := range []struct{ name, old, new, want string }{
		{"C14_SameSiteNone", "routes:", "session: {same_site: none}\nroutes:", `2: session.same_site: none would let every site send`},
		{"G3_ShortKey", "cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", "c2hvcnQ", "2:8: keys: a key is 32 bytes long, this one 5"},
		{"G3_DefaultKey", "cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", "changemechangemechangemechangemechangemecha", "keys: this key is not random"},
		{"G3_ZeroKey", "cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", strings.Repeat("00", 32), "keys: this key is not random"},
		{"G3_NoKeyFile", "cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", "{file: nowhere.key}", "2:15: keys: nowhere.key: no such file"},
		{"X_EveryoneIsATrustedProxy", "routes:", "trusted_proxies: [0.0.0.0/0]\nroutes:", "trusted_proxies: \"0.0.0.0/0\" trusts everyone"},
		{"X_HalfOfEveryoneIsATrustedProxy", "routes:", "trusted_proxies: [128.0.0.0/1]\nroutes:", "no wider than /8"},
		{"X_EveryoneIsATrustedProxyByStar", "routes:", "trusted_proxies: ['*']\nroutes:", "trusted_proxies: \"*\" trusts everyone"},
		{"K1_EveryOrigin", "routes:", "origins: ['*']\nroutes:", "origins: \"*\" would trust every site"},
		{"K1_NullOrigin", "routes:", "origins: ['null']\nroutes:", "origins: \"null\" would trust every site"},
		{"K1_OriginsOfADomain", "routes:", "origins: ['https://*.example.com']\nroutes:", "has a wildcard"},
		{"K1_OriginWithPath", "routes:", "origins: ['https://a.example.com/x']\nroutes:", "has a path; write https://a.example.com"},
		{"K1_OriginInClear", "routes:", "origins: ['http://a.example.com']\nroutes:", "origins: over plain http everyone on its network"},
		{"KeyTwice", "keys: [", "keys: [cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4, ", "keys: this one is there twice"},
		{"HTTPOnANetwork", "https://app.example.com", "http://app.example.com", "1:6: url: over plain http everyone on the network"},
		{"HTTPToTheProvider", "https://login", "http://login", "providers.main.issuer: \"http://login.example.com/\" would send secrets"},
		{"URLWithPath", "https://app.example.com", "https://app.example.com/app", "1:6: url: \"https://app.example.com/app\" has a path"},
		{"StoreOfLater", "routes:", "store: postgres://u:hunter2@db/app\nroutes:", "store: the store postgres: is not built yet"},
		{"StoreMisspelt", "routes:", "store: sqllite:x\nroutes:", `did you mean "sqlite"?`},
		{"T6_CountingWhatIsInBrowsers", "routes:", "session: {storage: sealed, max_sessions: 3}\nroutes:", "5:42: session.max_sessions: sessions that rest in browsers (session.storage: sealed) cannot be counted; write"},
		{"T6_WhenFullOfNoLimit", "routes:", "session: {when_full: refuse}\nroutes:", "session.when_full: this is for session.max_sessions"},
		{"T6_WhenFullUnknown", "routes:", "session: {max_sessions: 3, when_full: oldest}\nroutes:", "session.when_full: \"oldest\" is none of end_oldest, refuse"},
		{"C11_LongerThanBrowsersKeep", "routes:", "session: {absolute: 400d}\nroutes:", "session.absolute: \"400d\" is too long; it is at most 8784h"},
		{"StorageUnknown", "routes:", "session: {storage: cookie}\nroutes:", "session.storage: \"cookie\" is none of store, sealed"},
		{"DeliveryOfNoKind", "routes:", "tokens: {delivery: cookies}\nroutes:", `did you mean "cookie"?`},
		{"C14_DomainElsewhere", "routes:", "tokens: {delivery: cookie, domain: example.org}\nroutes:", `5:36: tokens.domain: "example.org" is neither the url's host app.example.com nor a parent`},
		{"C14_DomainByHalfALabel", "routes:", "tokens: {delivery: cookie, domain: ple.com}\nroutes:", "tokens.domain: \"ple.com\" is neither"},
		{"C14_DomainOfEveryone", "routes:", "tokens: {delivery: split, domain: com}\nroutes:", "tokens.domain: \"com\" has one part"},
		{"C14_DomainIsAPublicSuffix", "https://app.example.com", "https://app.example.co.uk\ntokens: {delivery: split, domain: co.uk}", "tokens.domain: anyone can have a host below \"co.uk\""},
		{"C14_DomainIsAPrivateSuffix", "https://app.example.com", "https://me.github.io\ntokens: {delivery: split, domain: github.io}", "tokens.domain: anyone can have a host below"},
		{"C14_DomainWithADot", "routes:", "tokens: {delivery: cookie, domain: .example.com}\nroutes:", "begins with a dot; write example.com"},
		{"C14_DomainIsAnOrigin", "routes:", "tokens: {delivery: cookie, domain: 'https://example.com'}\nroutes:", "without scheme and port"},
		{"C14_DomainIsAnAddress", "https://app.example.com", "https://192.0.2.7\ntokens: {delivery: cookie, domain: 192.0.2.7}", "is an address; only names have a domain"},
		{"C14_DomainWithoutCookies", "routes:", "tokens: {domain: example.com}\nroutes:", "tokens.domain: this is for cookies with the token"},
		{"C14_PathWithoutSlash", "routes:", "tokens: {delivery: cookie, path: api}\nroutes:", "tokens.path: \"api\" does not begin with a slash"},
		{"C14_PathEndsTheCookie", "routes:", "tokens: {delivery: cookie, path: '/api;Domain=evil.example'}\nroutes:", "has characters that the path of a cookie cannot have"},
		{"C4_LongPath", "routes:", "tokens: {delivery: cookie, path: '/" + strings.Repeat("x", 1024) + "'}\nroutes:", "longer than 1024 bytes"},
		{"KeyOfLater", "routes:", "forward_auth: 127.0.0.1:4181\nroutes:", "forward_auth is not built yet"},
		{"BearerWithoutAudience", "path: /api/,", "path: /api/, bearer: accept,", "routes[0].bearer: only a token for this API may open it; name its audience"},
		{"AudienceOfFiles", "upstream: http://127.0.0.1:3000", "files: ./testdata, audience: api", "routes[0].audience: this is for a route with an upstream"},
		{"AudienceWithoutLooking", "path: /api/,", "path: /api/, auth: off, audience: api,", "routes[0].audience: this is for a route that looks at who comes"},
		{"P8_AudienceTooLong", "path: /api/,", "path: /api/, audience: 'urn:" + strings.Repeat("x", 509) + "',", "routes[0].audience: 513 bytes are too many; 512 are the most"},
		{"P8_AudienceIsTheClient", "path: /api/,", "path: /api/, audience: app,", "routes[0].audience: this is the client_id of a provider: ID tokens are for that"},
		{"BearerWithoutLooking", "path: /api/,", "path: /api/, auth: off, bearer: accept, audience: api,", "routes[0].bearer: this is for a route that looks at who comes"},
		{"BearerOfNoKind", "path: /api/,", "path: /api/, bearer: yes, audience: api,", "routes[0].bearer: \"yes\" is none of accept"},
		{"A2_AudienceIsTheClient", "path: /api/,", "path: /api/, bearer: accept, audience: app,", "routes[0].audience: this is the client_id of a provider: ID tokens are for that"},
		{"AuthOfNoKind", "path: /api/,", "path: /api/, auth: optionl,", `did you mean "optional"?`},
		{"UpstreamIsNoURL", "http://127.0.0.1:3000", "localhost:3000", `6:29: routes[0].upstream: "localhost:3000" is no URL`},
		{"IdentityOverAuthorization", "path: /api/,", "path: /api/, identity: {Authorization: sub},", "Authorization means something else already"},
		{"BelowOurEndpoints", "path: /api/", "path: /auth/x", "below /auth/ are Cloakroom's own endpoints"},
		{"MethodInLowerCase", "path: /api/,", "path: /api/, methods: [get],", "written in capitals: GET"},
		{"AbsoluteBeforeIdle", "routes:", "session: {absolute: 5m}\nroutes:", "session.absolute (5m) is shorter than session.idle (30m)"},
		{"NoUnit", "routes:", "session: {idle: 30}\nroutes:", `session.idle: "30" is not a duration`},
		{"HMAC", "client_id: app,", "client_id: app, algorithms: [HS256],", "no signature that only the provider can make"},
		{"ParamsOfTheProtocol", "client_id: app,", "client_id: app, params: {redirect_uri: x},", "decided by the login itself"},
		{"AdminIsPublic", "routes:", "admin: ':8080'\nroutes:", "admin: this is the public address"},
		{"PlaceMisspelt", "routes:", "idle: 5m\nroutes:", `unknown key "idle" (did you mean "session.idle"?)`},
		{"CSPForAnAPI", "path: /api/,", "path: /api/, csp: off,", "routes[0].csp: this is for a route with files"},
		{"AllowOfNobody", "routes:", "allow: {groups: []}\nroutes:", "allow.groups: the list is empty"},
	} {
		t.Run(v.name, func(t *testing.T) {
			text := strings.Replace(smallest, v.old, v.new, 1)
			if text == smallest {
				t.Fatal("the change changes nothing")
			}
			_, err := Parse("cloakroom.yaml", []byte(text), nil)
			var wrong Problems
			if !errors.As(err, &wrong) || len(wrong) != 1 || !strings.Contains(wrong[0].String(), v.want) {
				t.Fatalf("got  %v\nwant one problem with %q", err, v.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestParse_Environment(t *testing.T) {
	good := func(environ ...string) *Config {
		t.Helper()
		c, err := Parse("cloakroom.yaml", []byte(smallest), environ)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := good("CLOAKROOM_SESSION__IDLE=10m"); c.Session.Idle != 10*time.Minute {
		t.Errorf("idle = %s", c.Session.Idle)
	}
	if c := good("CLOAKROOM_SESSION__CLAIMS=[sub, roles]"); len(c.Endpoints.Claims) != 2 {
		t.Errorf("claims = %q", c.Endpoints.Claims)
	}
	if c := good("CLOAKROOM_PROVIDERS__MAIN__CLIENT_SECRET=a: 'b' #c"); c.Providers["main"].ClientSecret != "a: 'b' #c" {
		t.Error("the variable is not taken as it is")
	}
	if c := good("CLOAKROOM_ROUTES__0__UPSTREAM=http://127.0.0.1:4000"); c.Routes[0].Upstream != "http://127.0.0.1:4000" {
		t.Errorf("upstream = %s", c.Routes[0].Upstream)
	}
	good("CLOAKROOM_SERVICE_HOST=10.0.0.1", "CLOAKROOM_PORT=tcp://10.0.0.1:80", "CLOAKROOM_PORT_80_TCP_ADDR=10.0.0.1") // of Kubernetes

	for _, v := range []struct{ name, variable, want string }{
		{"Misspelt", "CLOAKROOM_SESSION__IDEL=10m", `environment: CLOAKROOM_SESSION__IDEL: there is no such option (did you mean "CLOAKROOM_SESSION__IDLE"?)`},
		{"OneUnderline", "CLOAKROOM_SESSION_IDLE=10m", `did you mean "CLOAKROOM_SESSION__IDLE"?`},
		{"MisspeltAtTheEnd", "CLOAKROOM_KEY=x", `environment: CLOAKROOM_KEY: there is no such option (did you mean "CLOAKROOM_KEYS"?)`},
		{"AGroup", "CLOAKROOM_ALLOW={groups: [staff]}", "environment: CLOAKROOM_ALLOW: there is no such option"},
		{"NotADuration", "CLOAKROOM_SESSION__IDLE=soon", `environment: CLOAKROOM_SESSION__IDLE: session.idle: "soon" is not a duration`},
		{"NotAList", "CLOAKROOM_ORIGINS=https://a.example.com", `environment: CLOAKROOM_ORIGINS: origins: a list is wanted; write ["https://a.example.com"]`},
		{"NotYAML", "CLOAKROOM_ORIGINS=[", `environment: CLOAKROOM_ORIGINS: this [ is not closed`},
		{"EmptySecret", "CLOAKROOM_PROVIDERS__MAIN__CLIENT_SECRET=", "there is no value"},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := Parse("cloakroom.yaml", []byte(smallest), []string{v.variable})
			if err == nil || !strings.Contains(err.Error(), v.want) {
				t.Fatalf("got  %v\nwant %s", err, v.want)
			}
		})
	}
}

// That names begin alike does not make them near.
func TestParse_EnvironmentWithoutAGuess(t *testing.T) {
	for _, name := range []string{"CLOAKROOM_NOPE", "CLOAKROOM_SESSION__NOPE", "CLOAKROOM_PROVIDERS__MAIN__NOPE", "CLOAKROOM_"} {
		_, err := Parse("cloakroom.yaml", []byte(smallest), []string{name + "=x"})
		if want := "environment: " + name + ": there is no such option"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestParse_VariablesInValues(t *testing.T) {
	text := strings.Replace(smallest, "client_secret: hunter2", `client_secret: "${SECRET}-$${X}"`, 1)
	c, err := Parse("cloakroom.yaml", []byte(text), []string{"SECRET=${NOT_AGAIN}"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Providers["main"].ClientSecret, "${NOT_AGAIN}-${X}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	// What a variable holds may be a secret in the wrong place: an error shows its name.
	text = strings.Replace(smallest, "https://app.example.com", "${SECRET}", 1)
	if _, err := Parse("cloakroom.yaml", []byte(text), []string{"SECRET=hunter2"}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestParse_G3_SecretFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	key := seal.NewKey()
	write("good.key", 0o600, key+"\n")
	write("open.key", 0o644, key+"\r\n")
	write("empty.key", 0o600, "\n")
	write("long.key", 0o600, strings.Repeat("x", maxSecret+1))
	parse := func(file string) (*Config, error) {
		text := strings.Replace(smallest, "cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", "{file: "+file+"}", 1)
		return Parse(filepath.Join(dir, "cloakroom.yaml"), []byte(text+behindProxy), nil)
	}
	c, err := parse("good.key")
	if err != nil || c.Keys[0] != key || len(c.Warnings) != 0 {
		t.Fatalf("good.key: %v, %q", err, c.Warnings)
	}
	c, err = parse("open.key")
	if err != nil || c.Keys[0] != key || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "open.key: everyone on this machine") {
		t.Fatalf("open.key: %v, %q", err, c.Warnings)
	}
	for file, want := range map[string]string{"empty.key": "is empty", "long.key": "longer than 64 KiB", ".": "is not a file", "none.key": "no such file"} {
		if _, err := parse(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", file, err, want)
		}
	}
}

// A key by itself and a file of several; what is wrong with such files is in testdata/keyring-bad.txt.
func TestParse_S8_KeyFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ring.key")
	one, two, three := seal.NewKey(), seal.NewKey(), seal.NewKey()
	ring := "# words for people\n" + one + "\n" + two + " active_from=2026-01-02T03:04:05Z\n"
	parse := func(size int64, mode os.FileMode) (*Config, error) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(ring), mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, max(size, int64(len(ring)))); err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(smallest, "keys: [", "keys: [{file: ring.key}, '${KEY}', ", 1)
		return Parse(filepath.Join(dir, "cloakroom.yaml"), []byte(text+behindProxy), []string{"KEY=" + three})
	}
	c, err := parse(0, 0o600)
	if err != nil || len(c.Warnings) != 0 {
		t.Fatalf("%v, %q", err, c.Warnings)
	}
	if len(c.Keys) != 3 || !strings.Contains(c.Keys[0], two) || c.Keys[1] != three {
		t.Error("the keys are not those of file and variable")
	}
	if diff := cmp.Diff([]string{path, "", ""}, c.KeyFiles); diff != "" {
		t.Errorf("files (- want):\n%s", diff)
	}
	if c, err = parse(0, 0o604); err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "ring.key: everyone on this machine can read this secret; chmod 600") {
		t.Errorf("for everyone: %v, %q", err, c.Warnings)
	}
	if _, err = parse(10<<20, 0o600); err == nil || !strings.Contains(err.Error(), "cloakroom.yaml:2:15: keys: "+path+" is longer than 64 KiB; that is no secret") {
		t.Errorf("10 MiB: %v", err)
	}
}

func TestLoad_G3_SecretsInAFileForEveryone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cloakroom.yaml")
	for _, v := range []struct {
		mode   os.FileMode
		secret string
		warns  int
	}{{0o600, "hunter2", 0}, {0o644, "hunter2", 1}, {0o644, "${SECRET}", 0}} {
		t.Setenv("SECRET", "from the environment")
		t.Setenv("KEY", seal.NewKey())
		text := strings.NewReplacer("client_secret: hunter2", `client_secret: "`+v.secret+`"`,
			"cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", `"${KEY}"`).Replace(smallest) + behindProxy
		if err := os.WriteFile(path, []byte(text), v.mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, v.mode); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		if err != nil || len(c.Warnings) != v.warns {
			t.Errorf("%o, %s: %v, %q", v.mode, v.secret, err, c)
		}
	}
	if _, err := Load(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "is a folder") {
		t.Errorf("a folder: %v", err)
	}
}

func TestOpenStore(t *testing.T) {
	for _, dsn := range []string{"memory:", "sqlite:" + filepath.Join(t.TempDir(), "cloakroom.db")} {
		store, closer, err := OpenStore(t.Context(), dsn)
		if err != nil {
			t.Fatalf("%s: %v", dsn, err)
		}
		if _, err := store.Get(t.Context(), session.ID{1}); session.CodeOf(err) != session.None {
			t.Errorf("%s: %v", dsn, err)
		}
		if err := closer.Close(); err != nil {
			t.Errorf("%s: %v", dsn, err)
		}
	}
	for _, v := range []struct{ dsn, want string }{
		{"postgres://u:hunter2@db/app", "the store postgres: is not built yet; there are memory: and sqlite:PATH"},
		{"rediss://:hunter2@db", "the store rediss: is not built yet"},
		{"memroy:", `did you mean "memory"?`},
		{"cloakroom.db", "a store is written memory: or sqlite:PATH"},
		{"sqlite:", "a SQLite store is written sqlite:PATH"},
		{"memory:x", "nothing stands behind memory:"},
	} {
		_, _, err := OpenStore(t.Context(), v.dsn)
		if err == nil || !strings.Contains(err.Error(), v.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v, want %s", v.dsn, err, v.want)
		}
	}
}

// A database may have a password in its name, which nothing shows, wherever it stands and however it is mistyped.
func TestAccountsDatabase_G3(t *testing.T) {
	file := filepath.Join(t.TempDir(), "database")
	if err := os.WriteFile(file, []byte("postgres://app:hunter2@db.example.com/people\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := strings.Replace(smallest, "client_secret: hunter2", `client_secret: "${SECRET}"`, 1) + behindProxy
	plain = strings.Replace(plain, "cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", `"${KEY}"`, 1)
	secrets := []string{"SECRET=s", "KEY=cloakroom-key-1-Lf5lZ6kTavO4dtBjJDjdqX56NmnVbaviiu3No78u3A4", "PGPASS=hunter2"}
	for _, v := range []struct {
		database, env, want, wrong string
		inline                     bool // a secret stands in the file
	}{
		{database: "postgres://app:hunter2@db.example.com/people", want: "postgres://app:hunter2@db.example.com/people", inline: true},
		{database: "postgres://app@db.example.com/people?password=hunter2", want: "postgres://app@db.example.com/people?password=hunter2", inline: true},
		{database: "postgresql://app@db.example.com/people?sslmode=require", want: "postgresql://app@db.example.com/people?sslmode=require"},
		{database: `"postgres://app:${PGPASS}@db.example.com/people"`, want: "postgres://app:hunter2@db.example.com/people"},
		{database: "{file: " + file + "}", want: "postgres://app:hunter2@db.example.com/people"},
		{env: "postgres://app:hunter2@db.example.com/people", want: "postgres://app:hunter2@db.example.com/people"},
		{database: "sqlite:/people.db", want: "sqlite:/people.db"},
		{database: "postgres://app:hun/hunter2@db/people", wrong: "in a password write % as %25"},
		{database: "'postgres://app:hun hunter2@db/people'", wrong: "in a password write % as %25"},
		{database: "postgres://app:hunter2@db/people?sslmode=any", wrong: "look at the port, at the parameters"},
		{database: "'postgres://app@db/people?password=hunter2&search_path=a,b'", wrong: "search_path is the name of one schema"},
		{database: "postgress://app:hunter2@db/people", wrong: "this is no database for accounts; there are sqlite:PATH"},
		{env: "postgress://app:hunter2@db/people", wrong: "this is no database for accounts; there are sqlite:PATH"},
		{database: "memory:", wrong: "this is no database for accounts; there are sqlite:PATH"},
		{database: "{fil: x}", wrong: "a secret is a text or {file: PATH}"},
	} {
		text, environ := plain, secrets
		if v.database != "" {
			text += "accounts: {database: " + v.database + "}\n"
		}
		if v.env != "" {
			environ = append(slices.Clone(secrets), "CLOAKROOM_ACCOUNTS__DATABASE="+v.env)
		}
		c, err := Parse("/cloakroom.yaml", []byte(text), environ)
		switch {
		case v.wrong != "":
			if err == nil || !strings.Contains(err.Error(), v.wrong) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s%s: %v", v.database, v.env, err)
			}
		case err != nil:
			t.Errorf("%s%s: %v", v.database, v.env, err)
		case c.AccountsDSN != v.want || c.inline != v.inline || strings.Contains(fmt.Sprintf("%+v", c), "hunter2"):
			t.Errorf("%s%s: %q, inline %v, %+v", v.database, v.env, c.AccountsDSN, c.inline, c)
		}
	}
}

// A misspelt key is told with the one that was meant; words that are far from all get no guess.
func TestNearest(t *testing.T) {
	for _, v := range []struct{ word, want string }{
		{"clientid", "client_id"}, {"ClientID", "client_id"}, {"client-id", "client_id"}, {"isuer", "issuer"}, {"sicret", ""}, {"", ""},
		{"atuh", "auth"}, {"zzz", ""}, {strings.Repeat("x", 1000), ""},
	} {
		if got := nearest(v.word, []string{"client_id", "client_secret", "issuer", "auth"}); got != v.want {
			t.Errorf("nearest(%.20q) = %q, want %q", v.word, got, v.want)
		}
	}
}

// Files of a certificate are shown; a key that stands where a file should is not.
func TestMasked_G3_FilesOfTLS(t *testing.T) {
	for _, v := range []struct{ text, want string }{
		{"tls: {cert: cert.pem, key: key.pem}", "tls: {cert: cert.pem, key: key.pem}"},
		{`tls: {key: "/etc/tls/app.key", cert: cert.pem}`, `tls: {key: "/etc/tls/app.key", cert: cert.pem}`},
		{"tls: {key: /run/secrets/tls, cert: c.crt} # there", "tls: {key: /run/secrets/tls, cert: c.crt} # there"},
		{"tls:\n  cert: ./cert\n  key: ./key # there", "tls:\n  cert: ./cert\n  key: ./key # there"},
		{"tls:\n  cert: c\nother:\n  key: /hunter2", "tls:\n  cert: c\nother:\n  key: [secret]"},
		{"tls: {cert: c, key: hunter2}", "tls: {cert: c, key: [secret]"},
		{"tls:\n  key: |\n    -----BEGIN PRIVATE KEY-----\n    hunter2", "tls:\n  key: [secret]\n    -----[secret]\n    [secret]"},
		{"key: hunter2.pem hunter2", "key: [secret]"},
		{"tls: {key: key.pem, secret: hunter2}", "tls: {key: key.pem, secret: [secret]"},
		{"keys: [hunter2.key]", "keys: [secret]"},
		{"client_secret: /hunter2.pem", "client_secret: [secret]"},
	} {
		r := &reading{lines: strings.Split(v.text, "\n")}
		if got := strings.Join(r.masked(), "\n"); got != v.want {
			t.Errorf("got  %q\nwant %q", got, v.want)
		}
	}
}

func TestSecret_G3_NeverShows(t *testing.T) {
	s := struct{ S secret }{"hunter2"}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "s", s.S)
	c, err := Parse("cloakroom.yaml", []byte(smallest), nil)
	if err != nil {
		t.Fatal(err)
	}
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "c", c)
	for _, shown := range []string{
		fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q %x", s, s, s, s.S, s.S, s.S), string(text), log.String(),
		fmt.Sprintf("%v %+v %#v %s", c, c, c, *c),
	} {
		if strings.Contains(shown, "hunter2") || strings.Contains(shown, "68756e74") || strings.Contains(shown, "MDEyMzQ1") {
			t.Errorf("shows the secret: %s", shown)
		}
	}
}

func TestParse_Limits(t *testing.T) {
	for _, v := range []struct{ name, text, want string }{
		{"TooLong", strings.Repeat("#\n", maxBytes), "longer than 1 MiB"},
		{"TooMany", strings.Repeat("a: 1\n", maxTokens/3+1), "too much"},
		{"DeepFlow", strings.Repeat("[", maxTokens), "nested too deep"},
		{"DeepBlock", strings.Repeat("- ", maxTokens), "nested too deep"},
		{"Quotes", strings.Repeat(`"`, 2*maxTokens+2), "too much"},
		{"Bomb", "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", "anchors (&name) are not used here"},
		{"Zero", "url: \x00", "zero byte"},
		{"NotUTF8", "url: \xff", "not UTF-8"},
		{"Empty", "", "url is missing"},
		{"OnlyText", "hello", "keys with values"},
		{"TwoDocuments", "url: x\n---\nurl: y\n", "second document"},
	} {
		t.Run(v.name, func(t *testing.T) {
			_, err := Parse("cloakroom.yaml", []byte(v.text), nil)
			var wrong Problems
			if !errors.As(err, &wrong) || !strings.Contains(err.Error(), v.want) {
				t.Fatalf("got %.300v, want %s", err, v.want)
			}
		})
	}
}

func TestReference_IsTheDocumentation(t *testing.T) {
	golden(t, "../docs/config.md", Reference())
	for key := range notBuiltKeys {
		if strings.Contains(Reference(), "| `"+key+"` |") {
			t.Errorf("%s is built and not built", key)
		}
	}
}

// Every default of the reference is what a file without the key gives; the words of a choice are as they are checked.
func TestReference_ExamplesOfEveryOption(t *testing.T) {
	var entries []entry
	options(&form{reading: &reading{docs: &entries, env: newEnvironment(nil)}}, &Config{})
	if len(entries) < 60 {
		t.Fatalf("only %d options", len(entries))
	}
	seen := map[string]bool{}
	for _, e := range entries {
		if seen[e.key] {
			t.Errorf("%s is declared twice", e.key)
		}
		seen[e.key] = true
		if e.meaning == "" || !strings.HasSuffix(e.meaning, ".") {
			t.Errorf("%s: the meaning is no sentence: %q", e.key, e.meaning)
		}
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("no corpus")
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		_, err := Parse("testdata/cloakroom.yaml", text, []string{"NAME=value", "CLOAKROOM_ORIGINS=[https://a.example.com]"})
		if err == nil {
			return
		}
		var wrong Problems
		if !errors.As(err, &wrong) || len(wrong) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		for _, p := range wrong {
			if p.File != "environment" && (p.Line < 1 || p.Column < 1) {
				t.Errorf("no place: %+v", p)
			}
			_ = p.String()
		}
	})
}
