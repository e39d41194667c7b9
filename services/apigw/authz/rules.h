// Policy rules of RBAC: what they match and whether some cover others. Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libs/model/object.h"
#include "schemas/api/rbac_v1_generated.h"
#include "services/apigw/authz/authz.h"

namespace gantry::apigw {

using StoredRule = api::rbac_v1::PolicyRule;

/// True if the rule allows it. `group` is the API group that the attributes are about.
bool matches(const StoredRule& rule, const Attributes& attributes, std::string_view group);

/// A rule as plain values.
struct Rule {
  std::vector<std::string> verbs, groups, resources, names, urls;
  bool operator==(const Rule&) const = default;
  /// As the API server prints it: {APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}
  std::string print() const;
};
Rule plain(const StoredRule& rule);

/// The parts of `wanted` that no single rule of `held` covers, those about the same resource put together.
std::vector<Rule> uncovered(const std::vector<Rule>& held, const std::vector<Rule>& wanted);

}  // namespace gantry::apigw
