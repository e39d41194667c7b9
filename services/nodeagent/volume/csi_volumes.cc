#include "services/nodeagent/volume/csi_volumes.h"

#include <fmt/format.h>
#include <glog/logging.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "libs/model/quantity.h"
#include "services/nodeagent/volume/csi_record.h"
#include "services/nodeagent/volume/mounts.h"
#include "services/nodeagent/volume/ownership.h"

namespace gantry::nodeagent {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr Duration kDeadline = std::chrono::minutes(2);

const char* access_mode(const std::string& mode, bool single_writer) {
  if (mode == "ReadWriteMany") return "MULTI_NODE_MULTI_WRITER";
  if (mode == "ReadOnlyMany") return "MULTI_NODE_READER_ONLY";
  if (mode == "ReadWriteOncePod") return single_writer ? "SINGLE_NODE_SINGLE_WRITER" : "SINGLE_NODE_WRITER";
  return single_writer ? "SINGLE_NODE_MULTI_WRITER" : "SINGLE_NODE_WRITER";
}

}  // namespace

struct CsiVolumes::Record : CsiRecord {
  std::string file;
};

struct CsiVolumes::Mounting {
  std::string pod_uid;
  VolumePlan plan;
  CsiRecord record;
  CsiDriver driver;
  Done done;

  void fail(const char* what, const Error& error) const {
    done(Error{error.code, fmt::format("{} failed for volume \"{}\" : {}", what, plan.spec_name, error.message)});
  }
  json capability() const {
    json out{{"access_mode", {{"mode", access_mode(plan.csi.access_mode, driver.single_writer)}}}};
    if (plan.block) {
      out["block"] = json::object();
      return out;
    }
    out["mount"] = {{"fs_type", plan.csi.fs_type}, {"mount_flags", plan.csi.mount_options}};
    if (driver.mounts_group && plan.fs_group) out["mount"]["volume_mount_group"] = std::to_string(*plan.fs_group);
    return out;
  }
  /// What every call about it has in common.
  json request() const {
    json out{{"volume_id", plan.csi.handle}};
    if (!record.staging.empty()) out["staging_target_path"] = record.staging;
    return out;
  }
};

void CsiVolumes::queue(const std::string& key, Step step, Done done) {
  auto& waiting = queues_[key];
  waiting.push_back([this, key, step = std::move(step), done = std::move(done)] {
    step(guard([this, key, done](const Status& s) {
      done(s);
      next(key);
    }));
  });
  if (waiting.size() == 1) loop_.post(guard([first = waiting.front()] { first(); }));
}

void CsiVolumes::next(const std::string& key) {
  auto found = queues_.find(key);
  found->second.pop_front();
  if (found->second.empty()) {
    queues_.erase(found);
    return;
  }
  loop_.post(guard([first = found->second.front()] { first(); }));
}

void CsiVolumes::mount(const std::string& pod_uid, const VolumePlan& plan, Done done) {
  auto m = std::make_shared<Mounting>();
  m->pod_uid = pod_uid;
  m->plan = plan;
  m->record = {plan.csi.driver, plan.csi.handle, plan.path, ""};
  queue(
      m->record.key(),
      [this, m](Done finish) {
        m->done = std::move(finish);
        const auto* driver = drivers_.find(m->plan.csi.driver);
        if (driver == nullptr) {
          return m->fail("MountVolume.SetUp",
                         {Code::kInternal, fmt::format("driver name {} not found in the list of registered CSI drivers",
                                                       m->plan.csi.driver)});
        }
        m->driver = *driver;
        const auto directory = staging_directory(paths_, m->record.driver, m->record.handle);
        if (driver->stages && !m->plan.csi.ephemeral) m->record.staging = directory + "/mount";
        auto outcome = std::make_shared<Status>(gantry::Done{});
        off_loop_(
            [m, outcome, directory, file = paths_.csi_records(m->pod_uid) + "/" + m->plan.name + ".json"] {
              if (!m->record.staging.empty()) {
                *outcome = write_record(directory + "/volume.json",
                                        {m->record.driver, m->record.handle, "", m->record.staging});
                std::error_code ignored;
                fs::create_directories(m->record.staging, ignored);
              }
              if (outcome->ok()) *outcome = write_record(file, m->record);
              std::error_code ignored;
              fs::create_directories(fs::path(m->record.target).parent_path(), ignored);
            },
            guard([this, m, outcome] {
              if (!outcome->ok()) return m->fail("MountVolume.SetUp", outcome->error());
              m->record.staging.empty() ? publish(m) : stage(m);
            }));
      },
      std::move(done));
}

void CsiVolumes::stage(std::shared_ptr<Mounting> m) {
  json request = m->request();
  request["volume_capability"] = m->capability();
  request["volume_context"] = m->plan.csi.attributes;
  drivers_.call(m->plan.csi.driver, "csi.v1.Node/NodeStageVolume", request.dump(), kDeadline,
                guard([this, m](const Result<std::string>& r) {
                  if (!r.ok()) return m->fail("MountVolume.MountDevice", r.error());
                  publish(m);
                }));
}

