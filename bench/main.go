// Command bench says what the gateway costs: the CPU time of one proxied request on a warm session, divided by that of a bare
// httputil.ReverseProxy, which forwards and sets X-Forwarded-For, -Host and -Proto. Both are processes of their own with the
// same tuning of proxy and collector; client and upstream are the same for both, and live in this process, where they are not
// counted.
//
//	go run ./bench            # needs Linux and the go command
//
// The gateway is the program itself, as people run it: SQLite store, guard, access log, audit log and metrics. It gets the same
// bytes as the bare proxy, and has to find the session, put a token of 1.2 kB in and take its cookie out. The rounds of the two
// alternate, so that whatever else the machine does meets both. A ratio is taken in each round; its median is printed first:
//
//	cpu-ratio warm-ticket MEDIAN quartiles LOW HIGH range LEAST MOST rounds N
//
// There is a line for each way to keep a session or to deliver its token that differs in what a request costs: "sealed" has three
// tokens of 1.2 kB in two cookies, "cookie" and "split" bring the access token along, and "token" is no proxied request but POST
// /auth/token, by which a page gets it with tokens.delivery: memory. Where a session's cookies are larger than a ticket, a bare proxy of
// its own gets them too: the client is the same for both, and net/http takes its time for kilobytes of cookies whoever serves them.
// "NAME-over-short" is the same gateway over the first bare proxy, whose client has a short cookie: what the choice of large cookies costs
// altogether.
//
// "verify-cached" is no gateway either: it is package verify in an API, on a token that it verified a moment ago, divided by one that it
// sees for the first time.
//
// "login" is a sign-in to an account of ours divided by the bare hash of its password: in CPU time, one by one, and as "time-ratio" in the
// time that each takes with as many at once as there are cores, which says how many fewer there are in a second. "mint" is an access token of
// ours divided by its bare signature, and "import" how fast people are imported, divided by the speed of bare inserts.
//
// The bare proxy's upstream gets no token that way. So there is a second bare one, "bearer", for a page that holds the token and
// sends it itself; a ratio over that says what it costs to keep the token out of the page.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// options are what a run is made of.
type options struct {
	rounds      int      // of each contender
	requests    int      // in a round
	concurrency int      // connections of the client
	also        []string // other builds of the program, to be measured in the same run
	inPackage   bool     // also what has to be compiled anew to be measured
	profiles    string   // folder for CPU and allocation profiles, "" for none
}

