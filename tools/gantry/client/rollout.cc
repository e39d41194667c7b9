#include <fmt/format.h>

#include "libs/bus/events.h"
#include "libs/model/json.h"
#include "tools/gantry/client/resources.h"
#include "tools/gantry/client/verbs.h"

namespace gantry::client {
namespace {

using nlohmann::json;

int64_t number(const json& object, const char* pointer, int64_t fallback = 0) {
  return object.value(json::json_pointer(pointer), fallback);
}

struct Progress {
  std::string message;
  bool done = false, failed = false;
};

/// kubectl's words for where a Deployment's rollout is.
Progress progress(const json& deployment) {
  const std::string name = deployment.value("/metadata/name"_json_pointer, "");
  if (number(deployment, "/metadata/generation") > number(deployment, "/status/observedGeneration")) {
    return {.message = "Waiting for deployment spec update to be observed..."};
  }
  for (const auto& condition : deployment.value("/status/conditions"_json_pointer, json::array())) {
    if (condition.value("type", "") == "Progressing" && condition.value("reason", "") == "ProgressDeadlineExceeded") {
      return {.message = fmt::format("deployment \"{}\" exceeded its progress deadline", name),
              .done = true,
              .failed = true};
    }
  }
  const int64_t wanted = number(deployment, "/spec/replicas", 1),
                updated = number(deployment, "/status/updatedReplicas"), all = number(deployment, "/status/replicas"),
                available = number(deployment, "/status/availableReplicas");
  if (updated < wanted) {
    return {.message = fmt::format(
                "Waiting for deployment \"{}\" rollout to finish: {} out of {} new replicas have been updated...", name,
                updated, wanted)};
  }
  if (all > updated) {
    return {.message = fmt::format(
                "Waiting for deployment \"{}\" rollout to finish: {} old replicas are pending termination...", name,
                all - updated)};
  }
  if (available < updated) {
    return {.message = fmt::format(
                "Waiting for deployment \"{}\" rollout to finish: {} of {} updated replicas are available...", name,
                available, updated)};
  }
  return {.message = fmt::format("deployment \"{}\" successfully rolled out", name), .done = true};
}

Result<Target> one_deployment(const Options& options) {
  constexpr std::string_view kWhat = "deployment: deployment/NAME";
  auto target = parse_target(options.arguments, kWhat);
  if (target.ok() && target->kind->kind != "Deployment") {
    return Error{.code = Code::kBadRequest, .message = fmt::format("name one {}", kWhat)};
  }
  return target;
}

}  // namespace

Status rollout_status(const Options& options) {
  auto target = one_deployment(options);
  if (!target) return target.error();
  auto connected = Gateway::connect(options.connect);
  if (!connected) return connected.error();
  auto& gateway = **connected;
  bool woken = true;
  const auto subscription = gateway.bus().subscribe(bus::event_subject("deployments", "", options.ns, target->name), "",
                                                    [&](const bus::Message&) { woken = true; });
  const auto fallback = gateway.loop().every(std::chrono::seconds(2), [&] { woken = true; });
  const Duration start = gateway.loop().now();
  for (std::string said;;) {
    while (!woken) gateway.loop().run_once();
    woken = false;
    bus::Command look;
    look.resource = "deployments";
    look.ns = options.ns;
    look.name = target->name;
    look.as_json = true;
    auto answer = gateway.ask(std::move(look));
    if (!answer) return answer.error();
    const auto now = progress(*answer);
    if (now.failed) return Error{.code = Code::kTimeout, .message = now.message};
    if (now.message != said) fmt::print("{}\n", now.message);
    fflush(stdout);
    said = now.message;
    if (now.done) return Done{};
    if (options.timeout_seconds > 0 && gateway.loop().now() - start > std::chrono::seconds(options.timeout_seconds)) {
      return Error{.code = Code::kTimeout, .message = "timed out waiting for the condition"};
    }
  }
}

Status rollout_restart(const Options& options) {
  auto target = one_deployment(options);
  if (!target) return target.error();
  auto gateway = Gateway::connect(options.connect);
  if (!gateway) return gateway.error();
  const json annotations = {
      {"kubectl.kubernetes.io/restartedAt", model::format_time((*gateway)->loop().wall() / 1'000'000)}};
  bus::Command command;
  command.verb = bus::Verb::Patch;
  command.resource = "deployments";
  command.ns = options.ns;
  command.name = target->name;
  command.patch_type = bus::PatchType::Strategic;
  command.json = json{{"spec", {{"template", {{"metadata", {{"annotations", annotations}}}}}}}}.dump();
  if (auto done = (*gateway)->send(std::move(command)); !done) return done.error();
  fmt::print("{} restarted\n", qualified(*target->kind, target->name));
  return Done{};
}

}  // namespace gantry::client