void CsiVolumes::publish(std::shared_ptr<Mounting> m) {
  json request = m->request();
  request["target_path"] = m->plan.path;
  request["volume_capability"] = m->capability();
  request["volume_context"] = m->plan.csi.attributes;
  request["readonly"] = m->plan.read_only;
  if (!m->plan.csi.secrets.empty()) request["secrets"] = m->plan.csi.secrets;
  drivers_.call(m->plan.csi.driver, "csi.v1.Node/NodePublishVolume", request.dump(), kDeadline,
                guard([this, m](const Result<std::string>& r) {
                  if (!r.ok()) return m->fail("MountVolume.SetUp", r.error());
                  if (!m->plan.csi.claim.empty() && !m->plan.block && m->driver.stats) {
                    published_[m->plan.path] = {m->record.driver, m->record.handle, m->plan.path, m->record.staging,
                                                m->plan.csi.claim};
                  }
                  own(m);
                }));
}

void CsiVolumes::own(std::shared_ptr<Mounting> m) {
  const auto& csi = m->plan.csi;
  const bool by_type = csi.group_by_type && !csi.fs_type.empty() && !csi.ephemeral &&
                       (csi.access_mode == "ReadWriteOnce" || csi.access_mode == "ReadWriteOncePod");
  if (!m->plan.fs_group || m->plan.block || m->plan.read_only || m->driver.mounts_group ||
      !(csi.group_always || by_type))
    return expand(m);
  auto outcome = std::make_shared<Status>(gantry::Done{});
  off_loop_(
      [m, outcome] {
        *outcome = set_ownership(m->plan.path, {*m->plan.fs_group, false, m->plan.group_on_mismatch});
      },
      guard([this, m, outcome] {
        if (!outcome->ok()) return m->fail("MountVolume.SetUp", outcome->error());
        expand(m);
      }));
}

void CsiVolumes::expand(std::shared_ptr<Mounting> m) {
  const auto& csi = m->plan.csi;
  if (!m->driver.expands || csi.claim.empty() || csi.capacity <= csi.known_capacity) return m->done(gantry::Done{});
  json request = m->request();
  request["volume_path"] = m->plan.path;
  request["capacity_range"] = {{"required_bytes", std::to_string(csi.capacity)}};
  request["volume_capability"] = m->capability();
  drivers_.call(csi.driver, "csi.v1.Node/NodeExpandVolume", request.dump(), kDeadline,
                guard([this, m](const Result<std::string>& r) {
                  if (!r.ok()) return m->fail("MountVolume.NodeExpandVolume", r.error());
                  tell_capacity(m->plan.csi.claim, m->plan.csi.capacity);
                  m->done(gantry::Done{});
                }));
}

void CsiVolumes::tell_capacity(const std::string& claim, int64_t bytes) {
  bus::Command command;
  command.verb = bus::Verb::Patch;
  command.resource = "persistentvolumeclaims";
  command.subresource = "status";
  command.ns = claim.substr(0, claim.find('/'));
  command.name = claim.substr(claim.find('/') + 1);
  command.patch_type = bus::PatchType::Merge;
  command.json = json{{"status",
                       {{"capacity", {{"storage", model::Quantity::from_bytes(bytes).to_string()}}},
                        {"conditions", json::array()}}}}
                     .dump();
  // Told again at the next mount if this is lost.
  commands_.send(std::move(command), [claim](const Result<bus::CommandOutcome>& r) {
    if (!r.ok()) LOG(WARNING) << "claim=" << claim << " capacity: " << r.error().message;
  });
}

void CsiVolumes::measure() {
  for (const auto& [_, p] : published_) {
    json request{{"volume_id", p.handle}, {"volume_path", p.path}, {"staging_target_path", p.staging}};
    drivers_.call(p.driver, "csi.v1.Node/NodeGetVolumeStats", request.dump(), kDeadline,
                  guard([this, path = p.path](const Result<std::string>& r) {
                    auto found = published_.find(path);
                    if (r.ok() && found != published_.end()) measured(found->second.claim, *r);
                  }));
  }
}

void CsiVolumes::measured(const std::string& claim, const std::string& answer) {
  const auto parsed = json::parse(answer, nullptr, false);
  if (!parsed.is_object()) return;
  const auto number = [](const json& entry, const char* field) {
    return std::strtoll(entry.value(field, "0").c_str(), nullptr, 10);
  };
  auto& usage = usage_[claim];
  for (const auto& entry : parsed.value("usage", json::array())) {
    const int64_t total = number(entry, "total"), available = number(entry, "available"), used = number(entry, "used");
    if (entry.value("unit", "") == "BYTES") {
      usage.capacity_bytes = total, usage.available_bytes = available, usage.used_bytes = used;
    } else {
      usage.inodes = total, usage.inodes_free = available, usage.inodes_used = used;
    }
  }
}

