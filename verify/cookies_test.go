package verify

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/guard"
	"github.com/cloakroom-go/cloakroom/internal/seal"
)

const (
	appURL  = "https://app.example.com"
	apiURL  = "https://api.example.com"
	sibling = "https://blog.example.com"
)

// beside is an API on a sibling host of the gateway's, which gives its cookies the domain of both.
func beside(change func(*Gateway)) func(*Options) {
	return func(o *Options) {
		o.URL, o.Gateway = apiURL, &Gateway{URL: appURL, Domain: "example.com"}
		if change != nil {
			change(o.Gateway)
		}
	}
}

// halves cuts a token before its signature.
func halves(token string) (claims, signature string) {
	at := strings.LastIndexByte(token, '.')
	return token[:at], token[at+1:]
}

// from says where a request comes from, in the words of a browser.
func from(page, site string, more ...string) http.Header {
	h := http.Header{"Origin": {page}, "Sec-Fetch-Site": {site}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}}
	for i := 0; i < len(more); i += 2 {
		h.Add(more[i], more[i+1])
	}
	return h
}

// The names of the cookies follow from the gateway's configuration, and no others count.
func TestCookies_A7_Names(t *testing.T) {
	const host, httpOnly, secure = "__Host-access_token", "__Host-Http-access_token", "__Secure-access_token"
	for _, c := range []struct {
		name             string
		gateway          Gateway
		url              string
		whole            string // holds the token whole
		claims           string // holds it split
		site, page, dead string // a name that counts for nothing here
	}{
		{"in front of both", Gateway{URL: appURL}, "", httpOnly, host, "same-origin", appURL, secure},
		{"another port", Gateway{URL: appURL}, "https://app.example.com:8443", httpOnly, host, "same-site", appURL, secure},
		{"a domain", Gateway{URL: appURL, Domain: "example.com"}, apiURL, secure, secure, "same-site", appURL, httpOnly},
		{"a path", Gateway{URL: appURL, Path: "/api"}, "", secure, secure, "same-origin", appURL, host},
		{"the path that is the default", Gateway{URL: appURL, Path: "/"}, "", httpOnly, host, "same-origin", appURL, secure},
		{"development", Gateway{URL: "http://localhost:8080"}, "http://localhost:3000", "cloakroom-8080-access_token", "cloakroom-8080-access_token", "same-site", "http://localhost:8080", "cloakroom-3000-access_token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(o *Options) { o.Gateway, o.URL = &c.gateway, c.url })
			token := r.token()
			claims, signature := halves(token)
			sig := c.whole + ".sig"
			for _, way := range []struct {
				name, cookies, path string
				status              int
				says, client        string
			}{
				{"whole", c.whole + "=" + token, "/api", 200, "", ""},
				{"split", c.claims + "=" + claims + "; " + sig + "=" + signature, "/api", 200, "", ""},
				{"split, the other way round, between others", "a=b; " + sig + "=" + signature + "; c=d; " + c.claims + "=" + claims, "/api", 200, "", ""},
				{"a scope less", c.whole + "=" + r.token(fakeop.Drop("scope")), "/write", 403, `Bearer error="insufficient_scope", scope="notes:write notes:read"`, ""},
				{"none", "a=b", "/api", 401, "Bearer", "login-required"},
				{"cleared", c.whole + "=", "/api", 401, "Bearer", "login-required"},
				{"expired", c.whole + "=" + r.token(fakeop.Set("exp", 1_700_000_000)), "/api", 401, `Bearer error="invalid_token"`, "login-required"},
				{"under another name", c.dead + "=" + token, "/api", 401, "Bearer", "login-required"},
				{"one byte", c.whole + "=x", "/api", 401, `Bearer error="invalid_token"`, "login-required"},
				{"64 kB", c.whole + "=" + strings.Repeat("x", 64<<10), "/api", 401, `Bearer error="invalid_token"`, "login-required"},
				{"the first half", c.claims + "=" + claims, "/api", 401, `Bearer error="invalid_token"`, "login-required"},
				{"the second half", sig + "=" + signature, "/api", 401, `Bearer error="invalid_token"`, "login-required"},
				{"halves of two", c.claims + "=" + claims + "; " + sig + "=" + signature[1:] + "A", "/api", 401, `Bearer error="invalid_token"`, "login-required"},
				{"A7 two of one name", c.whole + "=" + token + "; " + c.whole + "=" + token, "/api", 400, `Bearer error="invalid_request"`, ""},
				{"A7 two signatures", c.claims + "=" + claims + "; " + sig + "=" + signature + "; " + sig + "=" + signature, "/api", 400, `Bearer error="invalid_request"`, ""},
			} {
				h := from(c.page, c.site, "Cookie", way.cookies)
				a := r.send("GET", way.path, "", h)
				if a.status != way.status || a.header.Get("WWW-Authenticate") != way.says || a.header.Get("Cloakroom") != way.client || (a.found != nil) != (way.status == 200) {
					t.Errorf("%s: %d %s, WWW-Authenticate %q, Cloakroom %q", way.name, a.status, a.body, a.header.Get("WWW-Authenticate"), a.header.Get("Cloakroom"))
				}
				if a.found != nil && a.found.Subject != "ada" {
					t.Errorf("%s: it is %s", way.name, a.found.Subject)
				}
			}
			if c.whole != c.claims {
				a := r.send("GET", "/api", "", from(c.page, c.site, "Cookie", c.whole+"="+token+"; "+c.claims+"="+claims+"; "+sig+"="+signature))
				if a.status != 400 {
					t.Errorf("A7 whole and split: %d", a.status)
				}
			}
		})
	}
}

