#!/usr/bin/env bash
# Keeps ports out of those that the kernel hands to outgoing connections, for as long as somebody needs them.
#
#   scripts/reserved-ports.sh take PROCESS RANGES   reserves them for this process, such as 8070-9100,50052
#   scripts/reserved-ports.sh give PROCESS          ends what it had reserved and no other process has
#
# Several may have ranges that overlap, and end in any order. What was reserved before the first of them stays, and so
# does what anybody else reserves meanwhile. A process that was killed is forgotten when the next one comes or goes.
# Where the list may not be written, `take` fails unless all of it is reserved already. See deploy/sysctl.d/60-portcullis.conf.
set -euo pipefail

readonly LIST=${RESERVED_PORTS:-/proc/sys/net/ipv4/ip_local_reserved_ports}
# What the kernel does not remember: `before`, what was there before us, `last`, what we wrote last, and a line for each process.
readonly STATE=${RESERVED_PORTS_STATE:-/run/portcullis-reserved-ports}

die() { printf 'reserved-ports: %s\n' "$*" >&2; exit 1; }

(( $# >= 2 )) || die 'usage: scripts/reserved-ports.sh take PROCESS RANGES | give PROCESS'
[[ $2 =~ ^[1-9][0-9]*$ ]] || die "$2 is not the number of a process"

# The ports of the first list that are not in the second, in order and joined, as the kernel writes them.
without() {
    awk -v all="$1" -v but="$2" '
        function mark(list, value,   count, parts, ends, i, port) {
            count = split(list, parts, ",")
            for (i = 1; i <= count; i++) {
                if (parts[i] == "") continue
                if (split(parts[i], ends, "-") < 2) ends[2] = ends[1]
                for (port = ends[1] + 0; port <= ends[2] + 0; port++) has[port] = value
            }
        }
        BEGIN {
            mark(all, 1)
            mark(but, 0)
            first = -1
            for (port = 0; port <= 65536; port++) {
                if ((port in has) && has[port]) {
                    if (first < 0) first = port
                } else if (first >= 0) {
                    out = out (out == "" ? "" : ",") first (first < port - 1 ? "-" (port - 1) : "")
                    first = -1
                }
            }
            print out
        }'
}

# A process by its number and when it began: another one may have the number later.
identity() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name stands in brackets and may hold anything.
    read -ra stat <<<"${stat##*) }"
    echo "$1@${stat[19]}"
}

[[ -e $LIST ]] || exit 0
now=$(<"$LIST")
if [[ ! -w $LIST ]]; then
    [[ $1 == give || -z $(without "${3-}" "$now") ]] || die "may not write $LIST"
    exit 0
fi
exec {lock}>>"$STATE.lock"
flock "$lock"
now=$(<"$LIST")

declare -A ranges=()
before=$now last=$now
if [[ -s $STATE ]]; then
    while read -r who what; do
        case $who in
            before) before=$what ;;
            last) last=$what ;;
            *) ranges[$who]=$what ;;
        esac
    done <"$STATE"
fi
if (( ! ${#ranges[@]} )); then
    before=$now
elif [[ $now != "$last" ]]; then
    # Somebody else wrote. What they added is theirs; where they took something away, all of it is.
    if [[ -z $(without "$last" "$now") ]]; then
        before=$(without "$before,$(without "$now" "$last")" '')
    else
        before=$now
    fi
fi

mine=$(identity "$2") || mine=
for who in "${!ranges[@]}"; do
    [[ $who != "$mine" && $(identity "${who%@*}") == "$who" ]] || unset "ranges[$who]"
done
case $1 in
    take) [[ -n $mine ]] && ranges[$mine]=${3:?the ranges} || die "there is no process $2" ;;
    give) ;;
    *) die "neither take nor give: $1" ;;
esac

wanted=$before
for who in "${!ranges[@]}"; do
    wanted+=,${ranges[$who]}
done
without "$wanted" '' >"$LIST"
{
    printf 'before %s\nlast %s\n' "$before" "$(<"$LIST")"
    for who in "${!ranges[@]}"; do
        printf '%s %s\n' "$who" "${ranges[$who]}"
    done
} >"$STATE.new"
mv "$STATE.new" "$STATE"
