# Hoist's helpers for deploy scripts. In a script: . "$HOIST_LIB"   (sh, dash, bash)
#
#   start_detached NAME [--log FILE] [--persistent] [--] COMMAND [ARGUMENT…]
#       Starts COMMAND with a life of its own: it outlives the script, its failure, timeout and cancellation, and the
#       agent. COMMAND stays in the foreground (it does not daemonize itself). Its output is appended to FILE
#       (default: $HOIST_WORK_DIR/NAME.log). Running already: left as it is. Under systemd it is a unit of its own;
#       --persistent makes that unit an enabled one with Restart=on-failure, which comes back after a reboot.
#   stop_detached NAME
#       Ends it: SIGTERM, SIGKILL after HOIST_STOP_TIMEOUT_S (10) seconds. Not running: fine. What stops a unit without
#       Hoist, such as a reboot, waits as long as this variable said when it was started.
#   detached_pid NAME
#       Prints its pid; fails when it isn't running.
#
# Their bodies are subshells: no variable and no option of the script is touched.

_hoist_fail() {
    printf 'hoist: %s\n' "$*" >&2
    exit 1
}

_hoist_setup() { # NAME: sets name, run, unit; checks what the agent must have given
    set +eu
    name=${1-}
    case $name in
    '' | [!A-Za-z0-9]* | *[!A-Za-z0-9_.-]*) _hoist_fail "cannot use '$name': a name is letters, digits, '_', '.' and '-'" ;;
    esac
    [ "${#name}" -le 60 ] || _hoist_fail "cannot use '$name': at most 60 characters"
    [ -n "${HOIST_RUN_DIR-}" ] || _hoist_fail "cannot find HOIST_RUN_DIR: is this script run by Hoist's agent?"
    run=$HOIST_RUN_DIR
    unit="hoist-app-${HOIST_CLIENT_ID-}:${HOIST_PROJECT-}:$name.service"
}

_hoist_systemd() { # whether this script may start units
    [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null
}

_hoist_stop_timeout() { # VERB: sets stop_timeout_s, and stop_timeout for systemd, to which 0 would mean: wait forever
    stop_timeout_s=${HOIST_STOP_TIMEOUT_S:-10}
    case $stop_timeout_s in
    0?* | *[!0-9]*) _hoist_fail "cannot $1 $name: HOIST_STOP_TIMEOUT_S is '$stop_timeout_s', not a whole number of seconds" ;;
    esac
    stop_timeout="${stop_timeout_s}s 1ms"
}

_hoist_quote() { # one word, so that a shell reads it back
    [ -n "$1" ] || printf "''"
    printf '%s' "$1" | sed "s/'/'\\\\''/g; 1s/^/'/; \$s/\$/'/"
}

