#!/usr/bin/env bash
# build.sh [DIR]: an etcd, a kube-apiserver, a kube-controller-manager, a kube-scheduler and a kubectl for the tests, in DIR/bin.
# No package has a ready API server, but Debian bookworm's source package `kubernetes` (1.20.2) builds into one with its golang-1.19;
# etcd and kubectl come from its packages. Nothing is installed and apt's own settings stay as they are: all of it is unpacked in DIR.
# Takes 4 to 10 minutes and 2.5 GB once, 300 MB afterwards; where DIR has them all, no time. DIR: $HOIST_KUBERNETES_DIR or ~/.cache/hoist-kubernetes.
set -euo pipefail
dir=${1:-${HOIST_KUBERNETES_DIR:-$HOME/.cache/hoist-kubernetes}}
programs=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl)
version=1.20.2

is_complete() {
  local program
  for program in "${programs[@]}"; do [ -x "$dir/bin/$program" ] || return 1; done
}
say() { echo "[$SECONDS s] $*"; }
fail() { # WHY
  echo "cannot build Kubernetes: $1; needed is Debian bookworm with its sources, or set HOIST_KUBERNETES_DIR to a directory with bin/{$(IFS=,; echo "${programs[*]}")}" >&2
  exit 1
}

is_complete && { echo "Kubernetes $version is in $dir/bin"; exit 0; }
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
exec 9>"$dir/.lock"
flock 9 # a second call waits for the first, then has nothing to do
is_complete && exit 0
for command in apt-get dpkg flock; do
  command -v $command >/dev/null || fail "no $command here"
done
work=$dir/work
rm -rf "$work"
mkdir -p "$work"/{download,root,sources,lists/partial,cache/archives/partial,gopath/src/k8s.io} "$dir/bin"

# This machine's own Debian archives, with the sources too, in a copy.
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
  [ -f "$file" ] && grep -qi debian "$file" || continue
  case $file in
    *.sources) sed 's/^Types:.*/Types: deb deb-src/' "$file" >"$work/sources/$(basename "$file")" ;;
    *.list) sed -n 's/^deb\(-src\)\? \(.*debian.*\)/deb \2\ndeb-src \2/p' "$file" | grep -vE '^deb(-src)? .*(docker|cloud)' >"$work/sources/$(basename "$file")" || true ;;
  esac
done
apt() {
  apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources" \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" "$@"
}
say "asking apt for the sources"
apt update || fail "apt cannot fetch the lists of its Debian archives, sources included"
source_version=$(apt-cache -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/sources" -o Dir::State::Lists="$work/lists" \
  -o Dir::Cache="$work/cache" showsrc kubernetes 2>/dev/null | awk '/^Version: (.*really)?1\.20\.2-/ && !seen++ {print $2}') || true
[ -n "$source_version" ] || fail "apt has no source package kubernetes $version"
cd "$work/download"
apt download golang-1.19-go golang-1.19-src etcd-server kubernetes-client || fail "apt cannot fetch golang-1.19, etcd-server and kubernetes-client"
apt source --download-only "kubernetes=$source_version" || fail "apt cannot fetch the source package kubernetes $source_version"
say "unpacking"
for package in *.deb; do dpkg -x "$package" "$work/root"; done
source_dir=$work/gopath/src/k8s.io/kubernetes
mkdir "$source_dir"
tar xzf kubernetes_*.orig.tar.gz -C "$source_dir" --strip-components=1
install -m 755 "$work/root/usr/bin/etcd" "$work/root/usr/bin/kubectl" "$dir/bin/"

# GOPATH mode: -mod=vendor refuses this tree. openapi-gen comes first, for what it writes is not in the sources.
export GOPATH=$work/gopath GOROOT=$work/root/usr/lib/go-1.19 GOCACHE=$work/gocache CGO_ENABLED=0 GOPROXY=off GO111MODULE=off
export PATH=$GOROOT/bin:$PATH
cd "$source_dir"
say "generating the API's description"
go build -o "$work/openapi-gen" k8s.io/kubernetes/vendor/k8s.io/kube-openapi/cmd/openapi-gen
inputs=$(grep -rl '+k8s:openapi-gen=' --include=*.go pkg staging/src/k8s.io | grep -vE '_test\.go|/code-generator/|/sample-|/testdata/' | xargs -n1 dirname \
  | sort -u | sed 's#^staging/src/#k8s.io/kubernetes/vendor/#; t; s#^#k8s.io/kubernetes/#' | paste -sd,)
"$work/openapi-gen" -i "$inputs" -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi \
  -h hack/boilerplate/boilerplate.generatego.txt -r /dev/null 2>&1 | tail -2
base=k8s.io/kubernetes/vendor/k8s.io
flags="-s -w -X $base/component-base/version.gitVersion=v$version -X $base/component-base/version.gitMajor=${version%%.*}"
flags+=" -X $base/component-base/version.gitMinor=20 -X $base/client-go/pkg/version.gitVersion=v$version"
for program in kube-apiserver kube-controller-manager kube-scheduler; do
  say "building $program"
  go build -ldflags "$flags" -o "$work/$program" "k8s.io/kubernetes/cmd/$program"
  mv "$work/$program" "$dir/bin/"
done
chmod -R u+w "$work"
rm -rf "$work"
say "Kubernetes $version is in $dir/bin ($(du -sh "$dir" | cut -f1))"
