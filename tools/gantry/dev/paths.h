// Where a dev cluster keeps its files.
#pragma once

#include <filesystem>
#include <string>

namespace gantry::dev {

/// The directory tree of one cluster, usually `.gantry` of the checkout:
///
///   cluster.json            what `gantry dev up` was told
///   kubeconfig              kubectl's way in, as kubernetes-admin
///   pki/                    ca, apigw, nats: <name>.crt <name>.key
///   creds/<identity>.creds  how each service and operator signs in to NATS
///   nats/                   server.conf, the signing authority, JetStream's store
///   redis/                  redis.conf, users.acl, <user>.password, data/
///   log/<component>.log
///   run/                    sockets and pid files; empty when the cluster is down
///   nodes/<node>/           containerd.toml, containerd.sock, root/ (images), state/, runc/, cni/, agent/, csi.sock,
///   csi/ (volumes) bin/                    kubectl and helm (tools/kubectl)
struct Paths {
  std::filesystem::path root;

  std::filesystem::path cluster() const { return root / "cluster.json"; }
  std::filesystem::path kubeconfig() const { return root / "kubeconfig"; }
  std::filesystem::path pki(const std::string& file) const { return root / "pki" / file; }
  std::filesystem::path creds(const std::string& identity) const { return root / "creds" / (identity + ".creds"); }
  std::filesystem::path nats() const { return root / "nats"; }
  std::filesystem::path redis() const { return root / "redis"; }
  std::filesystem::path redis_socket() const { return run() / "redis.sock"; }
  std::filesystem::path log(const std::string& component) const { return root / "log" / (component + ".log"); }
  std::filesystem::path run() const { return root / "run"; }
  std::filesystem::path control_socket() const { return run() / "supervisor.sock"; }
  std::filesystem::path pid(const std::string& component) const { return run() / (component + ".pid"); }
  std::filesystem::path node(const std::string& node) const { return root / "nodes" / node; }
  std::filesystem::path containerd_socket(const std::string& name) const { return node(name) / "containerd.sock"; }
};

}  // namespace gantry::dev
