# exec, attach, port-forward, cp, logs and proxy, with the kubectls of two versions and a client library, over WebSocket and SPDY.

old() { "$ROOT/.gantry/bin/kubectl-v32" "$@"; }
# over PROTOCOL kubectl...: spdy turns WebSocket off.
over() {
  local protocol=$1
  shift
  if [ "$protocol" = spdy ]; then KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false KUBECTL_PORT_FORWARD_WEBSOCKETS=false "$@"; else "$@"; fi
}
# each CALL...: with both clients and both protocols.
each() {
  local client protocol
  for client in kubectl old; do
    for protocol in websocket spdy; do
      echo "-- $client over $protocol: $*"
      CLIENT=$client PROTOCOL=$protocol "$@"
    done
  done
}
call() { over "$PROTOCOL" "$CLIENT" "$@"; }
# forward_start TARGET PORT: a port-forward in the background; prints its local port.
forward_start() {
  : >"$E2E_WORK/forward"  # what runs in the background truncates it only when it gets to
  (call port-forward "$1" ":$2" >"$E2E_WORK/forward" 2>&1 & echo $! >"$E2E_WORK/forward.pid")
  await 20 "the forwarding of $1" grep -q "Forwarding from 127.0.0.1" "$E2E_WORK/forward"
  grep -oE '127.0.0.1:[0-9]+' "$E2E_WORK/forward" | head -1
}
forward_stop() { kill "$(cat "$E2E_WORK/forward.pid")"; }

test_begin() {
  tools/kubectl v32 >/dev/null
  kubectl apply -f "$MANIFESTS/streams.yaml"
  kubectl wait --for=condition=Ready pod/streams pod/shell --timeout=60s
  kubectl rollout status deployment/streamed --timeout=60s
}

case_exec() {
  assert_eq "$(call exec streams -c main -- echo hello)" hello
  assert_eq "$(echo typed | call exec -i streams -c main -- cat)" typed
  local status=0
  call exec streams -c main -- sh -c 'exit 42' || status=$?
  assert_eq "$status" 42
  assert_eq "$(call exec streams -c main -- sh -c 'echo out; echo err >&2' 2>/dev/null)" out
  assert_contains "$(refused call exec streams -c main -- nosuchprogram)" nosuchprogram
  assert_contains "$(refused call exec streams -c nope -- ls)" "container nope is not valid for pod streams"
  assert_contains "$(refused call exec nosuchpod -- ls)" 'pods "nosuchpod" not found'
}
test_exec() { each case_exec; }

case_exec_large() {
  [ -s "$E2E_WORK/blob" ] || head -c 5000000 /dev/urandom >"$E2E_WORK/blob"
  assert_eq "$(call exec -i streams -c main -- cat <"$E2E_WORK/blob" | sha256sum)" "$(sha256sum <"$E2E_WORK/blob")"
}
test_exec_carries_both_ways_whole() { each case_exec_large; }

case_terminal() {
  local name=$CLIENT
  [ "$CLIENT" = kubectl ] || name=$ROOT/.gantry/bin/kubectl-v32
  local output
  output=$( (sleep 1; printf 'tty; exit 5\n'; sleep 2) | over "$PROTOCOL" script -qec "stty rows 33 cols 101; $name exec -it streams -c main -- sh -c 'sleep 0.5; stty size; exec sh'" /dev/null) || true
  assert_contains "$output" "33 101"
  assert_contains "$output" /dev/pts
}
test_exec_on_a_terminal() { each case_terminal; }

case_attach() {
  local output
  output=$( (sleep 1; echo "said over $PROTOCOL by $CLIENT"; sleep 2) | call attach -i shell 2>&1) || true
  assert_contains "$output" "heard said over $PROTOCOL by $CLIENT"
  # The end of a client's input ends its attachment, not the container.
  assert_eq "$(field pod shell '{.status.containerStatuses[0].restartCount}')" 0
}
test_attach() { each case_attach; }

case_run() {
  local output status=0
  output=$(echo 'echo from inside; exit 3' | call run once --image=gantry.local/busybox:1 -i --rm --restart=Never --command -- sh 2>&1) || status=$?
  assert_contains "$output" "from inside"
  assert_eq "$status" 3
  await 30 "the pod to go" gone pod once
}
test_run_and_remove() { each case_run; }

case_port_forward() {
  local target address body
  for target in pod/streams service/streams deployment/streamed; do
    address=$(forward_start "$target" 80)
    curl -sf -m 5 -o /dev/null "http://$address/"
    # Many at once.
    seq 20 | xargs -P 20 -I{} curl -sf -m 10 -o /dev/null "http://$address/"
    forward_stop
  done
}
test_port_forward() { each case_port_forward; }

case_port_refused() {
  local address
  address=$(forward_start pod/streams 81)
  if curl -sf -m 5 "http://$address/"; then fail "nobody listens there"; fi
  await 10 "the reason" grep -q "error forwarding port 81" "$E2E_WORK/forward"
  forward_stop
}
test_port_forward_to_a_port_where_nobody_listens() { each case_port_refused; }

