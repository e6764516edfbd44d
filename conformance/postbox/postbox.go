// Package postbox is a mail server for tests: real SMTP on this machine, with STARTTLS, and a few ways to be no good.
package postbox

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"
)

// Lie is a way to be no good.
type Lie uint8

// The ways.
const (
	NoTLS          Lie = iota // STARTTLS is not offered
	TLSAtOnce                 // TLS from the first byte, as on port 465
	RefuseEveryone            // no recipient is known
	Silent                    // a connection is taken, and nothing is said
	BadPassword               // no password is right
)

// Credentials that are right.
const (
	Username = "postman"
	Password = "a password of the postman"
)

// Letter is one that was taken.
type Letter struct {
	From, To   string // of the envelope
	Encrypted  bool   // it came by TLS
	Username   string // who brought it; "" for nobody
	Header     mail.Header
	Subject    string
	Text, HTML string
}

// Server is a mail server.
type Server struct {
	t       *testing.T
	lies    map[Lie]bool
	cert    tls.Certificate
	roots   *x509.CertPool
	wg      sync.WaitGroup
	letters chan Letter

	mu       sync.Mutex
	listener net.Listener
	address  string
	conns    map[net.Conn]bool
	calls    int
}

// New starts a server, which ends with the test.
func New(t *testing.T, lies ...Lie) *Server {
	t.Helper()
	certified := httptest.NewUnstartedServer(nil)
	certified.StartTLS()
	certified.Close()
	s := &Server{
		t: t, lies: map[Lie]bool{}, cert: certified.TLS.Certificates[0], roots: x509.NewCertPool(), letters: make(chan Letter, 100), conns: map[net.Conn]bool{},
	}
	s.roots.AddCert(certified.Certificate())
	for _, lie := range lies {
		s.lies[lie] = true
	}
	s.address = "127.0.0.1:0"
	s.Up()
	t.Cleanup(s.Down)
	return s
}

// Address is host:port.
func (s *Server) Address() string { return s.address }

// Roots verify its certificate.
func (s *Server) Roots() *x509.CertPool { return s.roots }

// Calls is how many connections there were.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// Up listens, at the same address as before.
func (s *Server) Up() {
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = listener.Addr().String()
	s.mu.Lock()
	s.listener = listener
	s.mu.Unlock()
	s.wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.calls++
			s.conns[conn] = true
			s.mu.Unlock()
			s.wg.Go(func() {
				s.serve(conn)
				conn.Close()
				s.mu.Lock()
				delete(s.conns, conn)
				s.mu.Unlock()
			})
		}
	})
}

// Down stops listening, and hangs up on everyone.
func (s *Server) Down() {
	s.mu.Lock()
	s.listener.Close()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Next is the next letter. The test fails if none comes.
func (s *Server) Next() Letter {
	s.t.Helper()
	select {
	case l := <-s.letters:
		return l
	case <-time.After(10 * time.Second):
		s.t.Fatal("no letter came")
		return Letter{}
	}
}

// None fails the test if there is a letter that nobody has read.
func (s *Server) None() {
	s.t.Helper()
	select {
	case l := <-s.letters:
		s.t.Fatalf("a letter to %s: %s", l.To, l.Subject)
	default:
	}
}

func (s *Server) serve(raw net.Conn) {
	conn := raw
	if s.lies[TLSAtOnce] {
		conn = tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{s.cert}})
	}
	r := bufio.NewReader(conn)
	say := func(format string, args ...any) { fmt.Fprintf(conn, format+"\r\n", args...) }
	if s.lies[Silent] {
		io.Copy(io.Discard, r)
		return
	}
	var l Letter
	say("220 postbox ESMTP")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		_, encrypted := conn.(*tls.Conn)
		switch strings.ToUpper(verb) {
		case "EHLO", "HELO":
			say("250-postbox")
			if !encrypted && !s.lies[NoTLS] {
				say("250-STARTTLS")
			}
			say("250 AUTH PLAIN")
		case "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{s.cert}})
			r = bufio.NewReader(conn)
		case "AUTH":
			if !s.knows(rest) {
				say("535 no")
				continue
			}
			l.Username = Username
			say("235 welcome")
		case "MAIL":
			l.From = between(rest)
			say("250 ok")
		case "RCPT":
			if s.lies[RefuseEveryone] {
				say("550 nobody here is called so")
				continue
			}
			l.To = between(rest)
			say("250 ok")
		case "DATA":
			say("354 go on")
			l.Encrypted = encrypted
			if err := s.take(r, l); err != nil {
				return
			}
			say("250 taken")
		case "RSET", "NOOP":
			say("250 ok")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("500 what?")
		}
	}
}

// knows reports whether credentials are right.
func (s *Server) knows(auth string) bool {
	_, text, _ := strings.Cut(auth, " ")
	plain, err := base64.StdEncoding.DecodeString(text)
	return err == nil && !s.lies[BadPassword] && string(plain) == "\x00"+Username+"\x00"+Password
}

// take reads a letter up to the line with a dot alone.
func (s *Server) take(r *bufio.Reader, l Letter) error {
	var text strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if line == ".\r\n" {
			break
		}
		text.WriteString(strings.TrimPrefix(line, "."))
	}
	if err := l.read(text.String()); err != nil {
		s.t.Errorf("a letter that cannot be read: %v", err)
	}
	s.letters <- l
	return nil
}

func between(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}

// read takes a letter apart: a text and an HTML part.
func (l *Letter) read(text string) error {
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		return err
	}
	l.Header = m.Header
	if l.Subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return err
	}
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	parts := multipart.NewReader(m.Body, params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		body, err := io.ReadAll(quotedprintable.NewReader(part))
		if err != nil {
			return err
		}
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		switch kind {
		case "text/plain":
			l.Text = strings.ReplaceAll(string(body), "\r\n", "\n")
		case "text/html":
			l.HTML = string(body)
		default:
			return fmt.Errorf("a part of type %q: %w", kind, err)
		}
	}
}
