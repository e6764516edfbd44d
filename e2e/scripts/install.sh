#!/bin/sh
# Installs what the browser suite needs and is not there yet, and says what it does: Debian's browsers and their helpers, PostgreSQL's
# programs, and the npm packages of package-lock.json. Needs root (or sudo) only if a Debian package is missing.
set -eu
cd "$(dirname "$0")/.."

missing=""
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need gcc "gcc libc6-dev" # go test -race
need curl curl           # the commands in README.md
need openssl openssl
need certutil libnss3-tools
need chromium chromium
need firefox-esr firefox-esr
need WebKitWebDriver webkit2gtk-driver
need Xvfb xvfb

if [ -n "$missing" ]; then
	command -v apt-get >/dev/null 2>&1 || { echo "e2e: please install:$missing (there is no apt-get here)" >&2; exit 1; }
	root=""
	[ "$(id -u)" = 0 ] || root="sudo"
	echo "e2e: installing Debian packages:$missing"
	$root apt-get update -qq
	# shellcheck disable=SC2086 # one word for each package
	DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

sh ../scripts/postgres.sh

if [ ! -e node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
	echo "e2e: installing npm packages (npm ci)"
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
fi
