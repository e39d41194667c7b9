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
