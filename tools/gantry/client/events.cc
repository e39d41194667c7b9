// The event stream as it passes on the bus, decoded.
#include "libs/bus/events.h"

#include <fmt/format.h>

#include "libs/base/ids.h"
#include "libs/model/json.h"
#include "libs/model/object.h"
#include "schemas/bus_generated.h"
#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

using nlohmann::json;

std::string text(const flatbuffers::String* s) { return s != nullptr ? s->str() : ""; }

json object_of(const bus::Event& event) {
  const auto* kind = model::Schema::get().by_resource(text(event.resource()));
  if (kind == nullptr || event.object() == nullptr) return nullptr;
  const std::string bytes(reinterpret_cast<const char*>(event.object()->data()), event.object()->size());
  if (!model::verify(*kind->type, bytes)) return nullptr;
  return json::parse(model::to_json(model::Object(*kind, bytes, event.revision())), nullptr, false);
}

json cause_of(const bus::Event& event) {
  if (event.cause() == nullptr) return nullptr;
  return {{"identity", text(event.cause()->identity())},
          {"verb", text(event.cause()->verb())},
          {"because", text(event.cause()->because())}};
}

const char* type_of(const bus::Event& event) {
  switch (event.type()) {
    case bus::EventType::Put:
      return event.created() ? "ADDED" : "MODIFIED";
    case bus::EventType::Delete:
      return "DELETED";
    case bus::EventType::Left:
      return "LEFT";
    case bus::EventType::Dependency:
      return "DEPENDENCY";
  }
  return "?";
}

void print_json(const bus::Event& event) {
  const json out = {{"type", type_of(event)},
                    {"resource", text(event.resource())},
                    {"namespace", text(event.namespace_())},
                    {"name", text(event.name())},
                    {"uid", text(event.uid())},
                    {"node", text(event.node())},
                    {"revision", event.revision()},
                    {"previous", event.previous()},
                    {"previousInNode", event.previous_in_node()},
                    {"previousInNamespace", event.previous_in_namespace()},
                    {"time", model::format_micro_time(event.time())},
                    {"cause", cause_of(event)},
                    {"commandId", text(event.command_id())},
                    {"object", object_of(event)}};
  fmt::print("{}\n", out.dump());
}

void print_line(const bus::Event& event) {
  std::string name = text(event.namespace_());
  name += (name.empty() ? "" : "/") + text(event.name());
  fmt::print("{}  {:<10} {:<16} {:<48} {:>10}", model::format_micro_time(event.time()).substr(11, 12), type_of(event),
             text(event.resource()), name, event.revision() & ((1ULL << 40) - 1));
  if (event.node() != nullptr && event.node()->size() > 0) fmt::print("  on {}", text(event.node()));
  if (event.cause() != nullptr)
    fmt::print("  by {} ({})", text(event.cause()->identity()), text(event.cause()->verb()));
  fmt::print("\n");
}

}  // namespace

Status events(const Options& options) {
  std::string resource = "*";
  if (!options.resource.empty()) {
    auto kind = find_kind(options.resource);
    if (!kind) return kind.error();
    resource = (*kind)->resource;
  }
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  const std::string ns = options.ns.empty() ? "*" : encode_token(options.ns);
  uint64_t unreadable = 0;
  const auto subscription = (*gateway)->bus().subscribe(
      fmt::format("gantry.events.{}.*.{}.>", resource, ns), "", [&](const bus::Message& message) {
        flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(message.data.data()), message.data.size());
        if (!verifier.VerifyBuffer<bus::Event>(nullptr)) {
          fmt::print(stderr, "unreadable event on {} ({} so far)\n", message.subject, ++unreadable);
          return;
        }
        const auto& event = *flatbuffers::GetRoot<bus::Event>(message.data.data());
        if (options.output == "json") {
          print_json(event);
        } else {
          print_line(event);
        }
        fflush(stdout);
      });
  (*gateway)->loop().run();
  return Done{};
}

}  // namespace gantry::client
