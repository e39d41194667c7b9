#include "services/netproxy/dns/zone.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "schemas/all.h"
#include "services/netproxy/rules/frontends.h"

namespace gantry::netproxy {
namespace {

using api::core_v1::Service;
using api::discovery_v1::EndpointSlice;
using model::str;

std::vector<std::string_view> split(std::string_view name) {
  std::vector<std::string_view> labels;
  while (!name.empty()) {
    auto dot = name.find('.');
    labels.push_back(name.substr(0, dot));
    name = dot == std::string_view::npos ? std::string_view() : name.substr(dot + 1);
  }
  return labels;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

/// A pod's own name below its headless Service: its hostname, else its address with dashes.
std::string host_label(std::string_view hostname, std::string_view ip) {
  if (!hostname.empty()) return std::string(hostname);
  std::string out(ip);
  std::replace(out.begin(), out.end(), '.', '-');
  return out;
}

struct Host {
  std::string label, ip;
  uint16_t port = 0;
  std::string port_name, protocol;
};

std::vector<Host> hosts_of(const projection::Cache& slices, const std::string& service, bool not_ready_too) {
  std::vector<Host> out;
  slices.for_each_by(kByService, service, [&](const model::Object& object) {
    const auto* slice = object.as<EndpointSlice>();
    if (str(slice->address_type()) != "IPv4" || !slice->endpoints()) return;
    for (const auto* endpoint : *slice->endpoints()) {
      bool ready = !endpoint->conditions() || endpoint->conditions()->ready().value_or(true);
      if ((!ready && !not_ready_too) || !endpoint->addresses() || endpoint->addresses()->size() == 0) continue;
      std::string ip(str(endpoint->addresses()->Get(0)));
      std::string label = host_label(str(endpoint->hostname()), ip);
      if (!slice->ports() || slice->ports()->size() == 0) out.push_back({label, ip, 0, "", ""});
      if (!slice->ports()) continue;
      for (const auto* port : *slice->ports()) {
        out.push_back({label, ip, static_cast<uint16_t>(port->port().value_or(0)), std::string(str(port->name())),
                       lower(str(port->protocol()))});
      }
    }
  });
  return out;
}

void add_unique(std::vector<Record>& records, Record record) {
  if (std::find(records.begin(), records.end(), record) == records.end()) records.push_back(std::move(record));
}

Lookup found_or_nodata(Lookup lookup) {
  lookup.outcome = lookup.answers.empty() ? Lookup::Outcome::kNoData : Lookup::Outcome::kFound;
  return lookup;
}

Lookup outcome(Lookup::Outcome o) { return {o, {}, {}}; }

bool wants(Record::Type asked, Record::Type type) { return asked == type || asked == Record::Type::kAny; }

}  // namespace

Zone::Zone(const projection::Cache& services, const projection::Cache& slices, std::string domain)
    : services_(services), slices_(slices), domain_(std::move(domain)) {}

void Zone::add_address_index(projection::Cache& services) {
  services.add_index(kByAddress, [](const model::Object& object, std::vector<std::string>& values) {
    const auto* spec = object.as<Service>()->spec();
    if (spec && !str(spec->cluster_ip()).empty()) values.emplace_back(str(spec->cluster_ip()));
  });
}

Lookup Zone::find(std::string_view raw, Record::Type type) const {
  std::string name = lower(raw);
  if (!name.empty() && name.back() == '.') name.pop_back();
  if (name.ends_with(".in-addr.arpa")) return reverse(name, type);
  if (name == domain_) return outcome(Lookup::Outcome::kNoData);
  if (!name.ends_with("." + domain_)) return outcome(Lookup::Outcome::kNotOurs);
  auto labels = split(std::string_view(name).substr(0, name.size() - domain_.size() - 1));
  if (labels.back() == "svc") {
    labels.pop_back();
    return service(name + ".", labels, type);
  }
  if (labels.back() == "pod" && labels.size() == 3) {  // 10-244-1-2.<namespace>.pod
    std::string ip(labels[0]);
    std::replace(ip.begin(), ip.end(), '-', '.');
    Lookup lookup;
    if (wants(type, Record::Type::kA) && split(ip).size() == 4 &&
        ip.find_first_not_of("0123456789.") == std::string::npos) {
      lookup.answers.push_back({Record::Type::kA, name + ".", ip});
    }
    return found_or_nodata(lookup);
  }
  return outcome(Lookup::Outcome::kNoName);
}

Lookup Zone::service(const std::string& name, const std::vector<std::string_view>& labels, Record::Type type) const {
  if (labels.empty()) return outcome(Lookup::Outcome::kNoData);
  if (labels.size() == 1) {  // <namespace>.svc exists when anything is below it
    bool any = false;
    services_.for_each_in(labels[0], [&](const model::Object&) { any = true; });
    return outcome(any ? Lookup::Outcome::kNoData : Lookup::Outcome::kNoName);
  }
  auto ns = labels[labels.size() - 1], svc = labels[labels.size() - 2];
  const auto* object = services_.find(ns, svc);
  if (object == nullptr) return outcome(Lookup::Outcome::kNoName);
  const auto* spec = object->as<Service>()->spec();
  if (!spec) return outcome(Lookup::Outcome::kNoData);
  std::string base = fmt::format("{}.{}.svc.{}.", svc, ns, domain_);
  Lookup lookup;

  if (str(spec->type()) == "ExternalName") {
    if (labels.size() != 2) return outcome(Lookup::Outcome::kNoName);
    lookup.answers.push_back({Record::Type::kCname, name, lower(str(spec->external_name())) + "."});
    return found_or_nodata(lookup);
  }
  std::string cluster_ip(str(spec->cluster_ip()));
  bool headless = cluster_ip == "None";
  std::vector<Host> hosts;
  if (headless) {
    hosts = hosts_of(slices_, fmt::format("{}/{}", ns, svc), spec->publish_not_ready_addresses().value_or(false));
  }

  if (labels.size() == 2) {
    if (wants(type, Record::Type::kA)) {
      if (!headless && !cluster_ip.empty()) lookup.answers.push_back({Record::Type::kA, name, cluster_ip});
      for (const auto& host : hosts) add_unique(lookup.answers, {Record::Type::kA, name, host.ip});
    }
    // A headless Service without endpoints has no name yet: resolvers should not remember an empty answer as its truth.
    if (headless && hosts.empty()) return outcome(Lookup::Outcome::kNoName);
    return found_or_nodata(lookup);
  }
  if (labels.size() == 3) {  // <host>.<service>.<namespace>.svc
    bool known = false;
    for (const auto& host : hosts) {
      if (host.label != labels[0]) continue;
      known = true;
      if (wants(type, Record::Type::kA)) add_unique(lookup.answers, {Record::Type::kA, name, host.ip});
    }
    return known ? found_or_nodata(lookup) : outcome(Lookup::Outcome::kNoName);
  }
  if (labels.size() == 4 && labels[0].starts_with("_") && labels[1].starts_with("_")) {  // _port._protocol.<service>...
    auto port_name = labels[0].substr(1), protocol = labels[1].substr(1);
    bool known = false;
    if (headless) {
      for (const auto& host : hosts) {
        if (host.port_name != port_name || host.protocol != protocol) continue;
        known = true;
        std::string target = host.label + "." + base;
        if (wants(type, Record::Type::kSrv)) {
          add_unique(lookup.answers, {Record::Type::kSrv, name, target, host.port});
          add_unique(lookup.additional, {Record::Type::kA, target, host.ip});
        }
      }
    } else if (spec->ports()) {
      for (const auto* port : *spec->ports()) {
        std::string p = str(port->protocol()).empty() ? "tcp" : lower(str(port->protocol()));
        if (str(port->name()) != port_name || p != protocol) continue;
        known = true;
        if (wants(type, Record::Type::kSrv)) {
          lookup.answers.push_back({Record::Type::kSrv, name, base, static_cast<uint16_t>(port->port().value_or(0))});
          lookup.additional.push_back({Record::Type::kA, base, cluster_ip});
        }
      }
    }
    return known ? found_or_nodata(lookup) : outcome(Lookup::Outcome::kNoName);
  }
  return outcome(Lookup::Outcome::kNoName);
}

Lookup Zone::reverse(const std::string& name, Record::Type type) const {
  auto labels = split(name);
  if (labels.size() != 6) return outcome(Lookup::Outcome::kNotOurs);
  std::string ip = fmt::format("{}.{}.{}.{}", labels[3], labels[2], labels[1], labels[0]);
  Lookup lookup;
  services_.for_each_by(kByAddress, ip, [&](const model::Object& object) {
    if (wants(type, Record::Type::kPtr)) {
      lookup.answers.push_back(
          {Record::Type::kPtr, name + ".", fmt::format("{}.{}.svc.{}.", object.name(), object.ns(), domain_)});
    }
  });
  return lookup.answers.empty() ? outcome(Lookup::Outcome::kNotOurs) : found_or_nodata(lookup);
}

}  // namespace gantry::netproxy
