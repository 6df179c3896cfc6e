#!/usr/bin/env bash
# Starts the whole house on this machine: a database, a broker, a Vault, workers of every pool, then the edge, until Ctrl-C.
#
# `make demo` builds everything first and then runs this. What is asked for comes from the
# environment; every variable has a default:
#
#   HTTP_PORT=80 HTTPS_PORT=443 GRPC_PORT=6554   where the edge listens
#   WORKERS=N        workers of each pool that has more than one port (default 2, message-system 4)
#   PROFILE=release  which build is run: release or dev
#   CONFIG=routes.yaml
#   SHIFT=0          the ports of all workers and of the admin listener are so much higher, where others have them;
#                    beside another demo 3000 does, with other DATA and LOGS
#   DATA=.data       where database, broker and their passwords are kept from one demo to the next; where the servers' users
#                    cannot go, as below /root, links to a directory in /var/tmp
#   LOGS=.demo/logs  where the children's logs are; those of the last demo are removed, and nothing else
#   RESTART=5        seconds after which a database, broker or Vault that ended is started again; or off: it is told how
#   READY_SECONDS=60 how long each child may take until it is ready
#
# Standard output tells what happens and ends its start with a line that begins with `ready`. A worker
# that dies is told and the demo goes on, because that is worth seeing. So is the end of PostgreSQL, RabbitMQ
# or the Vault: the services stay up, and it is started again. When the edge or the last worker dies,
# everything is stopped and the exit is 1. Only processes started here are ever stopped, by their process ids.
set -euo pipefail
cd "$(dirname "$0")/.."

# Pool, binary, first port, last port, workers by default, path at the edge (or grpc, or private:
# no public route), and whether it is a stub or works with the database.
readonly POOLS='
appserver            appserver            8070  8079  2  /               works
pingserver           pingserver           8080  8089  2  /ping           works
message-system       message-server       8090  9079  4  /message-system works
api                  api                  9080  9098  2  /api            works
package-search       package-search       9099  9099  1  private         works
package-upload       package-upload       9100  9100  1  /upload         works
hostagent-messenger  hostagent-messenger  50052 50052 1  grpc            works
outbox-relay         outbox-relay         9101  9101  1  private         works
'
readonly SERVERS='postgres rabbitmq vault'
readonly EDGE_STOP_SECONDS=35 WORKER_STOP_SECONDS=8

export HTTP_PORT=${HTTP_PORT:-80} HTTPS_PORT=${HTTPS_PORT:-443} GRPC_PORT=${GRPC_PORT:-6554}
PROFILE=${PROFILE:-release}
CONFIG=${CONFIG:-routes.yaml}
SHIFT=${SHIFT:-0}
DATA=${DATA:-.data}
LOGS=${LOGS:-.demo/logs}
RESTART=${RESTART:-5}
READY_SECONDS=${READY_SECONDS:-60}
admin_port=9901

declare -A child_name=() child_log=()   # by process id, living children only
declare -A server_pid=() server_port=() # by name; no process id where it has ended
declare -a worker_pids=()
edge_pid= password=
data_lock= logs_lock= never=            # file descriptors
data_asked=                             # the directory that DATA named, where the data are not there

say() { printf 'demo: %s\n' "$*"; }
problem() { printf 'demo: %s\n' "$*" >&2; }
die() { problem "$*"; exit 1; }

main() {
    local bin
    bin=$(directory_of_binaries)
    read_settings
    check_files "$bin"
    check_ports
    reach_data
    mkdir -p "$LOGS"
    keep_others_out
    remove_logs
    trap stop_all EXIT
    trap 'say "stopping"; exit 0' INT TERM HUP
    # Nobody ever writes into it.
    exec {never}<> <(:)
    reserve_ports
    start_servers
    write_settings "$bin"
    start_workers "$bin"
    start_edge "$bin"
    link_data
    probe_pools
    print_tables
    printf 'ready http=localhost:%s https=localhost:%s grpc=localhost:%s\n' \
        "$HTTP_PORT" "$HTTPS_PORT" "$GRPC_PORT"
    watch_children
}

# --- What was asked for -----------------------------------------------------------------------

