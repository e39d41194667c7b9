#include "services/controllers/framework/revisions.h"

#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/walk.h"
#include "libs/model/workload.h"
#include "schemas/api/apps_more_v1_generated.h"
#include "services/controllers/framework/claim.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using api::apps_v1::ControllerRevision;
using model::str;
using nlohmann::json;

const model::Type& template_type() {
  static const model::Type& type = *model::Schema::get().type("gantry.api.core_v1.PodTemplateSpec");
  return type;
}

const flatbuffers::Table* template_of(const model::Object& owner) {
  return model::find(owner, "spec.template").table();
}

/// What undoing to this revision applies, as a strategic merge patch of the owner.
json patch_of(const model::Object& owner) {
  const auto* pod_template = template_of(owner);
  json tree = pod_template == nullptr ? json::object() : json::parse(model::to_json(template_type(), pod_template));
  tree["$patch"] = "replace";
  return {{"spec", {{"template", std::move(tree)}}}};
}

json data_of(const model::Object& revision) {
  return json::parse(str(revision.as<ControllerRevision>()->data()), nullptr, false);
}

std::string hash_of(const std::string& data, int32_t collisions) {
  uint32_t hash = 2166136261u;  // FNV-1a
  for (unsigned char c : data) hash = (hash ^ c) * 16777619u;
  if (collisions > 0) hash = (hash ^ static_cast<uint32_t>(collisions)) * 16777619u;
  return safe_encode(std::to_string(hash));
}

model::Bytes make_revision(const model::Object& owner, const std::string& name, const std::string& hash,
                           const std::string& data, int64_t number, const HistoryOptions& options) {
  static const model::Kind& kind = *model::Schema::get().by_resource("controllerrevisions");
  model::Draft draft(kind);
  draft.set("metadata.name", name);
  draft.set("metadata.namespace", owner.ns());
  const auto* pod_template = reinterpret_cast<const api::core_v1::PodTemplateSpec*>(template_of(owner));
  if (pod_template != nullptr && pod_template->metadata() != nullptr)
    draft.copy_field("metadata", "labels", reinterpret_cast<const flatbuffers::Table*>(pod_template->metadata()));
  draft.set(fmt::format("metadata.labels[{}]", options.hash_label), hash);
  if (owner.meta()->annotations() != nullptr) {
    for (const auto* entry : *owner.meta()->annotations()) {
      if (str(entry->key()) == "kubectl.kubernetes.io/last-applied-configuration") continue;
      draft.set(fmt::format("metadata.annotations[{}]", str(entry->key())), str(entry->value()));
    }
  }
  draft.set("metadata.ownerReferences[+].apiVersion", owner.kind().api_version());
  draft.set("metadata.ownerReferences[0].kind", owner.kind().kind);
  draft.set("metadata.ownerReferences[0].name", owner.name());
  draft.set("metadata.ownerReferences[0].uid", owner.uid());
  draft.set("metadata.ownerReferences[0].controller", true);
  draft.set("metadata.ownerReferences[0].blockOwnerDeletion", true);
  auto set = draft.set_json("data", data);
  CHECK(set.ok()) << set.error().message;
  draft.set("revision", number);
  return draft.bytes();
}

}  // namespace

const model::Object* History::named(std::string_view name) const {
  for (const model::Object& revision : revisions) {
    if (revision.name() == name) return &revision;
  }
  return nullptr;
}

int64_t revision_number(const model::Object& revision) {
  return revision.as<ControllerRevision>()->revision().value_or(0);
}

std::string revision_hash(const model::Object& revision, const HistoryOptions& options) {
  return std::string(model::label(revision.meta(), options.hash_label));
}

model::Bytes revision_template(const model::Object& revision) {
  json data = data_of(revision);
  if (!data.is_object() || !data.contains("spec") || !data["spec"].contains("template")) return {};
  json& tree = data["spec"]["template"];
  tree.erase("$patch");
  auto bytes = model::from_json(template_type(), tree.dump());
  return bytes.ok() ? std::move(*bytes) : model::Bytes();
}

History read_history(const View& view, const model::Object& owner, int32_t collisions, const HistoryOptions& options,
                     Decision& decision) {
  History history;
  history.collisions = collisions;
  auto selector = model::LabelSelector::from(
      reinterpret_cast<const api::meta_v1::LabelSelector*>(model::find(owner, "spec.selector").table()));
  if (!selector.ok() || selector->everything()) return history;
  history.revisions = claim(
      view, "controllerrevisions", owner, *selector, [](const model::Object&) { return true; }, decision);
  std::sort(history.revisions.begin(), history.revisions.end(), [](const auto& a, const auto& b) {
    return std::tuple(revision_number(a), model::created_at(a.meta()), a.name()) <
           std::tuple(revision_number(b), model::created_at(b.meta()), b.name());
  });
  if (!decision.commands.empty() || model::is_deleting(owner.meta())) {
    if (!history.revisions.empty()) history.update = history.revisions.back();
    return history;
  }
  const json wanted = patch_of(owner);
  const int64_t next = history.revisions.empty() ? 1 : revision_number(history.revisions.back()) + 1;
  for (auto it = history.revisions.rbegin(); it != history.revisions.rend(); ++it) {
    if (data_of(*it) != wanted) continue;
    if (it == history.revisions.rbegin()) {
      history.update = *it;
    } else {  // gone back to: it is the newest again
      bus::Command command = patch(*it, fmt::format(R"({{"revision":{}}})", next));
      command.revision = it->revision();
      decision.add(std::move(command));
    }
    return history;
  }
  const std::string data = wanted.dump();
  std::string hash = hash_of(data, history.collisions);
  auto name_of = [&] { return fmt::format("{}-{}", owner.name().substr(0, 223), hash); };
  while (view.find("controllerrevisions", owner.ns(), name_of()) != nullptr)  // another template's
    hash = hash_of(data, ++history.collisions);
  static const model::Kind& kind = *model::Schema::get().by_resource("controllerrevisions");
  decision.add(create(kind, owner.ns(), make_revision(owner, name_of(), hash, data, next, options)));
  return history;
}

void trim_history(const History& history, const std::vector<std::string>& live, int32_t limit, Decision& decision) {
  std::vector<model::Object> old;
  for (const model::Object& revision : history.revisions) {
    if (std::find(live.begin(), live.end(), revision.name()) == live.end()) old.push_back(revision);
  }
  const size_t keep = static_cast<size_t>(std::max(0, limit));
  for (size_t i = 0; i + keep < old.size(); ++i) decision.add(remove(old[i]));
}

}  // namespace gantry::controllers
