#include <fmt/format.h>

#include "tools/gantry/client/apply_patch.h"
#include "tools/gantry/client/manifests.h"
#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

using nlohmann::json;

bus::Command about(const Manifest& manifest, bus::Verb verb) {
  bus::Command command;
  command.verb = verb;
  command.resource = manifest.kind->resource;
  command.ns = manifest.ns;
  command.name = manifest.name;
  command.as_json = true;
  command.field_manager = "gantry";
  command.field_validation = "Strict";
  return command;
}

/// The object with the annotation that remembers it.
json remembering(const json& object) {
  json bare = object;
  if (bare["metadata"].contains("annotations")) bare["metadata"]["annotations"].erase(kLastApplied);
  if (!bare["metadata"].contains("annotations")) bare["metadata"]["annotations"] = json::object();
  json out = bare;
  out["metadata"]["annotations"][kLastApplied] = bare.dump() + "\n";
  return out;
}

/// Prints what became of it: created, configured or unchanged.
Status apply_one(Gateway& gateway, const Manifest& manifest) {
  const auto report = [&](const char* what) { fmt::print("{} {}\n", qualified(*manifest.kind, manifest.name), what); };
  const json wanted = remembering(manifest.object);
  auto live = gateway.ask(about(manifest, bus::Verb::Get));
  if (!live && live.code() == Code::kNotFound) {
    auto create = about(manifest, bus::Verb::Create);
    create.json = wanted.dump();
    auto created = gateway.send(std::move(create));
    if (!created) return created.error();
    report("created");
    return Done{};
  }
  if (!live) return live.error();
  const std::string remembered =
      live->value(json::json_pointer("/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"), "");
  const json last = json::parse(remembered, nullptr, false);
  json patch = three_way_patch(last.is_object() ? last : json::object(), wanted, *live, manifest.kind->type);
  if (patch.empty()) {
    report("unchanged");
    return Done{};
  }
  auto change = about(manifest, bus::Verb::Patch);
  change.patch_type = bus::PatchType::Strategic;
  change.json = patch.dump();
  auto changed = gateway.send(std::move(change));
  if (!changed) return changed.error();
  report(std::to_string(changed->revision) == live->value("/metadata/resourceVersion"_json_pointer, "") ? "unchanged"
                                                                                                        : "configured");
  return Done{};
}

}  // namespace

Status apply(const Options& options) {
  auto manifests = read_manifests(options.files, options.ns);
  if (!manifests) return manifests.error();
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  // As kubectl: go on after a failure, fail in the end.
  std::optional<Error> failure;
  for (const auto& manifest : *manifests) {
    auto applied = apply_one(**gateway, manifest);
    if (applied) continue;
    if (failure) fmt::print(stderr, "{}\n", server_error(*failure));
    failure = Error(applied.error());
    failure->message = fmt::format("error when applying \"{}\": {}", manifest.source, failure->message);
  }
  if (failure) return *failure;
  return Done{};
}

}  // namespace gantry::client
