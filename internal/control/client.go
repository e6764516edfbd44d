package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/cloakroom-go/cloakroom/session"
)

// ErrUnreachable is that nobody can be asked at a socket.
var ErrUnreachable = errors.New("no gateway can be asked")

type unreachable struct{ error }

func (unreachable) Is(target error) bool { return target == ErrUnreachable }

// Client asks a running gateway.
type Client struct{ http *http.Client }

// NewClient returns a client of the gateway whose socket is at path. It connects when it is asked.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		switch {
		case errors.Is(err, os.ErrPermission):
			return nil, fault(unreachable{fmt.Errorf("%s is another user's", path)}, "run this as the user that the gateway runs as")
		case err != nil:
			return nil, fault(unreachable{fmt.Errorf("no gateway answers at %s", path)}, "start it with: cloakroom serve; or name the socket of the one that runs: --control PATH")
		}
		return conn, nil
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// List calls each for every session of a user, or for all with "". An issuer narrows it. It stops at the first error of each.
func (c *Client) List(ctx context.Context, user, issuer string, each func(Session) error) error {
	res, err := c.ask(ctx, http.MethodGet, "/sessions?"+url.Values{"user": {user}, "issuer": {issuer}}.Encode())
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for lines := json.NewDecoder(res.Body); ; {
		var l line
		switch err := lines.Decode(&l); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("the list was cut short: %w", err)
		case l.Failure != nil:
			return l.Failure.errorOf()
		case l.Session == nil:
			return errors.New("the list has a line that is no session")
		}
		if err := each(*l.Session); err != nil {
			return err
		}
	}
}

// RevokeUser ends all sessions of a user, at one issuer or, with "", at all of the gateway's providers.
func (c *Client) RevokeUser(ctx context.Context, user, issuer string) (Ended, error) {
	return c.revoke(ctx, url.Values{"user": {user}, "issuer": {issuer}})
}

// RevokeSession ends the session that the logs call id. NotFound: there is none.
func (c *Client) RevokeSession(ctx context.Context, id string) (Ended, error) {
	return c.revoke(ctx, url.Values{"id": {id}})
}

// RevokeAll ends all sessions.
func (c *Client) RevokeAll(ctx context.Context) (Ended, error) {
	return c.revoke(ctx, url.Values{"all": {"1"}})
}

// EndClosed ends the sessions of everybody whose account was closed or reset before. NotFound: the gateway has no accounts of its own.
func (c *Client) EndClosed(ctx context.Context) error {
	_, err := c.end(ctx, closedPath)
	return err
}

func (c *Client) revoke(ctx context.Context, query url.Values) (Ended, error) {
	return c.end(ctx, "/sessions?"+query.Encode())
}

func (c *Client) end(ctx context.Context, path string) (ended Ended, err error) {
	res, err := c.ask(ctx, http.MethodDelete, path)
	if err != nil {
		return Ended{}, err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&ended); err != nil {
		return Ended{}, fmt.Errorf("the gateway's answer is cut short: %w", err)
	}
	return ended, nil
}

// ask makes a request. There is no time-out: a million sessions take their time, and who waits can stop it.
func (c *Client) ask(ctx context.Context, method, path string) (*http.Response, error) {
	// The host is nobody's: the socket is where it goes.
	req, err := http.NewRequestWithContext(ctx, method, "http://control"+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	var why *session.Error
	switch {
	case errors.As(err, &why):
		return nil, why // without the request around it
	case err != nil:
		return nil, err
	case res.StatusCode == http.StatusOK:
		return res, nil
	}
	defer res.Body.Close()
	var f Failure
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&f); err != nil || f.Error == "" {
		return nil, fmt.Errorf("what listens at the socket is no gateway: it answers %s", res.Status)
	}
	return nil, f.errorOf()
}
