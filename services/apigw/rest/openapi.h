// OpenAPI from the schemas: v3, an index and a document for each group and version; v2, one document, as JSON or as the
// protobuf form that older clients ask for. Each is made once, when it is first asked for. Loop's thread only.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "libs/model/schema.h"

namespace gantry::apigw {

struct OpenApiDocument {
  std::string body, content_type;
  std::string etag;  // in quotes
};

/// For a path below /openapi and what the client accepts; null: there is no such document.
const OpenApiDocument* openapi_document(std::string_view path, std::string_view accept);

namespace openapi {

using nlohmann::json;

/// As clients know them, e.g. io.k8s.api.core.v1.Pod.
std::string name_of(const model::Type& type);
/// The definitions that a type needs, itself included, under their names. `refs`: "#/components/schemas/" or
/// "#/definitions/".
void add_definitions(const model::Type& type, const std::string& refs, json& definitions);
/// The same for a kind and its list, which say which kind they are.
void add_kind(const model::Kind& kind, const std::string& refs, json& definitions);

/// Every path of a group and version with its operations. v2 puts bodies among the parameters and names what it takes.
json paths(const std::string& group, const std::string& version, bool v3);

/// One sentence for a type and for a field; "" if there is nothing to add to its name.
std::string_view describe_type(const model::Type& type);
std::string_view describe_field(const model::Type& type, const model::Field& field);

/// A v2 document as gnostic's protobuf (openapi.v2.Document).
std::string to_gnostic(const json& document);

}  // namespace openapi

}  // namespace gantry::apigw
