package cloakroom_test

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/net/html"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/store/postgres/postgrestest"
	"github.com/cloakroom-go/cloakroom/store/sqlite"
	"github.com/cloakroom-go/cloakroom/verify"
)

const (
	adasAddress  = "ada@example.com"
	adasPassword = "correct horse battery"
)

// withAccounts gives a rig people of its own in the place of its provider. change may be nil.
func withAccounts(t *testing.T, change func(*cloakroom.Config)) func(*cloakroom.Config) {
	t.Helper()
	return func(c *cloakroom.Config) {
		c.Providers = nil
		c.Accounts = people(t)
		if change != nil {
			change(c)
		}
	}
}

// people are accounts in a file of their own, whose passwords cost tests next to nothing.
func people(t *testing.T) *cloakroom.Accounts {
	t.Helper()
	return &cloakroom.Accounts{
		Database: accountsFile(t, filepath.Join(t.TempDir(), "accounts.db")), Hash: cloakroom.PasswordHash{Memory: 64, InsecureCheap: true},
	}
}

// accountsFile opens the accounts in a file, or those of a schema in its place: with CLOAKROOM_TEST_ACCOUNTS=postgres, and for what
// TestAccounts_OverPostgreSQL plays.
func accountsFile(t *testing.T, path string) *sql.DB {
	t.Helper()
	if os.Getenv("CLOAKROOM_TEST_ACCOUNTS") == "postgres" || strings.HasPrefix(t.Name(), "TestAccounts_OverPostgreSQL/") {
		dsn, known := schemas.Load(path)
		if !known {
			dsn = postgrestest.Schema(t)
			schemas.Store(path, dsn)
		}
		return postgrestest.Open(t, dsn.(string))
	}
	db, err := sqlite.OpenAccounts(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

var schemas sync.Map // by the path of a file

// elements are those of a page, each with its attributes.
func (p *page) elements(t *testing.T) iter.Seq2[*html.Node, map[string]string] {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(p.Body))
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(*html.Node, map[string]string) bool) {
		for n := range doc.Descendants() {
			if n.Type == html.ElementNode && !yield(n, attributes(n)) {
				return
			}
		}
	}
}

func attributes(n *html.Node) map[string]string {
	attrs := map[string]string{}
	for _, a := range n.Attr {
		attrs[a.Key] = a.Val
	}
	return attrs
}

// form is the form of a page: where it goes, and what is in it.
func (p *page) form(t *testing.T) (action string, fields url.Values) {
	t.Helper()
	fields = url.Values{}
	for n, attrs := range p.elements(t) {
		switch {
		case n.Data == "form":
			action = attrs["action"]
		case n.Data == "input" && attrs["type"] == "checkbox":
			if _, checked := attrs["checked"]; !checked {
				attrs["value"] = "" // as good as none
			}
			fields.Set(attrs["name"], attrs["value"])
		case n.Data == "input" && attrs["name"] != "":
			fields.Set(attrs["name"], attrs["value"])
		}
	}
	if action == "" {
		t.Fatalf("no form in %d %s: %.300s", p.Status, p.URL, p.Body)
	}
	return action, fields
}

// post sends a form as a browser does, and follows nothing.
func (b *browser) post(action, site string, fields url.Values) *page {
	b.t.Helper()
	return b.do(request{
		method: "POST", path: action, site: site, nav: true, body: fields.Encode(),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
	})
}

// fill fills in the form of a page, sends it, and follows wherever it leads.
func (b *browser) fill(p *page, values map[string]string) *page {
	b.t.Helper()
	action, fields := p.form(b.t)
	for name, v := range values {
		if !fields.Has(name) {
			b.t.Fatalf("the form of %s has no field %q", p.URL, name)
		}
		fields.Set(name, v)
	}
	p = b.post(action, "same-origin", fields)
	if next := p.next(b.t); next != "" {
		u, err := url.Parse(next)
		if err != nil {
			b.t.Fatal(err)
		}
		return b.navigate(u.RequestURI(), "same-origin")
	}
	return p
}

func adas(password string) map[string]string {
	return map[string]string{"identifier": adasAddress, "password": password}
}

