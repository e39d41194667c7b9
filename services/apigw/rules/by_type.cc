#include "services/apigw/rules/by_type.h"

#include <deque>
#include <map>
#include <unordered_map>

#include "libs/model/assembler.h"
#include "libs/model/json.h"
#include "services/apigw/rules/at.h"
#include "services/apigw/rules/tables.h"

namespace gantry::apigw {
namespace {

using flatbuffers::Table;
using model::Field;
using model::Scalar;
using model::Type;

constexpr std::string_view kPrefix = "gantry.api.";

// Fields that the API calls required and that may be empty all the same.
constexpr std::pair<std::string_view, std::string_view> kMayBeEmpty[] = {
    {"core_v1.HTTPHeader", "value"},
    {"core_v1.Sysctl", "value"},
};

struct Plan;

struct FieldPlan {
  const Field* field = nullptr;
  bool required = false;  // a string that must be there
  std::vector<const FieldRule*> rules;
  const Plan* below = nullptr;  // a struct, or a list of them, with rules of its own
  bool anything() const { return required || !rules.empty() || !field->enum_values.empty(); }
};

struct Plan {
  std::vector<FieldPlan> fields;  // with rules, or structs on the way to some
  std::vector<decltype(Program::check)> programs;
  std::vector<FieldPlan> defaults;  // with defaults, or structs on the way to some
  bool ready = false;
};

/// A table without fields: what an absent struct is read as.
const Table* nothing() {
  alignas(8) static const uint8_t kBytes[] = {4, 0, 4, 0, 4, 0, 0, 0};
  return reinterpret_cast<const Table*>(kBytes + 4);
}

std::string_view short_name(const Type& type) {
  std::string_view name = type.full_name;
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : std::string_view();
}

class Plans {
 public:
  Plans() {
    for (const auto& rule : field_rules()) rules_[rule.type].push_back(&rule);
    for (const auto& list : {core_programs(), batch_programs(), network_programs(), access_programs(), other_programs(),
                             device_programs()}) {
      for (const auto& program : list) programs_[program.type].push_back(program.check);
    }
    for (const auto& kind : model::Schema::get().kinds()) {
      if (!kind.resource.empty()) make(*kind.type);
    }
  }

  const Plan& of(const Type& type) const { return plans_.at(&type); }

 private:
  Plan& make(const Type& type) {
    Plan& plan = plans_[&type];  // stays where it is
    if (plan.ready) return plan;
    plan.ready = true;
    const std::string_view name = short_name(type);
    if (const auto it = programs_.find(name); it != programs_.end()) plan.programs = it->second;
    for (const Field& field : type.fields) {
      if (field.json == "status" || field.json == "metadata") continue;
      FieldPlan one{&field};
      const bool text = field.scalar == Scalar::kString && !field.list;
      one.required = field.mandatory && text && !may_be_empty(name, field.json);
      if (const auto it = rules_.find(name); it != rules_.end()) {
        for (const auto* rule : it->second) {
          if (rule->field == field.json) one.rules.push_back(rule);
        }
      }
      const bool structs = field.scalar == Scalar::kTable && !field.map && field.format == model::Format::kNone;
      const Plan* below = structs ? &make(*field.type) : nullptr;
      // A type that contains itself is not ready here: assume that there is something.
      if (below != nullptr && (!below->fields.empty() || !below->programs.empty())) one.below = below;
      if (one.anything() || one.below != nullptr) plan.fields.push_back(one);
      one.below = below != nullptr && !below->defaults.empty() ? below : nullptr;
      if (!field.default_value.empty() || one.below != nullptr) plan.defaults.push_back(one);
    }
    return plan;
  }

  static bool may_be_empty(std::string_view type, std::string_view field) {
    return std::any_of(std::begin(kMayBeEmpty), std::end(kMayBeEmpty),
                       [&](const auto& one) { return one.first == type && one.second == field; });
  }

