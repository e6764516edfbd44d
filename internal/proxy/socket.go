package proxy

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/telemetry"
)

// closeSessionOver is the close code that tells a page its session is over (private use, RFC 6455 §7.4.2).
const closeSessionOver = 4401

// socketWriter keeps hold of the connection that httputil.ReverseProxy takes over for a WebSocket.
type socketWriter struct {
	*telemetry.Exchange
	socket atomic.Pointer[socket]
}

// Hijack is called once the upstream has agreed to the upgrade. The reverse proxy writes the 101 to the buffer and frames to
// the connection.
func (w *socketWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := w.Exchange.Hijack()
	if err != nil {
		return nil, nil, err
	}
	s := &socket{Conn: conn}
	w.socket.Store(s)
	return s, buffered, nil
}

// goodbye closes the connection, if there is one yet.
func (w *socketWriter) goodbye() {
	if s := w.socket.Load(); s != nil {
		s.goodbye()
	}
}

// socket follows the frames that go to the browser, so that a close frame can be put between two of them.
type socket struct {
	net.Conn
	mu     sync.Mutex
	frames frameScanner
	closed bool
}

func (s *socket) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	n, err := s.Conn.Write(p)
	s.frames.scan(p[:n])
	return n, err
}

// goodbye sends the close frame where one fits and closes the connection. Amid a frame there is no place for it; the page then
// sees the connection break.
func (s *socket) goodbye() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.frames.between() {
		reason := "session over"
		frame := append([]byte{0x88, byte(2 + len(reason))}, byte(closeSessionOver>>8), byte(closeSessionOver&0xff))
		_ = s.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = s.Conn.Write(append(frame, reason...))
	}
	_ = s.Conn.Close()
}

// frameScanner keeps its place in a stream of WebSocket frames (RFC 6455 §5.2).
type frameScanner struct {
	header []byte // of the frame that begins, as far as it is known
	left   uint64 // bytes of payload to come
}

// between reports whether the stream stands between two frames.
func (f *frameScanner) between() bool { return len(f.header) == 0 && f.left == 0 }

func (f *frameScanner) scan(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		f.header = append(f.header, p[0])
		p = p[1:]
		if length, ok := payloadLength(f.header); ok {
			f.header, f.left = f.header[:0], length
		}
	}
}

// payloadLength reads how long a frame's payload is, once its header is complete.
func payloadLength(h []byte) (uint64, bool) {
	if len(h) < 2 {
		return 0, false
	}
	size, extended := 2, 0
	switch h[1] & 0x7f {
	case 126:
		extended = 2
	case 127:
		extended = 8
	}
	size += extended
	if h[1]&0x80 != 0 {
		size += 4
	}
	if len(h) < size {
		return 0, false
	}
	switch extended {
	case 2:
		return uint64(binary.BigEndian.Uint16(h[2:])), true
	case 8:
		return binary.BigEndian.Uint64(h[2:]), true
	}
	return uint64(h[1] & 0x7f), true
}
