#include "services/controllers/podcidr/podcidr.h"

#include <arpa/inet.h>

#include <charconv>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

struct Cidr {
  uint32_t base;
  int prefix;
};

std::optional<Cidr> parse_cidr(std::string_view text) {
  size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  int prefix = -1;
  auto [end, error] = std::from_chars(text.data() + slash + 1, text.data() + text.size(), prefix);
  in_addr address{};
  if (error != std::errc() || end != text.data() + text.size() || prefix < 0 || prefix > 32 ||
      inet_pton(AF_INET, std::string(text.substr(0, slash)).c_str(), &address) != 1) {
    return std::nullopt;
  }
  uint32_t mask = prefix == 0 ? 0 : ~uint32_t{0} << (32 - prefix);
  return Cidr{ntohl(address.s_addr) & mask, prefix};
}

std::string_view cidr_of(const model::Object& node) {
  const auto* spec = node.as<api::core_v1::Node>()->spec();
  return spec == nullptr ? std::string_view() : model::str(spec->pod_cidr());
}

}  // namespace

Result<PodCidrController::Network> PodCidrController::parse(std::string_view cluster_cidr, int node_prefix) {
  auto cidr = parse_cidr(cluster_cidr);
  if (!cidr || cidr->prefix > node_prefix || node_prefix > 30 || node_prefix - cidr->prefix > 16) {
    return Error{
        .code = Code::kBadRequest,
        .message = fmt::format("--cluster-cidr {}: an IPv4 network that can be cut into /{} for nodes is needed",
                               cluster_cidr, node_prefix)};
  }
  return Network{cidr->base, cidr->prefix, node_prefix};
}

std::string PodCidrController::Network::part(size_t i) const {
  in_addr address{htonl(base + (static_cast<uint32_t>(i) << (32 - node_prefix)))};
  char text[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &address, text, sizeof text);
  return fmt::format("{}/{}", text, node_prefix);
}

std::optional<std::pair<size_t, size_t>> PodCidrController::Network::parts_of(std::string_view text) const {
  auto cidr = parse_cidr(text);
  if (!cidr) return std::nullopt;
  uint64_t first = cidr->base, last = first + (uint64_t{1} << (32 - cidr->prefix)) - 1;
  uint64_t from = base, to = from + (uint64_t{1} << (32 - prefix)) - 1;
  if (last < from || first > to) return std::nullopt;
  int shift = 32 - node_prefix;
  return std::pair((std::max(first, from) - from) >> shift, (std::min(last, to) - from) >> shift);
}

void PodCidrController::keys_for(const View&, std::string_view, const projection::Change& change,
                                 std::vector<std::string>& keys) const {
  if (change.after ? cidr_of(change.after).empty() : true) keys.emplace_back("cluster");
}

Decision PodCidrController::decide(const View& view, const std::string&, WallMicros, const Memory&) const {
  Decision decision;
  std::vector<bool> taken(network_.parts());
  std::vector<model::Object> without;
  view.cache("nodes").for_each([&](const model::Object& node) {
    ++decision.weight;
    if (cidr_of(node).empty()) {
      if (!model::is_deleting(node.meta())) without.push_back(node);
    } else if (auto parts = network_.parts_of(cidr_of(node))) {
      for (size_t i = parts->first; i <= parts->second; ++i) taken[i] = true;
    }
  });
  size_t next = 0;
  for (const model::Object& node : without) {
    while (next < taken.size() && taken[next]) ++next;
    if (next == taken.size()) {
      decision.notes.push_back(
          {node, "Warning", "CIDRNotAvailable", "Node was not given a pod network: --cluster-cidr is used up"});
      continue;
    }
    std::string part = network_.part(next++);
    Planned planned{patch(node, fmt::format(R"({{"spec":{{"podCIDR":"{0}","podCIDRs":["{0}"]}}}})", part))};
    planned.command.revision = node.revision();  // nobody else gave it one meanwhile
    decision.commands.push_back(std::move(planned));
  }
  return decision;
}

}  // namespace gantry::controllers
