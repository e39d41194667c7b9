# What a person does with kubectl.

test_get_nodes() {
  local output
  output=$(kubectl get nodes -o wide)
  for node in node-1 node-2 node-3; do
    assert_contains "$(grep "^$node " <<<"$output")" "$(node_ip $node)"
  done
  assert_contains "$output" "containerd://"
}

test_api_resources_and_versions() {
  local output
  output=$(kubectl api-resources)
  for kind in Pod Service Deployment ReplicaSet ConfigMap Secret Node Namespace Lease EndpointSlice; do assert_contains "$output" "$kind"; done
  assert_contains "$(kubectl version)" "Server Version: v1.34"
  assert_contains "$(kubectl cluster-info)" "is running at"
}

test_apply_creates_then_changes_nothing_then_configures() {
  kubectl delete -f "$MANIFESTS/echo.yaml" --ignore-not-found --wait
  local output
  output=$(kubectl apply -f "$MANIFESTS/echo.yaml")
  assert_contains "$output" "deployment.apps/echo created"
  assert_contains "$output" "service/echo created"
  output=$(kubectl apply -f "$MANIFESTS/echo.yaml")
  assert_contains "$output" "deployment.apps/echo unchanged"
  assert_contains "$output" "service/echo unchanged"
  sed 's/replicas: 2/replicas: 3/' "$MANIFESTS/echo.yaml" | kubectl apply -f - | grep 'deployment.apps/echo configured'
  kubectl rollout status deployment/echo --timeout=60s
  assert_eq "$(ready_pods app=echo)" 3
}

test_get_in_every_format() {
  assert_contains "$(kubectl get deployment echo)" "3/3"
  assert_contains "$(kubectl get deployments,services -l app=echo)" "service/echo"
  assert_eq "$(kubectl get deployment echo -o name)" deployment.apps/echo
  assert_eq "$(kubectl get deployment echo -o json | jq .spec.replicas)" 3
  assert_contains "$(kubectl get deployment echo -o yaml)" "apiVersion: apps/v1"
  assert_contains "$(kubectl get all)" "replicaset.apps/echo-"
  assert_contains "$(kubectl get pods -A)" "NAMESPACE"
  assert_contains "$(kubectl get pods -o custom-columns=N:.metadata.name)" "echo-"
  assert_eq "$(kubectl get pods --field-selector spec.nodeName=node-1 -o json | jq -r '[.items[].spec.nodeName] | unique | join(",")')" node-1
}

test_describe() {
  local pod
  pod=$(first_pod app=echo)
  local output
  output=$(kubectl describe pod "$pod")
  assert_contains "$output" "Controlled By:  ReplicaSet/echo-"
  assert_contains "$output" "Scheduled"
  assert_contains "$output" "Started"
  assert_contains "$(kubectl describe deployment echo)" "NewReplicaSet:"
  assert_contains "$(kubectl describe service echo)" "Endpoints:"
  assert_contains "$(kubectl describe node node-1)" "Allocated resources"
}

test_logs() {
  local pod
  pod=$(first_pod app=echo)
  assert_contains "$(kubectl logs "$pod")" "listens on port 80"
  assert_contains "$(kubectl logs deployment/echo)" "listens on port 80"
  assert_contains "$(kubectl logs "$pod" --timestamps --tail=1)" "$(date -u +%Y)"
  assert_contains "$(refused kubectl logs "$pod" -c nope)" "container nope is not valid for pod"
}

test_logs_follow() {
  kubectl delete pod ticker --ignore-not-found --wait
  kubectl run ticker --image=gantry.local/busybox:1 --restart=Never -- sh -c 'for i in 1 2 3 4 5; do echo tick $i; sleep 1; done'
  kubectl wait --for=jsonpath='{.status.phase}'=Running pod/ticker --timeout=30s
  assert_eq "$(timeout 30 kubectl logs -f ticker | tr '\n' ,)" "tick 1,tick 2,tick 3,tick 4,tick 5,"
  await 20 "the ticker to end" eval '[ "$(field pod ticker "{.status.phase}")" = Succeeded ]'
  kubectl delete pod ticker
}

test_exec() {
  local pod
  pod=$(first_pod app=echo)
  assert_eq "$(kubectl exec "$pod" -- hostname)" "$pod"
  assert_eq "$(echo hello | kubectl exec -i "$pod" -- cat)" hello
  local status=0
  kubectl exec "$pod" -- sh -c 'exit 7' || status=$?
  assert_eq $status 7
  assert_contains "$(refused kubectl exec "$pod" -- nosuchprogram)" "nosuchprogram"
}

