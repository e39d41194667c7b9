#include "services/controllers/clusterrole/clusterrole.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "schemas/api/rbac_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using nlohmann::json;

const api::rbac_v1::AggregationRule* aggregation(const model::Object& role) {
  return role.as<api::rbac_v1::ClusterRole>()->aggregation_rule();
}

json rules_of(const model::Object& role) { return model::to_tree(role).value("rules", json::array()); }

// Selector by selector, each one's roles by name: the same whoever computes it.
json aggregated(const View& view, const model::Object& role) {
  json rules = json::array();
  const auto* selectors = aggregation(role)->cluster_role_selectors();
  if (selectors == nullptr) return rules;
  for (const auto* one : *selectors) {
    const auto selector = model::LabelSelector::from(one);
    if (!selector.ok()) continue;
    std::vector<model::Object> selected;
    view.cache("clusterroles").for_each([&](const model::Object& other) {
      if (other.name() != role.name() && selector->matches(other.meta()->labels())) selected.push_back(other);
    });
    std::sort(selected.begin(), selected.end(), [](const auto& a, const auto& b) { return a.name() < b.name(); });
    for (const auto& other : selected) {
      for (auto& rule : rules_of(other)) {
        if (std::find(rules.begin(), rules.end(), rule) == rules.end()) rules.push_back(std::move(rule));
      }
    }
  }
  return rules;
}

}  // namespace

void ClusterRoleController::keys_for(const View& view, std::string_view, const projection::Change&,
                                     std::vector<std::string>& keys) const {
  // Whatever selects it, before or after; there are few.
  view.cache("clusterroles").for_each([&](const model::Object& role) {
    if (aggregation(role) != nullptr) keys.emplace_back(role.name());
  });
}

Decision ClusterRoleController::decide(const View& view, const std::string& key, WallMicros, const Memory&) const {
  Decision decision;
  const model::Object* role = view.find("clusterroles", key);
  if (role == nullptr || model::is_deleting(role->meta()) || aggregation(*role) == nullptr) return decision;
  json rules = aggregated(view, *role);
  if (rules == rules_of(*role)) return decision;
  decision.add(patch(*role, json{{"rules", std::move(rules)}}.dump()));
  return decision;
}

}  // namespace gantry::controllers
