package demo

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/demo/lab"
)

// tab is the travelling tab, played by a program.
type tab struct {
	*browser
	demo, run string
	at        string // the origin it is at
}

// told is what the laboratory tells a tab.
type told struct {
	Go, Do string
	With   struct {
		Action string
		Fields map[string]string
	}
	Done bool
}

func (b *browser) startRun(demo string, columns, attacks []string) *tab {
	b.t.Helper()
	body, err := json.Marshal(map[string]any{"columns": columns, "attacks": attacks})
	if err != nil {
		b.t.Fatal(err)
	}
	var started struct{ Run, Tab string }
	b.decode(b.send("POST", demo+"/demo/lab/run", "application/json", string(body), "Sec-Fetch-Site", "same-origin").want(b.t, http.StatusOK, "run"), &started)
	return &tab{b, demo, started.Run, originOf(started.Tab)}
}

func (b *browser) decode(v view, into any) {
	b.t.Helper()
	if err := json.Unmarshal([]byte(v.text), into); err != nil {
		b.t.Fatalf("%s: %v", v.text, err)
	}
}

// next asks what to do at a place, and goes where it is sent.
func (t *tab) next(place string) (n told) {
	t.t.Helper()
	t.decode(t.send("POST", t.at+"/demo/lab/next", "application/json", `{"run":"`+t.run+`","at":"`+place+`"}`, "Sec-Fetch-Site", "same-origin").want(t.t, http.StatusOK, ""), &n)
	if n.Go != "" {
		t.at = originOf(n.Go)
	}
	return n
}

func (t *tab) cell(column, attack string) lab.Result {
	t.t.Helper()
	var v struct {
		Measured map[string]map[string]lab.Result
	}
	t.decode(t.open(t.demo+"/demo/lab/table?run="+t.run).want(t.t, http.StatusOK, ""), &v)
	return v.Measured[column][attack]
}

// The outcome is what the API says afterwards, not what somebody meant to happen.
func TestLab_JudgesByWhatTheAPIHas(t *testing.T) {
	demo := start(t, seeded(t), "127.0.0.1:0", 30*time.Second)
	for _, c := range []struct {
		proofs []string
		want   lab.Result
	}{
		{nil, lab.Result{End: "unchanged", Is: lab.Blocked}},
		{[]string{"Cookie", "token=TOKEN"}, lab.Result{End: "changed", Is: lab.Succeeds}},
	} {
		b := newBrowser(t)
		tab := b.startRun(demo.url, []string{"script-cookie"}, []string{"form-cross"})
		if n := tab.next("foreign"); !strings.Contains(n.Go, "/lab/victim.html") || !strings.Contains(n.Go, "keep=cookie") {
			t.Fatalf("told %+v", n)
		}
		var tokens lab.Tokens
		b.decode(b.send("POST", tab.at+"/auth/login", "text/plain", "", "Sec-Fetch-Site", "same-origin").want(t, http.StatusOK, ""), &tokens)
		if n := tab.next("victim"); !strings.Contains(n.Go, "at=foreign") {
			t.Fatalf("told %+v", n)
		}
		n := tab.next("foreign")
		if n.Do != "form-cross/0" || n.With.Fields["email"] == "" {
			t.Fatalf("told %+v", n)
		}
		for i := range c.proofs {
			c.proofs[i] = strings.Replace(c.proofs[i], "TOKEN", tokens.Access, 1)
		}
		sent := b.staying("").send("POST", n.With.Action, formKind, url.Values{"email": {n.With.Fields["email"]}}.Encode(), c.proofs...)
		if home := sent.Header.Get("Location") + sent.Header.Get("Refresh"); !strings.Contains(home, "at=foreign") {
			t.Errorf("the tab does not come home: %d %v", sent.StatusCode, sent.Header)
		}
		tab.next("foreign")
		if n := tab.next("victim"); n.Do != "leave/0" {
			t.Errorf("told %+v", n)
		}
		b.send("POST", tab.at+"/demo/lab/report", "application/json", `{"run":"`+tab.run+`","do":"leave/0"}`).want(t, http.StatusNoContent, "")
		if n := tab.next("victim"); !n.Done {
			t.Errorf("told %+v", n)
		}
		if got := tab.cell("script-cookie", "form-cross"); got.End != c.want.End || got.Is != c.want.Is || got.Why == "" {
			t.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}

// Nobody but the run's own tab moves it on, and nobody else's page starts one.
func TestLab_IsForItsOwnPages(t *testing.T) {
	demo := start(t, seeded(t), "127.0.0.1:0", 30*time.Second)
	b := newBrowser(t)
	tab := b.startRun(demo.url, []string{"local-storage"}, []string{"form-cross"})
	own := []string{"Sec-Fetch-Site", "same-origin"}
	for path, body := range map[string]string{"/demo/lab/next": `{"run":"guessed"}`, "/demo/lab/report": `{"run":"guessed"}`} {
		b.send("POST", demo.url+path, "application/json", body, own...).want(t, http.StatusNotFound, "not known")
	}
	b.send("POST", demo.url+"/demo/lab/report", "application/json", `{"run":"`+tab.run+`","do":"form-cross/0"}`, own...).want(t, http.StatusConflict, "else is under way")
	for body, why := range map[string]string{`{}`: "name the columns", `{"columns":["x"]}`: "no column", `{"columns":["store-proxy"],"attacks":["x"]}`: "no attack"} {
		b.send("POST", demo.url+"/demo/lab/run", "application/json", body, own...).want(t, http.StatusUnprocessableEntity, why)
	}
	r, err := http.NewRequest(http.MethodGet, tab.at+"/lab/page.html", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "rebound.example"
	b.do(r).want(t, http.StatusMisdirectedRequest, "")
	b.open(tab.at+"/lab/page.html").want(t, http.StatusOK, "You have won")
	b.open(demo.url+"/lab/victim.html").want(t, http.StatusOK, "Vera")
}

// The baselines get the policy that the gateway gives, or the comparison would not be fair.
func TestLab_Policies(t *testing.T) {
	demo := start(t, seeded(t), "127.0.0.1:0", 30*time.Second)
	b := newBrowser(t)
	if got := b.open(demo.url + "/lab/victim.html").Header.Get("Content-Security-Policy"); got != starterPolicy {
		t.Errorf("the gateway's: %s", got)
	}
	if got := b.open(demo.url + "/lab/open/victim.html").Header.Get("Content-Security-Policy"); got != "" {
		t.Errorf("without one: %s", got)
	}
}
