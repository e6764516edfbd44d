package cookie

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const name = "__Host-Http-session"

func TestGet(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string
		value string
		count int
	}{
		{"none", nil, "", 0},
		{"one", []string{"a=1; " + name + "=x; b=2"}, "x", 1},
		{"a value with =", []string{name + "=x=y=="}, "x=y==", 1},
		{"an empty value", []string{name + "="}, "", 1},
		{"C8_TwoOfOneName", []string{name + "=x; " + name + "=y"}, "", 2},
		{"C8_TwoTheSame", []string{name + "=x; " + name + "=x"}, "", 2},
		{"C8_TwoInTwoFields", []string{name + "=x", name + "=y"}, "", 2},
		{"C9_OtherCase", []string{"__host-http-session=x; __HOST-HTTP-SESSION=y"}, "", 0},
		{"C9_Nameless", []string{"=" + name + "=x"}, "", 0},
		{"C9_NoEquals", []string{name}, "", 0},
		{"C9_SpaceInTheName", []string{name + " =x"}, "", 0},
		{"C9_Longer", []string{name + "2=x; x" + name + "=y"}, "", 0},
		{"C10_SeveralFields", []string{"a=1", name + "=x", "b=2"}, "x", 1},
		{"no space, empty pairs, tabs", []string{";;a=1;" + name + "=x;;\t"}, "x", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &http.Request{Header: http.Header{}}
			if c.lines != nil {
				r.Header["Cookie"] = c.lines
			}
			if value, count := Get(r, name); value != c.value || count != c.count {
				t.Errorf("Get: %q, %d; want %q, %d", value, count, c.value, c.count)
			}
		})
	}
}

func TestSet_C2_Attributes(t *testing.T) {
	for _, c := range []struct {
		name string
		jar  Jar
		a    Attributes
		want string
	}{
		{"https", New(true, "443"), Attributes{SameSite: http.SameSiteStrictMode}, "__Host-Http-session=v; Path=/; HttpOnly; Secure; SameSite=Strict"},
		{"lax", New(true, ""), Attributes{SameSite: http.SameSiteLaxMode}, "__Host-Http-session=v; Path=/; HttpOnly; Secure; SameSite=Lax"},
		{"C11_persistent", New(true, ""), Attributes{SameSite: http.SameSiteStrictMode, MaxAge: time.Hour + time.Millisecond}, "__Host-Http-session=v; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Strict"},
		{"form_post", New(true, ""), Attributes{SameSite: http.SameSiteNoneMode}, "__Host-Http-session=v; Path=/; HttpOnly; Secure; SameSite=None"},
		{"plain http", New(false, "8080"), Attributes{SameSite: http.SameSiteStrictMode}, "cloakroom-8080-session=v; Path=/; HttpOnly; SameSite=Strict"},
		{"None needs Secure", New(false, "8080"), Attributes{SameSite: http.SameSiteNoneMode}, "cloakroom-8080-session=v; Path=/; HttpOnly"},
	} {
		w := httptest.NewRecorder()
		c.jar.Set(w, c.jar.Session(), "v", c.a)
		if got := w.Header()["Set-Cookie"]; len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s: Cache-Control is %q", c.name, got)
		}
		c.jar.Clear(w, c.jar.Session(), c.a.SameSite)
		got := w.Header()["Set-Cookie"] // clearing has the last word, with the same attributes
		want := strings.NewReplacer("=v;", "=;", " Max-Age=3600;", "", " Path=/;", " Path=/; Max-Age=0;").Replace(c.want)
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s: cleared by %q, want %q", c.name, got, want)
		}
	}
}

func TestSet_KeepsTheCookiesOfOthers(t *testing.T) {
	w := httptest.NewRecorder()
	w.Header()["Set-Cookie"] = []string{"app=1", name + "=old", name + "2=kept"}
	New(true, "").Set(w, name, "new", Attributes{})
	want := []string{"app=1", name + "2=kept", name + "=new; Path=/; HttpOnly; Secure"}
	if diff := cmp.Diff(want, w.Header()["Set-Cookie"]); diff != "" {
		t.Error(diff)
	}
}

func TestStrip_TakesOutOursOnly(t *testing.T) {
	for _, c := range []struct{ in, want []string }{
		{nil, nil},
		{[]string{"a=1; b=2"}, []string{"a=1; b=2"}},
		{[]string{name + "=x"}, nil},
		{[]string{"a=1; " + name + "=x; b=2"}, []string{"a=1; b=2"}},
		{[]string{name + "=x", "a=1", "__Host-Http-login.abc=y"}, []string{"a=1"}},
		{[]string{name + ".0=x; " + name + ".t=y; a=1"}, []string{"a=1"}},
		{[]string{name + "=x; " + name + "=y; __Host-Http-other=z"}, []string{"__Host-Http-other=z"}},
	} {
		h := http.Header{}
		if c.in != nil {
			h["Cookie"] = c.in
		}
		New(true, "").Strip(h)
		if diff := cmp.Diff(c.want, h["Cookie"]); diff != "" {
			t.Errorf("%q: %s", c.in, diff)
		}
	}
}

// An upstream cannot set what the gateway would take for its own.
func TestDropSet_IgnoresCaseAsBrowsersDo(t *testing.T) {
	h := http.Header{"Set-Cookie": {
		"app=1", name + "=x", "__host-HTTP-session=x; Path=/", " " + name + "=x", "=" + name + "=x", " =" + name + "=x", name,
	}}
	New(true, "").DropSet(h)
	if diff := cmp.Diff([]string{"app=1"}, h["Set-Cookie"]); diff != "" {
		t.Error(diff)
	}
	h = http.Header{"Set-Cookie": {"=cloakroom-8080-session=x"}} // a nameless cookie comes back as its value
	New(false, "8080").DropSet(h)
	if len(h) != 0 {
		t.Errorf("left: %q", h)
	}
}

func FuzzCookies(f *testing.F) {
	for _, line := range []string{
		"", name + "=x", "a=1; " + name + "=x; b=2", name + "=x; " + name + "=y", "=" + name + "=x", "; ;=;==", "a=\"q;" + name + "=x\"",
		strings.Repeat("a=1;", 50) + name + "=x", name + "\t=x", "__host-http-session=x", "\x00=\x00;\xff", name + ".0=a; __Host-Http-login.z=b",
	} {
		f.Add(line)
	}
	jar := New(true, "")
	f.Fuzz(func(t *testing.T, line string) {
		r := &http.Request{Header: http.Header{"Cookie": {line}}}
		value, count := Get(r, name)
		if count != 1 && value != "" {
			t.Errorf("%d cookies, and yet %q was taken", count, value)
		}
		if count == 1 && !strings.Contains(line, name+"="+value) {
			t.Errorf("%q is not in %q", value, line)
		}
		var others []string
		Each(r, func(n, v string) {
			if !jar.Owns(n) {
				others = append(others, n+"="+v)
			}
		})
		jar.Strip(r.Header)
		var left []string
		Each(r, func(n, v string) { left = append(left, n+"="+v) })
		if diff := cmp.Diff(others, left); diff != "" {
			t.Errorf("Strip took or left too much: %s", diff)
		}
		before := r.Header.Clone()
		jar.Strip(r.Header)
		if diff := cmp.Diff(before, r.Header); diff != "" {
			t.Errorf("Strip is not done after once: %s", diff)
		}
	})
}
