# serve.sh FOLDER PROGRAMS: makes a cluster in a folder and runs it on a socket there, until the standard input ends: that is when the
# process that holds the other end is gone, however it ended. Then the folder is removed.
set -u
"$2/initdb" -D "$1/data" -U postgres -A trust -E UTF8 --locale=C --no-sync --no-instructions >"$1/log" 2>&1 || { echo failed >"$1/state"; exit 1; }
printf 'local all wary scram-sha-256\nlocal all all trust\n' >"$1/data/pg_hba.conf"
"$2/postgres" -D "$1/data" -k "$1" -h '' -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 \
	-c shared_buffers=16MB -c autovacuum=off -c log_min_messages=fatal >>"$1/log" 2>&1 &
server=$!
trap 'kill -QUIT $server; wait $server; rm -rf "$1"' EXIT
read -r _
