#include "services/apigw/core/gateway_addresses.h"

#include <fmt/format.h>
#include <glog/logging.h>

#include <set>

#include "libs/model/json.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr Duration kRetry = std::chrono::milliseconds(200);
constexpr uint32_t kProbeMillis = 1;  // a dead gateway's lease is taken for no longer than it takes to see that one can

struct List {
  const char *resource, *at;
};
constexpr List kLists[] = {{"endpoints", "/subsets/0/addresses"}, {"endpointslices", "/endpoints"}};

std::string ip_of(const json& entry) {
  if (entry.contains("ip")) return entry["ip"];
  return entry.contains("addresses") && !entry["addresses"].empty() ? entry["addresses"][0] : "";
}

std::string lease(const std::string& ip, const std::string& port) {
  return fmt::format("apigw/address/{}:{}", ip, port);
}

}  // namespace

GatewayAddresses::GatewayAddresses(Loop& loop, state::Store& store, Api& api, std::string advertised)
    : loop_(loop),
      store_(store),
      api_(api),
      advertised_(std::move(advertised)),
      ip_(advertised_.substr(0, advertised_.rfind(':'))),
      port_(advertised_.empty() ? "" : advertised_.substr(advertised_.rfind(':') + 1)) {}

void GatewayAddresses::start(std::function<void()> held, std::function<void()> missing) {
  held_ = std::move(held);
  missing_ = std::move(missing);
  if (advertised_.find(':') == std::string::npos) return std::exchange(held_, nullptr)();
  timer_ = loop_.every(kPeriod, [this] { renew(); });
  renew();
}

void GatewayAddresses::renew() {
  store_.hold(lease(ip_, port_), advertised_, kLeaseMillis, alive_.guard([this](Result<uint64_t> epoch) {
    if (!epoch.ok()) {
      retry_ = loop_.after(kRetry, [this] { renew(); });
    } else if (held_) {
      std::exchange(held_, nullptr)();
    } else {
      look();
    }
  }));
}

void GatewayAddresses::look() {
  std::set<std::string> others;
  bool missing = false;
  for (const auto& list : kLists) {
    const model::Object* there = api_.peek(list.resource, "default", "kubernetes");
    const json tree = there == nullptr ? json::object() : model::to_tree(*there);
    bool own = false;
    const json::json_pointer at(list.at);
    if (tree.contains(at)) {
      for (const auto& entry : tree.at(at)) {
        const std::string ip = ip_of(entry);
        own = own || ip == ip_;
        if (!ip.empty() && ip != ip_) others.insert(ip);
      }
    }
    missing = missing || !own;
  }
  if (missing) missing_();
  for (const auto& ip : others) probe(ip);
}

void GatewayAddresses::probe(const std::string& ip) {
  store_.hold(lease(ip, port_), advertised_, kProbeMillis, alive_.guard([this, ip](Result<uint64_t> epoch) {
    if (epoch.ok()) take_out(ip);
  }));
}

void GatewayAddresses::take_out(const std::string& ip) {
  LOG(INFO) << "a gateway is gone: address=" << ip;
  for (const auto& list : kLists) {
    const model::Object* there = api_.peek(list.resource, "default", "kubernetes");
    if (there == nullptr) continue;
    json tree = model::to_tree(*there);  // with its resourceVersion: a change meanwhile wins
    const json::json_pointer at(list.at);
    if (!tree.contains(at)) continue;
    json left = json::array();
    for (const auto& entry : tree[at]) {
      if (ip_of(entry) != ip) left.push_back(entry);
    }
    tree[at] = std::move(left);
    bus::Command command;
    command.verb = bus::Verb::Update;
    command.resource = list.resource;
    command.ns = "default";
    command.name = "kubernetes";
    command.json = tree.dump();
    api_.handle(gateway(), std::move(command), [ip](Result<Answer> answer) {
      // Another was faster, or the next look sees what is left to do.
      VLOG_IF(1, !answer.ok()) << "address=" << ip << " not taken out: " << answer.error().message;
    });
  }
}

}  // namespace gantry::apigw
