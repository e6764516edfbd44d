package gateway

import "github.com/cloakroom-go/cloakroom/session"

// Options are what our endpoints obey.
type Options struct {
	Prefix      string         // where the endpoints live: "/auth/" by default; begins and ends with a slash
	Claims      []string       // what GET session tells the page; default: sub, name, email, picture, preferred_username
	Allow       *session.Allow // who may enter at all
	SignedOut   string         // path to go to after logout; "" shows our own page
	ClearSite   []string       // Clear-Site-Data at logout: "cache" (default), "storage"
	LoginsPer   int            // logins one address may begin in a minute; default 60
	LoginsInAll int            // logins all addresses together may begin in a minute; default 6000
}
