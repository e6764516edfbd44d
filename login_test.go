package cloakroom_test

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
)

const sessionCookie = "__Host-Http-session"

func TestSignIn_CB8_StrictCookieArrives(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	if got := r.last().Header.Get("Authorization"); !strings.HasPrefix(got, "Bearer ey") {
		t.Errorf("the API got Authorization %q", got)
	}
	if got := r.last().Header.Get("Cookie"); got != "" {
		t.Errorf("the API got our cookies: %q", got)
	}
	if len(b.cookies) != 1 {
		t.Errorf("cookies left behind: %v", b.cookies)
	}
	p := b.fetch("GET", "/auth/session")
	if v := p.json(t); v["authenticated"] != true || v["user"].(map[string]any)["sub"] != fakeop.Subject {
		t.Errorf("session: %s", p.Body)
	}
	if got, want := r.actions(), []audit.Action{audit.LoginStarted, audit.Login}; !slices.Equal(got, want) {
		t.Errorf("audit: %v, want %v", got, want)
	}
}

func TestSessionCookie_C1_C2_Attributes(t *testing.T) {
	for _, tt := range []struct {
		name     string
		sameSite string
		remember string
		want     http.SameSite
	}{
		{"strict, until the browser closes", "", "", http.SameSiteStrictMode},
		{"lax by option", "lax", "", http.SameSiteLaxMode},
		{"remembered", "", "&remember=1", http.SameSiteStrictMode},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, func(c *cloakroom.Config) { c.Cookie.SameSite = tt.sameSite })
			b := r.browser()
			b.visit("/auth/login?return_to=/page/" + tt.remember)
			c := b.cookies[holding()]
			if c == nil || !c.HttpOnly || !c.Secure || c.SameSite != tt.want || c.Path != "/" || c.Domain != "" {
				t.Fatalf("cookie: %v", c)
			}
			// C11: persistent means the rest of the absolute lifetime, twelve hours here.
			if persistent := c.MaxAge > 0; persistent != (tt.remember != "") || c.MaxAge > 12*3600 || persistent && c.MaxAge < 12*3600-60 {
				t.Errorf("Max-Age: %d", c.MaxAge)
			}
		})
	}
}

func TestSignIn_FormPost_CB6(t *testing.T) {
	r := newRig(t, formPost)
	b := r.browser()
	p := b.do(request{method: "GET", path: "/auth/login?return_to=/page/", site: "none", nav: true})
	for name, c := range b.cookies {
		if strings.Contains(name, "login.") && c.SameSite != http.SameSiteNoneMode {
			t.Errorf("L7: the login cookie must be SameSite=None for form_post: %v", c)
		}
	}
	answer := r.op.Visit(mustURL(t, p.next(t)))
	if got := b.do(request{method: "GET", path: "/auth/callback?" + answer.Encode(), site: "cross-site", nav: true}); got.Status != http.StatusMethodNotAllowed {
		t.Errorf("an answer by GET: %d, want 405", got.Status)
	}
	got := b.do(request{
		method: "POST", path: "/auth/callback", site: "cross-site", nav: true, body: answer.Encode(),
		header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Origin": {r.op.Issuer()}},
	})
	if got.Status != http.StatusOK || b.ticket() == "" {
		t.Errorf("an answer by POST: %d %.200s", got.Status, got.Body)
	}
}

func formPost(c *cloakroom.Config) {
	p := c.Providers["main"]
	p.ResponseMode = "form_post"
	c.Providers["main"] = p
}

