#include "services/apigw/core/metadata.h"

#include <fmt/format.h>

#include <charconv>

#include "libs/base/ids.h"
#include "services/apigw/core/managers.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::str;

constexpr size_t kMaxGeneratedBase = 58;  // with the suffix, a name of 63

std::string generated(std::string_view base) {
  return std::string(base.substr(0, kMaxGeneratedBase)) + random_suffix();
}

void clear_all(model::Draft& draft, std::initializer_list<const char*> paths) {
  for (const char* path : paths) draft.clear(path);
}

// metadata.resourceVersion of the body; 0 when it does not say.
Result<uint64_t> based_on(const Request& request, const model::Object& given) {
  if (given.meta() == nullptr || str(given.meta()->resource_version()).empty()) return uint64_t{0};
  const std::string_view text = str(given.meta()->resource_version());
  uint64_t revision = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), revision);
  if (error != std::errc() || end != text.data() + text.size()) {
    Problems problems;
    problems.invalid("metadata.resourceVersion", text, "must be specified for an update");
    return problems.error(*request.kind, request.command.name);
  }
  return revision;
}

}  // namespace

Status prepare_create(const Request& request, const model::Object& given, model::Draft& draft) {
  const model::Kind& kind = *request.kind;
  const auto* meta = given.meta();
  if (meta != nullptr && !str(meta->resource_version()).empty()) {
    return bad_request("resourceVersion should not be set on objects to be created");
  }
  const std::string_view ns = meta == nullptr ? std::string_view() : str(meta->namespace_());
  if (kind.namespaced) {
    if (request.command.ns.empty()) return bad_request("an empty namespace may not be set during creation");
    if (!ns.empty() && ns != request.command.ns) {
      return bad_request("the namespace of the provided object does not match the namespace sent on the request");
    }
    draft.set("metadata.namespace", request.command.ns);
  } else if (!ns.empty()) {
    return bad_request("namespace may not be set on a cluster-scoped object");
  }
  std::string name = meta == nullptr ? std::string() : std::string(str(meta->name()));
  const std::string_view base = meta == nullptr ? std::string_view() : str(meta->generate_name());
  if (!request.command.name.empty() && !name.empty() && name != request.command.name) {
    return bad_request(
        fmt::format("the name of the object ({}) does not match the name on the URL ({})", name, request.command.name));
  }
  if (name.empty()) name = request.command.name;
  if (name.empty() && !base.empty()) name = generated(base);
  if (!name.empty()) draft.set("metadata.name", name);
  draft.set("metadata.uid", new_uid());
  draft.set("metadata.creationTimestamp", request.now);
  clear_all(draft, {"metadata.resourceVersion", "metadata.selfLink", "metadata.deletionTimestamp",
                    "metadata.deletionGracePeriodSeconds", "metadata.managedFields"});
  if (has_generation(kind)) {
    draft.set("metadata.generation", 1);
  } else {
    draft.clear("metadata.generation");
  }
  // A node's agent registers it with its status.
  if (has_status(kind) && kind.resource != "nodes") draft.clear("status");
  return Done{};
}

Status check_same(const Request& request, const model::Object& given, const model::Object& before) {
  const model::Kind& kind = before.kind();
  const auto* meta = given.meta();
  // Our own services say with the command alone what they mean.
  if (tracked(request) && (meta == nullptr || str(meta->name()).empty())) {
    return bad_request(fmt::format("the name of the object ({} based on URL) was undeterminable: name must be provided",
                                   before.name()));
  }
  if (meta != nullptr) {
    if (!str(meta->name()).empty() && str(meta->name()) != before.name()) {
      return bad_request(fmt::format("the name of the object ({}) does not match the name on the URL ({})",
                                     str(meta->name()), before.name()));
    }
    if (!str(meta->namespace_()).empty() && str(meta->namespace_()) != before.ns()) {
      return bad_request(fmt::format("the namespace of the object ({}) does not match the namespace on the URL ({})",
                                     str(meta->namespace_()), before.ns()));
    }
  }
  // Both count, the command's and the body's: a patched body always has the uid and the revision of what was patched.
  for (const std::string_view uid :
       {std::string_view(request.command.uid), meta == nullptr ? std::string_view() : str(meta->uid())}) {
    if (uid.empty() || uid == before.uid()) continue;
    return conflict(
        kind, before.name(),
        fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", uid, before.uid()));
  }
  const auto revision = based_on(request, given);
  if (!revision.ok()) return revision.error();
  for (const uint64_t wanted : {request.command.revision, *revision}) {
    if (wanted != 0 && wanted != before.revision()) return modified(kind, before.name(), before.revision());
  }
  return Done{};
}

void keep_metadata(model::Draft& draft, const model::Object& before) {
  const auto* meta = reinterpret_cast<const flatbuffers::Table*>(before.meta());
  for (const char* field : {"name", "namespace", "uid", "creationTimestamp", "deletionTimestamp",
                            "deletionGracePeriodSeconds", "generation", "managedFields"}) {
    draft.copy_field("metadata", field, meta);
  }
  clear_all(draft, {"metadata.resourceVersion", "metadata.selfLink"});
}

void check_finalizers(const model::Object& after, const model::Object& before, Problems& problems) {
  if (!before.meta()->deletion_timestamp() || after.meta()->finalizers() == nullptr) return;
  std::string grown;
  for (const auto* finalizer : *after.meta()->finalizers()) {
    bool known = false;
    if (before.meta()->finalizers() != nullptr) {
      for (const auto* old : *before.meta()->finalizers()) known = known || str(old) == str(finalizer);
    }
    if (!known) grown += (grown.empty() ? "" : ", ") + quoted(str(finalizer));
  }
  if (grown.empty()) return;
  problems.forbidden(
      "metadata.finalizers",
      fmt::format("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                  grown));
}

}  // namespace gantry::apigw
