# The same cluster over the bus: the gantry CLI and the event stream.

test_get_as_kubectl_does() {
  assert_eq "$(gantry get deployment web -o json | jq -S 'del(.metadata.managedFields)')" "$(kubectl get deployment web -o json | jq -S 'del(.metadata.managedFields)')"
  assert_eq "$(gantry get pods -l app=web -o name | sort)" "$(kubectl get pods -l app=web -o name | sort)"
  assert_contains "$(gantry get pods -A)" NAMESPACE
  assert_contains "$(gantry get nodes -o wide)" "172.30.0.11"
  assert_contains "$(refused gantry get pod nope)" 'Error from server (NotFound): pods "nope" not found'
  assert_contains "$(refused gantry get flurbs)" "the server doesn't have a resource type \"flurbs\""
}

test_apply_scale_rollout_delete() {
  gantry delete -f "$MANIFESTS/echo.yaml" --ignore-not-found
  assert_contains "$(gantry apply -f "$MANIFESTS/echo.yaml")" "deployment.apps/echo created"
  assert_contains "$(gantry apply -f "$MANIFESTS/echo.yaml")" "deployment.apps/echo unchanged"
  assert_contains "$(kubectl apply -f "$MANIFESTS/echo.yaml")" "deployment.apps/echo unchanged"
  assert_contains "$(gantry rollout status deployment/echo --timeout 60)" "successfully rolled out"
  assert_contains "$(gantry scale deployment/echo --replicas 3)" "deployment.apps/echo scaled"
  gantry rollout status deployment/echo --timeout 60
  assert_eq "$(ready_pods app=echo)" 3
  assert_contains "$(gantry delete -f "$MANIFESTS/echo.yaml")" 'deployment.apps "echo" deleted'
  await 60 "the pods to go" count_is 0 app=echo
}

test_events_show_what_happens() {
  "$ROOT/build/bin/gantry" events --resource configmaps --namespace default -o json >"$E2E_WORK/events" &
  local stream=$!  # of the program: behind the function it would outlive a kill
  await 10 "the first event" eval 'kubectl create configmap seen-$RANDOM && test -s "$E2E_WORK/events"'
  kubectl get configmaps -o name | grep seen- | xargs kubectl delete
  await 10 "the deletion" grep -q '"type":"DELETED"' "$E2E_WORK/events"
  kill $stream
  assert_contains "$(jq -r '.cause.identity' "$E2E_WORK/events" | sort -u)" kubernetes-admin
  assert_eq "$(jq -r .resource "$E2E_WORK/events" | sort -u)" configmaps
}

test_logs_and_exec() {
  local pod
  pod=$(first_pod app=web)
  assert_contains "$(gantry logs "$pod")" "listens on port 80"
  assert_eq "$(gantry exec "$pod" -- hostname)" "$pod"
  assert_eq "$(echo hello | gantry exec -i "$pod" -- cat)" hello
  local status=0
  gantry exec "$pod" -- sh -c 'exit 7' || status=$?
  assert_eq $status 7
}

# From an object back to the command that began it, whoever did what in between.
test_why_history_and_the_past() {
  gantry delete -f "$MANIFESTS/echo.yaml" --ignore-not-found
  kubectl apply -f "$MANIFESTS/echo.yaml"
  kubectl rollout status deployment/echo --timeout=60s
  local before pod chain two
  before=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
  two=$(pods app=echo | sort)
  kubectl scale deployment/echo --replicas=3
  await 60 "the third pod" ready_is 3 app=echo
  pod=$(comm -13 <(echo "$two") <(pods app=echo | sort))
  chain=$(gantry why "pod/$pod" --all -o json)
  # The user's scaling, what the controllers made of it, the binding, and the node's report.
  assert_eq "$(jq -rs '.[0] | [.resource, .name, .who, .because] | join(" ")' <<<"$chain")" "deployments echo kubernetes-admin "
  assert_contains "$(jq -rs '[.[].resource] | unique | join(" ")' <<<"$chain")" "deployments pods replicasets"
  assert_contains "$(jq -rs '[.[].who] | join(",")' <<<"$chain")" "(deployment),system:gantry:controllers (replicaset)"
  assert_contains "$(jq -rs '[.[].verb] | join(" ")' <<<"$chain")" "bind"
  assert_eq "$(jq -rs 'last | [.resource, .name, .revision] | join(" ")' <<<"$chain")" \
    "pods $pod $(field pod "$pod" '{.metadata.resourceVersion}')"
  assert_contains "$(gantry why "pod/$pod")" "spec.replicas: 2 -> 3"

  assert_contains "$(gantry history deployment/echo)" "spec.replicas: 2 -> 3"
  assert_contains "$(gantry history deployment/echo)" "The history reaches back to 20"
  assert_eq "$(gantry get deployment echo --at "$before" -o json | jq .spec.replicas)" 2
  assert_eq "$(gantry get pods -l app=echo --at "$before" --no-headers | wc -l)" 2
  assert_contains "$(gantry get deployments --at 1s)" "3/3"

  kubectl delete deployment echo
  await 60 "the pods to go" count_is 0 app=echo
  assert_contains "$(gantry why "pod/$pod")" "deleted"
  assert_contains "$(gantry history "pod/$pod")" "deleted"
  assert_contains "$(refused gantry why pod/nope)" 'pods "nope" not found'
  assert_contains "$(refused gantry get pods --at 999d)" "is before the event history, which reaches back to"
  assert_contains "$(refused gantry get pods --at yesterday)" "is no time"
  kubectl delete -f "$MANIFESTS/echo.yaml" --ignore-not-found
}