// begun is a login that was begun and whose answer is at hand.
func begun(t *testing.T, r *rig, b *browser) url.Values {
	t.Helper()
	p := b.do(request{method: "GET", path: "/auth/login?return_to=/page/", site: "none", nav: true})
	if p.Status != http.StatusFound {
		t.Fatalf("login: %d %.300s", p.Status, p.Body)
	}
	return r.op.Visit(mustURL(t, p.next(t)))
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func callback(b *browser, answer url.Values) *page {
	return b.do(request{method: "GET", path: "/auth/callback?" + answer.Encode(), site: "cross-site", nav: true})
}

// What is wrong with an answer, and what comes of it. In none of these cases is the code redeemed.
func TestCallback_Refused(t *testing.T) {
	tests := []struct {
		name   string
		spoil  func(url.Values)
		status int // 200: a page that looks whether the person is signed in, or starts over
	}{
		{"CB1_AlteredState", func(v url.Values) { v.Set("state", flip(v.Get("state"), 20)) }, http.StatusOK},
		{"CB1_StateOfNobody", func(v url.Values) { v.Set("state", flip(v.Get("state"), 2)) }, http.StatusOK},
		{"CB1_StateTooLong", func(v url.Values) { v.Set("state", v.Get("state")+"1") }, http.StatusBadRequest},
		{"CB1_NoState", func(v url.Values) { v.Del("state") }, http.StatusBadRequest},
		{"CB2_WrongIssuer", func(v url.Values) { v.Set("iss", v.Get("iss")+"1") }, http.StatusBadGateway},
		{"CB2_NoIssuer", func(v url.Values) { v.Del("iss") }, http.StatusBadGateway},
		{"CB2_WrongIssuerInError", func(v url.Values) {
			v.Del("code")
			v.Set("error", "access_denied")
			v.Set("iss", "https://evil.example")
		}, http.StatusBadGateway},
		{"CB5_Error", func(v url.Values) { v.Del("code"); v.Set("error", "access_denied") }, http.StatusForbidden},
		{"CB4_NoCode", func(v url.Values) { v.Del("code") }, http.StatusBadGateway},
		{"CB4_TwoCodes", func(v url.Values) { v.Add("code", "another") }, http.StatusBadRequest},
		{"CB4_TwoStates", func(v url.Values) { v.Add("state", v.Get("state")) }, http.StatusBadRequest},
		{"CB4_TwoIssuers", func(v url.Values) { v.Add("iss", v.Get("iss")) }, http.StatusBadRequest},
		{"CB4_TwoErrors", func(v url.Values) { v["error"] = []string{"a", "b"} }, http.StatusBadRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil)
			b := r.browser()
			answer := begun(t, r, b)
			tt.spoil(answer)
			p := callback(b, answer)
			if p.Status != tt.status {
				t.Errorf("status %d, want %d: %.300s", p.Status, tt.status, p.Body)
			}
			if n := r.op.Count("token"); n != 0 {
				t.Errorf("the code was redeemed %d times", n)
			}
			if b.ticket() != "" {
				t.Error("there is a session")
			}
			checkCallbackHeaders(t, p)
		})
	}
}

func flip(s string, at int) string {
	c := byte('A')
	if s[at] == c {
		c = 'B'
	}
	return s[:at] + string(c) + s[at+1:]
}

func checkCallbackHeaders(t *testing.T, p *page) {
	t.Helper()
	if got := p.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("CB7: Cache-Control %q", got)
	}
	if got := p.Header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("CB7: Referrer-Policy %q", got)
	}
}

func TestCallback_CB1_ReplayedState(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser()
	answer := begun(t, r, b)
	thief := b.copy()
	if p := callback(b, answer); p.Status != http.StatusOK || b.ticket() == "" {
		t.Fatalf("first: %d", p.Status)
	}
	// The same URL again, from the same browser, and from one with a copy of its login cookie.
	for name, again := range map[string]*browser{"same": b, "copy": thief} {
		callback(again, answer)
		if n := r.op.Count("token"); n != 1 {
			t.Errorf("%s: redeemed %d times, want once", name, n)
		}
	}
	if thief.ticket() != "" {
		t.Error("the copy got a session")
	}
}

func TestCallback_CB1_StateIsSpentByAFailedExchange(t *testing.T) {
	r := newRig(t, nil, fakeop.Instead("token", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) }))
	b := r.browser()
	answer := begun(t, r, b)
	copied := b.copy()
	if p := callback(b, answer); p.Status != http.StatusServiceUnavailable {
		t.Fatalf("first: %d", p.Status)
	}
	before := r.op.Count("token")
	callback(copied, answer)
	if n := r.op.Count("token"); n != before {
		t.Error("the same state reached the token endpoint again")
	}
}

func TestCallback_L6_OtherBrowser(t *testing.T) {
	r := newRig(t, nil)
	answer := begun(t, r, r.browser())
	other := r.browser()
	callback(other, answer)
	if other.ticket() != "" || r.op.Count("token") != 0 {
		t.Error("a login that one browser began was finished in another")
	}
}

