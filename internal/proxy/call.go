package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/telemetry"
	"github.com/cloakroom-go/cloakroom/session"
)

// call is one request on its way to an upstream. It is the ResponseWriter that the reverse proxy writes to, and what the
// proxy's hooks find in a request's context.
type call struct {
	*telemetry.Exchange
	upstream  *upstream
	in        *http.Request    // as the browser sent it
	session   *session.Session // nil: there is none
	addressed *session.Session // the same with the token for the audience that the route names, nil: it names none
	bearer    *session.Grant   // of the access token that came without a session, nil: none
	body      *requestBody     // nil: none
	trailers  bool             // the answer may have some
	length    int64            // that the answer declares; -1: none
	socket    atomic.Pointer[socket]
	answer    io.Closer // the answer's body, once there is one
	unwatch   func()    // nil: nobody ends the answer before its time
}

func callOf(r *http.Request) *call { return telemetry.Of(r).Call.(*call) }

// request is the call's request as the reverse proxy gets it: with the headers that are about the connection, which it decides
// about. All others rewrite takes from the browser's request: the reverse proxy would copy every one, and then search the copy
// for each name that it knows, which took longer than all of rewrite.
func (c *call) request(ctx context.Context) *http.Request {
	c.BeforeHeaders, c.Call = c.finish, c
	r := c.in.WithContext(ctx)
	r.Header = http.Header{}
	if te, ok := c.in.Header["Te"]; ok {
		r.Header["Te"] = te
	}
	if isSocket(c.in) {
		r.Header["Connection"], r.Header["Upgrade"] = upgrade, webSocket // it alone: no other protocol that the client names beside it
	}
	if c.body != nil {
		r.Body = c.body
	}
	return r
}

var upgrade, webSocket = []string{"Upgrade"}, []string{"websocket"}

func (c *call) finish(h http.Header) {
	if c.body != nil && c.in.ProtoMajor == 1 && (!c.body.whole.Load() || len(c.in.TransferEncoding) > 0) {
		// What is left of the body may be anything, and nobody looks at it any more: no next request can be behind it. Behind
		// a chunked one neither, see Gateway.serve.
		h["Connection"] = closeConnection
	}
	c.upstream.proxy.finish(c.Exchange, c.in, c.session, c.upstream.route.Auth == AuthOptional || c.bearer != nil)
	if c.bearer != nil {
		unshare(h)
	}
}

var closeConnection = []string{"close"}

// WriteHeader passes early answers on, without what an upstream may not say; HTTP/1.0 has none.
func (c *call) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		if !c.in.ProtoAtLeast(1, 1) {
			return
		}
		c.scrub(c.Header())
	}
	c.Exchange.WriteHeader(status)
}

// forward has the reverse proxy do its work.
func (c *call) forward(ctx context.Context) {
	defer func() {
		if c.unwatch != nil {
			c.unwatch()
		}
	}()
	c.upstream.reverse.ServeHTTP(c, c.request(ctx))
	c.scrubTrailers()
}

// breakOff lets the answer break off when over ends.
func (c *call) breakOff(over context.Context, end func()) {
	stop := context.AfterFunc(over, func() { c.answer.Close() })
	c.unwatch = func() { stop(); end() }
}

// longAnswer is from when on an answer is watched that was not said to be a stream. Nearly all are over by then, and cost nothing.
const longAnswer = 5 * time.Second

// Write passes on what has come when more is to come: that may take its time. The reverse proxy does so by itself for answers of
// unknown length, and otherwise only by a timer for each answer.
func (c *call) Write(p []byte) (int, error) {
	if c.Bytes > 0 && c.unwatch == nil && c.session != nil && time.Since(c.Started) > longAnswer {
		c.breakOff(c.upstream.proxy.Live.WatchLong(c.in.Context(), c.session))
	}
	n, err := c.Exchange.Write(p)
	if err == nil && c.Bytes < c.length {
		err = c.FlushError()
	}
	return n, err
}

// scrubTrailers does for an upstream's trailers what scrub does for its headers. They are in the header map by now, whose own
// headers have gone out.
func (c *call) scrubTrailers() {
	if !c.trailers {
		return
	}
	h := c.Header()
	for name := range h {
		if key := strings.TrimPrefix(name, http.TrailerPrefix); key == "Set-Cookie" || c.forbids(key) {
			delete(h, name)
		}
	}
}

// Hijack is called once the upstream has agreed to a WebSocket.
func (c *call) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := c.Exchange.Hijack()
	if err != nil {
		return nil, nil, err
	}
	s := &socket{Conn: conn}
	buffered.Writer.Reset(handshake{s})
	c.socket.Store(s)
	return s, buffered, nil
}

