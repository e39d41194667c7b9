# Shared by the scripts in tools/ and tests/e2e. Source it; it sets nothing but functions and ROOT.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

need_root() { [ "$(id -u)" = 0 ] || die "run as root: sudo $0"; }

# missing_packages NAME...: those that are not installed, one a line.
missing_packages() {
  local name
  declare -A installed=()
  while read -r name; do installed[$name]=1; done < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p')
  for name in "$@"; do [ -n "${installed[$name]:-}" ] || echo "$name"; done
}

# install_packages NAME...: those, what tools/packages.txt lists, and node and npm unless they are on PATH. Asks the network only if something is missing.
# The servers among them must not start by themselves: while apt runs, policy-rc.d forbids it.
install_packages() {
  local missing policy=/usr/sbin/policy-rc.d made=
  mapfile -t missing < <(missing_packages $(cat "$ROOT/tools/packages.txt") "$@")
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
  [ ${#missing[@]} -gt 0 ] || return 0
  need_root
  say "installing ${#missing[@]} packages: ${missing[*]}"
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy && made=1
  fi
  apt-get update -qq &&
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  local status=$?
  [ -z "$made" ] || rm -f $policy
  return $status
}

# configure PRESET: CMake's first run, and again only when the presets changed. (Ninja runs it when its other inputs change.)
configure() {
  local dir=$ROOT/build
  [ "$1" = dev ] || dir=$ROOT/build/$1
  # A changed preset may name another compiler, which a configured folder does not take.
  [ "$dir/build.ninja" -nt "$ROOT/CMakePresets.json" ] || (cd "$ROOT" && cmake --fresh --preset "$1" -Wno-dev >"/tmp/gantry-cmake-$1.log" 2>&1) ||
    { cat "/tmp/gantry-cmake-$1.log" >&2; return 1; }
}

jobs() { nproc; }

# await SECONDS WHAT COMMAND...: polls until the command succeeds; says what it waited for if it never does.
await() {
  local limit=$1 what=$2 start=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    if ((SECONDS - start >= limit)); then
      echo "not within ${limit}s: $what" >&2
      return 1
    fi
    sleep 0.2
  done
}

# The kubectl that tools/kubectl fetched, and the kubeconfig of this checkout's cluster.
use_kubectl() {
  export KUBECONFIG=$ROOT/.gantry/kubeconfig PATH=$ROOT/.gantry/bin:$PATH
}
