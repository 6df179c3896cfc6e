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
#   DATA=.data       where database, broker and their passwords are kept from one demo to the next
#
# Standard output tells what happens and ends its start with a line that begins with `ready`. The
# children's logs are in .demo/logs. A worker that dies is told and the demo goes on, because that
# is worth seeing, as is the broker's end; when the edge, the database or the last worker dies, everything is stopped and the exit is 1.
# Only processes started here are ever stopped, by their process ids.
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
readonly RESERVED=8070-9100,50052,53354
readonly ADMIN_PORT=9901
readonly LOGS=.demo/logs
readonly READY_SECONDS=60 EDGE_STOP_SECONDS=35 WORKER_STOP_SECONDS=8

export HTTP_PORT=${HTTP_PORT:-80} HTTPS_PORT=${HTTPS_PORT:-443} GRPC_PORT=${GRPC_PORT:-6554}
PROFILE=${PROFILE:-release}
CONFIG=${CONFIG:-routes.yaml}
DATA=${DATA:-.data}

declare -A child_name=() child_log=()   # by process id, living children only
declare -a worker_pids=()
edge_pid=
postgres_pid= postgres_port= rabbitmq_pid= rabbitmq_port= vault_pid= vault_port= password=

say() { printf 'demo: %s\n' "$*"; }
problem() { printf 'demo: %s\n' "$*" >&2; }
die() { problem "$*"; exit 1; }

