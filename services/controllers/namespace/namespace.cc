#include "services/controllers/namespace/namespace.h"

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

constexpr WallMicros kLookAgain = 1'000'000;
constexpr const char* kFinalizer = "kubernetes";

std::vector<const model::Kind*> namespaced_kinds() {
  std::vector<const model::Kind*> kinds;
  for (const model::Kind& kind : model::Schema::get().kinds()) {
    if (kind.namespaced && !kind.resource.empty()) kinds.push_back(&kind);
  }
  return kinds;
}

bus::Command ask(bus::Verb verb, const model::Kind& kind, const std::string& ns) {
  bus::Command command;
  command.verb = verb;
  command.resource = kind.resource;
  command.ns = ns;
  if (verb == bus::Verb::List) command.limit = 1;
  if (verb == bus::Verb::DeleteCollection) command.propagation = "Background";
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
  bool deleted = false, listed = false, left = false, failed = false;
  for (const Answer& answer : memory.answers) {
    failed = failed || !answer.result.ok();
    deleted = deleted || answer.command.verb == bus::Verb::DeleteCollection;
    if (answer.command.verb != bus::Verb::List || !answer.result.ok()) continue;
    listed = true;
    left = left || !answer.result->items.empty();
  }
  if (listed && !failed && !left) {
    decision.add(let_go(*ns));
  } else if (listed) {
    decision.wake(now + kLookAgain);  // finalizers and running containers take their time
  } else {
    bus::Verb verb = deleted && !failed ? bus::Verb::List : bus::Verb::DeleteCollection;
    for (const model::Kind* kind : namespaced_kinds()) decision.add(ask(verb, *kind, key));
  }
  return decision;
}

}  // namespace gantry::controllers
