package issuer

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

// Servers close connections that are idle, many of them after 5 s. What is on its way then is lost, and a refresh cannot be sent again: its
// token may be spent. So a connection is not used again that late.
func TestCalls_NoConnectionThatIsAboutToClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dialled := make(dials)
		server := &http.Server{IdleTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(w, r.Body)
		})}
		go func() { _ = server.Serve(dialled) }()
		defer server.Close()
		n := 0
		calls := NewCalls(&http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
			n++
			here, there := net.Pipe()
			dialled <- there
			return here, nil
		}}})
		for i, c := range []struct {
			pause time.Duration
			dials int
		}{{0, 1}, {time.Second, 1}, {5 * time.Second, 2}, {4990 * time.Millisecond, 3}, {time.Second, 3}} {
			time.Sleep(c.pause)
			r, err := http.NewRequest(http.MethodPost, "http://issuer.example/token", strings.NewReader("refresh"))
			if err != nil {
				t.Fatal(err)
			}
			if reply, err := calls.Do(t.Context(), "refresh tokens", r); err != nil || string(reply.Body) != "refresh" {
				t.Errorf("call %d: %q, %v", i, reply.Body, err)
			}
			if n != c.dials {
				t.Errorf("call %d, after %v: %d connections, want %d", i, c.pause, n, c.dials)
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
