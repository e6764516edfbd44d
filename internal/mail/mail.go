// Package mail sends the few letters that are ours, by SMTP. While an application is being built they may go to the log instead.
package mail

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	netmail "net/mail"
	"strconv"
	"strings"
	"time"

	smtp "github.com/wneessen/go-mail"

	"github.com/cloakroom-go/cloakroom/internal/origin"
	"github.com/cloakroom-go/cloakroom/session"
)

// ToLog in the place of a server writes letters into the log. Whoever reads it can use what is in them.
const ToLog = "log"

// Options say how letters are sent. Server and From are needed.
type Options struct {
	Server   string // host:port of an SMTP server (with 465 TLS from the first byte, else STARTTLS), or ToLog
	From     string // "Name <address>", or an address
	Username string // at the server; "" for none
	Password string `json:"-"`

	Roots *x509.CertPool `json:"-"` // what the server's certificate is verified with; nil: what the system has

	// InsecurePlain allows a server on another host that has no TLS. Everyone on the way can then read what is sent, and take
	// accounts over with it. The password is not sent without TLS.
	InsecurePlain bool
}

// String leaves the password out.
func (o Options) String() string { return fmt.Sprintf("mail by %s", o.Server) }

// GoString leaves the password out.
func (o Options) GoString() string { return o.String() }

// Check says what is wrong with o.
func (o Options) Check() error {
	var wrong []error
	if _, err := netmail.ParseAddress(o.From); err != nil || strings.ContainsFunc(o.From, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		wrong = append(wrong, fmt.Errorf("from: %q is no address; write it like Example <no-reply@example.com>", o.From))
	}
	if o.Server == ToLog {
		if o.Username != "" || o.Password != "" {
			wrong = append(wrong, errors.New("the log wants no username and no password"))
		}
		return errors.Join(wrong...)
	}
	if _, _, err := split(o.Server); err != nil {
		wrong = append(wrong, err)
	}
	if (o.Username == "") != (o.Password == "") {
		wrong = append(wrong, errors.New("username and password go together"))
	}
	return errors.Join(wrong...)
}

func split(server string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(server)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil || host == "" || port < 1 || port > 65535 {
		return "", 0, fmt.Errorf("smtp: %q is no mail server; write it like mail.example.com:587", server)
	}
	return host, port, nil
}

// Letter is one, to one person.
type Letter struct {
	To      string // an address of ASCII
	Subject string
	Text    string
	HTML    string
}

const (
	patience = 8 * time.Second // with the server: until it takes a letter, and again until it has it
	most     = 16              // connections at a time
)

// Office sends letters. It is safe for concurrent use.
type Office struct {
	o    Options
	host string
	port int
	free chan struct{}
	log  *slog.Logger
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// New returns an office. It connects to nothing yet.
func New(o Options, log *slog.Logger) (*Office, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	f := &Office{o: o, free: make(chan struct{}, most), log: log, dial: new(net.Dialer).DialContext}
	if o.Server != ToLog {
		f.host, f.port, _ = split(o.Server)
	}
	return f, nil
}

// Line is a connection to a server that is ready for a letter.
type Line struct {
	office *Office
	client *smtp.Client // nil: letters go to the log
	conn   net.Conn
}

// Open connects, up to where the server would take a letter: so far it is the same whether there will be one. MailDown: it cannot be
// reached, refuses us, has no TLS that can be trusted, or too many wait. Whoever opens a line closes it.
func (f *Office) Open(ctx context.Context) (*Line, error) {
	if f.o.Server == ToLog {
		return &Line{office: f}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	select {
	case f.free <- struct{}{}:
	case <-ctx.Done():
		return nil, down(errors.New("too many letters are under way"))
	}
	l := &Line{office: f}
	client, err := smtp.NewClient(f.host, f.how(l)...)
	if err == nil {
		l.client = client
		err = client.DialWithContext(ctx)
	}
	if err != nil {
		l.hangUp()
		return nil, down(err)
	}
	return l, nil
}

func down(err error) error {
	return &session.Error{
		Code: session.MailDown, Op: "send mail", Err: err,
		Hint: "look at accounts.mail: smtp, username and password, and whether the server can be reached from here",
	}
}

// how are the library's options. The connection is made here, since the library leaves it open where a greeting fails.
func (f *Office) how(l *Line) []smtp.Option {
	config := &tls.Config{ServerName: f.host, RootCAs: f.o.Roots, MinVersion: tls.VersionTLS12}
	policy := smtp.TLSMandatory
	if f.port == 465 || f.o.InsecurePlain || origin.IsLocal(f.host) {
		policy = smtp.TLSOpportunistic // with 465 there is TLS before the first word
	}
	options := []smtp.Option{
		smtp.WithPort(f.port), smtp.WithTimeout(patience), smtp.WithTLSConfig(config), smtp.WithTLSPolicy(policy), smtp.WithoutNoop(),
		smtp.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := f.dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			l.conn = conn
			if f.port != 465 {
				return conn, nil
			}
			encrypted := tls.Client(conn, config)
			return encrypted, encrypted.HandshakeContext(ctx)
		}),
	}
	if f.o.Username != "" { // of what the server offers, nothing that shows the password to the network
		options = append(options, smtp.WithSMTPAuth(smtp.SMTPAuthAutoDiscover), smtp.WithUsername(f.o.Username), smtp.WithPassword(f.o.Password))
	}
	return options
}

// Send gives a letter to the server. MailDown: it did not take it.
func (l *Line) Send(letter Letter) error {
	if l.client == nil {
		// A warning: whoever reads this can do what only its reader should.
		l.office.log.Warn("a letter that is not sent, since accounts.mail is the log", "to", letter.To, "subject", letter.Subject, "text", letter.Text)
		return nil
	}
	m := smtp.NewMsg(smtp.WithNoDefaultUserAgent())
	if err := errors.Join(m.From(l.office.o.From), m.To(letter.To)); err != nil {
		return down(err)
	}
	m.Subject(letter.Subject)
	m.SetDate()
	m.SetMessageID()
	m.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no machine is to answer
	m.SetBodyString(smtp.TypeTextPlain, letter.Text)
	m.AddAlternativeString(smtp.TypeTextHTML, letter.HTML)
	if err := l.client.Send(m); err != nil {
		return down(err)
	}
	return nil
}

// Close says goodbye.
func (l *Line) Close() {
	if l.client != nil {
		_ = l.client.Close() // a server that does not answer any more has the letter or has not
		l.hangUp()
	}
}

func (l *Line) hangUp() {
	if l.conn != nil {
		l.conn.Close()
	}
	<-l.office.free
}
