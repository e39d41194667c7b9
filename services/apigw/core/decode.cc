#include "services/apigw/core/decode.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/patch.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

model::DecodeOptions options_for(const bus::Command& command, std::vector<std::string>* warnings) {
  model::DecodeOptions options;
  options.strict = command.field_validation == "Strict";
  if (command.field_validation != "Ignore" && !options.strict) options.warnings = warnings;
  return options;
}

Error too_large(size_t limit) { return {Code::kTooLarge, fmt::format("Request entity too large: limit is {}", limit)}; }

Result<model::Object> checked(const model::Kind& kind, Result<model::Bytes> bytes, size_t max_bytes) {
  if (!bytes.ok()) return std::move(bytes.error());
  if (bytes->size() > max_bytes) return too_large(max_bytes);
  return model::Object(kind, std::move(*bytes));
}

}  // namespace

Result<model::Object> decode_body(const model::Kind& kind, const bus::Command& command, size_t max_bytes,
                                  std::vector<std::string>* warnings) {
  if (!command.object.empty()) {
    if (command.object.size() > max_bytes) return too_large(max_bytes);
    if (!model::verify(*kind.type, command.object)) return bad_request(fmt::format("the body is not a {}", kind.kind));
    return model::Object(kind, command.object);
  }
  if (command.json.empty()) return bad_request(fmt::format("the request has no body: a {} is required", kind.kind));
  return checked(kind, model::from_json(kind, command.json, options_for(command, warnings)), max_bytes);
}

Result<model::Object> apply_patch(const model::Object& target, const bus::Command& command, size_t max_bytes,
                                  std::vector<std::string>* warnings) {
  const nlohmann::json patch = nlohmann::json::parse(command.json, nullptr, false);
  if (patch.is_discarded()) return bad_request("error decoding patch: invalid JSON");
  const model::Kind& kind = target.kind();
  Result<nlohmann::json> patched = [&]() -> Result<nlohmann::json> {
    switch (command.patch_type) {
      case bus::PatchType::Merge:
        return model::merge_patch(model::to_tree(target), patch);
      case bus::PatchType::Json:
        return model::json_patch(model::to_tree(target), patch);
      case bus::PatchType::Strategic:
        return model::strategic_merge_patch(model::to_tree(target), patch, *kind.type);
      case bus::PatchType::Apply:
        break;
    }
    return Error{Code::kUnsupportedMediaType,
                 "server-side apply is not supported yet: use kubectl apply without --server-side"};
  }();
  if (!patched.ok()) return std::move(patched.error());
  return checked(kind, model::from_tree(kind, *patched, options_for(command, warnings)), max_bytes);
}

}  // namespace gantry::apigw
