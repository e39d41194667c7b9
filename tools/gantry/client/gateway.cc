#include "tools/gantry/client/gateway.h"

#include <fmt/format.h>

#include <filesystem>

#include "libs/bus/nats_bus.h"

namespace gantry::client {

Gateway::Gateway() : loop_(std::make_unique<UvLoop>()) {}

Gateway::~Gateway() {
  commands_.reset();
  bus_.reset();
}

Result<std::unique_ptr<Gateway>> Gateway::connect(const ConnectOptions& options) {
  const std::filesystem::path dir = options.dir;
  bus::NatsOptions nats;
  nats.url = options.nats_url;
  nats.ca_file = options.nats_ca.empty() ? (dir / "pki/ca.crt").string() : options.nats_ca;
  nats.creds_file =
      options.nats_creds.empty() ? (dir / "creds" / (options.identity + ".creds")).string() : options.nats_creds;
  nats.identity = options.identity;
  for (const auto& file : {nats.ca_file, nats.creds_file}) {
    if (!std::filesystem::exists(file)) {
      return Error{.code = Code::kBadRequest,
                   .message = fmt::format("no file {}: name the cluster's folder with --dir", file)};
    }
  }
  std::unique_ptr<Gateway> gateway(new Gateway);
  gateway->timeout_ = std::chrono::seconds(options.timeout_seconds);
  gateway->bus_ = std::make_unique<bus::NatsBus>(*gateway->loop_, nats);
  bool late = false;
  const auto limit = gateway->loop_->after(gateway->timeout_, [&] { late = true; });
  while (!gateway->bus_->connected() && !late) gateway->loop_->run_once();
  if (late)
    return Error{.code = Code::kUnavailable,
                 .message = fmt::format("no connection to {} as {}", options.nats_url, options.identity)};
  gateway->commands_ = bus::make_command_client(*gateway->loop_, *gateway->bus_, options.identity);
  return gateway;
}

Result<bus::CommandOutcome> Gateway::send(bus::Command command) {
  std::optional<Result<bus::CommandOutcome>> outcome;
  commands_->send(std::move(command), timeout_,
                  [&](Result<bus::CommandOutcome> answer) { outcome = std::move(answer); });
  while (!outcome) loop_->run_once();
  return std::move(*outcome);
}

Result<nlohmann::json> Gateway::ask(bus::Command command) {
  auto outcome = send(std::move(command));
  if (!outcome) return outcome.error();
  auto json = nlohmann::json::parse(outcome->json, nullptr, false);
  if (json.is_discarded()) return Error{.code = Code::kInternal, .message = "the gateway's answer is not JSON"};
  return json;
}

std::string server_error(const Error& error) {
  return fmt::format("Error from server ({}): {}", reason(error.code), error.message);
}

}  // namespace gantry::client
