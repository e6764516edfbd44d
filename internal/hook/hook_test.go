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

	"github.com/cloakroom-go/cloakroom/session"
)

const (
	secret   = "a secret of more than thirty-two characters"
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

// A question is one that a program of somebody else's can tell from a stranger's, and from an old one.
func TestHook_SignsItsQuestions(t *testing.T) {
	raw := bytes.Repeat([]byte{7}, 32)
	for name, v := range map[string]struct {
		secret string
		key    []byte
	}{
		"a text": {secret, []byte(secret)},
		"whsec_": {"whsec_" + base64.StdEncoding.EncodeToString(raw), raw},
	} {
		t.Run(name, func(t *testing.T) {
			ids := map[string]bool{}
			h := asking(t, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				id, at := r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp")
				mac := hmac.New(sha256.New, v.key)
				mac.Write([]byte(id + "." + at + "." + string(body)))
				if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("Webhook-Signature") != want {
					t.Errorf("signature %q, want %q", r.Header.Get("Webhook-Signature"), want)
				}
				if s, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(s, 0)).Abs() > time.Minute {
					t.Errorf("timestamp %q", at)
				}
				ids[id] = true
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
			}, func(o *Options) { o.Secret = v.secret })
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
	for want, o := range map[string]Options{
		"url: ":                             {URL: "http://people.example.com/", Secret: secret},
		"easily guessed":                    {URL: "https://people.example.com/", Secret: "hunter2"},
		"behind whsec_ stands base64 of at": {URL: "https://people.example.com/", Secret: "whsec_" + strings.Repeat("-", 40)},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
