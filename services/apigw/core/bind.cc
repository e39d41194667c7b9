#include <fmt/format.h>
#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/planners.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {

using model::str;

namespace {

void set_scheduled(model::Draft& draft, const api::core_v1::Pod& pod, int64_t now) {
  const auto* conditions = pod.status() == nullptr ? nullptr : pod.status()->conditions();
  for (flatbuffers::uoffset_t i = 0; conditions != nullptr && i < conditions->size(); ++i) {
    if (str(conditions->Get(i)->type()) != "PodScheduled") continue;
    const std::string path = fmt::format("status.conditions[{}]", i);
    draft.set(path + ".status", "True");
    draft.set(path + ".lastTransitionTime", now);
    draft.clear(path + ".reason");
    draft.clear(path + ".message");
    return;
  }
  const Status set = draft.set_json(
      "status.conditions[+]",
      fmt::format(R"({{"type":"PodScheduled","status":"True","lastTransitionTime":"{}"}})", model::format_time(now)));
  LOG_IF(DFATAL, !set.ok()) << set.error().message;
}

}  // namespace

Result<Plan> plan_bind(const Context& context, Request& request, const model::Object& before) {
  const auto& command = request.command;
  const auto* pod = before.as<api::core_v1::Pod>();
  if (!command.uid.empty() && command.uid != before.uid()) {
    return conflict(
        before.kind(), before.name(),
        fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", command.uid, before.uid()));
  }
  if (command.revision != 0 && command.revision != before.revision())
    return modified(before.kind(), before.name(), before.revision());
  if (pod->metadata()->deletion_timestamp()) {
    return conflict(before.kind(), before.name(),
                    fmt::format("pod {} is being deleted, cannot be assigned to a host", before.name()));
  }
  Plan plan;
  plan.outcome = Answer::Outcome::kNothing;
  const std::string_view node = pod->spec() == nullptr ? std::string_view() : str(pod->spec()->node_name());
  if (node == command.node) {
    plan.after = before;
    return plan;
  }
  if (!node.empty()) {
    return conflict(before.kind(), before.name(),
                    fmt::format("pod {} is already assigned to node \"{}\"", before.name(), node));
  }
  model::Draft draft(before);
  draft.set("spec.nodeName", command.node);
  set_scheduled(draft, *pod, request.now);
  draft.clear("status.nominatedNodeName");
  plan.kind = Plan::Kind::kPut;
  plan.after = draft.build();
  return plan;
}

}  // namespace gantry::apigw
