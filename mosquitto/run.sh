#!/bin/sh
# Run mosquitto, and let it read accounts, access rules and certificate again when they change.
# usage: run.sh CONFIGURATION SECRETS_FOLDER
set -u
config=$1 secrets=$2 stopping=

state() { cksum "$secrets/passwords" "$secrets/access.acl" "$secrets/server.crt" 2>/dev/null; }

seen=$(state)
mosquitto -c "$config" &
broker=$!
trap 'stopping=yes; kill -TERM "$broker" 2>/dev/null' TERM INT

while [ -z "$stopping" ] && kill -0 "$broker" 2>/dev/null; do
    sleep 2 &
    wait $! # a signal ends this early
    now=$(state)
    if [ "$now" != "$seen" ]; then
        seen=$now
        kill -HUP "$broker" 2>/dev/null
    fi
done
wait "$broker"
