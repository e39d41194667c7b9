# The table of pods: tests/e2e/pods/*.yaml on real containers, all at once. How a case is written: tests/e2e/pods/table.py.
# PODS_ONLY=word runs the cases whose file name holds the word.

test_the_table_of_pods() {
  kubectl delete namespace table --ignore-not-found --timeout=120s
  kubectl create namespace table
  await 30 "the namespace's service account" kubectl get serviceaccount default --namespace table
  python3 tests/e2e/pods/table.py table ${PODS_ONLY:-}
}

# Of a pod that has gone nothing stays: containers, mounts, directories.
of_the_table() {
  local node uid
  for node in node-1 node-2 node-3; do
    in_containerd $node containers ls | grep 'io.kubernetes.pod.namespace=table' || true
    in_containerd $node containers ls -q "labels.\"io.kubernetes.pod.namespace\"==table"
  done
  while read -r uid; do
    grep "$uid" /proc/self/mountinfo || true
    find "$ROOT/.gantry/nodes" -maxdepth 5 -name "$uid" 2>/dev/null
  done <"$E2E_WORK/uids"
}
nothing_of_the_table() { [ -z "$(of_the_table)" ]; }
test_nothing_of_them_is_left() {
  kubectl get pods --namespace table -o 'jsonpath={range .items[*]}{.metadata.uid}{"\n"}{end}' >"$E2E_WORK/uids"
  [ -s "$E2E_WORK/uids" ] || fail "the table left no pods to look for"
  kubectl delete namespace table --timeout=180s
  await 60 "the last of the table's pods to be cleaned up" nothing_of_the_table || { of_the_table; false; }
}

# Volumes over crashes: the data stays, nothing is mounted twice, and nothing stays mounted once the pod is gone.
test_volumes_survive_the_agent_and_their_driver() {
  kubectl delete namespace volumes --ignore-not-found --timeout=120s
  kubectl create namespace volumes
  await 30 "the namespace's service account" kubectl get serviceaccount default --namespace volumes
  kubectl apply --namespace volumes -f "$MANIFESTS/volumes.yaml"
  kubectl wait --namespace volumes --for=condition=Ready pod/keeper --timeout=90s
  local node uid volume mounts
  node=$(field pod/keeper --namespace volumes '{.spec.nodeName}')
  uid=$(field pod/keeper --namespace volumes '{.metadata.uid}')
  volume=$(field pvc/data --namespace volumes '{.spec.volumeName}')
  mounts=$(grep -c "$uid" /proc/self/mountinfo)
  kubectl exec --namespace volumes keeper -- sh -c 'echo kept | tee /data/file /memory/file /part/file'
  kill_component "$node.agent"
  kill_component "$node.csi"
  kubectl wait --namespace volumes --for=condition=Ready pod/keeper --timeout=60s
  assert_eq "$(kubectl exec --namespace volumes keeper -- cat /data/file /memory/file /part/file | sort -u)" kept
  assert_eq "$(field pod/keeper --namespace volumes '{.status.containerStatuses[0].restartCount}')" 0
  assert_eq "$(grep -c "$uid" /proc/self/mountinfo)" "$mounts" "mounts of the pod"
  # The agent dies while it takes the pod down.
  kubectl delete pod keeper --namespace volumes --wait=false
  kill -9 "$(pid_of "$node.agent")"
  await 60 "the pod to be gone" gone pod keeper --namespace volumes
  await 30 "its mounts and directory to be gone" eval "! grep -q $uid /proc/self/mountinfo && [ ! -e $ROOT/.gantry/nodes/$node/agent/pods/$uid ]"
  # The data is there for the next pod, wherever it was mounted before.
  kubectl apply --namespace volumes -f "$MANIFESTS/volumes.yaml"
  kubectl wait --namespace volumes --for=condition=Ready pod/keeper --timeout=90s
  assert_eq "$(kubectl exec --namespace volumes keeper -- cat /data/file)" kept
  assert_eq "$(field pod/keeper --namespace volumes '{.spec.nodeName}')" "$node" "the node of its volume"
  # And it goes with its claim, not before.
  kubectl delete pvc data --namespace volumes --wait=false
  kubectl delete pod keeper --namespace volumes
  await 60 "the claim to be gone" gone pvc data --namespace volumes
  await 60 "its volume to be deleted" gone pv "$volume"
  assert_eq "$(find "$ROOT/.gantry/nodes/$node/csi/volumes" -mindepth 1 | wc -l)" 0 "what the driver keeps"
}

