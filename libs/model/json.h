// Kubernetes JSON <-> FlatBuffers, driven by the schema. Pure functions, thread-safe.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "libs/model/object.h"

namespace gantry::model {

struct DecodeOptions {
  /// Unknown and duplicate fields: an error that names every one with its path, or ...
  bool strict = false;
  /// ... (lenient) collected here if not null, in the words of the API server: `unknown field "spec.replica"`.
  std::vector<std::string>* warnings = nullptr;
  size_t max_depth = 64;
};

/// Decodes an object of this kind. apiVersion and kind, where given, must be the kind's (kBadRequest otherwise). null
/// is absent. metadata.resourceVersion is kept as the field. Errors: kBadRequest with the JSON path and what was
/// expected.
Result<Bytes> from_json(const Kind& kind, std::string_view json, const DecodeOptions& options = {});
Result<Bytes> from_json(const Type& type, std::string_view json, const DecodeOptions& options = {});

struct EncodeOptions {
  bool type_meta = true;  // apiVersion and kind first
};
/// The object as the API server prints it: absent stays absent, mandatory fields are emitted with their zero value, and
/// metadata.resourceVersion is the object's revision if that is not 0.
std::string to_json(const Object& object, const EncodeOptions& options = {});
void to_json(const Object& object, std::string& out, const EncodeOptions& options = {});
std::string to_json(const Type& type, const flatbuffers::Table* table);

/// As a tree, for patches and tables.
nlohmann::json to_tree(const Object& object);
Result<Bytes> from_tree(const Kind& kind, const nlohmann::json& tree, const DecodeOptions& options = {});

/// RFC 3339 as Kubernetes prints it: 2024-05-01T12:00:00Z, and with 6 decimals for MicroTime.
std::string format_time(int64_t unix_seconds);
std::string format_micro_time(int64_t unix_micros);
/// Unix microseconds; any offset and number of decimals.
Result<int64_t> parse_time(std::string_view text);

}  // namespace gantry::model
