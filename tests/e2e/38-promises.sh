# What is promised of workloads while things happen to them: rollouts, drains, moves of what controls them.

promised() { kubectl --namespace promises "$@"; }
shop_url() { echo "http://$(node_ip node-1):30091$1"; }
on_node() { promised get pods -l app=shop --field-selector "spec.nodeName=$1" -o json | jq '[.items[] | select(.metadata.deletionTimestamp == null)] | length'; }

test_they_are_declared() {
  kubectl delete namespace promises --ignore-not-found --timeout=120s
  kubectl create namespace promises
  await 30 "the namespace's service account" promised get serviceaccount default
  promised apply -f "$MANIFESTS/promises.yaml"
  promised rollout status deployment/shop --timeout=90s
  await 20 "the first answer" curl -sf -m 2 "$(shop_url /version)"
}

# The new image comes without a failed request; a broken one changes nothing for the client, and is taken back.
image_fails() { [[ "$(promised get pods -l app=shop -o 'jsonpath={.items[*].status.containerStatuses[*].state.waiting.reason}')" == *Image* ]]; }
test_a_new_and_a_broken_image_fail_no_request() {
  local result
  load_start shop "$(shop_url /)"
  promised set image deployment/shop web=gantry.local/demo:2
  promised rollout status deployment/shop --timeout=90s
  promised set image deployment/shop web=gantry.local/nothere:1
  await 30 "the broken image to be refused" image_fails
  assert_eq "$(promised get deployment shop -o 'jsonpath={.status.availableReplicas}')" 4
  promised rollout undo deployment/shop
  promised rollout status deployment/shop --timeout=60s
  await 30 "four pods" eval '[ "$(promised get pods -l app=shop -o name | wc -l)" = 4 ]'
  assert_eq "$(curl -sf -m 2 "$(shop_url /version)")" 2
  result=$(load_stop shop)
  assert_eq "${result#* }" 0 "requests answered and failed: $result"
}

# All at once would be below the budget: the drain goes on as replacements become ready, and the client does not notice.
test_a_drain_keeps_the_budget_and_fails_no_request() {
  local result
  trap 'kubectl uncordon node-2; kubectl uncordon node-3' EXIT
  load_start drain "$(shop_url /)"
  kubectl cordon node-3  # so that it is not trivial: two nodes' pods have to find room on one
  promised drain node-2 --pod-selector=app=shop --ignore-daemonsets --timeout=60s
  assert_eq "$(on_node node-2)" 0
  promised rollout status deployment/shop --timeout=60s
  result=$(load_stop drain)
  assert_eq "${result#* }" 0 "requests answered and failed: $result"
}

test_a_statefulset_keeps_its_data() {
  local before volume
  promised rollout status statefulset/keep --timeout=90s
  for i in 0 1; do promised exec keep-$i -- sh -c "echo of keep-$i >/data/file"; done
  before=$(promised get pod keep-0 -o 'jsonpath={.metadata.uid}')
  volume=$(promised get pvc data-keep-0 -o 'jsonpath={.spec.volumeName}')
  promised delete pod keep-0
  promised scale statefulset/keep --replicas=1
  await 30 "the second pod to go" gone pod keep-1 --namespace promises
  promised scale statefulset/keep --replicas=2
  promised rollout status statefulset/keep --timeout=60s
  [ "$(promised get pod keep-0 -o 'jsonpath={.metadata.uid}')" != "$before" ] || fail "keep-0 is the same pod"
  assert_eq "$(promised get pvc data-keep-0 -o 'jsonpath={.spec.volumeName}')" "$volume"
  for i in 0 1; do assert_eq "$(promised exec keep-$i -- cat /data/file)" "of keep-$i"; done
}

