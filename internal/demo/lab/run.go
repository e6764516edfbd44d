package lab

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// attack is one attack under way, in one column.
type attack struct {
	stops []stop
	// judge says how it ended, once all stops were made: a key of Attack.Ends, and what was observed in a few words.
	judge func(ctx context.Context) (end, seen string, err error)
	// beside: it takes long and needs no tab, so it is judged beside all others.
	beside bool
}

// stop is something that the tab does in one place.
type stop struct {
	at   place
	away bool // it leaves its page, so it reports nothing: it is over once the tab asks again
	tell func() any
	hear func(seen json.RawMessage) error
}

// run is one journey.
type run struct {
	lab   *Lab
	id    string
	inbox inbox
	ctx   context.Context

	before [2]string // storage and delivery when it began
	beside sync.WaitGroup

	mu     sync.Mutex
	visits []*visit // that are left; the first is under way
	total  int
	left   int // cells
}

// visit is a run in one column.
type visit struct {
	*Lab
	run     *run
	column  Column
	gateway http.Handler // of this column, whichever is in use meanwhile; nil for a baseline
	cells   []*cell      // that are left; the first is under way
	begun   bool
	entered int // how often the tab was sent to sign in
	checked bool
	left    bool   // the tab has signed out
	cookies string // the browser's, as they last came to the app
}

// cell is one attack of a visit.
type cell struct {
	id     string
	attack attack
	made   int  // stops
	out    bool // the tab was told to do the next one
}

// told is to make the cell's next stop.
func (c *cell) told() told {
	t := told{Do: fmt.Sprintf("%s/%d", c.id, c.made)}
	if tell := c.attack.stops[c.made].tell; tell != nil {
		t.With = tell()
	}
	return t
}

// leave is what the tab does at the end of a visit: it signs out.
const leave = "leave/0"

func newRun(l *Lab, columns, attacks []string) (*run, error) {
	if len(columns) == 0 || len(columns) > len(Columns) {
		return nil, errors.New("name the columns")
	}
	r := &run{lab: l, id: rand.Text(), ctx: context.Background()}
	r.before[0], r.before[1] = l.Mode()
	for _, id := range attacks {
		if makers[id] == nil {
			return nil, fmt.Errorf("there is no attack %.40q", id)
		}
	}
	for _, id := range columns {
		column, ok := columnOf(id)
		if !ok {
			return nil, fmt.Errorf("there is no column %.40q", id)
		}
		v := &visit{Lab: l, run: r, column: column}
		for _, id := range order {
			if len(attacks) == 0 || slices.Contains(attacks, id) {
				v.cells = append(v.cells, &cell{id: id})
			}
		}
		r.total += len(v.cells)
		r.visits = append(r.visits, v)
	}
	r.left = r.total
	return r, nil
}

func (r *run) visit() *visit {
	if len(r.visits) == 0 {
		return nil
	}
	return r.visits[0]
}

func (r *run) progress() *progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &progress{ID: r.id, Left: r.left, Total: r.total, Done: r.left == 0, Next: r.lab.page(foreign, r)}
	if v := r.visit(); v != nil {
		p.Column = v.column.ID
		if len(v.cells) > 0 {
			p.Attack = v.cells[0].id
		}
	}
	return p
}

// order is what the tab is told: one of its fields.
type told struct {
	Go   string `json:"go,omitempty"`   // go there
	Do   string `json:"do,omitempty"`   // try that, and report
	With any    `json:"with,omitempty"` // what the attack needs to know
	Done bool   `json:"done,omitempty"`
	Home string `json:"home,omitempty"` // with Done: where a tab goes that cannot be closed
}

// next moves on to what the tab can do, judging all that needs no tab on the way.
func (r *run) next(ctx context.Context, at place, q *http.Request) told {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.visits) > 0 {
		v := r.visits[0]
		if !v.begun {
			v.begin()
		}
		v.keepCookies(q, at)
		if to, ok := v.enter(at); !ok {
			return told{Go: to}
		}
		if err := v.check(ctx, at); err != nil {
			v.abandon(err)
		}
		if len(v.cells) == 0 {
			if v.entered > 0 && !v.left { // what the browser has of this column would be in the way of the next
				if at != app {
					return told{Go: r.lab.page(app, r)}
				}
				return told{Do: leave}
			}
			r.visits = r.visits[1:]
			continue
		}
		c := v.cells[0]
		switch {
		case c.attack.beside:
			v.cells = v.cells[1:]
			r.beside.Go(func() {
				v.close(r.ctx, c)
				r.mu.Lock()
				r.left--
				r.mu.Unlock()
			})
		case c.made == len(c.attack.stops):
			v.close(ctx, c)
			v.cells = v.cells[1:]
			r.left--
		case c.out && c.attack.stops[c.made].away:
			c.out = false
			c.made++
		case c.out: // the page was loaded again, and what it did before is lost
			v.fail(c.id, errStopped)
			v.cells = v.cells[1:]
			r.left--
		case c.attack.stops[c.made].at != at:
			return told{Go: r.lab.page(c.attack.stops[c.made].at, r)}
		default:
			c.out = true
			return c.told()
		}
	}
	// Best effort: the page shows how the gateway is set.
	_ = r.lab.Use(r.before[0], r.before[1])
	return told{Done: true, Home: r.lab.App.String() + "/lab/?" + url.Values{"run": {r.id}}.Encode()}
}

