#include "services/apigw/rest/body.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "libs/model/json.h"
#include "libs/model/protobuf.h"
#include "libs/model/served.h"
#include "schemas/all.h"
#include "services/apigw/rest/options.h"

namespace gantry::apigw {
namespace {

using bus::Command;
using bus::Verb;

constexpr const char* kProtobuf = "application/vnd.kubernetes.protobuf";
constexpr const char* kYaml = "application/yaml";
constexpr const char* kApply = "application/apply-patch+yaml";

std::string_view media_type(std::string_view header) {
  auto end = header.find(';');
  auto type = header.substr(0, end);
  while (!type.empty() && type.back() == ' ') type.remove_suffix(1);
  return type;
}

template <typename T>
Result<std::optional<T>> number(const http::Query& query, const char* name) {
  const auto* text = query.find(name);
  if (text == nullptr || text->empty()) return std::optional<T>();
  T value{};
  auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size()) {
    return Error{Code::kBadRequest, fmt::format("invalid value for {}: {}", name, *text)};
  }
  return std::optional<T>(value);
}

bool is_true(const http::Query& query, const char* name) {
  auto v = query.get(name);
  return v == "true" || v == "1";
}

/// The body into command.object (FlatBuffer) or command.json, by its content type. `kind` is what the body must be.
Status read_body(const http::Request& request, const model::Kind& kind, Command& command) {
  auto type = media_type(request.headers.get("Content-Type"));
  if (type == kProtobuf) {
    auto envelope = model::open_protobuf(request.body);
    if (!envelope.ok()) return envelope.error();
    // Every group has DeleteOptions of its own, and typed clients use that of the object.
    const bool any_version = kind.kind == "DeleteOptions";
    if (!envelope->kind.empty() &&
        (envelope->kind != kind.kind || (!any_version && envelope->api_version != kind.api_version()))) {
      return Error{Code::kBadRequest,
                   fmt::format("the object provided is unrecognized: {}, Kind={} where {}, Kind={} is expected",
                               envelope->api_version, envelope->kind, kind.api_version(), kind.kind)};
    }
    auto bytes = model::from_protobuf(*kind.type, envelope->raw);
    if (!bytes.ok()) return bytes.error();
    command.object = std::move(*bytes);
    return Done{};
  }
  if (!request.headers.has("Content-Type") || type == "application/json") {
    command.json = request.body;
    return Done{};
  }
  if (type == kYaml) {
    auto json = yaml_to_json(request.body);
    if (!json.ok()) return json.error();
    command.json = std::move(*json);
    return Done{};
  }
  return Error{
      Code::kUnsupportedMediaType,
      fmt::format("the body of the request was in an unknown format - accepted media types include: application/json, "
                  "application/yaml, {}",
                  kProtobuf)};
}

Error undecoded(const Error& error) {
  return {Code::kBadRequest, fmt::format("error decoding YAML: {}", error.message)};
}

Status read_patch(const http::Request& request, Command& command) {
  auto type = media_type(request.headers.get("Content-Type"));
  if (type == "application/merge-patch+json") {
    command.patch_type = bus::PatchType::Merge;
  } else if (type == "application/strategic-merge-patch+json") {
    command.patch_type = bus::PatchType::Strategic;
  } else if (type == "application/json-patch+json") {
    command.patch_type = bus::PatchType::Json;
  } else if (type == kApply) {
    command.patch_type = bus::PatchType::Apply;
    // JSON is YAML, too, and what most clients send.
    if (nlohmann::json::accept(request.body)) {
      command.json = request.body;
      return Done{};
    }
    auto json = yaml_to_json(request.body);
    if (!json.ok()) return undecoded(json.error());
    command.json = std::move(*json);
    return Done{};
  } else {
    return Error{
        Code::kUnsupportedMediaType,
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
        "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"};
  }
  command.json = request.body;
  return Done{};
}

Error both_set(std::string_view policy) {
  return {Code::kInvalid,
          fmt::format("DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Invalid value: \"{}\": "
                      "orphanDependents and deletionPropagation cannot be both set",
                      policy)};
}

/// DeleteOptions in the body override those in the query.
Status read_delete_options(const http::Request& request, Command& command) {
  const auto& query = request.query;
  auto grace = number<int64_t>(query, "gracePeriodSeconds");
  if (!grace.ok()) return grace.error();
  command.grace_period_seconds = *grace;
  command.propagation = query.get("propagationPolicy");
  if (const auto orphan = query.get("orphanDependents"); !orphan.empty()) {
    if (!command.propagation.empty()) return both_set(command.propagation);
    command.propagation = is_true(query, "orphanDependents") ? "Orphan" : "Background";
  }
  if (request.body.empty()) return Done{};
  static const model::Kind& kOptions = *model::Schema::get().by_kind("", "v1", "DeleteOptions");
  Command body;
  auto status = read_body(request, kOptions, body);
  if (!status.ok()) return status;
  auto bytes =
      body.json.empty() ? Result<model::Bytes>(std::move(body.object)) : model::from_json(*kOptions.type, body.json);
  if (!bytes.ok()) return bytes.error();
  model::Object object(kOptions, std::move(*bytes));
  const auto* options = object.as<api::meta_v1::DeleteOptions>();
  if (options->grace_period_seconds()) command.grace_period_seconds = *options->grace_period_seconds();
  if (options->orphan_dependents() && options->propagation_policy()) {
    return both_set(model::str(options->propagation_policy()));
  }
  if (options->propagation_policy()) command.propagation = model::str(options->propagation_policy());
  if (options->orphan_dependents()) command.propagation = *options->orphan_dependents() ? "Orphan" : "Background";
  if (options->dry_run() && options->dry_run()->size() > 0) command.dry_run = true;
  if (const auto* preconditions = options->preconditions()) {
    command.uid = model::str(preconditions->uid());
    if (preconditions->resource_version()) {
      command.revision = std::strtoull(preconditions->resource_version()->c_str(), nullptr, 10);
    }
  }
  return Done{};
}

// The manager of a client that names none: `kubectl/v1.34 ...` is kubectl.
std::string user_agent(const http::Request& request) {
  constexpr size_t kMaxManager = 128;
  const auto agent = request.headers.get("User-Agent");
  std::string name;
  for (const char c : agent.substr(0, std::min(agent.find('/'), kMaxManager))) {
    if (static_cast<unsigned char>(c) >= 0x20 && static_cast<unsigned char>(c) < 0x7f) name += c;
  }
  return name.empty() ? "unknown" : name;
}

const model::Kind& body_kind(const Route& route) {
  const auto& schema = model::Schema::get();
  if (route.subresource == "scale") return *schema.by_kind("autoscaling", "v1", "Scale");
  if (route.subresource == "binding") return *schema.by_kind("", "v1", "Binding");
  if (route.subresource == "token") return *schema.by_kind("authentication.k8s.io", "v1", "TokenRequest");
  if (route.subresource == "eviction") return *schema.by_kind("policy", "v1", "Eviction");
  return *route.kind;
}

}  // namespace

