// Package audit records who did what to which session. The record is made for people who must answer "who was signed in,
// and how did it end": one event for each login, renewal, refusal and end, never a secret among them.
package audit

import (
	"context"
	"log/slog"
	"time"
)

// Action is what happened. The list is closed.
type Action string

// The actions.
const (
	LoginStarted  Action = "login_started"  // the browser was sent to a provider
	Login         Action = "login"          // a session began
	LoginFailed   Action = "login_failed"   // a callback was refused; Reason has the code
	Registered    Action = "registered"     // an account was made, by the person
	Changed       Action = "changed"        // the credentials of an account were changed, or whether they let anybody in, by the person or an operator; Reason says which
	Logout        Action = "logout"         // the person ended the session
	Replaced      Action = "replaced"       // a new login ended the older session of the browser
	Ended         Action = "ended"          // the session ended otherwise; Reason says why
	Renewed       Action = "renewed"        // new tokens were received and stored
	RenewalFailed Action = "renewal_failed" // the provider did not answer, or refused; Reason has the code
	Narrowed      Action = "narrowed"       // an access token was made that is good for less: for the page, of a narrower scope, or for one API, which Reason names
	Rotated       Action = "rotated"        // the browser gets a new ticket
	Theft         Action = "theft"          // a superseded ticket came back: the session ends
	Refused       Action = "refused"        // the guard or allow refused a request; Reason has the code
	Revoked       Action = "revoked"        // the provider was told that the tokens are no longer needed
	RevokeFailed  Action = "revoke_failed"  // the provider could not be told; the tokens live on until they expire
)

// Event is one record. Fields that do not apply are empty.
type Event struct {
	Time      time.Time
	Action    Action
	Session   string // a keyed hash, stable for the session's life; see session.Session.LogID
	Provider  string // its name in the configuration
	Issuer    string
	Subject   string
	Address   string // of the client, behind trusted proxies
	RequestID string
	Reason    string // a code or a few words
}

// Sink takes events. Record must not block for long: it is called while a request waits.
type Sink interface {
	Record(ctx context.Context, e Event)
}

// SinkFunc makes a function a Sink.
type SinkFunc func(ctx context.Context, e Event)

// Record calls f.
func (f SinkFunc) Record(ctx context.Context, e Event) { f(ctx, e) }

// Tee records every event in each of the sinks.
func Tee(sinks ...Sink) Sink {
	return SinkFunc(func(ctx context.Context, e Event) {
		for _, s := range sinks {
			s.Record(ctx, e)
		}
	})
}

// Log returns a Sink that writes each event as one record with the message "audit". Empty fields are left out.
func Log(logger *slog.Logger) Sink {
	return SinkFunc(func(ctx context.Context, e Event) {
		attrs := make([]slog.Attr, 0, 8)
		for _, f := range []struct{ name, value string }{
			{"action", string(e.Action)}, {"session", e.Session}, {"provider", e.Provider}, {"issuer", e.Issuer},
			{"subject", e.Subject}, {"address", e.Address}, {"request_id", e.RequestID}, {"reason", e.Reason},
		} {
			if f.value != "" {
				attrs = append(attrs, slog.String(f.name, f.value))
			}
		}
		logger.LogAttrs(ctx, slog.LevelInfo, "audit", attrs...)
	})
}