test_exec_carries_a_large_stdin_whole() {
  local pod
  pod=$(first_pod app=echo)
  head -c 20000000 /dev/urandom >"$E2E_WORK/blob"
  assert_eq "$(timeout 120 kubectl exec -i "$pod" -- cat <"$E2E_WORK/blob" | sha256sum)" "$(sha256sum <"$E2E_WORK/blob")"
}

test_scale_and_rollout_restart() {
  kubectl scale deployment/echo --replicas=4
  kubectl rollout status deployment/echo --timeout=60s
  assert_eq "$(ready_pods app=echo)" 4
  local before
  before=$(pods app=echo | sort)
  kubectl rollout restart deployment/echo
  kubectl rollout status deployment/echo --timeout=120s
  await 60 "the old pods to go" count_is 4 app=echo
  assert_eq "$(comm -12 <(echo "$before") <(pods app=echo | sort) | wc -l)" 0
  assert_contains "$(kubectl rollout history deployment/echo)" "2"
}

test_a_new_image_rolls_out_without_a_failed_request() {
  load_start rollout "http://$(node_ip node-2):30080/"
  kubectl set image deployment/web web=gantry.local/demo:2
  kubectl rollout status deployment/web --timeout=180s
  await 60 "version 2 everywhere" eval '[ "$(for i in 1 2 3 4 5 6 7 8 9 10; do curl -sf -m 2 http://$(node_ip node-1):30080/version; done | sort -u)" = 2 ]'
  local result
  result=$(load_stop rollout)
  assert_eq "${result#* }" 0 "requests answered and failed: $result"
  kubectl set image deployment/web web=gantry.local/demo:1
  kubectl rollout status deployment/web --timeout=180s
}

test_label_annotate_patch_and_wait() {
  kubectl label deployment echo tier=test --overwrite
  assert_contains "$(kubectl get deployments -l tier=test)" echo
  kubectl annotate deployment echo note=hello --overwrite
  kubectl patch deployment echo --type=json -p '[{"op":"replace","path":"/spec/replicas","value":1}]'
  kubectl patch deployment echo -p '{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}}}'
  kubectl wait --for=condition=Available deployment/echo --timeout=60s
  kubectl label deployment echo tier-
  assert_lacks "$(kubectl get deployment echo -o yaml)" "tier: test"
}

test_protobuf_bodies() {
  kubectl delete deployment made --ignore-not-found --wait
  kubectl create deployment made --image=gantry.local/demo:1 --replicas=2
  kubectl rollout status deployment/made --timeout=60s
  kubectl expose deployment made --port=80
  assert_contains "$(kubectl get service made)" 80/TCP
  kubectl create configmap made --from-literal=a=b
  assert_eq "$(field configmap made '{.data.a}')" b
  kubectl create secret generic made --from-literal=password=secret
  assert_eq "$(field secret made '{.data.password}' | base64 -d)" secret
  kubectl delete deployment,service,configmap,secret made
  await 60 "its pods to go" count_is 0 app=made
}

test_config_in_a_pod() {
  kubectl delete pod reader --ignore-not-found --wait
  kubectl apply -f "$MANIFESTS/reader.yaml"
  await 30 "the reader to end" eval '[ "$(field pod reader "{.status.phase}")" = Succeeded ]'
  assert_eq "$(kubectl logs reader | tr '\n' ,)" "from-env,from-file,hush,reader,"
  kubectl delete -f "$MANIFESTS/reader.yaml"
}

test_a_crashing_container_backs_off() {
  kubectl delete pod crasher --ignore-not-found --wait
  kubectl run crasher --image=gantry.local/busybox:1 -- sh -c 'echo dying; exit 3'
  await 60 "CrashLoopBackOff" eval 'kubectl get pod crasher | grep CrashLoopBackOff'
  assert_contains "$(kubectl logs crasher --previous)" dying
  assert_eq "$(field pod crasher '{.status.containerStatuses[0].lastState.terminated.exitCode}')" 3
  kubectl delete pod crasher
}

test_an_image_that_is_not_there() {
  kubectl delete pod lost --ignore-not-found --wait
  kubectl run lost --image=gantry.local/nothere:1
  await 60 "an image error" eval 'kubectl get pod lost | grep -E "ErrImagePull|ImagePullBackOff"'
  kubectl delete pod lost
}

