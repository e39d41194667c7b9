#include "libs/model/ownership.h"

#include <fmt/format.h>

#include <unordered_map>
#include <unordered_set>

#include "libs/model/assembler.h"
#include "libs/model/equal_field.h"
#include "libs/model/json_text.h"
#include "libs/model/shape.h"

namespace gantry::model {

namespace {

using nlohmann::json;
using Table = flatbuffers::Table;

std::string field_element(std::string_view name) {
  std::string out;
  out.reserve(name.size() + 2);
  out = "f:";
  out += name;
  return out;
}

// Compares two versions of an object by reflection. A level is three sets that grow together.
class Comparer {
 public:
  struct Level {
    FieldSet *added, *modified, *removed;
  };

  // The nodes of one element while it is looked at; kept only if something came of it.
  struct Found {
    FieldSet::Node added, modified, removed;
  };

  void table(const Type& type, const Table* a, const Table* b, Level level) {
    for (const Field& f : type.fields) {
      const bool in_a = a != nullptr && has_value(a, f), in_b = b != nullptr && has_value(b, f);
      if (!in_a && !in_b) continue;
      Found found;
      field(type, f, in_a ? a : nullptr, in_b ? b : nullptr, found);
      keep(level, found, field_element(f.json));
    }
    sort(level);
  }

 private:
  static void keep(Level level, Found& found, std::string element) {
    for (auto [set, node] : {std::pair{level.added, &found.added}, std::pair{level.modified, &found.modified},
                             std::pair{level.removed, &found.removed}}) {
      if (!node->member && node->below.empty()) continue;
      FieldSet::Node& kept = set->append(element);
      kept.member = node->member;
      kept.below = std::move(node->below);
    }
  }
  static void sort(Level level) {
    for (FieldSet* set : {level.added, level.modified, level.removed}) set->sort();
  }
  static Level below(Found& found) { return {&found.added.below, &found.modified.below, &found.removed.below}; }

  // `a` and `b` are the tables that have the field; null where it is absent.
  void field(const Type& owner, const Field& f, const Table* a, const Table* b, Found& found) {
    const Shape shape = shape_of(owner, f);
    if (shape == Shape::kLeaf || (a != nullptr && b != nullptr && equal_field(f, a, b)) || nothing_in(f, shape, a, b)) {
      if (a == nullptr) {
        found.added.member = true;
      } else if (b == nullptr) {
        found.removed.member = true;
      } else if (shape == Shape::kLeaf && !equal_field(f, a, b)) {
        found.modified.member = true;
      }
      return;
    }
    switch (shape) {
      case Shape::kStruct:
        table(*f.type, a == nullptr ? nullptr : table_of(a, f), b == nullptr ? nullptr : table_of(b, f), below(found));
        break;
      case Shape::kMap:
        map(f, a, b, below(found));
        break;
      default:
        list(f, shape, a, b, below(found));
    }
    if (a == nullptr && !always_there(f)) found.added.member = true;
    if (b == nullptr) found.removed.member = true;
  }

  // Empty on both sides, or absent: then it counts as a leaf.
  static bool nothing_in(const Field& f, Shape shape, const Table* a, const Table* b) {
    const auto empty = [&](const Table* t) {
      if (t == nullptr) return true;
      if (shape != Shape::kStruct) return t->GetPointer<const flatbuffers::VectorOfAny*>(f.slot)->size() == 0;
      const Table* inner = table_of(t, f);
      for (const Field& field : f.type->fields) {
        if (has_value(inner, field)) return false;
      }
      return true;
    };
    return empty(a) && empty(b);
  }

  static std::string_view key_at(const Field& f, const Table* t, uint32_t i) {
    const auto* key = string_of(tables_of(t, f)->Get(i), f.type->fields[0]);
    return {key->data(), key->size()};
  }

