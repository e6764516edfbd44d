package hook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cloakroom-go/cloakroom/internal/seal"
	"github.com/cloakroom-go/cloakroom/session"
)

const (
	secret   = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // that of the specification's libraries
	password = "the password of somebody"
)

func asking(t *testing.T, answer http.HandlerFunc, change func(*Options)) *Hook {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	o := Options{URL: server.URL + "/who", Secret: secret}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, text)
	}
}

// What the specification's own libraries sign, and how, in their tests: the bytes of the secret, of the headers and of the signature.
func TestHook_SignsAsStandardWebhooksDo(t *testing.T) {
	h, err := New(Options{URL: "https://people.example.com/", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	h.sign(header, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	for name, want := range map[string]string{
		"webhook-id":        "msg_p5jXN8AQM9LWM0D4loKWxJek",
		"webhook-timestamp": "1614265330",
		"webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
	} {
		if got := header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A question is one that a program of somebody else's can tell from a stranger's, and from an old one.
func TestHook_SignsItsQuestions(t *testing.T) {
	for name, size := range map[string]int{"the shortest secret": 24, "the longest secret": 64} {
		t.Run(name, func(t *testing.T) {
			key := bytes.Repeat([]byte{7}, size)
			ids := map[string]bool{}
			h := asking(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
				mac := hmac.New(sha256.New, key)
				mac.Write([]byte(id + "." + at + "." + string(body)))
				if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("Webhook-Signature") != want {
					t.Errorf("signature %q, want %q", r.Header.Get("Webhook-Signature"), want)
				}
				if s, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(s, 0)).Abs() > time.Minute {
					t.Errorf("timestamp %q", at)
				}
				ids[id] = true
				if strings.ContainsRune(id, '.') {
					t.Errorf("a dot in %q, where dots separate", id)
				}
				var q map[string]any
				if err := json.Unmarshal(body, &q); err != nil || r.Method != "POST" || r.URL.Path != "/who" || r.URL.RawQuery != "" || r.Header.Get("Cookie") != "" {
					t.Errorf("%s %s %s", r.Method, r.URL, body)
				}
				switch q["type"] {
				case "sign_in":
					if q["identifier"] != "Ada" || q["password"] != password || len(q) != 3 {
						t.Errorf("%v", q)
					}
				case "find":
					if q["sub"] != "7" || len(q) != 2 {
						t.Errorf("%v", q)
					}
				}
				says(`{"user": {"sub": "7", "email": "ada@example.com", "claims": {"plan": "pro"}, "version": "1", "more": true}}`)(w, r)
			}, func(o *Options) { o.Secret = "whsec_" + base64.StdEncoding.EncodeToString(key) })
			u, err := h.SignIn(context.Background(), "Ada", password)
			if err != nil || u.Subject != "7" || u.Email != "ada@example.com" || u.Claims["plan"] != "pro" || u.Version != "1" {
				t.Errorf("%+v, %v", u, err)
			}
			if u, err := h.Find(context.Background(), "7"); err != nil || u.Subject != "7" {
				t.Errorf("%+v, %v", u, err)
			}
			if len(ids) != 2 {
				t.Errorf("names of questions: %v", ids)
			}
		})
	}
}

// What it answers, and the one thing that becomes of it.
func TestHook_WhatItAnswers(t *testing.T) {
	status := func(code int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); io.WriteString(w, body) }
	}
	for _, v := range []struct {
		name   string
		answer http.HandlerFunc
		want   session.Code // "" for nobody
	}{
		{"nobody", says(`{"user": null}`), ""},
		{"nothing", status(200, ""), session.ProviderLied},
		{"an empty object", says(`{}`), session.ProviderLied},
		{"another type", status(200, `{"user": null}`), session.ProviderLied},
		{"no JSON", says(`<html>"user"`), session.ProviderLied},
		{"no object", says(`{"user": "ada"}`), session.ProviderLied},
		{"huge", says(`{"user": null, "more": "` + strings.Repeat("x", mostAnswer) + `"}`), session.ProviderLied},
		{"not there", status(404, `{"error": "`+password+`"}`), session.ProviderRefused},
		{"another secret", status(401, password), session.ProviderRefused},
		{"broken", status(500, password), session.ProviderDown},
		{"busy", status(429, ""), session.ProviderDown},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, session.ProviderLied},
		{"slow", func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, session.ProviderDown},
		{"cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "{")
		}, session.ProviderDown},
	} {
		t.Run(v.name, func(t *testing.T) {
			h := asking(t, v.answer, func(o *Options) {
				if v.name == "slow" {
					o.Timeout = 50 * time.Millisecond
				}
			})
			u, err := h.SignIn(context.Background(), "ada", password)
			if u != nil || session.CodeOf(err) != v.want {
				t.Errorf("%+v, %v, want %q", u, err, v.want)
			}
			if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(session.HintOf(err), password)) {
				t.Errorf("the password is in the error: %v", err)
			}
			// Whoever is signed in goes on for now, unless it says that they are gone: a page of somebody's on the way says nothing of them.
			want := v.want
			if want == session.ProviderLied {
				want = session.ProviderDown
			}
			if u, err := h.Find(context.Background(), "7"); u != nil || session.CodeOf(err) != want {
				t.Errorf("find: %+v, %v, want %q", u, err, want)
			}
		})
	}
}

func TestNew_RefusesWhatCannotBe(t *testing.T) {
	if _, err := New(Options{URL: "http://people.example.com/", Secret: secret}); err == nil || !strings.Contains(err.Error(), "url: ") {
		t.Errorf("in clear: %v", err)
	}
	of := func(size int) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, size)) }
	for name, text := range map[string]string{
		"nothing": "", "a word": "hunter2", "a text": "hunter2-hunter2-hunter2-hunter2-hunter2", "without its prefix": of(32), "short": "whsec_" + of(23), "long": "whsec_" + of(65),
		"no base64": "whsec_" + strings.Repeat("-", 40), "with a line end": "whsec_" + of(32) + "\n", "a private key": "whsk_" + of(32), "of a keyring": seal.NewKey(),
	} {
		if _, err := New(Options{URL: "https://people.example.com/", Secret: text}); err == nil || !strings.Contains(err.Error(), "secret: it is whsec_ and base64 of 24 to 64") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if a, b := NewSecret(), NewSecret(); a == b || CheckSecret(a) != nil {
		t.Errorf("made %q and %q", a, b)
	}
}
