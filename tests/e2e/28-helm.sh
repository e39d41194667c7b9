# helm as it comes, of two versions (4 applies on the server's side, 3 does not), with a chart of a dozen kinds.

CHART=$ROOT/helm/demo

answers() { kubectl exec deployment/shown -- wget -qO- "http://shown:${1:-80}/"; }
greeting() { kubectl exec deployment/shown -- sh -c 'echo $GREETING'; }
deployed() { $HELM list -o json | jq -r '.[] | select(.name == "shown") | "\(.status) \(.revision)"'; }

case_release() {
  local output
  $HELM uninstall shown --ignore-not-found --wait
  # An ingress controller brings its class.
  kubectl create -f "$MANIFESTS/ingress-class.yaml" 2>/dev/null || kubectl get ingressclass e2e
  $HELM install shown "$CHART" --set ingress.enabled=true --set ingress.className=e2e --wait --timeout 90s
  assert_eq "$(deployed)" "deployed 1"
  assert_eq "$($HELM get manifest shown | grep -c '^kind:')" 12
  $HELM get manifest shown | kubectl get -f - -o name >/dev/null
  assert_eq "$(ready_pods app.kubernetes.io/instance=shown)" 2
  assert_contains "$(answers)" "version: 1"
  assert_eq "$(greeting)" hello
  assert_contains "$(refused $HELM install shown "$CHART")" "still in use"

  $HELM test shown --timeout 60s
  assert_contains "$(kubectl logs shown-answers)" "version: 1"

  $HELM upgrade shown "$CHART" --set replicas=3 --set settings.GREETING=bye --set autoscaling.enabled=false --wait --timeout 90s
  assert_eq "$(deployed)" "deployed 2"
  assert_eq "$(greeting)" bye
  assert_eq "$(field deployment shown '{.status.readyReplicas}')" 3
  gone hpa shown || fail "the upgrade leaves out the autoscaler"
  # What somebody else has set and the chart does not name stays; what the chart names comes back.
  kubectl annotate deployment shown remark=mine
  kubectl label service shown app.kubernetes.io/version=7 --overwrite
  if [ -n "$FORCE" ]; then
    assert_contains "$(refused $HELM upgrade shown "$CHART" --reuse-values)" 'conflict with "kubectl-label"'
  fi
  $HELM upgrade shown "$CHART" --reuse-values --set token=other $FORCE --wait --timeout 90s
  assert_eq "$(field deployment shown '{.metadata.annotations.remark}')" mine
  assert_eq "$(field service shown '{.metadata.labels.app\.kubernetes\.io/version}')" 1

  # A change that cannot work is told, and leaves no trace in the release that runs.
  output=$(refused $HELM upgrade shown "$CHART" --set service.port=70000 --timeout 30s)
  assert_contains "$output" "70000"
  assert_contains "$(answers)" "version: 1"

  $HELM rollback shown 1 --wait --timeout 90s
  assert_eq "$(greeting)" hello
  assert_eq "$(field hpa shown '{.spec.maxReplicas}')" 4
  assert_contains "$($HELM history shown)" "Rollback to 1"
  assert_contains "$($HELM status shown)" "STATUS: deployed"

  $HELM uninstall shown --wait --timeout 60s
  assert_eq "$(deployed)" ""
  gone deployment shown || fail "the Deployment is still there"
  remains() { kubectl get all,configmaps,secrets,serviceaccounts,roles,rolebindings,ingresses,networkpolicies,cronjobs -l app.kubernetes.io/instance=shown -o name; }
  await 60 "nothing to be left" eval '[ -z "$(remains)" ]'
  assert_eq "$(kubectl get secrets -l owner=helm,name=shown -o name)" ""
  kubectl delete pod shown-answers --ignore-not-found --wait
}

test_the_chart_is_in_order() { helm lint --strict "$CHART"; }

test_a_release_from_install_to_uninstall() { HELM=helm FORCE=--force-conflicts case_release; }

test_the_same_with_the_helm_before() {
  tools/kubectl v32 >/dev/null
  HELM=helm-v32 FORCE= case_release
}
