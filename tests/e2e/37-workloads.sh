# What runs pods, beside plain Deployments, on real containers: all start together, then each is looked at.

works() { kubectl --namespace works "$@"; }

test_workloads_of_all_kinds_are_declared() {
  kubectl delete namespace works --ignore-not-found --timeout=120s
  kubectl create namespace works
  await 30 "the namespace's service account" works get serviceaccount default
  works apply -f "$MANIFESTS/workloads.yaml"
  works create job now --from=cronjob/tick
}

test_twenty_indexes_complete_each_once() {
  local pods
  works wait --for=condition=Complete job/count --timeout=120s
  assert_eq "$(works get job count -o 'jsonpath={.status.succeeded} {.status.completedIndexes} {.status.failed}')" "20 0-19 "
  pods=$(works get pods -l job-name=count -o json)
  assert_eq "$(jq '[.items[].metadata.labels["batch.kubernetes.io/job-completion-index"]] | unique | length' <<<"$pods")" 20
  assert_eq "$(jq '.items | length' <<<"$pods")" 20
  assert_eq "$(jq '[.items[].metadata.finalizers // [] | .[]] | length' <<<"$pods")" 0
  assert_eq "$(works logs -l batch.kubernetes.io/job-completion-index=7)" "index 7 of count-7"
}

test_a_failure_policy_ends_a_job() {
  works wait --for=condition=Failed job/broken --timeout=60s
  assert_contains "$(works get job broken -o 'jsonpath={.status.conditions}')" "matching FailJob rule at index 0"
  assert_eq "$(works get job broken -o 'jsonpath={.status.failed}')" 1
}

has_succeeded() { [ -n "$(works get cronjob tick -o 'jsonpath={.status.lastSuccessfulTime}')" ]; }
no_job() { ! works get job "$1"; }
test_a_cronjob_is_run_by_hand_and_its_job_goes_in_time() {
  await 60 "the CronJob to hear of its success" has_succeeded
  await 60 "the finished Job to go" no_job now
}

versions() { works get pods -l "app=$1" -o 'jsonpath={range .items[*]}{.spec.containers[0].env[0].value} {end}'; }
test_statefulset_and_daemonset_roll_out() {
  works rollout status statefulset/db --timeout=60s
  works rollout status daemonset/log --timeout=60s
  assert_eq "$(works get pods -l app=db -o 'jsonpath={.items[*].metadata.name}')" "db-0 db-1"
  assert_eq "$(works exec db-1 -- hostname)" db-1
  assert_eq "$(works get pods -l app=log -o json | jq '[.items[].spec.nodeName] | unique | length')" 3
  works set env statefulset/db VERSION=2
  works set env daemonset/log VERSION=2
  works rollout status statefulset/db --timeout=60s
  works rollout status daemonset/log --timeout=60s
  assert_eq "$(versions db)" "2 2 "
  assert_eq "$(versions log)" "2 2 2 "
}

busy_is() { [ "$(works get deployment busy -o 'jsonpath={.spec.replicas}')" = "$1" ]; }
test_a_busy_deployment_grows_to_its_limit() {
  await 90 "the autoscaler to act" busy_is 2
  assert_contains "$(works get hpa busy -o 'jsonpath={.status.conditions[*].reason}')" ValidMetricFound
}

rested() {
  local pod
  for pod in $(works get pods -l app=busy --field-selector=status.phase=Running -o name); do works exec "$pod" -- touch /tmp/rest || true; done
  busy_is 1
}
test_and_shrinks_when_there_is_nothing_to_do() {
  await 120 "the autoscaler to take a pod away" rested
  works delete deployment busy
}

