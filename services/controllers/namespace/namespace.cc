#include "services/controllers/namespace/namespace.h"

#include <map>

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/served.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

constexpr WallMicros kLookAgain = 1'000'000;
constexpr uint32_t kPage = 500;   // objects deleted by one command
constexpr uint32_t kCount = 100;  // objects of one kind that are looked at and counted
constexpr const char* kFinalizer = "kubernetes";

std::vector<const model::Kind*> namespaced_kinds() {
  std::vector<const model::Kind*> kinds;
  for (const model::Kind& kind : model::Schema::get().kinds()) {
    if (kind.namespaced && model::stored(kind)) kinds.push_back(&kind);
  }
  return kinds;
}

/// Snapshot, not List: of a Secret one may know that it is there, not what it holds.
bus::Command look(const model::Kind& kind, const std::string& ns) {
  bus::Command command;
  command.verb = bus::Verb::Snapshot;
  command.resource = kind.resource;
  command.ns = ns;
  command.limit = kCount;
  return command;
}

bus::Command empty(std::string_view resource, const std::string& ns, const std::string& token = "") {
  bus::Command command;
  command.verb = bus::Verb::DeleteCollection;
  command.resource = resource;
  command.ns = ns;
  command.limit = kPage;
  command.continue_token = token;
  command.propagation = "Background";
  return command;
}

/// Without our finalizer: the namespace itself may go.
bus::Command let_go(const model::Object& ns) {
  model::Draft draft(ns);
  draft.clear("spec.finalizers");
  for (const auto* finalizer : *ns.as<api::core_v1::Namespace>()->spec()->finalizers()) {
    if (model::str(finalizer) != kFinalizer) draft.set("spec.finalizers[+]", model::str(finalizer));
  }
  bus::Command command = update(ns, draft.bytes());
  command.subresource = "finalize";
  return command;
}

bool held(const model::Object& ns) {
  const auto* spec = ns.as<api::core_v1::Namespace>()->spec();
  if (spec == nullptr || spec->finalizers() == nullptr) return false;
  return std::any_of(spec->finalizers()->begin(), spec->finalizers()->end(),
                     [](const auto* f) { return model::str(f) == kFinalizer; });
}

/// What is still there, and what holds it.
struct Remains {
  std::map<std::string, size_t> resources, finalizers;
};

void count(const Answer& answer, Remains& remains) {
  const model::Kind& kind = *model::Schema::get().by_resource(answer.command.resource);
  for (const auto& item : answer.result->items) {
    ++remains.resources[fmt::format("{}.{}", kind.resource, kind.group)];
    if (!model::verify(*kind.type, item.object)) continue;
    const model::Object object(kind, item.object, item.revision);
    if (object.meta() == nullptr || object.meta()->finalizers() == nullptr) continue;
    for (const auto* finalizer : *object.meta()->finalizers()) ++remains.finalizers[std::string(model::str(finalizer))];
  }
}

struct Condition {
  const char *type, *reason;
  std::string message;
  bool status = false;
};

std::string list_of(const std::map<std::string, size_t>& counts, const char* verb) {
  std::string text;
  for (const auto& [name, count] : counts)
    text += fmt::format("{}{} {} {} resource instances", text.empty() ? "" : ", ", name, verb, count);
  return text;
}

/// In Kubernetes' words: kubectl describe and people's scripts read them.
std::vector<Condition> conditions_of(const Remains& remains) {
  std::vector<Condition> conditions = {
      {"NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"},
      {"NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions",
       "All legacy kube types successfully parsed"},
      {"NamespaceDeletionContentFailure", "ContentDeleted",
       "All content successfully deleted, may be waiting on finalization"},
      {"NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"},
      {"NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"}};
  if (!remains.resources.empty()) {
    conditions[3] = {"NamespaceContentRemaining", "SomeResourcesRemain",
                     "Some resources are remaining: " + list_of(remains.resources, "has"), true};
  }
  if (!remains.finalizers.empty()) {
    conditions[4] = {"NamespaceFinalizersRemaining", "SomeFinalizersRemain",
                     "Some content in the namespace has finalizers remaining: " + list_of(remains.finalizers, "in"),
                     true};
  }
  return conditions;
}

/// The status that says so, unless it does.
std::optional<bus::Command> tell(const model::Object& object, const Remains& remains, int64_t now) {
  const auto* status = object.as<api::core_v1::Namespace>()->status();
  const auto* there = status == nullptr ? nullptr : status->conditions();
  model::Draft draft(object);
  bool changed = false;
  const size_t end = there == nullptr ? 0 : there->size();
  size_t next = end;
  for (const Condition& wanted : conditions_of(remains)) {
    const char* value = wanted.status ? "True" : "False";
    size_t at = 0;
    const auto old = [&] { return there->Get(static_cast<flatbuffers::uoffset_t>(at)); };
    while (at < end && model::str(old()->type()) != wanted.type) ++at;
    if (at < end && model::str(old()->status()) == value && model::str(old()->message()) == wanted.message) continue;
    changed = true;
    const bool turned = at == end || model::str(old()->status()) != value;
    if (at == end) {
      draft.set("status.conditions[+].type", wanted.type);
      at = next++;
    }
    const std::string entry = fmt::format("status.conditions[{}].", at);
    draft.set(entry + "status", value);
    draft.set(entry + "reason", wanted.reason);
    draft.set(entry + "message", wanted.message);
    if (turned) draft.set(entry + "lastTransitionTime", now);
  }
  if (!changed) return std::nullopt;
  return update_status(object, draft.bytes());
}

}  // namespace

void NamespaceController::setup(View& view) {
  view.need("namespaces");
  view.need("pods");
}

void NamespaceController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                   std::vector<std::string>& keys) const {
  if (resource == "namespaces") {
    if (change.after && model::is_deleting(change.after.meta())) keys.emplace_back(change.after.name());
  } else if (!change.after) {  // pods are what takes longest to go
    const model::Object* ns = view.find("namespaces", "", change.before.ns());
    if (ns != nullptr && model::is_deleting(ns->meta())) keys.emplace_back(ns->name());
  }
}

Decision NamespaceController::decide(const View& view, const std::string& key, WallMicros now,
                                     const Memory& memory) const {
  Decision decision;
  const model::Object* ns = view.find("namespaces", key);
  if (ns == nullptr || !model::is_deleting(ns->meta()) || !held(*ns)) return decision;
  bool deleted = false, looked = false, failed = false;
  Remains remains;
  for (const Answer& answer : memory.answers) {
    failed = failed || !answer.result.ok();
    if (!answer.result.ok()) continue;
    if (answer.command.verb == bus::Verb::DeleteCollection) {
      deleted = true;
      if (const std::string& token = answer.result->continue_token; !token.empty()) {
        decision.add(empty(answer.command.resource, key, token));
      }
    } else if (answer.command.verb == bus::Verb::Snapshot) {
      looked = true;
      count(answer, remains);
    }
  }
  if (!decision.commands.empty()) return decision;
  if (looked && !failed && remains.resources.empty()) {
    decision.add(let_go(*ns));
  } else if (looked) {
    if (auto told = tell(*ns, remains, now / 1'000'000)) decision.add(std::move(*told));
    decision.wake(now + kLookAgain);  // finalizers and running containers take their time
  } else {
    for (const model::Kind* kind : namespaced_kinds()) {
      decision.add(deleted && !failed ? look(*kind, key) : empty(kind->resource, key));
    }
  }
  return decision;
}

}  // namespace gantry::controllers