  void map(const Field& f, const Table* a, const Table* b, Level level) {
    const uint32_t n = a == nullptr ? 0 : tables_of(a, f)->size(), m = b == nullptr ? 0 : tables_of(b, f)->size();
    const Field& value = f.type->fields[1];
    uint32_t i = 0, j = 0;
    while (i < n || j < m) {
      const int order = i == n ? 1 : j == m ? -1 : key_at(f, a, i).compare(key_at(f, b, j));
      Found found;
      std::string element = field_element(order <= 0 ? key_at(f, a, i) : key_at(f, b, j));
      if (order < 0) {
        found.removed.member = true;
      } else if (order > 0) {
        found.added.member = true;
      } else {
        const Table *x = tables_of(a, f)->Get(i), *y = tables_of(b, f)->Get(j);
        const bool same = present(x, value) == present(y, value) && (!present(x, value) || equal_field(value, x, y));
        found.modified.member = !same;
      }
      if (order <= 0) ++i;
      if (order >= 0) ++j;
      keep(level, found, std::move(element));
    }
    sort(level);
  }

  static void write_scalar(const Field& f, const Table* t, std::string& out) {
    if (f.format == Format::kIntOrString && !f.list) {
      const Table* value = table_of(t, f);
      if (present(value, f.type->fields[1])) return write_json_string(str(string_of(value, f.type->fields[1])), out);
      out += std::to_string(scalar_of(value, f.type->fields[0]));
    } else if (f.scalar == Scalar::kString) {
      write_json_string(str(string_of(t, f)), out);
    } else if (f.scalar == Scalar::kBool) {
      out += scalar_of(t, f) != 0 ? "true" : "false";
    } else {
      out += std::to_string(scalar_of(t, f));
    }
  }

  // The path element of the i-th element of a list.
  static std::string element_of(const Field& f, Shape shape, const std::vector<const Field*>& keys, const Table* t,
                                uint32_t i) {
    std::string out = shape == Shape::kSet ? "v:" : "k:{";
    if (shape == Shape::kSet) {
      if (f.scalar == Scalar::kString) {
        write_json_string(str(strings_of(t, f)->Get(i)), out);
      } else if (f.scalar == Scalar::kInt32) {
        out += std::to_string(vector_of<int32_t>(t, f)->Get(i));
      } else if (f.scalar == Scalar::kInt64) {
        out += std::to_string(vector_of<int64_t>(t, f)->Get(i));
      } else {
        out += std::to_string(i);  // no set of the API has other values
      }
      return out;
    }
    const Table* element = tables_of(t, f)->Get(i);
    bool first = true;
    for (const Field* key : keys) {
      const bool there = has_value(element, *key);
      if (!there && default_of(*key).is_null()) continue;
      if (!first) out += ',';
      first = false;
      out += '"';
      out += key->json;
      out += "\":";
      if (there) {
        write_scalar(*key, element, out);
      } else {
        out += default_of(*key).dump();
      }
    }
    return out += '}';
  }

  void list(const Field& f, Shape shape, const Table* a, const Table* b, Level level) {
    const auto keys = shape == Shape::kKeyed ? keys_of(f) : std::vector<const Field*>();
    const auto size = [&](const Table* t) {
      return t == nullptr ? 0 : t->GetPointer<const flatbuffers::VectorOfAny*>(f.slot)->size();
    };
    const uint32_t n = size(a), m = size(b);
    // Of elements with the same keys only the first counts.
    std::unordered_map<std::string, uint32_t> old;
    for (uint32_t i = 0; i < n; ++i) old.emplace(element_of(f, shape, keys, a, i), i);
    std::unordered_set<std::string> seen;
    for (uint32_t j = 0; j < m; ++j) {
      std::string element = element_of(f, shape, keys, b, j);
      if (!seen.insert(element).second) continue;
      const auto before = old.find(element);
      Found found;
      if (shape == Shape::kKeyed) {
        table(*f.type, before == old.end() ? nullptr : tables_of(a, f)->Get(before->second), tables_of(b, f)->Get(j),
              below(found));
      }
      found.added.member = before == old.end();
      keep(level, found, std::move(element));
    }
    for (const auto& [element, i] : old) {
      if (seen.contains(element)) continue;
      Found found;
      if (shape == Shape::kKeyed) table(*f.type, tables_of(a, f)->Get(i), nullptr, below(found));
      found.removed.member = true;
      keep(level, found, element);
    }
    sort(level);
  }
};

class Reader {
 public:
  std::string error;

