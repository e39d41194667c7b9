#include "services/nodeagent/node/cni.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "services/nodeagent/volume/setup.h"

namespace gantry::nodeagent {

namespace {

bool have_iptables() {
  for (const char* path : {"/usr/sbin/iptables", "/sbin/iptables", "/usr/bin/iptables"}) {
    if (access(path, X_OK) == 0) return true;
  }
  return false;
}

}  // namespace

std::string render_conflist(const CniOptions& options, const std::string& pod_cidr, bool host_ports) {
  using nlohmann::json;
  json ipam = {{"type", "host-local"},
               {"dataDir", options.data_dir},
               {"ranges", json::array({json::array({{{"subnet", pod_cidr}}})})},
               {"routes", json::array({{{"dst", "0.0.0.0/0"}}})}};
  json plugins = json::array({{{"type", "ptp"}, {"mtu", options.mtu}, {"ipMasq", false}, {"ipam", ipam}}});
  if (host_ports) plugins.push_back({{"type", "portmap"}, {"capabilities", {{"portMappings", true}}}, {"snat", true}});
  return json{{"cniVersion", "0.4.0"}, {"name", "gantry-" + options.node}, {"plugins", plugins}}.dump(2) + "\n";
}

Status write_conflist(const CniOptions& options, const std::string& pod_cidr) {
  auto path = options.conf_dir + "/10-gantry.conflist";
  auto text =
      render_conflist(options, pod_cidr, have_iptables() && access((options.bin_dir + "/portmap").c_str(), X_OK) == 0);
  std::ifstream in(path);
  if (std::string((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>()) == text) return Done{};
  return write_file(path, text);
}

}  // namespace gantry::nodeagent
