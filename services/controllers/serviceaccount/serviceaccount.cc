#include "services/controllers/serviceaccount/serviceaccount.h"

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {

void ServiceAccountController::setup(View& view) {
  view.need("namespaces");
  view.need("serviceaccounts");
}

void ServiceAccountController::keys_for(const View&, std::string_view resource, const projection::Change& change,
                                        std::vector<std::string>& keys) const {
  if (resource == "namespaces") {
    if (change.after) keys.emplace_back(change.after.name());
  } else if (!change.after && change.before.name() == "default") {
    keys.emplace_back(change.before.ns());
  }
}

Decision ServiceAccountController::decide(const View& view, const std::string& key, WallMicros,
                                          const Memory& memory) const {
  Decision decision;
  const model::Object* ns = view.find("namespaces", key);
  if (ns == nullptr || model::is_deleting(ns->meta()) || view.find("serviceaccounts", key, "default") != nullptr)
    return decision;
  for (const Answer& answer : memory.answers) {
    if (!answer.result.ok() && answer.result.code() == Code::kAlreadyExists) return decision;  // the view will show it
  }
  const model::Kind& kind = *model::Schema::get().by_resource("serviceaccounts");
  model::Draft account(kind);
  account.set("metadata.name", "default");
  account.set("metadata.namespace", key);
  decision.add(create(kind, key, account.bytes()));
  return decision;
}

}  // namespace gantry::controllers
