# Down leaves nothing but state, and state comes back.

test_down_leaves_nothing() {
  kubectl create configmap keepsake --from-literal=a=b 2>/dev/null || true
  tools/down
  assert_eq "$(ip -o link | grep -c gantry)" 0
  assert_eq "$(ip netns list | grep -c gantry)" 0
  assert_eq "$(nft list tables | grep -c gantry)" 0
  assert_eq "$(grep -c "$ROOT/.gantry" /proc/self/mountinfo)" 0
  assert_eq "$(find /sys/fs/cgroup -maxdepth 2 -name gantry | wc -l)" 0
  assert_eq "$(pgrep -fc "$ROOT/.gantry/")" 0
}

test_up_again_finds_its_state() {
  gantry dev up --nodes 3
  assert_eq "$(field configmap keepsake '{.data.a}')" b
  await 120 "the demo's pods" ready_is 6 app=web
  await 60 "an answer" curl -sf -m 2 "http://$(node_ip node-1):30080/"
  kubectl delete configmap keepsake
}

test_purge_forgets() {
  tools/down --purge
  [ ! -e "$ROOT/.gantry/redis" ] || fail "Redis' data is still there"
}