// report takes what the tab saw at the stop that it was told to make.
func (r *run) report(ctx context.Context, do string, seen json.RawMessage, q *http.Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.visit()
	switch {
	case v == nil:
		return errors.New("nothing is under way")
	case len(v.cells) == 0 && do == leave:
		v.left = true
		return nil
	case len(v.cells) == 0:
		return errors.New("something else is under way")
	}
	c := v.cells[0]
	if !c.out || do != fmt.Sprintf("%s/%d", c.id, c.made) {
		return errors.New("something else is under way")
	}
	v.keepCookies(q, c.attack.stops[c.made].at)
	if hear := c.attack.stops[c.made].hear; hear != nil {
		if err := hear(seen); err != nil {
			return fmt.Errorf("the report of %s: %w", do, err)
		}
	}
	c.out = false
	c.made++
	return nil
}

// begin sets the stage for a column. What goes on beside the tab's journey begins now.
func (v *visit) begin() {
	v.begun = true
	if !v.column.Baseline() {
		err := v.Use(v.column.Storage, v.column.Delivery)
		if err == nil {
			v.gateway, err = v.At(v.column.Storage, v.column.Delivery)
		}
		if err != nil {
			v.abandon(err)
			return
		}
	}
	for _, c := range v.cells {
		c.attack = makers[c.id](v)
	}
	slices.SortStableFunc(v.cells, func(a, b *cell) int { return sign(b.attack.beside) - sign(a.attack.beside) })
}

func sign(b bool) int {
	if b {
		return 1
	}
	return 0
}

// abandon gives up what is left of a visit.
func (v *visit) abandon(err error) {
	for _, c := range v.cells {
		v.fail(c.id, err)
		v.run.left--
	}
	v.cells = nil
}

// enter makes sure that the tab is signed in before anything is tried: at first it is sent to the provider.
func (v *visit) enter(at place) (string, bool) {
	needs := slices.ContainsFunc(v.cells, func(c *cell) bool { return len(c.attack.stops) > 0 })
	switch {
	case !needs, v.entered > 0 && at == app, v.entered > 1:
		return "", true
	case v.column.Baseline():
		v.entered = 2
		return v.page(app, v.run), false
	}
	v.entered++
	return v.Issuer.String() + "/lab/enter?" + url.Values{"run": {v.run.id}}.Encode(), false
}

// check makes sure that it is the victim who is signed in: an attack on nobody would come to nothing, and prove nothing.
func (v *visit) check(ctx context.Context, at place) error {
	if v.checked || v.column.Baseline() || at != app {
		return nil
	}
	v.checked, v.entered = true, 2
	got, err := v.replay(ctx, http.MethodGet, "/auth/session", nil)
	if err != nil {
		return err
	}
	var s struct{ User struct{ Sub string } }
	who, err := v.known(ctx, victim)
	if err != nil || json.Unmarshal(got.body, &s) != nil || s.User.Sub != who.Subject {
		return errors.Join(errors.New("the tab did not get signed in"), err)
	}
	return nil
}

// origin is that of the app.
func (v *visit) origin() *url.URL {
	if v.column.Baseline() {
		return v.World.Baseline
	}
	return v.App
}

// keepCookies copies the browser's cookies for the app.
func (v *visit) keepCookies(q *http.Request, at place) {
	if at == app || at == open {
		v.cookies = strings.Join(q.Header["Cookie"], "; ")
	}
}

// close judges an attack and records how it ended.
func (v *visit) close(ctx context.Context, c *cell) {
	end, seen, err := c.attack.judge(ctx)
	if err != nil {
		v.fail(c.id, err)
		return
	}
	entry, _ := attackOf(c.id)
	ending, ok := entry.Ends[end]
	if !ok {
		v.fail(c.id, fmt.Errorf("it ended as %q, which is not listed", end))
		return
	}
	v.record(v.column.ID, c.id, Result{End: end, Is: ending.Is, Why: ending.Why, Seen: seen, At: time.Now().UTC()})
}

func (v *visit) fail(attack string, err error) {
	v.record(v.column.ID, attack, Result{Why: "It could not be measured: " + err.Error(), At: time.Now().UTC()})
}