bool is_yaml(const http::Request& request) {
  const auto type = media_type(request.headers.get("Content-Type"));
  const size_t first = request.body.find_first_not_of(" \t\r\n");
  return (type == kYaml || type == kApply) && first != std::string::npos && request.body[first] != '{';
}

Status replace_yaml(http::Request& request, Result<std::string> json) {
  const bool apply = media_type(request.headers.get("Content-Type")) == kApply;
  if (!json.ok()) return apply ? undecoded(json.error()) : std::move(json.error());
  request.body = std::move(*json);
  if (!apply) request.headers.set("Content-Type", "application/json");
  return Done{};
}

Result<Command> to_command(const Route& route, const http::Request& request) {
  Command command;
  command.resource = model::served(*route.kind).token;
  command.subresource = route.subresource;
  command.ns = route.ns;
  command.name = route.name;
  const auto& query = request.query;
  if (const auto* dry_run = query.find("dryRun")) {
    if (*dry_run != "All")
      return Error{Code::kBadRequest, fmt::format("invalid dryRun value \"{}\": supported values: \"All\"", *dry_run)};
    command.dry_run = true;
  }
  command.field_manager = query.get("fieldManager");
  if (command.field_manager.empty() && route.verb != "patch") command.field_manager = user_agent(request);
  command.field_validation = query.get("fieldValidation");
  if (command.field_manager.empty() && route.verb == "patch" &&
      media_type(request.headers.get("Content-Type")) != kApply) {
    command.field_manager = user_agent(request);  // who applies must name itself
  }
  command.force = is_true(query, "force");
  Status status = Done{};
  if (route.verb == "get") {
    command.verb = Verb::Get;
    status = read_get_options(query, command);
  } else if (route.verb == "list") {
    command.verb = Verb::List;
    status = read_list_options(*route.kind, query, command);
  } else if (route.verb == "create") {
    command.verb = Verb::Create;
    status = read_body(request, body_kind(route), command);
  } else if (route.verb == "update") {
    command.verb = Verb::Update;
    status = read_body(request, body_kind(route), command);
  } else if (route.verb == "patch") {
    command.verb = Verb::Patch;
    status = read_patch(request, command);
  } else if (route.verb == "delete") {
    command.verb = Verb::Delete;
    status = read_delete_options(request, command);
  } else if (route.verb == "deletecollection") {
    command.verb = Verb::DeleteCollection;
    status = read_list_options(*route.kind, query, command);
    if (status.ok()) {
      const bool exact = command.match == bus::Match::kExact;
      const uint64_t listed = std::exchange(command.revision, 0);
      if (!exact) command.match = bus::Match::kNewest;
      status = read_delete_options(request, command);
      if (status.ok() && exact && command.revision != 0)
        return Error{Code::kBadRequest, "a resourceVersion as a precondition does not go with one of the list"};
      if (exact) command.revision = listed;
    }
  } else {
    return Error{Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"};
  }
  if (!status.ok()) return status.error();
  return command;
}

}  // namespace gantry::apigw
