#!/bin/sh
# Installs Debian's PostgreSQL if there is none, and says so. Tests start one of their own from its programs; nothing listens after
# this, and nothing starts with the machine. Needs root (or sudo) only if it is missing.
set -eu

command -v initdb >/dev/null 2>&1 && exit 0
for at in /usr/lib/postgresql/*/bin/initdb; do
	[ -x "$at" ] && exit 0
done

command -v apt-get >/dev/null 2>&1 || { echo "please install PostgreSQL: initdb and postgres (there is no apt-get here)" >&2; exit 1; }
root=""
[ "$(id -u)" = 0 ] || root="sudo"
install() { DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }

echo "installing Debian packages: postgresql, without a server of the system's own (create_main_cluster = false)"
$root apt-get update -qq
install postgresql-common
# Debian makes a cluster that listens on 5432 with the package, unless this is said before.
$root sed -i -E 's/^#? *create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
install postgresql
