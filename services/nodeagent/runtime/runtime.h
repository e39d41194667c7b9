// What the agent asks of a container runtime. Implementations: CriRuntime (containerd, cri/), HollowRuntime (no
// containers: benchmarks and simulation), testing::FakeRuntime. Everything that matters survives in the runtime itself
// (labels, attempts), so that a restarted agent relearns it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"

namespace gantry::nodeagent {

/// Labels that say whose a sandbox or container is, as every Kubernetes runtime client writes them.
inline constexpr char kPodNameLabel[] = "io.kubernetes.pod.name";
inline constexpr char kPodNamespaceLabel[] = "io.kubernetes.pod.namespace";
inline constexpr char kPodUidLabel[] = "io.kubernetes.pod.uid";
inline constexpr char kContainerNameLabel[] = "io.kubernetes.container.name";
/// Annotations.
inline constexpr char kTerminationPathAnnotation[] = "io.kubernetes.container.terminationMessagePath";  // on the host
inline constexpr char kTerminationPolicyAnnotation[] = "io.kubernetes.container.terminationMessagePolicy";
/// SIGUSR1 and so on: what asks the container to end, where its pod says.
inline constexpr char kStopSignalAnnotation[] = "io.kubernetes.container.stopSignal";
inline constexpr char kGracePeriodAnnotation[] = "io.kubernetes.pod.terminationGracePeriod";  // seconds, for orphans

using StringMap = std::map<std::string, std::string>;

enum class Seccomp : uint8_t { kDefault, kUnconfined, kLocalhost };
struct SeccompProfile {
  Seccomp type = Seccomp::kUnconfined;
  std::string localhost;  // path on the host
  bool operator==(const SeccompProfile&) const = default;
};

struct SeLinux {
  std::string user, role, type, level;
  bool operator==(const SeLinux&) const = default;
  bool empty() const { return user.empty() && role.empty() && type.empty() && level.empty(); }
};

/// Zero is "not said", as in CRI.
struct Resources {
  int64_t cpu_shares = 0, cpu_quota = 0, cpu_period = 0, memory_limit = 0, oom_score_adj = 0;
  std::map<std::string, int64_t> hugepages;  // 2MB -> bytes
  StringMap unified;                         // cgroup v2 files
  bool operator==(const Resources&) const = default;
};

/// Who an image's process is to be for a registry.
struct RegistryAuth {
  std::string username, password, server, identity_token, registry_token;
};

/// An image that the runtime has.
struct Image {
  std::string id;
  std::vector<std::string> tags, digests;
  uint64_t size = 0;           // bytes on disk
  std::optional<int64_t> uid;  // of its USER, when that is a number or nobody said (0)
  std::string username;        // when it is a name
  bool pinned = false;         // never to be removed
};

/// One mount(2).
struct FsMount {
  std::string type, source;
  std::vector<std::string> options;
};

struct FsUsage {
  std::string mountpoint;
  uint64_t used_bytes = 0, used_inodes = 0;
};

struct PortMapping {
  std::string protocol;  // TCP, UDP, SCTP
  int container_port = 0, host_port = 0;
  std::string host_ip;
};

struct SandboxConfig {
  std::string name, ns, uid;
  uint32_t attempt = 0;
  std::string hostname, log_directory, cgroup_parent, runtime_handler;
  std::vector<std::string> dns_servers, dns_searches, dns_options;
  std::vector<PortMapping> ports;
  StringMap labels, annotations, sysctls;
  bool host_network = false, host_pid = false, host_ipc = false, share_pid = false, privileged = false;
  std::optional<int64_t> run_as_user, run_as_group;
  std::vector<int64_t> supplemental_groups;
  bool strict_groups = false;  // only those that are listed, not those of the image
  bool host_users = true;      // false: a user namespace of its own
  SeccompProfile seccomp;
  SeLinux selinux;
  Resources overhead, resources;  // of the whole pod
};

enum class Propagation : uint8_t { kPrivate, kHostToContainer, kBidirectional };
struct Mount {
  std::string container_path, host_path;
  bool readonly = false;
  Propagation propagation = Propagation::kPrivate;
  std::string volume = {};  // of the pod, when it is one
  /// Not empty: what is mounted is host_path/sub_path, bound there first (volume/sub_path.h).
  std::string staged_path = {}, sub_path = {};
  bool recursive_readonly = false;
};
struct Device {
  std::string container_path, host_path;
  bool readonly = false;
};

struct ContainerConfig {
  std::string name;
  uint32_t attempt = 0;
  std::string image;  // reference or id
  std::vector<std::string> command, args;
  std::string working_dir;
  std::vector<std::pair<std::string, std::string>> env;
  std::vector<Mount> mounts;
  std::vector<Device> devices;
  StringMap labels, annotations;
  std::string log_path;  // relative to the sandbox's log_directory
  bool in = false, stdin_once = false, tty = false;
  Resources resources;
  bool privileged = false, readonly_rootfs = false, no_new_privs = false, unmasked_proc = false;
  std::vector<std::string> add_capabilities, drop_capabilities;
  std::optional<int64_t> run_as_user, run_as_group;
  std::string run_as_username;  // the image's, when no number is given
  std::vector<int64_t> supplemental_groups;
  bool strict_groups = false;
  SeccompProfile seccomp;
  std::string pid_target;  // id of the container whose processes it sees; "": as the sandbox says
  std::string apparmor;    // runtime/default, localhost/<profile>, unconfined; empty: not said
  SeLinux selinux;
};

struct Sandbox {
  std::string id, name, ns, uid;
  uint32_t attempt = 0;
  bool ready = false;
  int64_t created_at = 0;  // unix nanoseconds, as all times of the runtime
  StringMap labels, annotations;
  std::vector<std::string> ips;  // empty with host network
};

struct ContainerUser {
  int64_t uid = 0, gid = 0;
  std::vector<int64_t> groups;
  bool operator==(const ContainerUser&) const = default;
};

enum class ContainerState : uint8_t { kCreated, kRunning, kExited, kUnknown };
struct Container {
  std::string id, sandbox_id, name;
  uint32_t attempt = 0;
  ContainerState state = ContainerState::kUnknown;
  int64_t created_at = 0, started_at = 0, finished_at = 0;
  int exit_code = 0;
  std::string reason, message;
  std::string image, image_ref;  // as asked for; as resolved
  std::string log_path;          // absolute
  StringMap labels, annotations;
  std::optional<ContainerUser> user;  // whom its process runs as, where the runtime tells it
};

/// What the runtime has of one pod, newest attempt first.
struct RuntimePod {
  std::string uid, ns, name;
  std::vector<Sandbox> sandboxes;
  std::vector<Container> containers;
};

struct RuntimeStatus {
  bool ready = false;
  std::string reason;         // why not
  std::string name, version;  // containerd, 1.6.20
  struct Handler {
    std::string name;
    bool user_namespaces = false, recursive_read_only = false;
    bool operator==(const Handler&) const = default;
  };
  std::vector<Handler> handlers;  // a runtime that is too old tells none
  bool supplemental_groups_policy = false;
};

/// A process started in a running container. Loop's thread only. Destroying it lets go: the process is killed if it
/// still runs.
class Process {
 public:
  virtual ~Process() = default;
  struct Callbacks {
    std::function<void(bool is_stderr, std::string_view data)> output;
    std::function<void(bool is_stderr)> output_end;
    /// Last: after all output. The error when the outcome cannot be known.
    std::function<void(Result<int> exit_code)> exited;
    /// What write() queued has gone down to a low mark.
    std::function<void()> drained;
  };
  /// False when the caller should wait for drained().
  virtual bool write(std::string_view data) = 0;
  virtual void close_stdin() = 0;
  virtual void resize(uint16_t columns, uint16_t rows) = 0;
  /// Stops or goes on reading output: how back-pressure reaches the process.
  virtual void read(bool on) = 0;
};

struct ExecOptions {
  std::vector<std::string> command;
  bool in = false, out = true, err = true, tty = false;
};

/// All calls on the loop's thread; each `done` comes once, on the loop's thread, never inside the call, and not after
/// the Runtime is destroyed. Stopping and removing what is not there succeeds.
class Runtime {
 public:
  virtual ~Runtime() = default;
  template <typename T>
  using Done = std::function<void(Result<T>)>;