func TestCallback_CB5_ErrorDescriptionIsNotRepeated(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser()
	answer := begun(t, r, b)
	answer.Del("code")
	answer.Set("error", "access_denied")
	answer.Set("error_description", "<script>alert(1)</script>")
	p := callback(b, answer)
	if strings.Contains(p.Body, "alert(1)") {
		t.Error("the provider's words were repeated")
	}
	if !strings.Contains(p.Body, `href="/auth/login?return_to=%2Fpage%2F"`) {
		t.Errorf("no way on that leads back: %s", p.Body)
	}
}

func TestLogin_L8_TabsFinishInAnyOrder(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		r := newRig(t, nil)
		b := r.browser()
		answers := []url.Values{begun(t, r, b), begun(t, r, b), begun(t, r, b)}
		for _, i := range order {
			if p := callback(b, answers[i]); p.Status != http.StatusOK || p.Header.Get("Set-Cookie") == "" {
				t.Errorf("order %v: tab %d ended with %d", order, i, p.Status)
			}
		}
		if got := r.count(audit.Login); got != 3 {
			t.Errorf("order %v: %d logins, want 3", order, got)
		}
		if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
			t.Errorf("order %v: signed in, but the API answers %d", order, p.Status)
		}
	}
}

// Login cookies piled up in a well-known proxy until servers refused the requests that carried them.
func TestLogin_L8_CookiesDoNotPileUp(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Endpoints.LoginsPer = 1000 })
	b := r.browser().signIn()
	ticket := b.ticket()
	for i := range 200 {
		b.do(request{method: "GET", path: "/auth/login?return_to=/" + strings.Repeat("x", i), site: "same-origin", nav: true})
		logins, size := 0, 0
		for name, c := range b.cookies {
			if strings.Contains(name, "login.") {
				logins++
				size += len(name) + len(c.Value)
			}
		}
		if logins > 3 || size > 1020 {
			t.Fatalf("after %d logins: %d cookies of %d bytes", i+1, logins, size)
		}
	}
	if b.ticket() != ticket || b.fetch("GET", "/api/me").Status != http.StatusOK {
		t.Error("the session did not survive")
	}
}

func TestLogin_L8_CookieSize(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn() // so that the login has a session to replace
	b.do(request{method: "GET", path: "/auth/login?return_to=/projects/4711/settings?tab=members", site: "same-origin", nav: true})
	for name, c := range b.cookies {
		if size := len(name) + len(c.Value); strings.Contains(name, "login.") && size > 340 {
			t.Errorf("%s is %d bytes long, at most 340 are fine", name, size)
		}
	}
}

