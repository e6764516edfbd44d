package main

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// A person opens the API's address, is sent to the provider and back, and is greeted.
func TestServer(t *testing.T) {
	op := fakeop.New(t)
	ts := httptest.NewUnstartedServer(nil)
	address := "http://" + ts.Listener.Addr().String()
	handler, err := server(cloakroom.Config{
		URL: address, Keys: []string{cloakroom.NewKey()}, Store: memory.New(),
		Providers: map[string]cloakroom.Provider{"main": {Issuer: op.Issuer(), ClientID: fakeop.ClientID, ClientSecret: fakeop.ClientSecret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ts.Config.Handler = handler
	ts.Start()
	t.Cleanup(ts.Close)

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: 10 * time.Second}
	open := func(target string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, target, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		res, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(text)
	}

	// The callback ends in a page that goes on within the origin; a browser follows it by itself.
	_, text := open(address + "/")
	next := regexp.MustCompile(`http-equiv="refresh" content="0;url=([^"]+)"`).FindStringSubmatch(text)
	if next == nil {
		t.Fatalf("the login does not end in the page that goes on: %.300s", text)
	}
	status, text := open(address + strings.ReplaceAll(next[1], "&amp;", "&"))
	if status != http.StatusOK || !strings.HasPrefix(text, "hello "+fakeop.Subject+"\n") {
		t.Errorf("after the login: %d %q", status, text)
	}
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	if cookies := jar.Cookies(at); len(cookies) != 1 || !strings.HasSuffix(cookies[0].Name, "-session") || strings.Contains(cookies[0].Value, "eyJ") {
		t.Errorf("the browser holds %v, want one ticket", cookies)
	}
}
