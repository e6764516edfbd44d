package storage

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cloakroom-go/cloakroom/session"
)

// What rests in stores today must open tomorrow. If this test fails, the format has changed: raise bodyVersion and open the old
// one too.
func TestBody_StoredFormat(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 1, 2, hour, 0, 0, 0, time.UTC) }
	s := &session.Session{
		Grant: session.Grant{
			Provider: "main", Issuer: "https://op.example", Subject: "ada", SID: "sid-1", Claims: map[string]any{"name": "Ada"},
			Tokens: session.Tokens{Access: "A", Type: "Bearer", Refresh: "R", ID: "I", Scope: "openid", Expires: at(1), RefreshExpires: at(2)},
		},
		Life:   session.Life{Created: at(3), Seen: at(4), Renewed: at(5), Absolute: at(6), Remember: true},
		Ticket: session.Ticket{Generation: 7, Presented: at(8)},
		Lease:  at(9), Previous: [32]byte{1, 2, 31: 3},
	}
	const stored = `{"v":1,"p":"main","iss":"https://op.example","sub":"ada","sid":"sid-1","c":{"name":"Ada"},` +
		`"t":{"a":"A","y":"Bearer","r":"R","i":"I","s":"openid","e":"2026-01-02T01:00:00Z","re":"2026-01-02T02:00:00Z"},` +
		`"l":{"c":"2026-01-02T03:00:00Z","s":"2026-01-02T04:00:00Z","r":"2026-01-02T05:00:00Z","a":"2026-01-02T06:00:00Z","p":true},` +
		`"g":7,"gp":"2026-01-02T08:00:00Z","ls":"2026-01-02T09:00:00Z","pa":"AQIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAM="}`
	text, err := encodeBody(s)
	if err != nil || string(text) != stored {
		t.Errorf("%v\n%s, want\n%s", err, text, stored)
	}
	opened, err := decodeBody([]byte(stored))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, opened); diff != "" {
		t.Error(diff)
	}
	if opened, err := decodeBody([]byte(`{"v":1}`)); err != nil || opened.Previous != [32]byte{} { // as it was before there was one
		t.Errorf("%v, %v", opened, err)
	}
	if _, err := decodeBody([]byte(`{"v":2}`)); err == nil {
		t.Error("a newer version was opened")
	}
}
