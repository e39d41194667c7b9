// Objects and Statuses in the encoding that the client asked for.
#include <nlohmann/json.hpp>

#include "libs/model/protobuf.h"
#include "services/apigw/render/proto.h"
#include "services/apigw/render/render.h"
#include "services/apigw/render/text.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

/// A Status, from the JSON that says the same.
std::string status_protobuf(const std::string& text) {
  const auto status = json::parse(text, nullptr, /*allow_exceptions=*/false);
  ProtoWriter out;
  const auto put = [](ProtoWriter& to, uint32_t number, const json& from, const char* name) {
    if (from.contains(name)) to.bytes(number, from[name].get<std::string>());
  };
  ProtoWriter meta;
  put(meta, 3, status["metadata"], "continue");
  out.bytes(1, meta.text());
  put(out, 2, status, "status");
  put(out, 3, status, "message");
  put(out, 4, status, "reason");
  if (status.contains("details")) {
    const auto& from = status["details"];
    ProtoWriter details;
    put(details, 1, from, "name");
    put(details, 2, from, "group");
    put(details, 3, from, "kind");
    for (const auto& c : from.value("causes", json::array())) {
      ProtoWriter cause;
      put(cause, 1, c, "reason");
      put(cause, 2, c, "message");
      put(cause, 3, c, "field");
      details.bytes(4, cause.text());
    }
    if (from.contains("retryAfterSeconds")) details.number(5, from["retryAfterSeconds"].get<uint64_t>());
    put(details, 6, from, "uid");
    out.bytes(5, details.text());
  }
  if (status.contains("code")) out.number(6, status["code"].get<uint64_t>());
  return model::seal_protobuf("v1", "Status", out.text());
}

}  // namespace

const char* content_type(Encoding encoding) {
  switch (encoding) {
    case Encoding::kYaml:
      return "application/yaml";
    case Encoding::kProtobuf:
      return "application/vnd.kubernetes.protobuf";
    case Encoding::kJson:
      break;
  }
  return "application/json";
}

std::string restyle(std::string text, const Shape& shape) {
  if (shape.encoding == Encoding::kYaml) return json_to_yaml(text);
  return shape.pretty ? indent_json(text) : text;
}

std::string encode_object(const model::Object& object, const Shape& shape, WallMicros now) {
  if (shape.encoding != Encoding::kProtobuf || shape.form == Form::kTable)
    return restyle(object_json(object, shape.form, shape.rows, now), shape);
  if (shape.form == Form::kPlain) return model::to_protobuf(object);
  ProtoWriter partial;
  partial.bytes(1, model::metadata_to_protobuf(object));
  return model::seal_protobuf("meta.k8s.io/v1", "PartialObjectMetadata", partial.text());
}

std::string encode_status(const Error& error, const Shape& shape) {
  auto text = status_json(error);
  return shape.encoding == Encoding::kProtobuf ? status_protobuf(text) : restyle(std::move(text), shape);
}

std::string encode_success(const model::Object* gone, const Shape& shape) {
  auto text = success_json(gone);
  return shape.encoding == Encoding::kProtobuf ? status_protobuf(text) : restyle(std::move(text), shape);
}

}  // namespace gantry::apigw
