package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/cloakroom-go/cloakroom/conformance/fakeop"
	"github.com/cloakroom-go/cloakroom/internal/issuer"
	"github.com/cloakroom-go/cloakroom/session"
)

func TestNew_RefusesWhatCannotBeSafe(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string // "": accepted
	}{
		{"plain", func(*Options) {}, ""},
		{"loopback", func(o *Options) { o.Issuer = "http://127.0.0.9:8080/realms/x" }, ""},
		{"loopback v6", func(o *Options) { o.Issuer = "http://[::1]:8080" }, ""},
		{"localhost", func(o *Options) { o.Issuer = "http://localhost:8080" }, ""},
		{"all algorithms", func(o *Options) { o.Algorithms = issuer.Algorithms }, ""},
		{"no issuer", func(o *Options) { o.Issuer = "" }, "issuer: missing"},
		{"plain http", func(o *Options) { o.Issuer = "http://login.example.com" }, "issuer: must be https"},
		{"looks like loopback", func(o *Options) { o.Issuer = "http://127.0.0.1.example.com" }, "issuer: must be https"},
		{"localhost elsewhere", func(o *Options) { o.Issuer = "http://localhost.example.com" }, "issuer: must be https"},
		{"user", func(o *Options) { o.Issuer = "https://a:b@login.example.com" }, "issuer: must be an absolute URL"},
		{"query", func(o *Options) { o.Issuer = "https://login.example.com?a=b" }, "issuer: must have no query"},
		{"fragment", func(o *Options) { o.Issuer = "https://login.example.com/#" }, "issuer: must be an absolute URL"},
		{"relative", func(o *Options) { o.Issuer = "login.example.com" }, "issuer: must be an absolute URL"},
		{"no client", func(o *Options) { o.ClientID = "" }, "client_id: missing"},
		{"public client", func(o *Options) { o.ClientSecret = "" }, "client_secret: missing"},
		{"none", func(o *Options) { o.Algorithms = []string{"none"} }, `algorithms: "none"`},
		{"None", func(o *Options) { o.Algorithms = []string{"RS256", "None"} }, `algorithms: "None"`},
		{"hmac", func(o *Options) { o.Algorithms = []string{"HS256"} }, `algorithms: "HS256"`},
		{"auth method", func(o *Options) { o.AuthMethod = "none" }, `auth_method: "none"`},
		{"implicit", func(o *Options) { o.ResponseMode = "fragment" }, `response_mode: "fragment"`},
		{"register", func(o *Options) { o.RegisterHint = "x" }, `register_hint: "x"`},
		{"scope", func(o *Options) { o.Scopes = []string{"openid profile"} }, "scopes:"},
		{"resource", func(o *Options) { o.Resource = []string{"/orders"} }, "resource:"},
		{"params", func(o *Options) { o.Params = map[string]string{"Redirect_URI": "https://evil.example"} }, "params:"},
		{"params response_type", func(o *Options) { o.Params = map[string]string{"response_type": "token"} }, "params:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := Options{Issuer: "https://login.example.com", ClientID: "a", ClientSecret: "very secret"}
			c.change(&o)
			p, err := New("main", &url.URL{Scheme: "https", Host: "app.example.com", Path: "/auth/callback"}, o, nil, nil)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			case c.want != "" && p != nil:
				t.Error("refused, and there is a provider")
			}
		})
	}
}

