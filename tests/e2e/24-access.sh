# Who may do what, and what is refused, in the words that a Kubernetes user knows.

# fresh NAMESPACE: empty, with the ServiceAccount `reader`, which may look at pods there.
fresh() {
  kubectl delete pods --all -n "$1" --now --wait=false # they sleep through a request to end
  kubectl delete namespace "$1" --ignore-not-found --wait
  kubectl create namespace "$1"
  kubectl create serviceaccount reader -n "$1"
  kubectl create role pod-reader --verb=get,list,watch --resource=pods -n "$1"
  kubectl create rolebinding reader --role=pod-reader --serviceaccount="$1:reader" -n "$1"
}

# with_token TOKEN kubectl-arguments...: kubectl with nothing else to say who it is.
with_token() {
  kubectl config view --raw -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$E2E_WORK/ca.crt"
  local server
  server=$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')
  KUBECONFIG=/dev/null kubectl --server="$server" --certificate-authority="$E2E_WORK/ca.crt" --token="$1" "${@:2}"
}

# as_pod NAMESPACE POD PATH: the API's answer to a request from the pod's network with what its volume holds.
as_pod() {
  local id pid volume
  id=$(field pod "$2" -n "$1" '{.status.containerStatuses[0].containerID}' | sed 's,.*://,,')
  pid=$(in_containerd "$(field pod "$2" -n "$1" '{.spec.nodeName}')" tasks ls | awk -v id="$id" '$1 == id {print $2}')
  volume=/proc/$pid/root/var/run/secrets/kubernetes.io/serviceaccount
  nsenter -t "$pid" -n curl -s -m 10 --cacert "$volume/ca.crt" -H "Authorization: Bearer $(cat "$volume/token")" \
    --resolve kubernetes.default.svc:443:10.96.0.1 "https://kubernetes.default.svc$3"
}

test_can_i() {
  fresh access
  local reader=system:serviceaccount:access:reader list
  assert_eq "$(kubectl auth can-i list pods -n access)" yes
  assert_eq "$(kubectl auth can-i list pods -n access --as="$reader")" yes
  assert_eq "$(refused kubectl auth can-i delete pods -n access --as="$reader")" no
  assert_eq "$(refused kubectl auth can-i list pods -n default --as="$reader")" no
  list=$(kubectl auth can-i --list -n access --as="$reader" --as-group=system:authenticated)
  grep -E '^pods +\[\] +\[\] +\[get list watch\]' <<<"$list"
  assert_contains "$list" selfsubjectaccessreviews.authorization.k8s.io
}

test_whoami_and_impersonation() {
  local output
  output=$(kubectl auth whoami)
  assert_contains "$output" kubernetes-admin
  assert_contains "$output" system:masters
  output=$(kubectl auth whoami --as=bob --as-group=dev)
  assert_contains "$output" bob
  assert_contains "$output" "dev"
  assert_contains "$(refused kubectl get pods --as=bob)" \
    'Error from server (Forbidden): pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"'
}

test_a_token_of_an_account() {
  fresh access
  local token
  token=$(kubectl create token reader -n access --duration=10m)
  assert_contains "$(with_token "$token" auth whoami)" system:serviceaccount:access:reader
  with_token "$token" get pods -n access
  assert_contains "$(refused with_token "$token" get secrets -n access)" \
    'secrets is forbidden: User "system:serviceaccount:access:reader" cannot list resource "secrets" in API group "" in the namespace "access"'
  assert_contains "$(refused with_token "$token" get pods --as=bob)" 'cannot impersonate resource "users"'
  assert_contains "$(refused kubectl create token nobody -n access)" 'serviceaccounts "nobody" not found'
  kubectl delete serviceaccount reader -n access
  assert_contains "$(refused with_token "$token" get pods -n access)" Unauthorized
}

test_a_token_that_a_secret_keeps() {
  fresh access
  kubectl apply -n access -f - <<'YAML'
apiVersion: v1
kind: Secret
metadata: {name: reader, annotations: {kubernetes.io/service-account.name: reader}}
type: kubernetes.io/service-account-token
YAML
  local token
  token=$(field secret reader -n access '{.data.token}' | base64 -d)
  with_token "$token" get pods -n access
  assert_contains "$(kubectl describe secret reader -n access)" "ca.crt"
  kubectl delete secret reader -n access
  assert_contains "$(refused with_token "$token" get pods -n access)" Unauthorized
}

