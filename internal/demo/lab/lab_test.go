package lab

import (
	"slices"
	"testing"
)

// The list of attacks is complete and says something of each.
func TestAttacks(t *testing.T) {
	ids := []string{}
	for _, a := range Attacks {
		ids = append(ids, a.ID)
		if a.Group == "" || a.Title == "" || a.Does == "" || a.Helps == "" || len(a.Ends) < 2 {
			t.Errorf("%s: something is not said", a.ID)
		}
		seen := map[Outcome]bool{}
		for name, e := range a.Ends {
			seen[e.Is] = true
			if e.Is != Blocked && e.Is != Partly && e.Is != Succeeds || e.Why == "" {
				t.Errorf("%s: %s is %q: %s", a.ID, name, e.Is, e.Why)
			}
		}
		if len(seen) < 2 {
			t.Errorf("%s: it cannot come out otherwise", a.ID)
		}
		if makers[a.ID] == nil {
			t.Errorf("%s: nothing makes it", a.ID)
		}
	}
	made := slices.Clone(order)
	slices.Sort(made)
	slices.Sort(ids)
	if !slices.Equal(made, ids) || len(makers) != len(ids) {
		t.Errorf("listed are %v, made are %v", ids, made)
	}
}
