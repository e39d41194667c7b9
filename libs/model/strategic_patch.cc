// Strategic merge patch, as the API server does it: maps are merged, lists by their merge key where the schema has one,
// with the directives $patch, $retainKeys, $deleteFromPrimitiveList/<field> and $setElementOrder/<field>.
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "libs/model/patch.h"
#include "libs/model/tree.h"

namespace gantry::model {

namespace {

using nlohmann::json;

constexpr std::string_view kPatch = "$patch";
constexpr std::string_view kRetainKeys = "$retainKeys";
constexpr std::string_view kDeleteFrom = "$deleteFromPrimitiveList/";
constexpr std::string_view kElementOrder = "$setElementOrder/";

bool is_directive(std::string_view key) {
  return key == kPatch || key == kRetainKeys || key.starts_with(kDeleteFrom) || key.starts_with(kElementOrder);
}

/// The directive in `$patch`, "" when there is none.
std::string directive_of(const json& value) {
  if (!value.is_object()) return "";
  auto it = value.find(kPatch);
  return it == value.end() ? "" : it->is_string() ? it->get<std::string>() : "?";
}

/// What remains of a patch's value where there was nothing before: without directives, and without what it would
/// delete.
json plain(const json& value) {
  if (value.is_object()) {
    json out = json::object();
    if (directive_of(value) == "delete") return out;
    for (const auto& [key, item] : value.items()) {
      if (!item.is_null() && !is_directive(key)) out[key] = plain(item);
    }
    return out;
  }
  if (value.is_array()) {
    json out = json::array();
    for (const auto& item : value) {
      auto directive = directive_of(item);
      if (directive == "delete" || (directive == "replace" && item.size() == 1)) continue;
      out.push_back(plain(item));
    }
    return out;
  }
  return value;
}

class Merger {
 public:
  bool map(json& target, const json& patch, const Type* type) {
    auto directive = directive_of(patch);
    if (directive == "replace") {
      target = plain(patch);
      return true;
    }
    if (directive == "delete") {
      target = json::object();
      return true;
    }
    if (!directive.empty() && directive != "merge") {
      return fail(Code::kInvalid, fmt::format("unknown patch type: {} in map", directive));
    }
    if (!retain_keys(target, patch)) return false;
    // Lists whose order is given come first: they are merged and ordered at once.
    for (const auto& [key, order] : patch.items()) {
      if (key.starts_with(kElementOrder) && !ordered_list(target, patch, key.substr(kElementOrder.size()), order, type))
        return false;
    }
    for (const auto& [key, value] : patch.items()) {
      if (key.starts_with(kDeleteFrom)) {
        if (!delete_from(target, key.substr(kDeleteFrom.size()), value)) return false;
      } else if (!is_directive(key) && !patch.contains(std::string(kElementOrder) + key)) {
        if (!member(target, key, value, field_of(type, key))) return false;
      }
    }
    return true;
  }

  Error error;

 private:
  bool fail(Code code, std::string message) {
    error = Error{code, std::move(message)};
    return false;
  }

  static const Field* field_of(const Type* type, const std::string& key) { return type ? type->by_json(key) : nullptr; }
  /// The type of the field's value or elements; null for maps and scalars: they have no schema below them.
  static const Type* type_of(const Field* f) { return f && !f->map && f->format == Format::kNone ? f->type : nullptr; }
  static bool merges(const Field* f) { return f && f->list && !f->map && f->patch_merge; }

  bool member(json& target, const std::string& key, const json& value, const Field* f) {
    if (value.is_null()) {
      target.erase(key);
      return true;
    }
    auto it = target.find(key);
    if (it == target.end() || it->type() != value.type()) {
      target[key] = plain(value);
      return true;
    }
    if (value.is_object() && !(f && f->patch_replace)) return map(*it, value, type_of(f));
    if (value.is_array() && merges(f)) return list(*it, value, *f);
    *it = plain(value);
    return true;
  }

  bool retain_keys(json& target, const json& patch) {
    auto it = patch.find(kRetainKeys);
    if (it == patch.end()) return true;
    if (!it->is_array()) return fail(Code::kBadRequest, "invalid patch format of retainKeys");
    for (const auto& [key, value] : patch.items()) {
      if (is_directive(key) || value.is_null()) continue;
      if (std::find(it->begin(), it->end(), json(key)) == it->end()) {
        return fail(Code::kBadRequest, fmt::format("the retainKeys list does not have key {} of the patch", key));
      }
    }
    for (auto member = target.begin(); member != target.end();) {
      member =
          std::find(it->begin(), it->end(), json(member.key())) == it->end() ? target.erase(member) : std::next(member);
    }
    return true;
  }

  bool delete_from(json& target, const std::string& key, const json& values) {
    if (!values.is_array()) return fail(Code::kBadRequest, "invalid patch format of primitive list");
    auto it = target.find(key);
    if (it == target.end() || !it->is_array()) return true;
    json kept = json::array();
    Places gone = places_of(values, "");
    for (auto& item : *it) {
      if (!gone.contains(id_of(item, ""))) kept.push_back(std::move(item));
    }
    *it = std::move(kept);
    return true;
  }

  bool list(json& target, const json& patch, const Field& f) {
    json original = target;
    if (f.scalar != Scalar::kTable) {
      Places there = places_of(target, "");
      for (const auto& item : patch) {
        if (there.emplace(id_of(item, ""), 0).second) target.push_back(item);
      }
    } else if (!list_of_maps(target, patch, f)) {
      return false;
    }
    target = in_order(std::move(target), patch, original, f.patch_key);
    return true;
  }

