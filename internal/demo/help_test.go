package demo

import (
	"bytes"
	"context"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom"
)

// seeded is a folder with a new state in it. Its RSA key is one for all tests: making one is slow.
func seeded(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "demo.json"), seed(t), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

var (
	seedOnce sync.Once
	seedText []byte
)

func seed(t *testing.T) []byte {
	seedOnce.Do(func() {
		path := filepath.Join(t.TempDir(), "demo.json")
		if _, err := openLedger(path, cloakroom.NewKey); err != nil {
			t.Fatal(err)
		}
		var err error
		if seedText, err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	})
	return seedText
}

// browser is a client with a cookie jar that can read and send the provider's forms.
type browser struct {
	*http.Client
	t *testing.T
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	// A transport of its own: connections that were opened and never used would hold up a server that shuts down.
	b := &browser{&http.Client{Jar: jar, Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}, t}
	t.Cleanup(b.CloseIdleConnections)
	return b
}

// staying is the same browser, but it does not follow redirects to other hosts.
func (b *browser) staying(host string) *browser {
	c := *b.Client
	c.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host != host {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &browser{&c, b.t}
}

// view is an answer that was read.
type view struct {
	*http.Response
	text string
}

func (b *browser) do(r *http.Request) view {
	b.t.Helper()
	res, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return view{res, string(text)}
}

func (b *browser) open(address string) view {
	b.t.Helper()
	r, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	return b.do(r)
}

func (b *browser) post(address string, form url.Values, headers ...string) view {
	b.t.Helper()
	return b.send(http.MethodPost, address, "application/x-www-form-urlencoded", form.Encode(), headers...)
}

func (b *browser) send(method, address, kind, body string, headers ...string) view {
	b.t.Helper()
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return b.do(r)
}

var (
	formTag  = regexp.MustCompile(`(?s)<form method="post" action="([^"]+)">(.*?)</form>`)
	inputTag = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)
)

// submit fills in the last form of a page and sends it.
func (b *browser) submit(page view, fields url.Values) view {
	b.t.Helper()
	forms := formTag.FindAllStringSubmatch(page.text, -1)
	if len(forms) == 0 {
		b.t.Fatalf("%s has no form: %d %s", page.Request.URL, page.StatusCode, page.text)
	}
	form := forms[len(forms)-1]
	for _, input := range inputTag.FindAllStringSubmatch(form[2], -1) {
		if !fields.Has(input[1]) {
			fields.Set(input[1], html.UnescapeString(input[2]))
		}
	}
	to, err := page.Request.URL.Parse(html.UnescapeString(form[1]))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.post(to.String(), fields)
}

func (v view) want(t *testing.T, status int, text string) view {
	t.Helper()
	if v.StatusCode != status || !strings.Contains(v.text, text) {
		t.Fatalf("%s %s: got %d %q, want %d with %q", v.Request.Method, v.Request.URL, v.StatusCode, v.text, status, text)
	}
	return v
}

// started is a demonstration that runs.
type started struct {
	url  string
	log  *bytes.Buffer
	stop func()
}

// start runs a demonstration in dir until stop, or the test's end.
func start(t *testing.T, dir, listen string, life time.Duration, change ...func(*Options)) started {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan string, 1), make(chan error, 1)
	log := &bytes.Buffer{}
	o := Options{Listen: listen, Dir: dir, AccessToken: life, Log: slog.New(slog.NewJSONHandler(log, nil))}
	for _, f := range change {
		f(&o)
	}
	go func() { ended <- Run(ctx, o, func(url string) { ready <- url }) }()
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case u := <-ready:
		return started{u, log, stop}
	case err := <-ended:
		stopped = true
		cancel()
		t.Fatalf("Run ended early: %v", err)
		panic("unreachable")
	}
}
