// The Scheduler's preemption: what it does with what preempt() finds.
#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "schemas/api/core_v1_generated.h"
#include "services/scheduler/scheduler.h"

namespace gantry::scheduler {

std::string Scheduler::make_room(Queue::Item& item, const Volumes::Needs& needs) {
  const PodInfo& pod = item.pod;
  if (nominations_.waits(pod.key)) return "not eligible due to a terminating pod on the nominated node.";
  Preemption found;
  if (needs.refused.empty()) {
    std::vector<Budget> budgets;
    if (budgets_ != nullptr && cluster_.has_below(pod.priority)) budgets = read_budgets(*budgets_);
    NodeFilter filter;
    if (needs.any()) filter = [this, &needs](const NodeInfo& node) { return volumes_->refuses(needs, node); };
    const Nominations::View view(nominations_, pod);
    found = preempt(cluster_, pod, budgets, filter);
  } else {
    found.why_not = Diagnosis{cluster_.node_count(), {{kPreemptionIsNoHelp, cluster_.node_count()}}}.message();
  }
  const bool was = nominations_.contains(pod.key);
  if (found.node.empty()) {
    nominations_.drop(pod.key);
    if (was) nominate(pod.object, "");
    return found.why_not;
  }
  std::set<std::string> victims;
  for (const PodInfo& victim : found.victims) victims.insert(victim.key);
  for (const std::string& key : nominations_.below(found.node, pod.priority)) {
    nominations_.drop(key);  // it looks for another place
    const size_t slash = key.find('/');
    if (const auto* other = pods_.find(key.substr(0, slash), key.substr(slash + 1))) nominate(*other, "");
  }
  if (nominations_.node_of(pod.key) != found.node) nominate(pod.object, found.node);
  nominations_.add(pod, found.node, std::move(victims));
  LOG(INFO) << "pod=" << pod.key << " priority=" << pod.priority << " nominated node=" << found.node
            << " victims=" << found.victims.size();
  for (const PodInfo& victim : found.victims) drive_out(victim, pod, found.node);
  return "";
}

void Scheduler::nominate(const model::Object& pod, const std::string& node) {
  const nlohmann::json name = node.empty() ? nlohmann::json() : nlohmann::json(node);
  commands_.send(patch_status(author_, pod, nlohmann::json::object({{"nominatedNodeName", name}})),
                 [this, term = term_, alive = alive_](const Result<bus::CommandOutcome>& result) {
                   if (*alive && term == term_ && !result.ok()) lost_lease(result.error());  // it is only told
                 });
}

void Scheduler::drive_out(const PodInfo& victim, const PodInfo& pod, const std::string& node) {
  ++counters_.victims;
  const std::string because = fmt::format("pods/{}@{}", pod.key, pod.object.revision());
  const std::string message = options_.name + ": preempting to accommodate a higher priority pod";
  auto target =
      condition(victim.object, "DisruptionTarget", "True", "PreemptionByScheduler", message, loop_.wall() / 1'000'000);
  auto told = patch_conditions(author_, victim.object, std::move(target));
  told.because = because;
  if (recorder_ != nullptr) {
    recorder_->record(
        {victim.object, "Normal", "Preempted", fmt::format("Preempted by pod {} on node {}", pod.object.uid(), node)},
        options_.name);
  }
  const auto answered = [this, key = pod.key, term = term_,
                         alive = alive_](const Result<bus::CommandOutcome>& result) -> bool {
    if (!*alive || term != term_) return false;
    if (result.ok()) return true;
    if (lost_lease(result.error()) || result.code() == Code::kNotFound) return false;
    victim_stays(key);
    return false;
  };
  commands_.send(
      std::move(told), [this, answered, because, object = victim.object](const Result<bus::CommandOutcome>& result) {
        if (!answered(result)) return;
        auto remove = order(author_, object, bus::Verb::Delete);
        remove.because = because;
        commands_.send(std::move(remove), [answered](const Result<bus::CommandOutcome>& gone) { answered(gone); });
      });
}

void Scheduler::victim_stays(const std::string& key) {
  const uint64_t id = ++next_retry_;
  retries_[id] = loop_.after(options_.retry, [this, id, key] {
    retries_.erase(id);
    nominations_.forget_victims(key);
    cluster_.touch();
    wake_sleepers();
  });
}

}  // namespace gantry::scheduler
