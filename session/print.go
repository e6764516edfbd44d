package session

import (
	"fmt"
	"io"
)

// What a program holds it prints sooner or later, into a log or an answer. What opens something stays out of both.

// Format prints which session it is and whose, and nothing that opens it, whatever the verb.
func (s Session) Format(f fmt.State, _ rune) { io.WriteString(f, s.words()) }

// MarshalText writes the same, as one text, also in JSON.
func (s Session) MarshalText() ([]byte, error) { return []byte(s.words()), nil }

func (s Session) words() string {
	return fmt.Sprintf("session %q of %q at %q", s.LogID, s.Grant.Subject, s.Grant.Issuer)
}

const hidden = "[secret]"

// Format prints no token, whatever the verb.
func (Tokens) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalText writes no token, also in JSON.
func (Tokens) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Format prints nothing of what the browser holds, whatever the verb.
func (Ticket) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// MarshalText writes nothing of what the browser holds, also in JSON.
func (Ticket) MarshalText() ([]byte, error) { return []byte(hidden), nil }
