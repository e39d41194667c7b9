#include "tools/gantry/dev/bus_authority.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "libs/bus/identity.h"
#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/network.h"

namespace gantry::dev {
namespace {

std::string server_config(const Paths& paths, const bus::Authority& authority) {
  return fmt::format(
      R"(# Made by `gantry dev up`.
server_name: gantry
listen: {address}:4222
http: 127.0.0.1:8222
max_payload: 8MB
max_pending: 64MB
tls {{
  cert_file: "{cert}"
  key_file: "{key}"
  ca_file: "{ca}"
}}
jetstream {{
  store_dir: "{store}"
}}
{authority}
)",
      fmt::arg("address", kBridgeAddress), fmt::arg("cert", paths.pki("nats.crt").string()),
      fmt::arg("key", paths.pki("nats.key").string()), fmt::arg("ca", paths.pki("ca.crt").string()),
      fmt::arg("store", (paths.nats() / "jetstream").string()), fmt::arg("authority", authority.server_config()));
}

/// Issues credentials when there are none or the identity's permissions have changed: new ones restart their owner.
Status ensure_credentials(const Paths& paths, const bus::Authority& authority, const std::string& identity) {
  const auto permissions = bus::permissions_for(identity);
  const std::string summary = fmt::format(
      "account {}\npublish {}\nbut {}\nsubscribe {}\nbut {}\nrespond {}\n", authority.account().public_key(),
      fmt::join(permissions.publish, " "), fmt::join(permissions.publish_deny, " "),
      fmt::join(permissions.subscribe, " "), fmt::join(permissions.subscribe_deny, " "), permissions.respond);
  const auto file = paths.creds(identity), summary_file = paths.root / "creds" / (identity + ".permissions");
  if (auto old = read_file(summary_file); old && *old == summary && std::filesystem::exists(file)) return Done{};
  const std::string credentials = authority.user_credentials(identity, permissions, ::time(nullptr));
  if (auto written = write_file(file, credentials, 0600); !written) return written;
  return write_file(summary_file, summary, 0600);
}

}  // namespace

Status write_bus_authority(const Paths& paths, const Cluster& cluster) {
  auto authority = bus::Authority::load_or_create(paths.nats() / "authority", "gantry");
  if (!authority) return authority.error();
  if (auto written = write_file(paths.nats() / "server.conf", server_config(paths, *authority), 0600); !written) {
    return written;
  }
  std::vector<std::string> identities = {"apigw", "controllers", "scheduler", "hollow", "admin"};
  for (int i = 1; i <= cluster.nodes; ++i) {
    identities.push_back("node-" + node_name(i));
    identities.push_back("netproxy-" + node_name(i));
  }
  for (const auto& identity : identities) {
    if (auto done = ensure_credentials(paths, *authority, identity); !done) return done;
  }
  return Done{};
}

}  // namespace gantry::dev