// join registers somebody and leaves the browser at the API's page.
func (b *browser) join() *browser {
	b.t.Helper()
	if p := b.fill(b.visit("/auth/register?return_to=/page/"), adas(adasPassword)); p.Status != http.StatusOK || p.URL != "/page/" {
		b.t.Fatalf("registering ended at %d %s: %.300s\n%s", p.Status, p.URL, p.Body, b.r.logs)
	}
	return b
}

// through is a client for whom the gateway is at its public address.
func (r *rig) through() *http.Client {
	return &http.Client{Transport: toGateway{r.server.URL}}
}

type toGateway struct{ at string }

func (g toGateway) RoundTrip(req *http.Request) (*http.Response, error) {
	at, err := url.Parse(g.at)
	if err != nil {
		return nil, err
	}
	there := req.Clone(req.Context())
	there.URL.Scheme, there.URL.Host, there.Host = at.Scheme, at.Host, req.URL.Host
	return http.DefaultTransport.RoundTrip(there)
}

// With accounts and no provider, people register and sign in on pages of ours, and the API gets a JWT that any library verifies from
// our published keys.
func TestAccounts_U11_RegisterSignInAndVerify(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []string{"ES256", "EdDSA", "RS256"} {
		t.Run(algorithm, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.Tokens.Algorithm = algorithm }))
			b := r.browser().join()
			if got := r.last().Header.Get("Cookie"); got != "" {
				t.Errorf("the API got our cookies: %q", got)
			}
			user := b.fetch("GET", "/auth/session").json(t)["user"].(map[string]any)
			if user["email"] != adasAddress || len(user["sub"].(string)) != 22 {
				t.Errorf("user %v", user)
			}
			if p := b.fetch("POST", "/auth/logout"); p.Status != http.StatusOK {
				t.Fatalf("sign out: %d", p.Status)
			}
			p := b.fill(b.visit("/auth/login?return_to=/page/"), map[string]string{"identifier": "ADA@Example.com", "password": adasPassword})
			if p.Status != http.StatusOK || p.URL != "/page/" || len(b.cookies) != 1 {
				t.Fatalf("signing in ended at %d %s with %d cookies: %.300s", p.Status, p.URL, len(b.cookies), p.Body)
			}
			want := []audit.Action{audit.LoginStarted, audit.Registered, audit.Login, audit.Logout, audit.LoginStarted, audit.Login}
			if got := r.actions(); !slices.Equal(got, want) {
				t.Errorf("audit: %v, want %v", got, want)
			}

			token := strings.TrimPrefix(r.last().Header.Get("Authorization"), "Bearer ")
			ctx := oidc.ClientContext(context.Background(), r.through())
			issuer, err := oidc.NewProvider(ctx, appURL+"/auth")
			if err != nil {
				t.Fatal(err)
			}
			good, err := issuer.Verifier(&oidc.Config{ClientID: appURL}).Verify(ctx, token)
			if err != nil {
				t.Fatal(err)
			}
			var claims map[string]any
			if err := good.Claims(&claims); err != nil {
				t.Fatal(err)
			}
			names := slices.Sorted(maps.Keys(claims))
			if want := []string{"aud", "auth_time", "client_id", "exp", "iat", "iss", "jti", "sub"}; !slices.Equal(names, want) {
				t.Errorf("claims %v, want %v", names, want)
			}
			if good.Subject != user["sub"] || claims["client_id"] == "" {
				t.Errorf("claims %v", claims)
			}
			if life := good.Expiry.Sub(good.IssuedAt); life < 9*time.Minute || life > 10*time.Minute {
				t.Errorf("it lives %s", life)
			}
			if header := partOf(t, token, 0); header["typ"] != "at+jwt" || header["alg"] != algorithm || header["kid"] == "" || len(header) != 3 {
				t.Errorf("header %v", header)
			}
		})
	}
}

