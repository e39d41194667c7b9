#include "services/apigw/sessions/pod_target.h"

#include <fmt/format.h>

#include "schemas/all.h"

namespace gantry::apigw {
namespace {

using api::core_v1::Pod;
using model::str;

template <typename List>
bool add_names(const List* list, std::vector<std::string>& names) {
  if (!list) return false;
  for (const auto* c : *list) names.emplace_back(str(c->name()));
  return true;
}

std::string join(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& name : names) out += (out.empty() ? "" : " ") + name;
  return out;
}

Result<PodTarget> target_of(const model::Object& object, bus::SessionRequest request) {
  std::string container = std::move(request.container);
  const auto* pod = object.as<Pod>();
  std::string name(object.name());
  std::vector<std::string> main, init, ephemeral;
  const auto* spec = pod->spec();
  if (spec) {
    add_names(spec->containers(), main);
    add_names(spec->init_containers(), init);
    add_names(spec->ephemeral_containers(), ephemeral);
  }
  auto has = [&](const std::vector<std::string>& names) {
    return std::find(names.begin(), names.end(), container) != names.end();
  };
  const bool of_pod = request.kind == node::SessionKind::PortForward || request.trace();  // not of one container
  if (!of_pod && container.empty() && object.meta() && object.meta()->annotations()) {
    const auto* preferred = model::lookup(object.meta()->annotations(), "kubectl.kubernetes.io/default-container");
    if (preferred) container = preferred->str();
    if (!has(main)) container.clear();
  }
  if (of_pod) {
    container.clear();
  } else if (container.empty()) {
    if (main.size() != 1) {
      std::string message =
          fmt::format("a container name must be specified for pod {}, choose one of: [{}]", name, join(main));
      if (!init.empty()) message += fmt::format(" or one of the init containers: [{}]", join(init));
      return Error{Code::kBadRequest, message};
    }
    container = main[0];
  } else if (!has(main) && !has(init) && !has(ephemeral)) {
    return Error{Code::kBadRequest, fmt::format("container {} is not valid for pod {}", container, name)};
  }
  PodTarget target;
  target.node = spec ? str(spec->node_name()) : std::string_view();
  if (target.node.empty()) return Error{Code::kBadRequest, fmt::format("pod {} does not have a host assigned", name)};
  target.request = std::move(request);
  target.request.uid = object.uid();
  target.request.container = container;
  return target;
}

/// The verb and subresource that the API knows this kind of session by.
Result<std::pair<const char*, const char*>> words(const bus::SessionRequest& request) {
  switch (request.kind) {
    case node::SessionKind::Logs:
      return std::pair("get", "log");
    case node::SessionKind::Exec:
      return std::pair("create", "exec");
    case node::SessionKind::Attach:
      return std::pair("create", "attach");
    case node::SessionKind::PortForward:
      return std::pair("create", "portforward");
    default:
      return Error{Code::kBadRequest, "only logs, exec, attach and port-forward are served"};
  }
}

Status validate(const bus::SessionRequest& request) {
  if (request.pod.empty() || request.ns.empty()) return Error{Code::kBadRequest, "name a pod and its namespace"};
  if (request.kind == node::SessionKind::Logs || request.kind == node::SessionKind::PortForward) return Done{};
  if (request.kind == node::SessionKind::Exec && request.command.empty())
    return Error{Code::kBadRequest, "you must specify at least one command for the container"};
  if (!request.in && !request.out && !request.err)
    return Error{Code::kBadRequest, "you must specify at least 1 of stdin, stdout, stderr"};
  return Done{};
}

}  // namespace

void find_pod_target(Api& api, const Identity& identity, bus::SessionRequest request,
                     std::function<void(Result<PodTarget>)> done) {
  auto known = words(request);
  if (!known.ok()) return done(known.error());
  auto allowed = api.authorize(identity, {known->first, "pods", known->second, request.ns, request.pod, ""});
  if (!allowed.ok()) return done(allowed.error());
  if (auto valid = validate(request); !valid.ok()) return done(valid.error());
  bus::Command get;
  get.verb = bus::Verb::Get;
  get.resource = "pods";
  get.ns = request.ns;
  get.name = request.pod;
  api.handle(gateway(), std::move(get), [request = std::move(request), done = std::move(done)](Result<Answer> answer) {
    if (!answer.ok()) return done(answer.error());
    done(target_of(answer->object, request));
  });
}

}  // namespace gantry::apigw
