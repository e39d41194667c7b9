#include "services/controllers/loadbalancer/loadbalancer.h"

#include <arpa/inet.h>

#include <charconv>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using api::core_v1::Service;
using model::str;

std::optional<uint32_t> number(std::string_view address) {
  in_addr raw{};
  if (inet_pton(AF_INET, std::string(address).c_str(), &raw) != 1) return std::nullopt;
  return ntohl(raw.s_addr);
}

/// Ours to serve: another class is somebody else's.
bool balanced(const model::Object& service) {
  const auto* spec = service.as<Service>()->spec();
  return spec != nullptr && str(spec->type()) == "LoadBalancer" && str(spec->load_balancer_class()).empty() &&
         !model::is_deleting(service.meta());
}

std::vector<std::string_view> given(const model::Object& service) {
  std::vector<std::string_view> out;
  const auto* status = service.as<Service>()->status();
  if (status == nullptr || status->load_balancer() == nullptr || status->load_balancer()->ingress() == nullptr)
    return out;
  for (const auto* ingress : *status->load_balancer()->ingress()) out.push_back(str(ingress->ip()));
  return out;
}

}  // namespace

Result<AddressRange> AddressRange::parse(std::string_view cidr) {
  size_t slash = cidr.find('/');
  auto base = number(cidr.substr(0, slash));
  int bits = -1;
  if (slash != std::string_view::npos) std::from_chars(cidr.data() + slash + 1, cidr.data() + cidr.size(), bits);
  if (!base || bits < 16 || bits > 32)
    return Error{.code = Code::kBadRequest,
                 .message = fmt::format("--load-balancer-range {}: an IPv4 network of /16 to /32 is needed", cidr)};
  AddressRange range;
  range.size = uint32_t{1} << (32 - bits);
  range.first = *base & ~(range.size - 1);
  if (range.size > 2) range.first += 1, range.size -= 2;
  return range;
}

std::string AddressRange::at(uint32_t i) const {
  in_addr raw{htonl(first + i)};
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &raw, text, sizeof text);
  return text;
}

std::optional<uint32_t> AddressRange::index(std::string_view address) const {
  auto value = number(address);
  if (!value || *value < first || *value - first >= size) return std::nullopt;
  return *value - first;
}

void LoadBalancerController::keys_for(const View&, std::string_view, const projection::Change& change,
                                      std::vector<std::string>& keys) const {
  auto concerns = [](const model::Object& o) { return o && (balanced(o) || !given(o).empty()); };
  if (range_.size > 0 && (concerns(change.before) || concerns(change.after))) keys.emplace_back("cluster");
}

Decision LoadBalancerController::decide(const View& view, const std::string&, WallMicros, const Memory&) const {
  Decision decision;
  if (range_.size == 0) return decision;
  std::set<uint32_t> taken;
  std::vector<model::Object> without;
  view.cache("services").for_each([&](const model::Object& service) {
    ++decision.weight;
    bool ours = false;
    for (std::string_view ip : given(service)) {
      if (auto i = range_.index(ip)) taken.insert(*i), ours = true;
    }
    if (balanced(service)) {
      if (given(service).empty()) without.push_back(service);
    } else if (ours && str(service.as<Service>()->spec()->type()) != "LoadBalancer") {
      Planned planned{patch(service, R"({"status":{"loadBalancer":{"ingress":null}}})", "status")};
      planned.command.revision = service.revision();
      decision.commands.push_back(std::move(planned));
    }
  });
  uint32_t next = 0;
  for (const model::Object& service : without) {
    auto wish = range_.index(str(service.as<Service>()->spec()->load_balancer_ip()));
    uint32_t chosen = 0;
    if (wish && !taken.contains(*wish)) {
      chosen = *wish;
    } else if (wish || !str(service.as<Service>()->spec()->load_balancer_ip()).empty()) {
      decision.notes.push_back({service, "Warning", "AddressNotAvailable",
                                "spec.loadBalancerIP is in use, or not of the range that addresses are given from"});
      continue;
    } else {
      while (next < range_.size && taken.contains(next)) ++next;
      if (next == range_.size) {
        decision.notes.push_back(
            {service, "Warning", "AddressNotAvailable", "all addresses of --load-balancer-range are in use"});
        continue;
      }
      chosen = next;
    }
    taken.insert(chosen);
    Planned planned{patch(service,
                          fmt::format(R"({{"status":{{"loadBalancer":{{"ingress":[{{"ip":"{}","ipMode":"VIP"}}]}}}}}})",
                                      range_.at(chosen)),
                          "status")};
    planned.command.revision = service.revision();
    decision.commands.push_back(std::move(planned));
  }
  return decision;
}

}  // namespace gantry::controllers