main() {
    local bin
    bin=$(directory_of_binaries)
    read_settings
    check_files "$bin"
    reserve_ports
    check_ports
    mkdir -p "$LOGS"
    rm -f "$LOGS"/*.log
    trap stop_all EXIT
    trap 'say "stopping"; exit 0' INT TERM HUP
    start_postgres
    start_rabbitmq
    start_vault
    write_settings "$bin"
    start_workers "$bin"
    start_edge "$bin"
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
    for name in HTTP_PORT HTTPS_PORT GRPC_PORT; do
        value=${!name}
        [[ $value =~ ^[1-9][0-9]{0,4}$ ]] && (( value <= 65535 )) || die "$name=$value is not a port"
        each_pool refuse_own_range "$name"
        (( value != ADMIN_PORT )) || die "$name=$value is the port of the edge's admin listener"
    done
    [[ $HTTP_PORT != "$HTTPS_PORT" && $HTTP_PORT != "$GRPC_PORT" && $HTTPS_PORT != "$GRPC_PORT" ]] ||
        die "HTTP_PORT, HTTPS_PORT and GRPC_PORT must be three different ports"
    [[ ${WORKERS:-1} =~ ^[1-9][0-9]{0,2}$ ]] || die "WORKERS=$WORKERS is not a number from 1 to 999"
}

# An edge that listens inside the range of a pool would be taken for one of its workers.
refuse_own_range() {
    local variable=$1 pool=$2 first=$4 last=$5
    if (( ${!variable} >= first && ${!variable} <= last )); then
        die "$variable=${!variable} lies in the range of $pool ($first-$last): choose a port outside 8070-9100 and 50052"
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

# Keeps outgoing connections off the workers' ports; see deploy/sysctl.d/60-portcullis.conf.
reserve_ports() {
    local file=/proc/sys/net/ipv4/ip_local_reserved_ports now
    now=$(cat "$file" 2>/dev/null) || return 0
    # The kernel joins what overlaps, so nothing that stands there is lost.
    if { echo "${now:+$now,}$RESERVED" >"$file"; } 2>/dev/null; then
        return 0
    fi
    [[ ,$now, == *,8070-9100,* ]] ||
        problem "warning: may not reserve the workers' ports ($RESERVED); an outgoing connection may take one"
}

check_ports() {
    local taken=0 unprivileged
    local -A owner=()
    local address process
    while read -r _ _ _ address _ process; do
        owner[${address##*:}]=${process:-"a process of another user"}
    done < <(ss -Hltnp)
    public_port_is_free HTTP_PORT "$HTTP_PORT" || taken=1
    public_port_is_free HTTPS_PORT "$HTTPS_PORT" || taken=1
    public_port_is_free GRPC_PORT "$GRPC_PORT" || taken=1
    (( ! taken )) || problem "choose other ports, for example:  HTTP_PORT=10080 HTTPS_PORT=10443 GRPC_PORT=16554 make demo"
    if [[ -n ${owner[$ADMIN_PORT]-} ]]; then
        problem "port $ADMIN_PORT (admin listener of the edge) is taken by ${owner[$ADMIN_PORT]}: is another edge running?"
        taken=1
    fi
    each_pool worker_ports_are_free
    # A database or a broker of the machine's own may have the usual port.
    for postgres_port in {5432..5499}; do
        [[ -n ${owner[$postgres_port]-} ]] || break
    done
    for rabbitmq_port in {5672..5699}; do
        [[ -n ${owner[$rabbitmq_port]-} ]] || break
    done
    for vault_port in {8200..8299}; do
        [[ -n ${owner[$vault_port]-} ]] || break
    done
    (( ! taken )) || exit 1
    unprivileged=$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start 2>/dev/null || echo 1024)
    if (( EUID != 0 && (HTTP_PORT < unprivileged || HTTPS_PORT < unprivileged || GRPC_PORT < unprivileged) )); then
        problem "warning: ports below $unprivileged need root; if the edge cannot listen, choose others (HTTP_PORT, HTTPS_PORT, GRPC_PORT)"
    fi
}

# These two see the caller's `owner` and `taken`.
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
        problem "the workers' ports are those of the pools in $CONFIG: stop that process first"
        taken=1
    done
}

# --- Starting ---------------------------------------------------------------------------------

# Starts one child: name, log, command. Its process id is in `started`.
#
# A session of its own keeps Ctrl-C from the child, so that the order of stopping is ours; should
# this script be killed outright, the kernel sends the child SIGTERM.
start() {
    local name=$1 log=$2
    shift 2
    setsid setpriv --pdeathsig TERM -- "$@" </dev/null >"$log.out.log" 2>"$log.err.log" &
    started=$!
    child_name[$started]=$name
    child_log[$started]=$log.err.log
}

# A server of our own; what it holds is kept for the next demo.
start_postgres() {
    local turns url
    reach_data
    rm -f "$DATA/postgres/url"
    start postgres "$LOGS/postgres" scripts/postgres.sh "$DATA/postgres" "$postgres_port"
    postgres_pid=$started
    for ((turns = READY_SECONDS * 10; turns > 0; turns--)); do
        lives "$postgres_pid" || fail_with_log "$postgres_pid" "ended before it was ready"
        url=$(cat "$DATA/postgres/url" 2>/dev/null || true)
        if [[ -n $url ]] && psql -X -q -d "$url" -c 'select 1' >/dev/null 2>&1; then
            say "PostgreSQL listens on 127.0.0.1:$postgres_port, its data are in $DATA/postgres"
            return
        fi
        sleep 0.1
    done
    fail_with_log "$postgres_pid" "is not ready after $READY_SECONDS s"
}

# Its place is made ready while the database's is used; workers wait for it, not we.
start_rabbitmq() {
    rm -f "$DATA/rabbitmq/url" "$DATA/rabbitmq/hostagent-url"
    start rabbitmq "$LOGS/rabbitmq" scripts/rabbitmq.sh "$DATA/rabbitmq" "$rabbitmq_port"
    rabbitmq_pid=$started
    local turns
    for ((turns = READY_SECONDS * 10; turns > 0; turns--)); do
        lives "$rabbitmq_pid" || fail_with_log "$rabbitmq_pid" "ended before it was ready"
        if [[ -s $DATA/rabbitmq/hostagent-url ]]; then
            say "RabbitMQ starts on 127.0.0.1:$rabbitmq_port, its data are in $DATA/rabbitmq"
            return
        fi
        sleep 0.1
    done
    fail_with_log "$rabbitmq_pid" "is not ready after $READY_SECONDS s"
}

# One of our own, which keeps the services' secrets; also kept for the next demo.
start_vault() {
    local turns
    rm -f "$DATA/vault/url"
    start vault "$LOGS/vault" scripts/vault.sh "$DATA/vault" "$vault_port"
    vault_pid=$started
    for ((turns = READY_SECONDS * 10; turns > 0; turns--)); do
        lives "$vault_pid" || fail_with_log "$vault_pid" "ended before it was ready"
        if [[ -s $DATA/vault/url ]]; then
            say "the Vault listens on 127.0.0.1:$vault_port, its data are in $DATA/vault"
            return
        fi
        sleep 0.1
    done
    fail_with_log "$vault_pid" "is not ready after $READY_SECONDS s"
}

# Root runs PostgreSQL as the user postgres and RabbitMQ as the user rabbitmq, who may not be able to come here, as below
# /root.
reach_data() {
    mkdir -p "$DATA"
    DATA=$(cd "$DATA" && pwd -P)
    (( EUID == 0 )) || return 0
    setpriv --reuid postgres --regid postgres --init-groups -- test -x "$DATA" 2>/dev/null &&
        setpriv --reuid rabbitmq --regid rabbitmq --init-groups -- test -x "$DATA" 2>/dev/null && return
    DATA=/var/tmp/portcullis-demo-$(cksum <<<"$DATA" | cut -d' ' -f1)
    mkdir -p "$DATA"
    [[ -O $DATA && ! -L $DATA ]] || die "$DATA belongs to somebody else: set DATA to another directory"
    chmod 0711 "$DATA"
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
    if [[ ! -s $DATA/api-key ]]; then
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
    printf '\n[package_search]\nurl = http://127.0.0.1:9099/v1/search\n'
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
    export POSTGRES_ADDRESS=127.0.0.1:$postgres_port RABBITMQ_ADDRESS=127.0.0.1:$rabbitmq_port
    export VAULT_ADDRESS=127.0.0.1:$vault_port
    start edge "$LOGS/edge" "$1/portcullis" run -c "$CONFIG"
    edge_pid=$started
    await_line "$edge_pid" "$READY_SECONDS"
    say "the edge listens: $(grep -m1 '^ready ' "${child_log[$edge_pid]}")"
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

print_tables() {
    local web="https://localhost:$HTTPS_PORT"
    [[ $HTTPS_PORT != 443 ]] || web=https://localhost
    printf '\n  %-22s %-14s %-9s %s\n' POOL RANGE WORKERS 'AT THE EDGE'
    each_pool print_pool
    printf '\n  %-22s %s\n' LISTENER ADDRESS
    printf '  %-22s %s\n' 'HTTP' "http://localhost:$HTTP_PORT" 'HTTPS' "https://localhost:$HTTPS_PORT" \
        'gRPC (TLS)' "localhost:$GRPC_PORT" 'admin' "http://127.0.0.1:$ADMIN_PORT/status"
    cat <<TXT

  Try:
    a browser that trusts certs/ca.pem: $web/      (admin@localhost, password $password)
    curl --cacert certs/ca.pem $web/api/v2/login -H 'Content-Type: application/json' \\
        -d '{"email": "admin@localhost", "password": "$password"}'      (an access key for the API is in $DATA/api-key)
    tests/clients/agent.py localhost:$HTTPS_PORT certs/ca.pem      (a computer that registers: accept it on the page)
    curl --cacert certs/ca.pem $web/ping -d insecure_id=1
    curl --cacert certs/ca.pem $web/api/v2/openapi.json
    curl --cacert certs/ca.pem $web/repository/standalone/ubuntu/dists/noble-staging/InRelease
    schema --config $DATA/services.conf pocket standalone/ubuntu/noble/staging --key YOUR.asc      (then dput; see docs/services.md)
    curl http://127.0.0.1:$ADMIN_PORT/metrics
    curl http://127.0.0.1:$ADMIN_PORT/status      (the pools, and whether PostgreSQL, RabbitMQ and the Vault are there)
    .venv/bin/python tests/clients/hostagent.py localhost:$GRPC_PORT certs/ca.pem      (a WSL host: accept it, then give it orders)
    kill ${worker_pids[2]-PID}      (${child_name[${worker_pids[2]-none}]-a worker}; the pool goes on without it)

  Logs: $LOGS   Stop: Ctrl-C

TXT
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

watch_children() {
    local died status name left others
    while :; do
        status=0
        # The shell's own remark about a killed child goes nowhere: it is told below.
        wait -n -p died "${!child_name[@]}" 2>/dev/null || status=$?
        [[ -n ${died-} ]] || continue
        name=${child_name[$died]}
        if (( died == edge_pid )); then
            fail_with_log "$died" "ended by itself (status $status)"
        fi
        if (( died == postgres_pid )); then
            fail_with_log "$died" "ended by itself (status $status)"
        fi
        unset "child_name[$died]" "child_log[$died]"
        # The services go on without their broker, and without their Vault.
        (( died != vault_pid )) || vault_pid=
        (( died != rabbitmq_pid )) || rabbitmq_pid=
        # All but the edge and the database, the broker and the Vault.
        others=$((2 + (rabbitmq_pid ? 1 : 0) + (vault_pid ? 1 : 0)))
        left=$((${#child_name[@]} - others))
        say "$name (process $died) ended (status $status); $left workers left"
        (( left > 0 )) || die "no worker is left"
    done
}

# Living, and still a child of ours: a process id that the kernel has given to somebody else is not.
lives() {
    local line parent=0
    while read -r line; do
        case $line in
            State:*Z*) return 1 ;;
            PPid:*) parent=${line#PPid:} ;;
        esac
    done 2>/dev/null <"/proc/$1/status"
    # Said in full: inside a trap a bare `return` gives the status from before the trap.
    if (( parent == $$ )); then return 0; else return 1; fi
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
    # Database and broker last: workers write down what they still know.
    if [[ -n $postgres_pid ]]; then
        unset "child_name[$postgres_pid]"
        [[ -z $rabbitmq_pid ]] || unset "child_name[$rabbitmq_pid]"
        stop_group "$WORKER_STOP_SECONDS" "${!child_name[@]}"
        child_name[$postgres_pid]=postgres
        (( ! ${rabbitmq_pid:-0} )) || child_name[$rabbitmq_pid]=rabbitmq
    fi
    stop_group "$WORKER_STOP_SECONDS" "${!child_name[@]}"
    say "everything started here is stopped"
    exit "$status"
}

stop_group() {
    local turns pid
    local -a left=("${@:2}")
    for pid in "${left[@]}"; do
        if lives "$pid"; then kill -TERM "$pid" 2>/dev/null || true; fi
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
