#include "services/controllers/framework/commands.h"

#include <nlohmann/json.hpp>

namespace gantry::controllers {
namespace {

bus::Command about(const model::Object& object, bus::Verb verb) {
  bus::Command command;
  command.verb = verb;
  command.resource = object.kind().resource;
  command.ns = object.ns();
  command.name = object.name();
  command.uid = object.uid();
  return command;
}

}  // namespace

bus::Command create(const model::Kind& kind, std::string_view ns, model::Bytes object) {
  bus::Command command;
  command.verb = bus::Verb::Create;
  command.resource = kind.resource;
  command.ns = ns;
  command.object = std::move(object);
  return command;
}

bus::Command update(const model::Object& base, model::Bytes changed) {
  bus::Command command = about(base, bus::Verb::Update);
  command.object = std::move(changed);
  command.revision = base.revision();
  return command;
}

bus::Command update_status(const model::Object& base, model::Bytes changed) {
  bus::Command command = about(base, bus::Verb::Update);
  command.subresource = "status";
  command.object = std::move(changed);
  return command;
}

bus::Command patch(const model::Object& base, std::string json, std::string_view subresource) {
  bus::Command command = about(base, bus::Verb::Patch);
  command.subresource = subresource;
  command.json = std::move(json);
  command.patch_type = bus::PatchType::Merge;
  return command;
}

bus::Command remove(const model::Object& object, std::string_view propagation) {
  bus::Command command = about(object, bus::Verb::Delete);
  command.propagation = propagation;
  return command;
}

bus::Command drop_finalizer(const model::Object& object, std::string_view finalizer) {
  std::string left;
  if (const auto* all = object.meta()->finalizers()) {
    for (const auto* f : *all) {
      if (model::str(f) != finalizer) left += fmt::format("{}{}", left.empty() ? "" : ",", quote(model::str(f)));
    }
  }
  bus::Command command = patch(
      object, fmt::format(R"({{"metadata":{{"finalizers":{}}}}})", left.empty() ? "null" : fmt::format("[{}]", left)));
  command.revision = object.revision();
  return command;
}

std::string quote(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace gantry::controllers