  bool list_of_maps(json& target, const json& patch, const Field& f) {
    const auto& key = f.patch_key;
    if (key.empty()) return fail(Code::kInvalid, "the list has no merge key");
    for (const auto& item : patch) {
      if (!item.is_object()) return fail(Code::kBadRequest, fmt::format("{}: expected an object in the patch", f.json));
      auto directive = directive_of(item);
      if (directive == "replace") {
        target = plain(patch);
        return true;
      }
      if (!item.contains(key)) {
        return fail(Code::kBadRequest, fmt::format("map: {} does not contain declared merge key: {}",
                                                   item.dump(-1, ' ', false, json::error_handler_t::replace), key));
      }
    }
    // By position, so that a long list does not cost its square. Only the first of elements with the same key is
    // merged, all are deleted.
    std::unordered_map<std::string, std::vector<size_t>> places;
    for (size_t i = 0; i < target.size(); ++i) places[id_of(target[i], key)].push_back(i);
    std::unordered_set<size_t> deleted;
    for (const auto& item : patch) {
      auto& place = places[id_of(item, key)];
      if (directive_of(item) == "delete") {
        deleted.insert(place.begin(), place.end());
        place.clear();
      } else if (place.empty()) {
        place.push_back(target.size());
        target.push_back(plain(item));
      } else if (!map(target[place.front()], item, f.type)) {
        return false;
      }
    }
    if (deleted.empty()) return true;
    json kept = json::array();
    for (size_t i = 0; i < target.size(); ++i) {
      if (!deleted.contains(i)) kept.push_back(std::move(target[i]));
    }
    target = std::move(kept);
    return true;
  }

  /// A list with $setElementOrder: merged, if the patch changes it, then put in that order.
  bool ordered_list(json& target, const json& patch, const std::string& key, const json& order, const Type* type) {
    const Field* f = field_of(type, key);
    if (!order.is_array() || !merges(f)) return fail(Code::kBadRequest, "invalid patch format of setElementOrder list");
    auto change = patch.find(key);
    json original = target.contains(key) ? target[key] : json(nullptr);
    if (change != patch.end()) {
      if (!change->is_array() && !change->is_null())
        return fail(Code::kBadRequest, "invalid patch format of setElementOrder list");
      if (change->is_array() && !in_same_order(*change, order, f->patch_key)) {
        const auto text = [](const json& list) { return list.dump(-1, ' ', false, json::error_handler_t::replace); };
        return fail(Code::kBadRequest, fmt::format("The order in patch list:\n{}\n doesn't match {}{} list:\n{}\n",
                                                   text(*change), kElementOrder, key, text(order)));
      }
      if (!member(target, key, *change, f)) return false;
    }
    auto it = target.find(key);
    if (it == target.end() || !it->is_array()) return true;
    json merged = std::move(*it);
    *it = in_order(std::move(merged), order, original.is_array() ? original : json::array(), f->patch_key);
    return true;
  }

  /// Whether `order` names all that `list` has but what it deletes, in the same order.
  static bool in_same_order(const json& list, const json& order, const std::string& key) {
    size_t at = 0;
    for (const auto& item : list) {
      if (item.is_object() && item.contains(kPatch)) continue;
      const auto id = id_of(item, key);
      while (at < order.size() && id_of(order[at], key) != id) ++at;
      if (at++ == order.size()) return false;
    }
    return true;
  }

  /// What tells an element of a list from the others: the value of its merge key, or the element itself.
  static std::string id_of(const json& item, const std::string& key) {
    const json* id = &item;
    if (!key.empty() && item.is_object()) {
      if (auto it = item.find(key); it != item.end()) id = &*it;
    }
    return id->dump(-1, ' ', false, json::error_handler_t::replace);
  }

  /// Where the elements of a list stand.
  using Places = std::unordered_map<std::string, int64_t>;
  static Places places_of(const json& list, const std::string& key) {
    Places out;
    for (size_t i = 0; i < list.size(); ++i) out.emplace(id_of(list[i], key), static_cast<int64_t>(i));
    return out;
  }

  /// Elements that `order` names come in that order; the others keep their places of the original among them, as well
  /// as that goes.
  static json in_order(json merged, const json& order, const json& original, const std::string& key) {
    struct Item {
      json* value;
      int64_t rank, before;  // in `order`, in the original
    };
    std::vector<Item> named, others;
    Places ranks = places_of(order, key), before = places_of(original, key);
    auto place = [](const Places& places, const std::string& id) {
      auto it = places.find(id);
      return it == places.end() ? -1 : it->second;
    };
    for (auto& value : merged) {
      auto id = id_of(value, key);
      Item item{&value, place(ranks, id), place(before, id)};
      (item.rank >= 0 ? named : others).push_back(item);
    }
    std::stable_sort(named.begin(), named.end(), [](const Item& a, const Item& b) { return a.rank < b.rank; });
    std::stable_sort(others.begin(), others.end(), [](const Item& a, const Item& b) { return a.before < b.before; });
    json out = json::array();
    auto l = others.begin(), r = named.begin();
    while (l != others.end() || r != named.end()) {
      bool left = r == named.end() || (l != others.end() && l->before >= 0 && r->before >= 0 && l->before < r->before);
      out.push_back(std::move(*(left ? l++ : r++)->value));
    }
    return out;
  }
};

}  // namespace

Result<json> strategic_merge_patch(json target, const json& patch, const Type& type) {
  if (!patch.is_object()) return Error{Code::kBadRequest, "a strategic merge patch must be an object"};
  if (!shallow(patch)) return Error{Code::kBadRequest, "the patch is nested too deeply"};
  if (!target.is_object()) target = json::object();
  Merger merger;
  if (!merger.map(target, patch, &type)) return merger.error;
  return target;
}

}  // namespace gantry::model
