#!/bin/sh
# garage.sh COMMAND...: runs a command whose tests use Garage (https://garagehq.deuxfleurs.fr) as their S3: one node in a
# directory of its own, with a bucket and a key, gone afterwards. Needs `garage` 2 on PATH (`cargo install garage --locked`);
# ports are GARAGE_PORT (3900) and the next. `make garage` runs the archive's suite so, inside of with-cluster.
set -eu
port=${GARAGE_PORT:-3900}
random() { od -An -v -tx1 -N"$1" /dev/urandom | tr -d ' \n'; }
data=$(mktemp -d)
cat >"$data/garage.toml" <<END
metadata_dir = "$data/meta"
data_dir = "$data/data"
db_engine = "lmdb"
replication_factor = 1
rpc_bind_addr = "127.0.0.1:$((port + 1))"
rpc_public_addr = "127.0.0.1:$((port + 1))"
rpc_secret = "$(random 32)"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:$port"
END
chmod 600 "$data/garage.toml"
AWS_ACCESS_KEY_ID=GK$(random 12)
AWS_SECRET_ACCESS_KEY=$(random 32)
export AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY
GARAGE_DEFAULT_ACCESS_KEY=$AWS_ACCESS_KEY_ID GARAGE_DEFAULT_SECRET_KEY=$AWS_SECRET_ACCESS_KEY GARAGE_DEFAULT_BUCKET=sheaf \
    garage -c "$data/garage.toml" server --single-node --default-bucket >"$data/log" 2>&1 &
garage=$!
trap 'kill $garage 2>/dev/null || true; wait $garage 2>/dev/null || true; rm -rf "$data"' EXIT
trap 'exit 130' INT TERM
for _ in $(seq 100); do
    kill -0 $garage 2>/dev/null || { cat "$data/log"; exit 1; }
    garage -c "$data/garage.toml" bucket info sheaf >/dev/null 2>&1 && break
    sleep 0.3
done
export SHEAF_TEST_S3_ENDPOINT="http://127.0.0.1:$port" SHEAF_TEST_S3_BUCKET=sheaf SHEAF_TEST_S3_REGION=garage
"$@"
