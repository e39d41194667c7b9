#include "services/nodeagent/agent/mirror_pods.h"

#include "libs/model/draft.h"
#include "schemas/api/core_v1_generated.h"
#include "services/nodeagent/agent/static_pods.h"

namespace gantry::nodeagent {

namespace core = api::core_v1;

namespace {

constexpr Duration kRetry = std::chrono::seconds(5);

std::string key_of(const model::Object& pod) { return fmt::format("{}/{}", pod.ns(), pod.name()); }

}  // namespace

void MirrorPods::want(model::Object pod) {
  auto key = key_of(pod);
  wanted_[key] = std::move(pod);
  reconcile();
}

void MirrorPods::unwant(const std::string& uid) {
  std::erase_if(wanted_, [&](const auto& entry) { return entry.second.uid() == uid; });
  shown_.erase(uid);
  reconcile();
}

void MirrorPods::reconcile() {
  if (!pods_.synced()) return;
  std::vector<model::Object> stale;
  pods_.for_each([&](const model::Object& pod) {
    if (!is_mirror(pod)) return;
    auto wanted = wanted_.find(key_of(pod));
    const bool right = wanted != wanted_.end() && annotation(pod, kConfigMirror) == wanted->second.uid() &&
                       !pod.meta()->deletion_timestamp().has_value();
    if (!right) stale.push_back(pod);
  });
  for (const auto& mirror : stale) remove(mirror);
  for (const auto& [key, pod] : wanted_) {
    const auto* mirror = pods_.find(pod.ns(), pod.name());
    if (mirror == nullptr) create(pod);
    auto uid = std::string(pod.uid());
    const bool right = mirror != nullptr && annotation(*mirror, kConfigMirror) == uid;
    const uint64_t revision = right ? mirror->revision() : 0;
    if (std::exchange(shown_[uid], revision) != revision) found_(uid, right ? *mirror : model::Object());
  }
}

void MirrorPods::create(const model::Object& pod) {
  auto key = key_of(pod);
  if ((node_uid_ && node_uid_->empty()) || !in_flight_.insert(key).second) return;
  model::Draft draft(pod);
  draft.clear("metadata.uid");
  if (node_uid_) {
    const auto owned =
        draft.set_json("metadata.ownerReferences",
                       fmt::format(R"([{{"apiVersion":"v1","kind":"Node","name":"{}","uid":"{}","controller":true}}])",
                                   model::str(pod.as<core::Pod>()->spec()->node_name()), *node_uid_));
    if (!owned.ok()) LOG(ERROR) << "pod=" << key << " its mirror: " << owned.error().message;
  }
  auto set =
      draft.set_json("metadata.annotations[" + std::string(kConfigMirror) + "]", fmt::format("\"{}\"", pod.uid()));
  if (!set.ok()) LOG(ERROR) << "pod=" << key << " its mirror: " << set.error().message;
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = "pods";
  command.ns = std::string(pod.ns());
  command.name = std::string(pod.name());
  command.object = draft.build().bytes();
  commands_.send(std::move(command),
                 [this, key, weak = std::weak_ptr<bool>(alive_)](const Result<bus::CommandOutcome>& outcome) {
                   if (!weak.expired()) answered(key, "making", outcome);
                 });
}

void MirrorPods::remove(const model::Object& mirror) {
  auto key = key_of(mirror);
  if (!in_flight_.insert(key).second) return;
  bus::Command command;
  command.verb = bus::Verb::Delete;
  command.resource = "pods";
  command.ns = std::string(mirror.ns());
  command.name = std::string(mirror.name());
  command.uid = std::string(mirror.uid());
  command.grace_period_seconds = 0;
  commands_.send(std::move(command),
                 [this, key, weak = std::weak_ptr<bool>(alive_)](const Result<bus::CommandOutcome>& outcome) {
                   if (!weak.expired()) answered(key, "deleting", outcome);
                 });
}

void MirrorPods::answered(const std::string& key, const char* what, const Result<bus::CommandOutcome>& outcome) {
  in_flight_.erase(key);
  if (!outcome.ok() && outcome.code() != Code::kNotFound)
    LOG(WARNING) << "pod=" << key << " " << what << " its mirror: " << outcome.error().message;
  // The event that follows decides; without one, another look.
  retry_ = loop_.after(kRetry, [this] { reconcile(); });
}

}  // namespace gantry::nodeagent
