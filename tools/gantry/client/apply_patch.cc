#include "tools/gantry/client/apply_patch.h"

namespace gantry::client {
namespace {

using model::Field;
using model::Type;
using nlohmann::json;

const json kNothing = json::object();

const json& member(const json& object, const std::string& key) {
  static const json none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

const json* find_item(const json& list, const std::string& key, const json& value) {
  if (!list.is_array()) return nullptr;
  for (const auto& item : list) {
    if (item.is_object() && member(item, key) == value) return &item;
  }
  return nullptr;
}

/// Items are known by their merge key: containers by name, ports by containerPort.
json merge_list(const Field& field, const json& last, const json& wanted, const json& live) {
  json out = json::array();
  for (const auto& item : wanted) {
    const json& id = item.is_object() ? member(item, field.patch_key) : item;
    const json* now = find_item(live, field.patch_key, id);
    if (now == nullptr) {
      out.push_back(item);
      continue;
    }
    const json* before = find_item(last, field.patch_key, id);
    json change = three_way_patch(before != nullptr ? *before : kNothing, item, *now, field.type);
    if (change.empty()) continue;
    change[field.patch_key] = id;
    out.push_back(std::move(change));
  }
  if (last.is_array()) {
    for (const auto& item : last) {
      if (!item.is_object()) continue;
      const json& id = member(item, field.patch_key);
      if (find_item(wanted, field.patch_key, id) == nullptr && find_item(live, field.patch_key, id) != nullptr) {
        out.push_back({{"$patch", "delete"}, {field.patch_key, id}});
      }
    }
  }
  return out;
}

bool contains(const json& list, const json& value) {
  return list.is_array() && std::find(list.begin(), list.end(), value) != list.end();
}

/// A set of scalars, e.g. finalizers.
void merge_set(const std::string& name, const json& last, const json& wanted, const json& live, json& patch) {
  json added = json::array(), deleted = json::array();
  for (const auto& value : wanted) {
    if (!contains(live, value)) added.push_back(value);
  }
  if (last.is_array()) {
    for (const auto& value : last) {
      if (!contains(wanted, value) && contains(live, value)) deleted.push_back(value);
    }
  }
  if (!added.empty()) patch[name] = std::move(added);
  if (!deleted.empty()) patch["$deleteFromPrimitiveList/" + name] = std::move(deleted);
}

}  // namespace

json three_way_patch(const json& last, const json& wanted, const json& live, const Type* type) {
  json patch = json::object();
  for (const auto& [name, value] : wanted.items()) {
    const Field* field = type != nullptr ? type->by_json(name) : nullptr;
    const json& now = member(live, name);
    const json& before = member(last, name);
    if (now.is_null() || now.type() != value.type()) {
      if (now != value) patch[name] = value;
    } else if (value.is_object()) {
      const bool typed = field != nullptr && !field->map && !field->list;
      json change = three_way_patch(before.is_object() ? before : kNothing, value, now, typed ? field->type : nullptr);
      if (!change.empty()) patch[name] = std::move(change);
    } else if (value.is_array() && field != nullptr && field->patch_merge && !field->patch_key.empty()) {
      json change = merge_list(*field, before, value, now);
      if (!change.empty()) patch[name] = std::move(change);
    } else if (value.is_array() && field != nullptr && field->patch_merge) {
      merge_set(name, before, value, now, patch);
    } else if (value != now) {
      patch[name] = value;
    }
  }
  for (const auto& [name, value] : last.items()) {
    if (!wanted.contains(name) && live.contains(name)) patch[name] = nullptr;
  }
  return patch;
}

}  // namespace gantry::client
