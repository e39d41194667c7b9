#include "tools/gantry/dev/config.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "tools/gantry/dev/bus_authority.h"
#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/network.h"
#include "tools/gantry/dev/pki.h"

namespace gantry::dev {
namespace {

Result<std::string> password(const Paths& paths, const std::string& user) {
  const auto file = paths.redis() / (user + ".password");
  if (auto old = read_file(file); old && !old->empty()) return *old;
  const std::string made = new_uid() + new_uid();
  if (auto written = write_file(file, made, 0600); !written) return written.error();
  return made;
}

Status write_redis(const Paths& paths) {
  auto apigw = password(paths, "apigw");
  auto admin = password(paths, "admin");
  if (!apigw) return apigw.error();
  if (!admin) return admin.error();
  // apigw may do what commits and reads need; nobody may empty, reconfigure or stop the server but an operator. The
  // default user is off, so nobody can be it, but it must be allowed everything: Redis 7.0 loads the append-only file
  // in its name, checks each EXEC against its rules, and drops what they forbid.
  const std::string users = fmt::format(
      "user default off ~* &* +@all\n"
      "user apigw on >{} ~* &* +@all -@admin -@dangerous +info +role +wait\n"
      "user admin on >{} ~* &* +@all\n",
      *apigw, *admin);
  if (auto written = write_file(paths.redis() / "users.acl", users, 0600); !written) return written;
  std::error_code error;
  std::filesystem::create_directories(paths.redis() / "data", error);
  return write_file(paths.redis() / "redis.conf",
                    fmt::format(R"(# Made by `gantry dev up`.
port 0
unixsocket {}
unixsocketperm 700
dir {}
aclfile {}
# A commit is acknowledged only when it is on the disk.
appendonly yes
appendfsync always
# Repaired by redis-start before each start instead.
aof-load-truncated no
aof-use-rdb-preamble yes
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 256mb
# Rewriting shares the processors with everything else: disk is cheaper.
rdbcompression no
save ""
# Objects must never be evicted.
maxmemory-policy noeviction
databases 1
daemonize no
logfile ""
)",
                                paths.redis_socket().string(), (paths.redis() / "data").string(),
                                (paths.redis() / "users.acl").string()));
}

Status write_containerd(const Paths& paths, const std::string& node) {
  const auto dir = paths.node(node);
  std::error_code error;
  for (const char* folder : {"cni/net.d", "runc", "agent", "certs.d", "manifests"})
    std::filesystem::create_directories(dir / folder, error);
  return write_file(dir / "containerd.toml", fmt::format(R"(# Made by `gantry dev up`.
version = 2
root = "{dir}/root"
state = "{dir}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing"
]

[grpc]
  address = "{dir}/containerd.sock"

[cgroup]
  path = "/gantry/{node}/system"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "gantry.local/pause:1"
  # Several nodes share one machine: pods' namespaces lie under this node's state, and no stream server's port clashes.
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  # Without CAP_SYS_RESOURCE a process cannot lower its own score.
  restrict_oom_score_adj = true
  max_container_log_line_size = 16384
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{dir}/cni/net.d"
    max_conf_num = 1
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{dir}/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{dir}/runc"
        SystemdCgroup = false
)",
                                                         fmt::arg("dir", dir.string()), fmt::arg("node", node)));
}

Status write_certificates(const Paths& paths) {
  if (auto made = ensure_authority(paths); !made) return made;
  if (auto made = ensure_signing_key(paths); !made) return made;
  const std::vector<CertificateRequest> requests = {
      {.file = "apigw",
       .common_name = "gantry-apigw",
       .organizations = {},
       .names = {"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
                 "localhost", "127.0.0.1", kBridgeAddress, kKubernetesAddress}},
      {.file = "nats",
       .common_name = "gantry-nats",
       .organizations = {},
       .names = {"localhost", "127.0.0.1", kBridgeAddress}},
      {.file = "kubernetes-admin", .common_name = "kubernetes-admin", .organizations = {"system:masters"}, .names = {}},
  };
  for (const auto& request : requests) {
    if (auto made = ensure_certificate(paths, request); !made) return made;
  }
  return write_kubeconfig(paths, "https://127.0.0.1:6443", "kubernetes-admin");
}

}  // namespace

Status save_cluster(const Paths& paths, const Cluster& cluster) {
  const nlohmann::json json = {{"nodes", cluster.nodes},
                               {"capacity", cluster.capacity},
                               {"binaries", cluster.binaries},
                               {"images", cluster.images}};
  return write_file(paths.cluster(), json.dump(2) + "\n");
}

Result<Cluster> load_cluster(const Paths& paths) {
  auto text = read_file(paths.cluster());
  if (!text) return text.error();
  const auto json = nlohmann::json::parse(*text, nullptr, false);
  if (!json.is_object()) return Error{.code = Code::kInternal, .message = paths.cluster().string() + " is not JSON"};
  Cluster cluster;
  cluster.nodes = json.value("nodes", cluster.nodes);
  cluster.capacity = json.value("capacity", cluster.capacity);
  cluster.binaries = json.value("binaries", cluster.binaries);
  cluster.images = json.value("images", cluster.images);
  return cluster;
}

Status write_configuration(const Paths& paths, const Cluster& cluster) {
  std::error_code error;
  for (const char* folder : {"log", "run", "creds", "nodes"})
    std::filesystem::create_directories(paths.root / folder, error);
  std::filesystem::permissions(paths.root, std::filesystem::perms::owner_all, error);
  if (auto done = write_certificates(paths); !done) return done;
  if (auto done = write_bus_authority(paths, cluster); !done) return done;
  if (auto done = write_redis(paths); !done) return done;
  for (int i = 1; i <= cluster.nodes; ++i) {
    if (auto done = write_containerd(paths, node_name(i)); !done) return done;
  }
  return Done{};
}

}  // namespace gantry::dev
