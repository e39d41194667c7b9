#include "services/apigw/rules/words.h"

#include <fmt/format.h>

#include <algorithm>

namespace gantry::apigw {
namespace {

Error about(const model::Kind& kind, std::string_view name, Code code, std::string message) {
  Error error{code, std::move(message)};
  error.group = kind.group;
  error.kind = kind.resource.empty() ? kind.kind : kind.resource;
  error.name = name;
  return error;
}

}  // namespace

std::string qualified_resource(const model::Kind& kind) {
  const std::string& resource = kind.resource.empty() ? kind.kind : kind.resource;
  return kind.group.empty() ? resource : resource + "." + kind.group;
}

Error not_found(const model::Kind& kind, std::string_view name) {
  return about(kind, name, Code::kNotFound, fmt::format("{} \"{}\" not found", qualified_resource(kind), name));
}

Error already_exists(const model::Kind& kind, std::string_view name) {
  return about(kind, name, Code::kAlreadyExists,
               fmt::format("{} \"{}\" already exists", qualified_resource(kind), name));
}

Error conflict(const model::Kind& kind, std::string_view name, std::string_view why) {
  return about(kind, name, Code::kConflict,
               fmt::format("Operation cannot be fulfilled on {} \"{}\": {}", qualified_resource(kind), name, why));
}

Error modified(const model::Kind& kind, std::string_view name, uint64_t current_revision) {
  Error error = conflict(kind, name,
                         "the object has been modified; please apply your changes to the latest version and try again");
  error.current_revision = current_revision;
  return error;
}

Error forbidden(const model::Kind& kind, std::string_view name, std::string_view why) {
  return about(kind, name, Code::kForbidden,
               name.empty() ? fmt::format("{} is forbidden: {}", qualified_resource(kind), why)
                            : fmt::format("{} \"{}\" is forbidden: {}", qualified_resource(kind), name, why));
}

Error bad_request(std::string message) { return Error{Code::kBadRequest, std::move(message)}; }

Error too_large_revision(uint64_t wanted, uint64_t current) {
  Error error{Code::kTooLargeRevision, fmt::format("Too large resource version: {}, current: {}", wanted, current)};
  error.causes.push_back({"ResourceVersionTooLarge", "Too large resource version", ""});
  error.retry_after_seconds = 1;
  error.current_revision = current;
  return error;
}

Error expired(uint64_t wanted, uint64_t oldest) {
  return Error{Code::kExpired, fmt::format("too old resource version: {} ({})", wanted, oldest)};
}

// Two rules may find the same.
void Problems::add(const char* reason, std::string field, std::string message) {
  const bool said = std::any_of(causes_.begin(), causes_.end(),
                                [&](const auto& cause) { return cause.field == field && cause.message == message; });
  if (!said) causes_.push_back({reason, std::move(message), std::move(field)});
}

bool Problems::about(std::string_view field) const {
  return std::any_of(causes_.begin(), causes_.end(), [&](const auto& cause) { return cause.field == field; });
}

void Problems::add_all(const Problems& others) {
  causes_.insert(causes_.end(), others.causes_.begin(), others.causes_.end());
}

void Problems::required(std::string field, std::string_view detail) {
  add("FieldValueRequired", std::move(field),
      detail.empty() ? "Required value" : fmt::format("Required value: {}", detail));
}
void Problems::invalid(std::string field, std::string_view value, std::string_view detail) {
  invalid_json(std::move(field), quoted(value), detail);
}
void Problems::invalid(std::string field, int64_t value, std::string_view detail) {
  invalid_json(std::move(field), std::to_string(value), detail);
}
void Problems::invalid_json(std::string field, std::string_view value, std::string_view detail) {
  add("FieldValueInvalid", std::move(field), fmt::format("Invalid value: {}: {}", value, detail));
}
void Problems::unsupported(std::string field, std::string_view value, std::vector<std::string_view> supported) {
  std::sort(supported.begin(), supported.end());
  std::string list;
  for (const auto& s : supported) list += (list.empty() ? "" : ", ") + quoted(s);
  add("FieldValueNotSupported", std::move(field),
      fmt::format("Unsupported value: {}: supported values: {}", quoted(value), list));
}
void Problems::duplicate(std::string field, std::string_view value) { duplicate_json(std::move(field), quoted(value)); }
void Problems::duplicate_json(std::string field, std::string_view value) {
  add("FieldValueDuplicate", std::move(field), fmt::format("Duplicate value: {}", value));
}
void Problems::forbidden(std::string field, std::string_view detail) {
  add("FieldValueForbidden", std::move(field), fmt::format("Forbidden: {}", detail));
}
void Problems::too_many(std::string field, size_t n, size_t max) {
  add("FieldValueTooMany", std::move(field), fmt::format("Too many: {}: must have at most {} items", n, max));
}

void Problems::too_long(std::string field, size_t max_bytes) {
  add("FieldValueTooLong", std::move(field), fmt::format("Too long: may not be more than {} bytes", max_bytes));
}
void Problems::not_found(std::string field, std::string_view value) {
  add("FieldValueNotFound", std::move(field), fmt::format("Not found: {}", quoted(value)));
}

Error Problems::error(const model::Kind& kind, std::string_view name) const {
  std::vector<std::string> lines;
  for (const auto& cause : causes_) {
    std::string line = cause.field.empty() ? cause.message : cause.field + ": " + cause.message;
    if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(std::move(line));
  }
  std::string all;
  for (const auto& line : lines) all += (all.empty() ? "" : ", ") + line;
  if (lines.size() > 1) all = "[" + all + "]";
  const std::string what = kind.group.empty() ? kind.kind : kind.kind + "." + kind.group;
  Error error{Code::kInvalid, fmt::format("{} \"{}\" is invalid: {}", what, name, all)};
  error.causes = causes_;
  error.group = kind.group;
  error.kind = kind.kind;
  error.name = name;
  return error;
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += fmt::format("\\x{:02x}", c);
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

}  // namespace gantry::apigw
