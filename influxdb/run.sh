#!/bin/sh
# Run influxd with room kept back on its disk, and begin it anew where a full disk has left it refusing although there is room again
# (decision 0016): it does not try again to open or to write a file that failed once.
# usage: run.sh DATA_FOLDER REQUESTS_FOLDER COMMAND [ARGUMENT...]
# Who writes to it (ingest, rollup) asks by a file in REQUESTS_FOLDER; see the contract's `database_restart.py`.
set -u
data=$1 requests=$2
shift 2
reserve=$data/reserve wanted_mb=${MILLRACE_INFLUXDB_RESERVE_MB:-256} look_s=${MILLRACE_LOOK_S:-2}
began=$(mktemp) stopping='' server='' nap='' pause_s=0 total=0 free=0 least_kb=0
# So that what retention lets go of makes room within a minute, and not within half an hour.
export INFLUXD_STORAGE_RETENTION_CHECK_INTERVAL="${INFLUXD_STORAGE_RETENTION_CHECK_INTERVAL:-1m0s}"

say() { echo "run.sh: $*" >&2; }
kilobytes() { df -Pk "$data" | { read -r _ && read -r _ whole _ rest _ && echo "$whole $rest"; }; }

# TERM closes its files in good order; a disk may keep it from that for good. (What is begun behind & does not hear INT at first.)
end() {
    kill -TERM "$server" 2>/dev/null
    i=0
    while kill -0 "$server" 2>/dev/null && [ "$i" -lt 50 ]; do
        sleep 1 &
        wait $! # a child of this shell: the shell must collect it, or it seems to live
        i=$((i + 1))
    done
    kill -KILL "$server" 2>/dev/null
    wait "$server"
}

# A twentieth of a small disk is enough for either.
keep_room() {
    limit_mb=$((total / 20480))
    [ "$wanted_mb" -lt "$limit_mb" ] && size_mb=$wanted_mb || size_mb=$limit_mb
    [ 64 -lt "$limit_mb" ] && least_kb=65536 || least_kb=$((limit_mb * 1024))
    if [ -e "$reserve" ] && [ "$free" -lt "$((least_kb / 2))" ]; then
        rm -f "$reserve"
        say "the disk is full but for the $size_mb MB kept back on it, which InfluxDB may use now; make room"
    elif [ ! -e "$reserve" ] && [ "$size_mb" -gt 0 ] && [ "$free" -gt "$((size_mb * 1024 + 2 * least_kb))" ]; then
        rm -f "$reserve.part"
        { fallocate -l "${size_mb}M" "$reserve.part" 2>/dev/null ||
            dd if=/dev/zero of="$reserve.part" bs=1048576 count="$size_mb" 2>/dev/null; } && mv "$reserve.part" "$reserve"
    fi
}

look() { room=$(kilobytes) && total=${room% *} free=${room#* } && keep_room; }

# A full disk or a power cut leaves half an entry at the end of a write-ahead log. InfluxDB would write on behind it, and the next time
# read no further than there: all that it had confirmed since would be gone. Behind an empty file it begins a new log.
begin_logs() {
    find "$data" -path '*/engine/wal/*' -name '_*.wal' -size +0 | sort -r | {
        done=''
        while IFS= read -r log; do
            [ "${log%/*}" != "$done" ] || continue
            done=${log%/*}
            number=$(echo "${log##*/_}" | sed 's/^0*//; s/[.]wal$//')
            next=$done/$(printf '_%05d.wal' "$((number + 1))")
            [ -e "$next" ] || : >"$next"
        done
    }
}

is_asked() { [ -n "$(find "$requests" -name 'restart-influxd.*' -newer "$began" 2>/dev/null)" ]; }

[ -r "$requests" ] || say "$requests cannot be read: after a full disk InfluxDB must be begun anew by hand"
trap 'stopping=yes; kill -TERM "$server" 2>/dev/null' TERM INT
while [ -z "$stopping" ]; do
    look # before it starts, too: it may need what is kept back to come up at all
    begin_logs
    "$@" &
    server=$!
    touch "$began"
    waited_s=0 ended=
    while [ -z "$stopping" ] && kill -0 "$server" 2>/dev/null; do
        sleep "$look_s" &
        nap=$!
        wait "$nap" # a signal ends this early
        waited_s=$((waited_s + look_s))
        look
        # Not again and again where it does not help: each time after twice the pause, at most ten minutes.
        if is_asked && [ "$free" -gt "$least_kb" ] && [ "$waited_s" -ge "$pause_s" ]; then
            say "InfluxDB refuses to write since its disk was full, and there is room again: beginning it anew"
            [ "$waited_s" -gt 600 ] && pause_s=0
            pause_s=$((pause_s ? pause_s * 2 : 10))
            [ "$pause_s" -le 600 ] || pause_s=600
            end
            ended=yes
            break
        fi
    done
    [ -n "$ended" ] || break
done
[ -z "$nap" ] || kill "$nap" 2>/dev/null # it leaves nothing behind
# Again and again: what comes before there is a server, or while it is being begun, is lost.
while [ -n "$stopping" ] && kill -0 "$server" 2>/dev/null; do
    kill -TERM "$server" 2>/dev/null
    sleep 0.2 &
    wait $!
done
wait "$server"
status=$?
[ -z "$ended" ] || status=0 # told to stop while it ended it anyway
while kill -0 "$server" 2>/dev/null; do # a second signal ends a wait early
    wait "$server"
    status=$?
done
rm -f "$began"
exit "$status"
