#include "services/nodeagent/volume/csi_drivers.h"

#include <fmt/format.h>
#include <glog/logging.h>
#include <sys/stat.h>

#include <filesystem>
#include <nlohmann/json.hpp>

namespace gantry::nodeagent {

using nlohmann::json;

namespace {

constexpr Duration kDeadline = std::chrono::seconds(10), kRetry = std::chrono::seconds(2);
constexpr Duration kControl = std::chrono::seconds(60);

json parse(const std::string& text) {
  auto parsed = json::parse(text, nullptr, false);
  return parsed.is_object() ? parsed : json::object();
}

// [{"rpc":{"type":"EXPAND_VOLUME"}}, ...]
bool can(const json& answer, const char* what) {
  for (const auto& capability : answer.value("capabilities", json::array())) {
    if (capability.value("rpc", json::object()).value("type", "") == what) return true;
  }
  return false;
}

int64_t number(const json& object, const char* field) {
  auto found = object.find(field);
  if (found == object.end()) return 0;
  return found->is_string()   ? std::strtoll(found->get<std::string>().c_str(), nullptr, 10)
         : found->is_number() ? found->get<int64_t>()
                              : 0;
}

}  // namespace

void CsiDrivers::scan() {
  std::error_code error;
  std::set<std::string> there;
  for (std::filesystem::directory_iterator it(registry_, error), end; !error && it != end; it.increment(error)) {
    if (std::error_code unreadable; it->is_socket(unreadable)) there.insert(it->path());
  }
  for (auto it = sockets_.begin(); it != sockets_.end();) {
    if (there.count(it->first)) {
      ++it;
      continue;
    }
    const auto driver = it->second.driver;
    it = sockets_.erase(it);
    if (driver.empty()) continue;
    LOG(INFO) << "node=" << node_ << " CSI driver " << driver << " is gone";
    drivers_.erase(driver);
    publish();
  }
  for (const auto& socket : there) {
    if (sockets_.count(socket) == 0) begin(socket);
  }
  if (!published_ && !publishing_) publish();
}

void CsiDrivers::begin(const std::string& socket) {
  auto& registration = sockets_[socket];
  registration.busy = true;
  transport_.call(socket, "pluginregistration.Registration/GetInfo", "{}", kDeadline,
                  [this, socket, weak = std::weak_ptr<bool>(alive_)](Result<std::string> answer) {
                    if (weak.expired() || sockets_.count(socket) == 0) return;
                    if (!answer.ok()) return finish(socket, answer.error());
                    auto info = parse(*answer);
                    CsiDriver driver;
                    driver.name = info.value("name", "");
                    driver.socket = info.value("endpoint", "");
                    if (driver.socket.starts_with("unix://")) driver.socket.erase(0, 7);
                    if (driver.socket.empty()) driver.socket = socket;
                    if (info.value("type", "") != "CSIPlugin" || driver.name.empty())
                      return finish(socket, Error{Code::kInvalid, "not a CSI driver"});
                    ask(socket, std::move(driver));
                  });
}

void CsiDrivers::ask(const std::string& socket, CsiDriver driver) {
  auto d = std::make_shared<CsiDriver>(std::move(driver));
  auto weak = std::weak_ptr<bool>(alive_);
  transport_.call(d->socket, "csi.v1.Node/NodeGetCapabilities", "{}", kDeadline,
                  [this, socket, d, weak](Result<std::string> r) {
                    if (weak.expired() || sockets_.count(socket) == 0) return;
                    if (!r.ok()) return finish(socket, r.error());
                    auto answer = parse(*r);
                    d->stages = can(answer, "STAGE_UNSTAGE_VOLUME");
                    d->expands = can(answer, "EXPAND_VOLUME");
                    d->stats = can(answer, "GET_VOLUME_STATS");
                    d->mounts_group = can(answer, "VOLUME_MOUNT_GROUP");
                    d->single_writer = can(answer, "SINGLE_NODE_MULTI_WRITER");
                    transport_.call(d->socket, "csi.v1.Node/NodeGetInfo", "{}", kDeadline,
                                    [this, socket, d, weak](Result<std::string> r) {
                                      if (weak.expired() || sockets_.count(socket) == 0) return;
                                      if (!r.ok()) return finish(socket, r.error());
                                      auto info = parse(*r);
                                      d->node_id = info.value("node_id", "");
                                      d->max_volumes = number(info, "max_volumes_per_node");
                                      auto topology = info.value("accessible_topology", json::object());
                                      const auto segments = topology.value("segments", json::object());
                                      for (const auto& [key, value] : segments.items())
                                        d->topology[key] = value.is_string() ? value.get<std::string>() : "";
                                      if (d->node_id.empty())
                                        return finish(socket, Error{Code::kInvalid, "the driver tells no node_id"});
                                      finish(socket, *d);
                                    });
                  });
}

void CsiDrivers::finish(const std::string& socket, Result<CsiDriver> driver) {
  auto& registration = sockets_[socket];
  registration.busy = false;
  const bool ok = driver.ok();
  transport_.call(socket, "pluginregistration.Registration/NotifyRegistrationStatus",
                  json{{"plugin_registered", ok}, {"error", ok ? "" : driver.error().message}}.dump(), kDeadline,
                  [](const Result<std::string>&) {});
  if (!ok) {
    LOG(WARNING) << "node=" << node_ << " CSI driver at " << socket << " not registered: " << driver.error().message;
    registration.retry = loop_.after(kRetry, [this, socket] { begin(socket); });
    return;
  }
  LOG(INFO) << "node=" << node_ << " CSI driver " << driver->name << " registered";
  registration.driver = driver->name;
  drivers_[driver->name] = *driver;
  publish();
  publish_topology();
  if (registered_) registered_(driver->name);
}

const CsiDriver* CsiDrivers::find(const std::string& name) const {
  auto found = drivers_.find(name);
  return found == drivers_.end() ? nullptr : &found->second;
}

void CsiDrivers::call(const std::string& name, const std::string& method, std::string request, Duration deadline,
                      std::function<void(Result<std::string>)> done) {
  if (const auto* driver = find(name))
    return transport_.call(driver->socket, method, std::move(request), deadline, std::move(done));
  loop_.post([name, done = std::move(done)] {
    done(Error{Code::kNotFound, fmt::format("driver name {} not found in the list of registered CSI drivers", name)});
  });
}

void CsiDrivers::serve(std::string_view request, std::function<void(std::string)> done) {
  auto asked = json::parse(request, nullptr, false);
  auto answer = [done = std::move(done)](const Result<std::string>& r) {
    done(r.ok() ? json{{"response", parse(*r)}}.dump()
                : json{{"code", static_cast<int>(r.error().code)}, {"error", r.error().message}}.dump());
  };
  const std::string method = asked.is_object() ? asked.value("method", "") : "";
  // What a node does for itself is not for others to ask.
  if (!method.starts_with("csi.v1.Controller/")) {
    answer(Error{Code::kInvalid, fmt::format("method \"{}\" is not served", method)});
    return;
  }
  call(asked.value("driver", ""), method, asked.value("request", json::object()).dump(), kControl, std::move(answer));
}

// The whole list each time: whoever else changed the object is put right.
void CsiDrivers::publish() {
  if (publishing_) {
    publish_again_ = true;
    return;
  }
  publishing_ = true;
  publish_again_ = false;
  json drivers = json::array();
  for (const auto& [name, driver] : drivers_) {
    json entry{{"name", name}, {"nodeID", driver.node_id}};
    for (const auto& [key, _] : driver.topology) entry["topologyKeys"].push_back(key);
    if (driver.max_volumes > 0) entry["allocatable"] = {{"count", driver.max_volumes}};
    drivers.push_back(std::move(entry));
  }
  auto send = [this, drivers](bus::Verb verb, std::function<void(Result<bus::CommandOutcome>)> done) {
    bus::Command command;
    command.verb = verb;
    command.resource = "csinodes";
    command.name = node_;
    json object{{"spec", {{"drivers", drivers}}}};
    if (verb == bus::Verb::Create) {
      object["apiVersion"] = "storage.k8s.io/v1";
      object["kind"] = "CSINode";
      object["metadata"] = {{"name", node_}};
    }
    command.json = object.dump();
    command.patch_type = bus::PatchType::Merge;
    commands_.send(std::move(command), [done = std::move(done), weak = std::weak_ptr<bool>(alive_)](auto r) {
      if (!weak.expired()) done(std::move(r));
    });
  };
  auto finish = [this](const Result<bus::CommandOutcome>& r) {
    publishing_ = false;
    published_ = r.ok();
    if (!r.ok()) {
      LOG(WARNING) << "node=" << node_ << " CSINode: " << r.error().message;
      retry_ = loop_.after(kRetry, [this] { publish(); });
    } else if (publish_again_) {
      publish();
    }
  };
  send(bus::Verb::Patch, [send, finish](Result<bus::CommandOutcome> r) {
    if (r.ok() || r.code() != Code::kNotFound) return finish(r);
    send(bus::Verb::Create, finish);
  });
}

void CsiDrivers::publish_topology() {
  json labels = json::object();
  for (const auto& [_, driver] : drivers_) {
    for (const auto& [key, value] : driver.topology) labels[key] = value;
  }
  if (labels.empty()) return;
  bus::Command command;
  command.verb = bus::Verb::Patch;
  command.resource = "nodes";
  command.name = node_;
  command.json = json{{"metadata", {{"labels", labels}}}}.dump();
  command.patch_type = bus::PatchType::Merge;
  commands_.send(std::move(command), [this, weak = std::weak_ptr<bool>(alive_)](Result<bus::CommandOutcome> r) {
    if (weak.expired() || r.ok()) return;
    // The node may not have registered itself yet.
    retry_labels_ = loop_.after(kRetry, [this] { publish_topology(); });
  });
}

}  // namespace gantry::nodeagent