test_bad_tokens() {
  fresh access
  local token bad
  token=$(kubectl create token reader -n access)
  # Of another audience, with another signature, with other claims, without a signature, and no token at all.
  for bad in "$(kubectl create token reader -n access --audience=elsewhere)" "${token%?????}AAAAA" \
    "${token%%.*}.$(printf '{"sub":"system:serviceaccount:kube-system:x"}' | base64 -w0 | tr -d =).${token##*.}" \
    "${token%.*}." abcdef.0123456789abcdef nonsense; do
    assert_contains "$(refused with_token "$bad" get pods -n access)" Unauthorized
  done
  assert_eq "$(curl -sk -o "$E2E_WORK/body" -w '%{http_code}' -H 'Authorization: Bearer nonsense' \
    "$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')/api/v1/pods")" 401
  assert_eq "$(jq -r '.kind + " " + .reason + " " + .message' "$E2E_WORK/body")" "Status Unauthorized Unauthorized"
}

test_a_pod_and_the_api() {
  fresh access
  kubectl run caller -n access --image=gantry.local/busybox:1 --overrides='{"spec":{"serviceAccountName":"reader"}}' -- sleep 3600
  kubectl wait --for=condition=Ready pod/caller -n access --timeout=60s
  assert_eq "$(kubectl exec caller -n access -- cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)" access
  assert_contains "$(kubectl exec caller -n access -- cat /var/run/secrets/kubernetes.io/serviceaccount/ca.crt)" "BEGIN CERTIFICATE"
  assert_eq "$(as_pod access caller /api/v1/namespaces/access/pods | jq -r '.items[].metadata.name')" caller
  assert_eq "$(as_pod access caller /api/v1/namespaces/access/secrets | jq -r '"\(.code) \(.message)"')" \
    '403 secrets is forbidden: User "system:serviceaccount:access:reader" cannot list resource "secrets" in API group "" in the namespace "access"'
  kubectl run plain -n access --image=gantry.local/busybox:1 --overrides='{"spec":{"automountServiceAccountToken":false}}' -- sleep 3600
  kubectl wait --for=condition=Ready pod/plain -n access --timeout=60s
  refused kubectl exec plain -n access -- ls /var/run/secrets/kubernetes.io
}

test_every_namespace_keeps_its_account_and_authority() {
  fresh access
  kubectl delete configmap kube-root-ca.crt -n access
  kubectl delete serviceaccount default -n access
  await 20 "the authority to come back" kubectl get configmap kube-root-ca.crt -n access
  await 20 "the account to come back" kubectl get serviceaccount default -n access
  kubectl patch configmap kube-root-ca.crt -n access -p '{"data":{"ca.crt":"forged"}}'
  await 20 "the authority to be right again" eval \
    '[[ "$(field configmap kube-root-ca.crt -n access "{.data.ca\.crt}")" == *"BEGIN CERTIFICATE"* ]]'
  kubectl run after -n access --image=gantry.local/busybox:1 -- sleep 3600
  kubectl wait --for=condition=Ready pod/after -n access --timeout=60s
}

test_nobody_raises_himself() {
  fresh access
  kubectl create rolebinding alice --clusterrole=admin --user=alice -n access
  kubectl create configmap own -n access --as=alice
  assert_contains "$(refused kubectl create rolebinding more --clusterrole=cluster-admin --user=alice -n access --as=alice)" \
    'is attempting to grant RBAC permissions not currently held'
  assert_contains "$(refused kubectl create role more --verb='*' --resource=nodes -n access --as=alice)" \
    'is attempting to grant RBAC permissions not currently held'
  kubectl create rolebinding less --clusterrole=view --user=carol -n access --as=alice
  assert_eq "$(kubectl auth can-i get pods -n access --as=carol)" yes
  refused kubectl create clusterrolebinding more --clusterrole=view --user=alice --as=alice
}

test_roles_that_every_cluster_has() {
  local name
  for name in cluster-admin admin edit view system:basic-user system:discovery system:public-info-viewer system:node \
    system:controller:deployment-controller; do
    assert_eq "$(field clusterrole "$name" '{.metadata.annotations.rbac\.authorization\.kubernetes\.io/autoupdate}')" true
  done
  kubectl delete clusterrole crontabs --ignore-not-found
  kubectl apply -f - <<'YAML'
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: crontabs, labels: {rbac.authorization.k8s.io/aggregate-to-view: "true"}}
rules: [{apiGroups: [stable.example.com], resources: [crontabs], verbs: [get]}]
YAML
  await 20 "view, edit and admin to have it" eval \
    'for r in view edit admin; do kubectl get clusterrole $r -o json | jq -e "any(.rules[]; .resources == [\"crontabs\"])"; done'
  kubectl delete clusterrole crontabs
}

