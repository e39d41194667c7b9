# From nothing to a serving cluster, and a second time.

test_up_from_nothing() {
  gantry dev down --purge
  tools/up --nodes 3
  assert_eq "$(kubectl get nodes --no-headers | grep -cw Ready)" 3
  assert_eq "$(ready_pods app=web)" 6
  assert_contains "$(curl -sf -m 2 "http://$(node_ip node-1):30080/")" "version: 1"
}

test_the_demo_is_spread_over_the_nodes() {
  assert_eq "$(kubectl get pods -l app=web -o json | jq -r '[.items[].spec.nodeName] | unique | length')" 3
}

test_up_again_changes_nothing() {
  local before after start=$SECONDS
  before=$(gantry dev status --json | jq -c 'map([.name, .pid])' && identities app=web)
  tools/up --nodes 3
  after=$(gantry dev status --json | jq -c 'map([.name, .pid])' && identities app=web)
  assert_eq "$after" "$before"
  ((SECONDS - start < 30)) || fail "took $((SECONDS - start)) s"
}
