// Server-side apply: the configuration is checked, merged into the object as it is, what its manager no longer names is
// taken out, and the fields change hands.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/core/managers.h"
#include "services/apigw/core/scale.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::ManagedEntry;
using model::ManagedFields;
using model::Object;
using nlohmann::json;

constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";
constexpr const char* kBeforeFirstApply = "before-first-apply";
constexpr size_t kMaxAnnotation = 256 * 1024;

std::string where(const Request& request, const model::Kind& kind) {
  const auto& command = request.command;
  return fmt::format("{}{}; {}, Kind={}", command.ns.empty() ? "" : command.ns + "/", command.name, kind.api_version(),
                     kind.kind);
}

// `unknown field "spec.foo"` in the words of apply: every field must be in the schema, whatever fieldValidation says.
Status refuse_unknown(const Request& request, const model::Kind& kind, const std::vector<std::string>& findings,
                      std::vector<std::string>& warnings) {
  std::string unknown;
  for (const auto& finding : findings) {
    if (finding.starts_with("unknown field ")) {
      const auto path = finding.substr(15, finding.size() - 16);
      unknown += fmt::format("{}.{}: field not declared in schema", unknown.empty() ? "" : ", ", path);
    } else if (request.command.field_validation == "Strict") {
      return bad_request(fmt::format("error strict decoding YAML: {}", finding));
    } else if (request.command.field_validation != "Ignore") {
      warnings.push_back(finding);
    }
  }
  if (unknown.empty()) return Done{};
  return bad_request(fmt::format("failed to create typed patch object ({}): {}", where(request, kind), unknown));
}

// The configuration as a tree, checked against the schema of `kind`.
Result<json> read_configuration(const Request& request, const model::Kind& kind, std::vector<std::string>& warnings) {
  json tree = json::parse(request.command.json, nullptr, false);
  if (tree.is_discarded()) return bad_request("error decoding YAML: the patch is neither YAML nor JSON");
  if (!tree.is_object()) return bad_request("error decoding patch: an applied configuration must be an object");
  const auto text = [&](const char* key) {
    const auto it = tree.find(key);
    return it != tree.end() && it->is_string() ? it->get<std::string>() : std::string();
  };
  if (text("kind").empty()) return bad_request("error decoding patch: Object 'Kind' is missing in the configuration");
  if (text("apiVersion") != kind.api_version()) {
    return bad_request(
        fmt::format("Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
                    text("apiVersion"), kind.api_version()));
  }
  std::vector<std::string> findings;
  auto decoded = model::from_json(kind, request.command.json, {.warnings = &findings});
  if (!decoded.ok()) return std::move(decoded.error());
  if (auto known = refuse_unknown(request, kind, findings, warnings); !known.ok()) return known.error();
  const auto meta = tree.find("metadata");
  if (meta != tree.end() && meta->is_object()) {
    const auto managed = meta->find("managedFields");
    if (managed != meta->end() && !managed->is_null() && !managed->empty()) {
      return bad_request("metadata.managedFields must be nil");
    }
    meta->erase("managedFields");
  }
  tree.erase("apiVersion");
  tree.erase("kind");
  return tree;
}

// Only the part that the path of the request may change.
void keep_to_subresource(json& tree, const Request& request, const model::Kind& kind) {
  const std::string& sub = request.command.subresource;
  if (sub == "status" || sub == "approval") {
    json status = json::object();
    if (const auto it = tree.find("status"); it != tree.end()) status["status"] = *it;
    if (const auto it = tree.find("metadata"); it != tree.end() && it->is_object()) {
      for (const char* key : {"name", "namespace", "uid", "resourceVersion"}) {
        if (it->contains(key)) status["metadata"][key] = (*it)[key];
      }
    }
    tree = std::move(status);
  } else if (has_status(kind)) {
    tree.erase("status");
  }
}

Result<ManagedEntry> applier_of(const Request& request, const model::Kind& kind, const json& tree) {
  ManagedEntry applier = writer_of(request, kind);
  auto fields = model::applied_fields(*kind.type, tree);
  if (!fields.ok()) {
    return bad_request(
        fmt::format("failed to create typed patch object ({}): {}", where(request, kind), fields.error().message));
  }
  applier.fields = std::move(*fields);
  model::strip_unowned(applier.fields);
  return applier;
}

// The owners of what is there. Who wrote an object that is not tracked is not known, but somebody has.
ManagedFields owners_of(const Object& before) {
  auto owners = model::read_managed_fields(before);
  if (owners.ok() && !owners->empty()) return std::move(*owners);
  ManagedEntry unknown;
  unknown.manager = kBeforeFirstApply;
  unknown.api_version = before.kind().api_version();
  unknown.fields = model::all_fields(*before.kind().type, before.root());
  return {std::move(unknown)};
}

std::string last_applied(const Object& object) {
  const auto* meta = object.meta();
  const auto* text = meta == nullptr ? nullptr : model::lookup(meta->annotations(), kLastApplied);
  return text == nullptr ? std::string() : text->str();
}

