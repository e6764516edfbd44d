package lab

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Cookies that are edited, forged, planted and tossed.

// editRole changes the role in every readable copy of the token's claims.
func editRole(v *visit) attack {
	var seen struct{ Edited, Page, API string }
	return attack{
		stops: []stop{{at: app, hear: func(text json.RawMessage) error { return json.Unmarshal(text, &seen) }}},
		judge: func(context.Context) (string, string, error) {
			switch {
			case seen.API == "admin":
				return "api", seen.Edited, nil
			case seen.Page == "admin":
				return "page", seen.Edited, nil
			}
			return "nothing", "", nil
		},
	}
}

// pairs reads a Cookie header.
func pairs(header string) []*http.Cookie {
	return (&http.Request{Header: http.Header{"Cookie": {header}}}).Cookies()
}

func joined(cookies []*http.Cookie) string {
	all := make([]string, len(cookies))
	for i, c := range cookies {
		all[i] = c.Name + "=" + c.Value
	}
	return strings.Join(all, "; ")
}

// forgeries of a value: each of some characters changed, halves exchanged, cut off, doubled; and if it is a token, one that names
// another role and is signed by nobody.
func forgeries(value string) (list []string) {
	for _, at := range []int{0, 1, len(value) / 4, len(value) / 2, 3 * len(value) / 4, len(value) - 3} {
		if at < 0 || at >= len(value) {
			continue
		}
		other := byte('A')
		if value[at] == other {
			other = 'B'
		}
		list = append(list, value[:at]+string(other)+value[at+1:])
	}
	half := len(value) / 2
	list = append(list, value[half:]+value[:half], value[:half], value+value, "")
	parts := strings.Split(value, ".")
	if claims, ok := claimsOf(value); ok {
		claims["role"] = "admin"
		body := base64.RawURLEncoding.EncodeToString(must(json.Marshal(claims)))
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))
		parts[1] = body
		list = append(list, strings.Join(parts, "."), none+"."+body+".", none+"."+body+"."+parts[len(parts)-1])
	}
	return list
}

// forgeCookie tries forgeries of every cookie, one at a time, with the others as they are. A cookie that does not matter may be
// changed: what counts is that the API believes something else, or that a session is opened by what is not its cookie.
func forgeCookie(v *visit) attack {
	return attack{
		stops: []stop{{at: app}},
		judge: func(ctx context.Context) (string, string, error) {
			who, err := v.known(ctx, victim)
			if err != nil {
				return "", "", err
			}
			own := pairs(v.cookies)
			tried := 0
			for i, c := range own {
				isSession := strings.Contains(c.Name, "session") && !strings.HasSuffix(c.Name, "session.t") // .t says only when it was used
				for _, forged := range forgeries(c.Value) {
					tried++
					changed := append([]*http.Cookie(nil), own...)
					changed[i] = &http.Cookie{Name: c.Name, Value: forged}
					got, err := v.callAs(ctx, joined(changed))
					if err != nil {
						return "", "", err
					}
					var p person
					opened := got.status == http.StatusOK && json.Unmarshal(got.body, &p) == nil
					_, bare := v.opens(ctx, forged)
					if bare || opened && (isSession || p.Subject != who.Subject || p.Role != "customer") {
						return "believed", "a forged " + c.Name, nil
					}
				}
			}
			if tried == 0 {
				// Nothing in cookies: the token is forged where it is.
				token, err := v.mint(victim)
				if err != nil {
					return "", "", err
				}
				for _, forged := range forgeries(token) {
					tried++
					if _, bare := v.opens(ctx, forged); bare {
						return "believed", "a forged token", nil
					}
				}
			}
			return "refused", fmt.Sprintf("%d forgeries", tried), nil
		},
	}
}