// partOf decodes a part of a JWT.
func partOf(t *testing.T, token string, i int) map[string]any {
	t.Helper()
	var v map[string]any
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[i])
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// What is published has no private part, may be kept for minutes, and is where each standard looks for it.
func TestAccounts_PublishedDocuments(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	b := r.browser()
	for path, contentType := range map[string]string{
		"/auth/jwks":                                   "application/jwk-set+json",
		"/auth/.well-known/openid-configuration":       "application/json",
		"/auth/.well-known/oauth-authorization-server": "application/json",
		"/.well-known/oauth-authorization-server/auth": "application/json",
	} {
		p := b.do(request{method: "GET", path: path})
		if p.Status != http.StatusOK || p.Header.Get("Content-Type") != contentType || p.Header.Get("Cache-Control") != "public, max-age=300" || p.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %v", path, p.Status, p.Header)
		}
		v := p.json(t)
		if path == "/auth/jwks" {
			key := v["keys"].([]any)[0].(map[string]any)
			if names := slices.Sorted(maps.Keys(key)); !slices.Equal(names, []string{"alg", "crv", "kid", "kty", "use", "x", "y"}) {
				t.Errorf("a key has %v", names)
			}
			continue
		}
		if v["issuer"] != appURL+"/auth" || v["jwks_uri"] != appURL+"/auth/jwks" {
			t.Errorf("%s: %v", path, v)
		}
	}
	without := newRig(t, nil).browser()
	for _, path := range []string{"/auth/jwks", "/auth/sign-in", "/auth/.well-known/openid-configuration"} {
		if p := without.do(request{method: "GET", path: path}); p.Status != http.StatusNotFound {
			t.Errorf("%s without accounts: %d", path, p.Status)
		}
	}
}

// A wrong password, an unknown address and one that cannot be are the same page. It keeps the address, never the password.
func TestAccounts_U6_WrongIsOnePage(t *testing.T) {
	t.Parallel()
	r := newRig(t, withAccounts(t, nil))
	r.browser().join()
	b := r.browser()
	var pages []string
	for _, v := range []struct{ identifier, password string }{
		{adasAddress, "secret-that-is-wrong"}, {"nobody@example.com", "secret-that-is-wrong"}, {"no address", "secret-that-is-wrong"},
		{adasAddress, strings.Repeat("secret-that-is-wrong", 100)},
	} {
		p := b.fill(b.visit("/auth/login"), map[string]string{"identifier": v.identifier, "password": v.password})
		if p.Status != http.StatusUnprocessableEntity || strings.Contains(p.Body, "secret-that-is-wrong") || !strings.Contains(p.Body, "There is no account with this e-mail address and this password.") {
			t.Errorf("%s: %d %.400s", v.identifier, p.Status, p.Body)
		}
		_, fields := p.form(t)
		if fields.Get("identifier") != v.identifier {
			t.Errorf("the page forgot %q: %q", v.identifier, fields.Get("identifier"))
		}
		pages = append(pages, strings.NewReplacer(v.identifier, "", fields.Get("state"), "").Replace(p.Body))
	}
	for _, p := range pages[1:] {
		if p != pages[0] {
			t.Errorf("pages differ:\n%s\n%s", pages[0], p)
		}
	}
	if strings.Contains(r.logs.String(), "secret-that-is-wrong") || strings.Contains(r.logs.String(), "nobody@example.com") {
		t.Error("what was typed is in the log")
	}
	if p := b.fill(b.visit("/auth/login?return_to=/page/"), adas(adasPassword)); p.URL != "/page/" {
		t.Errorf("the right one afterwards: %d %s", p.Status, p.URL)
	}
}

func TestAccounts_U7_TooManyIsSaid(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	b := r.browser()
	p := b.visit("/auth/login")
	for range 10 {
		if p = b.fill(p, adas("wrong password")); p.Status == http.StatusTooManyRequests {
			break
		}
	}
	if p.Status != http.StatusTooManyRequests || p.Header.Get("Retry-After") == "" || !strings.Contains(p.Body, "Please wait one second, then try again.") {
		t.Errorf("%d, Retry-After %q: %.600s", p.Status, p.Header.Get("Retry-After"), p.Body)
	}
}

