#include "services/apigw/core/decode.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/model/duplicates.h"
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

constexpr std::string_view kStrict = "strict decoding error: ";
constexpr size_t kMaxPatchBytes = 3 * 1024 * 1024;

// A patch that is well formed and does not fit, as the API server says it.
Error rejected(const std::string& why) {
  Error error{Code::kInvalid, "the server rejected our request due to an error in our request"};
  error.causes.push_back({"UnexpectedServerResponse", why, "patch"});
  return error;
}

// What a patch says twice: warnings, or for a strict reader the words of the error.
std::string repeated_keys(const bus::Command& command, std::vector<std::string>* warnings) {
  if (command.field_validation == "Ignore") return {};
  const bool strict = command.field_validation == "Strict";
  std::string out;
  for (const auto& path : model::duplicate_keys(command.json)) {
    std::string words =
        fmt::format("{}duplicate field \"{}\"", command.patch_type == bus::PatchType::Json ? "json patch " : "", path);
    if (strict) {
      out += (out.empty() ? "" : ", ") + words;
    } else if (warnings != nullptr) {
      warnings->push_back(std::move(words));
    }
  }
  return out;
}

Result<model::Object> checked(const model::Kind& kind, Result<model::Bytes> bytes, size_t max_bytes) {
  if (!bytes.ok()) return std::move(bytes.error());
  if (bytes->size() > max_bytes) return too_large(max_bytes);
  return model::Object(kind, std::move(*bytes));
}

}  // namespace

Error too_large(size_t limit) { return {Code::kTooLarge, fmt::format("Request entity too large: limit is {}", limit)}; }

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
  if (command.json.size() > kMaxPatchBytes) return too_large(kMaxPatchBytes);
  const nlohmann::json patch = nlohmann::json::parse(command.json, nullptr, false);
  if (patch.is_discarded()) return bad_request("error decoding patch: invalid JSON");
  const model::Kind& kind = target.kind();
  const bool strategic = command.patch_type == bus::PatchType::Strategic;
  Result<nlohmann::json> patched = command.patch_type == bus::PatchType::Json
                                       ? model::json_patch(model::to_tree(target), patch)
                                   : strategic ? model::strategic_merge_patch(model::to_tree(target), patch, *kind.type)
                                               : model::merge_patch(model::to_tree(target), patch);
  if (!patched.ok()) {
    if (patched.code() == Code::kInvalid && !strategic) return rejected(patched.error().message);
    return std::move(patched.error());
  }
  // A patch may leave out what says which kind it is, but not change it.
  for (const auto& [key, expected] : {std::pair{"apiVersion", kind.api_version()}, std::pair{"kind", kind.kind}}) {
    const auto it = patched->find(key);
    if (it != patched->end() && *it != expected) {
      return bad_request(fmt::format("a patch may not change {} from {}", key, expected));
    }
  }
  auto decoded = checked(kind, model::from_tree(kind, *patched, options_for(command, warnings)), max_bytes);
  if (auto repeated = repeated_keys(command, warnings); !repeated.empty()) {
    const std::string others = decoded.ok() ? "" : decoded.error().message;
    if (const size_t at = others.find(kStrict); at != std::string::npos)
      repeated += ", " + others.substr(at + kStrict.size());
    decoded = bad_request(std::string(kStrict) + repeated);
  }
  if (!decoded.ok() && decoded.code() == Code::kBadRequest) {
    Problems problems;
    problems.invalid("patch", patch.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
                     decoded.error().message);
    return problems.error(kind, target.name());
  }
  return decoded;
}

}  // namespace gantry::apigw