directory_of_binaries() {
    case $PROFILE in
        dev) echo "${CARGO_TARGET_DIR:-target}/debug" ;;
        *) echo "${CARGO_TARGET_DIR:-target}/$PROFILE" ;;
    esac
}

# Calls a function for each pool: name binary first last count path kind.
each_pool() {
    local name binary first last count path kind
    while read -r name binary first last count path kind; do
        [[ -n $name ]] || continue
        first=$((first + SHIFT)) last=$((last + SHIFT))
        "$@" "$name" "$binary" "$first" "$last" "$(workers_of "$first" "$last" "$count")" "$path" "$kind" </dev/null
    done <<<"$POOLS"
}

workers_of() {
    local room=$(($2 - $1 + 1)) count=$3
    (( room == 1 )) || count=${WORKERS:-$count}
    echo $((count < room ? count : room))
}

read_settings() {
    local name value
    # The highest of the ports is 50052.
    [[ $SHIFT =~ ^(0|[1-9][0-9]{0,4})$ ]] && (( SHIFT <= 65535 - 50052 )) || die "SHIFT=$SHIFT is not a number from 0 to $((65535 - 50052))"
    [[ $RESTART == off || $RESTART =~ ^[0-9]{1,4}$ ]] || die "RESTART=$RESTART is neither a number of seconds nor off"
    [[ $READY_SECONDS =~ ^[1-9][0-9]{0,3}$ ]] || die "READY_SECONDS=$READY_SECONDS is not a number of seconds"
    admin_port=$((admin_port + SHIFT))
    for name in HTTP_PORT HTTPS_PORT GRPC_PORT; do
        value=${!name}
        [[ $value =~ ^[1-9][0-9]{0,4}$ ]] && (( value <= 65535 )) || die "$name=$value is not a port"
        each_pool refuse_own_range "$name"
        (( value != admin_port )) || die "$name=$value is the port of the edge's admin listener"
    done
    [[ $HTTP_PORT != "$HTTPS_PORT" && $HTTP_PORT != "$GRPC_PORT" && $HTTPS_PORT != "$GRPC_PORT" ]] ||
        die "HTTP_PORT, HTTPS_PORT and GRPC_PORT must be three different ports"
    [[ ${WORKERS:-1} =~ ^[1-9][0-9]{0,2}$ ]] || die "WORKERS=$WORKERS is not a number from 1 to 999"
}

# An edge that listens inside the range of a pool would be taken for one of its workers.
refuse_own_range() {
    local variable=$1 pool=$2 first=$4 last=$5
    if (( ${!variable} >= first && ${!variable} <= last )); then
        die "$variable=${!variable} lies in the range of $pool ($first-$last): choose another, or set SHIFT"
    fi
}

check_files() {
    local bin=$1
    [[ -r $CONFIG ]] || die "there is no $CONFIG"
    [[ -x $bin/schema ]] || die "there is no $bin/schema: run  make demo PROFILE=$PROFILE"
    [[ -r certs/edge.pem && -r certs/ca.pem ]] || die "there are no certificates: run  make certs"
    [[ -x $bin/portcullis ]] || die "there is no $bin/portcullis: run  make demo PROFILE=$PROFILE"
    each_pool check_binary "$bin"
}

check_binary() { [[ -x $1/$3 ]] || die "there is no $1/$3: run  make demo PROFILE=$PROFILE"; }

# --- Ports ------------------------------------------------------------------------------------

# Keeps outgoing connections off the workers' ports while we run; see deploy/sysctl.d/60-portcullis.conf.
reserve_ports() {
    local reserved=$((8070 + SHIFT))-$((9101 + SHIFT)),$((50052 + SHIFT))
    (( SHIFT )) || reserved+=,53354
    scripts/reserved-ports.sh take $$ "$reserved" 2>/dev/null ||
        problem "warning: may not reserve the workers' ports ($reserved); an outgoing connection may take one"
}

give_ports_back() { scripts/reserved-ports.sh give $$ 2>/dev/null; }

