package lab

import (
	_ "embed" // the lists
	"encoding/json"
	"fmt"
	"strings"
)

// Outcome is what an attack came to.
type Outcome string

// The outcomes.
const (
	Blocked  Outcome = "blocked"
	Partly   Outcome = "partly"
	Succeeds Outcome = "succeeds"
)

// Attack is one row of the table, in the words that the page, the documentation and the tests share.
type Attack struct {
	ID    string            `json:"id"`
	Group string            `json:"group"` // a heading over some rows
	Title string            `json:"title"`
	Does  string            `json:"does"`  // what is done, in a sentence
	Helps string            `json:"helps"` // what helps against it, in a sentence
	Ends  map[string]Ending `json:"ends"`  // all the ways in which it may end, by the name that its judge gives
}

// Ending is one way in which an attack may end.
type Ending struct {
	Is  Outcome `json:"is"`
	Why string  `json:"why"` // a sentence
}

// Column is one way to keep tokens: a pair of storage and delivery, or a baseline without any gateway.
type Column struct {
	ID       string `json:"id"`
	Title    string `json:"title"`
	Storage  string `json:"storage,omitempty"`
	Delivery string `json:"delivery,omitempty"`
	Keep     string `json:"keep,omitempty"` // of a baseline: where script keeps the token
}

// Baseline reports whether the column does without a gateway.
func (c Column) Baseline() bool { return c.Keep != "" }

// Columns are the columns of the table.
var Columns = columns()

func columns() []Column {
	all := []Column{
		{ID: "local-storage", Title: "localStorage", Keep: "localStorage"},
		{ID: "session-storage", Title: "sessionStorage", Keep: "sessionStorage"},
		{ID: "script-cookie", Title: "cookie by script", Keep: "cookie"},
	}
	for _, storage := range []string{"store", "sealed"} {
		for _, delivery := range []string{"proxy", "cookie", "split", "memory"} {
			all = append(all, Column{ID: storage + "-" + delivery, Title: storage + " + " + delivery, Storage: storage, Delivery: delivery})
		}
	}
	return all
}

//go:embed attacks.json
var attacksText []byte

//go:embed expected.json
var expectedText []byte

// Attacks are the rows of the table.
var Attacks = mustRead[[]Attack](attacksText)

// Expected is how each attack ends in each column, as measured in Chromium over https: ending by column by attack.
var Expected = mustRead[map[string]map[string]string](expectedText)

func mustRead[T any](text []byte) T {
	var list T
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&list); err != nil {
		panic(fmt.Sprintf("lab: an embedded list: %v", err))
	}
	return list
}

func attackOf(id string) (Attack, bool) {
	for _, a := range Attacks {
		if a.ID == id {
			return a, true
		}
	}
	return Attack{}, false
}

func columnOf(id string) (Column, bool) {
	for _, c := range Columns {
		if c.ID == id {
			return c, true
		}
	}
	return Column{}, false
}
