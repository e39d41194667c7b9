// The input is an object and a configuration (JSON, divided by a zero byte). Applying is stable: a second apply of the
// same changes nothing, and to apply nothing takes out all that was owned alone. Sets of fields read back as written.
#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "libs/model/managed_fields.h"
#include "libs/model/tree.h"

using namespace gantry::model;
using nlohmann::json;

namespace {

void apply(const Kind& kind, const json& live, const json& configuration) {
  const Type& type = *kind.type;
  const auto a = from_tree(kind, live), c = from_tree(kind, configuration);
  if (!a.ok() || !c.ok()) return;
  const auto fields = applied_fields(type, configuration);
  if (!fields.ok()) return;
  const auto read = FieldSet::from_json(fields->to_json());
  CHECK(read.ok() && *read == *fields) << fields->to_json();
  const auto merged = merge_applied(type, to_tree(Object(kind, *a)), configuration);
  const auto once = from_tree(kind, merged);
  if (!once.ok()) return;
  const auto twice = from_tree(kind, merge_applied(type, to_tree(Object(kind, *once)), configuration));
  CHECK(twice.ok());
  const Object before(kind, *once), after(kind, *twice);
  CHECK(equal(type, before.root(), after.root())) << to_json(before) << to_json(after);
  CHECK(field_changes(type, before.root(), after.root()).empty());
  ManagedFields owners;
  ManagedEntry me;
  me.manager = "me";
  me.applied = true;
  me.api_version = kind.api_version();
  me.fields = *fields;
  strip_unowned(me.fields);
  note_apply(owners, field_changes(type, Object(kind, *a).root(), before.root()), me);
  Draft draft(before);
  write_managed_fields(draft, owners);
  const auto back = read_managed_fields(draft.build());
  CHECK(back.ok() && back->size() == owners.size());
  auto pruned = to_tree(before);
  prune_applied(type, pruned, me.fields, FieldSet());
  CHECK(from_tree(kind, pruned).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t middle = std::min(text.find('\0'), text.size());
  if (auto set = FieldSet::from_json(text); set.ok()) {
    const auto again = FieldSet::from_json(set->to_json());
    CHECK(again.ok() && *again == *set) << set->to_json();
    CHECK(set->without(*set).empty() && set->united(*set) == *set && set->common(*set) == *set);
  }
  auto live = json::parse(text.substr(0, middle), nullptr, false);
  auto configuration = json::parse(middle == text.size() ? text : text.substr(middle + 1), nullptr, false);
  if (!live.is_object() || !configuration.is_object() || !shallow(live) || !shallow(configuration)) return 0;
  for (const char* resource : {"pods", "services", "deployments", "configmaps"}) {
    const Kind& kind = *Schema::get().by_resource(resource);
    for (json* tree : {&live, &configuration}) {
      tree->erase("apiVersion");
      tree->erase("kind");
    }
    apply(kind, live, configuration);
  }
  return 0;
}