check_ports() {
    local taken=0 workers_taken=0 unprivileged
    local -A owner=()
    local address process
    while read -r _ _ _ address _ process; do
        owner[${address##*:}]=${process:-"a process of another user"}
    done < <(ss -Hltnp)
    public_port_is_free HTTP_PORT "$HTTP_PORT" || taken=1
    public_port_is_free HTTPS_PORT "$HTTPS_PORT" || taken=1
    public_port_is_free GRPC_PORT "$GRPC_PORT" || taken=1
    (( ! taken )) || problem "choose other ports, for example:  HTTP_PORT=10080 HTTPS_PORT=10443 GRPC_PORT=16554 make demo"
    if [[ -n ${owner[$admin_port]-} ]]; then
        problem "port $admin_port (admin listener of the edge) is taken by ${owner[$admin_port]}: is another edge running? SHIFT moves ours"
        taken=1
    fi
    each_pool worker_ports_are_free
    if (( workers_taken )); then
        # So much higher they are none of those of a demo with the usual ones, nor those that were just advised.
        problem "the workers' ports are those of the pools in $CONFIG: stop that process first, or set SHIFT; beside another demo set DATA and LOGS, too, for example  SHIFT=3000 DATA=.demo/data-2 LOGS=.demo/logs-2 make demo"
        taken=1
    fi
    # Those that we shall have ourselves are not free, either.
    owner[$HTTP_PORT]=edge owner[$HTTPS_PORT]=edge owner[$GRPC_PORT]=edge owner[$admin_port]=edge
    each_pool own_ports
    # A database or a broker of the machine's own may have the usual port.
    first_free_port postgres 5432 5499
    first_free_port rabbitmq 5672 5699
    # The ports after the usual one are workers' of a demo, which would take our Vault for one of them and send it requests.
    if [[ -z ${owner[8200]-} ]]; then
        server_port[vault]=8200
    else
        first_free_port vault 7200 7299
    fi
    (( ! taken )) || exit 1
    unprivileged=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
    if (( EUID != 0 && (HTTP_PORT < unprivileged || HTTPS_PORT < unprivileged || GRPC_PORT < unprivileged) )); then
        problem "warning: ports below $unprivileged need root; if the edge cannot listen, choose others (HTTP_PORT, HTTPS_PORT, GRPC_PORT)"
    fi
}

# These four see the caller's `owner`, `taken` and `workers_taken`.
first_free_port() {
    local name=$1 first=$2 last=$3 port
    for ((port = first; port <= last; port++)); do
        if [[ -z ${owner[$port]-} ]]; then
            server_port[$name]=$port
            return
        fi
    done
    problem "every port from $first to $last is taken, and $(title "$name") needs one: stop a process that listens there (ss -ltnp)"
    taken=1
}

public_port_is_free() {
    [[ -n ${owner[$2]-} ]] || return 0
    problem "port $2 ($1) is taken by ${owner[$2]}"
    return 1
}

worker_ports_are_free() {
    local pool=$1 first=$3 last=$4 count=$5 port
    for ((port = first; port <= last; port++)); do
        [[ -n ${owner[$port]-} ]] || continue
        if (( port < first + count )); then
            problem "port $port (a worker of $pool) is taken by ${owner[$port]}"
        else
            # The edge would find it and send it requests.
            problem "port $port (in the range of $pool) is taken by ${owner[$port]}"
        fi
        workers_taken=1
    done
}

own_ports() {
    local pool=$1 first=$3 count=$5 port
    for ((port = first; port < first + count; port++)); do
        owner[$port]=$pool
    done
}

# --- Starting ---------------------------------------------------------------------------------

# A second demo with these directories would remove the addresses and logs of the one that runs.
keep_others_out() {
    exec {data_lock}>>"$DATA/.demo-data.lock" {logs_lock}>>"$LOGS/.demo-logs.lock"
    flock -n "$data_lock" || die "another demo uses $DATA: set DATA and LOGS to other directories, too"
    flock -n "$logs_lock" || die "another demo uses $LOGS: set LOGS to another directory"
}

# Those of the last demo, by the names that we give. Other files may lie there, too.
remove_logs() {
    local name
    rm -f "$LOGS/schema.log"
    for name in edge $SERVERS; do
        rm -f "$LOGS/$name".{out,err}.log
    done
    each_pool remove_logs_of_pool
}

remove_logs_of_pool() { rm -f "$LOGS/$1"-[0-9][0-9][0-9][0-9]{,[0-9]}.{out,err}.log; }

# Starts one child: name, log, command. Its process id is in `started`.
#
# A session of its own keeps Ctrl-C from the child, so that the order of stopping is ours; should
# this script be killed outright, the kernel sends the child SIGTERM. No child has the locks, which end with this script.
start() {
    local name=$1 log=$2
    shift 2
    setsid setpriv --pdeathsig TERM -- "$@" </dev/null >>"$log.out.log" 2>>"$log.err.log" \
        {data_lock}>&- {logs_lock}>&- {never}>&- &
    started=$!
    child_name[$started]=$name
    child_log[$started]=$log.err.log
}

# How people call a server.
title() {
    case $1 in
        postgres) echo PostgreSQL ;;
        rabbitmq) echo RabbitMQ ;;
        vault) echo 'the Vault' ;;
    esac
}