func TestNew_SaysAllAtOnce(t *testing.T) {
	_, err := New("main", nil, Options{}, nil, nil)
	for _, want := range []string{`provider "main"`, "issuer", "client_id", "client_secret", "callback"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

func TestOptions_PrintNoSecret(t *testing.T) {
	o := Options{Issuer: "https://login.example.com", ClientID: "a", ClientSecret: "very secret"}
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, o); strings.Contains(text, "very secret") {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

// TestFinish_CB2_NothingIsCalledBeforeTheAnswerIsChecked: state is compared before even the metadata are fetched.
func TestFinish_CB2_NothingIsCalledBeforeTheAnswerIsChecked(t *testing.T) {
	op, p, _ := meet(t)
	pending := session.NewPending("main", op.Issuer(), session.Intent{})
	good := func() url.Values {
		return url.Values{"state": {pending.State()}, "code": {"c"}, "iss": {op.Issuer()}}
	}
	for name, c := range map[string]struct {
		change func(url.Values)
		want   session.Code
	}{
		"state":     {func(q url.Values) { q.Set("state", "x") }, session.LoginLost},
		"no state":  {func(q url.Values) { q.Del("state") }, session.LoginLost},
		"duplicate": {func(q url.Values) { q.Add("code", "d") }, session.BadRequest},
		"iss":       {func(q url.Values) { q.Set("iss", op.Issuer()+"/") }, session.ProviderLied},
		"error iss": {func(q url.Values) { q.Set("iss", "x"); q.Set("error", "access_denied") }, session.ProviderLied},
	} {
		answer := good()
		c.change(answer)
		_, err := p.Finish(context.Background(), pending, answer)
		if session.CodeOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(op.Requests()); n != 0 {
		t.Errorf("%d calls were made", n)
	}
	_, err := p.Finish(context.Background(), pending, good()) // and the good one gets as far as the token endpoint
	wantCode(t, err, session.ProviderRefused)
	if op.Count("token") != 1 {
		t.Error("the code was not redeemed")
	}
	other := pending
	other.Issuer = "https://login.example.com"
	_, err = p.Finish(context.Background(), other, good())
	wantCode(t, err, session.LoginLost)
}

func TestAuthMethod(t *testing.T) {
	for _, c := range []struct {
		option string
		listed []string
		want   string
	}{
		{"", nil, "client_secret_basic"},
		{"", []string{"client_secret_post", "client_secret_basic"}, "client_secret_basic"},
		{"", []string{"private_key_jwt", "client_secret_post"}, "client_secret_post"},
		{"", []string{"private_key_jwt"}, "client_secret_basic"},
		{"client_secret_post", []string{"client_secret_basic"}, "client_secret_post"},
		{"client_secret_basic", []string{"client_secret_post"}, "client_secret_basic"},
	} {
		p := &Provider{o: Options{AuthMethod: c.option}}
		if got := p.client(&metadata{supports: supports{AuthMethods: c.listed}}).Method; got != c.want {
			t.Errorf("%q of %v: %s, want %s", c.option, c.listed, got, c.want)
		}
	}
}

func TestProvider_FormPost(t *testing.T) {
	o := Options{Issuer: "https://login.example.com", ClientID: "a", ClientSecret: fakeop.ClientSecret}
	for mode, want := range map[string]bool{"": false, "query": false, "form_post": true} {
		o.ResponseMode = mode
		p, err := New("main", &url.URL{Scheme: "https", Host: "app.example.com"}, o, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if p.FormPost() != want {
			t.Errorf("%q: %v", mode, p.FormPost())
		}
	}
}

// TestIDToken_ID11_AccessHash has the hash that each algorithm stands for (OpenID Connect Core §3.1.3.6).
func TestIDToken_ID11_AccessHash(t *testing.T) {
	sum256, sum384, sum512 := sha256.Sum256([]byte("access")), sha512.Sum384([]byte("access")), sha512.Sum512([]byte("access"))
	halves := map[string][]byte{
		"RS256": sum256[:16], "PS256": sum256[:16], "ES256": sum256[:16], "ES384": sum384[:24], "RS512": sum512[:32], "EdDSA": sum512[:32],
	}
	for alg, half := range halves {
		token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + ".e30.c2ln"
		good := issuer.Claims{"at_hash": base64.RawURLEncoding.EncodeToString(half)}
		if err := checkAccessHash(good, token, "access"); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		if checkAccessHash(good, token, "another") == nil {
			t.Errorf("%s: any access token fits", alg)
		}
	}
	for _, alg := range []string{"none", "", "A", "HS1"} {
		token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`"}`)) + ".e30.c2ln"
		if checkAccessHash(issuer.Claims{"at_hash": "x"}, token, "access") == nil {
			t.Errorf("%q has a hash", alg)
		}
	}
}