_hoist_marked() { # the pids of the application
    for found in $(grep -lzxF "HOIST_DETACHED=$run/$name" /proc/[0-9]*/environ 2>/dev/null); do
        found=${found#/proc/}
        printf '%s\n' "${found%/environ}"
    done
}

_hoist_ticks() { # PID: its start time, in ticks since boot; nothing for a zombie
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -f
    set -- ${stat##*) }
    [ "$1" != Z ] && [ "$1" != X ] && printf '%s\n' "${20}"
}

_hoist_pid() { # prints the application's pid
    if { read -r pid ticks boot <"$run/$name.id"; } 2>/dev/null; then
        read -r here </proc/sys/kernel/random/boot_id
        if [ "$boot" = "$here" ] && [ "$(_hoist_ticks "$pid")" = "$ticks" ]; then
            printf '%s\n' "$pid"
            return 0
        fi
    fi
    for pid in $(_hoist_marked); do
        [ -z "$(_hoist_ticks "$pid")" ] && continue
        printf '%s\n' "$pid"
        return 0
    done
    return 1
}

_hoist_run_file() { # LOG COMMAND…: what starts the application, environment and all, readable by its owner alone
    log=$1
    shift
    mask=$(umask)
    umask 077
    mkdir -p "$run" || return 1
    rm -f "$run/$name.pid" "$run/$name.id"
    {
        (
            unset HOIST_EXECUTION_ID HOIST_DETACHED PWD OLDPWD SHLVL INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID
            HOIST_DETACHED=$run/$name /bin/sh -c 'export -p'
        )
        printf 'export HOIST_STARTED_BY=%s\n' "$(_hoist_quote "${HOIST_EXECUTION_ID-}")"
        printf 'umask %s\n' "$mask"
        printf 'exec </dev/null >>%s 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-\n' "$(_hoist_quote "$log")"
        printf 'cd %s || exit 126\n' "$(_hoist_quote "$(pwd)")"
        printf 'run=%s\n' "$(_hoist_quote "$run/$name")"
        cat <<'RUN'
read -r stat <"/proc/$$/stat"
read -r boot </proc/sys/kernel/random/boot_id
set -- ${stat##*) }
(umask 077; printf '%s\n' "$$" >"$run.pid"; printf '%s %s %s\n' "$$" "${20}" "$boot" >"$run.id")
unset run stat boot
RUN
        printf 'exec'
        for word in "$@"; do printf ' %s' "$(_hoist_quote "$word")"; done
        printf '\n'
    } >"$run/$name.run" || return 1
    umask "$mask"
}

_hoist_unit_file() { # the persistent unit
    path=$(printf '%s' "$run/$name.run" | sed 's/[\\"]/\\&/g; s/%/%%/g; s/\$/$$/g')
    cat <<UNIT
# Made by Hoist's start_detached; stop_detached removes it.
[Unit]
Description=$name of project ${HOIST_PROJECT-}, started by Hoist
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=/bin/sh "$path"
Restart=on-failure
RestartSec=1
TimeoutStopSec=$stop_timeout
TasksMax=infinity
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
UNIT
}

_hoist_start_unit() { # transient, or persistent
    systemctl reset-failed "$unit" 2>/dev/null
    if [ -n "$1" ]; then
        _hoist_unit_file >"/etc/systemd/system/$unit" && chmod 644 "/etc/systemd/system/$unit" &&
            systemctl daemon-reload && systemctl enable --quiet "$unit" && systemctl restart "$unit"
    else
        systemd-run --quiet --collect --unit="$unit" --description="$name of project ${HOIST_PROJECT-}, started by Hoist" \
            --property=TimeoutStopSec="$stop_timeout" --property=TasksMax=infinity --property=LimitNOFILE=65536 \
            /bin/sh "$run/$name.run" </dev/null
    fi
}

_hoist_stop_unit() { # within the timeout that is wanted now, whatever was when it was started
    file=/etc/systemd/system/$unit now=/run/systemd/system/$unit.d
    if systemctl is-active --quiet "$unit"; then
        mkdir -p "$now" && printf '[Service]\nTimeoutStopSec=%s\n' "$stop_timeout" >"$now/stop-timeout.conf"
        systemctl daemon-reload
    fi
    if [ -e "$file" ]; then
        systemctl disable --quiet "$unit"
        systemctl stop "$unit"
    else
        systemctl stop "$unit" 2>/dev/null
    fi
    if [ -e "$file" ] || [ -e "$now" ]; then
        rm -rf "$file" "$now"
        systemctl daemon-reload
    fi
    systemctl reset-failed "$unit" 2>/dev/null
}

start_detached() (
    _hoist_setup "${1-}"
    _hoist_stop_timeout start
    shift
    log=${HOIST_WORK_DIR:-$run}/$name.log persistent=
    while [ $# -gt 0 ]; do
        case $1 in
        --log)
            [ $# -ge 2 ] || _hoist_fail "cannot start $name: --log needs a file"
            log=$2
            shift 2
            ;;
        --persistent) persistent=1 && shift ;;
        --) shift && break ;;
        -*) _hoist_fail "cannot start $name: unknown option $1" ;;
        *) break ;;
        esac
    done
    [ $# -gt 0 ] || _hoist_fail "cannot start $name: no command"
    case $log in /*) ;; *) log=$(pwd)/$log ;; esac
    if running=$(_hoist_pid); then
        printf 'hoist: %s runs already (pid %s)\n' "$name" "$running"
        exit 0
    fi
    { : >>"$log"; } 2>/dev/null || _hoist_fail "cannot start $name: cannot write its log, $log"
    _hoist_run_file "$log" "$@" || _hoist_fail "cannot start $name: cannot write $run/$name.run"
    method=${HOIST_DETACH_METHOD:-setsid}
    if [ "$method" = systemd ] && ! _hoist_systemd; then
        printf 'hoist: %s gets a session of its own, not a unit: only root can start units\n' "$name" >&2
        method=setsid
    fi
    if [ "$method" = systemd ]; then
        _hoist_start_unit "$persistent" || _hoist_fail "cannot start $name: systemd refused unit $unit"
    else
        [ "$method" != nohup ] || trap '' HUP
        signals=--default-signal=INT,QUIT,TERM # a shell's background commands ignore INT and QUIT
        env $signals true 2>/dev/null || signals=
        (env $signals -i HOIST_DETACHED="$run/$name" PATH="$PATH" setsid /bin/sh "$run/$name.run" </dev/null >/dev/null 2>&1 &)
    fi
    tries=0
    until [ -s "$run/$name.id" ] || [ "$tries" -ge 200 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    sleep 0.1
    _hoist_pid >/dev/null || _hoist_fail "cannot start $name: it ended at once, see $log"
)

stop_detached() (
    _hoist_setup "${1-}"
    _hoist_stop_timeout stop
    ! _hoist_systemd || _hoist_stop_unit
    tries=0 limit=$((stop_timeout_s * 10))
    while pids="$(_hoist_pid) $(_hoist_marked)" && [ "$pids" != " " ]; do
        [ "$tries" -ne 0 ] || kill -TERM $pids 2>/dev/null
        [ "$tries" -ne "$limit" ] || kill -KILL $pids 2>/dev/null
        tries=$((tries + 1))
        [ "$tries" -le $((limit + 50)) ] || _hoist_fail "cannot stop $name: still running: $pids"
        sleep 0.1
    done
    rm -f "$run/$name.pid" "$run/$name.id" "$run/$name.run"
)

detached_pid() (
    _hoist_setup "${1-}"
    _hoist_pid
)
