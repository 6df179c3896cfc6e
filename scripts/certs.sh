#!/usr/bin/env bash
# Makes a throw-away certificate authority and one certificate for this machine, in certs/:
#
#   certs/ca.pem     the authority's certificate: give it to clients (curl --cacert)
#   certs/edge.pem   the edge's certificate and its key in one file, mode 0600
#
# The authority's key is never written to disk, so it can sign nothing else. Files that are valid
# for another seven days are left alone. Nothing made here may be committed (.gitignore says so).
set -euo pipefail
cd "$(dirname "$0")/.."

readonly dir=certs days=90 names='DNS:localhost,DNS:*.localhost,IP:127.0.0.1,IP:::1'
readonly week=$((7 * 24 * 3600))

still_good() {
    local file
    for file in ca.pem edge.pem; do
        openssl x509 -in "$dir/$file" -noout -checkend "$week" >/dev/null 2>&1 || return 1
    done
    openssl verify -CAfile "$dir/ca.pem" "$dir/edge.pem" >/dev/null 2>&1 || return 1
    openssl pkey -in "$dir/edge.pem" -noout >/dev/null 2>&1
}

new_key() { openssl ecparam -name prime256v1 -genkey -noout; }

if still_good; then
    echo "certs: $dir/ca.pem and $dir/edge.pem are still good"
    exit 0
fi

umask 077
mkdir -p "$dir"
work=$(mktemp -d "$dir/.new.XXXXXX")
trap 'rm -rf "$work"' EXIT

new_key >"$work/ca.key"
openssl req -x509 -new -key "$work/ca.key" -sha256 -days "$days" -out "$work/ca.pem" \
    -subj '/CN=Portcullis throw-away CA' \
    -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' \
    -addext 'keyUsage=critical,keyCertSign,cRLSign' 2>/dev/null

new_key >"$work/edge.key"
openssl req -new -key "$work/edge.key" -subj '/CN=localhost' -out "$work/edge.csr"
openssl x509 -req -in "$work/edge.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -sha256 \
    -days "$days" -set_serial "0x$(openssl rand -hex 16 | sed 's/^./1/')" -out "$work/leaf.pem" \
    -extfile <(printf '%s\n' "subjectAltName=$names" 'basicConstraints=critical,CA:FALSE' \
        'keyUsage=critical,digitalSignature' 'extendedKeyUsage=serverAuth' \
        'subjectKeyIdentifier=hash' 'authorityKeyIdentifier=keyid') 2>/dev/null

openssl verify -CAfile "$work/ca.pem" "$work/leaf.pem" >/dev/null
cat "$work/leaf.pem" "$work/edge.key" >"$work/edge.pem"
# Renamed into place, so that nobody ever reads half a file.
chmod 0644 "$work/ca.pem"
mv "$work/ca.pem" "$work/edge.pem" "$dir/"
echo "certs: made $dir/ca.pem and $dir/edge.pem, valid for $days days: $names"
