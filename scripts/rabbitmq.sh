#!/usr/bin/env bash
# Runs a RabbitMQ node of the project's own, in the foreground, until it is told to stop.
#
#   scripts/rabbitmq.sh DIRECTORY PORT           queues are kept from one run to the next, on whatever port
#   scripts/rabbitmq.sh DIRECTORY PORT fleeting  for tests: what is there is forgotten, and the end is at once
#
# The directory is made at first use; one with other files in it is refused. It holds everything of the node: data,
# configuration, cookie, and the files `url` and `hostagent-url` (mode 0600), with which to connect:
# amqp://landscape:PASSWORD@127.0.0.1:PORT/VHOST, where VHOST is `landscape` or `landscape-hostagent`. The node has a name,
# a port mapper (epmd) and a port for distribution of its own, neither of which is one of AVOID_PORTS (default 8000-9200,
# where an edge would take it for a worker; `9000-9100,9901` is a list); only 127.0.0.1 is listened on. Root runs it as the
# user `rabbitmq`, who comes with Debian's package. The machine's own node is never touched. When whoever started this dies,
# the node stops.
set -euo pipefail

die() { printf 'rabbitmq: %s\n' "$*" >&2; exit 1; }

(( $# >= 2 )) || die 'usage: scripts/rabbitmq.sh DIRECTORY PORT [fleeting]'
dir=$1 port=$2 mode=${3:-lasting}
avoid=${AVOID_PORTS-8000-9200}
[[ ,$avoid, =~ ^,([1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?,)*$ || -z $avoid ]] || die "AVOID_PORTS=$avoid is no list of ports and ranges"

server=/usr/lib/rabbitmq/bin/rabbitmq-server
[[ -x $server ]] || server=$(command -v rabbitmq-server || true)
[[ -n $server ]] && command -v epmd >/dev/null ||
    die 'RabbitMQ is missing: run  scripts/setup.sh  as root, or  apt-get install rabbitmq-server'

mkdir -p "$dir"
dir=$(cd "$dir" && pwd -P)
# The password is what a first start writes first. Whoever else has something there is not to lose it, nor the right to go there.
there=$(ls -A "$dir")
[[ -z $there || $(cat "$dir/password" 2>/dev/null) =~ ^[0-9a-f]{36}$ ]] ||
    die "$dir is not empty, and no node of ours is there: choose another directory, or remove what is in it"
as=()
if (( EUID == 0 )); then
    id rabbitmq >/dev/null 2>&1 || die 'there is no user rabbitmq: run  scripts/setup.sh'
    chown rabbitmq: "$dir"
    as=(setpriv --reuid rabbitmq --regid rabbitmq --init-groups)
    # Somebody else's home may lie on the way.
    "${as[@]}" test -w "$dir" || die "the user rabbitmq cannot reach $dir: choose another directory"
fi
chmod 0700 "$dir"
cd "$dir"
umask 077
# Held until the node ends: two would write into the same data. The one before may still be stopping.
exec {lock}<.
flock -w 30 "$lock" || die "another node runs in $dir: stop it first"

if [[ ! -s password ]]; then
    od -An -N18 -tx1 /dev/urandom | tr -d ' \n' >password.new
    mv password.new password
fi
password=$(<password)
if [[ ! -s .erlang.cookie ]]; then
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >.erlang.cookie
    chmod 0400 .erlang.cookie
fi
# Salt and SHA-256 of salt and password, as the node keeps them.
salt=$(od -An -N4 -tx1 /dev/urandom | tr -d ' \n')
salted() { printf '%b' "$(sed 's/../\\x&/g' <<<"$salt")"; }
hash=$({ salted; { salted; printf '%s' "$password"; } | openssl dgst -sha256 -binary; } | base64 -w0)

permission() { printf '{"user":"landscape","vhost":"%s","configure":".*","write":".*","read":".*"}' "$1"; }
cat >definitions.json <<JSON
{"users":[{"name":"landscape","password_hash":"$hash","hashing_algorithm":"rabbit_password_hashing_sha256","tags":""}],
 "vhosts":[{"name":"landscape"},{"name":"landscape-hostagent"}],
 "permissions":[$(permission landscape),$(permission landscape-hostagent)]}
JSON
cat >rabbitmq.conf <<CONF
listeners.tcp.1 = 127.0.0.1:$port
load_definitions = $dir/definitions.json
log.file = false
log.console = true
log.console.level = warning
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 64MB
# A consumer may take its time: three days, in milliseconds.
consumer_timeout = 259200000
CONF
echo '[].' >enabled_plugins
[[ $mode != fleeting ]] || rm -rf mnesia
mkdir -p mnesia
# Its data are kept by its name, which is the same on every port: each node has a mapper to itself, and no other is known
# there. Formerly the port was part of it; what was kept so is the node's still, of several that which was used last.
name=portcullis@localhost
former=$(find mnesia -mindepth 1 -maxdepth 1 -type d -name 'portcullis-*@localhost' -printf '%T@ %f\n' | sort -n | tail -n 1)
[[ -d mnesia/$name || -z $former ]] || name=${former#* }
for file in url hostagent-url; do
    vhost=landscape
    [[ $file == url ]] || vhost=landscape-hostagent
    printf 'amqp://landscape:%s@127.0.0.1:%s/%s\n' "$password" "$port" "$vhost" >"$file.new"
    mv "$file.new" "$file"
done
(( EUID != 0 )) || chown -R rabbitmq: "$dir"

end=TERM
[[ $mode != fleeting ]] || end=KILL
# The first free port above the node's own, or above the one that was taken last; below those from which the kernel takes
# the ports of outgoing connections, one of which could have it before the node does; and none of those to be avoided.
read -r outgoing _ </proc/sys/net/ipv4/ip_local_port_range || outgoing=32768
next=$(( port + 10000 ))
(( next < outgoing )) || next=$(( outgoing - 2768 + port % 2700 ))
(( next > 1024 )) || next=$(( port + 10000 > 60000 ? 30000 : port + 10000 ))
# Steps over the range in which the next port lies, if it lies in one.
step_over() {
    local span
    for span in ${avoid//,/ }; do
        if (( next >= ${span%-*} && next <= ${span#*-} )); then
            next=$(( ${span#*-} + 1 ))
            return 0
        fi
    done
    return 1
}
free_port() {
    local taken
    # Also of connections, and of those that ended a moment ago.
    taken=$(ss -Htan | awk '{ sub(/.*:/, "", $4); print $4 }')
    while step_over || { grep -qx "$next" <<<"$taken" && next=$(( next + 1 )); }; do :; done
    (( next < 65535 )) || die 'no free port is left for the node'
    free=$next
    next=$(( next + 1 ))
}

# Whether the port mapper that was started last listens; it has ten seconds.
mapper_listens() {
    for (( look = 0; look < 200; look++ )); do
        kill -0 "$mapper" 2>/dev/null || return 1
        # Somebody else may have had the port meanwhile.
        ss -Hltnp "sport = :$free" | grep -q "pid=$mapper," && return 0
        sleep 0.05
    done
    return 1
}

# A mapper of our own, found by the node when it looks for one; the machine's would outlive us, and know us. A node that
# finds none does not start, so it waits for the mapper; whose port was taken meanwhile gets another.
mapper=
for attempt in 1 2 3 4 5; do
    free_port
    node=(env -i "PATH=$PATH" LANG=C.UTF-8 "HOME=$dir" "ERL_EPMD_PORT=$free" ERL_EPMD_ADDRESS=127.0.0.1)
    "${as[@]:-setpriv}" --pdeathsig TERM "${node[@]}" epmd </dev/null {lock}<&- &
    mapper=$!
    mapper_listens && break
    kill "$mapper" 2>/dev/null || true
    (( attempt < 5 )) || die 'the port mapper (epmd) does not start'
done
free_port
distribution=$free

# `RUNNING_UNDER_SYSTEMD` makes the node take the place of Debian's script, so that signals meet it.
exec "${as[@]:-setpriv}" --pdeathsig "$end" "${node[@]}" RUNNING_UNDER_SYSTEMD=true \
    RABBITMQ_NODENAME="$name" RABBITMQ_DIST_PORT="$distribution" \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='-kernel inet_dist_use_interface {127,0,0,1}' \
    RABBITMQ_CONF_ENV_FILE="$dir/none" RABBITMQ_CONFIG_FILE="$dir/rabbitmq.conf" \
    RABBITMQ_ADVANCED_CONFIG_FILE="$dir/none.config" RABBITMQ_ENABLED_PLUGINS_FILE="$dir/enabled_plugins" \
    RABBITMQ_MNESIA_BASE="$dir/mnesia" RABBITMQ_LOG_BASE="$dir" RABBITMQ_LOGS=- \
    RABBITMQ_GENERATED_CONFIG_DIR="$dir/generated" RABBITMQ_PID_FILE="$dir/pid" "$server"
