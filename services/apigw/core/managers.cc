#include "services/apigw/core/managers.h"

#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::ManagedEntry;
using model::ManagedFields;
using model::Object;

// A service on the bus that names no manager: gantry-controllers, gantry-nodeagent.
std::string default_manager(const Identity& identity) {
  if (!identity.node.empty()) return "gantry-nodeagent";
  const auto colon = identity.user.rfind(':');
  if (!identity.user.starts_with("system:gantry:")) return identity.user;
  return "gantry-" + identity.user.substr(colon + 1);
}

}  // namespace

bool tracked(const Request& request) {
  const Identity& identity = request.identity;
  return !request.command.field_manager.empty() && identity.node.empty() &&
         !identity.user.starts_with("system:gantry:");
}

ManagedEntry writer_of(const Request& request, const model::Kind& kind) {
  ManagedEntry writer;
  writer.manager =
      request.command.field_manager.empty() ? default_manager(request.identity) : request.command.field_manager;
  writer.applied = request.command.verb == bus::Verb::Patch && request.command.patch_type == bus::PatchType::Apply;
  writer.api_version = kind.api_version();
  writer.subresource = request.command.subresource;
  writer.time = request.now;
  return writer;
}

void note_creation(const Request& request, const Object& given, const Object& sent, model::Draft& draft) {
  if (!tracked(request)) return;
  ManagedFields owners;
  if (model::has_managed_fields(given)) {
    if (auto said = model::read_managed_fields(given); said.ok()) owners = std::move(*said);
  }
  model::FieldChanges all;
  all.added = model::all_fields(*sent.kind().type, sent.root());
  model::note_update(owners, all, writer_of(request, sent.kind()));
  model::write_managed_fields(draft, std::move(owners));
}

std::optional<ManagedFields> note_change(const Request& request, const Object& before, const Object* given,
                                         const Object& after) {
  const bool owned = model::has_managed_fields(before);
  const bool said =
      given != nullptr && model::has_managed_fields(*given) && !model::same_managed_fields(*given, before);
  if (!owned && !said) return std::nullopt;
  if (said && model::is_reset(*given)) return ManagedFields();
  auto owners = model::read_managed_fields(said ? *given : before);
  const bool taken = said && owners.ok() && !owners->empty();
  if (!taken && said) owners = model::read_managed_fields(before);
  if (!owners.ok()) owners = ManagedFields();  // what is stored has been checked
  const bool changed =
      model::note_update(*owners, model::field_changes(*before.kind().type, before.root(), after.root()),
                         writer_of(request, before.kind()));
  if (!changed && !taken) return std::nullopt;
  return std::move(*owners);
}

}  // namespace gantry::apigw
