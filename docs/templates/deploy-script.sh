#!/usr/bin/env bash
# A deploy script for Hoist: installs, updates, rolls back and uninstalls one application that runs for long.
#
# Give this one file as install_script, update_script, rollback_script and uninstall_script: RELEASE_OPERATION says which
# is meant. Set the variables below in the version's `env`, or edit them here; what only one host knows (a port, a
# proxy) goes into $APP_DIR/host.env on that host, which wins. Guide: docs/how-to/deploy-scripts.md
#
# Each release has its own directory, so the new one is made ready while the old one still serves, and a way back is
# there at once. A rollback gets the env of the version that is left, so a release remembers its packages and its
# command; what isn't kept any more can't be gone back to. The script exits 0 only when the application listens; Hoist
# then looks for itself.
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

# Never made of two sets of packages: the same version with other packages is another directory.
release_dir=$APP_DIR/releases/$RELEASE_VERSION@$(sha256sum <<<"$APP_PACKAGES" | cut -c 1-12)

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

# Does the application answer? Once before it is started, when nothing may answer in its place; then until it does, or
# until APP_START_TIMEOUT_S.
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
  fi
  printf '%s\n' "$APP_COMMAND" >"$release_dir/.complete.new"
  mv "$release_dir/.complete.new" "$release_dir/.complete"
}

# For a rollback: the release as it was made and last started, whatever this script's env says.
find_kept_release() {
  local complete
  complete=$(ls -1t "$APP_DIR/releases/$RELEASE_VERSION@"*/.complete 2>/dev/null | head -n 1) || true
  if [ -z "$complete" ]; then
    echo "cannot roll back $APP_NAME to $RELEASE_VERSION: that release isn't kept here any more; deploy" \
      "$RELEASE_VERSION as an update (allow_downgrade), and raise APP_KEEP_RELEASES for the next time" >&2
    exit 1
  fi
  release_dir=${complete%/.complete}
  APP_COMMAND=$(<"$complete")
}

switch_to_release() {
  touch "$release_dir"                   # the newest are kept
  ln -sfn "$release_dir" "$APP_DIR/.current.new"
  mv -T "$APP_DIR/.current.new" "$APP_DIR/current"
}

start_release() {
  if is_up; then
    echo "cannot start $APP_NAME $RELEASE_VERSION: something else answers on port $APP_PORT" >&2
    exit 1
  fi
  say "starting $APP_NAME $RELEASE_VERSION on port $APP_PORT"
  cd "$APP_DIR/current"
  start_detached "$APP_NAME" --log "$APP_DIR/$APP_NAME.log" --persistent -- /bin/bash -c "$APP_COMMAND"
  ln -sfn "$HOIST_RUN_DIR/$APP_NAME.pid" "$APP_DIR/$APP_NAME.pid"   # for a rule of type pidfile
  local pid deadline=$((SECONDS + APP_START_TIMEOUT_S))
  until is_up && pid=$(detached_pid "$APP_NAME"); do
    if ! detached_pid "$APP_NAME" >/dev/null || [ "$SECONDS" -ge "$deadline" ]; then
      say "$APP_NAME $RELEASE_VERSION does not come up; the end of its log:"
      tail -n 20 "$APP_DIR/$APP_NAME.log" || true
      exit 1
    fi
    sleep 0.2
  done
  say "$APP_NAME $RELEASE_VERSION is up, pid $pid"
}

# Neither what a killed script left half made nor the same version's other packages count as kept.
remove_old_releases() {
  local old kept=1
  touch -c "$APP_DIR/releases/$HOIST_PREVIOUS_VERSION@"*   # the way back is kept first, also after failed updates
  # shellcheck disable=SC2012
  ls -1dt "$APP_DIR/releases"/*/ | while read -r old; do
    old=${old%/}
    [ "$old" != "$release_dir" ] || continue
    if [ -e "$old/.complete" ] && [ "${old%@*}" != "${release_dir%@*}" ] && [ "$kept" -lt "$APP_KEEP_RELEASES" ]; then
      kept=$((kept + 1))
    else
      rm -rf -- "$old"
    fi
  done
}

case $RELEASE_OPERATION in
  deploy | install | update | rollback)
    if [ "$RELEASE_OPERATION" = rollback ]; then find_kept_release; else make_release; fi
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