// `kubectl apply --server-side` may change what `kubectl apply` has applied before: both are the same user's.
bool all_last_applied(const Object& before, const std::vector<model::FieldConflict>& conflicts) {
  const json tree = json::parse(last_applied(before), nullptr, false);
  if (!tree.is_object()) return false;
  const auto fields = model::applied_fields(*before.kind().type, tree);
  if (!fields.ok()) return false;
  return std::all_of(conflicts.begin(), conflicts.end(),
                     [&](const model::FieldConflict& conflict) { return conflict.fields.without(*fields).empty(); });
}

Status settle(const Request& request, const Object& before, const model::FieldChanges& changes,
              const ManagedEntry& applier, ManagedFields& owners) {
  const auto conflicts = model::conflicts_of(owners, changes, applier);
  if (!conflicts.empty() && !request.command.force &&
      !(applier.manager == "kubectl" && all_last_applied(before, conflicts))) {
    return model::conflict_error(conflicts);
  }
  model::note_apply(owners, changes, applier);
  return Done{};
}

// A client that goes back to client-side apply must find what was applied last.
Object with_last_applied(Object object, const Object& before, const ManagedEntry& applier, json tree,
                         const model::Kind& kind) {
  if (applier.manager != "kubectl" || last_applied(before).empty()) return object;
  if (auto meta = tree.find("metadata"); meta != tree.end() && meta->is_object()) {
    if (auto annotations = meta->find("annotations"); annotations != meta->end() && annotations->is_object()) {
      annotations->erase(kLastApplied);
    }
  }
  tree["apiVersion"] = kind.api_version();
  tree["kind"] = kind.kind;
  const std::string text = tree.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  model::Draft draft(object);
  const std::string path = fmt::format("metadata.annotations[{}]", kLastApplied);
  if (text.size() > kMaxAnnotation) {
    draft.clear(path);
  } else {
    draft.set(path, text);
  }
  return draft.build();
}

}  // namespace

Result<Applied> apply_configuration(const Context& context, Request& request, const Object& before) {
  request.warnings.clear();
  const model::Kind& kind = *request.kind;
  auto tree = read_configuration(request, kind, request.warnings);
  if (!tree.ok()) return std::move(tree.error());
  keep_to_subresource(*tree, request, kind);
  auto applier = applier_of(request, kind, *tree);
  if (!applier.ok()) return std::move(applier.error());
  Applied applied;
  if (!before) {
    applied.owners.push_back(*applier);
    if (applier->fields.empty()) applied.owners.clear();
  } else {
    applied.owners = owners_of(before);
  }
  json merged = model::merge_applied(*kind.type, before ? model::to_tree(before) : json::object(), *tree);
  if (before) {
    model::FieldSet last, owned = applier->fields;
    for (const auto& entry : applied.owners) {
      if (entry.same_writer(*applier)) {
        last = entry.fields;
      } else {
        owned = owned.united(entry.fields);
      }
    }
    if (!last.empty()) model::prune_applied(*kind.type, merged, last, owned);
    // Whoever goes by a version or a uid gets a conflict, not what is stored.
    if (const auto meta = tree->find("metadata"); meta != tree->end() && meta->is_object()) {
      for (const char* key : {"uid", "resourceVersion"}) {
        if (!meta->contains(key)) merged["metadata"].erase(key);
      }
    } else {
      merged["metadata"].erase("uid");
      merged["metadata"].erase("resourceVersion");
    }
  }
  auto bytes = model::from_tree(kind, merged);
  if (!bytes.ok()) return std::move(bytes.error());
  if (bytes->size() > context.config.max_object_bytes) return too_large(context.config.max_object_bytes);
  applied.object = Object(kind, std::move(*bytes));
  if (!before) return applied;
  // Times and versions that the gateway keeps are no changes.
  const auto changes = model::field_changes(*kind.type, before.root(), applied.object.root());
  if (auto settled = settle(request, before, changes, *applier, applied.owners); !settled.ok()) return settled.error();
  if (request.command.subresource.empty())
    applied.object = with_last_applied(std::move(applied.object), before, *applier, std::move(*tree), kind);
  return applied;
}

Result<AppliedScale> apply_scale(Request& request, const Object& before) {
  request.warnings.clear();
  auto tree = read_configuration(request, scale_kind(), request.warnings);
  if (!tree.ok()) return std::move(tree.error());
  AppliedScale applied;
  ManagedEntry applier = writer_of(request, before.kind());
  if (const auto spec = tree->find("spec"); spec != tree->end() && spec->is_object()) {
    if (const auto replicas = spec->find("replicas"); replicas != spec->end() && replicas->is_number_integer()) {
      applied.replicas = replicas->get<int32_t>();
      applier.fields.insert({"f:spec", "f:replicas"});
    }
  }
  applied.owners = owners_of(before);
  model::FieldChanges changes;
  const auto scale = scale_of(before);
  if (!scale.ok()) return scale.error();
  if (applied.replicas && *applied.replicas != scaled_to(before)) changes.modified = applier.fields;
  if (auto settled = settle(request, before, changes, applier, applied.owners); !settled.ok()) return settled.error();
  return applied;
}

}  // namespace gantry::apigw
