#!/usr/bin/env bash
# What must be on the machine? Installs what is missing and nothing else.
#
#   scripts/setup.sh          what `make demo` needs: PostgreSQL, RabbitMQ and a Vault among it, of which the project runs
#                             instances of its own; no cluster or node of the machine's is made, started or touched
#   scripts/setup.sh test     also what `make test` needs: a browser, dput and GnuPG, a Python environment in .venv/
#
# Debian is asked for packages only when something is missing, and only as root; anybody else is
# told what to install. Running it again costs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# Pairs of "proof that it is there" and "Debian package".
missing_packages() {
    local for_what=$1
    has cc && has c++ && has make || echo build-essential
    has cmake || echo cmake
    has curl || echo curl
    has openssl || echo openssl
    [[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
    has python3 || echo python3
    has ss && has ip || echo iproute2
    has ps && has sysctl || echo procps
    has setpriv && has setsid || echo util-linux
    has psql && has_postgres || echo postgresql
    has rabbitmq-server || echo rabbitmq-server
    # A Vault that must be built links the system's OpenSSL.
    has_vault || { [[ -e /usr/include/openssl/ssl.h ]] || echo libssl-dev; has pkg-config || echo pkg-config; }
    [[ $for_what == test ]] || return 0
    find_python >/dev/null || echo python3-venv
    has chromium || has chromium-browser || has google-chrome || echo chromium
    has certutil || echo libnss3-tools
    has dput || echo dput
    has gpg && has gpgconf && has gpgv || echo gnupg
    has dpkg-deb || echo dpkg
    fc-list 2>/dev/null | grep -q . || echo fonts-dejavu-core
}

# Any of these will do; the last one is built once, into .tools/, which takes some minutes.
has_vault() {
    has vault || has bao || has rvault || [[ -x .tools/bin/rvault ]]
}

build_vault() {
    has_vault && return
    say 'building a Vault (rvault) into .tools/: some minutes, once'
    cargo install rusty_vault --version 0.2.1 --locked --quiet --root .tools --target-dir .tools/build
    rm -rf .tools/build
}

has_postgres() {
    has initdb && has postgres || [[ -n $(find /usr/lib/postgresql -maxdepth 3 -name initdb 2>/dev/null) ]]
}

# A Python of at least 3.9 that can make an environment with pip in it.
find_python() {
    local python
    for python in python3 /usr/bin/python3; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            echo "$python"
            return
        fi
    done
    return 1
}

install_packages() {
    local packages
    mapfile -t packages < <(missing_packages "$1")
    (( ${#packages[@]} )) || return 0
    has apt-get || die "missing: ${packages[*]} (this is not Debian: install their like)"
    (( EUID == 0 )) || die "missing: as root run  apt-get install ${packages[*]}"
    say "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    trap clean_up EXIT
    [[ " ${packages[*]} " != *" postgresql "* ]] || without_main_cluster
    [[ " ${packages[*]} " != *" rabbitmq-server "* ]] || without_services
    apt-get install -y --no-install-recommends "${packages[@]}" >/dev/null 2>&1 && return
    # The lists were missing or too old.
    apt-get update -q >/dev/null
    apt-get install -y --no-install-recommends "${packages[@]}" >/dev/null
}

# Debian makes and starts a cluster with its first PostgreSQL, unless it is told not to. It is told for this run alone.
without_main_cluster() {
    local dir=/etc/postgresql-common/createcluster.d
    mkdir -p "$dir"
    echo 'create_main_cluster = false' >"$dir/portcullis-setup.conf"
}

# Debian starts a service when its package is installed, unless this file says no (policy-rc.d(8)).
without_services() {
    [[ ! -e /usr/sbin/policy-rc.d ]] || return 0
    made_policy=1
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 0755 /usr/sbin/policy-rc.d
}

clean_up() {
    rm -f /etc/postgresql-common/createcluster.d/portcullis-setup.conf
    [[ -z ${made_policy-} ]] || rm -f /usr/sbin/policy-rc.d
}

# Rebuilt only when the pinned versions change.
make_venv() {
    local wanted=tests/clients/requirements.txt stamp=.venv/requirements.txt
    if cmp -s "$wanted" "$stamp" && .venv/bin/python -c 'import websockets, grpc' 2>/dev/null; then
        return
    fi
    say "making .venv with the Python clients"
    rm -rf .venv
    "$(find_python)" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$wanted"
    cp "$wanted" "$stamp"
}

for_what=${1:-demo}
install_packages "$for_what"
has cargo || die "cargo is not in PATH: install the Rust toolchain (1.95 or later) first"
build_vault
if [[ $for_what == test ]]; then
    make_venv
fi
say "all there"
