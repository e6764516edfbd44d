package storage

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cloakroom-go/cloakroom/audit"
	"github.com/cloakroom-go/cloakroom/session"
	"github.com/cloakroom-go/cloakroom/store/memory"
)

// The model: one session, three replicas with caches over one store, a strict provider, and everything that networks do to
// what travels between them. Time is synthetic; all that is random is drawn by rapid, so that a failure shrinks.
const (
	modelIdle     = 5 * time.Minute
	modelAbsolute = time.Hour
	onTheWay      = 25 * time.Second // the longest that a request and its answer are under way, together
)

// An honest browser with many tabs is never signed out before its time, never waits in vain, and nobody asks the provider twice.
func TestModel_HonestBrowser(t *testing.T) {
	inEachStorage(t, func(t *testing.T, storage string) {
		rapid.Check(t, func(t *rapid.T) {
			rapid.SyncTest(t, func(t *rapid.T) {
				w := newWorld(t, storage)
				t.Repeat(map[string]func(*rapid.T){
					"":        w.check,
					"browse":  func(t *rapid.T) { w.browse(t, w.person) },
					"disturb": w.disturb,
				})
				w.finish(t)
			})
		})
	})
}

func inEachStorage(t *testing.T, f func(t *testing.T, storage string)) {
	for _, storage := range []string{"store", "sealed"} {
		t.Run(storage, func(t *testing.T) { f(t, storage) })
	}
}

// A thief has a copy of the cookie, taken at any moment. The first use outside the grace, by whoever of the two, ends the
// session for both, and the audit log says so once. A logout ends it just as well.
func TestModel_ThiefAndLogout(t *testing.T) {
	inEachStorage(t, func(t *testing.T, storage string) {
		rapid.Check(t, func(t *rapid.T) {
			rapid.SyncTest(t, func(t *rapid.T) {
				w := newWorld(t, storage)
				t.Repeat(map[string]func(*rapid.T){
					"":        w.check,
					"browse":  func(t *rapid.T) { w.browse(t, w.person) },
					"misuse":  w.misuse,
					"disturb": w.disturb,
					"logout":  w.logout,
				})
				w.finish(t)
			})
		})
	})
}

// world is what happened so far.
type world struct {
	*rig
	store    *memory.Store
	op       *provider
	replicas []*replica
	ears     []*ear
	stop     context.CancelFunc
	under    sync.WaitGroup // exchanges under way

	mu      sync.Mutex
	story   []string // for whoever reads a failure
	faults  []string
	id      session.ID
	began   time.Time
	seen    time.Time            // the last accepted use
	first   map[uint32]time.Time // when each generation was first presented
	ended   time.Time            // when its end was acknowledged, zero: not
	endedBy int                  // the replica
	stolen  bool                 // somebody was told so
	downTil time.Time            // when the provider was last down
	person  *holder
	thief   *holder // nil: no copy was taken
}

// holder is a browser: tabs share its jar.
type holder struct {
	name string
	jar  string
}

func newWorld(t *rapid.T, storage string) *world {
	op := newProvider(rapid.SampledFrom([]time.Duration{time.Minute, 30 * time.Second, 5 * time.Minute, 12 * time.Second}).Draw(t, "token life"))
	op.before = time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms to the provider")) * time.Millisecond
	op.back = time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms from the provider")) * time.Millisecond
	lives := session.Options{Idle: modelIdle, Absolute: modelAbsolute, CacheStale: 10 * time.Second}
	ctx, stop := context.WithCancel(context.Background())
	w := &world{rig: newRig(t, lives, op), store: memory.New(), op: op, stop: stop, first: map[uint32]time.Time{}}
	w.options.Storage = storage
	slow := time.Duration(rapid.SampledFrom([]int{0, 1, 7, 40}).Draw(t, "ms to the store")) * time.Millisecond
	for range 3 {
		e := &ear{Store: w.store, slow: slow}
		w.ears = append(w.ears, e)
		w.replicas = append(w.replicas, w.replica(ctx, t, e))
	}
	t.Cleanup(func() {
		w.under.Wait()
		for _, r := range w.replicas {
			_ = r.renewer.Close(context.Background())
		}
		stop()
	})
	s, value := w.replicas[0].login(t, op.login())
	w.id, w.began, w.seen = s.ID, time.Now(), time.Now()
	w.person = &holder{name: "person", jar: value}
	return w
}

