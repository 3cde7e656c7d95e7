#!/bin/sh
# Makes the secrets of compose.yaml, once; what is there already stays. Each is a file that its service alone gets to see.
#   deploy/compose/make-secrets.sh [DIRECTORY]     (deploy/secrets by default)
set -eu
dir=${1:-$(dirname "$0")/../secrets}
# The directory is closed to other users of this machine. The files are not: containers read them as users of their own.
umask 077
mkdir -p "$dir"
umask 022

# random BYTES: in hexadecimal, which needs no escaping in a URL.
random() {
    od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'
}
# keep NAME VALUE
keep() {
    [ -e "$dir/$1" ] || printf '%s' "$2" > "$dir/$1"
}

keep postgres_password "$(random 24)"
keep api_password "$(random 24)"
keep admin_key "$(random 32)"
keep grafana_password "$(random 16)"
keep s3_access_key "GK$(random 12)"
keep s3_secret_key "$(random 32)"
# Made of the above, each time. Nodes encrypt with certificates that they made themselves (docs/deploy.md, TLS).
printf 'postgres://sheaf:%s@coordinator:5432/sheaf?sslmode=require' "$(cat "$dir/postgres_password")" > "$dir/database_url"
printf 'postgres://sheaf_app:%s@coordinator:5432/sheaf?sslmode=require' "$(cat "$dir/api_password")" > "$dir/api_database_url"
# Garage takes these from its environment only.
[ -e "$dir/s3.env" ] || cat > "$dir/s3.env" <<END
GARAGE_RPC_SECRET=$(random 32)
GARAGE_DEFAULT_ACCESS_KEY=$(cat "$dir/s3_access_key")
GARAGE_DEFAULT_SECRET_KEY=$(cat "$dir/s3_secret_key")
END
echo "secrets are in $dir; the admin key of the API is in $dir/admin_key, Grafana's password in $dir/grafana_password"
