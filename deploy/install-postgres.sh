#!/bin/sh
# Installs a PostgreSQL server by the system's package manager, unless there is one already.
# Only the programs are wanted: `sheaf up` runs servers of its own, in its own data directory.
set -eu

oldest=15

major() {
    "$1" --version 2>/dev/null | sed -E 's/^[^0-9]*([0-9]+).*/\1/'
}

installed() {
    bindir=$(pg_config --bindir 2>/dev/null || true)
    for dir in $(echo "$PATH" | tr ':' ' ') "$bindir" /usr/lib/postgresql/*/bin /usr/libexec/postgresql* \
        /usr/pgsql-*/bin /opt/homebrew/opt/postgresql@*/bin /usr/local/opt/postgresql@*/bin; do
        [ -x "$dir/postgres" ] && [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ] || continue
        [ "$(major "$dir/postgres")" -ge "$oldest" ] 2>/dev/null && return 0
    done
    return 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "installing PostgreSQL needs root: run as root, install sudo, or install PostgreSQL $oldest or newer by hand" >&2
        exit 1
    fi
}

# Debian and Ubuntu would make and start a server of their own; that one is not wanted.
apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql-common
    conf=/etc/postgresql-common/createcluster.conf
    [ ! -e "$conf" ] || as_root sed -i -E 's/^#?create_main_cluster .*/create_main_cluster = false/' "$conf"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends postgresql
}

if installed; then
    exit 0
fi
echo "PostgreSQL $oldest or newer is not installed; installing it" >&2
if command -v apt-get >/dev/null; then
    apt_install
elif command -v dnf >/dev/null; then
    as_root dnf install -y postgresql-server postgresql-contrib
elif command -v apk >/dev/null; then
    as_root apk add --no-cache postgresql postgresql-contrib
elif command -v brew >/dev/null; then
    # brew refuses root, and needs none.
    brew install postgresql@17
else
    echo "no apt-get, dnf, apk or brew here: install PostgreSQL $oldest or newer by hand" >&2
    exit 1
fi
if ! installed; then
    echo "the package manager's PostgreSQL is older than $oldest: install a newer one from the PostgreSQL project's own packages" >&2
    exit 1
fi
