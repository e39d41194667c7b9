#include "services/apigw/core/testing/test_gateway.h"

#include <fmt/format.h>

#include "libs/model/json.h"

namespace gantry::apigw::testing {

TestGateway::TestGateway(ApiConfig config) : api(make_api(loop, store, std::move(config))) {
  loop.run_until([this] { return api->ready(); }, std::chrono::seconds(30));
}

std::unique_ptr<Api> TestGateway::another() {
  auto second = make_api(loop, store, {.advertise_address = "192.0.2.2:6443"});
  loop.run_until([&] { return second->ready(); }, std::chrono::seconds(30));
  return second;
}

Result<Answer> TestGateway::call(bus::Command command, const Identity* as, Api* on) {
  std::optional<Result<Answer>> answer;
  (on == nullptr ? *api : *on).handle(as == nullptr ? admin : *as, std::move(command), [&](Result<Answer> a) {
    answer.emplace(std::move(a));
  });
  loop.run_until([&] { return answer.has_value(); }, std::chrono::seconds(30));
  if (!answer) return Error{Code::kInternal, "no answer"};
  return std::move(*answer);
}

Result<Answer> TestGateway::create(const std::string& resource, const std::string& ns, const Json& body,
                                   const Identity* as) {
  return call({.verb = bus::Verb::Create, .resource = resource, .ns = ns, .json = body.dump()}, as);
}

Result<Answer> TestGateway::get(const std::string& resource, const std::string& ns, const std::string& name,
                                const std::string& subresource, const Identity* as) {
  return call({.verb = bus::Verb::Get, .resource = resource, .subresource = subresource, .ns = ns, .name = name}, as);
}

Result<Answer> TestGateway::list(const std::string& resource, const std::string& ns, const std::string& labels,
                                 const std::string& fields) {
  return call(
      {.verb = bus::Verb::List, .resource = resource, .ns = ns, .label_selector = labels, .field_selector = fields});
}

Result<Answer> TestGateway::update(const std::string& resource, const std::string& ns, const Json& body,
                                   const std::string& subresource, const Identity* as) {
  return call({.verb = bus::Verb::Update,
               .resource = resource,
               .subresource = subresource,
               .ns = ns,
               .name = body["metadata"]["name"],
               .json = body.dump()},
              as);
}

Result<Answer> TestGateway::patch(const std::string& resource, const std::string& ns, const std::string& name,
                                  const Json& body, const std::string& subresource, bus::PatchType type) {
  return call({.verb = bus::Verb::Patch,
               .resource = resource,
               .subresource = subresource,
               .ns = ns,
               .name = name,
               .json = body.dump(),
               .patch_type = type});
}

Result<Answer> TestGateway::remove(const std::string& resource, const std::string& ns, const std::string& name,
                                   const Identity* as) {
  return call({.verb = bus::Verb::Delete, .resource = resource, .ns = ns, .name = name}, as);
}

Result<Answer> TestGateway::bind(const std::string& ns, const std::string& name, const std::string& node) {
  return call({.verb = bus::Verb::Bind, .resource = "pods", .ns = ns, .name = name, .node = node});
}

TestGateway::Json TestGateway::stored(const std::string& resource, const std::string& ns, const std::string& name) {
  auto answer = get(resource, ns, name);
  return answer.ok() ? model::to_tree(answer->object) : Json();
}

TestGateway::Json TestGateway::pod(const std::string& name) {
  return {{"metadata", {{"name", name}, {"labels", {{"app", "web"}}}}},
          {"spec", {{"containers", {{{"name", "main"}, {"image", "demo:1"}}}}}}};
}

TestGateway::Json TestGateway::deployment(const std::string& name, int replicas) {
  return {{"metadata", {{"name", name}}},
          {"spec",
           {{"replicas", replicas},
            {"selector", {{"matchLabels", {{"app", name}}}}},
            {"template",
             {{"metadata", {{"labels", {{"app", name}}}}},
              {"spec", {{"containers", {{{"name", "main"}, {"image", "demo:1"}}}}}}}}}}};
}

TestGateway::Json TestGateway::service(const std::string& name, const std::string& type) {
  return {{"metadata", {{"name", name}}},
          {"spec", {{"type", type}, {"selector", {{"app", name}}}, {"ports", {{{"port", 80}}}}}}};
}

TestWatch::TestWatch(TestGateway& gateway, WatchRequest request, const Identity* as) : gateway_(gateway) {
  static constexpr const char* kTypes[] = {"ADDED", "MODIFIED", "DELETED"};
  watch_ = gateway.api->watch(
      as == nullptr ? gateway.admin : *as, std::move(request),
      {.event =
           [this](WatchType type, const model::Object& object) {
             told_.push_back(fmt::format("{} {}/{}", kTypes[static_cast<int>(type)], object.ns(), object.name()));
             return reading_;
           },
       .bookmark = [this](uint64_t, bool) { told_.emplace_back("BOOKMARK"); },
       .error = [this](const Error& error) { told_.push_back(fmt::format("ERROR {}", reason(error.code))); }});
}

std::vector<std::string> TestWatch::take() {
  gateway_.loop.drain();
  return std::exchange(told_, {});
}

}  // namespace gantry::apigw::testing