func TestLogin_L9_RedirectURIIsConfigured(t *testing.T) {
	r := newRig(t, nil)
	req, err := http.NewRequest("GET", r.server.URL+"/auth/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	req.Header.Set("X-Forwarded-Host", "evil.example")
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := mustURL(t, res.Header.Get("Location")).Query().Get("redirect_uri"); got != appURL+"/auth/callback" {
		t.Errorf("redirect_uri %q", got)
	}
}

// Open redirects: wherever return_to points, the person lands on our own origin.
func TestLogin_L10_OpenRedirects(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Endpoints.LoginsPer = 1000 })
	for _, evil := range []string{
		"//evil.example", `/\evil.example`, "/%5cevil.example", "/%09/evil.example", "https:evil.example", "///evil.example", "/a//evil.example",
		"javascript:alert(1)", "/x\r\nSet-Cookie: a=b", "/..//evil.example", "//ok@evil.example", "https://evil.example", "https://app.example.com.evil.example/",
		"https://app.example.com@evil.example/", "\t//evil.example", "/\t/evil.example", "data:text/html,x", "//xn--pple-43d.com",
	} {
		b := r.browser()
		p := b.do(request{method: "GET", path: "/auth/login?return_to=" + url.QueryEscape(evil), site: "none", nav: true})
		answer := r.op.Visit(mustURL(t, p.next(t)))
		after := callback(b, answer)
		hop := b.do(request{method: "GET", path: after.next(t), site: "same-origin", nav: true})
		if to := hop.next(t); !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, `/\`) {
			t.Errorf("return_to=%q led to %q", evil, to)
		}
	}
}

func TestLogin_L11_OnlyAPersonBeginsOne(t *testing.T) {
	r := newRig(t, nil)
	for _, tt := range []struct {
		name, site, mode, dest string
		status                 int
	}{
		{"image", "cross-site", "no-cors", "image", http.StatusForbidden},
		{"frame", "cross-site", "navigate", "iframe", http.StatusForbidden},
		{"fetch", "cross-site", "cors", "empty", http.StatusForbidden},
		{"fetch of our own", "same-origin", "cors", "empty", http.StatusForbidden},
		{"a link elsewhere is bounced first", "cross-site", "navigate", "document", http.StatusOK},
		{"navigation", "none", "navigate", "document", http.StatusFound},
		{"a browser without Fetch Metadata", "", "", "", http.StatusFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			for name, value := range map[string]string{"Sec-Fetch-Site": tt.site, "Sec-Fetch-Mode": tt.mode, "Sec-Fetch-Dest": tt.dest} {
				if value != "" {
					h.Set(name, value)
				}
			}
			if p := r.browser().do(request{method: "GET", path: "/auth/login", header: h}); p.Status != tt.status {
				t.Errorf("%d, want %d", p.Status, tt.status)
			}
		})
	}
	h := http.Header{"Sec-Purpose": {"prefetch"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"same-origin"}}
	if p := r.browser().do(request{method: "GET", path: "/auth/login", header: h}); p.Status != http.StatusForbidden {
		t.Errorf("prefetch: %d, want 403", p.Status)
	}
}

func TestLogin_CB9_OldSessionEnds(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	old := b.copy()
	b.signIn()
	if b.ticket() == old.ticket() {
		t.Error("the ticket did not change")
	}
	if p := old.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
		t.Errorf("the older session still answers %d", p.Status)
	}
}

// Two tabs began to sign in while nobody was: the second session replaces the first, although its callback cannot see it.
func TestLogin_CB9_SecondTabReplacesTheFirst(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser()
	first, second := begun(t, r, b), begun(t, r, b)
	callback(b, first)
	copied := b.copy()
	callback(b, second)
	if p := copied.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
		t.Errorf("the first tab's session still answers %d", p.Status)
	}
	if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("the second answers %d", p.Status)
	}
}

// Where the older cookie reaches the callback, the tokens that it opens are revoked.
func TestLogin_CB9_OldTokensAreRevoked(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Cookie.SameSite = "lax" })
	b := r.browser().signIn()
	b.signIn()
	await(t, "the older refresh token is revoked", func() bool { return len(r.op.Revoked()) == 1 })
	if n := r.count(audit.Replaced); n != 1 {
		t.Errorf("replaced %d times, want once", n)
	}
	if p := b.fetch("GET", "/api/me"); p.Status != http.StatusOK {
		t.Errorf("the new session answers %d", p.Status)
	}
}

// Session fixation: an attacker plants a ticket of his own before the person signs in.
func TestLogin_CB9_SessionFixation(t *testing.T) {
	r := newRig(t, nil)
	attacker := r.browser().signIn()
	victim := r.browser()
	maps.Copy(victim.cookies, attacker.cookies)
	planted := victim.ticket()
	victim.signIn()
	if victim.ticket() == planted {
		t.Error("the planted ticket was adopted")
	}
	if p := attacker.fetch("GET", "/api/me"); p.Status != http.StatusUnauthorized {
		t.Errorf("the attacker's ticket still answers %d", p.Status)
	}
}

func TestLogin_L13_PAR(t *testing.T) {
	r := newRig(t, nil, fakeop.PAR())
	b := r.browser()
	p := b.do(request{method: "GET", path: "/auth/login", site: "none", nav: true})
	q := mustURL(t, p.next(t)).Query()
	if len(q) != 2 || !q.Has("client_id") || !q.Has("request_uri") {
		t.Errorf("the browser's URL has %v", q)
	}
	b.signIn()
}

func TestLogin_L17_PromptNoneEndsSomewhere(t *testing.T) {
	r := newRig(t, nil, fakeop.Deny("login_required", ""))
	p := r.browser().visit("/auth/login?prompt=none&return_to=/page/")
	if p.Status != http.StatusForbidden || r.op.Count("authorize") != 1 {
		t.Errorf("%d after %d calls of the provider", p.Status, r.op.Count("authorize"))
	}
}

// A redirect loop: the browser refuses cookies, so every login is forgotten at once.
func TestLogin_LoopIsCut(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser()
	b.refuses = true
	p := b.visit("/page/")
	if p.Status != http.StatusBadRequest || !strings.Contains(p.Body, "cookies") {
		t.Errorf("the loop ended with %d: %.300s", p.Status, p.Body)
	}
	if n := r.op.Count("authorize"); n > 6 {
		t.Errorf("the provider saw %d rounds", n)
	}
}

// The login cookie arrives, but the session cookie never does.
func TestLogin_LoopIsCut_SessionCookieRefused(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser()
	path := "/page/"
	for range 40 {
		p := b.do(request{method: "GET", path: path, site: "same-origin", nav: true})
		delete(b.cookies, holding())
		next := p.next(t)
		if next == "" {
			if p.Status != http.StatusBadRequest || !strings.Contains(p.Body, "cookies") {
				t.Errorf("the loop ended with %d: %.300s", p.Status, p.Body)
			}
			return
		}
		if path = next; strings.HasPrefix(next, r.op.Issuer()) {
			path, _ = b.provider(mustURL(t, next))
		}
	}
	t.Error("the loop never ends")
}

func TestCallback_LostLoginGoesOnWhenSignedIn(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser()
	answer := begun(t, r, b)
	callback(b, answer)
	// The back button brings the same answer again; the person is signed in and simply goes on.
	p := b.navigate("/auth/callback?"+answer.Encode(), "cross-site")
	if p.URL != "/" || r.op.Count("authorize") != 1 {
		t.Errorf("went to %s after %d logins", p.URL, r.op.Count("authorize"))
	}
}

func TestAllow_AtTheDoor(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) {
		c.Endpoints.Allow = &cloakroom.Allow{EmailDomains: []string{"elsewhere.example"}}
	})
	b := r.browser()
	p := b.visit("/page/")
	if p.Status != http.StatusForbidden || !strings.Contains(p.Body, "as someone else") || b.ticket() != "" {
		t.Errorf("%d: %.300s", p.Status, p.Body)
	}
	if strings.Contains(p.Body, "code=") || !strings.Contains(p.Body, "return_to=%2Fpage%2F") {
		t.Errorf("the way on is not the place the person wanted: %s", p.Body)
	}
}

func TestLogin_ProviderIsDown(t *testing.T) {
	down := fakeop.Instead("*", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "away", http.StatusBadGateway) })
	r := newRig(t, nil, down)
	p := r.browser().visit("/page/")
	if p.Status != http.StatusServiceUnavailable || !strings.Contains(p.Body, "Try again") {
		t.Errorf("%d: %.300s", p.Status, p.Body)
	}
}

func TestLogin_LimitPerAddress(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Endpoints.LoginsPer = 2 })
	b := r.browser()
	for range 2 {
		begun(t, r, b)
	}
	if p := b.do(request{method: "GET", path: "/auth/login", site: "none", nav: true}); p.Status != http.StatusTooManyRequests {
		t.Errorf("the third login: %d, want 429", p.Status)
	}
}

func TestBounce_LinkFromAnotherSite(t *testing.T) {
	r := newRig(t, nil)
	b := r.browser().signIn()
	before := r.op.Count("authorize")
	p := b.navigate("/page/?from=mail", "cross-site")
	if p.Status != http.StatusOK || p.URL != "/page/?from=mail" || r.op.Count("authorize") != before {
		t.Errorf("%d at %s, provider asked %d times", p.Status, p.URL, r.op.Count("authorize")-before)
	}
	// On a route that is open to everyone the person must not look signed out either.
	b.navigate("/optional/x", "cross-site")
	if r.last().Header.Get("Authorization") == "" {
		t.Error("the optional route was reached as anonymous")
	}
}

// The page names the step that failed, so that a person can say more than "it does not work".
func TestCallback_PageNamesTheStep(t *testing.T) {
	for _, tt := range []struct {
		name string
		lie  fakeop.Lie
		step string
		want int
	}{
		{"userinfo answers 401", fakeop.Status("userinfo", http.StatusUnauthorized, "invalid_token"), "reading your profile (userinfo)", http.StatusBadGateway},
		{"userinfo answers 500", fakeop.Status("userinfo", http.StatusInternalServerError, "x"), "reading your profile (userinfo)", http.StatusServiceUnavailable},
		{"userinfo of someone else", fakeop.Userinfo(fakeop.Append("sub", "invalid")), "reading your profile (userinfo)", http.StatusBadGateway},
		{"the token endpoint refuses", fakeop.Status("token", http.StatusBadRequest, "invalid_client"), "completing the sign-in", http.StatusBadGateway},
		{"the ID token is someone else's", fakeop.IDToken(fakeop.Append("aud", "1")), "verifying who signed in", http.StatusBadGateway},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, nil, tt.lie)
			b := r.browser()
			p := callback(b, begun(t, r, b))
			if p.Status != tt.want || !strings.Contains(p.Body, tt.step) || !strings.Contains(p.Body, "Try again") || b.ticket() != "" {
				t.Errorf("%d: %.600s", p.Status, p.Body)
			}
		})
	}
}

// A login that is weaker than asked for ends on a page that says what is missing, and "try again" asks for it again.
func TestCallback_T8_WeakLogin(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) {
		main := c.Providers["main"]
		main.ACRValues = []string{"mfa"}
		c.Providers["main"] = main
	})
	b := r.browser()
	p := callback(b, begun(t, r, b))
	if p.Status != http.StatusForbidden || !strings.Contains(p.Body, "A stronger sign-in is needed") || !strings.Contains(p.Body, "/auth/login?return_to=%2Fpage%2F") {
		t.Errorf("%d: %.600s", p.Status, p.Body)
	}
	if b.ticket() != "" || r.count(audit.LoginFailed) != 1 {
		t.Errorf("a session: %t; events %v", b.ticket() != "", r.actions())
	}
	if got := r.op.Last("authorize").Query.Get("acr_values"); got != "mfa" {
		t.Errorf("acr_values=%q", got)
	}
}

func TestLogin_HeadBeginsNothing(t *testing.T) {
	r := newRig(t, nil)
	if p := r.browser().do(request{method: "HEAD", path: "/auth/login"}); p.Status != http.StatusMethodNotAllowed || p.Header.Get("Set-Cookie") != "" {
		t.Errorf("%d, Set-Cookie %q", p.Status, p.Header.Get("Set-Cookie"))
	}
}

func TestSignIn_L15_OpaqueTokenIsMentioned(t *testing.T) {
	r := newRig(t, nil, fakeop.Opaque())
	r.browser().signIn()
	r.browser().signIn()
	if n := strings.Count(r.logs.String(), "set the provider's audience or resource"); n != 1 {
		t.Errorf("mentioned %d times, want once", n)
	}
}

// What is sealed for one cookie opens under no other name, and in no other place.
func TestLoginCookie_S6_BoundToItsName(t *testing.T) {
	r := newRig(t, func(c *cloakroom.Config) { c.Endpoints.LoginsPer = 1000 })
	b := r.browser()
	first := begun(t, r, b)
	login := func(state string) string { return "__Host-Http-login." + state[:10] }
	value := b.cookies[login(first.Get("state"))].Value
	second := begun(t, r, b)
	for name, cookie := range map[string]string{
		"under another login's name": login(second.Get("state")) + "=" + value,
		"as the session":             sessionCookie + "=" + value,
		"cut short":                  login(second.Get("state")) + "=" + value[:len(value)-4],
		"twice":                      login(first.Get("state")) + "=" + value + "; " + login(first.Get("state")) + "=" + value,
	} {
		answer := second
		if name == "twice" {
			answer = first
		}
		p := r.browser().do(request{
			method: "GET", path: "/auth/callback?" + answer.Encode(), site: "cross-site", nav: true, header: http.Header{"Cookie": {cookie}},
		})
		if p.Status != http.StatusOK || strings.Contains(p.Header.Get("Set-Cookie"), sessionCookie) {
			t.Errorf("%s: %d, Set-Cookie %q", name, p.Status, p.Header.Get("Set-Cookie"))
		}
	}
	if n := r.op.Count("token"); n != 0 {
		t.Errorf("a code was redeemed %d times", n)
	}
}