test_a_quota() {
  fresh access
  kubectl create quota small --hard=pods=2,configmaps=3 -n access
  kubectl run a -n access --image=gantry.local/busybox:1 -- sleep 3600
  kubectl run b -n access --image=gantry.local/busybox:1 -- sleep 3600
  assert_contains "$(refused kubectl run c -n access --image=gantry.local/busybox:1 -- sleep 3600)" \
    'Error from server (Forbidden): pods "c" is forbidden: exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2'
  await 20 "what is used" eval '[ "$(field quota small -n access "{.status.used.pods}")" = 2 ]'
  assert_contains "$(kubectl describe quota small -n access)" "pods"
  kubectl delete pod a -n access --now --wait
  await 20 "room" kubectl run c -n access --image=gantry.local/busybox:1 -- sleep 3600
}

test_limits_of_a_namespace() {
  fresh access
  kubectl apply -n access -f - <<'YAML'
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec:
  limits:
    - {type: Container, default: {cpu: 200m}, defaultRequest: {cpu: 50m}, max: {cpu: 500m}}
YAML
  kubectl run small -n access --image=gantry.local/busybox:1 -- sleep 3600
  assert_eq "$(field pod small -n access '{.spec.containers[0].resources.limits.cpu} {.spec.containers[0].resources.requests.cpu}')" "200m 50m"
  assert_contains "$(refused kubectl run big -n access --image=gantry.local/busybox:1 \
    --overrides='{"spec":{"containers":[{"name":"big","image":"gantry.local/busybox:1","resources":{"limits":{"cpu":"1"}}}]}}')" \
    'pods "big" is forbidden: maximum cpu usage per Container is 500m, but limit is 1'
}

test_pod_security() {
  fresh access
  kubectl label namespace access pod-security.kubernetes.io/enforce=restricted
  local output
  output=$(refused kubectl run loose -n access --image=gantry.local/busybox:1 -- sleep 3600)
  assert_contains "$output" 'pods "loose" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
  assert_contains "$output" runAsNonRoot
  kubectl run tight -n access --image=gantry.local/busybox:1 --overrides='{"spec":{
    "securityContext":{"runAsNonRoot":true,"runAsUser":1000,"seccompProfile":{"type":"RuntimeDefault"}},
    "containers":[{"name":"tight","image":"gantry.local/busybox:1","command":["sleep","3600"],
      "securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}}]}}'
  kubectl wait --for=condition=Ready pod/tight -n access --timeout=60s
  kubectl delete namespace access --wait=false
}

# request_certificate NAME SIGNER SUBJECT: the request in the API; its key in $E2E_WORK.
request_certificate() {
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$E2E_WORK/$1.key" -subj "$3" -out "$E2E_WORK/$1.csr"
  kubectl delete csr "$1" --ignore-not-found
  kubectl create -f - <<EOF
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {name: $1}
spec: {signerName: $2, request: $(base64 -w0 "$E2E_WORK/$1.csr"), usages: [digital signature, client auth], expirationSeconds: 3600}
EOF
}

test_certificates() {
  local server
  request_certificate alice kubernetes.io/kube-apiserver-client /O=dev/CN=alice
  assert_contains "$(kubectl get csr alice)" Pending
  kubectl certificate approve alice
  await 30 "the certificate" eval '[ -n "$(field csr alice "{.status.certificate}")" ]'
  field csr alice '{.status.certificate}' | base64 -d >"$E2E_WORK/alice.crt"
  kubectl config view --raw -o jsonpath='{.clusters[0].cluster.certificate-authority-data}' | base64 -d >"$E2E_WORK/ca.crt"
  server=$(kubectl config view -o jsonpath='{.clusters[0].cluster.server}')
  assert_contains "$(KUBECONFIG=/dev/null kubectl --server="$server" --certificate-authority="$E2E_WORK/ca.crt" \
    --client-certificate="$E2E_WORK/alice.crt" --client-key="$E2E_WORK/alice.key" auth whoami -o yaml)" "username: alice"

  request_certificate bob kubernetes.io/kube-apiserver-client /O=dev/CN=bob
  kubectl certificate deny bob
  assert_contains "$(kubectl get csr bob)" Denied

  # A node's approves itself for who may ask for one.
  request_certificate joins kubernetes.io/kube-apiserver-client-kubelet /O=system:nodes/CN=system:node:joins
  await 30 "a node's certificate" eval '[ -n "$(field csr joins "{.status.certificate}")" ]'
  assert_contains "$(kubectl get csr joins)" "Approved,Issued"
  kubectl delete csr alice bob joins
}
