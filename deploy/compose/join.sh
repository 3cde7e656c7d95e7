#!/bin/sh
# Lets workers into the cluster; those that are in it already are left alone, so that it can run at every start.
#   join.sh WORKER...
set -eu
for worker; do
    if said=$(sheaf cluster add-node "$worker" 5432 2>&1); then
        echo "$said"
    else
        case "$said" in
            *'is in the cluster already'*) echo "$worker is in the cluster already" ;;
            *)
                echo "$said" >&2
                exit 1
                ;;
        esac
    fi
done
