#!/usr/bin/env bash
# A deploy script for Hoist: installs, updates, rolls back and uninstalls one application that runs for long.
#
# Give this one file as install_script, update_script, rollback_script and uninstall_script: RELEASE_OPERATION says which
# is meant. Set the variables below in the version's `env`, or edit them here; what only one host knows (a port, a
# proxy) goes into $APP_DIR/host.env on that host, which wins. Guide: docs/how-to/deploy-scripts.md
#
# Each release has its own directory, so the new one is made ready while the old one still serves, and a way back is
# there at once. The script exits 0 only when the application listens; Hoist then looks for itself.
set -euo pipefail

# --- settings ---------------------------------------------------------------------------------------------------------
APP_NAME=${APP_NAME:?a name for the process, its log and its unit: letters, digits, . _ -}
APP_DIR=${APP_DIR:-$HOIST_WORK_DIR}      # everything of the application is below it; a leading ~/ is this host's HOME
APP_PACKAGES=${APP_PACKAGES:-}           # what fetch_release installs, e.g. "datasette==0.65.5"
APP_COMMAND=${APP_COMMAND:?what to run in the release, e.g. 'exec bin/datasette serve --port "\$APP_PORT"'}
APP_PORT=${APP_PORT:-8080}               # where it listens when it is up
APP_START_TIMEOUT_S=${APP_START_TIMEOUT_S:-60}
APP_KEEP_RELEASES=${APP_KEEP_RELEASES:-2}

APP_DIR=${APP_DIR/#\~\//$HOME/}
mkdir -p "$APP_DIR/releases"
if [ -r "$APP_DIR/host.env" ]; then
  set -a
  # shellcheck disable=SC1091
  . "$APP_DIR/host.env"
  set +a
fi
export APP_NAME APP_DIR APP_PORT
# shellcheck disable=SC1090
. "$HOIST_LIB"                           # start_detached, stop_detached, detached_pid

release_dir=$APP_DIR/releases/$RELEASE_VERSION

# --- the two functions to change for your application -----------------------------------------------------------------
# Put the release into the directory $1. It may be there half made, by a script that was killed.
fetch_release() {
  if command -v uv >/dev/null; then
    [ -x "$1/bin/python" ] || uv venv --quiet "$1"
    # shellcheck disable=SC2086
    uv pip install --quiet --python "$1/bin/python" $APP_PACKAGES
  else
    [ -x "$1/bin/pip" ] || python3 -m venv "$1"
    # shellcheck disable=SC2086
    "$1/bin/pip" install --quiet --disable-pip-version-check $APP_PACKAGES
  fi
}

# Does the application answer? It is asked until it does, or until APP_START_TIMEOUT_S.
is_up() {
  (exec 3<>"/dev/tcp/127.0.0.1/$APP_PORT") 2>/dev/null
}

# --- the steps, the same for every application ------------------------------------------------------------------------
say() { echo "$(date -u +%H:%M:%S) $*"; }

make_release() {
  if [ ! -e "$release_dir/.complete" ]; then
    say "fetching $APP_NAME $RELEASE_VERSION"
    mkdir -p "$release_dir"
    fetch_release "$release_dir"
    touch "$release_dir/.complete"
  fi
}

switch_to_release() {
  touch "$release_dir"                   # the newest are kept
  ln -sfn "$release_dir" "$APP_DIR/.current.new"
  mv -T "$APP_DIR/.current.new" "$APP_DIR/current"
}

start_release() {
  say "starting $APP_NAME $RELEASE_VERSION on port $APP_PORT"
  cd "$APP_DIR/current"
  start_detached "$APP_NAME" --log "$APP_DIR/$APP_NAME.log" --persistent -- /bin/bash -c "$APP_COMMAND"
  ln -sfn "$HOIST_RUN_DIR/$APP_NAME.pid" "$APP_DIR/$APP_NAME.pid"   # for a rule of type pidfile
  local deadline=$((SECONDS + APP_START_TIMEOUT_S))
  until is_up; do
    if ! detached_pid "$APP_NAME" >/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
      say "$APP_NAME $RELEASE_VERSION does not come up; the end of its log:"
      tail -n 20 "$APP_DIR/$APP_NAME.log" || true
      exit 1
    fi
    sleep 0.2
  done
  say "$APP_NAME $RELEASE_VERSION is up, pid $(detached_pid "$APP_NAME")"
}

remove_old_releases() {
  local old
  # shellcheck disable=SC2012
  ls -1dt "$APP_DIR/releases"/*/ | tail -n "+$((APP_KEEP_RELEASES + 1))" | while read -r old; do
    [ "${old%/}" -ef "$APP_DIR/current" ] || rm -rf -- "$old"
  done
}

case $RELEASE_OPERATION in
  deploy | install | update | rollback)
    make_release
    stop_detached "$APP_NAME"
    switch_to_release
    start_release
    remove_old_releases
    ;;
  uninstall)
    stop_detached "$APP_NAME"
    rm -rf -- "$APP_DIR/releases" "$APP_DIR/current" "$APP_DIR/$APP_NAME.pid" "$APP_DIR/$APP_NAME.log"
    say "$APP_NAME is gone from this host"
    ;;
  *)
    echo "this script does not know the operation '$RELEASE_OPERATION'" >&2
    exit 64
    ;;
esac