void CsiVolumes::unmount(const std::string& pod_uid, Done done) {
  struct Found {
    Status outcome = gantry::Done{};
    std::vector<Record> records;
  };
  auto found = std::make_shared<Found>();
  off_loop_(
      [found, paths = paths_, pod_uid] {
        auto records = records_of(paths, pod_uid);
        if (!records.ok()) {
          found->outcome = records.error();
          return;
        }
        for (auto& [file, record] : *records) found->records.push_back({{std::move(record)}, file});
      },
      guard([this, found, done = std::move(done)] {
        if (!found->outcome.ok()) return done(found->outcome);
        struct Waiting {
          size_t left = 1;
          Status outcome = gantry::Done{};
          Done done;
          void finish(const Status& s) {
            if (!s.ok()) outcome = s;
            if (--left == 0) done(outcome);
          }
        };
        auto waiting = std::make_shared<Waiting>();
        waiting->done = done;
        for (const auto& record : found->records) {
          ++waiting->left;
          queue(
              record.key(), [this, record](Done finish) { unpublish(record, std::move(finish)); },
              [waiting](const Status& s) { waiting->finish(s); });
        }
        waiting->finish(gantry::Done{});
      }));
}

void CsiVolumes::unpublish(const Record& record, Done done) {
  json request{{"volume_id", record.handle}, {"target_path", record.target}};
  drivers_.call(
      record.driver, "csi.v1.Node/NodeUnpublishVolume", request.dump(), kDeadline,
      guard([this, record, done = std::move(done)](const Result<std::string>& r) {
        const bool driver_gone = drivers_.find(record.driver) == nullptr;
        if (!r.ok() && (r.code() != Code::kNotFound || driver_gone)) {
          return done(Error{r.error().code, fmt::format("UnmountVolume.TearDown failed for volume \"{}\" : {}",
                                                        record.handle, r.error().message)});
        }
        struct After {
          Status outcome = gantry::Done{};
          bool last = false;
        };
        auto after = std::make_shared<After>();
        off_loop_(
            [after, record, paths = paths_] {
              // The mount table is the truth, not the driver's word.
              if (is_mount_point(record.target)) {
                after->outcome = Error{Code::kInternal, record.target + " is still mounted"};
                return;
              }
              std::error_code ignored;
              fs::remove(record.target, ignored);  // an empty directory or file
              fs::remove(record.file, ignored);
              auto used = in_use(paths, record);
              after->last = used.ok() && !*used;
            },
            guard([this, record, after, done] {
              if (auto found = published_.find(record.target); after->outcome.ok() && found != published_.end()) {
                usage_.erase(found->second.claim);
                published_.erase(found);
              }
              if (!after->outcome.ok() || !after->last || record.staging.empty()) return done(after->outcome);
              unstage(record, done);
            }));
      }));
}

void CsiVolumes::unstage(const Record& record, Done done) {
  json request{{"volume_id", record.handle}, {"staging_target_path", record.staging}};
  drivers_.call(record.driver, "csi.v1.Node/NodeUnstageVolume", request.dump(), kDeadline,
                guard([this, record, done = std::move(done)](const Result<std::string>& r) {
                  if (!r.ok()) {
                    // tidy() tries again; the pod is not held up by it.
                    LOG(WARNING) << "volume=" << record.handle << " NodeUnstageVolume: " << r.error().message;
                    return done(gantry::Done{});
                  }
                  off_loop_(
                      [record] {
                        if (is_mount_point(record.staging)) return;
                        std::error_code ignored;
                        fs::remove(record.staging, ignored);
                        fs::remove(fs::path(record.staging).parent_path() / "volume.json", ignored);
                        fs::remove(fs::path(record.staging).parent_path(), ignored);
                      },
                      guard([done] { done(gantry::Done{}); }));
                }));
}

void CsiVolumes::tidy() {
  auto unused = std::make_shared<std::vector<Record>>();
  off_loop_(
      [unused, paths = paths_] {
        auto all = staged(paths);
        if (!all.ok()) return;
        for (auto& record : *all) {
          auto used = in_use(paths, record);
          if (used.ok() && !*used) unused->push_back({{std::move(record)}, ""});
        }
      },
      guard([this, unused] {
        for (const auto& record : *unused) {
          queue(
              record.key(),
              [this, record](Done finish) {
                auto used = std::make_shared<bool>(true);
                off_loop_(
                    [used, record, paths = paths_] {
                      auto now = in_use(paths, record);
                      *used = !now.ok() || *now;
                    },
                    guard([this, used, record, finish] { *used ? finish(gantry::Done{}) : unstage(record, finish); }));
              },
              [](const Status&) {});
        }
      }));
}

}  // namespace gantry::nodeagent
