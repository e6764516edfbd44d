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
	}
}

// order is the order in which they are made: neighbours are made in the same place, and what ends the session is made last.
var order = []string{
	"read-tokens", "live-session", "send-policy", "form-cross", "fetch-cross", "form-same", "fetch-same", "send-open",
}
