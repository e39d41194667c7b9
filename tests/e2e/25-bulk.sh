# Logs and exec with more than fits into any buffer on the way, and with a terminal.

SIZE=100000000
MEGABYTES="yes 'The quick brown fox jumps over the lazy dog, again and again and again, until the bytes are enough: 0123456789 abcdefghijklmnopqrstuvwxyz' | head -c $SIZE"

whole() { assert_eq "$(sha256sum)" "$(sh -c "$MEGABYTES" | sha256sum)"; }

test_a_pod_to_talk_to() {
  kubectl delete pod talker --ignore-not-found --wait
  kubectl run talker --image=gantry.local/busybox:1 --restart=Never --overrides='{"spec":{"terminationGracePeriodSeconds":0}}' -- sleep 100000
  kubectl wait --for=condition=Ready pod/talker --timeout=60s
}

test_exec_takes_100_megabytes() {
  head -c $SIZE /dev/urandom >"$E2E_WORK/blob"
  assert_eq "$(timeout 180 kubectl exec -i talker -- sha256sum <"$E2E_WORK/blob")" "$(sha256sum <"$E2E_WORK/blob")"
}

test_exec_echoes_100_megabytes() {
  assert_eq "$(timeout 180 kubectl exec -i talker -- cat <"$E2E_WORK/blob" | sha256sum)" "$(sha256sum <"$E2E_WORK/blob")"
}

test_exec_gives_100_megabytes() { timeout 180 kubectl exec talker -- sh -c "$MEGABYTES" | whole; }

test_exec_gives_100_megabytes_to_a_slow_reader() {
  timeout 180 kubectl exec talker -- sh -c "$MEGABYTES" | (sleep 3; cat) | whole
}

test_gantry_exec_both_ways() {
  assert_eq "$(timeout 180 build/bin/gantry exec -i talker -- cat <"$E2E_WORK/blob" | sha256sum)" "$(sha256sum <"$E2E_WORK/blob")"
  timeout 180 build/bin/gantry exec talker -- sh -c "$MEGABYTES" | whole
}

test_stdout_and_stderr_stay_apart() {
  kubectl exec talker -- sh -c 'for i in $(seq 2000); do echo out $i; echo err $i >&2; done' >"$E2E_WORK/out" 2>"$E2E_WORK/err"
  assert_eq "$(cat "$E2E_WORK/out")" "$(for i in $(seq 2000); do echo "out $i"; done)"
  assert_eq "$(cat "$E2E_WORK/err")" "$(for i in $(seq 2000); do echo "err $i"; done)"
}

test_logs_follow_100_megabytes() {
  kubectl delete pod flood --ignore-not-found --wait
  kubectl run flood --image=gantry.local/busybox:1 --restart=Never -- sh -c "$MEGABYTES"
  await 60 "the flood to begin" eval 'kubectl get pod flood -o jsonpath="{.status.phase}" | grep -E "Running|Succeeded"'
  timeout 180 kubectl logs -f flood | whole
  timeout 180 kubectl logs flood | whole
  timeout 180 build/bin/gantry logs -f flood | whole
  assert_eq "$(kubectl logs flood --tail=3 | wc -l)" 3
  assert_eq "$(kubectl logs flood --limit-bytes=1000 | wc -c)" 1000
  kubectl delete pod flood
}

# What a person at a terminal sees: a pty around the program, what it prints without carriage returns.
at_a_terminal() { python3 "$ROOT/tests/e2e/terminal.py" "$@" | tr -d '\r'; }

test_kubectl_exec_with_a_terminal() {
  local output
  output=$(at_a_terminal 'stty size; test -t 0 && echo a terminal; exit 3' kubectl exec -it talker -- sh)
  assert_contains "$output" "33 101"
  assert_contains "$output" "a terminal"
  assert_contains "$output" "status 3"
}

test_gantry_exec_with_a_terminal() {
  local output
  output=$(at_a_terminal 'stty size; test -t 0 && echo a terminal; exit 3' build/bin/gantry exec -i -t talker -- sh)
  assert_contains "$output" "33 101"
  assert_contains "$output" "a terminal"
  assert_contains "$output" "status 3"
  assert_contains "$output" "modes restored"
}

test_the_pod_goes() { kubectl delete pod talker --timeout=60s; }
