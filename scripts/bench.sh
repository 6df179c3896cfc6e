#!/usr/bin/env bash
# Compares the release build with other proxies; `make bench` builds first. Arguments go to `loadtest bench`.
#
# Installs from Debian what is missing of HAProxy, nginx, Apache and Caddy, without starting it as a service.
# Somebody else than root is told what to install; what is not there is left out of the comparison.
# HAPROXY_BIN, NGINX_BIN, APACHE_BIN and CADDY_BIN name other builds.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'bench: %s\n' "$*"; }
there() { [[ -x $1 ]]; }

missing=()
there "${HAPROXY_BIN:-/usr/sbin/haproxy}" || missing+=(haproxy)
there "${NGINX_BIN:-/usr/sbin/nginx}" || missing+=(nginx)
there "${APACHE_BIN:-/usr/sbin/apache2}" || missing+=(apache2-bin)
there "${CADDY_BIN:-/usr/bin/caddy}" || missing+=(caddy)

policy=/usr/sbin/policy-rc.d
install_missing() {
    if ! command -v apt-get >/dev/null || (( EUID != 0 )); then
        say "not installed, so left out: ${missing[*]} (as root: apt-get install ${missing[*]})"
        return
    fi
    say "installing ${missing[*]}"
    # Debian asks this file whether a service may be started (policy-rc.d(8)).
    if [[ ! -e $policy ]]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 0755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 && return
    # The lists were missing or too old.
    apt-get update -q >/dev/null
    apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null
}

(( ! ${#missing[@]} )) || install_missing
for tool in taskset setpriv; do
    command -v "$tool" >/dev/null || { say "$tool is missing (Debian: util-linux)"; exit 1; }
done

bin=${CARGO_TARGET_DIR:-target}/release
export PORTCULLIS_BIN=${PORTCULLIS_BIN:-$bin/portcullis}
"$bin/loadtest" bench --form "${FORM:-quick}" "$@"
