// The API's types as data: what JSON, protobuf, patches, tables and discovery need to know about every field, read once
// from the binary schema that is embedded in each program. Immutable after the first get(); thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace gantry::model {

enum class Scalar : uint8_t { kNone, kBool, kInt32, kInt64, kDouble, kString, kBytes, kTable, kOther };
enum class Format : uint8_t { kNone, kTime, kMicroTime, kQuantity, kIntOrString, kBytes, kJson };

struct Type;

struct Field {
  std::string name;               // in the .fbs, snake_case
  std::string json;               // in JSON, camelCase
  uint16_t slot = 0;              // vtable offset
  Scalar scalar = Scalar::kNone;  // of the field, or of the elements when `list`
  bool list = false;
  bool map = false;  // a list of entries {key, value}: an object in JSON
  Format format = Format::kNone;
  const Type* type = nullptr;   // when scalar is kTable (for maps: the entry)
  std::vector<uint32_t> proto;  // path of protobuf numbers; more than one through inlined structs; empty: none
  bool wrapped = false, mandatory = false, nullable = false;
  bool patch_merge = false, patch_retain_keys = false, patch_replace = false;
  std::string patch_key;
  std::string list_type;               // atomic, set, map or empty
  std::vector<std::string> list_keys;  // JSON names
  std::string default_value;
  std::vector<std::string> enum_values;

  uint8_t size = 0;       // bytes inside the table (4 for anything by offset)
  bool required = false;  // the reader relies on it: map keys
  std::string json_key;   // `"camelCase":`, ready to be printed
};

/// A protobuf message as a tree: what stands under each number is a field of the type or an inlined struct's own
/// numbers.
struct Wire {
  struct Entry {
    const Field* field = nullptr;
    std::unique_ptr<const Wire> inlined;
  };
  std::vector<Entry> entries;  // by number; neither: unknown
  const Entry* at(uint32_t number) const { return number < entries.size() ? &entries[number] : nullptr; }
};

struct Type {
  std::string name;           // without namespace, e.g. PodSpec
  std::string full_name;      // gantry.api.core_v1.PodSpec
  std::vector<Field> fields;  // by id
  const Field* by_json(std::string_view json) const;
  const Field* by_name(std::string_view name) const;
  std::unordered_map<std::string_view, const Field*> json_index, name_index;  // keys point into fields
  Wire wire;
  bool is_kind = false;  // a kind's root table: apiVersion and kind stand beside its fields in JSON

 private:
  friend class Schema;
  std::vector<uint16_t> buckets_;  // open addressing over json names: index + 1
};

struct Column {
  std::string name, type, source;  // source: ".json.path" or "@function"
  bool wide = false;
};

/// A kind of the API. `resource` is empty for kinds that are never stored (Scale, Binding, DeleteOptions).
struct Kind {
  const Type* type = nullptr;
  std::string kind, group, version, resource, singular;
  std::vector<std::string> short_names, categories, subresources, select;
  std::vector<Column> columns;
  bool namespaced = false;
  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  bool has_subresource(std::string_view name) const;
};

class Schema {
 public:
  static const Schema& get();

  /// Stored kinds and others, ordered by the full names of their types.
  const std::vector<Kind>& kinds() const { return kinds_; }
  const Kind* by_resource(std::string_view resource) const;  // stored kinds only
  const Kind* by_kind(std::string_view group, std::string_view version, std::string_view kind) const;
  /// e.g. ("apps/v1", "Deployment").
  const Kind* by_api_version(std::string_view api_version, std::string_view kind) const;
  const Type* type(std::string_view full_name) const;

 private:
  Schema();
  std::vector<Kind> kinds_;
  std::unordered_map<std::string, std::unique_ptr<Type>> types_;
  std::unordered_map<std::string_view, const Kind*> resources_;
};

}  // namespace gantry::model
