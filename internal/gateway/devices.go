package gateway

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	mostDevices = 100  // that a person is shown
	mostLooked  = 2000 // among which the latest are found: who signs in all day long must not keep the store busy
)

// deviceList is a person's sessions: this one, and then those that were used last.
type deviceList struct {
	Sessions []deviceView `json:"sessions"`
	More     bool         `json:"more,omitempty"` // there are others
}

// deviceView is what a person may know of a session of theirs. Its id is a keyed hash: it neither opens the session nor names
// it in the store.
type deviceView struct {
	ID       string     `json:"id"`
	Created  *time.Time `json:"created"`
	LastSeen *time.Time `json:"last_seen"`
	Browser  string     `json:"browser"`
	System   string     `json:"system"`
	Current  bool       `json:"current"`
}

// unknownWord stands where a browser said nothing that is known.
const unknownWord = "unknown"

// devices tells a person where they are signed in. It is no activity: a page may look now and then (T4).
func (g *Gateway) devices(w http.ResponseWriter, r *http.Request) error {
	s, err := g.Desk.Look(r.Context(), r)
	if err != nil {
		return err
	}
	list, err := g.latest(r.Context(), s)
	if err != nil {
		return err
	}
	g.remember(r, s)
	return writeJSON(w, list)
}

// latest returns this session of a person, and then of the others those that were used last.
func (g *Gateway) latest(ctx context.Context, s *session.Session) (deviceList, error) {
	var others []session.Listed
	looked := 0
	for l, err := range g.Desk.List(ctx, session.Selector{Issuer: s.Grant.Issuer, Subject: s.Grant.Subject}) {
		if err != nil {
			return deviceList{}, err
		}
		if looked++; looked > mostLooked {
			break
		}
		if l.ID != s.ID && l.Subject != "" { // without, its key was retired: nobody can use it any more
			others = append(others, l)
		}
	}
	slices.SortFunc(others, func(a, b session.Listed) int { return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.LogID, b.LogID)) })
	shown := min(len(others), mostDevices-1)
	list := deviceList{More: shown < len(others) || looked > mostLooked}
	list.Sessions = append(list.Sessions, viewOf(session.Listed{LogID: s.LogID, Created: s.Life.Created, Seen: s.Life.Seen, Device: s.Device}, true))
	for _, l := range others[:shown] {
		list.Sessions = append(list.Sessions, viewOf(l, false))
	}
	return list, nil
}

func viewOf(l session.Listed, current bool) deviceView {
	return deviceView{
		ID: l.LogID, Created: seconds(l.Created), LastSeen: seconds(l.Seen), Current: current,
		Browser: cmp.Or(l.Device.Browser, unknownWord), System: cmp.Or(l.Device.System, unknownWord),
	}
}

// endDevice ends one of the person's own sessions. Another's is answered as one that there is not.
func (g *Gateway) endDevice(w http.ResponseWriter, r *http.Request) error {
	s, err := g.Desk.Look(r.Context(), r)
	if err != nil {
		return err
	}
	found, err := g.mine(r.Context(), s, r.PathValue("id"))
	if err != nil {
		return err
	}
	if found.ID == s.ID {
		if err := g.end(r, s, false); err != nil {
			return err
		}
		g.Desk.Discard(s, "signed out")
		g.forget(w, r)
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if err := g.endOther(r, found); err != nil {
		return err
	}
	g.remember(r, s)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// endOther ends a session of the person that is not this one.
func (g *Gateway) endOther(r *http.Request, found session.Listed) error {
	// Not even a client that gives up may stop this half way.
	if err := g.Desk.EndListed(context.WithoutCancel(r.Context()), found); err != nil {
		return err
	}
	g.record(r, found.Event(audit.Ended, "by the person, from another device"))
	return nil
}

// mine returns the session of that id, if it is one of the same person.
func (g *Gateway) mine(ctx context.Context, s *session.Session, id string) (session.Listed, error) {
	for l, err := range g.Desk.List(ctx, session.Selector{LogID: id}) {
		if err != nil {
			return session.Listed{}, err
		}
		if l.Issuer == s.Grant.Issuer && l.Subject == s.Grant.Subject {
			return l, nil
		}
	}
	return session.Listed{}, session.Fail(session.NotFound, "end session", "this person has no session of that id")
}
