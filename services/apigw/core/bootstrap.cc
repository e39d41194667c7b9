#include "services/apigw/core/bootstrap.h"

#include <fmt/format.h>
#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "services/apigw/authz/default_roles.h"
#include "services/apigw/authz/mend.h"
#include "services/apigw/core/alive.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr auto kRetry = std::chrono::milliseconds(200);

struct Wanted {
  std::string resource, ns;
  json object;
  const char* list = nullptr;  // the list to which every gateway adds its address
  bool mend = false;           // what is missing of it in the cluster is put back
};

void add_roles(std::vector<Wanted>& all) {
  for (const auto& role : default_roles()) all.push_back({role.resource, role.ns, to_json(role), nullptr, true});
  for (const auto& binding : default_bindings())
    all.push_back({binding.resource, binding.ns, to_json(binding), nullptr, true});
}

std::vector<Wanted> wanted(const ApiConfig& config, const std::string& service_ip) {
  std::vector<Wanted> all;
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    all.push_back({"namespaces", "", {{"metadata", {{"name", name}}}}});
  }
  add_roles(all);
  for (const auto& [name, value] :
       {std::pair("system-cluster-critical", 2'000'000'000), std::pair("system-node-critical", 2'000'001'000)}) {
    all.push_back({"priorityclasses",
                   "",
                   {{"metadata", {{"name", name}}},
                    {"value", value},
                    {"description", fmt::format("Used for system critical pods that must {}.",
                                                value == 2'000'000'000 ? "run in the cluster, but can be moved to "
                                                                         "another node if necessary"
                                                                       : "not be moved from their current node")}}});
  }
  const size_t colon = config.advertise_address.rfind(':');
  if (colon == std::string::npos) return all;
  const std::string ip = config.advertise_address.substr(0, colon);
  const int port = std::atoi(config.advertise_address.c_str() + colon + 1);
  all.push_back(
      {"services",
       "default",
       {{"metadata", {{"name", "kubernetes"}, {"labels", {{"component", "apiserver"}, {"provider", "kubernetes"}}}}},
        {"spec",
         {{"type", "ClusterIP"},
          {"clusterIP", service_ip},
          {"ports", {{{"name", "https"}, {"port", 443}, {"protocol", "TCP"}, {"targetPort", port}}}}}}}});
  all.push_back(
      {"endpoints",
       "default",
       {{"metadata", {{"name", "kubernetes"}, {"labels", {{"endpointslice.kubernetes.io/skip-mirror", "true"}}}}},
        {"subsets",
         {{{"addresses", {{{"ip", ip}}}}, {"ports", {{{"name", "https"}, {"port", port}, {"protocol", "TCP"}}}}}}}},
       "/subsets/0/addresses"});
  all.push_back({"endpointslices",
                 "default",
                 {{"metadata", {{"name", "kubernetes"}, {"labels", {{"kubernetes.io/service-name", "kubernetes"}}}}},
                  {"addressType", "IPv4"},
                  {"endpoints", {{{"addresses", {ip}}, {"conditions", {{"ready", true}}}}}},
                  {"ports", {{{"name", "https"}, {"port", port}, {"protocol", "TCP"}}}}},
                 "/endpoints"});
  return all;
}

class Bootstrap {
 public:
  Bootstrap(Loop& loop, Api& api, std::vector<Wanted> wanted, std::function<void()> done)
      : loop_(loop), api_(api), wanted_(std::move(wanted)), done_(std::move(done)) {
    next();
  }

 private:
  // One after the other: the Service needs its namespace.
  void next() {
    if (at_ == wanted_.size()) return done_();
    const Wanted& w = wanted_[at_];
    if (w.mend && find(w) != nullptr) return mend();
    send(bus::Verb::Create, w.object, [this](Result<Answer> answer) {
      if (answer.ok()) return advance();
      if (answer.code() != Code::kAlreadyExists) return retry(answer.error());
      if (wanted_[at_].mend) return mend();
      if (wanted_[at_].list == nullptr) return advance();
      add_address();
    });
  }

  const model::Object* find(const Wanted& w) const {
    return api_.peek(w.resource, w.ns, w.object["metadata"]["name"].get_ref<const std::string&>());
  }

  void mend() {
    const Wanted& w = wanted_[at_];
    const model::Object* there = find(w);
    if (there == nullptr) return retry({Code::kUnavailable, "not seen yet"});
    const auto mended = mend_default(model::to_tree(*there), w.object);
    if (!mended) return loop_.post(alive_.guard([this] { advance(); }));
    LOG(INFO) << w.resource << " " << there->name() << ": put back what was missing of the default";
    send(bus::Verb::Update, *mended,
         [this](Result<Answer> answer) { answer.ok() ? advance() : retry(answer.error()); });
  }

  void add_address() {
    const Wanted& w = wanted_[at_];
    const std::string name = w.object["metadata"]["name"];
    const model::Object* there = api_.peek(w.resource, w.ns, name);
    if (there == nullptr) return retry({Code::kUnavailable, "not seen yet"});
    json tree = model::to_tree(*there);
    const json::json_pointer list(w.list);
    const json own = w.object.at(list).at(0);
    const json port =
        tree.contains("subsets") && !tree["subsets"].empty() ? tree["subsets"][0]["ports"] : tree["ports"];
    const json own_port = w.object.contains("subsets") ? w.object["subsets"][0]["ports"] : w.object["ports"];
    const char* field = w.resource == "endpoints" ? "ip" : "addresses";
    // Another port: nobody else of this cluster's gateways can be meant.
    if (!tree.contains(list) || port != own_port) {
      for (const auto& [key, value] : w.object.items()) {
        if (key != "metadata") tree[key] = value;
      }
    } else {
      for (const auto& entry : tree[list]) {
        if (entry[field] == own[field]) return advance();
      }
      tree[list].push_back(own);
    }
    send(bus::Verb::Update, tree, [this](Result<Answer> answer) { answer.ok() ? advance() : retry(answer.error()); });
  }

  void send(bus::Verb verb, const json& body, std::function<void(Result<Answer>)> then) {
    bus::Command command;
    command.verb = verb;
    command.resource = wanted_[at_].resource;
    command.ns = wanted_[at_].ns;
    command.name = body["metadata"]["name"];
    command.json = body.dump();
    api_.handle(gateway(), std::move(command), alive_.guard(std::move(then)));
  }

  void advance() {
    ++at_;
    next();
  }

  void retry(const Error& error) {
    LOG_IF(WARNING, error.code != Code::kUnavailable) << "start of the cluster, trying again: " << error.message;
    timer_ = loop_.after(kRetry, [this] { next(); });
  }

  Loop& loop_;
  Api& api_;
  std::vector<Wanted> wanted_;
  std::function<void()> done_;
  size_t at_ = 0;
  Timer timer_;
  Alive alive_;
};

}  // namespace

std::shared_ptr<void> bootstrap(Loop& loop, Api& api, const ApiConfig& config, std::string service_ip,
                                std::function<void()> done) {
  return std::make_shared<Bootstrap>(loop, api, wanted(config, service_ip), std::move(done));
}

}  // namespace gantry::apigw
