#include "tools/gantry/dev/bus_authority.h"

#include <fmt/format.h>

#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/network.h"

namespace gantry::dev {

Status write_bus_authority(const Paths& paths, const Cluster& cluster) {
  return write_file(
      paths.nats() / "server.conf",
      fmt::format(R"(# Made by `gantry dev up`.
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
)",
                  fmt::arg("address", kBridgeAddress), fmt::arg("cert", paths.pki("nats.crt").string()),
                  fmt::arg("key", paths.pki("nats.key").string()), fmt::arg("ca", paths.pki("ca.crt").string()),
                  fmt::arg("store", (paths.nats() / "jetstream").string())),
      0600);
}

}  // namespace gantry::dev