# A volume that somebody made by hand: the claim finds it, its pod goes to its node, and it is kept when the claim goes.
test_a_volume_made_by_hand() {
  local place=$E2E_WORK/by-hand
  mkdir -p "$place" && chmod 777 "$place"
  sed "s,PLACE,$place," "$MANIFESTS/volume-by-hand.yaml" | kubectl apply --namespace volumes -f -
  kubectl wait --namespace volumes --for=condition=Ready pod/by-hand --timeout=90s
  assert_eq "$(field pod/by-hand --namespace volumes '{.spec.nodeName}')" node-2
  await 10 "what it wrote" grep -x written "$place/file"
  kubectl delete --namespace volumes pod/by-hand pvc/by-hand
  await 30 "the volume to be released" eval '[ "$(field pv/by-hand {.status.phase})" = Released ]'
  assert_eq "$(cat "$place/file")" written
  kubectl delete pv by-hand
  await 30 "the volume to be gone" gone pv by-hand
  kubectl delete namespace volumes --timeout=120s
}

# A manifest on the node is a pod there, and shows in the API as what the Node owns; without the manifest it is gone.
test_a_static_pod() {
  local manifest=$ROOT/.gantry/nodes/node-2/manifests/keeper.yaml
  cat >"$manifest" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: by-file}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: "gantry.local/demo:1", command: [sleep, "1000"]}]
YAML
  await 60 "its mirror to be ready" kubectl wait --for=condition=Ready pod/by-file-node-2 --timeout=5s
  assert_eq "$(field pod/by-file-node-2 '{.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}')" Node/node-2
  assert_eq "$(field pod/by-file-node-2 '{.metadata.ownerReferences[0].uid}')" "$(field node/node-2 '{.metadata.uid}')"
  local uid
  uid=$(field pod/by-file-node-2 '{.metadata.uid}')
  # Not waited for: the new mirror is there at once, and kubectl takes it for the old one when it lists too late.
  kubectl delete pod by-file-node-2 --wait=false
  await 30 "the mirror to come back" eval '[ "$(field pod/by-file-node-2 {.metadata.uid})" != '"$uid"' ]'
  rm "$manifest"
  await 60 "the pod to be gone" gone pod by-file-node-2
}

# The machine stops: ordinary pods end first, then critical ones, each says why; the node says that it goes, and comes back.
test_a_node_shuts_down_gracefully() {
  local pid
  kubectl apply -f "$MANIFESTS/shutdown.yaml"
  kubectl wait --for=condition=Ready pod/goes-first pod/goes-last --timeout=90s
  pid=$(pid_of node-3.agent)
  kill -PWR "$pid"
  await 10 "the node to say that it goes" eval '[[ "$(kubectl get node node-3 -o json)" == *"node is shutting down"* ]]'
  await 60 "its agent to be back" eval "[ \$(pid_of node-3.agent) != $pid ] && component_is node-3.agent ready"
  local first last pod
  for pod in goes-first goes-last; do
    await 30 "$pod to have ended" eval "[ \"\$(field pod/$pod {.status.phase})\" = Failed ]"
    assert_eq "$(field pod/$pod '{.status.reason}: {.status.message}')" "Terminated: Pod was terminated in response to imminent node shutdown."
  done
  first=$(date -d "$(field pod/goes-first '{.status.containerStatuses[0].state.terminated.finishedAt}')" +%s)
  last=$(date -d "$(field pod/goes-last '{.status.containerStatuses[0].state.terminated.finishedAt}')" +%s)
  [ "$first" -le "$last" ] || fail "the critical pod ended before the other"
  kubectl wait --for=condition=Ready node/node-3 --timeout=60s
  kubectl delete pods --all-namespaces --field-selector status.phase=Failed,spec.nodeName=node-3
  await 60 "the demo to be whole" ready_is 6 app=web
}