case_cp() {
  local from=$E2E_WORK/from to=$E2E_WORK/to
  rm -rf "$from" "$to"
  mkdir -p "$from/inner"
  head -c 3000000 /dev/urandom >"$from/large"
  echo small >"$from/inner/small"
  call exec streams -c main -- rm -rf /tmp/there
  call cp "$from" streams:/tmp/there -c main
  assert_eq "$(call exec streams -c main -- sha256sum /tmp/there/large | cut -d' ' -f1)" "$(sha256sum <"$from/large" | cut -d' ' -f1)"
  call cp streams:/tmp/there "$to" -c main
  diff -r "$from" "$to"
  call cp streams:/tmp/there/inner/small "$E2E_WORK/small" -c main
  assert_eq "$(cat "$E2E_WORK/small")" small
}
test_cp_both_ways() { each case_cp; }

test_logs_in_every_form() {
  local client
  for client in kubectl old; do
    assert_eq "$($client logs streams -c counter --tail=2 | tail -1)" "count 100"
    assert_eq "$($client logs streams -c counter | head -1)" "count 1"
    assert_eq "$($client logs streams -c counter | wc -l)" 100
    assert_eq "$($client logs streams -c counter --limit-bytes=7)" "count 1"
    assert_contains "$($client logs streams -c counter --tail=1 --timestamps)" "Z count 100"
    assert_eq "$($client logs streams -c counter --since=1h | wc -l)" 100
    assert_eq "$($client logs streams -c counter --since-time=2100-01-01T00:00:00Z | wc -l)" 0
    assert_contains "$($client logs streams --all-containers --prefix)" "[pod/streams/counter] count 100"
    assert_contains "$($client logs -l app=streams -c counter --tail=1)" "count 100"
    assert_contains "$(refused $client logs streams -c nope)" "container nope is not valid for pod streams"
    assert_contains "$(refused $client logs streams -c counter --previous)" "previous terminated container \"counter\" in pod \"streams\" not found"
    assert_contains "$(refused $client logs nosuchpod)" 'pods "nosuchpod" not found'
  done
}

test_proxy() {
  local base=/api/v1/namespaces/default
  local page
  page=$(kubectl exec streams -c main -- wget -qO- http://127.0.0.1/)
  assert_eq "$(kubectl get --raw $base/pods/streams/proxy/)" "$page"
  assert_eq "$(kubectl get --raw $base/pods/streams:80/proxy/)" "$page"
  assert_eq "$(kubectl get --raw $base/services/streams:80/proxy/)" "$page"
  assert_eq "$(kubectl get --raw $base/services/http:streams:web/proxy/)" "$page"
  assert_contains "$(kubectl get --raw /api/v1/nodes/node-1/proxy/metrics)" gantry_nodeagent_pods
  assert_contains "$(refused kubectl get --raw $base/services/streams:9/proxy/)" 'no service port "9" found for service "streams"'
  assert_contains "$(refused kubectl get --raw $base/services/hollow:80/proxy/)" "no endpoints available for service"
  assert_contains "$(refused kubectl get --raw $base/pods/streams:81/proxy/)" "error trying to reach service"
  kubectl proxy --port=18001 >"$E2E_WORK/proxy" 2>&1 &
  local proxy=$!
  await 10 "kubectl proxy" grep -q "Starting to serve" "$E2E_WORK/proxy"
  assert_eq "$(curl -sf http://127.0.0.1:18001$base/services/streams:80/proxy/)" "$page"
  assert_eq "$(curl -s -o /dev/null -w '%{http_code} %{redirect_url}' http://127.0.0.1:18001$base/pods/streams/proxy)" "301 http://127.0.0.1:18001$base/pods/streams/proxy/"
  kill $proxy
}

test_the_client_library() {
  local cache=$ROOT/.cache/client-node
  if [ ! -d "$cache/node_modules/@kubernetes/client-node" ]; then
    mkdir -p "$cache"
    npm install --silent --prefix "$cache" @kubernetes/client-node@1 >/dev/null
  fi
  cp "$ROOT/tests/e2e/clients/streams.mjs" "$cache/"
  assert_contains "$(cd "$cache" && timeout 120 node streams.mjs)" "all passed"
}

# Nothing stays behind when clients go without a word.
test_no_session_outlives_its_client() {
  local node pid before clients
  node=$(field pod streams '{.spec.nodeName}')
  pid=$(pid_of "$node.agent")
  before=$(ls "/proc/$pid/fd" | wc -l)
  clients=()
  for _ in $(seq 10); do
    kubectl exec streams -c main -- sleep 1000 >/dev/null 2>&1 &
    clients+=($!)
  done
  sleepers() { kubectl exec streams -c main -- sh -c 'ps | grep -c "[s]leep 1000" || true'; }
  sleepers_are() { [ "$(sleepers)" = "$1" ]; }
  await 30 "ten processes" sleepers_are 10
  kill -9 "${clients[@]}"
  await 30 "no process" sleepers_are 0
  await 30 "the agent's files" eval '[ $(ls /proc/$pid/fd | wc -l) -le $((before + 2)) ]'
}

test_end() { kubectl delete -f "$MANIFESTS/streams.yaml" --wait=false; }
