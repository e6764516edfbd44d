package answer

import "github.com/cloakroom-go/cloakroom/session"

// Words returns how an error of this code is answered: the status, and title and sentence of the page or the problem. It is
// for the page of the docs that lists them. An unknown code is answered like session.Internal.
func Words(code session.Code) (status int, title, text string) {
	row, ok := rows[code]
	if !ok {
		row = rows[session.Internal]
	}
	return row.status, row.title, row.text
}
