package demo

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Without a provider people register at the gateway, and the API takes its tokens. Who was there once signs in again after a restart.
func TestRun_Accounts(t *testing.T) {
	t.Parallel()
	dir := seeded(t)
	own := func(o *Options) { o.Accounts = true }
	demo := start(t, dir, "127.0.0.1:0", 30*time.Second, own)
	who := url.Values{"identifier": {"ada@example.com"}, "password": {"correct horse battery"}}
	enter := func(demo started, path string) *browser {
		t.Helper()
		b := newBrowser(t)
		page := b.open(demo.url+"/auth/"+path).want(t, http.StatusOK, "E-mail address")
		fields := url.Values{"state": {page.Request.URL.Query().Get("state")}}
		for name, v := range who {
			fields[name] = v
		}
		b.post(demo.url+page.Request.URL.Path, fields, "Sec-Fetch-Site", "same-origin").want(t, http.StatusOK, "")
		b.open(demo.url+"/api/me").want(t, http.StatusOK, `"email":"ada@example.com"`)
		return b
	}
	ada := enter(demo, "register")
	seen := map[string]bool{}
	ada.watch(demo.url, func(e event) bool {
		seen[e.Action] = e.Own && e.From == "gateway"
		return e.Action == "login"
	})
	if !seen["login_started"] || !seen["registered"] || !seen["login"] {
		t.Errorf("the journal says whose accounts there are: %v", seen)
	}
	ada.open(demo.url+"/demo/mode").want(t, http.StatusOK, `"accounts":true`)
	ada.open(demo.url+"/auth/account").want(t, http.StatusOK, "Your account")
	ada.open(demo.url+"/auth/sessions").want(t, http.StatusOK, `"current":true`)
	newBrowser(t).open(demo.url+"/auth/login").want(t, http.StatusOK, "I forgot my password") // its letters are in the log
	// Passkeys want a name, so the demonstration has one, whatever address was opened.
	ada.open(demo.url+"/auth/account").want(t, http.StatusOK, "Passkeys")
	byAddress := strings.Replace(demo.url, "localhost", "127.0.0.1", 1)
	if home := newBrowser(t).open(byAddress+"/auth/login").want(t, http.StatusOK, "Sign in"); home.Request.URL.Hostname() != "localhost" {
		t.Errorf("%s led to %s", byAddress, home.Request.URL)
	}
	newBrowser(t).open(demo.url+"/lab/").want(t, http.StatusOK, "Hand in your tokens") // the app; there is no laboratory
	demo.stop()
	if state, err := os.Stat(filepath.Join(dir, "demo-accounts.db")); err != nil || state.Mode().Perm() != 0o600 {
		t.Errorf("the accounts: %v, %v", state, err)
	}
	enter(start(t, dir, "127.0.0.1:0", 30*time.Second, own), "login")
}