func TestAccounts_RefusedRegistrations(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	r.browser().join()
	for _, v := range []struct {
		identifier, password string
		status               int
		says                 string
	}{
		{adasAddress, adasPassword, 409, "There is an account with this e-mail address already"},
		{"\u0430da@example.com", adasPassword, 422, "plain Latin letters before the @"},
		{"grace@example.com", "short", 422, "at least 8 characters"},
		{"grace@example.com", "password1", 422, "among those that are tried first"},
		{"grace@example.com", strings.Repeat("x", 1025), 422, "at most 1024 bytes"},
		{"grace@example.com", strings.Repeat("x", 100_000), 413, "larger than this place takes"},
	} {
		b := r.browser()
		p := b.fill(b.visit("/auth/register"), map[string]string{"identifier": v.identifier, "password": v.password})
		if p.Status != v.status || !strings.Contains(p.Body, v.says) || b.ticket() != "" {
			t.Errorf("%s, %d bytes: %d, want %d, saying %q: %.600s", v.identifier, len(v.password), p.Status, v.status, v.says, p.Body)
		}
	}
}

func TestAccounts_RegisterOff(t *testing.T) {
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.RegisterOff = true }))
	b := r.browser()
	if p := b.visit("/auth/register"); !strings.HasPrefix(p.URL, "/auth/sign-in?") || strings.Contains(p.Body, "sign-up") {
		t.Errorf("register leads to %s: %.300s", p.URL, p.Body)
	}
	if p := b.visit("/auth/sign-up?state=x"); p.Status != http.StatusNotFound {
		t.Errorf("sign-up: %d", p.Status)
	}
	if p := b.post("/auth/sign-up", "same-origin", url.Values{}); p.Status != http.StatusNotFound {
		t.Errorf("POST sign-up: %d", p.Status)
	}
}

// Another site can neither sign a person in nor register somebody with a form of its own, whatever csrf says; our own page can.
func TestAccounts_U10_CrossSiteFormIsRefused(t *testing.T) {
	for _, csrf := range []string{"origin", "header", "token"} {
		t.Run(csrf, func(t *testing.T) {
			r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Guard.CSRF = csrf }))
			r.browser().join()
			victim := r.browser()
			for path, start := range map[string]string{"/auth/sign-in": "/auth/login", "/auth/sign-up": "/auth/register"} {
				_, fields := victim.visit(start).form(t)
				fields.Set("identifier", adasAddress)
				fields.Set("password", adasPassword)
				for _, site := range []string{"cross-site", "same-site"} {
					if p := victim.post(path, site, fields); p.Status != http.StatusForbidden {
						t.Errorf("%s from %s: %d", path, site, p.Status)
					}
				}
				if p := victim.do(request{method: "POST", path: path, body: fields.Encode(), header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}); p.Status != http.StatusForbidden {
					t.Errorf("%s without any origin: %d", path, p.Status)
				}
			}
			// The thief's own login, finished in the victim's browser: the login is not this browser's.
			thief := r.browser()
			action, fields := thief.visit("/auth/login").form(t)
			fields.Set("identifier", adasAddress)
			fields.Set("password", adasPassword)
			back, err := url.Parse(thief.post(action, "same-origin", fields).Header.Get("Location"))
			if err != nil || back.Query().Get("code") == "" {
				t.Fatalf("%v, %v", back, err)
			}
			if p := victim.do(request{method: "GET", path: back.RequestURI(), site: "cross-site", nav: true}); victim.ticket() != "" {
				t.Errorf("the thief's code signs in elsewhere: %d", p.Status)
			}
			if p := thief.navigate(back.RequestURI(), "same-origin"); thief.ticket() == "" {
				t.Errorf("the same code at home: %d %s", p.Status, p.URL)
			}
			ticket := thief.ticket()
			if thief.navigate(back.RequestURI(), "same-origin"); thief.ticket() != ticket {
				t.Error("a code works twice")
			}
		})
	}
}

