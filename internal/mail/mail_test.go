package mail

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloakroom-go/cloakroom/conformance/postbox"
	"github.com/cloakroom-go/cloakroom/session"
)

var letter = Letter{To: "ada@example.com", Subject: "Grüße", Text: "a text\n.\nand a dot", HTML: "<p>a text</p>"}

func sendTo(t *testing.T, o Options) error {
	t.Helper()
	office, err := New(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	line, err := office.Open(context.Background())
	if err == nil {
		err = line.Send(letter)
		line.Close()
	}
	if n := len(office.free); n != 0 {
		t.Errorf("%d lines are still counted", n)
	}
	return err
}

const from = "Example <no-reply@example.com>"

func TestOffice_U9_Sends(t *testing.T) {
	for name, v := range map[string]struct {
		lies               []postbox.Lie
		username, password string
		encrypted          bool
	}{
		"STARTTLS":        {nil, "", "", true},
		"WithPassword":    {nil, postbox.Username, postbox.Password, true},
		"LoopbackInClear": {[]postbox.Lie{postbox.NoTLS}, "", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			server := postbox.New(t, v.lies...)
			if err := sendTo(t, Options{Server: server.Address(), From: from, Roots: server.Roots(), Username: v.username, Password: v.password}); err != nil {
				t.Fatal(err)
			}
			l := server.Next()
			if l.To != letter.To || l.From != "no-reply@example.com" || l.Encrypted != v.encrypted || l.Username != v.username {
				t.Errorf("%+v", l)
			}
			if l.Subject != letter.Subject || strings.TrimSpace(l.Text) != letter.Text || strings.TrimSpace(l.HTML) != letter.HTML {
				t.Errorf("%q %q %q", l.Subject, l.Text, l.HTML)
			}
			if l.Header.Get("Auto-Submitted") != "auto-generated" || l.Header.Get("Date") == "" || l.Header.Get("Message-Id") == "" || l.Header.Get("User-Agent") != "" {
				t.Errorf("header %v", l.Header)
			}
		})
	}
}

func TestOffice_MailDown(t *testing.T) {
	for name, v := range map[string]struct {
		lie    postbox.Lie
		change func(*Options)
		says   string
	}{
		"NobodyTrustsTheCertificate": {postbox.Lie(255), func(o *Options) { o.Roots = x509.NewCertPool() }, "certificate"},
		"RefusesEveryone":            {postbox.RefuseEveryone, nil, "nobody here"},
		"WrongPassword":              {postbox.BadPassword, func(o *Options) { o.Username, o.Password = postbox.Username, "hunter2" }, "535"},
		"NoTLSForThePassword":        {postbox.NoTLS, func(o *Options) { o.Username, o.Password = postbox.Username, postbox.Password }, "supported authentication mechanism"},
		"NothingThere":               {postbox.Lie(255), func(o *Options) { o.Server = "127.0.0.1:1" }, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			server := postbox.New(t, v.lie)
			o := Options{Server: server.Address(), From: from, Roots: server.Roots()}
			if v.change != nil {
				v.change(&o)
			}
			err := sendTo(t, o)
			if session.CodeOf(err) != session.MailDown || !strings.Contains(err.Error(), v.says) {
				t.Errorf("%v, want %s saying %q", err, session.MailDown, v.says)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), postbox.Password)) {
				t.Errorf("the password is in %v", err)
			}
			server.None()
		})
	}
}

// Without TLS on the way to another host nothing is sent, unless that was asked for.
func TestOffice_TLSIsRequired(t *testing.T) {
	server := postbox.New(t, postbox.NoTLS)
	for _, insecure := range []bool{false, true} {
		office, err := New(Options{Server: "mail.example.com:25", From: from, InsecurePlain: insecure}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		office.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, server.Address())
		}
		line, err := office.Open(context.Background())
		if insecure != (err == nil) {
			t.Errorf("insecure %v: %v", insecure, err)
		}
		if err == nil {
			line.Close()
		}
	}
}

// On port 465 there is TLS before the first word, and the password may follow.
func TestOffice_TLSAtOnce(t *testing.T) {
	server := postbox.New(t, postbox.TLSAtOnce)
	office, err := New(Options{Server: "127.0.0.1:465", From: from, Roots: server.Roots(), Username: postbox.Username, Password: postbox.Password}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	office.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Address())
	}
	line, err := office.Open(context.Background())
	if err == nil {
		err = line.Send(letter)
		line.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if l := server.Next(); !l.Encrypted || l.Username != postbox.Username {
		t.Errorf("%+v", l)
	}
}

// Who waits for a line while all are taken is told, and does not wait for ever.
func TestOffice_TooManyLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		office, err := New(Options{Server: "mail.example.com:25", From: from}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		for range most {
			office.free <- struct{}{}
		}
		began := time.Now()
		if _, err := office.Open(context.Background()); session.CodeOf(err) != session.MailDown {
			t.Error(err)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("told after %s", took)
		}
	})
}

// A log is a place for letters where nobody is sent any.
func TestOffice_ToLog(t *testing.T) {
	var text strings.Builder
	office, err := New(Options{Server: ToLog, From: from}, slog.New(slog.NewTextHandler(&text, nil)))
	if err != nil {
		t.Fatal(err)
	}
	line, err := office.Open(context.Background())
	if err == nil {
		err = line.Send(letter)
		line.Close()
	}
	if err != nil || !strings.Contains(text.String(), "and a dot") {
		t.Errorf("%v: %s", err, text.String())
	}
}

func TestOptions_Check(t *testing.T) {
	for _, v := range []struct {
		o    Options
		says string
	}{
		{Options{Server: "mail.example.com:587", From: from}, ""},
		{Options{Server: ToLog, From: "a@example.com"}, ""},
		{Options{Server: "mail.example.com", From: from}, "no mail server"},
		{Options{Server: "mail.example.com:0", From: from}, "no mail server"},
		{Options{Server: ":25", From: from}, "no mail server"},
		{Options{Server: "mail.example.com:25"}, "no address"},
		{Options{Server: "mail.example.com:25", From: "a@example.com\r\nBcc: b@example.com"}, "no address"},
		{Options{Server: "mail.example.com:25", From: from, Username: "me"}, "go together"},
		{Options{Server: ToLog, From: from, Username: "me", Password: "x"}, "wants no username"},
	} {
		err := v.o.Check()
		if (err == nil) != (v.says == "") || err != nil && !strings.Contains(err.Error(), v.says) {
			t.Errorf("%+v: %v, want %q", v.o, err, v.says)
		}
	}
}