// serveSocket forwards a WebSocket, which ends with its session: the page is told first, then the upstream is let go. An upstream may
// answer with something else: that is watched as well, and once.
func (c *call) serveSocket() {
	over, end, err := c.watch(c.in.Context())
	if err != nil {
		c.upstream.proxy.turnAway(c.Exchange, c.in, err)
		return
	}
	ctx, cancel := context.WithCancelCause(c.in.Context())
	defer cancel(nil)
	stop := context.AfterFunc(over, func() {
		if s := c.socket.Load(); s != nil {
			s.goodbye(context.Cause(over))
		}
		cancel(context.Cause(over))
	})
	c.unwatch = func() { stop(); end() }
	c.forward(ctx)
}

// takeBody puts the route's limit on the request's body, and reports whether the request may go on.
func (c *call) takeBody() bool {
	r, limit := c.in, c.upstream.route.MaxBody
	if r.Body == nil || r.Body == http.NoBody {
		return true
	}
	if limit > 0 && r.ContentLength > limit {
		err := session.Fail(session.TooLarge, "forward", "%d bytes, the route takes %d", r.ContentLength, limit)
		c.upstream.proxy.Answers.Fail(c.Exchange, r, err)
		return false
	}
	c.body = &requestBody{ReadCloser: r.Body}
	if limit > 0 {
		// Not given our writer: it would set a header there while the transport reads, and the answer may be under way.
		c.body.ReadCloser = http.MaxBytesReader(nil, r.Body, limit)
	}
	// Else the server would swallow a part of the body when an upstream answers before it has read all of it. Where that is
	// not supported, it is not needed.
	_ = http.NewResponseController(c.Exchange).EnableFullDuplex()
	return true
}

// bodyStall is how long a request without a session may send nothing of its body: it would hold a connection here and one to the
// upstream, for as long as it likes, and anybody can do that. How long all of it takes does not matter.
const bodyStall = time.Minute

var errStalled = errors.New("the rest of the request's body does not come")

// requestBody remembers why reading a body stopped. To the transport every failure looks like the upstream's.
type requestBody struct {
	io.ReadCloser
	whole  atomic.Bool // it was read to its end
	failed atomic.Pointer[error]
	limit  time.Duration // for one read, if stall is set
	stall  *time.Timer   // runs while a read waits
}

// serveUpload forwards a request without a session, whose body has to keep coming.
func (c *call) serveUpload() {
	ctx, cancel := context.WithCancelCause(c.in.Context())
	defer cancel(nil)
	// The transport waits for a read that is under way, and so does the server, which would take the rest.
	giveUp := func() { _ = http.NewResponseController(c.Exchange).SetReadDeadline(time.Now()) }
	c.body.stalls(c.upstream.proxy.stall, func() { cancel(errStalled); giveUp() })
	c.forward(ctx)
	if context.Cause(ctx) == errStalled {
		giveUp()
	}
}

// stalls has f called when a read waits for longer than limit. Call it before the first read.
func (b *requestBody) stalls(limit time.Duration, f func()) {
	b.limit, b.stall = limit, time.AfterFunc(limit, f)
	b.stall.Stop()
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.stall != nil {
		b.stall.Reset(b.limit)
		defer b.stall.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	switch err {
	case nil:
	case io.EOF:
		b.whole.Store(true)
	default:
		b.failed.Store(&err)
	}
	return n, err
}

// fault is why the body could not be read, nil if it could.
func (b *requestBody) fault() error {
	if b == nil {
		return nil
	}
	err := b.failed.Load()
	if err == nil {
		return nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(*err, &tooLarge) {
		return &session.Error{Code: session.TooLarge, Op: "forward", Err: *err}
	}
	return &session.Error{Code: session.BadRequest, Op: "read the request's body", Err: *err}
}

// fail answers when an upstream could not.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	c := w.(*call)
	if c.Status != 0 {
		return // a WebSocket that broke off right after it was agreed to
	}
	c.upstream.proxy.turnAway(c.Exchange, c.in, c.reason(r.Context(), err))
}

// reason says whose fault it is that there is no answer.
func (c *call) reason(ctx context.Context, err error) error {
	var ours *session.Error
	var timeout net.Error
	switch fault := c.body.fault(); {
	case context.Cause(ctx) == errDraining:
		return &session.Error{Code: session.Unavailable, Op: "open a stream", Err: errDraining}
	case context.Cause(ctx) == errSessionOver:
		return &session.Error{Code: session.Ended, Op: "open a stream", Err: errSessionOver}
	case context.Cause(ctx) == errStalled:
		return &session.Error{Code: session.BadRequest, Op: "read the request's body", Err: errStalled}
	case ctx.Err() == context.Canceled:
		// The client has gone. Should anyone still listen, an answer that breaks off is better than an empty one.
		panic(http.ErrAbortHandler)
	case fault != nil:
		return fault
	case errors.As(err, &ours):
		return err
	}
	code, hint := session.UpstreamDown, "is the upstream of route "+c.upstream.route.Path+" running at "+c.upstream.target.Host+"?"
	if errors.As(err, &timeout) && timeout.Timeout() {
		code, hint = session.UpstreamSlow, ""
	}
	return &session.Error{Code: code, Op: "forward to " + c.upstream.target.Host, Err: err, Hint: hint}
}