# Servers of our own; what they hold is kept for the next demo.
start_servers() {
    local name
    for name in $SERVERS; do
        start_server "$name"
        await_server "$name"
        say "$(title "$name") is on 127.0.0.1:${server_port[$name]}, its data are in $DATA/$name"
    done
}

start_server() {
    local -a command
    server_command "$1"
    # By these they say that they are there.
    rm -f "$DATA/$1/url" "$DATA/$1/hostagent-url"
    start "$1" "$LOGS/$1" "${command[@]}"
    server_pid[$1]=$started
}

# Into the caller's `command`.
server_command() {
    local avoid
    command=("scripts/$1.sh" "$DATA/$1" "${server_port[$1]}")
    [[ $1 == rabbitmq ]] || return 0
    # It takes two more ports. In the range of a pool the edge would take them for workers, elsewhere they could be its own.
    avoid=$HTTP_PORT,$HTTPS_PORT,$GRPC_PORT,$admin_port,${server_port[vault]}
    each_pool avoid_range
    command=(env "AVOID_PORTS=$avoid" "${command[@]}")
}

avoid_range() { avoid+=,$3-$4; }

await_server() {
    local pid=${server_pid[$1]} end=$((SECONDS + READY_SECONDS))
    while (( SECONDS <= end )); do
        lives "$pid" || fail_with_log "$pid" "ended before it was ready"
        # RabbitMQ is not waited for: workers do without for as long as it takes.
        ! is_there "$1" begins || return 0
        sleep 0.1
    done
    fail_with_log "$pid" "is not ready after $READY_SECONDS s"
}

# With a second word, whether RabbitMQ has begun; else whether it listens.
is_there() {
    case $1 in
        postgres)
            [[ -s $DATA/postgres/url ]] || return 1
            # One may live and answer nothing.
            timeout 5 psql -X -q -d "$(<"$DATA/postgres/url")" -c 'select 1' >/dev/null 2>&1
            ;;
        rabbitmq)
            [[ -s $DATA/rabbitmq/hostagent-url ]] || return 1
            [[ -n ${2-} ]] || (: <"/dev/tcp/127.0.0.1/${server_port[rabbitmq]}") 2>/dev/null
            ;;
        vault) [[ -s $DATA/vault/url ]] ;;
    esac
}

# Root runs PostgreSQL as the user postgres and RabbitMQ as the user rabbitmq, who may not be able to come here, as below
# /root. Then the data lie elsewhere, and links to them here.
reach_data() {
    mkdir -p "$DATA"
    DATA=$(cd "$DATA" && pwd -P)
    (( EUID == 0 )) || return 0
    setpriv --reuid postgres --regid postgres --init-groups -- test -x "$DATA" 2>/dev/null &&
        setpriv --reuid rabbitmq --regid rabbitmq --init-groups -- test -x "$DATA" 2>/dev/null && return
    data_asked=$DATA
    DATA=/var/tmp/portcullis-demo-$(cksum <<<"$DATA" | cut -d' ' -f1)
    mkdir -p "$DATA"
    [[ -O $DATA && ! -L $DATA ]] || die "$DATA belongs to somebody else: set DATA to another directory"
    chmod 0711 "$DATA"
}

