# A node without network, and controllers without a bus.

CUT_SECONDS=60

node_is() { [ "$(field node "$1" '{.status.conditions[?(@.type=="Ready")].status}')" = "$2" ]; }
containers_on() { in_containerd "$1" tasks ls | awk '$3 == "RUNNING" { print $1 }' | sort; }

# Six pods of `moving`, and none that still ends from before: it would look evicted.
start_moving() {
  kubectl delete deployment moving --ignore-not-found --wait
  await 60 "no pod of moving" count_is 0 app=moving
  kubectl apply -f "$MANIFESTS/moving.yaml"
  kubectl rollout status deployment/moving --timeout=60s
}

test_a_cut_node_keeps_its_containers_and_loses_its_pods() {
  trap 'gantry dev mend node-3' EXIT
  start_moving
  local on_node running start=$SECONDS
  on_node=$(kubectl get pods -l app=moving --field-selector spec.nodeName=node-3 -o name | wc -l)
  ((on_node >= 1)) || fail "no pod on node-3 to move"
  running=$(containers_on node-3)
  gantry dev cut node-3
  await 60 "node-3 Unknown" node_is node-3 Unknown
  # A client outside does not meet the lost node's pods any more.
  await 30 "the proxies to know" eval 'for i in $(seq 100); do curl -sf -m 2 -o /dev/null "http://$(node_ip node-1):30080/" || return 1; done'
  load_start cut "http://$(node_ip node-1):30080/"
  await 60 "six pods elsewhere" eval '[ "$(kubectl get pods -l app=moving -o json | jq "[.items[] | select(.spec.nodeName != \"node-3\" and any(.status.conditions[]?; .type == \"Ready\" and .status == \"True\"))] | length")" = 6 ]'
  # The web pods tolerate the usual 300 s and must still be there, and everything on the node still runs.
  await $((CUT_SECONDS + 30)) "the cut to have lasted" eval "((SECONDS - $start >= $CUT_SECONDS))"
  assert_eq "$(containers_on node-3)" "$running" "containers on the cut node"
  local result
  result=$(load_stop cut)
  assert_eq "${result#* }" 0 "requests answered and failed: $result"
  gantry dev mend node-3
  await 60 "node-3 Ready" node_is node-3 True
  await 60 "the replaced pods to end on node-3" eval '[ "$(kubectl get pods -l app=moving -o json | jq "[.items[] | select(.metadata.deletionTimestamp != null)] | length")" = 0 ]'
  await 60 "six pods of moving" count_is 6 app=moving
  await 60 "the web pods" ready_is 6 app=web
  kubectl delete deployment moving
}

test_controllers_without_a_bus_evict_nothing() {
  trap 'gantry dev mend controllers' EXIT
  await 60 "a calm start" ready_is 6 app=web
  start_moving
  local before start=$SECONDS
  before=$(identities app=moving && identities app=web)
  gantry dev cut controllers
  await $((CUT_SECONDS + 5)) "the cut to have lasted" eval "((SECONDS - $start >= $CUT_SECONDS))"
  gantry dev mend controllers
  await 60 "controllers" component_is controllers ready
  kubectl scale deployment/moving --replicas=7
  await 60 "the controllers to work" ready_is 7 app=moving
  local evicted
  evicted=$(comm -23 <(sort <<<"$before") <( (identities app=moving && identities app=web) | sort))
  [ -z "$evicted" ] || fail "evicted or restarted: $evicted"
  for node in node-1 node-2 node-3; do node_is $node True || fail "$node is not Ready"; done
  kubectl delete deployment moving
}
