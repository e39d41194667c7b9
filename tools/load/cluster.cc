#include "tools/load/cluster.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "libs/bus/identity.h"
#include "libs/bus/permissions.h"
#include "libs/state/redis_start.h"
#include "tools/gantry/dev/config.h"
#include "tools/gantry/dev/files.h"
#include "tools/gantry/dev/pki.h"

namespace gantry::load {
namespace {

// Beside the port base.
constexpr int kNats = 0, kHttps = 1, kApigwHealth = 2, kControllersHealth = 3, kSchedulerHealth = 4, kAgentHealth = 5;
constexpr int kMoreGateways = 6;  // two ports for each

constexpr char kHollowCreds[] = "hollow";

double kilobytes(const std::string& status, const std::string& field) {
  const auto at = status.find(field);
  return at == std::string::npos ? 0 : std::strtod(status.c_str() + at + field.size(), nullptr);
}

std::string slurp(const std::string& path) {
  std::ifstream in(path);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

Usage usage_of(const std::string& name, pid_t pid) {
  Usage usage{.name = name};
  const auto status = slurp(fmt::format("/proc/{}/status", pid));
  usage.rss_mb = kilobytes(status, "VmRSS:") / 1024;
  usage.private_mb = kilobytes(status, "RssAnon:") / 1024;
  // Fields after the command's name, which may hold anything: state is the first, user and system time the 12th and
  // 13th.
  const auto stat = slurp(fmt::format("/proc/{}/stat", pid));
  if (const auto end = stat.rfind(')'); end != std::string::npos) {
    std::istringstream fields(stat.substr(end + 1));
    std::string skip;
    for (int i = 0; i < 11; ++i) fields >> skip;
    double user = 0, system = 0;
    fields >> user >> system;
    usage.cpu_seconds = (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  return usage;
}

/// All hollow nodes speak through one connection: an operator's permissions and every node's voice. Only ever given out
/// by a cluster for measuring.
bus::Permissions hollow_permissions() {
  auto permissions = bus::operator_permissions("admin");
  permissions.publish.insert(permissions.publish.end(), {"gantry.node.*.up.>", "gantry.session.*.*.out"});
  permissions.subscribe.insert(permissions.subscribe.end(), {"gantry.node.*.down.>", "gantry.session.*.*.in"});
  permissions.respond = true;
  return permissions;
}

sigset_t ending_signals() {
  sigset_t out;
  sigemptyset(&out);
  sigaddset(&out, SIGTERM);
  sigaddset(&out, SIGINT);
  return out;
}

}  // namespace

Cluster::Cluster(ClusterOptions options) : options_(std::move(options)), paths_{options_.dir} {
  const auto wanted = ending_signals();
  pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  signals_ = std::thread([this] { end_on_signal(); });
}

Cluster::~Cluster() {
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    stop_all();
  }
  pthread_kill(signals_.native_handle(), SIGTERM);
  signals_.join();
}

void Cluster::stop_all() {
  for (auto it = running_.rbegin(); it != running_.rend(); ++it) dev::stop_process(it->process, 5);
}

void Cluster::end_on_signal() {
  const auto wanted = ending_signals();
  int signal = 0;
  sigwait(&wanted, &signal);
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  stop_all();
  std::_Exit(128 + signal);  // the other thread is in the middle of something
}

std::string Cluster::nats_url() const { return fmt::format("tls://127.0.0.1:{}", options_.port_base + kNats); }

client::ConnectOptions Cluster::connect_options() const {
  client::ConnectOptions out;
  out.dir = options_.dir;
  out.nats_url = nats_url();
  out.timeout_seconds = 60;
  return out;
}

Status Cluster::write_files() {
  if (auto done = dev::write_configuration(paths_, {.nodes = options_.nodes}); !done) return done;
  if (auto done = dev::write_kubeconfig(paths_, fmt::format("https://127.0.0.1:{}", https_port()), "kubernetes-admin");
      !done) {
    return done;
  }
  auto authority = bus::Authority::load_or_create(paths_.nats() / "authority", "gantry");
  if (!authority) return authority.error();
  if (auto done = dev::write_file(paths_.creds(kHollowCreds),
                                  authority->user_credentials("admin", hollow_permissions(), ::time(nullptr)), 0600);
      !done) {
    return done;
  }
  return dev::write_file(
      paths_.nats() / "load.conf",
      fmt::format(R"(server_name: load
listen: 127.0.0.1:{port}
max_payload: 8MB
max_pending: 64MB
tls {{ cert_file: "{cert}", key_file: "{key}", ca_file: "{ca}" }}
jetstream {{ store_dir: "{store}" }}
{authority}
)",
                  fmt::arg("port", options_.port_base + kNats), fmt::arg("cert", paths_.pki("nats.crt").string()),
                  fmt::arg("key", paths_.pki("nats.key").string()), fmt::arg("ca", paths_.pki("ca.crt").string()),
                  fmt::arg("store", (paths_.nats() / "jetstream").string()),
                  fmt::arg("authority", authority->server_config())));
}

Status Cluster::start(const std::string& name, std::vector<std::string> command) {
  const std::lock_guard lock(mutex_);  // a signal meanwhile waits until we know the process
  auto process =
      dev::spawn({.command = std::move(command), .environment = {}, .log = paths_.log(name), .network_namespace = ""});
  if (!process) return process.error();
  running_.push_back({name, *process});
  return Done{};
}

Status Cluster::start_service(const std::string& name, const std::string& program, const std::string& identity,
                              const std::string& creds, int port, std::vector<std::string> more) {
  std::vector<std::string> command{options_.binaries + "/gantry-" + program,
                                   "--nats-url",
                                   nats_url(),
                                   "--nats-ca",
                                   paths_.pki("ca.crt"),
                                   "--nats-creds",
                                   creds,
                                   "--identity",
                                   identity,
                                   "--health-listen"};
  command.push_back(fmt::format("127.0.0.1:{}", options_.port_base + port));
  command.insert(command.end(), more.begin(), more.end());
  return start(name, std::move(command));
}

std::string Cluster::gateway_name(int number) { return number == 0 ? "apigw" : fmt::format("apigw-{}", number + 1); }

int Cluster::https_port(int number) const {
  return options_.port_base + (number == 0 ? kHttps : kMoreGateways + 2 * (number - 1));
}

// Endpoints may not name a loopback address, and nobody in a cluster without containers asks this one.
Status Cluster::start_gateway(int number) {
  const int health = number == 0 ? kApigwHealth : https_port(number) + 1 - options_.port_base;
  const auto address = fmt::format("127.0.0.1:{}", https_port(number));
  return start_service(gateway_name(number), "apigw", "apigw", paths_.creds("apigw"), health,
                       {"--redis",
                        "unix:" + paths_.redis_socket().string(),
                        "--redis-user",
                        "apigw",
                        "--redis-password-file",
                        (paths_.redis() / "apigw.password").string(),
                        "--listen",
                        address,
                        "--tls-cert",
                        paths_.pki("apigw.crt"),
                        "--tls-key",
                        paths_.pki("apigw.key"),
                        "--client-ca",
                        paths_.pki("ca.crt"),
                        "--service-account-signing-key-file",
                        paths_.pki("service-accounts.key"),
                        "--service-cidr",
                        dev::kServiceCidr,
                        "--advertise-address",
                        fmt::format("192.0.2.{}:443", number + 1)});
}

Status Cluster::start_control_plane() {
  if (auto done = write_files(); !done) return done;
  if (auto done = start("redis", {"sh", "-c", state::kStartRedis, "redis-start", (paths_.redis() / "data").string(),
                                  (paths_.redis() / "redis.conf").string()});
      !done) {
    return done;
  }
  if (auto done = start("nats", {"nats-server", "-c", (paths_.nats() / "load.conf").string()}); !done) return done;
  for (int i = 0; i < options_.gateways; ++i) {
    if (auto done = start_gateway(i); !done) return done;
  }
  // A /24 for each of 16,384 nodes.
  if (auto done = start_service(
          "controllers", "controllers", "controllers", paths_.creds("controllers"), kControllersHealth,
          {"--cluster-cidr", "100.64.0.0/10", "--node-cidr-mask-size", "24", "--root-ca-file", paths_.pki("ca.crt")});
      !done) {
    return done;
  }
  return start_service("scheduler", "scheduler", "scheduler", paths_.creds("scheduler"), kSchedulerHealth, {});
}

Status Cluster::start_hollow(int nodes, const std::string& capacity) {
  return start_service(
      "nodeagent", "nodeagent", "admin", paths_.creds(kHollowCreds), kAgentHealth,
      {"--hollow", std::to_string(nodes), "--capacity", capacity, "--root", (paths_.root / "hollow").string()});
}

Status Cluster::start_agent(const std::string& node, std::vector<std::string> flags) {
  flags.insert(flags.end(), {"--node", node});
  return start_service("nodeagent", "nodeagent", "node-" + node, paths_.creds("node-" + node), kAgentHealth,
                       std::move(flags));
}

void Cluster::kill9(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(running_.begin(), running_.end(), [&](const auto& one) { return one.name == name; });
  if (found == running_.end()) return;
  kill(found->process.pid, SIGKILL);
  dev::stop_process(found->process, 5);
  running_.erase(found);
}

Status Cluster::check() const {
  for (const auto& [name, process] : running_) {
    if (!dev::alive(process))
      return Error{.code = Code::kUnavailable,
                   .message = fmt::format("{} has ended: see {}", name, paths_.log(name).string())};
  }
  return Done{};
}

pid_t Cluster::pid(const std::string& name) const {
  for (const auto& one : running_) {
    if (one.name == name) return one.process.pid;
  }
  return 0;
}

Usage Cluster::usage(const std::string& name) const { return usage_of(name, pid(name)); }

std::vector<Usage> Cluster::usage() const {
  std::vector<Usage> out;
  for (const auto& [name, process] : running_) out.push_back(usage_of(name, process.pid));
  return out;
}

}  // namespace gantry::load