# Each controller goes to a process of its own and back, while a rollout and a Job of 200 are under way.
holders() { kubectl get leases -n kube-system -o json | jq -r '.items[] | select(.metadata.name | startswith("controllers-")) | .spec.holderIdentity' | sort -u | grep -c .; }
holders_are() { [ "$(holders)" = "$1" ]; }
test_controllers_move_without_losing_or_doubling_anything() {
  local names name port=7200 pid seen=$E2E_WORK/seen
  pids=()  # not local: the trap needs them
  names=$("$ROOT/build/bin/gantry-controllers" --help | grep -oE '\{autoscaling[^}]*\}' | tr -d '{}' | tr , ' ')
  trap 'for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; gantry dev start controllers || true' EXIT
  for name in $names; do
    port=$((port + 1))
    "$ROOT/build/bin/gantry-controllers" --controllers="$name" --identity controllers --nats-url tls://172.30.0.1:4222 --nats-ca "$ROOT/.gantry/pki/ca.crt" \
      --nats-creds "$ROOT/.gantry/creds/controllers.creds" --root-ca-file "$ROOT/.gantry/pki/ca.crt" --health-listen "127.0.0.1:$port" 2>"$E2E_WORK/own-$name.log" &
    pids+=($!)
  done
  ((${#pids[@]} >= 20)) || fail "names of controllers: $names"
  for ((p = 7201; p <= port; ++p)); do await 60 "the process at port $p" curl -sf -o /dev/null -m 2 "http://127.0.0.1:$p/readyz"; done

  "$ROOT/build/bin/gantry" events --resource pods --namespace promises -o json >"$seen" &
  pid=$!
  pids+=("$pid")
  await 10 "the event stream" eval 'promised annotate pod keep-0 seen=$RANDOM --overwrite && test -s '"$seen"
  promised patch job hundreds --type=merge -p '{"spec":{"suspend":false}}'
  promised set env deployment/shop MOVED=1
  gantry dev stop controllers
  await 40 "a holder for each controller" holders_are "$((${#pids[@]} - 1))" || { kubectl get leases -n kube-system; tail -n 3 "$E2E_WORK"/own-*.log; return 1; }
  await 60 "the Job to go on" eval '[ "$(promised get job hundreds -o "jsonpath={.status.succeeded}")" -ge 40 ]'
  promised set env deployment/shop MOVED=2
  gantry dev start controllers
  await 60 "controllers" component_is controllers ready
  for p in "${pids[@]}"; do [ "$p" = "$pid" ] || kill "$p"; done
  await 40 "one holder" holders_are 1
  promised rollout status deployment/shop --timeout=120s
  promised wait --for=condition=Complete job/hundreds --timeout=180s
  kill "$pid"

  # 200 pods, one an index; the last rollout made exactly four.
  assert_eq "$(promised get job hundreds -o 'jsonpath={.status.succeeded} {.status.completedIndexes} {.status.failed}')" "200 0-199 "
  jq -r 'select(.type == "ADDED") | .object.metadata.labels["batch.kubernetes.io/job-completion-index"] // empty' "$seen" >"$E2E_WORK/indexes"
  assert_eq "$(wc -l <"$E2E_WORK/indexes") $(sort -u "$E2E_WORK/indexes" | wc -l)" "200 200" "pods made, and indexes"
  local hash
  hash=$(promised get pods -l app=shop -o json | jq -r '.items[] | select(.metadata.deletionTimestamp == null) | .metadata.labels["pod-template-hash"]' | sort -u)
  assert_eq "$(jq -r --arg hash "$hash" 'select(.type == "ADDED" and .object.metadata.labels["pod-template-hash"] == $hash) | .name' "$seen" | wc -l)" 4 "pods of $hash"
}

# A run at each minute that has passed since, none twice.
runs() { promised get jobs -o json | jq -r '.items[] | select(.metadata.ownerReferences[0].name == "minute") | .metadata.name' | sed 's/minute-//' | sort -n; }
test_each_minute_has_its_run() {
  local first last
  await 90 "two runs" eval '[ "$(runs | wc -l)" -ge 2 ]'
  first=$(runs | head -1) last=$(runs | tail -1)
  assert_eq "$(runs)" "$(seq "$first" "$last")"
  kubectl delete namespace promises --timeout=120s
}
