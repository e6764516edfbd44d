package demo

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// rp is an independent relying party with its own HTTP calls; go-oidc reads the metadata and verifies the ID tokens.
type rp struct {
	*browser
	p        *provider
	oidc     *oidc.Provider
	ends     map[string]string // endpoints, from the metadata
	callback string
}

func newRP(t *testing.T) *rp {
	t.Helper()
	l, err := openLedger(filepath.Join(seeded(t), "demo.json"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return newRPWith(t, l)
}

func newRPWith(t *testing.T, l *ledger) *rp {
	t.Helper()
	const callback = "http://127.0.0.1:9/auth/callback" // nobody listens: the browser stops before it
	server := httptest.NewUnstartedServer(nil)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := relyingParty{id: "app", secret: l.page.ClientSecret, redirect: callback, signedOut: []string{"http://127.0.0.1:9/out"}}
	p := newProvider("http://localhost:"+port, client, 30*time.Second, l, func(string, string) {})
	server.Config.Handler = p.handler(http.NotFound)
	server.Start()
	t.Cleanup(server.Close)
	op, err := oidc.NewProvider(t.Context(), p.issuer)
	if err != nil {
		t.Fatal(err)
	}
	r := &rp{browser: newBrowser(t).staying("localhost:" + port), p: p, oidc: op, callback: callback}
	var all map[string]any
	if err := op.Claims(&all); err != nil {
		t.Fatal(err)
	}
	r.ends = map[string]string{}
	for name, value := range all {
		if text, ok := value.(string); ok {
			r.ends[name] = text
		}
	}
	return r
}

const testVerifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636 appendix B

func (r *rp) request(change ...string) url.Values {
	q := url.Values{
		"client_id": {"app"}, "redirect_uri": {r.callback}, "response_type": {"code"}, "scope": {"openid profile email"},
		"state": {"the-state"}, "nonce": {"the-nonce"}, "code_challenge_method": {"S256"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"},
	}
	for i := 0; i+1 < len(change); i += 2 {
		if q.Set(change[i], change[i+1]); change[i+1] == "" {
			q.Del(change[i])
		}
	}
	return q
}

func (r *rp) authorize(change ...string) view {
	r.t.Helper()
	return r.open(r.ends["authorization_endpoint"] + "?" + r.request(change...).Encode())
}

// answer reads an authorization response, and checks what all of them have.
func (r *rp) answer(v view) url.Values {
	r.t.Helper()
	to, err := url.Parse(v.Header.Get("Location"))
	if err != nil || v.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to.String(), r.callback+"?") {
		r.t.Fatalf("no answer: %d %q %q", v.StatusCode, v.Header.Get("Location"), v.text)
	}
	if q := to.Query(); q.Get("iss") != r.p.issuer || q.Get("state") != "the-state" {
		r.t.Fatalf("iss or state is wrong: %s", to)
	}
	return to.Query()
}

func (r *rp) code(username string, change ...string) string {
	r.t.Helper()
	page := r.authorize(change...).want(r.t, http.StatusOK, "password")
	return r.answer(r.submit(page, url.Values{"username": {username}, "password": {"x"}})).Get("code")
}

type tokenAnswer struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Expires int    `json:"expires_in"`
	Type    string `json:"token_type"`
	Error   string `json:"error"`
}

func (r *rp) token(form ...string) (a tokenAnswer, status int) {
	r.t.Helper()
	v := r.call("token_endpoint", form...)
	if v.Header.Get("Cache-Control") != "no-store" {
		r.t.Error("the token answer may be stored")
	}
	if err := json.Unmarshal([]byte(v.text), &a); err != nil {
		r.t.Fatalf("%d %s: %v", v.StatusCode, v.text, err)
	}
	return a, v.StatusCode
}

func (r *rp) call(endpoint string, form ...string) view {
	r.t.Helper()
	q := url.Values{"client_id": {"app"}, "client_secret": {r.p.client.secret}}
	for i := 0; i+1 < len(form); i += 2 {
		q.Set(form[i], form[i+1])
	}
	return r.post(r.ends[endpoint], q)
}

func (r *rp) redeem(code string) (tokenAnswer, int) {
	return r.token("grant_type", "authorization_code", "code", code, "redirect_uri", r.callback, "code_verifier", testVerifier)
}

func (r *rp) refresh(token string) (tokenAnswer, int) {
	return r.token("grant_type", "refresh_token", "refresh_token", token)
}

func TestProvider_CodeFlow(t *testing.T) {
	r := newRP(t)
	a, status := r.redeem(r.code("ada"))
	if status != http.StatusOK || a.Type != "Bearer" || a.Expires != 30 || a.Refresh == "" {
		t.Fatalf("%d %+v", status, a)
	}
	id, err := r.oidc.Verifier(&oidc.Config{ClientID: "app"}).Verify(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := id.VerifyAccessToken(a.Access); err != nil || id.Nonce != "the-nonce" {
		t.Errorf("nonce %q, %v", id.Nonce, err)
	}
	info := r.send("GET", r.ends["userinfo_endpoint"], "", "", "Authorization", "Bearer "+a.Access).want(t, http.StatusOK, `"email":"ada@demo.example"`)
	if !strings.Contains(info.text, id.Subject) {
		t.Errorf("userinfo is about someone else: %s", info.text)
	}
	r.send("GET", r.ends["userinfo_endpoint"], "", "", "Authorization", "Bearer "+a.ID).want(t, http.StatusUnauthorized, "no access token")

	// Single sign-on, and what prompt makes of it.
	r.answer(r.authorize())
	r.answer(r.authorize("prompt", "none"))
	r.authorize("prompt", "login", "login_hint", "grace").want(t, http.StatusOK, `value="grace"`)
	r.authorize("prompt", "select_account").want(t, http.StatusOK, "Continue as Ada")
	r.authorize("max_age", "0").want(t, http.StatusOK, "password")
	page := r.authorize("prompt", "create").want(t, http.StatusOK, "Create an account")
	code := r.answer(r.submit(page, url.Values{"username": {"grace"}, "name": {"Grace Hopper"}, "password": {"x"}})).Get("code")
	a, _ = r.redeem(code)
	if id, err = r.oidc.Verifier(&oidc.Config{ClientID: "app"}).Verify(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	var who profileClaims
	if err := id.Claims(&who); err != nil || who.Name != "Grace Hopper" {
		t.Errorf("%+v, %v", who, err)
	}
}

func TestProvider_RefusesRequests(t *testing.T) {
	r := newRP(t)
	for _, c := range []struct{ name, parameter, value, want string }{
		{"no PKCE", "code_challenge", "", "invalid_request"},
		{"PKCE plain", "code_challenge_method", "plain", "invalid_request"},
		{"implicit flow", "response_type", "token", "unsupported_response_type"},
		{"no openid", "scope", "profile", "invalid_scope"},
		{"nobody signed in", "prompt", "none", "login_required"},
		{"prompt none and more", "prompt", "none login", "invalid_request"},
		{"request object", "request", "eyJ", "request_not_supported"},
		{"response mode fragment", "response_mode", "fragment", "invalid_request"},
		{"max_age is no number", "max_age", "soon", "invalid_request"},
	} {
		if got := r.answer(r.authorize(c.parameter, c.value)).Get("error"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	// Where the way back is not sure, nobody is sent back.
	r.authorize("redirect_uri", r.callback+"/x").want(t, http.StatusBadRequest, "not registered")
	r.authorize("client_id", "other").want(t, http.StatusBadRequest, "not known")
	r.authorize("request_uri", pushedPrefix+"x").want(t, http.StatusBadRequest, "took too long")
}

func TestProvider_CodeIsGoodOnce(t *testing.T) {
	r := newRP(t)
	code := r.code("ada")
	for _, wrong := range [][]string{
		{"code", code, "redirect_uri", r.callback, "code_verifier", testVerifier + "x"},
		{"code", r.code("ada", "prompt", "login"), "redirect_uri", r.callback + "x", "code_verifier", testVerifier},
		{"code", "unknown", "redirect_uri", r.callback, "code_verifier", testVerifier},
	} {
		if a, status := r.token(append(wrong, "grant_type", "authorization_code")...); status != http.StatusBadRequest || a.Error != "invalid_grant" {
			t.Errorf("%v: %d %+v", wrong, status, a)
		}
	}
	code = r.code("ada", "prompt", "login")
	first, status := r.redeem(code)
	if status != http.StatusOK {
		t.Fatalf("%d %+v", status, first)
	}
	if a, _ := r.redeem(code); a.Error != "invalid_grant" {
		t.Errorf("second use: %+v", a)
	}
	if a, _ := r.refresh(first.Refresh); a.Error != "invalid_grant" {
		t.Errorf("the tokens of a code that was used twice live on: %+v", a)
	}
}

func TestProvider_CodeIsRedeemedOnceAtOnce(t *testing.T) {
	r := newRP(t)
	code := r.code("ada")
	var wait sync.WaitGroup
	statuses := make(chan int, 8)
	for range 8 {
		wait.Go(func() {
			_, status := r.redeem(code)
			statuses <- status
		})
	}
	wait.Wait()
	close(statuses)
	good := 0
	for status := range statuses {
		if status == http.StatusOK {
			good++
		}
	}
	if good != 1 {
		t.Errorf("the code was redeemed %d times", good)
	}
}

func TestProvider_RefreshRotatesAndSurvivesRestart(t *testing.T) {
	path := filepath.Join(seeded(t), "demo.json")
	open := func() *ledger {
		l, err := openLedger(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	r := newRPWith(t, open())
	first, _ := r.redeem(r.code("ada"))
	second, status := r.refresh(first.Refresh)
	if status != http.StatusOK || second.Refresh == first.Refresh || second.Access == first.Access {
		t.Fatalf("%d %+v", status, second)
	}
	r = newRPWith(t, open()) // restarted
	third, status := r.refresh(second.Refresh)
	if status != http.StatusOK {
		t.Fatalf("after a restart: %d %+v", status, third)
	}
	if a, _ := r.refresh(second.Refresh); a.Error != "invalid_grant" {
		t.Errorf("reuse: %+v", a)
	}
	if a, _ := r.refresh(third.Refresh); a.Error != "invalid_grant" {
		t.Errorf("the family outlived the reuse: %+v", a)
	}
}

func TestProvider_ClientAuthentication(t *testing.T) {
	r := newRP(t)
	refresh := func(header string, form url.Values) view {
		form.Set("grant_type", "refresh_token")
		return r.post(r.ends["token_endpoint"], form, "Authorization", header)
	}
	basic := func(id, secret string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
	}
	secret := r.p.client.secret
	refresh(basic("app", secret), url.Values{}).want(t, http.StatusBadRequest, "invalid_grant")
	refresh(basic("app", "wrong"), url.Values{}).want(t, http.StatusUnauthorized, "invalid_client")
	refresh("", url.Values{"client_id": {"app"}}).want(t, http.StatusUnauthorized, "invalid_client")
	refresh(basic("app", secret), url.Values{"client_secret": {secret}}).want(t, http.StatusBadRequest, "invalid_request")
	refresh("", url.Values{"client_id": {"app", "app"}, "client_secret": {secret}}).want(t, http.StatusBadRequest, "twice")
}

func TestProvider_PushedRequestsAreGoodOnce(t *testing.T) {
	r := newRP(t)
	form := []string{}
	for name, values := range r.request() {
		form = append(form, name, values[0])
	}
	pushed := r.call("pushed_authorization_request_endpoint", form...).want(t, http.StatusCreated, pushedPrefix)
	var answer struct {
		URI string `json:"request_uri"`
	}
	if err := json.Unmarshal([]byte(pushed.text), &answer); err != nil {
		t.Fatal(err)
	}
	address := r.ends["authorization_endpoint"] + "?" + url.Values{"client_id": {"app"}, "request_uri": {answer.URI}}.Encode()
	page := r.open(address).want(t, http.StatusOK, "password")
	if _, status := r.redeem(r.answer(r.submit(page, url.Values{"username": {"ada"}, "password": {"x"}})).Get("code")); status != http.StatusOK {
		t.Errorf("redeem: %d", status)
	}
	r.open(address).want(t, http.StatusBadRequest, "used before")
	r.call("pushed_authorization_request_endpoint", append(form, "redirect_uri", "https://evil.example/")...).want(t, http.StatusBadRequest, "invalid_request")
}

func TestProvider_FormPost(t *testing.T) {
	r := newRP(t)
	page := r.authorize("response_mode", "form_post").want(t, http.StatusOK, "password")
	sent := r.submit(page, url.Values{"username": {"ada"}, "password": {"x"}}).want(t, http.StatusOK, `name="code"`)
	if !strings.Contains(sent.text, `action="`+r.callback+`"`) || strings.Contains(sent.text, "<script>") {
		t.Errorf("the form: %s", sent.text)
	}
	if policy := sent.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' http://127.0.0.1:9;") {
		t.Errorf("the policy: %s", policy)
	}
}

func TestProvider_SignInFormIsProtected(t *testing.T) {
	r := newRP(t)
	page := r.authorize()
	person := func() url.Values { return url.Values{"username": {"ada"}, "password": {"x"}} }
	wrong := person()
	wrong.Set("token", "guessed")
	r.submit(page, wrong).want(t, http.StatusForbidden, "not shown by this page")

	other := newBrowser(t).staying("") // another browser has no right to this form
	other.submit(page, person()).want(t, http.StatusForbidden, "not shown by this page")

	form := person()
	for _, input := range inputTag.FindAllStringSubmatch(page.text, -1) {
		form.Set(input[1], input[2])
	}
	r.post(r.p.issuer+"/signin", form, "Sec-Fetch-Site", "cross-site").want(t, http.StatusForbidden, "not shown by this page")
	r.submit(page, url.Values{"username": {""}, "password": {"x"}}).want(t, http.StatusUnprocessableEntity, "Type a username")
	r.submit(page, url.Values{"username": {"ada"}, "password": {""}}).want(t, http.StatusUnprocessableEntity, "Type a password")
	r.submit(page, url.Values{"username": {`<b>"x"`}, "password": {""}}).want(t, http.StatusUnprocessableEntity, "&lt;b&gt;")
	r.answer(r.submit(page, person()))
	r.submit(page, person()).want(t, http.StatusBadRequest, "finished before")
}

func TestProvider_SignOut(t *testing.T) {
	r := newRP(t)
	a, _ := r.redeem(r.code("ada"))
	out := func(change ...string) view {
		q := url.Values{"post_logout_redirect_uri": {"http://127.0.0.1:9/out"}, "state": {"s & t"}, "client_id": {"app"}}
		for i := 0; i+1 < len(change); i += 2 {
			q.Set(change[i], change[i+1])
		}
		return r.open(r.ends["end_session_endpoint"] + "?" + q.Encode())
	}
	out("post_logout_redirect_uri", "http://127.0.0.1:9/out/x").want(t, http.StatusBadRequest, "not registered")
	out("id_token_hint", a.ID+"x").want(t, http.StatusBadRequest, "not from here")
	asked := out().want(t, http.StatusOK, "Sign out?")
	r.answer(r.authorize("prompt", "none")) // still signed in
	if done := r.submit(asked, url.Values{}); done.Header.Get("Location") != "http://127.0.0.1:9/out?state=s+%26+t" {
		t.Errorf("asked and answered: %d %q", done.StatusCode, done.Header.Get("Location"))
	}

	a, _ = r.redeem(r.code("ada"))
	if done := out("id_token_hint", a.ID); done.Header.Get("Location") != "http://127.0.0.1:9/out?state=s+%26+t" {
		t.Errorf("hinted: %d %q", done.StatusCode, done.Header.Get("Location"))
	}
	if got := r.answer(r.authorize("prompt", "none")).Get("error"); got != "login_required" {
		t.Errorf("still signed in: %q", got)
	}
	if a, _ := r.refresh(a.Refresh); a.Error != "invalid_grant" {
		t.Errorf("the tokens outlived the sign-out: %+v", a)
	}
}

func TestProvider_Revocation(t *testing.T) {
	r := newRP(t)
	a, _ := r.redeem(r.code("ada"))
	r.call("revocation_endpoint", "token", "unknown").want(t, http.StatusOK, "")
	r.call("revocation_endpoint", "token", a.Access).want(t, http.StatusOK, "")
	r.call("revocation_endpoint", "token", a.Refresh, "client_secret", "wrong").want(t, http.StatusUnauthorized, "invalid_client")
	a, status := r.refresh(a.Refresh)
	if status != http.StatusOK {
		t.Fatalf("%d %+v", status, a)
	}
	r.call("revocation_endpoint", "token", a.Refresh).want(t, http.StatusOK, "")
	r.send("GET", r.ends["userinfo_endpoint"], "", "", "Authorization", "Bearer "+a.Access).want(t, http.StatusUnauthorized, "over")
	if a, _ = r.refresh(a.Refresh); a.Error != "invalid_grant" {
		t.Errorf("%+v", a)
	}
}

func TestProvider_RefusesOtherHosts(t *testing.T) {
	r := newRP(t)
	q, err := http.NewRequestWithContext(context.Background(), http.MethodGet, r.p.issuer+"/jwks", nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Host = "rebound.example"
	r.do(q).want(t, http.StatusMisdirectedRequest, "")
}

// The API believes nothing that its issuer did not sign for it.
func TestAPI_VerifiesTokens(t *testing.T) {
	r := newRP(t)
	keys := &remoteKeys{url: r.ends["jwks_uri"], client: http.DefaultClient}
	server := httptest.NewServer(newAPI(verifier{issuer: r.p.issuer, keys: keys.find}, tokenCookies{}, nil))
	t.Cleanup(server.Close)

	own := r.p.ledger.page.SigningKey
	foreign, err := openLedger(filepath.Join(t.TempDir(), "demo.json"), func() string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	other := foreign.page.SigningKey
	other.KeyID = own.KeyID
	sum := sha256.Sum256([]byte("shared"))
	for _, c := range []struct {
		name   string
		alg    jose.SignatureAlgorithm
		key    any
		typ    string
		change func(*jwt.Claims)
		want   string // "" is good
	}{
		{"as it should be", jose.RS256, own, "at+jwt", func(*jwt.Claims) {}, ""},
		{"long form of the type", jose.RS256, own, "application/at+jwt", func(*jwt.Claims) {}, ""},
		{"an ID token's type", jose.RS256, own, "JWT", func(*jwt.Claims) {}, "no access token"},
		{"another audience", jose.RS256, own, "at+jwt", func(c *jwt.Claims) { c.Audience = jwt.Audience{"app"} }, "aud"},
		{"no audience", jose.RS256, own, "at+jwt", func(c *jwt.Claims) { c.Audience = nil }, "aud"},
		{"another issuer", jose.RS256, own, "at+jwt", func(c *jwt.Claims) { c.Issuer += "1" }, "iss"},
		{"over", jose.RS256, own, "at+jwt", func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(time.Now().Add(-time.Second)) }, "exp"},
		{"without end", jose.RS256, own, "at+jwt", func(c *jwt.Claims) { c.Expiry = nil }, "missing"},
		{"about nobody", jose.RS256, own, "at+jwt", func(c *jwt.Claims) { c.Subject = "" }, "missing"},
		{"another key of the same name", jose.RS256, other, "at+jwt", func(*jwt.Claims) {}, "signature"},
		{"a key of no known name", jose.RS256, foreign.page.SigningKey, "at+jwt", func(*jwt.Claims) {}, "key"},
		{"another algorithm", jose.PS256, own.Key, "at+jwt", func(*jwt.Claims) {}, "RS256"},
		{"a shared secret", jose.HS256, sum[:], "at+jwt", func(*jwt.Claims) {}, "RS256"},
	} {
		claims := jwt.Claims{
			Issuer: r.p.issuer, Subject: "s", Audience: jwt.Audience{audience},
			IssuedAt: jwt.NewNumericDate(time.Now()), Expiry: jwt.NewNumericDate(time.Now().Add(time.Minute)),
		}
		c.change(&claims)
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: c.alg, Key: c.key}, (&jose.SignerOptions{}).WithType(jose.ContentType(c.typ)))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		raw, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		v := r.send("GET", server.URL+"/api/me", "", "", "Authorization", "Bearer "+raw)
		challenge := v.Header.Get("WWW-Authenticate")
		switch {
		case c.want == "" && v.StatusCode != http.StatusOK:
			t.Errorf("%s: %d %s", c.name, v.StatusCode, v.text)
		case c.want != "" && (v.StatusCode != http.StatusUnauthorized || !strings.Contains(v.text, c.want) || !strings.Contains(challenge, `error="invalid_token"`)):
			t.Errorf("%s: %d %s, challenge %s", c.name, v.StatusCode, v.text, challenge)
		}
	}
	bare := r.open(server.URL+"/api/me").want(t, http.StatusUnauthorized, "no bearer")
	if challenge := bare.Header.Get("WWW-Authenticate"); challenge != `Bearer realm="demo"` {
		t.Errorf("challenge %s", challenge)
	}
}
