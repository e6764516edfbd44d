package origin

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func proxies(t testing.TB, texts ...string) Proxies {
	t.Helper()
	p, err := ParseProxies(texts)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestParseProxies(t *testing.T) {
	p := proxies(t, "10.1.2.3/8", "192.0.2.7", "fd00::/8", "2001:db8::1", "::ffff:172.16.0.0/108", "::ffff:192.0.2.9")
	want := []string{"10.0.0.0/8", "192.0.2.7/32", "fd00::/8", "2001:db8::1/128", "172.16.0.0/12", "192.0.2.9/32"}
	for i, prefix := range p {
		if prefix.String() != want[i] {
			t.Errorf("%s, want %s", prefix, want[i])
		}
	}
	for text, reason := range map[string]string{
		"0.0.0.0/0":       "wider than /8",
		"::/0":            "wider than /7",
		"0.0.0.0/1":       "wider than /8",
		"128.0.0.0/7":     "wider than /8",
		"2000::/3":        "wider than /7",
		"::ffff:0:0/96":   "wider than /8",
		"*":               "want an address",
		"":                "want an address",
		"proxy.internal":  "want an address",
		"10.0.0.0/33":     "want an address",
		"10.0.0.0-10.1.0": "want an address",
		"fe80::1%eth0":    "want an address",
	} {
		if _, err := ParseProxies([]string{"10.0.0.0/8", text}); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", text, err, reason)
		}
	}
}

func TestClient_P12(t *testing.T) {
	p := proxies(t, "10.0.0.0/8", "fd00::/8")
	many := strings.Repeat("10.0.0.9, ", 40)
	for _, c := range []struct {
		name, peer string
		forwarded  []string
		want       string
	}{
		{"a stranger writes who he is", "203.0.113.5:1", []string{"198.51.100.1"}, "203.0.113.5"},
		{"a proxy says nothing", "10.0.0.1:1", nil, "10.0.0.1"},
		{"a proxy says who", "10.0.0.1:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"a stranger wrote on the left", "10.0.0.1:1", []string{"127.0.0.1, 10.0.0.7, 198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:1", []string{"6.6.6.6, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"several lines are one list", "10.0.0.1:1", []string{"6.6.6.6", "198.51.100.1", "10.0.0.2,10.0.0.3"}, "198.51.100.1"},
		{"all are proxies", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"garbage ends it", "10.0.0.1:1", []string{"6.6.6.6, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"garbage at once", "10.0.0.1:1", []string{"6.6.6.6, _hidden"}, "10.0.0.1"},
		{"an empty entry ends it", "10.0.0.1:1", []string{"6.6.6.6, "}, "10.0.0.1"},
		{"an empty line ends it", "10.0.0.1:1", []string{"6.6.6.6", ""}, "10.0.0.1"},
		{"with a port", "10.0.0.1:1", []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"IPv6", "[fd00::1]:1", []string{"2001:db8::5"}, "2001:db8::5"},
		{"IPv6 in brackets", "[fd00::1]:1", []string{"[2001:db8::5]"}, "2001:db8::5"},
		{"IPv6 with port", "[fd00::1]:1", []string{"[2001:db8::5]:4711"}, "2001:db8::5"},
		{"IPv4 with brackets is garbage", "10.0.0.1:1", []string{"[198.51.100.1]"}, "10.0.0.1"},
		{"the peer has a zone", "[fd00::1%eth0]:1", []string{"2001:db8::5"}, "2001:db8::5"},
		{"the client has a zone", "10.0.0.1:1", []string{"fe80::5%eth0"}, "fe80::5"},
		{"IPv4 in IPv6 as peer", "[::ffff:10.0.0.1]:1", []string{"198.51.100.1"}, "198.51.100.1"},
		{"IPv4 in IPv6 as proxy", "10.0.0.1:1", []string{"198.51.100.1, ::ffff:10.0.0.2"}, "198.51.100.1"},
		{"IPv4 in IPv6 as client", "10.0.0.1:1", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"tabs and spaces", "10.0.0.1:1", []string{"6.6.6.6,\t 198.51.100.1 \t"}, "198.51.100.1"},
		{"too many hops", "10.0.0.1:1", []string{"198.51.100.1, " + many + "10.0.0.2"}, "10.0.0.9"},
		{"a long entry", "10.0.0.1:1", []string{"fe80::5%" + strings.Repeat("x", 1000)}, "10.0.0.1"},
		{"a unix socket", "@", []string{"198.51.100.1"}, "invalid IP"},
		{"no peer", "", []string{"198.51.100.1"}, "invalid IP"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.forwarded,
			"Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"}}} // other headers never count
		if got := p.Client(r); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := Proxies(nil).Client(&http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"6.6.6.6"}}}); got.String() != "10.0.0.1" {
		t.Errorf("without trusted proxies: %s", got)
	}
}