// A login always begins another session, and the one before it is over.
func TestAccounts_CB9_NewSessionAtLogin(t *testing.T) {
	t.Parallel()
	r := newRig(t, withAccounts(t, nil))
	b := r.browser().join()
	old := b.copy()
	if p := b.fill(b.visit("/auth/login?return_to=/page/"), adas(adasPassword)); p.URL != "/page/" {
		t.Fatalf("%d %s", p.Status, p.URL)
	}
	if b.ticket() == old.ticket() {
		t.Error("the ticket is the old one")
	}
	if p := old.fetch("GET", "/api/x"); p.Status != http.StatusUnauthorized {
		t.Errorf("the old session: %d", p.Status)
	}
}

// A page that was open for longer than a login lives asks once more and keeps what was typed. A browser without cookies is told.
func TestAccounts_PageThatWasOpenForLong(t *testing.T) {
	r := newRig(t, withAccounts(t, nil))
	r.browser().join()
	b := r.browser()
	p := b.visit("/auth/login?return_to=/page/")
	clear(b.cookies)
	p = b.fill(p, adas(adasPassword))
	if _, fields := p.form(t); p.Status != http.StatusBadRequest || fields.Get("identifier") != adasAddress || !strings.Contains(p.Body, "Please enter your password again") {
		t.Fatalf("%d %.600s", p.Status, p.Body)
	}
	if p = b.fill(p, adas(adasPassword)); p.Status != http.StatusOK || p.URL != "/page/" {
		t.Errorf("the second time: %d %s", p.Status, p.URL)
	}

	b = r.browser()
	p = b.visit("/auth/login")
	b.refuses = true
	clear(b.cookies)
	for range 10 {
		p = b.fill(p, adas(adasPassword))
		if strings.Contains(p.Body, "does not stick") {
			return
		}
	}
	t.Errorf("a browser without cookies is never told: %d %.300s", p.Status, p.Body)
}

// A page whose login is over begins another one. That counts as one, or anybody could begin them without end.
func TestAccounts_BeginningAgainIsLimited(t *testing.T) {
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Endpoints.LoginsPer = 3 }))
	form := url.Values{"state": {"lost"}, "identifier": {adasAddress}, "password": {adasPassword}}
	for i := range 5 {
		want := map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[i < 3]
		if p := r.browser().post("/auth/sign-in", "same-origin", form); p.Status != want {
			t.Errorf("the %d. time: %d, want %d: %.300s", i+1, p.Status, want, p.Body)
		}
	}
}

// Somebody who is disabled is out at the next request, in every browser, and cannot come back.
func TestAccounts_T7_DisabledIsOutAtOnce(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "accounts.db")
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.Database = accountsFile(t, path) }))
	first := r.browser().join()
	second := r.browser()
	second.fill(second.visit("/auth/login"), adas(adasPassword))
	for _, b := range []*browser{first, second} {
		if p := b.fetch("GET", "/api/x"); p.Status != http.StatusOK {
			t.Fatalf("before: %d", p.Status)
		}
	}
	// As another process does.
	db := accountsFile(t, path)
	if _, err := db.Exec("UPDATE account SET disabled = 1, epoch = epoch + 1"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("INSERT INTO account_ending SELECT id, 1 FROM account"); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for _, b := range []*browser{first, second} {
		for b.fetch("GET", "/api/x").Status != http.StatusUnauthorized {
			if time.Now().After(deadline) {
				t.Fatal("still in after 5 s")
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if p := first.fill(first.visit("/auth/login"), adas(adasPassword)); p.Status != http.StatusUnprocessableEntity {
		t.Errorf("signing in again: %d", p.Status)
	}
}

// Beside a provider there is a page to choose, and each answers for itself.
func TestAccounts_BesideAProvider(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) {
		c.Accounts = people(t)
		c.Accounts.Title = "Our own"
	})
	b := r.browser()
	if p := b.visit("/auth/login?return_to=/page/"); !strings.Contains(p.Body, "Our own") || !strings.Contains(p.Body, ">main<") {
		t.Fatalf("%.600s", p.Body)
	}
	if p := b.visit("/auth/login?provider=main&return_to=/page/"); p.URL != "/page/" {
		t.Errorf("the provider: %d %s", p.Status, p.URL)
	}
	if p := b.fill(b.visit("/auth/register?provider=accounts&return_to=/page/"), adas(adasPassword)); p.URL != "/page/" {
		t.Errorf("our own: %d %s", p.Status, p.URL)
	}
	// prompt=none at our own accounts asks nobody and ends at once (L17).
	if p := r.browser().visit("/auth/login?provider=accounts&prompt=none"); p.Status != http.StatusForbidden || !strings.Contains(p.Body, "Signing in was not completed") {
		t.Errorf("prompt=none: %d %s", p.Status, p.URL)
	}
}

// Tokens of ours open routes with bearer: accept, for their audience, as long as the account may sign in.
func TestAccounts_BearerOfOurOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) {
		c.Accounts.Database = accountsFile(t, path)
		c.Accounts.Tokens.Audience = []string{"https://api.example.com", "https://other.example.com"}
		c.Routes = append(c.Routes,
			cloakroom.Route{Path: "/machines/", Upstream: c.Routes[0].Upstream, Bearer: cloakroom.BearerAccept, Audience: "https://api.example.com"},
			cloakroom.Route{Path: "/others/", Upstream: c.Routes[0].Upstream, Bearer: cloakroom.BearerAccept, Audience: "https://elsewhere.example.com"})
	}))
	r.browser().join()
	token := r.last().Header["Authorization"]
	for path, want := range map[string]int{"/machines/x": 200, "/others/x": 401} {
		if p := r.browser().do(request{method: "GET", path: path, header: http.Header{"Authorization": token}}); p.Status != want {
			t.Errorf("%s: %d, want %d", path, p.Status, want)
		}
	}
}

