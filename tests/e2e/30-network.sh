# Pods reach Services and each other; the machine reaches node ports.

# No `wget -T`: Debian's busybox crashes on it.
from() { kubectl exec "client-$1" -- "${@:2}"; }

test_clients_run_on_every_node() {
  kubectl apply -f "$MANIFESTS/clients.yaml"
  kubectl wait --for=condition=Ready pod -l app=client --timeout=60s
  for i in 1 2 3; do assert_eq "$(field pod "client-$i" '{.spec.nodeName}')" "node-$i"; done
}

test_every_pod_answers_every_node() {
  local ip
  for ip in $(kubectl get pods -l app=web -o 'jsonpath={.items[*].status.podIP}'); do
    for i in 1 2 3; do assert_contains "$(from $i timeout 5 wget -q -O - "http://$ip/")" "address: $ip"; done
  done
}

test_the_service_by_name_and_address() {
  local cluster_ip
  cluster_ip=$(field service web '{.spec.clusterIP}')
  for i in 1 2 3; do
    assert_contains "$(from $i nslookup web.default.svc.cluster.local)" "$cluster_ip"
    for host in web web.default web.default.svc.cluster.local "$cluster_ip"; do
      assert_contains "$(from $i timeout 5 wget -q -O - "http://$host/")" "version:"
    done
  done
}

test_the_service_spreads_its_requests() {
  local seen
  seen=$(from 1 sh -c 'for i in $(seq 60); do timeout 5 wget -q -O - http://web/pod; done' | sort -u | wc -l)
  ((seen >= 4)) || fail "60 requests reached $seen of 6 pods"
}

test_the_node_port_on_every_node() {
  for node in node-1 node-2 node-3; do
    assert_contains "$(curl -sf -m 5 "http://$(node_ip $node):30080/")" "version:"
  done
}

test_a_pod_reaches_itself_through_its_service() {
  local pod
  kubectl delete deployment,service lonely --ignore-not-found --wait
  kubectl create deployment lonely --image=gantry.local/demo:1
  kubectl expose deployment lonely --port=80
  kubectl rollout status deployment/lonely --timeout=60s
  pod=$(first_pod app=lonely)
  await 20 "an answer through its own Service" kubectl exec "$pod" -- timeout 2 wget -q -O - http://lonely/
  kubectl delete deployment,service lonely
}

test_a_service_without_endpoints_refuses() {
  kubectl delete service nobody --ignore-not-found
  kubectl create service clusterip nobody --tcp=80
  await 10 "the name" from 1 nslookup nobody.default.svc.cluster.local
  local start=$SECONDS
  assert_contains "$(refused from 1 timeout 20 wget -q -O - http://nobody/)" refused
  ((SECONDS - start < 10)) || fail "it hung instead"
  kubectl delete service nobody
}

test_the_api_from_a_pod() {
  assert_contains "$(from 2 nslookup kubernetes.default.svc.cluster.local)" 10.96.0.1
  from 2 nc -w 5 10.96.0.1 443 </dev/null
}

test_names_that_do_not_exist() {
  assert_contains "$(refused from 1 nslookup nothere.default.svc.cluster.local)" "can't find"
}

test_network_policies() {
  local ip
  kubectl delete namespace walls --ignore-not-found --wait
  kubectl apply -f "$MANIFESTS/policies.yaml"
  # The probes of its own node are always let in.
  kubectl wait --for=condition=Ready pod --all -n walls --timeout=60s
  ip=$(field pod server -n walls '{.status.podIP}')
  reached() { "$@" timeout 2 wget -q -O - "http://$ip/"; }
  named() { "$@" timeout 2 wget -q -O - http://server.walls:8000/; }
  not() { ! "$@"; }
  within() { kubectl exec -n walls inside -- "$@"; }
  for i in 1 2; do not reached from $i || fail "client-$i came in"; done
  kubectl label pod client-1 client-2 walls=open
  for i in 1 2; do
    await 20 "client-$i let in" reached from $i
    named from $i || fail "client-$i does not reach the Service"
  done
  not reached from 3 || fail "client-3 came in"
  kubectl label pod client-1 client-2 walls-
  for i in 1 2; do await 20 "client-$i locked out" not reached from $i; done
  not reached within || fail "it came out"
  kubectl patch networkpolicy deny-all -n walls --type=merge -p "{\"spec\":{\"egress\":[
    {\"to\":[{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\",\"except\":[\"$ip/32\"]}},{\"podSelector\":{\"matchLabels\":{\"app\":\"server\"}}}],\"ports\":[{\"port\":80,\"endPort\":81}]}]}}"
  await 20 "the way out" reached within
  named within || fail "not through the Service"
  kubectl delete networkpolicy --all -n walls
  await 20 "no walls any more" reached from 3
  kubectl delete namespace walls --wait=false
}

test_a_load_balancers_address() {
  local ip
  kubectl delete service web-balanced --ignore-not-found
  kubectl expose deployment web --name=web-balanced --type=LoadBalancer --port=8090 --target-port=80
  await 20 "an address" eval '[ -n "$(field service web-balanced "{.status.loadBalancer.ingress[0].ip}")" ]'
  ip=$(field service web-balanced '{.status.loadBalancer.ingress[0].ip}')
  assert_contains "$ip" 172.30.1.
  await 20 "an answer from outside" curl -sf -m 2 "http://$ip:8090/"
  for i in 1 2 3; do assert_contains "$(from $i timeout 5 wget -q -O - "http://$ip:8090/")" "version:"; done
  kubectl delete service web-balanced
}

test_endpoints_by_hand() {
  local ip
  kubectl delete service,endpoints by-hand --ignore-not-found
  ip=$(kubectl get pods -l app=web -o 'jsonpath={.items[0].status.podIP}')
  kubectl apply -f - <<EOF
{"apiVersion":"v1","kind":"List","items":[
 {"apiVersion":"v1","kind":"Service","metadata":{"name":"by-hand"},"spec":{"ports":[{"name":"http","port":8091}]}},
 {"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"by-hand"},"subsets":[{"addresses":[{"ip":"$ip"}],"ports":[{"name":"http","port":80}]}]}]}
EOF
  await 20 "an answer" from 1 timeout 2 wget -q -O - http://by-hand:8091/
  assert_contains "$(kubectl get endpointslices -l kubernetes.io/service-name=by-hand -o yaml)" endpointslicemirroring-controller
  kubectl delete service,endpoints by-hand
}
