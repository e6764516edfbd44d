package demo

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

const formKind = "application/x-www-form-urlencoded"

// proofs are the headers with which a page's request goes through in the mode that the demonstration is in.
func (b *browser) proofs(base string) []string {
	b.t.Helper()
	var s struct {
		Delivery string
		CSRF     string `json:"csrf_token"`
	}
	headers := []string{"Sec-Fetch-Site", "same-origin", "X-CSRF-Token", "1"}
	if err := json.Unmarshal([]byte(b.send("GET", base+"/auth/session", "", "", headers...).want(b.t, http.StatusOK, "").text), &s); err != nil {
		b.t.Fatal(err)
	}
	if s.CSRF != "" {
		headers[3] = s.CSRF
	}
	if s.Delivery == "memory" {
		var answer struct {
			Token string `json:"access_token"`
		}
		text := b.send("POST", base+"/auth/token", "", "", headers...).want(b.t, http.StatusOK, "access_token").text
		if err := json.Unmarshal([]byte(text), &answer); err != nil {
			b.t.Fatal(err)
		}
		headers = append(headers, "Authorization", "Bearer "+answer.Token)
	}
	return headers
}

// Every pair of storage and delivery works, whatever a request has to prove, and one demonstration can go through all of them.
func TestRun_EveryMode(t *testing.T) {
	t.Parallel()
	demo := start(t, seeded(t), "127.0.0.1:0", 30*time.Second)
	control := newBrowser(t)
	set := func(body string) view {
		return control.send("POST", demo.url+"/demo/mode", "application/json", body, "Sec-Fetch-Site", "same-origin")
	}
	for _, storage := range modeWords[0].words {
		for _, delivery := range modeWords[1].words {
			for _, csrf := range modeWords[2].words {
				mode := `{"storage":"` + storage + `","delivery":"` + delivery + `","csrf":"` + csrf + `"}`
				set(mode).want(t, http.StatusOK, strings.TrimSuffix(mode, "}"))
				b := newBrowser(t)
				b.signIn(demo.url, "ada")
				proofs := b.proofs(demo.url)
				b.send("GET", demo.url+"/api/me", "", "", proofs...).want(t, http.StatusOK, "ada@demo.example")
				b.send("POST", demo.url+"/api/email", formKind, url.Values{"email": {delivery + "@" + csrf + ".example"}}.Encode(), proofs...)
				b.send("GET", demo.url+"/api/me", "", "", proofs...).want(t, http.StatusOK, delivery+"@"+csrf+".example")
				b.send("POST", demo.url+"/api/email", formKind, "email=ada%40demo.example", proofs...)

				cookies := b.open(demo.url + "/demo/cookies").text
				for name, there := range map[string]bool{
					"The ticket.": storage == "store", "The session itself, sealed": storage == "sealed",
					"The access token, for": delivery == "cookie", "The claims of the access token": delivery == "split", "The signature": delivery == "split",
				} {
					if strings.Contains(cookies, name) != there {
						t.Errorf("%s: cookies: %q is there: %v in %s", mode, name, !there, cookies)
					}
				}
				b.send("POST", demo.url+"/auth/logout", "text/plain", "", append(proofs, "Accept", "application/json")...).want(t, http.StatusOK, "logout_url")
				b.send("GET", demo.url+"/api/me", "", "", proofs...).want(t, http.StatusUnauthorized, "")
			}
		}
	}
	set(`{"storage":"drawer"}`).want(t, http.StatusUnprocessableEntity, "drawer")
	set(`nonsense`).want(t, http.StatusBadRequest, "")
	control.send("POST", demo.url+"/demo/mode", "application/json", `{"storage":"store"}`, "Origin", "http://evil.example").want(t, http.StatusForbidden, "")
	control.open(demo.url+"/demo/mode").want(t, http.StatusOK, `"storage":"sealed"`) // as it was left
}

func TestRun_RefusesUnknownModes(t *testing.T) {
	for _, m := range []Mode{{Storage: "x"}, {Delivery: "x"}, {CSRF: "x"}} {
		err := Run(t.Context(), Options{Listen: "127.0.0.1:0", Dir: t.TempDir(), Mode: m}, func(string) { t.Errorf("%v: served", m) })
		if !errors.Is(err, &session.Error{Code: session.BadRequest}) || !strings.Contains(session.HintOf(err), "is one of") {
			t.Errorf("%v: got %v, hint %q", m, err, session.HintOf(err))
		}
	}
}

// An API takes a token in one way only.
func TestTokenCookies(t *testing.T) {
	at := func(text string) tokenCookies {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return tokenCookiesOf(u)
	}
	for _, c := range []struct {
		url, cookies, bearer, want string // want: "" is an error
	}{
		{"https://app.test:8443", "__Host-Http-access_token=a.b.c", "", "a.b.c"},
		{"https://app.test", "__Host-access_token=a.b; __Host-Http-access_token.sig=c", "", "a.b.c"},
		{"http://127.0.0.1", "cloakroom-80-access_token=a.b; cloakroom-80-access_token.sig=c; other=x", "", "a.b.c"},
		{"http://127.0.0.1:8080", "", "Bearer a.b.c", "a.b.c"},
		{"http://127.0.0.1:8080", "cloakroom-8080-access_token=a.b.c", "Bearer a.b.c", ""},
		{"http://127.0.0.1:8080", "cloakroom-8080-access_token=a; cloakroom-8080-access_token=b", "", ""},
		{"http://127.0.0.1:8080", "cloakroom-8081-access_token=a.b.c", "", ""},
		{"http://127.0.0.1:8080", "", "Basic a.b.c", ""},
	} {
		r, err := http.NewRequest(http.MethodGet, c.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", c.cookies)
		r.Header.Set("Authorization", c.bearer)
		if got, err := at(c.url).token(r); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %q %q: got %q, %v", c.url, c.cookies, c.bearer, got, err)
		}
	}
}
