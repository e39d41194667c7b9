# What the cases of tests/e2e share. All waits have a deadline and say what they waited for.

MANIFESTS=$ROOT/tests/e2e/manifests

gantry() { "$ROOT/build/bin/gantry" "$@"; }

fail() { echo "FAILED: $*" >&2; return 1; }
assert_eq() { [ "$1" = "$2" ] || fail "expected \"$2\", got \"$1\"${3:+ ($3)}"; }
assert_contains() { [[ "$1" == *"$2"* ]] || fail "expected \"$2\" in: $1"; }
assert_lacks() { [[ "$1" != *"$2"* ]] || fail "did not expect \"$2\" in: $1"; }

# refused COMMAND...: the output of a command that must fail.
refused() {
  local output
  if output=$("$@" 2>&1); then fail "should have failed: $* -> $output"; return 1; fi
  printf '%s' "$output"
}

# jsonpath RESOURCE... PATH
field() { kubectl get "${@:1:$#-1}" -o "jsonpath=${*: -1}"; }

pods() { kubectl get pods -l "$1" -o 'jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}' "${@:2}"; }
# first_pod SELECTOR: one that is not on its way out.
first_pod() { kubectl get pods -l "$1" -o json | jq -r '[.items[] | select(.metadata.deletionTimestamp == null)][0].metadata.name'; }
pod_count() { pods "$@" | grep -c . || true; }
# ready_pods SELECTOR: how many are Ready and not on their way out.
ready_pods() {
  kubectl get pods -l "$1" -o json "${@:2}" | jq '[.items[] | select(.metadata.deletionTimestamp == null)
    | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))] | length'
}
ready_is() { [ "$(ready_pods "$2")" = "$1" ]; }
count_is() { [ "$(pod_count "$2")" = "$1" ]; }
gone() { ! kubectl get "$@"; }

node_ip() { field node "$1" '{.status.addresses[?(@.type=="InternalIP")].address}'; }

pid_of() { gantry dev status --json | jq -r --arg name "$1" '.[] | select(.name == $name) | .pid'; }
component_is() { [ "$(gantry dev status --json | jq -r --arg name "$1" '.[] | select(.name == $name) | .state')" = "$2" ]; }
all_components_ready() { [ "$(gantry dev status --json | jq '[.[] | select(.state != "ready")] | length')" = 0 ]; }

# kill_component NAME: kill -9, and wait until its successor is ready.
kill_component() {
  local name=$1 pid
  pid=$(pid_of "$name")
  kill -9 "$pid"
  await 60 "$name to be back" eval "[ \$(pid_of $name) != $pid ] && component_is $name ready"
}

# in_containerd NODE ctr-arguments...
in_containerd() { ctr --address "$ROOT/.gantry/nodes/$1/containerd.sock" --namespace k8s.io "${@:2}"; }
container_id() { field pod "$1" '{.status.containerStatuses[0].containerID}' | sed 's,.*://,,'; }
# identities SELECTOR: pod, container and restarts of each that is not on its way out, to compare before and after.
identities() {
  kubectl get pods -l "$1" -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null) | [.metadata.name, .metadata.uid, (.status.containerStatuses[]? | .containerID, .restartCount)] | @tsv' | sort
}

# Background requests to URL, one every 20 ms: load_start NAME URL; load_stop NAME prints "answered failed".
load_start() {
  local name=$1 url=$2
  rm -f "$E2E_WORK/load-$name".{result,failures}
  (
    answered=0 failed=0
    trap 'echo "$answered $failed" >"$E2E_WORK/load-$name.result"; exit 0' TERM
    while :; do
      if curl -sf -o /dev/null -m 2 "$url"; then
        answered=$((answered + 1))
      else
        code=$? failed=$((failed + 1))
        echo "a request failed at $(date -u +%T.%3N): curl's exit code $code" >>"$E2E_WORK/load-$name.failures"
      fi
      sleep 0.02
    done
  ) >/dev/null 2>&1 &
  echo $! >"$E2E_WORK/load-$name.pid"
}
load_stop() {
  local name=$1
  kill "$(cat "$E2E_WORK/load-$name.pid")"
  await 10 "the load's result" test -s "$E2E_WORK/load-$name.result"
  if [ -s "$E2E_WORK/load-$name.failures" ]; then head -20 "$E2E_WORK/load-$name.failures" >&2; fi
  cat "$E2E_WORK/load-$name.result"
}

# Background writes: creates ConfigMaps w-0, w-1, ... one after another and notes every name whose creation was acknowledged, until stopped.
writer_start() {
  local name=$1
  kubectl delete configmap -l "writer=$name" --wait=false >/dev/null 2>&1 || true
  : >"$E2E_WORK/acknowledged-$name"
  (
    number=0
    trap 'exit 0' TERM
    while :; do
      printf '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"%s-%d","labels":{"writer":"%s"}},"data":{"n":"%d"}}' \
        "$name" $number "$name" $number >"$E2E_WORK/writer-$name.json"
      if kubectl create --request-timeout=5s -f "$E2E_WORK/writer-$name.json"; then echo "$name-$number" >>"$E2E_WORK/acknowledged-$name"; fi
      number=$((number + 1))
    done
  ) >/dev/null 2>&1 &
  echo $! >"$E2E_WORK/writer-$name.pid"
}
# writer_stop NAME: every acknowledged ConfigMap must be there, once. Prints how many.
writer_stop() {
  local name=$1
  kill "$(cat "$E2E_WORK/writer-$name.pid")"
  wait "$(cat "$E2E_WORK/writer-$name.pid")" 2>/dev/null || true
  kubectl get configmaps -l "writer=$name" -o name | sed 's,.*/,,' | sort >"$E2E_WORK/there-$name"
  sort "$E2E_WORK/acknowledged-$name" >"$E2E_WORK/promised-$name"
  local lost
  lost=$(comm -23 "$E2E_WORK/promised-$name" "$E2E_WORK/there-$name")
  [ -z "$lost" ] || fail "acknowledged and lost: $lost"
  [ -z "$(uniq -d "$E2E_WORK/there-$name")" ] || fail "doubled: $(uniq -d "$E2E_WORK/there-$name")"
  wc -l <"$E2E_WORK/promised-$name"
  kubectl delete configmap -l "writer=$name" --wait=false >/dev/null
}

# client_library FILE ARGUMENTS...: runs a program of tests/e2e/clients with a client library from the npm registry.
client_library() {
  local cache=$ROOT/.cache/client-node
  if [ ! -d "$cache/node_modules/@kubernetes/client-node" ]; then
    mkdir -p "$cache"
    npm install --silent --prefix "$cache" @kubernetes/client-node@1 >/dev/null
  fi
  cp "$ROOT/tests/e2e/clients/$1" "$cache/"
  (cd "$cache" && timeout 300 node "$@")
}