  /// What the runtime tells unasked. Every callback on the loop's thread.
  struct Events {
    /// A container or sandbox of this pod changed (or may have): observe it. Empty uid: find it by container id
    /// yourself (relist).
    std::function<void(const std::string& pod_uid)> changed;
    /// The stream of changes starts (again): whatever happened before was not told. List now.
    std::function<void()> connected;
    std::function<void(const std::string& why)> disconnected;
    /// A container ran out of memory.
    std::function<void(const std::string& container_id)> oom;
  };
  /// Call once, before anything else.
  virtual void start(Events events) = 0;

  virtual void status(Done<RuntimeStatus> done) = 0;
  virtual void list(Done<std::vector<RuntimePod>> done) = 0;
  /// One pod; empty vectors when the runtime has nothing of it.
  virtual void observe(const std::string& pod_uid, Done<RuntimePod> done) = 0;

  virtual void run_sandbox(const SandboxConfig& config, Done<std::string> done) = 0;
  virtual void stop_sandbox(const std::string& id, Done<gantry::Done> done) = 0;
  virtual void remove_sandbox(const std::string& id, Done<gantry::Done> done) = 0;

  /// By reference or id; nothing when it is not there.
  virtual void find_image(const std::string& image, Done<std::optional<Image>> done) = 0;
  /// The pulled image's id. `auth` may be null: anonymous.
  virtual void pull_image(const std::string& image, const SandboxConfig& sandbox, const RegistryAuth* auth,
                          Done<std::string> done) = 0;
  virtual void list_images(Done<std::vector<Image>> done) = 0;
  virtual void remove_image(const std::string& id, Done<gantry::Done> done) = 0;
  /// Holds on to the files of an image (by id) under `key` until it is released, and tells what to mount, read-only, to
  /// have them. The same key again: the same files.
  virtual void hold_image(const std::string& key, const std::string& image, Done<std::vector<FsMount>> done) = 0;
  virtual void release_image(const std::string& key, Done<gantry::Done> done) = 0;
  /// Where images and containers' layers lie.
  virtual void image_filesystem(Done<FsUsage> done) = 0;