  std::unordered_map<std::string_view, std::vector<const FieldRule*>> rules_;
  std::unordered_map<std::string_view, std::vector<decltype(Program::check)>> programs_;
  std::map<const Type*, Plan> plans_;
};

const Plans& plans() {
  static const Plans* all = new Plans;
  return *all;
}

// --- validation

struct Value {
  std::string_view text;
  int64_t number = 0;
};

Value element_of(const Table* table, const Field& field, int64_t index) {
  const auto i = static_cast<flatbuffers::uoffset_t>(index);
  switch (field.scalar) {
    case Scalar::kString:
      return {model::str(index < 0 ? model::string_of(table, field) : model::strings_of(table, field)->Get(i))};
    case Scalar::kBytes:
      return {model::bytes_of(table, field)};
    case Scalar::kInt32:
      return {{}, index < 0 ? model::scalar_of(table, field) : model::vector_of<int32_t>(table, field)->Get(i)};
    case Scalar::kInt64:
      return {{}, index < 0 ? model::scalar_of(table, field) : model::vector_of<int64_t>(table, field)->Get(i)};
    default:
      return {};
  }
}

size_t size_of(const Table* table, const Field& field) {
  const auto* list = table->GetPointer<const flatbuffers::VectorOfAny*>(field.slot);
  return list == nullptr ? 0 : list->size();
}

void check_element(const FieldPlan& plan, const Table* table, const At& at, int64_t index, Problems& problems) {
  const Field& field = *plan.field;
  const Value value = element_of(table, field, index);
  Problems found;
  const auto& words = field.enum_values;
  if (!words.empty() && !value.text.empty() && std::find(words.begin(), words.end(), value.text) == words.end())
    found.unsupported(at.path(), value.text, {words.begin(), words.end()});
  for (const auto* rule : plan.rules) check_value(rule->is, rule->words, at, value.text, value.number, found);
  if (!found.empty() && !problems.about(at.path())) problems.add_all(found);
}

void check_field(const FieldPlan& plan, const Table* table, const At& at, Problems& problems) {
  const Field& field = *plan.field;
  const At here(at, field.json);
  const bool there = model::has_value(table, field);
  const size_t n = there && field.list ? size_of(table, field) : 0;
  const bool empty = !there || (field.list ? n == 0
                                           : (field.scalar == Scalar::kString || field.scalar == Scalar::kBytes) &&
                                                 element_of(table, field, -1).text.empty());
  if (empty) {
    for (const auto* rule : plan.rules) {
      if (rule->is == Is::kRequired && !problems.about(here.path())) problems.required(here.path(), rule->words);
      // A number that must be there is zero when it is not.
      if ((rule->is == Is::kPositive || rule->is == Is::kPort) && field.mandatory && !there &&
          !problems.about(here.path()))
        check_value(rule->is, {}, here, {}, 0, problems);
    }
    if (plan.required && !problems.about(here.path())) problems.required(here.path());
  }
  if (!there || field.scalar == Scalar::kTable || (plan.rules.empty() && field.enum_values.empty())) return;
  if (!field.list) return check_element(plan, table, here, -1, problems);
  for (size_t i = 0; i < n; ++i)
    check_element(plan, table, At(at, field.json, static_cast<int64_t>(i)), static_cast<int64_t>(i), problems);
}

void walk(const Plan& plan, const Table* table, const At& at, Problems& problems) {
  if (!plan.programs.empty()) {
    const std::string path = at.path();
    for (const auto check : plan.programs) check(table, path, problems);
  }
  for (const auto& one : plan.fields) {
    const Field& field = *one.field;
    if (one.anything()) check_field(one, table, at, problems);
    if (one.below == nullptr) continue;
    if (field.list) {
      for (size_t i = 0; i < size_of(table, field); ++i) {
        walk(*one.below, model::tables_of(table, field)->Get(static_cast<flatbuffers::uoffset_t>(i)),
             At(at, field.json, static_cast<int64_t>(i)), problems);
      }
      continue;
    }
    const Table* below = model::table_of(table, field);
    if (below == nullptr && !field.mandatory) continue;
    walk(*one.below, below == nullptr ? nothing() : below, At(at, field.json), problems);
  }
}

// --- defaults

void set_defaults_of(const Plan& plan, const Table* table, const At& at, model::Draft& draft) {
  for (const auto& one : plan.defaults) {
    const Field& field = *one.field;
    const At here(at, field.json);
    if (one.below == nullptr) {
      if (!model::has_value(table, field)) set_default(draft, field, here.path(), field.default_value);
    } else if (field.list) {
      for (size_t i = 0; i < size_of(table, field); ++i) {
        set_defaults_of(*one.below, model::tables_of(table, field)->Get(static_cast<flatbuffers::uoffset_t>(i)),
                        At(at, field.json, static_cast<int64_t>(i)), draft);
      }
    } else if (const Table* below = model::table_of(table, field); below != nullptr || field.mandatory) {
      set_defaults_of(*one.below, below == nullptr ? nothing() : below, here, draft);
    }
  }
}

}  // namespace

void default_by_type(model::Draft& draft, const model::Object& given) {
  set_defaults_of(plans().of(*given.kind().type), given.root(), At(), draft);
}

void validate_by_type(const model::Object& object, Problems& problems) {
  const Type& type = *object.kind().type;
  walk(plans().of(type), object.root(), At(), problems);
  // A spec that is left out is an empty one.
  const Field* spec = type.by_json("spec");
  if (spec != nullptr && !spec->mandatory && spec->scalar == Scalar::kTable && !model::present(object.root(), *spec))
    walk(plans().of(*spec->type), nothing(), At(At(), "spec"), problems);
}

std::vector<std::string> unknown_types() {
  std::vector<std::string> out;
  const auto type_of = [](std::string_view name) {
    return model::Schema::get().type(std::string(kPrefix) + std::string(name));
  };
  for (const auto& rule : field_rules()) {
    const Type* type = type_of(rule.type);
    if (type == nullptr || type->by_json(rule.field) == nullptr)
      out.push_back(fmt::format("{}.{}", rule.type, rule.field));
  }
  for (const auto& [type, field] : kMayBeEmpty) {
    if (type_of(type) == nullptr || type_of(type)->by_json(field) == nullptr)
      out.push_back(fmt::format("{}.{}", type, field));
  }
  for (const auto& list : {core_programs(), batch_programs(), network_programs(), access_programs(), other_programs(),
                           device_programs()}) {
    for (const auto& program : list) {
      if (type_of(program.type) == nullptr) out.emplace_back(program.type);
    }
  }
  return out;
}

}  // namespace gantry::apigw