func main() {
	o := options{inPackage: true}
	flag.IntVar(&o.rounds, "rounds", 100, "rounds of each contender")
	flag.IntVar(&o.requests, "requests", 1000, "requests in a round")
	flag.IntVar(&o.concurrency, "concurrency", 16, "connections of the client")
	flag.Func("also", "path of another build of the program, to be measured in the same run; may be given several times", func(path string) error {
		o.also = append(o.also, path)
		return nil
	})
	flag.StringVar(&o.profiles, "profiles", "", "folder to write profiles to; they are taken after the measurement")
	short := flag.Bool("short", false, "only see whether it works: the numbers mean nothing")
	flag.Parse()
	if *short {
		o.rounds, o.requests = 2, 100
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE) // the processes it started end with it
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

// gateway is one to be measured.
type gateway struct {
	name, config, program string
	endpoint              string // of the gateway itself, "" for the API behind it
	cookies               int    // that its session takes
}

// pairs are the ways to keep a session and to deliver its token that differ in what a request costs.
var pairs = []gateway{
	{name: "warm-ticket", cookies: 1},
	{name: "sealed", config: "session: {storage: sealed}", cookies: 2},
	{name: "cookie", config: "tokens: {delivery: cookie}", cookies: 2},
	{name: "split", config: "tokens: {delivery: split}", cookies: 3},
	{name: "token", config: "tokens: {delivery: memory}", cookies: 1, endpoint: "/auth/token"},
}

// contender is one process under measurement.
type contender struct {
	name          string
	with, without int        // how often one request reaches the upstream with the access token, and without
	over          *contender // the bare proxy that gets the same requests
	*process
	*client

	cpu     []time.Duration // per request, one for each round
	latency []time.Duration // of every request
	allocs  float64         // per request
}

// run measures, and prints its lines to w.
func run(ctx context.Context, o options, w io.Writer) error {
	dir, err := os.MkdirTemp("", "cloakroom-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx) // ends the processes
	defer cancel()
	programs, err := build(ctx, dir)
	if err != nil {
		return err
	}
	api := newAPI()
	defer api.Close()
	op, err := newProvider()
	if err != nil {
		return err
	}
	defer op.Close()

	l := &lineup{dir: dir, programs: programs, api: api.URL, issuer: op.URL, concurrency: o.concurrency}
	defer l.stop()
	if err := l.fill(ctx, o.also); err != nil {
		return err
	}
	if err := measure(ctx, o, api, l.all); err != nil {
		return err
	}
	l.report(w)
	if err := verifying(op, o.rounds, w); err != nil {
		return err
	}
	if err := loggingIn(ctx, programs.gateway, dir, o, w); err != nil {
		return err
	}
	if o.inPackage {
		if err := inPackage(ctx, o, w); err != nil {
			return err
		}
	}
	if o.profiles != "" {
		return profile(ctx, o, l.all)
	}
	return nil
}

// lineup is all that is measured side by side.
type lineup struct {
	dir         string // for the gateways' files
	programs    programs
	api, issuer string // where both are
	concurrency int

	all          []*contender
	bare, bearer *contender
}

// fill starts the bare proxies, a gateway for each of the pairs, and one for each other build of the program.
func (l *lineup) fill(ctx context.Context, also []string) (err error) {
	if l.bare, err = l.addBare(ctx, "bare", appCookies+"; "+placeholder); err != nil {
		return err
	}
	if l.bearer, err = l.addBare(ctx, "bearer", appCookies+"; "+placeholder); err != nil {
		return err
	}
	l.bearer.request.Header["Authorization"] = []string{"Bearer " + accessToken}
	l.bearer.with, l.bearer.without = 1, 0
	gateways := slices.Clone(pairs)
	for i := range gateways {
		gateways[i].program = l.programs.gateway
	}
	for _, program := range also {
		gateways = append(gateways, gateway{name: filepath.Base(program), program: program, cookies: 1})
	}
	for _, g := range gateways {
		if err := l.addGateway(ctx, g); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
	}
	return nil
}

func (l *lineup) addBare(ctx context.Context, name, cookies string) (*contender, error) {
	p, err := start(ctx, l.programs.bare, l.api)
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, without: 1, process: p, client: newClient(p.public, cookies, l.concurrency)}
	if holds(c.request) {
		c.with, c.without = 1, 0
	}
	l.all = append(l.all, c)
	return c, nil
}

// addGateway starts a gateway and signs in there; and a bare proxy that gets the same cookies, if they are more than a ticket.
func (l *lineup) addGateway(ctx context.Context, g gateway) error {
	home := filepath.Join(l.dir, "gateway-"+g.name)
	if err := configure(home, l.api, l.issuer, g.config); err != nil {
		return err
	}
	p, err := start(ctx, g.program, "serve", "--config", filepath.Join(home, "cloakroom.yaml"))
	if err != nil {
		return err
	}
	c := &contender{name: g.name, with: 1, process: p, over: l.bare}
	l.all = append(l.all, c)
	cookies, n, err := signIn(ctx, p.public)
	if err == nil && n != g.cookies {
		err = fmt.Errorf("%d cookies, want %d", n, g.cookies)
	}
	if err != nil {
		return fmt.Errorf("sign in: %w", err)
	}
	c.client = newClient(p.public, cookies, l.concurrency)
	if g.endpoint != "" {
		c.with = 0
		c.client.post(g.endpoint)
	}
	if g.cookies > 1 {
		c.over, err = l.addBare(ctx, "bare-"+g.name, cookies)
	}
	return err
}

func (l *lineup) stop() {
	for _, c := range l.all {
		c.stop()
	}
}

// measure runs the rounds. Each begins with another contender than the last.
func measure(ctx context.Context, o options, api *api, all []*contender) error {
	for _, c := range all { // connections, caches, pools
		if _, err := c.load(ctx, o.requests); err != nil {
			return fmt.Errorf("warm up %s: %w", c.name, err)
		}
		if err := api.check(c.with*o.requests, c.without*o.requests); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	before := make([]float64, len(all))
	for i, c := range all {
		var err error
		if before[i], err = c.mallocs(ctx); err != nil {
			return err
		}
	}
	for round := range o.rounds {
		for i := range all {
			c := all[(round+i)%len(all)]
			start, err := c.cpuTime()
			if err != nil {
				return err
			}
			latency, err := c.load(ctx, o.requests)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			end, err := c.cpuTime()
			if err != nil {
				return err
			}
			c.cpu = append(c.cpu, (end-start)/time.Duration(o.requests))
			c.latency = append(c.latency, latency...)
			if err := api.check(c.with*o.requests, c.without*o.requests); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for i, c := range all {
		after, err := c.mallocs(ctx)
		if err != nil {
			return err
		}
		c.allocs = (after - before[i]) / float64(o.rounds*o.requests)
	}
	return nil
}

// report prints one line for each figure: its name, whose it is, the figure, and more with a word before each.
func (l *lineup) report(w io.Writer) {
	for _, c := range l.all {
		switch {
		case c.over == nil: // a bare one
			continue
		case c.over != l.bare:
			ratio(w, "cpu-ratio "+c.name, 2, c.cpu, c.over.cpu)
			ratio(w, "cpu-ratio "+c.name+"-over-short", 2, c.cpu, l.bare.cpu)
		case c.with > 0:
			ratio(w, "cpu-ratio "+c.name, 2, c.cpu, l.bare.cpu)
			ratio(w, "cpu-ratio "+c.name+"-over-bearer", 2, c.cpu, l.bearer.cpu)
		default:
			ratio(w, "cpu-ratio "+c.name, 2, c.cpu, l.bare.cpu)
		}
	}
	for _, c := range l.all {
		slices.Sort(c.cpu)
		fmt.Fprintf(w, "cpu-us %s %.1f quartiles %.1f %.1f range %.1f %.1f\n", c.name,
			micros(quantile(c.cpu, 50)), micros(quantile(c.cpu, 25)), micros(quantile(c.cpu, 75)), micros(c.cpu[0]), micros(c.cpu[len(c.cpu)-1]))
	}
	for _, c := range l.all {
		fmt.Fprintf(w, "allocs %s %.1f\n", c.name, c.allocs)
	}
	for _, c := range l.all {
		slices.Sort(c.latency)
		fmt.Fprintf(w, "latency-us %s p50 %.0f p99 %.0f\n", c.name, micros(quantile(c.latency, 50)), micros(quantile(c.latency, 99)))
	}
}

// ratio prints what one took over another, round by round.
func ratio(w io.Writer, name string, digits int, took, over []time.Duration) {
	ratios := make([]float64, len(took))
	for i := range ratios {
		ratios[i] = float64(took[i]) / float64(over[i])
	}
	summary(w, name, digits, ratios)
}

// summary prints the median of some ratios and how they spread.
func summary(w io.Writer, name string, digits int, ratios []float64) {
	slices.Sort(ratios)
	text := func(f float64) string { return strconv.FormatFloat(f, 'f', digits, 64) }
	fmt.Fprintf(w, "%s %s quartiles %s %s range %s %s rounds %d\n", name,
		text(quantile(ratios, 50)), text(quantile(ratios, 25)), text(quantile(ratios, 75)), text(ratios[0]), text(ratios[len(ratios)-1]), len(ratios))
}

// quantile returns the value below which percent of the sorted values lie; the median of an even number of them is the mean of
// the two in the middle.
func quantile[T float64 | time.Duration](sorted []T, percent int) T {
	at := float64(len(sorted)-1) * float64(percent) / 100
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + T(float64(sorted[high]-sorted[low])*(at-float64(low)))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
