#include "services/controllers/framework/victims.h"

#include <charconv>
#include <cmath>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::controllers {
namespace {

struct Candidate {
  const model::Object* object;
  bool assigned, ready;
  int phase;
  int64_t cost = 0;
  int rank;
  int64_t ready_since = 0, created;
  int restarts = 0;
};

int phase_order(std::string_view phase) {
  if (phase == "Running") return 2;
  if (phase == "Unknown") return 1;
  return 0;  // Pending, or not said yet
}

Candidate describe(const model::Object& object, const std::function<int(std::string_view)>& on_node) {
  const auto& pod = *object.as<api::core_v1::Pod>();
  std::string_view node = pod.spec() == nullptr ? std::string_view() : model::str(pod.spec()->node_name());
  Candidate c{};
  c.object = &object;
  c.assigned = !node.empty();
  c.phase = phase_order(pod.status() == nullptr ? std::string_view() : model::str(pod.status()->phase()));
  c.ready = model::pod_ready(pod);
  std::string_view cost = model::annotation(pod.metadata(), "controller.kubernetes.io/pod-deletion-cost");
  std::from_chars(cost.data(), cost.data() + cost.size(), c.cost);
  c.rank = node.empty() ? 0 : on_node(node);
  if (c.ready) c.ready_since = model::condition(pod, "Ready")->last_transition_time().value_or(0);
  c.created = model::created_at(pod.metadata());
  if (pod.status() != nullptr && pod.status()->container_statuses() != nullptr) {
    for (const auto* status : *pod.status()->container_statuses()) {
      c.restarts = std::max(c.restarts, status->restart_count().value_or(0));
    }
  }
  return c;
}

bool goes_first(const Candidate& a, const Candidate& b) {
  if (a.assigned != b.assigned) return !a.assigned;
  if (a.phase != b.phase) return a.phase < b.phase;
  if (a.ready != b.ready) return !a.ready;
  if (a.cost != b.cost) return a.cost < b.cost;
  if (a.rank != b.rank) return a.rank > b.rank;
  if (a.ready && a.ready_since != b.ready_since) return a.ready_since > b.ready_since;
  if (a.restarts != b.restarts) return a.restarts > b.restarts;
  if (a.created != b.created) return a.created > b.created;
  return a.object->name() < b.object->name();
}

}  // namespace

std::vector<model::Object> pick_victims(std::vector<model::Object> pods, size_t count,
                                        const std::function<int(std::string_view node)>& on_node) {
  if (count >= pods.size()) return pods;
  std::vector<Candidate> candidates;
  candidates.reserve(pods.size());
  for (const model::Object& pod : pods) candidates.push_back(describe(pod, on_node));
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<ptrdiff_t>(count), candidates.end(),
                    goes_first);
  std::vector<model::Object> victims;
  for (size_t i = 0; i < count; ++i) victims.push_back(*candidates[i].object);
  return victims;
}

}  // namespace gantry::controllers
