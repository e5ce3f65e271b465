# The deploy script of the end-to-end tests' application. What it does badly, it is told by $HOME/$APP/behaviour.
set -eu
. "$HOIST_LIB"
cd "$HOME/$APP"
. ./host.env
echo "$RELEASE_OPERATION $RELEASE_VERSION" >>runs
behaviour=
[ "$RELEASE_OPERATION" != update ] || behaviour=$(cat behaviour 2>/dev/null || true)
serve=$RELEASE_VERSION
lifetime=3600
case $behaviour in
"" ) ;;
fail) for line in $(seq 60); do echo "line $line of a script that fails"; done; exit 3 ;;
nothing) echo "nothing was restarted"; exit 0 ;;
old-version) serve=$HOIST_PREVIOUS_VERSION ;;
dies) lifetime=2 ;;
slow) touch started; sleep "${SLOW_S:-8}" ;;
brief) sleep 2 ;;
esac
stop_detached app
start_detached app -- "$PYTHON" -S "$HOME/$APP/server.py" "$PORT" "$serve" "$lifetime"
ln -sfn "$HOIST_RUN_DIR/app.pid" app.pid
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null && echo "$APP $serve listens on $PORT" && exit 0
    sleep 0.1
done
echo "$APP does not listen on $PORT" >&2
exit 1
