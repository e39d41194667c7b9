# Every group of commands that the other files do not use, with the kubectls of two versions.

old() { "$ROOT/.gantry/bin/kubectl-v32" "$@"; }
# each CASE: with both clients, in a namespace of its own.
each() {
  local client
  tools/kubectl v32 >/dev/null
  for client in kubectl old; do
    echo "-- $client: $*"
    kubectl create namespace commands
    CLIENT=$client "$@"
    kubectl delete namespace commands --timeout=60s
  done
}
k() { "$CLIENT" --namespace commands "$@"; }

case_create() {
  k create deployment web --image=gantry.local/demo:1 --replicas=2
  k create configmap notes --from-literal=a=first
  k create secret generic keys --from-literal=token=s3cret
  k create serviceaccount robot
  k create role reader --verb=get,list --resource=pods
  k create rolebinding reads --role=reader --serviceaccount=commands:robot
  k create quota few --hard=pods=20
  k create poddisruptionbudget calm --selector=app=web --min-available=1
  assert_contains "$(refused k create ingress front --rule='example.org/=web:80')" "it names no IngressClass"
  k apply -f "$MANIFESTS/ingress-class.yaml"
  k create ingress front --class=e2e --rule='example.org/=web:80'
  k create job once --image=gantry.local/demo:1 -- true
  k create cronjob often --image=gantry.local/demo:1 --schedule='*/5 * * * *' -- true
  assert_contains "$(k create deployment x --image=y --dry-run=client -o yaml)" "kind: Deployment"
  assert_contains "$(k create deployment x --image=y --dry-run=server -o yaml)" "uid:"
  assert_contains "$(refused k get deployment x)" 'deployments.apps "x" not found'
  assert_contains "$(refused k create configmap notes)" 'already exists'
  assert_eq "$(k get secret keys -o 'jsonpath={.data.token}' | base64 -d)" s3cret
}
test_create() { each case_create; }

case_edit() {
  k create configmap notes --from-literal=a=first --from-literal=b=kept
  KUBE_EDITOR="sed -i s/first/second/" k edit configmap notes
  assert_eq "$(k get configmap notes -o 'jsonpath={.data.a}{.data.b}')" secondkept
  assert_contains "$(KUBE_EDITOR=true k edit configmap notes 2>&1)" "no changes made"
  k patch configmap notes --type=merge -p '{"data":{"a":"third"}}'
  k patch configmap notes --type=json -p '[{"op":"add","path":"/data/c","value":"fourth"}]'
  k patch configmap notes --type=strategic -p '{"data":{"b":null}}'
  assert_eq "$(k get configmap notes -o 'jsonpath={.data}')" '{"a":"third","c":"fourth"}'
  k label configmap notes tier=x && k label configmap notes tier=y --overwrite && k label configmap notes tier-
  k annotate configmap notes why=because
  k get configmap notes -o yaml | sed 's/third/fifth/' | k replace -f -
  assert_eq "$(k get configmap notes -o 'jsonpath={.data.a}{.metadata.annotations.why}')" fifthbecause
  k get configmap notes -o yaml | k replace --force -f -
  assert_contains "$(refused k patch configmap notes --type=json -p '[{"op":"test","path":"/data/a","value":"x"}]')" "a"
}
test_edit_patch_and_replace() { each case_edit; }

