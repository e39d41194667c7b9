#include "libs/model/node_selector.h"

#include <algorithm>
#include <charconv>

namespace gantry::model {
namespace {

using api::core_v1::NodeSelectorRequirement;

bool matches(const NodeSelectorRequirement& requirement, const std::string_view* value) {
  std::string_view op = str(requirement.operator_());
  auto listed = [&] {
    if (value == nullptr || requirement.values() == nullptr) return false;
    return std::any_of(requirement.values()->begin(), requirement.values()->end(),
                       [&](const auto* v) { return str(v) == *value; });
  };
  if (op == "In") return listed();
  if (op == "NotIn") return !listed();
  if (op == "Exists") return value != nullptr;
  if (op == "DoesNotExist") return value == nullptr;
  if ((op == "Gt" || op == "Lt") && value != nullptr && requirement.values() != nullptr &&
      requirement.values()->size() == 1) {
    int64_t have = 0, bound = 0;
    std::string_view text = str(requirement.values()->Get(0));
    if (std::from_chars(value->data(), value->data() + value->size(), have).ec != std::errc()) return false;
    if (std::from_chars(text.data(), text.data() + text.size(), bound).ec != std::errc()) return false;
    return op == "Gt" ? have > bound : have < bound;
  }
  return false;
}

}  // namespace

bool matches(const api::core_v1::NodeSelectorTerm& term, const Labels* labels, std::string_view node) {
  bool any = false;
  if (term.match_expressions() != nullptr) {
    for (const auto* requirement : *term.match_expressions()) {
      any = true;
      const auto* label = lookup(labels, str(requirement->key()));
      const std::string_view value = str(label);
      if (!matches(*requirement, label == nullptr ? nullptr : &value)) return false;
    }
  }
  if (term.match_fields() != nullptr) {
    for (const auto* requirement : *term.match_fields()) {
      any = true;
      if (str(requirement->key()) != "metadata.name" || !matches(*requirement, &node)) return false;
    }
  }
  return any;
}

bool matches(const api::core_v1::NodeSelector* selector, const Labels* labels, std::string_view node) {
  if (selector == nullptr || selector->node_selector_terms() == nullptr) return false;
  return std::any_of(selector->node_selector_terms()->begin(), selector->node_selector_terms()->end(),
                     [&](const auto* term) { return matches(*term, labels, node); });
}

}  // namespace gantry::model
