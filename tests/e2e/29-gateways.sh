# Three gateways on a control plane of their own, beside the dev cluster; two of them are killed under load.

test_watches_and_writes_survive_the_end_of_gateways() {
  local plane=$E2E_WORK/plane output
  "$ROOT/build/bin/gantry-load" plane --dir "$plane" --gateways 3 --nodes 1 --port-base 26200 >"$E2E_WORK/plane.log" 2>&1 &
  echo $! >"$E2E_WORK/plane.pid"
  await 60 "the control plane" grep -q ^ready "$E2E_WORK/plane.log"
  # shellcheck disable=SC2046
  output=$(KUBECONFIG=$plane/kubeconfig client_library gateways.mjs $(sed -n 's/^apigw[^ ]* \(http[^ ]*\) pid \(.*\)/\1 \2/p' "$E2E_WORK/plane.log")) || true
  kill "$(cat "$E2E_WORK/plane.pid")"
  wait "$(cat "$E2E_WORK/plane.pid")" || true
  rm "$E2E_WORK/plane.pid"
  echo "$output"
  assert_contains "$output" "all passed"
}
