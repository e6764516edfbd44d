package session

import (
	"net/http"
	"strings"
)

// Device is what a browser says of itself, in words from two short lists. Nothing of what it sends is kept otherwise.
type Device struct {
	Browser string // "Firefox"; "" when it is none of the list
	System  string // "Windows"; "" likewise
}

// String returns words for a person: "Firefox on Windows".
func (d Device) String() string {
	switch {
	case d.Browser == "" && d.System == "":
		return "an unknown device"
	case d.Browser == "":
		return "an unknown browser on " + d.System
	case d.System == "":
		return d.Browser
	}
	return d.Browser + " on " + d.System
}

// DeviceOf reads a request's Sec-CH-UA, Sec-CH-UA-Platform and User-Agent. Anyone can send anything there: it is for a person
// to recognise their devices by, and decides nothing.
func DeviceOf(h http.Header) Device {
	agent := readable(h, "User-Agent")
	return Device{
		Browser: first(readable(h, "Sec-Ch-Ua"), brands, first(agent, browsers, "")),
		System:  first(readable(h, "Sec-Ch-Ua-Platform"), platforms, first(agent, systems, "")),
	}
}

// readable is the part of a header that is looked at.
func readable(h http.Header, name string) string {
	v := h.Get(name)
	return v[:min(len(v), 1024)]
}

// sign is a text by which something is known, and the word for it.
type sign struct{ text, word string }

// first returns the word of the first sign that is in text.
func first(text string, signs []sign, otherwise string) string {
	for _, s := range signs {
		if strings.Contains(text, s.text) {
			return s.word
		}
	}
	return otherwise
}

// The order matters: most browsers claim to be others, too, and what is built on Chromium says so beside its own name.
var (
	brands = []sign{
		{`"Microsoft Edge"`, "Edge"}, {`"Opera"`, "Opera"}, {`"Brave"`, "Brave"}, {`"Vivaldi"`, "Vivaldi"}, {`"Samsung Internet"`, "Samsung Internet"},
		{`"YaBrowser"`, "Yandex Browser"}, {`"DuckDuckGo"`, "DuckDuckGo"}, {`"Android WebView"`, "an Android app"}, {`"Google Chrome"`, "Chrome"},
		{`"HeadlessChrome"`, "Chrome"}, {`"Chromium"`, "Chromium"},
	}
	browsers = []sign{
		{"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"}, {"Edge/", "Edge"}, {"OPR/", "Opera"}, {"OPT/", "Opera"}, {"Vivaldi/", "Vivaldi"},
		{"SamsungBrowser/", "Samsung Internet"}, {"YaBrowser/", "Yandex Browser"}, {"DuckDuckGo/", "DuckDuckGo"}, {"Ddg/", "DuckDuckGo"},
		{"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"; wv)", "an Android app"}, {"CriOS/", "Chrome"}, {"Chromium/", "Chromium"}, {"Chrome/", "Chrome"},
		{"Safari/", "Safari"}, {"curl/", "curl"},
	}
	platforms = []sign{
		{`"Windows"`, "Windows"}, {`"macOS"`, "macOS"}, {`"Android"`, "Android"}, {`"iOS"`, "iOS"}, {`"Chrome OS"`, "ChromeOS"}, {`"Chromium OS"`, "ChromeOS"},
		{`"Linux"`, "Linux"},
	}
	systems = []sign{
		{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"CrOS", "ChromeOS"}, {"Macintosh", "macOS"},
		{"Linux", "Linux"}, {"FreeBSD", "FreeBSD"}, {"OpenBSD", "OpenBSD"}, {"NetBSD", "NetBSD"},
	}
)