// Our own library for APIs takes our tokens, too.
func TestAccounts_PackageVerifyTakesTheirTokens(t *testing.T) {
	var gateway http.Handler
	public := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { gateway.ServeHTTP(w, r) }))
	t.Cleanup(public.Close)
	issuer := public.URL + "/auth"
	r := newRig(t, withAccounts(t, func(c *cloakroom.Config) { c.Accounts.Tokens.Issuer = issuer }))
	gateway = r.gateway
	r.browser().join()
	v, err := verify.New(verify.Options{
		Issuers: []verify.Issuer{{URL: issuer, JWKS: issuer + "/jwks", Algorithms: []string{"ES256"}}}, Audience: appURL,
	})
	if err != nil {
		t.Fatal(err)
	}
	api := v.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, _ := verify.FromContext(r.Context())
		io.WriteString(w, token.Subject)
	}))
	w, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
	req.Header["Authorization"] = r.last().Header["Authorization"]
	api.ServeHTTP(w, req)
	if w.Code != http.StatusOK || len(w.Body.String()) != 22 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestNew_AccountsRefused(t *testing.T) {
	db := accountsFile(t, filepath.Join(t.TempDir(), "accounts.db"))
	for want, change := range map[string]func(*cloakroom.Config){
		`provider "accounts": that is what our own`:    func(c *cloakroom.Config) { c.Providers["accounts"] = c.Providers["main"] },
		`has the issuer of our own accounts`:           func(c *cloakroom.Config) { c.Accounts.Tokens.Issuer = c.Providers["main"].Issuer },
		`accounts: login: "phone" is neither email`:    func(c *cloakroom.Config) { c.Accounts.Login = "phone" },
		`tokens: claims: sub is set by the issuer`:     func(c *cloakroom.Config) { c.Accounts.Tokens.Claims = []string{"sub"} },
		`tokens: lifetime is 10s to 15m0s`:             func(c *cloakroom.Config) { c.Accounts.Tokens.Lifetime = time.Hour },
		`tokens: alg: "HS256" is none of ES256, EdDSA`: func(c *cloakroom.Config) { c.Accounts.Tokens.Algorithm = "HS256" },
	} {
		cfg := cloakroom.Config{
			URL: appURL, Keys: []string{cloakroom.NewKey()}, Store: newRig(t, nil).store, Accounts: &cloakroom.Accounts{Database: db},
			Providers: map[string]cloakroom.Provider{"main": {Issuer: "https://login.example.com", ClientID: "x", ClientSecret: "y"}},
		}
		change(&cfg)
		if _, err := cloakroom.New(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
