#include "services/controllers/rootca/rootca.h"

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

constexpr const char* kName = "kube-root-ca.crt";

bool holds_only(const model::Object& map, const std::string& pem) {
  const auto* data = map.as<api::core_v1::ConfigMap>()->data();
  return data != nullptr && data->size() == 1 && model::str(data->Get(0)->key()) == "ca.crt" &&
         model::str(data->Get(0)->value()) == pem;
}

}  // namespace

void RootCaController::setup(View& view) {
  view.need("namespaces");
  view.need("configmaps");
}

void RootCaController::keys_for(const View&, std::string_view resource, const projection::Change& change,
                                std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  if (resource == "namespaces") {
    if (change.after) keys.emplace_back(object.name());
  } else if (object.name() == kName) {
    keys.emplace_back(object.ns());
  }
}

Decision RootCaController::decide(const View& view, const std::string& key, WallMicros, const Memory& memory) const {
  Decision decision;
  const model::Object* ns = view.find("namespaces", key);
  if (pem_.empty() || ns == nullptr || model::is_deleting(ns->meta())) return decision;
  const model::Object* map = view.find("configmaps", key, kName);
  if (map != nullptr) {
    if (model::is_deleting(map->meta()) || holds_only(*map, pem_)) return decision;
    model::Draft changed(*map);
    changed.clear("data");
    changed.set("data[ca.crt]", pem_);
    decision.add(update(*map, changed.bytes()));
    return decision;
  }
  for (const Answer& answer : memory.answers) {
    if (!answer.result.ok() && answer.result.code() == Code::kAlreadyExists) return decision;  // the view will show it
  }
  const model::Kind& kind = *model::Schema::get().by_resource("configmaps");
  model::Draft made(kind);
  made.set("metadata.name", kName);
  made.set("metadata.namespace", key);
  made.set("metadata.annotations[kubernetes.io/description]",
           "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as "
           "the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
           "Kubernetes clusters.");
  made.set("data[ca.crt]", pem_);
  decision.add(create(kind, key, made.bytes()));
  return decision;
}

}  // namespace gantry::controllers