// callAs calls the API with cookies, and with the bearer that the cookies give where the API wants one of the page.
func (v *visit) callAs(ctx context.Context, cookies string) (reply, error) {
	headers := []string{}
	if v.column.Delivery == "memory" {
		token, err := v.askToken(ctx, cookies)
		if err != nil || token == "" {
			return reply{status: http.StatusUnauthorized}, err
		}
		headers = append(headers, "Authorization", "Bearer "+token)
	}
	return v.replayed(ctx, cookies, http.MethodGet, "/api/me", nil, headers...)
}

// askToken asks for the access token as a page does; "" if there is none to be had.
func (v *visit) askToken(ctx context.Context, cookies string) (string, error) {
	got, err := v.replayed(ctx, cookies, http.MethodPost, "/auth/token", nil)
	if err != nil || got.status != http.StatusOK {
		return "", err
	}
	var t Tokens
	err = json.Unmarshal(got.body, &t)
	return t.Access, err
}

// signedIn is a device on which somebody has signed in, and its cookies for the app.
func (v *visit) signedIn(ctx context.Context, username string, planted ...*http.Cookie) (*device, []*http.Cookie, error) {
	d := v.newDevice(v.App, v.gateway)
	d.Jar.SetCookies(v.App, planted)
	d.Jar.SetCookies(v.Issuer, []*http.Cookie{v.World.Enter(username)})
	got, err := d.send(ctx, http.MethodGet, v.App.String()+"/auth/login", nil, "Accept", "text/html")
	if err != nil {
		return nil, nil, err
	}
	cookies := d.Jar.Cookies(v.App)
	if got.status != http.StatusOK || len(cookies) == 0 {
		return nil, nil, errors.New(username + " could not sign in on another device")
	}
	return d, cookies, nil
}

// fixate plants a session of the attacker's before the victim signs in, by whatever means: what can be planted is another attack.
func fixate(v *visit) attack {
	return attack{judge: func(ctx context.Context) (string, string, error) {
		if v.column.Baseline() {
			return "absent", "", nil
		}
		_, planted, err := v.signedIn(ctx, attacker)
		if err != nil {
			return "", "", err
		}
		if _, _, err = v.signedIn(ctx, victim, planted...); err != nil {
			return "", "", err
		}
		who, err := v.known(ctx, victim)
		if err != nil {
			return "", "", err
		}
		got, err := v.replayed(ctx, joined(planted), http.MethodGet, "/auth/session", nil)
		if err != nil {
			return "", "", err
		}
		var s struct {
			Authenticated bool
			User          struct{ Sub string }
		}
		switch err := json.Unmarshal(got.body, &s); {
		case err != nil:
			return "", "", err
		case s.User.Sub == who.Subject:
			return "joined", "", nil
		case s.Authenticated:
			return "apart", "", nil
		}
		return "ended", "", nil
	}}
}

// tossed are Set-Cookie lines with which a sibling host tries to put the attacker's cookies before the victim's.
func (v *visit) tossed(ctx context.Context) (lines, undo []string, err error) {
	var cookies []*http.Cookie
	if v.column.Baseline() {
		token, err := v.mint(attacker)
		if err != nil {
			return nil, nil, err
		}
		cookies = []*http.Cookie{{Name: tokenCookie, Value: token}}
	} else if _, cookies, err = v.signedIn(ctx, attacker); err != nil {
		return nil, nil, err
	}
	domain := ""
	if v.Sibling.Hostname() != v.App.Hostname() {
		_, parent, _ := strings.Cut(v.Sibling.Hostname(), ".")
		domain = "; Domain=" + parent
	}
	if v.Sibling.Scheme == "https" {
		domain += "; Secure"
	}
	for _, c := range cookies {
		for _, path := range []string{"/", "/api", "/auth"} {
			lines = append(lines, c.Name+"="+c.Value+"; Path="+path+domain)
			undo = append(undo, c.Name+"=; Max-Age=0; Path="+path+domain)
		}
	}
	return lines, undo, nil
}

