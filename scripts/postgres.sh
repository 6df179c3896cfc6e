#!/usr/bin/env bash
# Runs a PostgreSQL server of the project's own, in the foreground, until it is told to stop.
#
#   scripts/postgres.sh DIRECTORY PORT           data are kept as a database must keep them
#   scripts/postgres.sh DIRECTORY PORT fleeting  for tests: nothing is forced to the disk
#
# The directory is made at first use; one with other files in it is refused. It holds the data, the socket and the file
# `url` (mode 0600), with which to connect: postgres://postgres:PASSWORD@127.0.0.1:PORT/postgres. Only 127.0.0.1 is
# listened on. PostgreSQL refuses to run as root, so root runs it as the user `postgres`, who comes with Debian's package.
# The machine's own clusters are never touched. When whoever started this dies, the server stops.
set -euo pipefail

die() { printf 'postgres: %s\n' "$*" >&2; exit 1; }

(( $# >= 2 )) || die 'usage: scripts/postgres.sh DIRECTORY PORT [fleeting]'
dir=$1 port=$2 mode=${3:-lasting}

bin=$(find /usr/lib/postgresql -maxdepth 3 -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -n 1)
[[ -n $bin ]] || bin=$(dirname "$(command -v initdb || true)")
[[ -x $bin/initdb && -x $bin/postgres ]] || die 'PostgreSQL is missing: run  scripts/setup.sh  as root, or  apt-get install postgresql'

mkdir -p "$dir"
dir=$(cd "$dir" && pwd -P)
# The password is what a first start writes first. Whoever else has something there is not to lose it, nor the right to go there.
there=$(ls -A "$dir")
[[ -z $there || $(cat "$dir/password" 2>/dev/null) =~ ^[0-9a-f]{36}$ ]] ||
    die "$dir is not empty, and no server of ours is there: choose another directory, or remove what is in it"
as=()
if (( EUID == 0 )); then
    id postgres >/dev/null 2>&1 || die 'there is no user postgres: run  scripts/setup.sh'
    chown postgres: "$dir"
    as=(setpriv --reuid postgres --regid postgres --init-groups --reset-env)
    # Somebody else's home may lie on the way.
    "${as[@]}" test -w "$dir" || die "the user postgres cannot reach $dir: choose another directory"
fi
chmod 0700 "$dir"
cd "$dir"

if [[ ! -e $dir/data/PG_VERSION ]]; then
    [[ ! -e $dir/data && ! -L $dir/data ]] || rmdir "$dir/data" 2>/dev/null ||
        die "$dir/data is no database: choose another directory, or remove it to begin anew"
    # Of a first start that was killed.
    rm -rf "$dir/data.new"
    umask 077
    password=$(od -An -N18 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s\n' "$password" >"$dir/password.new"
    (( EUID != 0 )) || chown postgres: "$dir/password.new"
    mv "$dir/password.new" "$dir/password"
    "${as[@]:-setpriv}" --pdeathsig TERM "$bin/initdb" --pgdata "$dir/data.new" --username postgres --pwfile "$dir/password" \
        --auth scram-sha-256 --wal-segsize 4 --encoding UTF8 --locale C --no-sync >"$dir/initdb.log" 2>&1 ||
        { cat "$dir/initdb.log" >&2; die 'initdb failed'; }
    mv "$dir/data.new" "$dir/data"
fi
umask 077
printf 'postgres://postgres:%s@127.0.0.1:%s/postgres\n' "$(<"$dir/password")" "$port" >"$dir/url.new"
mv "$dir/url.new" "$dir/url"

settings=(listen_addresses=127.0.0.1 "port=$port" unix_socket_directories= max_connections=300 shared_buffers=32MB
    log_line_prefix='%m [%p] ' timezone=UTC)
# A path of a socket has at most 107 bytes.
(( ${#dir} > 80 )) || settings[2]="unix_socket_directories=$dir"
[[ $mode != fleeting ]] || settings+=(fsync=off synchronous_commit=off full_page_writes=off max_wal_size=64MB)

# SIGINT is the fast way to stop: open connections are closed, transactions undone.
exec "${as[@]:-setpriv}" --pdeathsig INT "$bin/postgres" -D "$dir/data" "${settings[@]/#/-c}"
