# The walk of docs/tour.md: `tools/tour` runs it on the dev cluster and writes the page anew.
# Lines "#: text" become prose, the others are run and shown with what they print; "#! command" is run and not shown.

#: # A tour
#:
#: Every promise once, as a new user would try it: commands and what they printed, on a cluster of three nodes that `sudo tools/up` started on one machine.
#: This page is written by `tools/tour`, which runs [tour/tour.sh](tour/tour.sh) on the dev cluster: run it again after a change.
#:
#: ## The cluster
#:
#: Real nodes, each with its own containerd, network namespace and agent; the control plane is five processes and two servers.
kubectl get nodes -o wide
gantry dev status

#: ## Deployments
#:
#: A web server behind a node port. Its declaration is [tour/shop.yaml](tour/shop.yaml): a Deployment, a Service, a PodDisruptionBudget.
#! kubectl create namespace tour
#! kubectl config set-context --current --namespace=tour
kubectl apply -f docs/tour/shop.yaml
kubectl rollout status deployment/shop --timeout=60s
kubectl get pods -l app=shop -o wide
#! await 30 "the shop" curl -sf -m 2 http://172.30.0.11:30092/version
curl -s http://172.30.0.11:30092/version; echo

#: A new image, while a client outside asks as fast as it can: no request fails.
load start http://172.30.0.11:30092/
kubectl set image deployment/shop web=gantry.local/demo:2
kubectl rollout status deployment/shop --timeout=90s
load stop
curl -s http://172.30.0.11:30092/version; echo

#: An image that does not exist stops the rollout before it takes anything away, and is undone.
kubectl set image deployment/shop web=gantry.local/nothere:1
#! await 30 "the refusal" eval 'kubectl get pods -l app=shop | grep -q Image'
kubectl get deployment shop
kubectl get pods -l app=shop
kubectl rollout undo deployment/shop
kubectl rollout status deployment/shop --timeout=60s
kubectl rollout history deployment/shop

#: ## Why
#:
#: Every commit says what it was made for. So the way from a user's command to any object can be told ([history.md](history.md)).
kubectl scale deployment/shop --replicas=5
#! kubectl rollout status deployment/shop --timeout=60s
gantry why -n tour pod/$(kubectl get pods -l app=shop --sort-by=.status.startTime -o name | tail -1 | cut -d/ -f2)
gantry history -n tour deployment/shop | tail -6
gantry get -n tour deployments --at 10s
kubectl get deployments
#: A pod that somebody deletes is replaced, and the replacement tells who it was:
#! before=$(kubectl get pods -l app=shop -o name | sort)
kubectl delete $(kubectl get pods -l app=shop -o name | head -1)
#! kubectl rollout status deployment/shop --timeout=60s
#! await 30 "the replacement" eval '[ -n "$(comm -13 <(echo "$before") <(kubectl get pods -l app=shop -o name | sort))" ]'
#! new=$(comm -13 <(echo "$before") <(kubectl get pods -l app=shop -o name | sort) | head -1)
gantry why -n tour $new | head -5

#: ## StatefulSets
#:
#: Stable names, a claim for each pod; the data outlive the pod. [tour/keep.yaml](tour/keep.yaml).
kubectl apply -f docs/tour/keep.yaml
kubectl rollout status statefulset/keep --timeout=90s
kubectl get pods -l app=keep; kubectl get pvc
kubectl exec keep-0 -- sh -c 'echo precious >/data/file'
kubectl delete pod keep-0
#! kubectl rollout status statefulset/keep --timeout=60s
kubectl exec keep-0 -- cat /data/file

#: ## DaemonSets, Jobs, CronJobs
#:
#: A pod on each node; twenty indexes, each once; a run each minute. [tour/work.yaml](tour/work.yaml).
kubectl apply -f docs/tour/work.yaml
kubectl rollout status daemonset/everywhere --timeout=60s
kubectl get pods -l app=everywhere -o wide
kubectl wait --for=condition=Complete job/twenty --timeout=120s
kubectl get job twenty -o jsonpath='{.status.succeeded} succeeded: {.status.completedIndexes}{"\n"}'
kubectl create job now --from=cronjob/minute
kubectl wait --for=condition=Complete job/now --timeout=60s
kubectl logs job/now

#: ## Autoscaling
#:
#: One pod that never rests; the autoscaler wants half of what it asked for. [tour/busy.yaml](tour/busy.yaml).
kubectl apply -f docs/tour/busy.yaml
#! await 90 "the autoscaler" eval '[ "$(kubectl get deployment busy -o jsonpath={.spec.replicas})" = 2 ]'
kubectl get hpa busy
kubectl get events --field-selector involvedObject.name=busy,reason=SuccessfulRescale
#! kubectl delete -f docs/tour/busy.yaml

#: ## Drains and budgets
#:
#: The budget lets one pod of `shop` go at a time; the drain waits for replacements, the client does not notice.
kubectl get pdb shop
load start http://172.30.0.11:30092/
kubectl drain node-3 --pod-selector=app=shop --timeout=60s
load stop
kubectl get pods -l app=shop -o wide
kubectl uncordon node-3

#: ## Things that die
#:
#: The agent of a node is killed: its containers do not notice, and it finds them again. So it is with every process of the control plane.
kill -9 $(gantry dev status --json | jq '.[] | select(.name == "node-1.agent" or .name == "controllers" or .name == "apigw") | .pid')
#! await 60 "the cluster" eval '! gantry dev status | grep -qE "starting|backoff|waiting"'
#! await 60 "nodes" kubectl wait --for=condition=Ready nodes --all --timeout=60s
gantry dev status | head -6
kubectl get pods -l app=shop
#: A container that dies is started again:
kubectl exec keep-1 -- kill 1 || true
#! kubectl wait --for=condition=Ready pod/keep-1 --timeout=60s
#! await 60 "the restart" eval '[ "$(kubectl get pod keep-1 -o jsonpath={.status.containerStatuses[0].restartCount})" -ge 1 ]'
kubectl get pod keep-1

#: ## Housekeeping
#:
#: What was made in the namespace goes with it, volumes too.
kubectl delete namespace tour
kubectl get all,pvc -n tour
kubectl get pv