  bool structure(const Type& type, const json& value, FieldSet& out) {
    for (const auto& [key, item] : value.items()) {
      const Field* f = type.by_json(key);
      if (f == nullptr) continue;  // apiVersion, kind; anything else was refused when it was decoded
      path_.push_back("." + key);
      FieldSet::Node* node = out.add(field_element(key));
      const Shape shape = shape_of(type, *f);
      const bool empty = item.is_null() || (item.is_object() && item.empty());
      if (shape == Shape::kLeaf || empty) {
        node->member = true;
      } else if (shape == Shape::kStruct && item.is_object()) {
        if (!structure(*f->type, item, node->below)) return false;
      } else if (shape == Shape::kMap && item.is_object()) {
        for (const auto& [name, element] : item.items()) node->below.add(field_element(name))->member = true;
      } else if (item.is_array()) {
        if (!list(*f, shape, item, node->below)) return false;
      }
      path_.pop_back();
    }
    out.shrink();  // empty lists own nothing
    return true;
  }

 private:
  bool fail(std::string why) {
    for (const auto& step : path_) error += step;
    error += ": " + why;
    return false;
  }

  bool list(const Field& f, Shape shape, const json& items, FieldSet& out) {
    const auto keys = shape == Shape::kKeyed ? keys_of(f) : std::vector<const Field*>();
    std::unordered_set<std::string> seen;
    for (size_t i = 0; i < items.size(); ++i) {
      std::string missing;
      const std::string element =
          shape == Shape::kSet ? value_element(items[i]) : keyed_element(keys, items[i], &missing);
      if (!missing.empty()) {
        return fail(
            fmt::format("element {}: associative list with keys has an element that omits key field \"{}\" "
                        "(and doesn't have default value)",
                        i, missing));
      }
      if (!seen.insert(element).second) {
        return fail(fmt::format("duplicate entries for key {}", to_string({std::string_view(element)})));
      }
      FieldSet::Node* node = &out.append(element);
      node->member = true;
      if (shape != Shape::kKeyed || !items[i].is_object()) continue;
      path_.push_back(to_string({std::string_view(element)}));
      if (!structure(*f.type, items[i], node->below)) return false;
      path_.pop_back();
    }
    out.sort();
    return true;
  }

  std::vector<std::string> path_;
};

class Merger {
 public:
  void structure(const Type& type, json& live, const json& applied) {
    for (const auto& [key, value] : applied.items()) {
      const Field* f = type.by_json(key);
      const auto there = live.find(key);
      if (f == nullptr || there == live.end() || there->type() != value.type()) {
        live[key] = value;
        continue;
      }
      switch (const Shape shape = shape_of(type, *f)) {
        case Shape::kLeaf:
          *there = value;
          break;
        case Shape::kStruct:
          structure(*f->type, *there, value);
          break;
        case Shape::kMap:
          for (const auto& [name, element] : value.items()) (*there)[name] = element;
          break;
        default:
          list(*f, shape, *there, value);
      }
    }
  }