// toss has a sibling host set cookies of the app's names for all hosts of the site, by script and by its server.
func toss(v *visit) attack {
	var undo []string
	var wrong error
	var seen struct{ Sub string }
	return attack{
		stops: []stop{
			{at: sibling, tell: func() any {
				var lines []string
				lines, undo, wrong = v.tossed(v.run.ctx)
				v.run.toss(lines)
				return map[string]any{"cookies": lines, "run": v.run.id}
			}},
			{at: app, hear: func(text json.RawMessage) error { return json.Unmarshal(text, &seen) }},
			{at: sibling, tell: func() any {
				v.run.toss(undo)
				return map[string]any{"cookies": undo, "run": v.run.id}
			}},
		},
		judge: func(ctx context.Context) (string, string, error) {
			who, err := v.known(ctx, victim)
			mallory, err2 := v.known(ctx, attacker)
			switch err := errors.Join(wrong, err, err2); {
			case err != nil:
				return "", "", err
			case seen.Sub == who.Subject:
				return "ignored", "", nil
			}
			v.entered, v.checked = 0, false // whoever is signed in now is to sign in again
			if seen.Sub == mallory.Subject {
				return "attacker", "", nil
			}
			return "broken", "", nil
		},
	}
}

// toss keeps the lines that the sibling's server sets next.
func (r *run) toss(lines []string) {
	r.inbox.mu.Lock()
	defer r.inbox.mu.Unlock()
	r.inbox.tossed = lines
}

func (l *Lab) serveToss(w http.ResponseWriter, r *http.Request) {
	one, ok := l.find(r.URL.Query().Get("run"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	one.inbox.mu.Lock()
	defer one.inbox.mu.Unlock()
	for _, line := range one.inbox.tossed {
		w.Header().Add("Set-Cookie", line+"; HttpOnly")
	}
	w.WriteHeader(http.StatusNoContent)
}

// loginCSRF has the victim's browser finish a login that the attacker began.
func loginCSRF(v *visit) attack {
	var wrong error
	return attack{
		stops: []stop{
			{at: foreign, away: true, tell: func() any {
				var to string
				if !v.column.Baseline() {
					to, wrong = v.unfinished(v.run.ctx)
				}
				if to == "" {
					to = v.page(foreign, v.run)
				}
				return map[string]string{"to": to}
			}},
			{at: app},
		},
		judge: func(ctx context.Context) (string, string, error) {
			if v.column.Baseline() || wrong != nil {
				return "absent", "", wrong
			}
			got, err := v.replay(ctx, http.MethodGet, "/auth/session", nil)
			if err != nil {
				return "", "", err
			}
			who, err := v.known(ctx, victim)
			mallory, err2 := v.known(ctx, attacker)
			var s struct{ User struct{ Sub string } }
			switch err := errors.Join(err, err2, json.Unmarshal(got.body, &s)); {
			case err != nil:
				return "", "", err
			case s.User.Sub == who.Subject:
				return "kept", "", nil
			}
			v.entered, v.checked = 0, false
			if s.User.Sub == mallory.Subject {
				return "switched", "", nil
			}
			return "lost", "", nil
		},
	}
}

// unfinished is the address at which a login of the attacker's would be finished.
func (v *visit) unfinished(ctx context.Context) (string, error) {
	d := v.newDevice(v.App, v.gateway)
	d.Jar.SetCookies(v.Issuer, []*http.Cookie{v.World.Enter(attacker)})
	last := ""
	d.CheckRedirect = func(q *http.Request, _ []*http.Request) error {
		if q.URL.Path == "/auth/callback" {
			last = q.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	if _, err := d.send(ctx, http.MethodGet, v.App.String()+"/auth/login", nil, "Accept", "text/html"); err != nil {
		return "", err
	}
	if last == "" {
		return "", errors.New("the attacker could not begin a login")
	}
	return last + "&" + url.Values{"lab": {v.run.id}}.Encode(), nil
}
