package ui

import (
	"net/http"
	"net/url"
	"strconv"
)

// AccountPage shows a person what there is of theirs, in sections. Everything but Title may be left out.
type AccountPage struct {
	Title, Text string
	Notice      string // what has just been done, as a sentence
	Sections    []Section
	Links       []Link
}

// Section is a part of a page with a heading of its own.
type Section struct {
	Title, Text string
	Rows        []Row
	Button      *Button
}

// Row is one thing: what it is, and what can be done with it.
type Row struct {
	Name, Text string
	Link       Link
	Button     *Button
}

// Button posts Hidden to Action, a path on our own origin.
type Button struct {
	Action, Name string
	Hidden       url.Values
}

// Account answers 200 with a page of sections.
func (p *Pages) Account(w http.ResponseWriter, a AccountPage) {
	v := view{Title: a.Title, Text: a.Text, Notice: a.Notice, Wide: true}
	for i, s := range a.Sections {
		one := section{ID: "section-" + strconv.Itoa(i), Title: s.Title, Text: s.Text, Button: newButton(s.Button, "")}
		for j, r := range s.Rows {
			id := one.ID + "-" + strconv.Itoa(j)
			one.Rows = append(one.Rows, row{ID: id, Name: r.Name, Text: r.Text, Link: r.Link, Button: newButton(r.Button, id)})
		}
		v.Sections = append(v.Sections, one)
	}
	for _, l := range a.Links {
		v.link(l.URL, l.Name, false)
	}
	p.write(w, http.StatusOK, v, policy{formAction: "'self'", referrer: "same-origin"})
}

type section struct {
	ID, Title, Text string
	Rows            []row
	Button          *button
}

type row struct {
	ID, Name, Text string
	Link           Link
	Button         *button
}

type button struct {
	Action, Name string
	Of           string // the element that says what it is about
	Fields       []field
}

func newButton(b *Button, of string) *button {
	if b == nil {
		return nil
	}
	return &button{Action: b.Action, Name: b.Name, Of: of, Fields: newForm("", b.Hidden, "").Fields}
}
