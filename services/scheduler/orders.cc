#include "services/scheduler/orders.h"

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::scheduler {

bus::Command order(const Author& author, const model::Object& about, bus::Verb verb) {
  bus::Command command;
  command.verb = verb;
  command.resource = about.kind().resource;
  command.ns = about.ns();
  command.name = about.name();
  command.uid = about.uid();
  command.lease = author.lease;
  command.lease_epoch = author.epoch;
  command.field_manager = author.name;
  return command;
}

bus::Command patch_status(const Author& author, const model::Object& pod, const nlohmann::json& status) {
  bus::Command command = order(author, pod, bus::Verb::Patch);
  command.subresource = "status";
  command.patch_type = bus::PatchType::Strategic;
  command.json = nlohmann::json{{"status", status}}.dump();
  return command;
}

bus::Command patch_conditions(const Author& author, const model::Object& pod, nlohmann::json condition) {
  nlohmann::json status;
  status["conditions"].push_back(std::move(condition));
  return patch_status(author, pod, status);
}

nlohmann::json condition(const model::Object& pod, std::string_view type, std::string_view status,
                         std::string_view reason, std::string_view message, int64_t now_seconds) {
  const auto* old = model::condition(*pod.as<api::core_v1::Pod>(), type);
  const bool same = old != nullptr && model::str(old->status()) == status;
  const int64_t since = same ? old->last_transition_time().value_or(now_seconds) : now_seconds;
  return {{"type", type},
          {"status", status},
          {"reason", reason},
          {"message", message},
          {"lastTransitionTime", model::format_time(since)}};
}

}  // namespace gantry::scheduler
