// How server-side apply looks at a field. Pure, thread-safe.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "libs/model/schema.h"

namespace gantry::model {

enum class Shape : uint8_t {
  kLeaf,    // a scalar, or something that is set as a whole
  kStruct,  // field by field
  kMap,     // key by key
  kSet,     // a list, value by value
  kKeyed,   // a list, element by element, told apart by keys
};

Shape shape_of(const Type& owner, const Field& field);
/// `+structType=atomic` in the API's sources: set as a whole, wherever it stands.
bool atomic_struct(const Type& type);

/// The names of a keyed list's keys, sorted.
std::vector<const Field*> keys_of(const Field& field);

/// True if a new object of the API has this struct even when it was not sent (no pointer in Go): it is never "added".
bool always_there(const Field& field);

/// `k:{...}` of an element in JSON. An absent key has its default; `missing` names one that has none.
std::string keyed_element(const std::vector<const Field*>& keys, const nlohmann::json& element, std::string* missing);
std::string value_element(const nlohmann::json& value);

/// The value that an absent key stands for; null when it has no default.
nlohmann::json default_of(const Field& key);

}  // namespace gantry::model
