package lab

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
)

// What a page elsewhere makes the victim's browser do.

// form sends a hidden form from a place, as a page of its own.
func form(at place) func(*visit) attack {
	return func(v *visit) attack {
		email := marker()
		action := v.origin().String() + "/api/email?" + url.Values{"lab": {v.run.id}}.Encode()
		return attack{
			stops: []stop{{at: at, away: true, tell: func() any {
				return map[string]any{"action": action, "fields": map[string]string{"email": email}}
			}}},
			judge: func(ctx context.Context) (string, string, error) { return v.judgeChange(ctx, email) },
		}
	}
}

// fetching sends a fetch that writes and one that reads from a place, with the victim's cookies as far as the browser adds them.
func fetching(at place) func(*visit) attack {
	return func(v *visit) attack {
		email := marker()
		var seen struct{ Text string }
		return attack{
			stops: []stop{{
				at: at,
				tell: func() any {
					return map[string]any{"write": v.origin().String() + "/api/email", "read": v.origin().String() + "/api/me", "fields": map[string]string{"email": email}}
				},
				hear: func(text json.RawMessage) error { return json.Unmarshal(text, &seen) },
			}},
			judge: func(ctx context.Context) (string, string, error) {
				who, err := v.known(ctx, victim)
				switch {
				case err != nil:
					return "", "", err
				case strings.Contains(seen.Text, who.Subject):
					return "read", "", nil
				}
				return v.judgeChange(ctx, email)
			},
		}
	}
}
