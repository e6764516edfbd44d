package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// What a browser sends beside the session: two cookies of the application, and for the bare proxy, which has no session, a cookie
// as long as the session's.
const appCookies = "theme=dark; consent=v2.1-analytics.0-marketing.0"

var placeholder = "cloakroom-8080-session=" + strings.Repeat("x", 76)

// client is a browser's script, many times over.
type client struct {
	request     *http.Request
	transport   *http.Transport
	concurrency int
	answer      int64 // bytes of an answer, 0: any but none
}

func newClient(public, cookies string, concurrency int) *client {
	u, err := url.Parse(public + "/api/orders?page=2&per_page=20")
	if err != nil {
		panic(err) // it is our own
	}
	return &client{
		transport:   &http.Transport{MaxIdleConnsPerHost: concurrency, MaxConnsPerHost: concurrency, DisableCompression: true},
		concurrency: concurrency,
		answer:      int64(len(orders)),
		request: &http.Request{Method: "GET", URL: u, Host: "localhost:8080", Header: http.Header{
			"Accept":             {"application/json, text/plain, */*"},
			"Accept-Encoding":    {"gzip, deflate, br, zstd"},
			"Accept-Language":    {"en-GB,en;q=0.9,de;q=0.8"},
			"Cookie":             {cookies},
			"Priority":           {"u=1, i"},
			"Referer":            {"http://localhost:8080/orders"},
			"Sec-Ch-Ua":          {`"Chromium";v="140", "Not=A?Brand";v="24", "Google Chrome";v="140"`},
			"Sec-Ch-Ua-Mobile":   {"?0"},
			"Sec-Ch-Ua-Platform": {`"Linux"`},
			"Sec-Fetch-Dest":     {"empty"},
			"Sec-Fetch-Mode":     {"cors"},
			"Sec-Fetch-Site":     {"same-origin"},
			"User-Agent":         {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"},
		}},
	}
}

// post has the client ask an endpoint of the gateway instead.
func (c *client) post(path string) {
	u := *c.request.URL
	u.Path, u.RawQuery = path, ""
	c.request.Method, c.request.URL, c.answer = "POST", &u, 0
	c.request.Header["Origin"] = []string{"http://localhost:8080"}
}

// load makes n requests over kept connections and returns how long each took.
func (c *client) load(ctx context.Context, n int) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range c.concurrency {
		g.Go(func() error {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				started := time.Now()
				if err := c.ask(ctx); err != nil {
					return err
				}
				took[i] = time.Since(started)
			}
			return nil
		})
	}
	return took, g.Wait()
}

func (c *client) ask(ctx context.Context) error {
	res, err := c.transport.RoundTrip(c.request.Clone(ctx))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	length, err := io.Copy(io.Discard, res.Body)
	if err == nil && (res.StatusCode != http.StatusOK || length == 0 || c.answer > 0 && length != c.answer) {
		err = fmt.Errorf("answered %s and %d bytes", res.Status, length)
	}
	return err
}

// signIn signs in at a gateway and returns the cookies that its browser then has, and how many of them are the gateway's.
func signIn(ctx context.Context, public string) (cookies string, n int, err error) {
	provider, login, err := step(ctx, public+"/auth/login", appCookies)
	if err != nil {
		return "", 0, err
	}
	callback, _, err := step(ctx, provider.String(), "")
	if err != nil {
		return "", 0, err
	}
	_, session, err := step(ctx, public+callback.RequestURI(), appCookies+"; "+login)
	return session + "; " + appCookies, strings.Count(session, "="), err
}

// step makes one request of a login. It returns where it leads, if anywhere, and the cookies that it sets.
func step(ctx context.Context, address, cookies string) (to *url.URL, cookie string, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", address, nil)
	if err != nil {
		return nil, "", err
	}
	req.Header = http.Header{
		"Accept": {"text/html"}, "Cookie": {cookies}, "Sec-Fetch-Site": {"none"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"},
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1000))
		return nil, "", fmt.Errorf("%s: %s\n%s", req.URL.Path, res.Status, text)
	}
	var set []string
	for _, c := range res.Cookies() {
		if c.MaxAge >= 0 {
			set = append(set, c.Name+"="+c.Value)
		}
	}
	cookie = strings.Join(set, "; ")
	if to, err = res.Location(); err == http.ErrNoLocation {
		to, err = req.URL, nil
	}
	return to, cookie, err
}