// A7: a cookie and an Authorization are two answers to the question who it is, whatever they say.
func TestCookies_A7_NeverTwoAtOnce(t *testing.T) {
	r := newRig(t, beside(nil))
	token, other := r.token(), r.token(fakeop.Set("sub", "eve"))
	claims, signature := halves(token)
	for name, authorization := range map[string]string{"another's": "Bearer " + other, "the same": "Bearer " + token, "nonsense": "Bearer x", "another scheme": "Basic eDp5", "bound to a key": "DPoP " + token} {
		for _, cookies := range []string{"__Secure-access_token=" + token, "__Secure-access_token=" + claims + "; __Secure-access_token.sig=" + signature} {
			a := r.send("GET", "/api", "", from(appURL, "same-site", "Cookie", cookies, "Authorization", authorization))
			if a.status != 400 || a.problem() != "bad_request" || a.header.Get("WWW-Authenticate") != `Bearer error="invalid_request"` || a.found != nil {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
	}
	// A page that holds its token itself brings no cookie, and is told to fetch another if that one is over.
	if a := r.send("POST", "/api", "", from(appURL, "same-site", "Authorization", "Bearer "+token)); a.status != 200 {
		t.Errorf("a bearer alone: %d %s", a.status, a.body)
	}
	if a := r.send("POST", "/api", "", from(appURL, "same-site", "Authorization", "Bearer x")); a.status != 401 || a.header.Get("Cloakroom") != "token-required" {
		t.Errorf("a bad one: %d, Cloakroom %q", a.status, a.header.Get("Cloakroom"))
	}
	// Nor is a cookie looked at where none is known of.
	plain := newRig(t, nil)
	h := bearer(plain.token())
	h.Set("Cookie", "__Secure-access_token="+other)
	if a := plain.send("GET", "/api", "", h); a.status != 200 || a.found.Subject != "ada" {
		t.Errorf("without a gateway: %d", a.status)
	}
}

// A7: what a browser brings by itself says nothing of who wanted it. The table is the gateway's (docs/security.md).
func TestCookies_A7_X3_X4_X5_X9_WhereItComesFrom(t *testing.T) {
	r := newRig(t, beside(func(g *Gateway) { g.Origins = []string{"https://front.example.com"} }))
	cookie := "__Secure-access_token=" + r.token()
	for _, c := range []struct {
		name, method string
		header       http.Header
		pass         bool
	}{
		{"the gateway's page", "POST", from(appURL, "same-site"), true},
		{"a listed page", "DELETE", from("https://front.example.com", "same-site"), true},
		{"the API's own page", "POST", from(apiURL, "same-origin"), true},
		{"a read of the gateway's page", "GET", from(appURL, "same-site"), true},
		{"another site", "POST", from("https://evil.example", "cross-site"), false},
		{"a read of another site", "GET", from("https://evil.example", "cross-site"), false},
		{"a sibling host", "POST", from(sibling, "same-site"), false},
		{"a read of a sibling host", "GET", from(sibling, "same-site"), false},
		{"a suffix of our name", "POST", from(appURL+".evil.example", "cross-site"), false},
		{"our name on plain http", "POST", from("http://app.example.com", "cross-site"), false},
		{"a sandboxed frame", "POST", from("null", "cross-site"), false},
		{"a form of a sibling host, in a browser without Fetch Metadata", "POST", http.Header{"Origin": {sibling}}, false},
		{"the gateway's page there", "POST", http.Header{"Origin": {appURL}}, true},
		{"by Referer alone", "POST", http.Header{"Referer": {appURL + "/x"}}, true},
		{"a program that says nothing", "POST", http.Header{}, false},
		{"a link", "GET", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}}, true},
		{"a WebSocket of the gateway's page", "GET", http.Header{"Origin": {appURL}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, true},
		{"a WebSocket of another", "GET", http.Header{"Origin": {"https://evil.example"}, "Connection": {"Upgrade"}, "Upgrade": {"websocket"}}, false},
	} {
		c.header.Set("Cookie", cookie)
		a := r.send(c.method, "/api", "", c.header)
		if (a.status == 200) != c.pass || !c.pass && (a.status != 403 || a.problem() != "cross_site" || a.found != nil || a.header.Get("WWW-Authenticate") != "" || a.header.Get("Cloakroom") != "cross-site") {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
	if a := r.send("TRACE", "/api", "", http.Header{"Cookie": {cookie}}); a.status != 405 {
		t.Errorf("TRACE: %d", a.status)
	}
	// X10: what is refused asks nothing of an issuer.
	away := newRig(t, beside(nil), fakeop.Down())
	h := from("https://evil.example", "cross-site", "Cookie", "__Secure-access_token="+away.token())
	if a := away.send("POST", "/api", "", h); a.status != 403 || len(away.op.Endpoints()) != 0 {
		t.Errorf("refused with %d, after asking %q", a.status, away.op.Endpoints())
	}
}

func TestCookies_X2_Header(t *testing.T) {
	r := newRig(t, beside(func(g *Gateway) { g.CSRF = CSRFHeader }))
	cookie := "__Secure-access_token=" + r.token()
	for _, method := range []string{"GET", "POST"} {
		if a := r.send(method, "/api", "", from(appURL, "same-site", "Cookie", cookie)); a.status != 403 {
			t.Errorf("%s without: %d", method, a.status)
		}
		if a := r.send(method, "/api", "", from(appURL, "same-site", "Cookie", cookie, "X-Csrf-Token", "1")); a.status != 200 {
			t.Errorf("%s with: %d", method, a.status)
		}
		if a := r.send(method, "/api", "", bearer(r.token())); a.status != 200 {
			t.Errorf("%s with a bearer, which no browser adds: %d", method, a.status)
		}
	}
}

// The values that the gateway would give, by the bytes that docs/api.md fixes.
func csrfOf(key []byte, issuer, subject, sid string) (token, companion string) {
	mac := func(purpose string) string {
		sum := seal.HMAC(key, fmt.Appendf(nil, "cloakroom-csrf-1\n%s\n%s\n%s\n%s", purpose,
			base64.RawURLEncoding.EncodeToString([]byte(issuer)), base64.RawURLEncoding.EncodeToString([]byte(subject)), sid))
		return base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return "1." + mac("token"), "1." + sid + "." + mac("cookie")
}

func TestCookies_X8_TokenOfTheSession(t *testing.T) {
	key := seal.Random(32)
	r := newRig(t, beside(func(g *Gateway) { g.CSRF, g.CSRFKey = CSRFToken, guard.FormatKey(key) }))
	access := "__Secure-access_token=" + r.token()
	token, companion := csrfOf(key, r.op.Issuer(), "ada", "session-1")
	tokenE, companionE := csrfOf(key, r.op.Issuer(), "eve", "session-2")
	token2, _ := csrfOf(key, r.op.Issuer(), "ada", "session-3")
	_, elsewhere := csrfOf(key, "https://other.example", "ada", "session-1")
	for _, c := range []struct {
		name, companion, token string
		pass                   bool
	}{
		{"both of the session", companion, token, true},
		{"none", companion, "", false},
		{"no companion", "", token, false},
		{"eve's pair beside ada's access token", companionE, tokenE, false},
		{"of another session of hers", companion, token2, false},
		{"of another issuer's ada", elsewhere, token, false},
		{"any", companion, "1", false},
	} {
		h := from(appURL, "same-site", "Cookie", access+"; __Secure-csrf="+c.companion)
		if c.token != "" {
			h.Set("X-CSRF-Token", c.token)
		}
		a := r.send("POST", "/api", "", h)
		if (a.status == 200) != c.pass || !c.pass && (a.status != 403 || a.problem() != "cross_site" || a.found != nil) {
			t.Errorf("%s: %d %s", c.name, a.status, a.body)
		}
	}
	good := access + "; __Secure-csrf=" + companion
	if a := r.send("GET", "/api", "", from(appURL, "same-site", "Cookie", good)); a.status != 200 {
		t.Errorf("a read needs none: %d", a.status)
	}
	h := from(appURL, "same-site", "Cookie", good+"; __Secure-csrf="+companion, "X-Csrf-Token", token)
	if a := r.send("POST", "/api", "", h); a.status != 403 {
		t.Errorf("two companions: %d", a.status)
	}
	if a := r.send("POST", "/api", "", from(sibling, "same-site", "Cookie", good, "X-Csrf-Token", token)); a.status != 403 {
		t.Errorf("with the token from a sibling host: %d", a.status)
	}
	form := from(appURL, "same-site", "Cookie", good, "Content-Type", "application/x-www-form-urlencoded")
	body := "text=hello&_csrf=" + token
	if a := r.send("POST", "/api", body, form); a.status != 200 || a.body != body {
		t.Errorf("a form: %d, and the handler got %q", a.status, a.body)
	}
	if a := r.send("POST", "/api", "", bearer(r.token())); a.status != 200 {
		t.Errorf("a bearer, which no browser adds: %d", a.status)
	}
}

// The list that says whose pages may use the cookies is the one that says whose scripts may read the answers.
func TestCookies_K1_K2_K3_Shared(t *testing.T) {
	r := newRig(t, beside(func(g *Gateway) { g.OriginHeaders = []string{"X-Apollo-Operation-Name"} }))
	ask := func(page, headers string) answer {
		return r.send("OPTIONS", "/api", "", http.Header{"Origin": {page}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {headers}})
	}
	a := ask(appURL, "authorization,content-type,x-apollo-operation-name,x-csrf-token")
	if a.status != 204 || a.header.Get("Access-Control-Allow-Origin") != appURL || a.header.Get("Access-Control-Allow-Credentials") != "true" || a.found != nil {
		t.Errorf("a preflight: %d %v", a.status, a.header)
	}
	for _, refused := range []answer{ask(sibling, "content-type"), ask("null", ""), ask(appURL, "x-other")} {
		if refused.header.Get("Access-Control-Allow-Origin") != "" || refused.found != nil {
			t.Errorf("refused: %v", refused.header)
		}
	}
	cookie := "__Secure-access_token=" + r.token()
	for page, want := range map[string]string{appURL: appURL, apiURL: "", sibling: ""} {
		for _, cookies := range []string{cookie, ""} { // a refusal is for the page to read, too
			a := r.send("GET", "/api", "", from(page, "same-site", "Cookie", cookies))
			if got := a.header.Get("Access-Control-Allow-Origin"); got != want || !strings.Contains(strings.Join(a.header["Vary"], ","), "Origin") {
				t.Errorf("%s may read: %q, Vary %q", page, got, a.header["Vary"])
			}
		}
	}
	if a := r.send("GET", "/api", "", from(appURL, "same-site", "Cookie", cookie)); a.header.Get("Cache-Control") != "private" {
		t.Errorf("Cache-Control %q", a.header.Get("Cache-Control"))
	}
}

func TestNew_RefusesAGatewayThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name, url string
		gateway   *Gateway
		want      string
	}{
		{"nothing", "", &Gateway{}, "Gateway.URL"},
		{"a path", "", &Gateway{URL: appURL + "/"}, "ends with its host or port"},
		{"cookies that stay at home", apiURL, &Gateway{URL: appURL}, "only with a domain"},
		{"another site", "https://api.example.org", &Gateway{URL: appURL, Domain: "example.com"}, "not one site"},
		{"another scheme", "http://api.example.com", &Gateway{URL: appURL, Domain: "example.com"}, "not one site"},
		{"a wildcard", "", &Gateway{URL: appURL, Origins: []string{"https://*.example.com"}}, "wildcard"},
		{"no such word", "", &Gateway{URL: appURL, CSRF: "cookie"}, "none of origin, header, token"},
		{"tokens without a key", "", &Gateway{URL: appURL, CSRF: CSRFToken}, "Gateway.CSRFKey"},
		{"a URL alone", apiURL, nil, "it goes with Gateway"},
	} {
		_, err := New(Options{Issuers: []Issuer{{URL: "https://id.example"}}, Audience: "api", URL: c.url, Gateway: c.gateway})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	secret := guard.FormatKey(seal.Random(32))
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if text := fmt.Sprintf(format, Gateway{URL: appURL, CSRFKey: secret}) + fmt.Sprintf(format, &Gateway{URL: appURL, CSRFKey: secret}); strings.Contains(text, secret) {
			t.Errorf("%s prints %s", format, text)
		}
	}
}
