package lab

// makers are how each attack is made, by its id.
var makers map[string]func(*visit) attack

func init() {
	makers = map[string]func(*visit) attack{
		"read-tokens":  readTokens,
		"send-policy":  sendPolicy,
		"send-open":    sendOpen,
		"live-session": liveSession,
		"form-cross":   form(foreign),
		"form-same":    form(sibling),
		"fetch-cross":  fetching(foreign),
		"fetch-same":   fetching(sibling),

		"websocket":  openSocket,
		"framing":    frame,
		"login-csrf": loginCSRF,

		"edit-role":      editRole,
		"forge-cookie":   forgeCookie,
		"toss-cookie":    toss,
		"plant-session":  fixate,
		"open-redirect":  openRedirect,
		"shared-cache":   sharedCache,
		"stolen-profile": copyProfile,
		"stolen-store":   readDatabase,
		"replay-rotated": replayRotated,
		"reuse-refresh":  reuseRefresh,
		"replay-logout":  replayLogout,
	}
}

// order is the order in which they are made: neighbours are made in the same place, and what ends the session is made last.
var order = []string{
	"replay-rotated", "reuse-refresh",
	"read-tokens", "live-session", "edit-role", "forge-cookie", "stolen-profile", "stolen-store", "shared-cache", "plant-session", "open-redirect",
	"send-policy", "form-cross", "fetch-cross", "websocket", "form-same", "fetch-same", "framing", "login-csrf", "toss-cookie",
	"send-open", "replay-logout",
}
