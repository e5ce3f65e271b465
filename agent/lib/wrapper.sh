# The detached wrapper of one execution: sh wrapper.sh DIRECTORY
#
# It runs the script, bounds its output and its time, and writes its exit status, all without the agent, which may be
# dead by then. The agent made DIRECTORY before: plan (variables for this file), env (the script's environment), script,
# output, and status, a placeholder that is overwritten in place so that a full disk can't swallow an exit status.
# Written for dash with few forks: every execution on every host pays for each of them.
d=$1
umask 077
read -r boot </proc/sys/kernel/random/boot_id
read -r stat <"/proc/$$/stat"
set -f
set -- ${stat##*) }
set +f
parent=$2 group=$3 session=$4 ticks=${20}

# Whoever creates `started` decides: this wrapper, which runs the script, or a restarted agent, which gave it up.
set -C
{ printf '%s %s %s .\n' "$$" "$ticks" "$boot" >"$d/started"; } 2>/dev/null || exit 0
set +C
. "$d/plan"
exec >>"$d/output" 2>&1 </dev/null
[ "$method" = nohup ] && trap '' HUP

now() { # whole seconds since boot
    read -r up _ </proc/uptime
    up=${up%.*}
}

marked() { # the pids this execution started, save what start_detached set free
    for found in $(grep -lzxF "HOIST_EXECUTION_ID=$id" /proc/[0-9]*/environ 2>/dev/null) $(members); do
        grep -qz '^HOIST_DETACHED=' "$found" 2>/dev/null && continue
        found=${found#/proc/}
        printf '%s\n' "${found%/environ}"
    done
}

members() { # of the wrapper's own session (or its group, where the session is the agent's), save wrapper and watchdog
    read -r self _ </proc/self/stat
    for process in /proc/[0-9]*; do
        { read -r stat <"$process/stat"; } 2>/dev/null || continue
        pid=${process#/proc/}
        set -- ${stat##*) }
        case $1 in Z | X) continue ;; esac
        [ "$3" = "$group" ] || { [ "$session" = "$$" ] && [ "$4" = "$session" ]; } || continue
        [ "$pid" = "$$" ] || [ "$pid" = "$watchdog" ] || [ "$2" = "$watchdog" ] || [ "$2" = "$self" ] ||
            [ "$pid" = "$self" ] || printf '%s\n' "$process/environ"
    done
}

end_all() { # SIGTERM to all that the script started and did not detach, SIGKILL 5 s later
    : >"$d/watchdog-kills"
    { set -C; printf '%s\n' "$1" >"$d/ended-by"; } 2>/dev/null
    set +C
    signal=TERM
    for round in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do
        [ "$round" -lt 10 ] || signal=KILL
        pids=$(marked)
        [ -n "$pids" ] || break
        case $round in 0 | 10 | 11 | 12 | 13 | 14) kill -s "$signal" $pids 2>/dev/null; kill -s CONT $pids 2>/dev/null ;; esac
        sleep 0.5
    done
    exit 0
}

watch() { # the agent does the same, sooner, while it lives
    read -r watchdog _ </proc/self/stat
    now
    deadline=$((up + timeout_s + 1)) pause=1 asked=
    while :; do
        sleep "$pause"
        size=$(stat -c %s "$d/output" 2>/dev/null) || size=0
        if [ "$size" -gt "$cap" ]; then
            fallocate -p -o "$head" -l $(((size - cap) / 4096 * 4096)) "$d/output" 2>/dev/null
            pause=0.2
        fi
        now
        if [ -e "$d/ended-by" ]; then # the agent is at it; should it die meanwhile, it is up to us again
            asked=${asked:-$((up + 12))}
            [ "$up" -lt "$asked" ] || end_all cancelled
        elif [ "$up" -ge "$deadline" ]; then
            end_all timed_out
        fi
        [ "$method" = none ] || continue
        read -r stat <"/proc/$$/stat"
        set -- ${stat##*) }
        [ "$2" = "$parent" ] || end_all agent_stopped
    done
}

watch >/dev/null 2>&1 &
watchdog=$!
printf '%s\n' "$watchdog" >"$d/watchdog"

(
    read -r self _ </proc/self/stat
    printf '%s\n' "$self" >"$d/pid"
    umask 022
    set -- "$interpreter" "$script"
    if [ -n "$user" ]; then
        exec 9<"$d/script"
        set -- "$setpriv" --reuid "$user" --regid "$group_id" --init-groups -- "$interpreter" /proc/self/fd/9
    fi
    set -- "$d/env" "$work_dir" "$@"
    unset HOIST_EXECUTION_ID INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID
    . "$1"
    cd "$2" || exit 126
    shift 2
    exec "$@"
)
code=$?

[ ! -e "$d/watchdog-kills" ] || wait "$watchdog"
printf '%-14s.\n' "$code" 1<>"$d/status"
kill "$watchdog" 2>/dev/null
exit 0
