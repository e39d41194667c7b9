#include "services/apigw/core/options.h"

#include "services/apigw/core/planners.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using bus::Verb;

constexpr size_t kMaxManager = 128;

const char* options_of(Verb verb) {
  switch (verb) {
    case Verb::Create:
      return "CreateOptions";
    case Verb::Update:
      return "UpdateOptions";
    case Verb::Patch:
      return "PatchOptions";
    case Verb::Delete:
    case Verb::DeleteCollection:
      return "DeleteOptions";
    default:
      return nullptr;
  }
}

bool printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
  });
}

}  // namespace

Status check_options(const Request& request) {
  const auto& command = request.command;
  const char* name = options_of(command.verb);
  if (name == nullptr) return Done{};
  Problems problems;
  if (command.verb == Verb::Delete || command.verb == Verb::DeleteCollection) {
    const std::string& policy = command.propagation;
    if (!policy.empty() && policy != "Background" && policy != "Foreground" && policy != "Orphan") {
      problems.unsupported("propagationPolicy", policy, {"Background", "Foreground", "Orphan", "nil"});
    }
  } else {
    if (command.field_manager.size() > kMaxManager) problems.too_long("fieldManager", kMaxManager);
    if (!printable(command.field_manager))
      problems.invalid("fieldManager", command.field_manager, "should only contain printable characters");
    const std::string& validation = command.field_validation;
    if (!validation.empty() && validation != "Ignore" && validation != "Warn" && validation != "Strict") {
      problems.unsupported("fieldValidation", validation, {"Ignore", "Strict", "Warn"});
    }
    if (command.verb == Verb::Patch && is_apply(request)) {
      if (command.field_manager.empty()) problems.required("fieldManager", "is required for apply patch");
    } else if (command.force) {
      problems.forbidden("force", "may not be specified for non-apply patch");
    }
  }
  if (problems.empty()) return Done{};
  model::Kind kind;
  kind.kind = name;
  kind.group = "meta.k8s.io";
  return problems.error(kind, "");
}

}  // namespace gantry::apigw