# So that what is told of the data where DATA is holds where they are elsewhere, too.
link_data() {
    local at name
    [[ -n $data_asked ]] || return 0
    for at in "$DATA"/*; do
        name=${at##*/}
        if [[ -e $data_asked/$name && ! -L $data_asked/$name ]]; then
            problem "warning: $data_asked/$name is not of this demo, which has $at"
        else
            ln -sfn "$at" "$data_asked/$name"
        fi
    done
    say "the data are in $DATA, where the servers' users can go; $data_asked has links to them"
}

# What the workers share, passwords among it, in a file that only they can read.
write_settings() {
    local bin=$1 url
    url=$(<"$DATA/postgres/url")
    [[ -s $DATA/admin-password ]] ||
        (umask 077 && od -An -N9 -tx1 /dev/urandom | tr -d ' \n' >"$DATA/admin-password")
    password=$(<"$DATA/admin-password")
    (umask 077 && cat >"$DATA/services.conf" <<CONF
[store]
url = $url
connections_max = 4

[broker]
url = $(<"$DATA/rabbitmq/url")
hostagent_url = $(<"$DATA/rabbitmq/hostagent-url")

[secret]
vault_url = $(<"$DATA/vault/url")
vault_mount = services
vault_kv = $(<"$DATA/vault/kv")
vault_role_id = $(<"$DATA/vault/role-id")
vault_secret_id_file = $DATA/vault/secret-id
CONF
    )
    repository_settings >>"$DATA/services.conf"
    schema "$bin" migrate
    make_repository "$bin"
    schema "$bin" person admin@localhost --name Administrator --password-file "$DATA/admin-password"
    # One half of it is in the database, the other in the Vault: it ends with whichever of them was begun anew.
    if [[ ! -s $DATA/api-key || $DATA/vault/secret-id -nt $DATA/api-key || $DATA/postgres/data/PG_VERSION -nt $DATA/api-key ]]; then
        (umask 077 && "$bin/schema" --config "$DATA/services.conf" access-key admin@localhost >"$DATA/api-key") ||
            die "no access key could be made"
    fi
}

# The program that makes and changes the database.
schema() {
    "$1/schema" --config "$DATA/services.conf" "${@:2}" >>"$LOGS/schema.log" 2>&1 ||
        { cat "$LOGS/schema.log" >&2; die "schema ${*:2}: see above"; }
}

repository_settings() {
    mkdir -p "$DATA/repositories" "$DATA/hash-id-databases"
    printf '\n[repository]\ndirectory = %s\nsigning_key = %s\nhash_id_databases = %s\n' \
        "$DATA/repositories" "$DATA/repository.key" "$DATA/hash-id-databases"
    printf '\n[package_search]\nurl = http://127.0.0.1:%s/v1/search\n' "$((9099 + SHIFT))"
}

# A key that signs, and a pocket into which nobody may upload until somebody says who. What is there stays as it is.
make_repository() {
    [[ -s $DATA/repository.key ]] || schema "$1" signing-key "$DATA/repository.key"
    [[ -e $DATA/repositories/standalone/ubuntu/dists/noble-staging ]] ||
        schema "$1" pocket standalone/ubuntu/noble/staging
}

start_workers() {
    each_pool start_pool "$1"
    local pid
    for pid in "${worker_pids[@]}"; do
        await_line "$pid" "$READY_SECONDS"
    done
    say "${#worker_pids[@]} workers listen"
}

start_pool() {
    local bin=$1 pool=$2 binary=$3 first=$4 count=$6 kind=$8 index
    local -a how=(--stub)
    [[ $kind == stub ]] || how=(--config "$DATA/services.conf")
    for ((index = 0; index < count; index++)); do
        start "$pool:$((first + index))" "$LOGS/$pool-$((first + index))" \
            "$bin/$binary" "${how[@]}" --base "$first" --index "$index"
        worker_pids+=("$started")
    done
}

