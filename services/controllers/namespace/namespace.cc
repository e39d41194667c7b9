#include "services/controllers/namespace/namespace.h"

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

constexpr WallMicros kLookAgain = 1'000'000;
constexpr uint32_t kPage = 500;  // objects deleted by one command
constexpr const char* kFinalizer = "kubernetes";

std::vector<const model::Kind*> namespaced_kinds() {
  std::vector<const model::Kind*> kinds;
  for (const model::Kind& kind : model::Schema::get().kinds()) {
    if (kind.namespaced && !kind.resource.empty()) kinds.push_back(&kind);
  }
  return kinds;
}

/// Snapshot, not List: of a Secret one may know that it is there, not what it holds.
bus::Command look(const model::Kind& kind, const std::string& ns) {
  bus::Command command;
  command.verb = bus::Verb::Snapshot;
  command.resource = kind.resource;
  command.ns = ns;
  command.limit = 1;
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
  bool deleted = false, looked = false, left = false, failed = false;
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
      left = left || !answer.result->items.empty();
    }
  }
  if (!decision.commands.empty()) return decision;
  if (looked && !failed && !left) {
    decision.add(let_go(*ns));
  } else if (looked) {
    decision.wake(now + kLookAgain);  // finalizers and running containers take their time
  } else {
    for (const model::Kind* kind : namespaced_kinds()) {
      decision.add(deleted && !failed ? look(*kind, key) : empty(kind->resource, key));
    }
  }
  return decision;
}

}  // namespace gantry::controllers
