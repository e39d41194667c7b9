# Control planes of their own, beside the dev cluster, without containers: gateways that are killed, besieged and measured.

# with_plane GATEWAYS COMMAND...: runs the command with PLANE, its folder, and GATEWAYS, "URL PID" of each; prints what it prints.
with_plane() {
  export PLANE=$E2E_WORK/plane
  local gateways=$1 output
  shift
  rm -rf "$PLANE"
  : >"$E2E_WORK/plane.log"  # the plane before was ready, too
  "$ROOT/build/bin/gantry-load" plane --dir "$PLANE" --gateways "$gateways" --nodes 1 --port-base 26200 >"$E2E_WORK/plane.log" 2>&1 &
  echo $! >"$E2E_WORK/plane.pid"
  await 60 "the control plane" grep -q ^ready "$E2E_WORK/plane.log"
  GATEWAYS=$(sed -n 's/^apigw[^ ]* \(http[^ ]*\) pid \(.*\)/\1 \2/p' "$E2E_WORK/plane.log")
  output=$("$@") || true
  kill "$(cat "$E2E_WORK/plane.pid")"
  wait "$(cat "$E2E_WORK/plane.pid")" || true
  rm "$E2E_WORK/plane.pid"
  echo "$output"
}

# shellcheck disable=SC2086
killed() { KUBECONFIG=$PLANE/kubeconfig client_library gateways.mjs $GATEWAYS; }
test_watches_and_writes_survive_the_end_of_gateways() { assert_contains "$(with_plane 3 killed)" "all passed"; }

# shellcheck disable=SC2086
besieged() { timeout 300 node tests/e2e/clients/hostile.mjs $GATEWAYS "$PLANE/pki"; }
test_hostile_peers_take_neither_time_nor_memory_from_others() { assert_contains "$(with_plane 1 besieged)" "all passed"; }

test_the_load_tool_measures() {
  local output
  output=$("$ROOT/build/bin/gantry-load" api --dir "$E2E_WORK/api" --port-base 26200 --pods 300 --watchers 30 --seconds 1)
  assert_contains "$output" "creates of 300 pods"
  assert_contains "$output" "20 events a second to each of 30 watches"
}
