package demo

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// signedAPI is an API, and a way to call it with a good token.
func signedAPI(t *testing.T) func(method, path, kind, body string) view {
	t.Helper()
	r := newRP(t)
	a, _ := r.redeem(r.code("ada"))
	known := []jose.JSONWebKey{r.p.ledger.page.SigningKey.Public()}
	closing := make(chan struct{})
	server := httptest.NewServer(newAPI(verifier{issuer: r.p.issuer, keys: func(string) []jose.JSONWebKey { return known }}, tokenCookies{}, closing))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(closing) })
	return func(method, path, kind, body string) view {
		t.Helper()
		return r.send(method, server.URL+path, kind, body, "Authorization", "Bearer "+a.Access)
	}
}

func TestAPI_GraphQL(t *testing.T) {
	call := signedAPI(t)
	for _, c := range []struct {
		query, variables string
		status           int
		want             string
	}{
		{`{ me { name email } }`, `{}`, 200, `{"data":{"me":{"name":"Ada","email":"ada@demo.example"}}}`},
		{`mutation Add($text: String!) { addNote(text: $text) { text } }`, `{"text":"a \"b\""}`, 200, `{"data":{"addNote":{"text":"a \"b\""}}}`},
		{"mutation { addNote(text: \"two\") { text } } # a comment", `{}`, 200, `"two"`},
		{`query Q { who: me { __typename n: name }, notes { text } }`, `{}`, 200, `{"data":{"who":{"__typename":"Person","n":"Ada"},"notes":[{"text":"a \"b\""},{"text":"two"}]}}`},
		{`{ me }`, `{}`, 200, `needs a selection`},
		{`{ me { password } }`, `{}`, 200, `no field \"password\"`},
		{`{ addNote(text: "x") { text } }`, `{}`, 200, `no field \"addNote\"`},
		{`mutation { addNote(text: "written?") { nothing } }`, `{}`, 200, `no field \"nothing\"`},
		{`mutation { addNote(text: $t) { text } }`, `{"t":1}`, 200, `no string`},
		{`subscription { notes { text } }`, `{}`, 400, `not supported`},
		{`{ me { name }`, `{}`, 400, `expected`},
		{`{}`, `{}`, 400, `empty selection`},
		{``, `{}`, 400, `expected`},
		{`{ me { name } } { me { name } }`, `{}`, 400, `one operation`},
		{`{ me(id: 1) { name } }`, `{}`, 400, `no argument`},
		{`{ a { b { c { d { e } } } } }`, `{}`, 400, `too deep`},
		{`{` + strings.Repeat(" me { name }", 30) + `}`, `{}`, 400, `more than 40`},
		{strings.Repeat(" ", maxQuery+1), `{}`, 400, `at most`},
		{`{ notes { text } }`, `{}`, 200, `{"data":{"notes":[{"text":"a \"b\""},{"text":"two"}]}}`}, // nothing else was written
	} {
		v := call("POST", "/api/graphql", "application/json", fmt.Sprintf(`{"query":%q,"variables":%s}`, c.query, c.variables))
		if v.StatusCode != c.status || !strings.Contains(v.text, c.want) {
			t.Errorf("%s: got %d %s, want %d with %s", c.query, v.StatusCode, v.text, c.status, c.want)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{`{ me { name } }`, `mutation($t: String!) { a: addNote(text: $t) { text } }`, `{ me { name # `, "{\"\\x\"", "\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		op, err := parseQuery(query)
		if err == nil && (len(op.fields) == 0 || len(op.fields) > maxFields) {
			t.Errorf("%q: %d fields", query, len(op.fields))
		}
	})
}

func TestAPI_Bounds(t *testing.T) {
	call := signedAPI(t)
	const json = "application/json"
	call("POST", "/api/notes", json, `{"text":"`+strings.Repeat("x", maxNote+1)+`"}`).want(t, http.StatusUnprocessableEntity, "280")
	call("POST", "/api/notes", json, `{"text":" "}`).want(t, http.StatusUnprocessableEntity, "1 to")
	call("POST", "/api/notes", json, strings.Repeat(" ", maxBody+1)+`{}`).want(t, http.StatusBadRequest, "no JSON")
	call("POST", "/api/notes", "text/plain", `{"text":"x"}`).want(t, http.StatusUnsupportedMediaType, "application/json")
	for i := range maxNotes + 5 {
		call("POST", "/api/notes", json, fmt.Sprintf(`{"text":"note %d."}`, i)).want(t, http.StatusCreated, "")
	}
	list := call("GET", "/api/notes", "", "").want(t, http.StatusOK, "note 54.")
	if n := strings.Count(list.text, "note "); n != maxNotes || strings.Contains(list.text, "note 4.") {
		t.Errorf("%d notes are kept", n)
	}
}

func TestAPI_EmailForm(t *testing.T) {
	call := signedAPI(t)
	const kind = "application/x-www-form-urlencoded"
	call("POST", "/api/email", kind, url.Values{"email": {"nonsense"}}.Encode()).want(t, http.StatusUnprocessableEntity, "<title>")
	v := call("POST", "/api/email", kind, url.Values{"email": {"a@b.example"}}.Encode())
	if to := v.Header.Get("Location"); v.StatusCode != http.StatusSeeOther || to != "/?saved=email#email" {
		t.Errorf("the form was answered %d %q", v.StatusCode, to)
	}
	call("GET", "/api/me", "", "").want(t, http.StatusOK, "a@b.example")
}
