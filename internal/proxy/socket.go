package proxy

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"time"
)

// closeSessionOver is the close code that tells a page its session is over (private use, RFC 6455 §7.4.2).
const closeSessionOver = 4401

// closeGoingAway is RFC 6455's own code for a server that shuts down.
const closeGoingAway = 1001

// goodbyeTime is how long a browser that does not read can hold up the end of its socket; and then, one that does not close.
const goodbyeTime = 400 * time.Millisecond

// socket is the connection to the browser. It follows the frames that go there, so that a close frame can be put between two
// of them.
type socket struct {
	net.Conn
	mu     sync.Mutex
	frames frameScanner
	open   bool // the handshake's answer has been written
	closed bool // by goodbye
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

// handshake takes the answer that precedes the frames.
type handshake struct{ *socket }

func (h handshake) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, net.ErrClosed
	}
	h.open = bytes.HasSuffix(p, []byte("\r\n\r\n"))
	return h.Conn.Write(p)
}

// goodbye sends the close frame where one fits; nothing follows it. Amid a frame there is no place for it: the page then sees
// the connection break. A stream that ended by itself needs none.
func (s *socket) goodbye(why error) {
	frame := closeFrames[why]
	if frame == nil {
		return
	}
	_ = s.Conn.SetWriteDeadline(time.Now().Add(goodbyeTime)) // also ends a write that holds the lock
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.open && s.frames.between() {
		_, _ = s.Conn.Write(frame)
	}
}

// closeFrames say why in RFC 6455 §5.5.1's form: a page signs in again after 4401, and reconnects after 1001.
var closeFrames = map[error][]byte{
	errSessionOver: closeFrame(closeSessionOver, "session over"),
	errDraining:    closeFrame(closeGoingAway, "going away"),
}

func closeFrame(code uint16, reason string) []byte {
	frame := binary.BigEndian.AppendUint16([]byte{0x88, byte(2 + len(reason))}, code)
	return append(frame, reason...)
}

// Close closes the connection. After goodbye it waits a moment for the browser's own close: to close on what it is still
// sending would make some systems drop the close frame before the page has read it.
func (s *socket) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok && closed && half.CloseWrite() == nil {
		_ = s.Conn.SetReadDeadline(time.Now().Add(goodbyeTime))
		_, _ = io.Copy(io.Discard, s.Conn)
	}
	return s.Conn.Close()
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
