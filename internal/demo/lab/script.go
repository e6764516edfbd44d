package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// What an injected script does in the app itself.

// find is something that a script found, and where.
type find struct{ Where, What string }

// worth is what a thief has in loot. The lab tries it out where the gateway has no say: at the API, and at the provider.
func (v *visit) worth(ctx context.Context, loot []find) (end string, where []string) {
	const nothing, claims, access, refresh = 0, 1, 2, 3
	best := nothing
	for _, f := range loot {
		found := nothing
		if _, is := claimsOf(f.What); is {
			found = claims
		}
		if _, ok := v.opens(ctx, f.What); ok {
			found = access
		}
		if v.Good(f.What) {
			found = refresh
		}
		if found > best {
			best, where = found, nil
		}
		if found == best && found != nothing && !slices.Contains(where, f.Where) {
			where = append(where, f.Where)
		}
	}
	return [...]string{"nothing", "claims", "access", "refresh"}[best], where
}

func readTokens(v *visit) attack {
	var loot []find
	return attack{
		stops: []stop{{at: app, hear: func(seen json.RawMessage) error { return json.Unmarshal(seen, &loot) }}},
		judge: func(ctx context.Context) (string, string, error) {
			end, where := v.worth(ctx, loot)
			return end, strings.Join(where, ", "), nil
		},
	}
}

// collectAt is where the attacker collects what gets out.
func (v *visit) collectAt() string {
	return v.Foreign.String() + "/lab/collect?" + url.Values{"run": {v.run.id}}.Encode()
}

// arrived is what came to the attacker's host: what it is worth, and by which ways it came.
func (v *visit) arrived(ctx context.Context, prefix string) (end string, ways []string) {
	var loot []find
	for by, all := range v.run.inbox.take(prefix) {
		for what := range strings.SplitSeq(all, "\n") {
			loot = append(loot, find{by, what})
		}
	}
	slices.SortFunc(loot, func(a, b find) int { return cmp.Compare(a.Where, b.Where) })
	return v.worth(ctx, loot)
}

func sendOpen(v *visit) attack {
	return attack{
		stops: []stop{{at: open, tell: func() any { return map[string]string{"to": v.collectAt()} }}},
		judge: func(ctx context.Context) (string, string, error) {
			end, ways := v.arrived(ctx, "open ")
			return end, strings.Join(ways, ", "), nil
		},
	}
}

func sendPolicy(v *visit) attack {
	var seen struct{ Had bool }
	return attack{
		stops: []stop{
			{at: app, tell: func() any { return map[string]string{"to": v.collectAt()} }, hear: func(text json.RawMessage) error { return json.Unmarshal(text, &seen) }},
			{at: app, away: true, tell: func() any { return map[string]string{"page": v.page(foreign, v.run)} }},
		},
		judge: func(ctx context.Context) (string, string, error) {
			end, ways := v.arrived(ctx, "policy ")
			switch {
			case end == "nothing" && seen.Had:
				return "stopped", "", nil
			case end != "nothing" && slices.Equal(ways, []string{"navigation"}):
				return end + "-navigation", "", nil
			}
			return end, strings.Join(ways, ", "), nil
		},
	}
}

func liveSession(v *visit) attack {
	email := marker()
	return attack{
		stops: []stop{{at: app, tell: func() any { return map[string]string{"email": email} }}},
		judge: func(ctx context.Context) (string, string, error) { return v.judgeChange(ctx, email) },
	}
}

// judgeChange asks the API whether the victim's e-mail address is the attacker's by now.
func (v *visit) judgeChange(ctx context.Context, email string) (string, string, error) {
	changed, err := v.changed(ctx, email)
	if changed {
		return "changed", "the API has " + email, err
	}
	return "unchanged", "", err
}