test_a_pod_that_fits_nowhere_says_why() {
  kubectl delete pod huge --ignore-not-found --wait
  kubectl run huge --image=gantry.local/busybox:1 --overrides='{"spec":{"containers":[{"name":"huge","image":"gantry.local/busybox:1","resources":{"requests":{"cpu":"64"}}}]}}'
  await 30 "the reason" eval 'kubectl describe pod huge | grep "FailedScheduling.*Insufficient cpu"'
  assert_contains "$(kubectl get pod huge)" Pending
  kubectl delete pod huge
}

test_errors_that_a_user_knows() {
  assert_contains "$(refused kubectl get pod nope)" 'Error from server (NotFound): pods "nope" not found'
  assert_contains "$(refused kubectl get flurbs)" "the server doesn't have a resource type \"flurbs\""
  assert_contains "$(refused kubectl delete deployment nope)" 'deployments.apps "nope" not found'
  assert_contains "$(printf 'a: b\n c: [' | refused kubectl apply -f -)" "error parsing"
  assert_contains "$(sed 's/replicas: 2/replica: 2/' "$MANIFESTS/echo.yaml" | refused kubectl apply -f -)" 'unknown field "spec.replica"'
  assert_contains "$(sed 's/replicas: 2/replicas: many/' "$MANIFESTS/echo.yaml" | refused kubectl apply -f -)" "replicas"
  assert_contains "$(sed 's/name: echo/name: Echo_/' "$MANIFESTS/echo.yaml" | refused kubectl create -f -)" "is invalid"
  assert_contains "$(refused kubectl create -f "$ROOT/tools/demo/web.yaml")" 'deployments.apps "web" already exists'
  assert_contains "$(refused kubectl create deployment x --image=y -n nowhere)" 'namespaces "nowhere" not found'
}

test_a_conflicting_update() {
  kubectl get deployment echo -o json >"$E2E_WORK/stale.json"
  kubectl annotate deployment echo turn="$RANDOM$RANDOM" --overwrite
  local output
  output=$(refused kubectl replace -f "$E2E_WORK/stale.json")
  assert_contains "$output" "(Conflict)"
  assert_contains "$output" "the object has been modified; please apply your changes to the latest version"
}

# millicores: the second column of what is read is at least that.
uses_cpu() { awk -v least="$1" '{ sub("m", "", $2); if ($2 + 0 >= least) found = 1 } END { exit !found }'; }

test_top_shows_who_is_busy() {
  kubectl apply -f "$MANIFESTS/busy.yaml"
  await 60 "busy to be measured" eval 'kubectl top pod busy --no-headers | uses_cpu 50'
  assert_contains "$(kubectl top pod -l app=busy --containers --no-headers)" "spin"
  assert_eq "$(kubectl top pods -A --sort-by=cpu --no-headers | awk 'NR == 1 { print $2 }')" busy
  await 60 "three nodes to be measured" eval '[ "$(kubectl top nodes --no-headers | wc -l)" = 3 ]'
  kubectl top nodes --no-headers | uses_cpu 50 || fail "no node is busy: $(kubectl top nodes)"
  assert_contains "$(kubectl top pod nobody 2>&1 || true)" 'not found'
  kubectl delete pod busy
}

test_watch_sees_changes() {
  timeout 20 kubectl get configmaps --watch-only --output-watch-events >"$E2E_WORK/watch" &
  local watch=$!
  await 10 "the watch to begin" eval 'kubectl create configmap watched-$RANDOM && grep -q ADDED "$E2E_WORK/watch"'
  kubectl get configmaps -o name | grep watched- | xargs kubectl delete
  await 10 "the deletion" grep -q DELETED "$E2E_WORK/watch"
  kill $watch
}

test_a_namespace_takes_its_objects_along() {
  kubectl delete namespace team --ignore-not-found --wait
  kubectl create namespace team
  kubectl create deployment inside -n team --image=gantry.local/demo:1
  kubectl rollout status deployment/inside -n team --timeout=60s
  kubectl delete namespace team --timeout=90s
  await 10 "the namespace to go" gone namespace team
  assert_contains "$(kubectl get pods -n team 2>&1)" "No resources found"
}

test_delete() {
  kubectl delete -f "$MANIFESTS/echo.yaml"
  await 60 "the pods to go" count_is 0 app=echo
  await 10 "the replica sets to go" eval '[ -z "$(kubectl get replicasets -l app=echo -o name)" ]'
}