 private:
  // The order of the configuration for what it names; what it does not name keeps its place among the others.
  void list(const Field& f, Shape shape, json& live, const json& applied) {
    const auto keys = shape == Shape::kKeyed ? keys_of(f) : std::vector<const Field*>();
    const auto element = [&](const json& item) {
      return shape == Shape::kSet ? value_element(item) : keyed_element(keys, item, nullptr);
    };
    std::vector<std::string> left, right;
    std::unordered_map<std::string, size_t> in_left;
    std::unordered_set<std::string> in_right, merged;
    for (size_t i = 0; i < live.size(); ++i) in_left.emplace(left.emplace_back(element(live[i])), i);
    for (const auto& item : applied) in_right.insert(right.emplace_back(element(item)));
    std::vector<std::string> shared;
    for (const auto& id : right) {
      if (in_left.contains(id)) shared.push_back(id);
    }
    json out = json::array();
    const auto take = [&](size_t r) {
      merged.insert(right[r]);
      const auto old = in_left.find(right[r]);
      if (old == in_left.end() || shape == Shape::kSet || !live[old->second].is_object() || !applied[r].is_object()) {
        out.push_back(applied[r]);
      } else {
        out.push_back(live[old->second]);
        structure(*f.type, out.back(), applied[r]);
      }
    };
    size_t l = 0, r = 0, next = 0;  // next: of the shared ones
    while (l < left.size() || r < right.size()) {
      if (l < left.size() && r < right.size()) {
        if (left[l] == right[r]) {
          take(r);
          ++l, ++r, ++next;
          continue;
        }
        if (in_right.contains(left[l]) && next < shared.size() && shared[next] != left[l]) {
          ++l;  // its turn comes when the configuration names it
          continue;
        }
      }
      if (l < left.size()) {
        if (!in_right.contains(left[l])) {
          out.push_back(live[l++]);
          continue;
        }
        if (merged.contains(left[l])) {
          ++l;
          if (r == right.size()) continue;
        }
      }
      if (r < right.size()) {
        take(r);
        if (next < shared.size() && shared[next] == right[r]) ++next;
        ++r;
      } else if (l < left.size()) {
        ++l;
      }
    }
    live = std::move(out);
  }
};

// Structs and maps that hold a member count as members.
bool counts(const FieldSet::Node* node) {
  if (node == nullptr) return false;
  if (node->member) return true;
  return node->element[0] == 'f' && !node->below.empty();
}

const FieldSet kNone;

class Pruner {
 public:
  void structure(const Type& type, json& value, const FieldSet& last, const FieldSet& owned) {
    for (auto it = value.begin(); it != value.end();) {
      const Field* f = type.by_json(it.key());
      const FieldSet::Node* node = f == nullptr ? nullptr : last.find(field_element(it.key()));
      if (node == nullptr) {
        ++it;
        continue;
      }
      const FieldSet::Node* owner = owned.find(node->element);
      if (counts(node) && !counts(owner)) {
        it = value.erase(it);
        continue;
      }
      const FieldSet& others = owner == nullptr ? kNone : owner->below;
      switch (const Shape shape = shape_of(type, *f)) {
        case Shape::kLeaf:
          break;
        case Shape::kStruct:
          if (it->is_object()) structure(*f->type, *it, node->below, others);
          break;
        case Shape::kMap:
          if (it->is_object()) map(*it, node->below, others);
          break;
        default:
          if (it->is_array()) list(*f, shape, *it, node->below, others);
      }
      ++it;
    }
  }

 private:
  static void map(json& value, const FieldSet& last, const FieldSet& owned) {
    for (const auto& node : last.nodes()) {
      if (node.element[0] == 'f' && counts(&node) && !counts(owned.find(node.element)))
        value.erase(node.element.substr(2));
    }
  }

  void list(const Field& f, Shape shape, json& items, const FieldSet& last, const FieldSet& owned) {
    const auto keys = shape == Shape::kKeyed ? keys_of(f) : std::vector<const Field*>();
    json kept = json::array();
    for (auto& item : items) {
      const std::string element = shape == Shape::kSet ? value_element(item) : keyed_element(keys, item, nullptr);
      const FieldSet::Node* node = last.find(element);
      const FieldSet::Node* owner = node == nullptr ? nullptr : owned.find(element);
      if (node != nullptr) {
        if (counts(node) && !counts(owner)) continue;
        if (shape == Shape::kKeyed && item.is_object())
          structure(*f.type, item, node->below, owner == nullptr ? kNone : owner->below);
      }
      kept.push_back(std::move(item));
    }
    items = std::move(kept);
  }
};

}  // namespace

FieldChanges field_changes(const Type& type, const Table* before, const Table* after) {
  FieldChanges changes;
  Comparer().table(type, before, after, {&changes.added, &changes.modified, &changes.removed});
  return changes;
}

Result<FieldSet> applied_fields(const Type& type, const json& configuration) {
  Reader reader;
  FieldSet fields;
  if (!configuration.is_object() || !reader.structure(type, configuration, fields)) {
    return Error{Code::kBadRequest, reader.error};
  }
  return fields;
}

json merge_applied(const Type& type, json live, const json& configuration) {
  if (!live.is_object()) live = json::object();
  Merger().structure(type, live, configuration);
  return live;
}

void prune_applied(const Type& type, json& merged, const FieldSet& last, const FieldSet& owned) {
  Pruner().structure(type, merged, last, owned);
}

}  // namespace gantry::model