start_edge() {
    # What routes.yaml has checks for.
    export POSTGRES_ADDRESS=127.0.0.1:${server_port[postgres]} RABBITMQ_ADDRESS=127.0.0.1:${server_port[rabbitmq]}
    export VAULT_ADDRESS=127.0.0.1:${server_port[vault]}
    (( ! SHIFT )) || shift_config
    start edge "$LOGS/edge" "$1/portcullis" run -c "$CONFIG"
    edge_pid=$started
    await_line "$edge_pid" "$READY_SECONDS"
    say "the edge listens: $(grep -m1 '^ready ' "${child_log[$edge_pid]}")"
}

# The configuration with the ports that SHIFT makes of those in its pools, as they are written in routes.yaml.
shift_config() {
    ! grep -q '^admin:' "$CONFIG" || die "$CONFIG says where its admin listener is: SHIFT cannot move it"
    awk -v by="$SHIFT" '
        /^[^ #]/ { in_pools = /^pools:/ }
        in_pools && match($0, /ports: *[0-9]+(-[0-9]+)?/) {
            before = substr($0, 1, RSTART - 1); span = substr($0, RSTART, RLENGTH); after = substr($0, RSTART + RLENGTH)
            sub(/ports: */, "", span)
            count = split(span, ends, "-")
            span = (ends[1] + by) (count > 1 ? ("-" (ends[2] + by)) : "")
            $0 = before "ports: " span after
        }
        { print }' "$CONFIG" >"$DATA/routes.yaml"
    printf 'admin: { bind: "127.0.0.1:%s" }\n' "$admin_port" >>"$DATA/routes.yaml"
    CONFIG=$DATA/routes.yaml
}

# Waits until a child says `ready ...` on its standard error.
await_line() {
    local pid=$1 seconds=$2 log=${child_log[$1]} turns
    for ((turns = seconds * 20; turns > 0; turns--)); do
        grep -q '^ready ' "$log" 2>/dev/null && return
        lives "$pid" || fail_with_log "$pid" "ended before it was ready"
        sleep 0.05
    done
    fail_with_log "$pid" "is not ready after $seconds s"
}

fail_with_log() {
    problem "${child_name[$1]} $2; the end of ${child_log[$1]}:"
    tail -n 15 "${child_log[$1]}" >&2
    exit 1
}

# --- Is all of it served? ---------------------------------------------------------------------

probe_pools() { each_pool probe; say "every pool with a public route answers through the edge"; }

probe() {
    local pool=$1 first=$3 path=$6 turns
    for ((turns = READY_SECONDS * 4; turns > 0; turns--)); do
        lives "$edge_pid" || fail_with_log "$edge_pid" "ended"
        case $path in
            grpc) probe_grpc ;;
            private) probe_http "$pool" "http://127.0.0.1:$first/" ;;
            *) probe_http "$pool" "https://localhost:$HTTPS_PORT$path" ;;
        esac && return
        sleep 0.25
    done
    problem "no worker of $pool answered through the edge at $path in $READY_SECONDS s; last answer: ${answer:-none}"
    fail_with_log "$edge_pid" "does not serve $pool"
}

# Whatever a service answers to a plain GET, the answer names its worker.
probe_http() {
    answer=$(curl -sS --max-time 5 -o /dev/null -D - --cacert certs/ca.pem "$2" 2>&1) &&
        grep -qi "^x-worker: $1:" <<<"$answer"
}

# grpc.health.v1.Health/Check: an empty message there, SERVING (field 1 = 1) back.
probe_grpc() {
    answer=$(printf '\0\0\0\0\0' | curl -sS --max-time 5 --http2 --cacert certs/ca.pem \
        -H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- \
        "https://localhost:$GRPC_PORT/grpc.health.v1.Health/Check" 2>&1 | od -An -tx1 | tr -d ' \n')
    [[ $answer == 00000000020801 ]]
}

# --- Telling ----------------------------------------------------------------------------------

