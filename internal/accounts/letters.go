package accounts

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/mail"
	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

//go:embed letter.html
var letterSource string

var letterPage = template.Must(template.New("letter").Parse(letterSource))

// letter is what we write to people: a few sentences, and mostly a link. Nothing in it is loaded from anywhere.
type letter struct {
	Subject string
	Text    string // what happened
	Link    string // "" for none
	Button  string // what the link does
	Code    string // "" for none
	Rest    string // what to do otherwise
	Host    string
}

func (l letter) plain() string {
	var parts []string
	for _, part := range []string{l.Text, l.Code, l.Link, l.Rest} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "\n\n") + "\n\n-- \n" + l.Host + "\n"
}

func (a *Accounts) seal(l letter, to string) mail.Letter {
	l.Host = a.base.Host
	var page bytes.Buffer
	if err := letterPage.Execute(&page, l); err != nil {
		panic("accounts: " + err.Error()) // texts
	}
	return mail.Letter{To: to, Subject: l.Subject, Text: l.plain(), HTML: page.String()}
}

// linkTo is the address of a page of ours with a token. It is made from the configuration: what a request says of its host is what
// somebody else wants it to be.
func (a *Accounts) linkTo(path, token string) string {
	return a.at(path, url.Values{"token": {token}}).String()
}

// linkFor is the address of a page of the application's own, if there is one, or of ours. Behind the # a token is neither logged nor in a
// referrer.
func (a *Accounts) linkFor(page, path, token string) string {
	if page == "" {
		return a.linkTo(path, token)
	}
	return a.origin + page + "#" + url.Values{"token": {token}}.Encode()
}

// sending bounds what goes on behind an answer: a link, and a letter.
const sending = 30 * time.Second

// post opens a line to the mail server, and lets write go on behind the answer. Whoever asked learns whether the server is there, and
// nothing of what write finds out, not even by the time that it takes. MailDown: it is not there; write is not called.
func (a *Accounts) post(ctx context.Context, write func(ctx context.Context, line *mail.Line) error) error {
	line, err := a.mail.Open(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sending)
	a.posting.Go(func() {
		defer cancel()
		defer line.Close()
		if err := write(ctx, line); err != nil {
			a.log.ErrorContext(ctx, "a letter was not sent", telemetry.AttrError, err.Error(), telemetry.AttrHint, session.HintOf(err))
		}
	})
	return nil
}

// sendLink mails a link. One that could not be mailed is forgotten.
func (a *Accounts) sendLink(ctx context.Context, line *mail.Line, for_ purpose, account string, of detail, to string, write func(token string) letter) error {
	token, err := a.db.addLink(ctx, for_, account, of)
	if err != nil {
		return err
	}
	if err := line.Send(a.seal(write(token), to)); err != nil {
		_ = a.db.dropLink(ctx, token)
		return err
	}
	return nil
}

// mailbox is an address as mail servers take it: of ASCII, with the part before the @ as it was typed.
func mailbox(typed string) (string, error) {
	typed = strings.TrimSpace(typed)
	key, err := emailKey(typed)
	if err != nil {
		return "", err
	}
	return typed[:strings.LastIndexByte(typed, '@')] + key[strings.LastIndexByte(key, '@'):], nil
}

// Mails reports whether there is a way to send letters.
func (a *Accounts) Mails() bool { return a.mail != nil }

// Close waits for letters that are under way, as long as ctx lets it.
func (a *Accounts) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		a.posting.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
