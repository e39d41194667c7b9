#include <arpa/inet.h>
#include <glog/logging.h>

extern "C" {
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
}

#include <set>

#include "services/netproxy/rules/nft.h"

namespace gantry::netproxy {
namespace {

using Address = std::pair<uint32_t, uint16_t>;  // network order

struct Stale {
  std::set<Address> gone;        // backends that UDP frontends no longer have
  std::set<Address> unanswered;  // frontends that had no backend and now have one: entries that were never translated
  std::vector<nf_conntrack*> found;
};

uint32_t to_address(const std::string& ip) {
  in_addr a{};
  inet_pton(AF_INET, ip.c_str(), &a);
  return a.s_addr;
}

Stale find_stale(const std::vector<Frontend>& before, const std::vector<Frontend>& after) {
  Stale stale;
  std::set<Address> still;
  std::set<std::pair<std::string, uint16_t>> had;
  for (const auto& f : after) {
    if (f.protocol != "udp") continue;
    for (const auto* list : {&f.backends, &f.local_backends}) {
      for (const auto& b : *list) still.emplace(to_address(b.ip), htons(b.port));
    }
  }
  for (const auto& f : before) {
    if (f.protocol != "udp") continue;
    for (const auto* list : {&f.backends, &f.local_backends}) {
      for (const auto& b : *list) {
        Address address(to_address(b.ip), htons(b.port));
        if (!still.contains(address)) stale.gone.insert(address);
      }
    }
    if (!f.backends.empty()) had.emplace(f.name, f.port);
  }
  for (const auto& f : after) {
    if (f.protocol != "udp" || f.backends.empty() || had.contains({f.name, f.port})) continue;
    for (const auto* list : {&f.ips, &f.external_ips, &f.balancer_ips}) {
      for (const auto& ip : *list) stale.unanswered.emplace(to_address(ip), htons(f.port));
    }
  }
  return stale;
}

int collect(nf_conntrack_msg_type, nf_conntrack* ct, void* data) {
  auto* stale = static_cast<Stale*>(data);
  if (nfct_get_attr_u8(ct, ATTR_L4PROTO) != IPPROTO_UDP) return NFCT_CB_CONTINUE;
  Address to(nfct_get_attr_u32(ct, ATTR_ORIG_IPV4_DST), nfct_get_attr_u16(ct, ATTR_ORIG_PORT_DST));
  Address from(nfct_get_attr_u32(ct, ATTR_REPL_IPV4_SRC), nfct_get_attr_u16(ct, ATTR_REPL_PORT_SRC));
  bool translated = to != from;
  if ((translated && stale->gone.contains(from)) || (!translated && stale->unanswered.contains(to))) {
    stale->found.push_back(nfct_clone(ct));
  }
  return NFCT_CB_CONTINUE;
}

}  // namespace

size_t purge_stale_udp(const std::vector<Frontend>& before, const std::vector<Frontend>& after) {
  auto stale = find_stale(before, after);
  if (stale.gone.empty() && stale.unanswered.empty()) return 0;
  nfct_handle* handle = nfct_open(CONNTRACK, 0);
  if (handle == nullptr) {
    PLOG(WARNING) << "conntrack is not available; stale UDP entries stay until they expire";
    return 0;
  }
  nfct_callback_register(handle, NFCT_T_ALL, collect, &stale);
  uint32_t family = AF_INET;
  nfct_query(handle, NFCT_Q_DUMP, &family);
  nfct_callback_unregister(handle);
  size_t removed = 0;
  for (auto* ct : stale.found) {
    if (nfct_query(handle, NFCT_Q_DESTROY, ct) == 0) ++removed;
    nfct_destroy(ct);
  }
  nfct_close(handle);
  return removed;
}

}  // namespace gantry::netproxy
