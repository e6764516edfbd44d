package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Anybody may send to a route without a session. Who sends a part of a body and then no more gets an answer, keeps no connection, and
// the upstream is let go.
func TestStall_AnonymousBodyIsGivenUp(t *testing.T) {
	for name, framing := range map[string]string{"declared": "Content-Length: 100\r\n\r\nbegin", "chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n"} {
		t.Run(name, func(t *testing.T) {
			let := make(chan error, 1)
			d := newDesk(t, func(_ http.ResponseWriter, r *http.Request) {
				text, err := io.ReadAll(r.Body)
				if string(text) != "begin" {
					err = fmt.Errorf("%q, %w", text, err)
				}
				let <- err
			})
			d.proxy.stall = 50 * time.Millisecond
			for _, m := range d.proxy.routes.prefixes {
				m.Auth = AuthOff
			}
			conn, err := net.Dial("tcp", strings.TrimPrefix(d.server.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, "POST /up HTTP/1.1\r\nHost: app.example.com\r\n"+framing); err != nil {
				t.Fatal(err)
			}
			reader := bufio.NewReader(conn)
			res, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusBadRequest || !res.Close {
				t.Errorf("%d %s, closes: %t, %v", res.StatusCode, body, res.Close, err)
			}
			if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 {
				t.Errorf("the connection is not closed: %q, %v", rest, err)
			}
			if err := <-let; err != io.ErrUnexpectedEOF {
				t.Errorf("the upstream read on until %v", err)
			}
		})
	}
}

// A slow upload is none that stalls, however long it takes, and an upstream that takes its time stalls nothing.
func TestStall_SlowIsFine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := io.Pipe()
		stalled := false
		body := &requestBody{ReadCloser: from}
		body.stalls(bodyStall, func() { stalled = true })
		go func() {
			for range 100 {
				time.Sleep(bodyStall - time.Nanosecond) // of a clock that jumps
				_, _ = to.Write([]byte("x"))
			}
		}()
		for range 100 {
			if n, err := body.Read(make([]byte, 10)); n != 1 || err != nil {
				t.Fatal(n, err)
			}
			if stalled {
				t.Fatal("a byte in time was too late")
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if stalled {
			t.Fatal("nobody was reading")
		}
		go func() { _, _ = body.Read(make([]byte, 10)) }()
		time.Sleep(bodyStall)
		synctest.Wait()
		if !stalled {
			t.Error("nothing came, and it is not seen")
		}
		from.Close()
	})
}