# Sees the caller's `bin`.
print_tables() {
    local web="https://localhost:$HTTPS_PORT" data schema
    # Whatever stands in a path, the lines can be copied.
    printf -v data %q "$DATA"
    printf -v schema %q "$bin/schema"
    [[ $HTTPS_PORT != 443 ]] || web=https://localhost
    printf '\n  %-22s %-14s %-9s %s\n' POOL RANGE WORKERS 'AT THE EDGE'
    each_pool print_pool
    printf '\n  %-22s %s\n' LISTENER ADDRESS
    printf '  %-22s %s\n' 'HTTP' "http://localhost:$HTTP_PORT" 'HTTPS' "https://localhost:$HTTPS_PORT" \
        'gRPC (TLS)' "localhost:$GRPC_PORT" 'admin' "http://127.0.0.1:$admin_port/status"
    cat <<TXT

  Try:
    a browser that trusts certs/ca.pem: $web/      (admin@localhost, password $password)
    curl --cacert certs/ca.pem $web/api/v2/login -H 'Content-Type: application/json' \\
        -d '{"email": "admin@localhost", "password": "$password"}'      (an access key for the API is in $data/api-key)
    tests/clients/agent.py localhost:$HTTPS_PORT certs/ca.pem      (a computer that registers: accept it on the page)
    curl --cacert certs/ca.pem $web/ping -d insecure_id=1
    curl --cacert certs/ca.pem $web/api/v2/openapi.json
    curl --cacert certs/ca.pem $web/repository/standalone/ubuntu/dists/noble-staging/InRelease
    $schema --config $data/services.conf pocket standalone/ubuntu/noble/staging --key YOUR.asc      (then dput; see docs/services.md)
    curl http://127.0.0.1:$admin_port/metrics
    curl http://127.0.0.1:$admin_port/status      (the pools, and whether PostgreSQL, RabbitMQ and the Vault are there)
    .venv/bin/python tests/clients/hostagent.py localhost:$GRPC_PORT certs/ca.pem      (after  make setup-test: a WSL host; accept it, then give it orders)
    kill ${worker_pids[2]-PID}      (${child_name[${worker_pids[2]-none}]-a worker}; the pool goes on without it)
    kill -INT ${server_pid[postgres]}      (PostgreSQL; the services stay up. ${server_pid[rabbitmq]} is RabbitMQ, ${server_pid[vault]} the Vault; $(restarts))

  Logs: $LOGS   Stop: Ctrl-C

TXT
}

restarts() {
    if [[ $RESTART == off ]]; then
        echo 'how to start it again is told'
    else
        echo "each is started again after $RESTART s"
    fi
}

print_pool() {
    local pool=$1 first=$3 last=$4 count=$5 path=$6 range=$3
    (( first == last )) || range=$first-$last
    case $path in
        grpc) path="gRPC on port $GRPC_PORT" ;;
        private) path='no public route' ;;
    esac
    printf '  %-22s %-14s %-9s %s\n' "$pool" "$range" "$count" "$path"
}

# --- Watching and stopping --------------------------------------------------------------------

# By looking: of several that end at once `wait -n` may tell one alone. And without a `sleep` between two looks: bash may
# wait for ever for a process whose number it has seen before, and so many use up all numbers within some hours.
watch_children() {
    local pid status
    while :; do
        for pid in "${!child_name[@]}"; do
            ! lives "$pid" || continue
            status=0
            # The shell's own remark about a killed child goes nowhere: it is told below.
            wait "$pid" 2>/dev/null || status=$?
            child_ended "$pid" "$status"
        done
        # A signal interrupts it at once.
        read -rt 0.5 -u "$never" || true
    done
}

child_ended() {
    local died=$1 status=$2 name=${child_name[$1]}
    [[ $name != edge ]] || fail_with_log "$died" "ended by itself (status $status)"
    unset "child_name[$died]" "child_log[$died]"
    case $name in
        postgres | rabbitmq | vault) server_ended "$name" "$died" "$status" ;;
        'pause '*) server_again "${name#* }" ;;
        'look '*) (( status )) || say "$(title "${name#* }") is back" ;;
        *) worker_ended "$name" "$died" "$status" ;;
    esac
}

worker_ended() {
    local pid left=0
    for pid in "${worker_pids[@]}"; do
        [[ -z ${child_name[$pid]-} ]] || left=$((left + 1))
    done
    say "$1 (process $2) ended (status $3); $left workers left"
    (( left > 0 )) || die "no worker is left"
}