  virtual void create_container(const std::string& sandbox_id, const SandboxConfig& sandbox,
                                const ContainerConfig& config, Done<std::string> done) = 0;
  virtual void start_container(const std::string& id, Done<gantry::Done> done) = 0;
  /// `signal` (SIGTERM, SIGRTMIN+3, ...; empty: what the image says), then SIGKILL after `grace`; done when it has
  /// ended.
  virtual void stop_container(const std::string& id, Duration grace, const std::string& signal,
                              Done<gantry::Done> done) = 0;
  virtual void remove_container(const std::string& id, Done<gantry::Done> done) = 0;
  /// New limits for a container that runs.
  virtual void update_container(const std::string& id, const Resources& resources, Done<gantry::Done> done) = 0;
  virtual void reopen_log(const std::string& id, Done<gantry::Done> done) = 0;

  virtual void exec(const std::string& container_id, const ExecOptions& options, Process::Callbacks callbacks,
                    Done<std::unique_ptr<Process>> done) = 0;
  /// Joins the container's own process: its output from now on, and its stdin if it has one (options.command is not
  /// read). exited() comes when the container has ended or the runtime lets go; letting go of the Process detaches.
  virtual void attach(const std::string& container_id, const ExecOptions& options, Process::Callbacks callbacks,
                      Done<std::unique_ptr<Process>> done) = 0;
  struct ExecResult {
    int exit_code = 0;
    std::string output;  // stdout, then stderr, cut at 10 KiB
  };
  /// For probes and hooks. kTimeout when it did not end in time.
  virtual void exec_sync(const std::string& container_id, const std::vector<std::string>& command, Duration timeout,
                         Done<ExecResult> done) = 0;
  /// A TCP connection to `port` on the pod's own loopback: a connected, non-blocking socket that the caller owns.
  virtual void connect_port(const std::string& sandbox_id, uint16_t port, Done<int> done) = 0;

  struct ContainerUsage {
    std::string container_id, pod_uid, ns, pod_name, name;
    uint64_t cpu_nanos = 0, memory_working_set = 0, fs_used = 0;  // since its start; bytes; bytes that it wrote
    uint64_t memory_usage = 0, memory_rss = 0, fs_inodes = 0;
  };
  /// Of the containers that run.
  virtual void usage(Done<std::vector<ContainerUsage>> done) = 0;
  struct PodUsage {
    struct Interface {
      std::string name;
      uint64_t rx_bytes = 0, rx_errors = 0, tx_bytes = 0, tx_errors = 0;
    };
    std::string uid, ns, name;
    std::vector<Interface> interfaces;  // none with host network
    uint64_t processes = 0;
  };
  /// Of the pods that run.
  virtual void pod_usage(Done<std::vector<PodUsage>> done) = 0;
};

}  // namespace gantry::nodeagent