# stream VERB...: as somebody who may do nothing on the bus but have streams.
stream() {
  local cache=$ROOT/.cache/client-nats
  [ -d "$cache/node_modules/nats" ] || npm install --silent --prefix "$cache" nats@2.29.3 >/dev/null
  [ -s "$E2E_WORK/shop.creds" ] || gantry credentials shop --authority "$ROOT/.gantry/nats/authority" --publish 'orders.>' --publish '$JS.API.>' >"$E2E_WORK/shop.creds"
  cp "$ROOT/tests/e2e/clients/stream.mjs" "$cache/"
  (cd "$cache" && timeout 60 node stream.mjs tls://172.30.0.1:4222 "$ROOT/.gantry/pki/ca.crt" "$E2E_WORK/shop.creds" shop orders "$@")
}
workers_are() { [ "$(works get deployment worker -o 'jsonpath={.spec.replicas} {.status.readyReplicas}')" = "$1" ]; }
test_workers_come_with_a_streams_messages_and_go_with_them() {
  stream drop 2>/dev/null || true
  stream make
  await 30 "no workers for no messages" workers_are "0 "
  stream add 25
  await 60 "three workers for 25 messages" workers_are "3 3"
  assert_contains "$(works get hpa worker -o 'jsonpath={.status.conditions[*].reason}')" ValidMetricFound
  stream purge
  await 60 "the workers to go" workers_are "0 "
  stream drop
  works delete hpa,deployment worker
}

allowed_is() { [ "$(works get pdb db -o 'jsonpath={.status.disruptionsAllowed}')" = "$1" ]; }
test_a_budget_is_kept() {
  await 30 "the budget to be counted" allowed_is 0
  local node
  node=$(works get pod db-0 -o "jsonpath={.spec.nodeName}")
  assert_contains "$(refused works drain "$node" --pod-selector=app=db --timeout=3s)" "disruption budget"
  works uncordon "$node"
  works patch pdb db --type=merge -p '{"spec":{"minAvailable":1}}'
  await 30 "the budget to allow one" allowed_is 1
}

test_pods_keep_apart() {
  works apply -f - <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: apart}
spec:
  replicas: 4
  selector: {matchLabels: {app: apart}}
  template:
    metadata: {labels: {app: apart}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: apart}}, topologyKey: kubernetes.io/hostname}]}}
      containers: [{name: main, image: "gantry.local/demo:1", command: [sleep, "1000"]}]
YAML
  await 60 "one on each node" eval '[ "$(works get deployment apart -o "jsonpath={.status.readyReplicas}")" = 3 ]'
  assert_eq "$(works get pods -l app=apart -o json | jq '[.items[].spec.nodeName // empty] | unique | length')" 3
  assert_contains "$(works describe pod -l app=apart)" "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules."
  works scale deployment/apart --replicas=3
  works rollout status deployment/apart --timeout=60s
}

# One host port for two: the more important pod gets it.
test_a_more_important_pod_takes_the_place_of_another() {
  kubectl apply -f - <<'YAML'
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: urgent}
value: 1000
YAML
  port_holder() {
    works apply -f - <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  $2
  nodeSelector: {kubernetes.io/hostname: node-3}
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: "gantry.local/demo:1", ports: [{containerPort: 80, hostPort: 18080}]}]
YAML
  }
  port_holder modest ""
  works wait --for=condition=Ready pod/modest --timeout=60s
  port_holder another ""
  await 20 "the second to wait" eval 'works describe pod another | grep -q "didn.t have free ports.*No preemption victims found"'
  port_holder pressing "priorityClassName: urgent"
  works wait --for=condition=Ready pod/pressing --timeout=60s
  await 30 "the first to go" gone pod modest --namespace works
  assert_contains "$(works get events)" "Preempted by pod"
  works delete pod another pressing
  kubectl delete priorityclass urgent
}

test_they_are_undone() {
  assert_eq "$(works rollout history statefulset/db | grep -cE '^[12] ')" 2
  works rollout undo statefulset/db
  works rollout undo daemonset/log --to-revision=1
  works rollout status statefulset/db --timeout=60s
  works rollout status daemonset/log --timeout=60s
  assert_eq "$(versions db)" "1 1 "
  assert_eq "$(versions log)" "1 1 1 "
  works delete daemonset log --timeout=60s
  works scale statefulset/db --replicas=1
  await 30 "the second pod to go" gone pod db-1 --namespace works
  kubectl delete namespace works --timeout=120s
}
