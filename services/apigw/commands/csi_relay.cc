#include "services/apigw/commands/csi_relay.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/base/ids.h"

namespace gantry::apigw {
namespace {

constexpr Duration kDeadline = std::chrono::seconds(65);  // a node waits for its driver for a minute

Result<bus::CommandOutcome> outcome_of(const Result<std::string>& answer, const std::string& node) {
  if (!answer.ok()) {
    const bool away = answer.code() == Code::kUnavailable;
    return Error{answer.code(), away ? fmt::format("node {} does not answer", node) : answer.error().message};
  }
  const auto json = nlohmann::json::parse(*answer, nullptr, false);
  if (!json.is_object()) return Error{Code::kInternal, fmt::format("node {}: its answer is not JSON", node)};
  if (json.contains("error")) {
    const int code = json.value("code", static_cast<int>(Code::kInternal));
    const bool known = code > 0 && code <= static_cast<int>(Code::kTooLargeRevision);
    return Error{known ? static_cast<Code>(code) : Code::kInternal, json["error"].get<std::string>()};
  }
  bus::CommandOutcome outcome;
  outcome.json = json.value("response", nlohmann::json::object()).dump();
  return outcome;
}

}  // namespace

bus::CommandHandler with_csi(bus::Bus& bus, bus::CommandHandler next) {
  return [&bus, next = std::move(next)](const std::string& name, const bus::Command& command, bus::Respond respond) {
    if (command.verb != bus::Verb::Create || command.resource != "nodes" || command.subresource != "csi")
      return next(name, command, std::move(respond));
    if (name != "controllers")
      return respond(Error{Code::kForbidden, fmt::format("{} may not call CSI drivers", name)});
    bus.request(fmt::format("gantry.node.{}.down.csi", encode_token(command.name)), command.json, kDeadline,
                [respond = std::move(respond), node = command.name](const Result<std::string>& answer) {
                  respond(outcome_of(answer, node));
                });
  };
}

}  // namespace gantry::apigw
