# kill -9 of everything, one after another, under load: all returns, nothing acknowledged is lost, and no container restarts that was not
# itself killed.

settled() { all_components_ready && ready_is 6 app=web; }

# survives COMPONENT: its death restarts no container and loses no write.
survives() {
  local component=$1 before result written
  await 60 "a calm start" settled
  before=$(identities app=web)
  load_start "$component" "http://$(node_ip node-2):30080/"
  writer_start "w-${component//./-}"
  kill_component "$component"
  # A while under load after it: what broke shows.
  await 30 "writes to go on" eval "[ \$(wc -l <'$E2E_WORK/acknowledged-w-${component//./-}') -ge 5 ]"
  await 60 "everything back" settled
  result=$(load_stop "$component")
  written=$(writer_stop "w-${component//./-}")
  echo "$component: requests answered and failed: $result, objects written: $written"
  assert_eq "$(identities app=web)" "$before" "containers"
  # The data plane does not depend on the control plane.
  assert_eq "${result#* }" 0 "requests answered and failed: $result"
}

test_redis() { survives redis; }
test_nats() { survives nats; }
test_apigw() { survives apigw; }
test_controllers() { survives controllers; }
test_scheduler() { survives scheduler; }
test_an_agent() { survives node-2.agent; }
test_a_proxy() { survives node-2.proxy; }
test_containerd() { survives node-2.containerd; }

test_the_supervisor() {
  local before
  before=$(gantry dev status --json | jq -c 'map([.name, .pid])' && identities app=web)
  kill -9 "$(cut -d' ' -f1 "$ROOT/.gantry/run/supervisor.pid")"
  gantry dev up --nodes 3
  assert_eq "$(gantry dev status --json | jq -c 'map([.name, .pid])' && identities app=web)" "$before"
}

test_a_containers_process() {
  local pod node id pid
  pod=$(first_pod app=web)
  node=$(field pod "$pod" '{.spec.nodeName}')
  id=$(container_id "$pod")
  pid=$(in_containerd "$node" tasks ls | awk -v id="$id" '$1 == id { print $2 }')
  kill -9 "$pid"
  await 60 "the container to run again" eval "[ \$(field pod $pod '{.status.containerStatuses[0].restartCount}') -ge 1 ] && ready_is 6 app=web"
  assert_eq "$(field pod "$pod" '{.status.containerStatuses[0].lastState.terminated.exitCode}')" 137
  [ "$(container_id "$pod")" != "$id" ] || fail "the same container"
}

test_a_shim() {
  local pod node sandbox pid
  pod=$(first_pod app=web)
  node=$(field pod "$pod" '{.spec.nodeName}')
  sandbox=$(in_containerd "$node" containers ls -q | while read -r id; do
    in_containerd "$node" containers info "$id" | jq -r --arg pod "$pod" 'select(.Labels["io.kubernetes.pod.name"] == $pod and .Labels["io.cri-containerd.kind"] == "sandbox") | .ID'
  done | head -1)
  pid=$(pgrep -f -- "containerd-shim.* -id $sandbox " | head -1)
  kill -9 "$pid"
  await 90 "the pod to be whole again" eval "! kill -0 $pid 2>/dev/null && ready_is 6 app=web"
  await 30 "six answering pods" eval '[ "$(for i in $(seq 60); do curl -sf -m 2 http://$(node_ip node-1):30080/pod; done | sort -u | wc -l)" = 6 ]'
}

test_all_of_the_control_plane_at_once() {
  local before name pids=()
  await 60 "a calm start" settled
  before=$(identities app=web)
  for name in redis nats apigw controllers scheduler; do pids+=("$(pid_of $name)"); done
  kill -9 "${pids[@]}"
  await 60 "everything back" settled
  assert_eq "$(identities app=web)" "$before" "containers"
  kubectl scale deployment/web --replicas=7
  await 60 "a seventh pod" ready_is 7 app=web
  kubectl scale deployment/web --replicas=6
  await 60 "six again" count_is 6 app=web
}
