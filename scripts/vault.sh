#!/usr/bin/env bash
# Runs a Vault of the project's own, in the foreground, until it is told to stop.
#
#   scripts/vault.sh DIRECTORY PORT
#
# It is whichever of `vault`, `bao` and `rvault` is in the PATH, or the `rvault` that scripts/setup.sh has built. The
# directory is made at first use, one with other files in it is refused, and it holds all of it: the data, the key that
# unseals it, the root's token, and, for the services, `url`, `role-id`, `secret-id` and `kv` (the version of the engine of
# keys and values, mounted as `services`). These files have mode 0600, and `url` is written last, when the Vault is unsealed
# and ready. One key unseals it and lies beside it: that is for tests and demos. Only 127.0.0.1 is listened on. When whoever
# started this dies, it stops.
set -euo pipefail

die() { printf 'vault: %s\n' "$*" >&2; exit 1; }

(( $# == 2 )) || die 'usage: scripts/vault.sh DIRECTORY PORT'
dir=$1 port=$2
tools=${TOOLS:-$(cd "$(dirname "$0")/.." && pwd)/.tools}

program=
for name in vault bao rvault "$tools/bin/rvault"; do
    program=$(command -v "$name") && break
done
[[ -n $program ]] || die 'there is no vault, bao or rvault: run  scripts/setup.sh'
kind=$(basename "$program")

umask 077
mkdir -p "$dir"
dir=$(cd "$dir" && pwd -P)
# The configuration is what a first start writes first. Whoever else has something there is not to lose it.
there=$(ls -A "$dir")
[[ -z $there || -s $dir/unseal-key ]] || grep -qs '^storage "file" { path = "/.*/data" }$' "$dir/config.hcl" ||
    die "$dir is not empty, and no Vault of ours is there: choose another directory, or remove what is in it"
rm -f "$dir/url"
api=http://127.0.0.1:$port/v1
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

write_config() {
    # A start that finds no room leaves the one of before.
    cat >"$dir/config.new" <<TXT
storage "file" { path = "$dir/data" }
listener "tcp" {
  address = "127.0.0.1:$port"
  tls_disable = "true"
}
api_addr = "http://127.0.0.1:$port"
log_level = "warn"
TXT
    case $kind in
        rvault) printf 'work_dir = "%s"\n' "$dir" >>"$dir/config.new" ;;
        # Without a cluster nothing listens on the next port.
        *) printf 'disable_mlock = true\ndisable_clustering = true\n' >>"$dir/config.new" ;;
    esac
    mv "$dir/config.new" "$dir/config.hcl"
}

# Asks as the root: method, path, JSON.
ask() {
    curl -sS --max-time 10 -X "$1" -H "X-Vault-Token: $(cat "$dir/root-token" 2>/dev/null)" \
        -H 'Content-Type: application/json' ${3:+-d "$3"} -w '\n%{http_code}\n' "$api/$2" >"$dir/answer" || return 1
    local status
    status=$(tail -n 1 "$dir/answer")
    sed -i '$d' "$dir/answer"
    [[ $status == 2* ]] || { printf 'vault: %s %s: %s %s\n' "$1" "$2" "$status" "$(cat "$dir/answer")" >&2; return 1; }
}

# The text of a field in the last answer.
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p" "$dir/answer" | head -n 1; }

unclear() { printf 'vault: the answer %s is not understood\n' "$*" >&2; return 1; }

begin_anew() { printf 'vault: %s: remove %s to begin anew\n' "$1" "$dir" >&2; return 1; }

# Whether a list of what is mounted (`sys/mounts`, `sys/auth`) has this.
mounted() { ask GET "sys/$1" && grep -q "\"$2/\":" "$dir/answer"; }

# Beside the server: waits for it, makes it what the services need, and says so. Each step says by itself that it failed:
# `set -e` does not hold where the whole is asked whether it did. A key that is there is never written over. Whoever stops us
# may do so after any step; the next start goes on from there, as `secret-id` is the last to be written.
prepare() {
    local turns version
    for ((turns = 300; turns > 0; turns--)); do
        kill -0 $$ 2>/dev/null || exit 1
        curl -s --max-time 2 -o /dev/null "$api/sys/init" && break
        sleep 0.1
    done
    ask GET sys/init || return 1
    if grep -q '"initialized":false' "$dir/answer"; then
        [[ ! -s $dir/unseal-key ]] || begin_anew "$dir/unseal-key is that of another Vault" || return 1
        ask PUT sys/init '{"secret_shares":1,"secret_threshold":1}' || return 1
        sed -n 's/.*"keys":\["\([^"]*\)".*/\1/p' "$dir/answer" >"$dir/unseal-key"
        field root_token >"$dir/root-token"
        [[ -s $dir/unseal-key && -s $dir/root-token ]] || unclear 'to init' || return 1
    elif [[ ! -s $dir/unseal-key || ( ! -s $dir/root-token && ! -s $dir/secret-id ) ]]; then
        # A Vault tells them once. The token is for the preparation alone.
        begin_anew "key or token are not there, as where the first start was cut off, so that nobody can open it" || return 1
    fi
    ask PUT sys/unseal "{\"key\":\"$(<"$dir/unseal-key")\"}" || return 1
    # A server that was just unsealed may still be setting itself up.
    for ((turns = 50; turns > 0; turns--)); do
        ask GET sys/mounts 2>/dev/null && break
        sleep 0.1
    done
    if [[ ! -s $dir/secret-id ]]; then
        version=2
        [[ $kind != rvault ]] || version=1
        mounted mounts services ||
            ask POST sys/mounts/services "{\"type\":\"kv\",\"options\":{\"version\":\"$version\"}}" || return 1
        mounted auth approle || ask POST sys/auth/approle '{"type":"approle"}' || return 1
        # A server that knows no policies lets a token do all.
        ask PUT sys/policy/services \
            '{"policy":"path \"services/*\" { capabilities = [\"create\",\"read\",\"update\",\"delete\"] }"}' 2>/dev/null ||
            [[ $kind == rvault ]] || return 1
        ask POST auth/approle/role/services '{"token_policies":"services","token_ttl":"1h","token_max_ttl":"24h"}' || return 1
        ask GET auth/approle/role/services/role-id || return 1
        field role_id >"$dir/role-id"
        printf '%s\n' "$version" >"$dir/kv"
        ask POST auth/approle/role/services/secret-id '{}' || return 1
        field secret_id >"$dir/secret-id"
        [[ -s $dir/role-id && -s $dir/secret-id ]] || unclear 'about the role' || return 1
    fi
    rm -f "$dir/answer"
    printf 'http://127.0.0.1:%s\n' "$port" >"$dir/url.new"
    mv "$dir/url.new" "$dir/url"
}

write_config
mkdir -p "$dir/data"
# The server takes the place of this script, so that it has its process id.
{ prepare || { printf 'vault: it could not be prepared\n' >&2; kill -TERM $$; }; } </dev/null &
exec setpriv --pdeathsig TERM "$program" server --config="$dir/config.hcl" </dev/null