case_apply() {
  local status=0 output
  k apply -f "$MANIFESTS/echo.yaml"
  k diff -f "$MANIFESTS/echo.yaml"
  sed 's/replicas: 2/replicas: 3/' "$MANIFESTS/echo.yaml" >"$E2E_WORK/three.yaml"
  output=$(k diff -f "$E2E_WORK/three.yaml") || status=$?
  assert_eq "$status" 1 "status of a diff"
  assert_contains "$output" "+  replicas: 3"
  k apply --server-side -f "$MANIFESTS/echo.yaml" --force-conflicts --field-manager=first
  output=$(refused k apply --server-side -f "$E2E_WORK/three.yaml" --field-manager=second)
  assert_contains "$output" 'conflict with "first"'
  assert_contains "$output" ".spec.replicas"
  k apply --server-side -f "$E2E_WORK/three.yaml" --field-manager=second --force-conflicts
  assert_eq "$(k get deployment echo -o 'jsonpath={.spec.replicas}')" 3
  k rollout status deployment/echo --timeout=60s
  k wait --for=condition=Available deployment/echo --timeout=30s
  k wait --for=jsonpath='{.status.readyReplicas}'=3 deployment/echo --timeout=30s
  assert_contains "$(k events --for "deployment/echo")" "ScalingReplicaSet"
  k delete -f "$MANIFESTS/echo.yaml" --wait=false
  k wait --for=delete deployment/echo --timeout=60s
}
test_apply_diff_and_wait() { each case_apply; }

case_rollout() {
  k create deployment web --image=gantry.local/demo:1 --replicas=2
  k rollout status deployment/web --timeout=60s
  k set image deployment/web demo=gantry.local/demo:2
  k rollout status deployment/web --timeout=60s
  assert_contains "$(k rollout history deployment/web)" "2"
  k rollout undo deployment/web
  k rollout status deployment/web --timeout=60s
  assert_eq "$(k get deployment web -o 'jsonpath={.spec.template.spec.containers[0].image}')" gantry.local/demo:1
  k rollout pause deployment/web
  k set env deployment/web COLOR=blue
  k set resources deployment/web --requests=cpu=10m
  k rollout resume deployment/web
  k rollout status deployment/web --timeout=60s
  k autoscale deployment/web --min=1 --max=3 --cpu-percent=50
  assert_contains "$(k get hpa web)" "Deployment/web"
  k expose deployment web --port=80
  assert_contains "$(k get service web)" "80/TCP"
  k run single --image=gantry.local/demo:1
  k wait --for=condition=Ready pod/single --timeout=60s
}
test_rollout_autoscale_and_expose() { each case_rollout; }

case_drain() {
  trap 'kubectl uncordon node-3; kubectl taint node node-3 maintenance- || true' EXIT
  k create deployment drained --image=gantry.local/demo:1 --replicas=6
  k rollout status deployment/drained --timeout=60s
  "$CLIENT" taint node node-3 maintenance=yes:PreferNoSchedule
  assert_contains "$("$CLIENT" describe node node-3)" "maintenance=yes:PreferNoSchedule"
  "$CLIENT" taint node node-3 maintenance-
  "$CLIENT" cordon node-3
  assert_contains "$("$CLIENT" get node node-3)" "SchedulingDisabled"
  "$CLIENT" drain node-3 --pod-selector=app=drained --timeout=90s --ignore-daemonsets
  assert_eq "$(k get pods --field-selector spec.nodeName=node-3 -o json | jq '[.items[] | select(.metadata.deletionTimestamp == null)] | length')" 0
  "$CLIENT" uncordon node-3
  assert_lacks "$("$CLIENT" get node node-3)" "SchedulingDisabled"
  k rollout status deployment/drained --timeout=60s
}
test_taint_cordon_and_drain() { each case_drain; }

case_explain() {
  assert_contains "$(k explain pod.spec.containers.livenessProbe)" "httpGet"
  assert_contains "$(k explain deployment --recursive)" "maxSurge"
  assert_contains "$(k api-resources --api-group=batch)" "cronjobs"
  assert_contains "$(k api-versions)" "networking.k8s.io/v1"
  assert_contains "$(k version)" "Server Version: v1.34"
  assert_contains "$(k cluster-info)" "is running at"
  assert_eq "$(k get --raw /livez)" ok
  assert_contains "$(k get --raw '/readyz?verbose')" "check passed"
  assert_contains "$(k auth whoami)" kubernetes-admin
}
test_explain_and_what_there_is() { each case_explain; }