func TestClient_P3_Trusted(t *testing.T) {
	p := proxies(t, "10.0.0.0/8")
	for remote, want := range map[string]bool{"10.9.9.9:1": true, "[::ffff:10.9.9.9]:1": true, "11.0.0.1:1": false, "[fd00::1]:1": false, "": false, "@": false} {
		if p.contains(peer(&http.Request{RemoteAddr: remote})) != want {
			t.Errorf("%q: want %v", remote, want)
		}
	}
}

func TestAddressKey(t *testing.T) {
	for addr, want := range map[string]string{
		"198.51.100.1":        "198.51.100.1/32",
		"::ffff:198.51.100.1": "198.51.100.1/32",
		"2001:db8:1:2:3::4":   "2001:db8:1:2::/64",
		"fe80::1%eth0":        "fe80::/64",
	} {
		if got := AddressKey(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	if AddressKey(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("no address has a key of its own")
	}
}

func FuzzProxiesClient(f *testing.F) {
	for _, forwarded := range []string{"", ",", ",,,", "198.51.100.1", "6.6.6.6, 198.51.100.1, 10.0.0.2", "unknown", "[2001:db8::5]:4711", "[", "]", "[]", ":0", "::", "1.2.3.4]",
		"::ffff:10.0.0.2", "fe80::1%eth0", "10.0.0.2\n6.6.6.6", "\"[2001:db8::5]\"", strings.Repeat("10.0.0.2,", 100), strings.Repeat("9", 100)} {
		f.Add("10.0.0.1:1", forwarded, "198.51.100.77")
		f.Add("203.0.113.5:1", forwarded, "::1")
	}
	p := proxies(f, "10.0.0.0/8", "fd00::/8")
	f.Fuzz(func(t *testing.T, remote, forwarded, forged string) {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": strings.Split(forwarded, "\n")}}
		got := p.Client(r)
		if got.Zone() != "" || got.Is4In6() {
			t.Fatalf("%s is not normal", got)
		}
		if !p.contains(peer(r)) {
			r.Header = nil
			if got != p.Client(r) {
				t.Fatalf("%q is no proxy, and its header counts: %s", remote, got)
			}
			return
		}
		// What a stranger sends is what stands left of a trusted proxy's own entry: it must not change whom we count. The
		// one exception is a list of proxies only, which no stranger's request makes.
		if !p.contains(got) {
			r.Header["X-Forwarded-For"] = append(strings.Split(forged, "\n"), r.Header["X-Forwarded-For"]...)
			if forgery := p.Client(r); forgery != got {
				t.Fatalf("%q in front of %q makes %s of %s", forged, forwarded, forgery, got)
			}
		}
	})
}

func BenchmarkClient(b *testing.B) {
	p := proxies(b, "10.0.0.0/8")
	r := &http.Request{RemoteAddr: "10.0.0.1:1234", Header: http.Header{"X-Forwarded-For": {"198.51.100.1, 10.0.0.2"}}}
	b.ReportAllocs()
	for b.Loop() {
		p.Client(r)
	}
}
