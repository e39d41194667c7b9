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