func (w *world) tell(format string, args ...any) {
	w.story = append(w.story, fmt.Sprintf("%9.3fs ", time.Since(w.began).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fault(format string, args ...any) {
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
	w.tell("FAULT "+format, args...)
}

// What rapid may do to the world:

// browse sends one to four requests at once, each by its own way.
func (w *world) browse(t *rapid.T, who *holder) {
	for range rapid.SampledFrom([]int{1, 1, 2, 4}).Draw(t, "tabs") {
		x := exchange{who: who, replica: rapid.IntRange(0, len(w.replicas)-1).Draw(t, "replica")}
		x.there = drawTime(t, "on its way", 0, 0, 10*time.Millisecond, time.Second, 8*time.Second, 20*time.Second)
		x.upstream = drawTime(t, "upstream", 0, 0, time.Second, 10*time.Second, 20*time.Second)
		x.back = drawTime(t, "on its way back", 0, 0, 10*time.Millisecond, time.Second, 12*time.Second, onTheWay)
		x.back = min(x.back, onTheWay-x.there)
		x.look = rapid.IntRange(0, 4).Draw(t, "look") == 4
		x.lost = rapid.IntRange(0, 3).Draw(t, "lost") == 3
		w.under.Add(1)
		go w.run(x)
	}
	time.Sleep(drawTime(t, "pause", 0, time.Second, 8*time.Second, 25*time.Second, 35*time.Second, 65*time.Second, 2*time.Minute))
}

// misuse lets the thief take a copy, or use it.
func (w *world) misuse(t *rapid.T) {
	if w.thief == nil {
		w.mu.Lock()
		w.thief = &holder{name: "thief", jar: w.person.jar}
		w.tell("thief copies generation %d", w.generation(w.person.jar))
		w.mu.Unlock()
		return
	}
	w.browse(t, w.thief)
}

func (w *world) logout(t *rapid.T) {
	if rapid.IntRange(0, 19).Draw(t, "logout") < 19 {
		t.Skip("not now")
	}
	by := rapid.IntRange(0, len(w.replicas)-1).Draw(t, "replica")
	if _, err := w.replicas[by].storage.End(context.Background(), session.Selector{ID: w.id}); err != nil {
		t.Fatalf("End: %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over(by, "logout")
}

// disturb makes something around the session worse or better.
func (w *world) disturb(t *rapid.T) {
	switch rapid.IntRange(0, 5).Draw(t, "what") {
	case 0:
		time.Sleep(drawTime(t, "a break", 3*time.Minute, 3*time.Minute, modelIdle+time.Second))
	case 1, 2:
		w.turnProvider(t)
	default:
		w.disturbWatch(t)
	}
}

func (w *world) turnProvider(t *rapid.T) {
	down := rapid.IntRange(0, 3).Draw(t, "down") == 3
	w.op.setDown(down)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.downTil = time.Now()
	if down {
		w.downTil = w.downTil.Add(1000 * time.Hour)
	}
	w.tell("provider down: %v", down)
}

func (w *world) disturbWatch(t *rapid.T) {
	i := rapid.IntRange(0, len(w.ears)-1).Draw(t, "replica")
	m := rapid.SampledFrom([]mode{hears, stalls, loses, broken}).Draw(t, "mode")
	w.ears[i].set(m)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell("replica %d %s", i, m)
}

// drawTime draws one of the durations, less up to a tenth.
func drawTime(t *rapid.T, label string, of ...time.Duration) time.Duration {
	d := rapid.SampledFrom(of).Draw(t, label)
	return d - d*time.Duration(rapid.IntRange(0, 100).Draw(t, "thousandths less"))/1000
}

// exchange is one request and its answer.
type exchange struct {
	who               *holder
	replica           int
	there, back       time.Duration // on the network
	upstream          time.Duration // until the final headers go out
	look, lost        bool
	value             string // the cookies that it carries
	carried           uint32
	arrived, answered time.Time
}

func (w *world) run(x exchange) {
	defer w.under.Done()
	w.mu.Lock()
	value := x.who.jar
	w.mu.Unlock()
	x.value = value
	time.Sleep(x.there)

	r := w.replicas[x.replica]
	x.carried, x.arrived = w.generation(value), time.Now()
	ask := r.use
	if x.look {
		ask = r.look
	}
	s, err := ask(value)
	x.answered = time.Now()
	if signedOut(err) && session.CodeOf(err) != session.Stolen {
		time.Sleep(time.Second) // whoever ended it may not have been told yet that it is done
	}
	w.mu.Lock()
	w.judge(x, s, err)
	w.mu.Unlock()

	if signedOut(err) {
		s, value = nil, "" // the gateway clears the cookie; whoever lost the session has nothing left
	} else if err != nil {
		return
	} else {
		time.Sleep(x.upstream)
		value = r.written(s, value)
	}
	w.mu.Lock()
	if value != "" && !w.ended.IsZero() && time.Since(w.ended) > w.lag(x.replica) {
		w.fault("an ended session was given a cookie")
	}
	w.mu.Unlock()
	time.Sleep(x.back)
	if x.lost {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if s != nil && value != "" && x.who.jar != "" && w.options.Storage == "store" { // see Sealed: there it does no harm
		if before, after := w.generation(x.who.jar), w.generation(value); after < before {
			w.fault("%s: a late answer put generation %d over %d", x.who.name, after, before)
		}
	}
	if s == nil || value != "" {
		x.who.jar = value
	}
}

// judge says whether an answer was right. The rules are the design's, not the code's.
func (w *world) judge(x exchange, s *session.Session, err error) {
	w.tell("%s at replica %d with generation %d: %v (arrived %.3fs)", x.who.name, x.replica, x.carried, outcome(err), x.arrived.Sub(w.began).Seconds())
	if x.carried == 0 {
		return // it had been signed out before
	}
	var since time.Duration // a newer generation was presented
	for g, at := range w.first {
		if g > x.carried {
			since = max(since, x.arrived.Sub(at))
		}
	}
	over := !w.ended.IsZero()
	code := session.CodeOf(err)
	switch {
	case err == nil && over && x.arrived.Sub(w.ended) > w.lag(x.replica):
		w.fault("served %v after the session's end", x.arrived.Sub(w.ended))
	case err == nil && since > session.Grace+time.Second && !over && w.options.Storage == "store":
		w.fault("generation %d is outside its grace and was served", x.carried)
	case code == session.Stolen && since < session.Grace:
		w.fault("generation %d is good and was called stolen", x.carried)
	case code == session.Stolen:
		w.stolen = true
		w.over(x.replica, "theft")
	case code == session.ProviderDown && time.Since(w.downTil) > 35*time.Second:
		w.fault("the provider works, and yet: %v", err)
	case code == session.Unavailable || code == session.Internal || code == session.Conflict:
		w.fault("nothing is wrong, and yet: %v", err)
	case signedOut(err) && !over && !w.timeIsUp(x):
		w.fault("signed out before its time: %v", err)
	}
	if at, ok := w.first[x.carried]; !signedOut(err) && (!ok || x.arrived.Before(at)) {
		w.first[x.carried] = x.arrived
	}
	if err == nil && !x.look {
		w.seen = x.arrived
		if expires := s.Grant.Tokens.Expires; !x.answered.Before(expires) {
			w.fault("%s went upstream %v after it expired", s.Grant.Tokens.Access, x.answered.Sub(expires))
		}
	}
}

// over notes that the session's end was acknowledged.
func (w *world) over(by int, why string) {
	if w.ended.IsZero() {
		w.ended, w.endedBy = time.Now(), by
		w.tell("ended by %s at replica %d", why, by)
	}
}

// lag is for how long a replica may not know of an end.
func (w *world) lag(replica int) time.Duration {
	switch {
	case replica == w.endedBy:
		return 0
	case w.ears[replica].attentive(w.ended):
		return 50 * time.Millisecond
	}
	return watchPatience
}

// timeIsUp reports whether a session may be over by itself when x was answered. Slides are a minute apart. What rests in cookies
// goes by what its own browser was told last.
func (w *world) timeIsUp(x exchange) bool {
	seen := w.seen
	if w.options.Storage == "sealed" {
		seen = w.lastUse(x.value)
	}
	return x.answered.Sub(seen) >= modelIdle-time.Minute || x.answered.Sub(w.began) >= modelAbsolute
}

func outcome(err error) string {
	if err == nil {
		return "served"
	}
	return string(session.CodeOf(err))
}

// check holds at every moment.
func (w *world) check(t *rapid.T) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.op.mu.Lock()
	for _, token := range w.op.reused {
		w.fault("%s was used twice", token)
	}
	for _, early := range w.op.early {
		w.fault("renewed without need: %s", early)
	}
	w.op.mu.Unlock()
	if _, err := w.store.Get(context.Background(), w.id); err == nil && !w.ended.IsZero() {
		w.fault("an ended session is in the store")
	}
	if n := w.audit.count(audit.Theft); n > 1 {
		w.fault("%d thefts in the audit log", n)
	}
	if len(w.faults) > 0 {
		t.Fatalf("%s\n%s", w.faults[0], strings.Join(w.story, "\n"))
	}
}

// finish waits until nothing is under way any more.
func (w *world) finish(t *rapid.T) {
	w.under.Wait()
	for _, r := range w.replicas {
		if err := r.renewer.Close(context.Background()); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	w.stop()
	w.mu.Lock()
	if n := w.audit.count(audit.Theft); (n == 1) != w.stolen {
		w.fault("%d thefts in the audit log; somebody was told so: %v", n, w.stolen)
	}
	for token, at := range w.op.left {
		if !w.ended.IsZero() && at.After(w.ended) && !w.op.revoked[token] {
			w.fault("%s came %v after the session's end and was not revoked", token, at.Sub(w.ended))
		}
	}
	w.mu.Unlock()
	w.check(t)
}
