#!/bin/bash
# Runs the jobs that a scheduler is for (docs/operations.md, "Care of the archive"), one after the other, each so often as its
# variable says, in seconds: TIER_EVERY, ERASE_EVERY, GC_EVERY, COMPACT_EVERY, VERIFY_EVERY; 0 for never. When each succeeded last is
# kept in STATE_DIR, so that a restart repeats nothing. A job that fails is tried again after RETRY_AFTER; its lock in the database
# makes a second scheduler harmless.
#   scheduler.sh          until it is stopped
#   scheduler.sh --once   what is due now; exits with 1 when a job failed
set -u
state=${STATE_DIR:-/var/lib/sheaf-scheduler}
retry=${RETRY_AFTER:-900}
grace=${GC_GRACE:-24h}
day=86400 month=2592000
child=
stopping=

stop() {
    stopping=1
    [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap stop TERM INT

# In the background, so that a signal reaches us while the job runs.
run() {
    "$@" &
    child=$!
    wait "$child"
    local code=$?
    # A signal ends the first wait, not the job.
    while kill -0 "$child" 2>/dev/null; do
        wait "$child"
        code=$?
    done
    child=
    return "$code"
}

# How long ago the file was touched; for ever, if it was not.
age() {
    local at
    at=$(stat -c %Y "$1" 2>/dev/null) || at=0
    echo $(($(date +%s) - at))
}

# job NAME EVERY COMMAND...
job() {
    local name=$1 every=$2
    shift 2
    [ -z "$stopping" ] && [ "$every" -gt 0 ] || return 0
    [ "$(age "$state/$name.done")" -ge "$every" ] || return 0
    [ "$(age "$state/$name.failed")" -ge "$retry" ] || return 0
    echo "scheduler: $name begins" >&2
    if run "$@"; then
        rm -f "$state/$name.failed"
        touch "$state/$name.done"
        echo "scheduler: $name is done" >&2
    elif [ -z "$stopping" ]; then
        touch "$state/$name.failed"
        echo "scheduler: $name failed; it is tried again in $retry s" >&2
        failed=1
    fi
}

# Erasures before gc, and with gc's grace: their receipts say by it when the last copies go.
due() {
    failed=
    job tier "${TIER_EVERY:-$day}" sheaf tier run
    job compact "${COMPACT_EVERY:-$month}" sheaf archive compact
    job erase "${ERASE_EVERY:-$day}" sheaf archive erase --grace "$grace"
    job gc "${GC_EVERY:-$day}" sheaf archive gc --grace "$grace"
    job verify "${VERIFY_EVERY:-$month}" sheaf archive verify --rate "${VERIFY_RATE:-50MiB}"
}

if [ "${1:-}" = --once ]; then
    due
    [ -z "$failed" ]
    exit
fi
while [ -z "$stopping" ]; do
    due
    [ -n "$stopping" ] || run sleep 60
done
