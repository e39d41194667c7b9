# kill -9 of one thing after another, chosen by chance, under load: the long form of 40-kill.sh, for tools/soak.
#   KILLS (60): how many. KILL_SEED: what is chosen. A line with what came of it is added to the file KILL_FIGURES.

source "$ROOT/tests/e2e/40-kill.sh"
unset -f $(grep -oE '^test_[a-z0-9_]+' "$ROOT/tests/e2e/40-kill.sh")

COMPONENTS=(redis nats apigw controllers scheduler node-1.agent node-2.agent node-3.agent node-1.proxy node-2.proxy node-3.proxy
  node-1.containerd node-2.containerd node-3.containerd)

# The pod of the demo that was restarted least; a new set of pods when each was, or their back-off is all one would wait for.
least_restarted() {
  local least
  least=$(kubectl get pods -l app=web -o json | jq -r '[.items[] | [.status.containerStatuses[0].restartCount, .metadata.name]] | min | @tsv')
  if ((${least%%$'\t'*} >= 2)); then
    kubectl rollout restart deployment/web >&2
    kubectl rollout status deployment/web --timeout=120s >&2
    await 60 "six pods" count_is 6 app=web
    least=$(kubectl get pods -l app=web -o json | jq -r '[.items[] | [.status.containerStatuses[0].restartCount, .metadata.name]] | min | @tsv')
  fi
  echo "${least#*$'\t'}"
}

kill_container() {
  local pod node id restarts
  pod=$(least_restarted)
  node=$(field pod "$pod" '{.spec.nodeName}')
  id=$(container_id "$pod")
  kill -9 "$(in_containerd "$node" tasks ls | awk -v id="$id" '$1 == id { print $2 }')"
  await 90 "$pod to run another container" eval "[ \$(container_id $pod) != $id ] && ready_is 6 app=web"
}

kill_shim() {
  local pod node id sandbox
  pod=$(least_restarted)
  node=$(field pod "$pod" '{.spec.nodeName}')
  id=$(container_id "$pod")
  sandbox=$(in_containerd "$node" containers info "$id" | jq -r '.Spec.annotations["io.kubernetes.cri.sandbox-id"]')
  kill -9 "$(pgrep -f -- "containerd-shim.* -id $sandbox " | head -1)"
  await 90 "$pod to run another container" eval "[ \$(container_id $pod) != $id ] && ready_is 6 app=web"
}

test_kills_one_after_another() {
  local i target before written load start=$SECONDS failures=0
  declare -A count=()
  RANDOM=${KILL_SEED:-1}
  await 120 "a calm start" settled
  writer_start soak
  load_start soak "http://$(node_ip node-2):30080/"
  for ((i = 0; i < ${KILLS:-60}; i++)); do
    target=$((RANDOM % (${#COMPONENTS[@]} + 4)))
    case $((target - ${#COMPONENTS[@]})) in
      0 | 1) target=container && kill_container ;;
      2 | 3) target=shim && kill_shim ;;
      *)
        target=${COMPONENTS[$target]}
        before=$(identities app=web)
        kill_component "$target"
        await 90 "everything back after $target" settled
        assert_eq "$(identities app=web)" "$before" "containers after the death of $target"
        target=${target#node-*.}
        ;;
    esac
    echo "$i: $target"
    count[$target]=$((${count[$target]:-0} + 1))
  done
  load=$(load_stop soak)
  written=$(writer_stop soak)
  local what=
  for target in $(printf '%s\n' "${!count[@]}" | sort); do what+="${what:+, }$target ${count[$target]}"; done
  echo "$i kills in $((SECONDS - start)) s ($what); $written objects written meanwhile, all there, once; requests answered: ${load% *}, failed: ${load#* } (containers were killed too)" |
    tee -a "${KILL_FIGURES:-/dev/null}"
}
