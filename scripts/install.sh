#!/usr/bin/env bash
# Installs what the tests need and is not there yet, and says what it does.
set -euo pipefail
cd "$(dirname "$0")/.."
shopt -s nullglob

command -v go >/dev/null || { echo "please install Go 1.26 or newer: https://go.dev/dl/" >&2; exit 1; }
command -v npm >/dev/null && node -e 'process.exit(+(parseInt(process.versions.node) < 20))' ||
	{ echo "please install Node 20 or newer, with npm" >&2; exit 1; }

for lock in web/client/package-lock.json examples/*/package-lock.json; do
	folder=$(dirname "$lock")
	if [ ! -e "$folder/node_modules/.package-lock.json" ] || [ "$lock" -nt "$folder/node_modules/.package-lock.json" ]; then
		echo "$folder: installing npm packages (npm ci)"
		(cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
	fi
done
sh e2e/scripts/install.sh
