package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Servers close connections that are idle, many of them after 5 s. A POST that is on its way then cannot be sent again, so a connection is
// not used again that late.
func TestTransport_NoConnectionThatIsAboutToClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialled := make(dials)
		server := &http.Server{IdleTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})}
		go func() { _ = server.Serve(dialled) }()
		defer server.Close()
		n := 0
		transport := newTransport(time.Second)
		transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			n++
			here, there := net.Pipe()
			dialled <- there
			return here, nil
		}
		for i, c := range []struct {
			pause time.Duration
			dials int
		}{{0, 1}, {3 * time.Second, 1}, {4990 * time.Millisecond, 2}, {5 * time.Second, 3}} {
			time.Sleep(c.pause)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api.example/", strings.NewReader("note"))
			if err != nil {
				t.Fatal(err)
			}
			res, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatalf("request %d, after %v: %v", i, c.pause, err)
			}
			if body, err := io.ReadAll(res.Body); err != nil || string(body) != "note" {
				t.Errorf("request %d: %q, %v", i, body, err)
			}
			res.Body.Close()
			if n != c.dials {
				t.Errorf("request %d, after %v: %d connections, want %d", i, c.pause, n, c.dials)
			}
		}
	})
}

// dials is a listener whose connections are pipes.
type dials chan net.Conn

func (d dials) Accept() (net.Conn, error) {
	c, ok := <-d
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (d dials) Close() error   { close(d); return nil }
func (d dials) Addr() net.Addr { return &net.TCPAddr{} }
