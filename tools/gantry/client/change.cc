// delete and scale.
#include <fmt/format.h>

#include "tools/gantry/client/manifests.h"
#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

struct Doomed {
  const model::Kind* kind;
  std::string ns, name;
};

Result<std::vector<Doomed>> doomed(Gateway& gateway, const Options& options) {
  std::vector<Doomed> out;
  if (!options.files.empty()) {
    auto manifests = read_manifests(options.files, options.ns);
    if (!manifests) return manifests.error();
    for (const auto& manifest : *manifests) out.push_back({manifest.kind, manifest.ns, manifest.name});
    return out;
  }
  auto targets = parse_targets(options.arguments);
  if (!targets) return targets.error();
  for (const auto& target : *targets) {
    if (!target.name.empty()) {
      out.push_back({target.kind, target.kind->namespaced ? options.ns : "", target.name});
      continue;
    }
    if (options.selector.empty() && !options.all) {
      return Error{.code = Code::kBadRequest, .message = "resource(s) were provided, but no name was specified"};
    }
    bus::Command list;
    list.verb = bus::Verb::List;
    list.resource = target.kind->resource;
    if (target.kind->namespaced && !options.all_namespaces) list.ns = options.ns;
    list.label_selector = options.selector;
    list.as_json = true;
    auto answer = gateway.ask(std::move(list));
    if (!answer) return answer.error();
    for (const auto& item : (*answer)["items"]) {
      out.push_back({target.kind, item.value("/metadata/namespace"_json_pointer, ""),
                     item.value("/metadata/name"_json_pointer, "")});
    }
  }
  return out;
}

/// Until the object of this uid is gone; a deletion that waits for a finalizer or a grace period takes its time.
Status await_gone(Gateway& gateway, const Doomed& object, const std::string& uid) {
  for (;;) {
    bus::Command look;
    look.verb = bus::Verb::Get;
    look.resource = object.kind->resource;
    look.ns = object.ns;
    look.name = object.name;
    look.as_json = true;
    auto answer = gateway.ask(std::move(look));
    if (!answer && answer.code() == Code::kNotFound) return Done{};
    if (!answer) return answer.error();
    if (answer->value("/metadata/uid"_json_pointer, "") != uid) return Done{};
    bool due = false;
    auto timer = gateway.loop().after(std::chrono::milliseconds(250), [&] { due = true; });
    while (!due) gateway.loop().run_once();
  }
}

}  // namespace

Status remove(const Options& options) {
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  auto objects = doomed(**gateway, options);
  if (!objects) return objects.error();
  if (objects->empty()) fmt::print("No resources found\n");
  std::optional<Error> failure;
  std::vector<std::pair<Doomed, std::string>> going;
  for (const auto& object : *objects) {
    bus::Command command;
    command.verb = bus::Verb::Delete;
    command.resource = object.kind->resource;
    command.ns = object.ns;
    command.name = object.name;
    command.grace_period_seconds = options.grace_period;
    command.propagation = options.cascade == "orphan"       ? "Orphan"
                          : options.cascade == "foreground" ? "Foreground"
                                                            : "Background";
    auto deleted = (*gateway)->send(std::move(command));
    if (!deleted) {
      if (options.ignore_not_found && deleted.code() == Code::kNotFound) continue;
      if (failure) fmt::print(stderr, "{}\n", server_error(*failure));
      failure = deleted.error();
      continue;
    }
    fmt::print("{}{}{} \"{}\" deleted{}\n", object.kind->singular, object.kind->group.empty() ? "" : ".",
               object.kind->group, object.name, object.ns.empty() ? "" : fmt::format(" from {} namespace", object.ns));
    fflush(stdout);
    going.emplace_back(object, deleted->uid);
  }
  if (options.wait) {
    for (const auto& [object, uid] : going) {
      if (auto gone = await_gone(**gateway, object, uid); !gone) return gone;
    }
  }
  if (failure) return *failure;
  return Done{};
}

Status scale(const Options& options) {
  auto targets = parse_targets(options.arguments);
  if (!targets) return targets.error();
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  for (const auto& target : *targets) {
    if (target.name.empty())
      return Error{.code = Code::kBadRequest, .message = "resource(s) were provided, but no name was specified"};
    bus::Command command;
    command.verb = bus::Verb::Patch;
    command.resource = target.kind->resource;
    command.subresource = "scale";
    command.ns = options.ns;
    command.name = target.name;
    command.patch_type = bus::PatchType::Merge;
    command.json = nlohmann::json{{"spec", {{"replicas", options.replicas}}}}.dump();
    if (auto scaled = (*gateway)->send(std::move(command)); !scaled) return scaled.error();
    fmt::print("{} scaled\n", qualified(*target.kind, target.name));
  }
  return Done{};
}

}  // namespace gantry::client
