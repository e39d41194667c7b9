#include "services/nodeagent/agent/service_links.h"

#include <fmt/format.h>

#include "schemas/api/node_v1_generated.h"

namespace gantry::nodeagent {

void ServiceLinks::ensure(const std::string& ns, std::function<void(Status)> done) {
  auto& space = namespaces_[ns];
  if (space.asking) {
    space.next.push_back(std::move(done));
    return;
  }
  space.now.push_back(std::move(done));
  space.asking = true;
  ask(ns, "", {});
}

void ServiceLinks::ask(const std::string& ns, const std::string& continue_token, std::vector<model::Object> so_far) {
  bus::Command command;
  command.verb = bus::Verb::List;
  command.resource = "services";
  command.ns = ns;
  command.continue_token = continue_token;
  commands_.send(std::move(command), [this, ns, services = std::move(so_far),
                                      weak = std::weak_ptr<bool>(alive_)](Result<bus::CommandOutcome> r) mutable {
    if (weak.expired()) return;
    if (!r.ok()) return answer(ns, r.error());
    const auto& kind = *model::Schema::get().by_resource("services");
    for (auto& item : r->items) {
      if (!model::verify(*kind.type, item.object))
        return answer(ns, Error{Code::kInternal, "the gateway's answer is not well-formed"});
      services.emplace_back(kind, std::move(item.object), item.revision);
    }
    if (!r->continue_token.empty()) return ask(ns, r->continue_token, std::move(services));
    namespaces_[ns].services = std::move(services);
    answer(ns, gantry::Done{});
  });
}

void ServiceLinks::answer(const std::string& ns, const Status& status) {
  auto& space = namespaces_[ns];
  auto told = std::exchange(space.now, {});
  space.now = std::exchange(space.next, {});
  space.asking = !space.now.empty();
  if (space.asking) ask(ns, "", {});
  const std::weak_ptr<bool> weak = alive_;
  for (auto& done : told) {
    if (weak.expired()) return;
    done(status);
  }
}

void ServiceLinks::for_each(std::string_view ns, const std::function<void(const model::Object&)>& visit) const {
  const auto found = namespaces_.find(ns);
  if (found == namespaces_.end()) return;
  for (const auto& service : found->second.services) visit(service);
}

void ServiceLinks::runtime_handler(const std::string& name, std::function<void(Result<std::string>)> done) {
  if (name.empty()) return done(std::string());
  bus::Command command;
  command.verb = bus::Verb::Get;
  command.resource = "runtimeclasses";
  command.name = name;
  commands_.send(std::move(command),
                 [name, done = std::move(done), weak = std::weak_ptr<bool>(alive_)](Result<bus::CommandOutcome> r) {
                   if (weak.expired()) return;
                   if (r.code() == Code::kNotFound) {
                     return done(Error{Code::kNotFound,
                                       fmt::format("failed to get sandbox runtime: runtimeclass.node.k8s.io \"{}\" not "
                                                   "found",
                                                   name)});
                   }
                   if (!r.ok()) return done(r.error());
                   const auto& kind = *model::Schema::get().by_resource("runtimeclasses");
                   if (!model::verify(*kind.type, r->object))
                     return done(Error{Code::kInternal, "the gateway's answer is not well-formed"});
                   const model::Object found(kind, std::move(r->object));
                   done(std::string(model::str(found.as<api::node_v1::RuntimeClass>()->handler())));
                 });
}

}  // namespace gantry::nodeagent
