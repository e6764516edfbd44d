package origin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func must(t testing.TB, text string) Origin {
	t.Helper()
	o, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestParse_K1_OneSpelling(t *testing.T) {
	for in, want := range map[string]string{
		"https://app.example.com":          "https://app.example.com",
		"HTTPS://App.Example.COM:443":      "https://app.example.com",
		"http://localhost:80":              "http://localhost",
		"https://localhost:80":             "https://localhost:80",
		"http://127.0.0.1:8080":            "http://127.0.0.1:8080",
		"http://[::1]:8080":                "http://[::1]:8080",
		"https://[2001:DB8:0:0::1]:443":    "https://[2001:db8::1]",
		"https://xn--bcher-kva.example":    "https://xn--bcher-kva.example",
		"https://my_app.internal:65535":    "https://my_app.internal:65535",
		"http://app.example.com:443":       "http://app.example.com:443",
		"https://a.b.c.d.e.f.example.test": "https://a.b.c.d.e.f.example.test",
	} {
		o, err := Parse(in)
		if err != nil || o.String() != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", in, o, err, want)
		}
		if again, err := Parse(o.String()); err != nil || again != o {
			t.Errorf("Parse(%q) is not stable: %q, %v", o, again, err)
		}
	}
}

func TestParse_K1_Refused(t *testing.T) {
	for in, reason := range map[string]string{
		"":                                     "want scheme",
		"null":                                 "want scheme",
		"*":                                    "want scheme",
		"app.example.com":                      "want scheme",
		"//app.example.com":                    "want scheme",
		"https:app.example.com":                "want scheme",
		"https:/app.example.com":               "want scheme",
		"ftp://app.example.com":                "http or https",
		"capacitor://localhost":                "http or https",
		"javascript://app.example.com":         "http or https",
		"https://":                             "1 to 253",
		"https://:443":                         "1 to 253",
		"https://*.example.com":                "wildcard",
		"https://app.example.com/":             `remove "/"`,
		"https://app.example.com/login":        `remove "/login"`,
		"https://app.example.com?":             `remove "?"`,
		"https://app.example.com#":             `remove "#"`,
		"https://app.example.com\\.evil":       "remove",
		"https:///app.example.com":             "remove",
		"https://me@app.example.com":           "no user",
		"https://me:pw@app.example.com":        "no user",
		"https://app.example.com.":             "1 to 63",
		"https://app..example.com":             "1 to 63",
		"https://.example.com":                 "1 to 63",
		"https://app.example.com:":             "bad port",
		"https://app.example.com:0":            "bad port",
		"https://app.example.com:0443":         "bad port",
		"https://app.example.com:65536":        "bad port",
		"https://app.example.com:+443":         "bad port",
		"https://app.example.com:a":            "bad port",
		"https://bücher.example":               "punycode",
		"https://exam\u212aple.test":           "punycode", // the Kelvin sign is k in lower case
		"https://ex\u00adample.test":           "punycode", // a browser drops the soft hyphen
		"https://app.example.com\n":            "ASCII",
		" https://app.example.com":             "ASCII",
		"https://app\t.example.com":            "ASCII",
		"https://ex%61mple.com":                "letters",
		"https://127.1":                        "IPv4",
		"https://0x7f.0.0.1":                   "IPv4",
		"https://2130706433":                   "IPv4",
		"https://127.0.0.01":                   "IPv4",
		"https://256.1.1.1":                    "IPv4",
		"https://[::1":                         "IPv6",
		"https://[::1]x":                       "bad port",
		"https://[fe80::1%25eth0]":             "IPv6",
		"https://[::ffff:127.0.0.1]":           "IPv6",
		"https://[127.0.0.1]":                  "IPv6",
		"https://::1":                          "letters",
		"https://" + strings.Repeat("a.", 127): "253",
		"https://" + strings.Repeat("a", 64):   "63",
	} {
		if o, err := Parse(in); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("Parse(%q) = %q, %v; want an error with %q", in, o, err, reason)
		}
	}
	if _, err := Parse("https://" + strings.Repeat("x", 1<<16)); err == nil || len(err.Error()) > 300 {
		t.Errorf("a long origin makes an error of %d bytes", len(err.Error()))
	}
}

func TestOrigin_Parts(t *testing.T) {
	for _, c := range []struct {
		text, host, port string
		secure, loopback bool
	}{
		{"https://app.example.com", "app.example.com", "443", true, false},
		{"http://app.example.com", "app.example.com", "80", false, false},
		{"http://localhost:8080", "localhost", "8080", false, true},
		{"http://app.localhost", "app.localhost", "80", false, true},
		{"https://notlocalhost", "notlocalhost", "443", true, false},
		{"https://[::1]:8443", "::1", "8443", true, true},
		{"http://127.8.8.8", "127.8.8.8", "80", false, true},
		{"http://10.0.0.1", "10.0.0.1", "80", false, false},
	} {
		o := must(t, c.text)
		if o.Host() != c.host || o.Port() != c.port || o.Secure() != c.secure || o.Loopback() != c.loopback {
			t.Errorf("%s: host %q port %q secure %v loopback %v", o, o.Host(), o.Port(), o.Secure(), o.Loopback())
		}
	}
	var none Origin
	if none.String() != "" || none.Host() != "" || none.Port() != "" || none.Secure() || none.Loopback() {
		t.Error("the zero value is an origin")
	}
}

func TestSameSite(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"https://app.example.com", "https://api.example.com", true},
		{"https://app.example.com", "https://example.com:8443", true},
		{"https://app.example.com", "http://app.example.com", false}, // sites have a scheme
		{"https://example.com", "https://example.org", false},
		{"https://example.com", "https://badexample.com", false},
		{"https://a.co.uk", "https://b.co.uk", false},
		{"https://x.a.co.uk", "https://a.co.uk", true},
		{"https://me.github.io", "https://you.github.io", false}, // the list has private suffixes too
		{"https://github.io", "https://you.github.io", false},
		{"https://github.io", "https://github.io", true},
		{"http://localhost:3000", "http://localhost:8080", true},
		{"http://a.localhost", "http://localhost", false},
		{"http://127.0.0.1:1", "http://127.0.0.1:2", true},
		{"http://10.0.0.1", "http://11.0.0.1", false},
		{"http://[2001:db8::1]", "http://[2001:db8::2]", false},
	} {
		a, b := must(t, c.a), must(t, c.b)
		if SameSite(a, b) != c.want || SameSite(b, a) != c.want {
			t.Errorf("SameSite(%s, %s) is not %v", a, b, c.want)
		}
	}
	if SameSite(Origin{}, Origin{}) {
		t.Error("no origin is the same site as no origin")
	}
}

func TestParse_AnyTextIsStableOrRefused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`https?://[a-zA-Z0-9.:\[\]@%/_-]{0,40}`)).Draw(t, "text")
		o, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(o.String()); err != nil || again != o {
			t.Fatalf("%q is %q, which is %q, %v", text, o, again, err)
		}
	})
}

// TestCorpora: go test runs the committed inputs of the fuzz targets as tests; an empty folder would run nothing, in silence.
func TestCorpora(t *testing.T) {
	for _, target := range []string{"FuzzReturnTo", "FuzzCleanPath", "FuzzProxiesClient"} {
		files, err := os.ReadDir(filepath.Join("testdata", "fuzz", target))
		if err != nil || len(files) < 20 {
			t.Errorf("%s: %d inputs, %v", target, len(files), err)
		}
	}
}

func TestIsLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"app.localhost": false, "localhost.example.com": false, "10.0.0.1": false, "0.0.0.0": false, "": false,
	} {
		if IsLocal(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