# The services go on without it, and find it again by themselves.
server_ended() {
    local name=$1
    local -a command
    server_pid[$name]=
    say "$(title "$name") (process $2) ended (status $3): the services stay up; its log is $LOGS/$name.err.log"
    if [[ $RESTART == off ]]; then
        server_command "$name"
        say "start it again with  $(printf '%q ' "${command[@]}")"
        return
    fi
    say "it is started again in $RESTART s"
    sleep "$RESTART" {data_lock}>&- {logs_lock}>&- {never}>&- &
    child_name[$!]="pause $name"
}

# Beside us, a look whether it is there. It may end again: a database that was killed may still hold what it needs.
# Or it lives and does not answer; that is told once, and looked for further on.
server_again() {
    local name=$1 pid end told=
    start_server "$name"
    pid=${server_pid[$name]}
    say "$(title "$name") is started again (process $pid)"
    end=$((SECONDS + READY_SECONDS))
    (
        while lives "$pid"; do
            ! is_there "$name" || exit 0
            if [[ -z $told ]] && (( SECONDS >= end )); then
                say "$(title "$name") (process $pid) lives, but is not there after $READY_SECONDS s: its log is $LOGS/$name.err.log; to have it started anew  kill -KILL $pid"
                told=1
            fi
            sleep 0.2
        done
        exit 1
    ) {data_lock}>&- {logs_lock}>&- {never}>&- &
    child_name[$!]="look $name"
}

# Living, and still a child of ours: a process id that the kernel has given to somebody else is not.
# From `stat`, for that is one line. Of `status`, read line by line, the kernel makes the text anew for each: as "sleeping"
# becomes "running" the lines behind it move, and a busy process is taken for dead.
lives() {
    local line=
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || true
    # Behind the name, which may hold anything: the state and the parent.
    [[ ${line##*) } == [^ZX]" $$ "* ]]
}

stop_all() {
    local status=$?
    # From here on nothing may end this script early: a Ctrl-C ends its `sleep` with an error.
    set +e
    trap - EXIT
    trap 'problem "ending at once"; end_at_once "${!child_name[@]}"' INT TERM HUP
    # The edge first: it finishes what is in flight while the workers still answer.
    if [[ -n $edge_pid ]]; then
        stop_group "$EDGE_STOP_SECONDS" "$edge_pid"
        unset "child_name[$edge_pid]"
    fi
    # Database, broker and Vault last: workers write down what they still know.
    local pid
    local -a servers=() others=()
    for pid in "${!child_name[@]}"; do
        case ${child_name[$pid]} in
            postgres | rabbitmq | vault) servers+=("$pid") ;;
            *) others+=("$pid") ;;
        esac
    done
    stop_group "$WORKER_STOP_SECONDS" "${others[@]}"
    stop_group "$WORKER_STOP_SECONDS" "${servers[@]}"
    give_ports_back
    say "everything started here is stopped"
    exit "$status"
}

stop_group() {
    local turns pid signal
    local -a left=("${@:2}")
    for pid in "${left[@]}"; do
        signal=TERM
        # At TERM it would wait for whoever is still connected.
        [[ ${child_name[$pid]-} != postgres ]] || signal=INT
        if lives "$pid"; then kill -"$signal" "$pid" 2>/dev/null || true; fi
    done
    for ((turns = $1 * 20; turns > 0; turns--)); do
        any_lives "${left[@]}" || return 0
        (( turns != ($1 - 2) * 20 )) || say "waiting for what is in flight (Ctrl-C again: at once)"
        sleep 0.05
    done
    end_at_once "${left[@]}"
}

any_lives() {
    local pid
    for pid in "$@"; do
        if lives "$pid"; then return 0; fi
    done
    return 1
}

end_at_once() {
    local pid
    # The shell would remark on each killed child; this is the end, and all is said on standard output.
    exec 2>/dev/null
    for pid in "$@"; do
        if lives "$pid"; then kill -KILL "$pid" 2>/dev/null || true; fi
    done
}

main
