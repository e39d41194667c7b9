#include "services/nodeagent/node/usage_reporter.h"

#include <fmt/format.h>
#include <glog/logging.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "libs/base/ids.h"
#include "schemas/node_generated.h"

namespace gantry::nodeagent {

namespace {

constexpr WallMicros kReadLately = 120'000'000;

std::string read_file(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

flatbuffers::Offset<node::Usage> pack(flatbuffers::FlatBufferBuilder& b, const Runtime::ContainerUsage& usage) {
  return node::CreateUsage(b, usage.cpu_nanos, usage.memory_working_set, usage.fs_used);
}

}  // namespace

NodeUsage parse_usage(const std::string& stat, const std::string& meminfo, int64_t ticks) {
  NodeUsage out;
  std::istringstream first(stat);
  std::string word;
  first >> word;
  // user nice system idle iowait irq softirq steal; what follows (guest) is in user already.
  uint64_t busy = 0;
  for (int i = 0; i < 8; ++i) {
    uint64_t value = 0;
    if (!(first >> value)) break;
    if (i != 3 && i != 4) busy += value;
  }
  if (ticks > 0) out.cpu_nanos = busy * (1'000'000'000 / static_cast<uint64_t>(ticks));
  uint64_t total = 0, available = 0, kibibytes = 0;
  std::istringstream lines(meminfo);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    if (!(words >> word >> kibibytes)) continue;
    if (word == "MemTotal:") total = kibibytes;
    if (word == "MemAvailable:") available = kibibytes;
  }
  if (total > available) out.memory_working_set = (total - available) * 1024;
  return out;
}

NodeUsage machine_usage() {
  return parse_usage(read_file("/proc/stat"), read_file("/proc/meminfo"), sysconf(_SC_CLK_TCK));
}

UsageReporter::UsageReporter(Loop& loop, bus::Bus& bus, Runtime& runtime, std::string node, Duration period,
                             std::function<NodeUsage()> machine)
    : loop_(loop), bus_(bus), runtime_(runtime), node_(std::move(node)), machine_(std::move(machine)) {
  timer_ = loop_.every(period, [this] { ask(); });
}

void UsageReporter::ask() {
  // A runtime that hangs is asked no more than once.
  if (std::exchange(asking_, true)) return;
  runtime_.usage([this, weak = std::weak_ptr(alive_)](Result<std::vector<Runtime::ContainerUsage>> containers) {
    if (weak.expired()) return;
    asking_ = false;
    if (!containers.ok()) {
      LOG(WARNING) << "node=" << node_ << " usage: " << containers.error().message;
      return;
    }
    containers_ = *containers;
    publish(*containers);
    if (loop_.wall() - read_at_ < kReadLately) ask_pods();
  });
}

void UsageReporter::ask_pods() {
  runtime_.pod_usage([this, weak = std::weak_ptr(alive_)](Result<std::vector<Runtime::PodUsage>> pods) {
    if (!weak.expired() && pods.ok()) pods_ = std::move(*pods);
  });
}

std::string UsageReporter::expose() {
  if (loop_.wall() - std::exchange(read_at_, loop_.wall()) >= kReadLately) ask_pods();
  return expose_usage(total_, containers_, pods_);
}

NodeUsage UsageReporter::of_containers(const std::vector<Runtime::ContainerUsage>& containers) {
  NodeUsage out;
  std::map<std::string, uint64_t> now;
  for (const auto& container : containers) {
    const auto before = seen_.find(container.container_id);
    const uint64_t counted = before == seen_.end() ? 0 : before->second;
    if (container.cpu_nanos > counted) spent_ += container.cpu_nanos - counted;
    now[container.container_id] = std::max(counted, container.cpu_nanos);
    out.memory_working_set += container.memory_working_set;
  }
  seen_ = std::move(now);
  out.cpu_nanos = spent_;
  return out;
}

void UsageReporter::publish(const std::vector<Runtime::ContainerUsage>& containers) {
  std::map<std::string_view, std::vector<const Runtime::ContainerUsage*>> pods;  // by uid
  for (const auto& container : containers) pods[container.pod_uid].push_back(&container);
  const auto total = total_ = machine_ ? machine_() : of_containers(containers);
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<node::PodStats>> packed;
  for (const auto& [uid, members] : pods) {
    std::vector<flatbuffers::Offset<node::ContainerStats>> list;
    list.reserve(members.size());
    for (const auto* member : members)
      list.push_back(node::CreateContainerStats(b, b.CreateString(member->name), pack(b, *member)));
    packed.push_back(node::CreatePodStats(b, b.CreateString(members.front()->ns),
                                          b.CreateString(members.front()->pod_name), b.CreateString(uid),
                                          b.CreateVector(list)));
  }
  b.Finish(node::CreateStats(b, b.CreateString(node_), loop_.wall(),
                             node::CreateUsage(b, total.cpu_nanos, total.memory_working_set, 0),
                             b.CreateVector(packed)));
  auto sent = bus_.publish(fmt::format("gantry.node.{}.up.stats", encode_token(node_)),
                           {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()});
  if (!sent.ok()) LOG(WARNING) << "node=" << node_ << " stats: " << sent.error().message;
}

}  // namespace gantry::nodeagent
