#include "tools/csi-hostpath/driver.h"

#include <fmt/format.h>
#include <glog/logging.h>
#include <grpcpp/grpcpp.h>
#include <sys/statvfs.h>

#include <filesystem>

#include "csi.grpc.pb.h"
#include "registration.grpc.pb.h"
#include "services/nodeagent/volume/mounts.h"
#include "tools/csi-hostpath/volumes.h"

namespace gantry::csi_hostpath {

namespace v1 = csi::v1;
using grpc::ServerContext;
using Answer = grpc::Status;

std::string topology_key(const Options& options) { return "topology." + options.name + "/node"; }

namespace {

Answer answer_of(const Error& error) {
  grpc::StatusCode code = grpc::StatusCode::INTERNAL;
  if (error.code == Code::kNotFound) code = grpc::StatusCode::NOT_FOUND;
  if (error.code == Code::kAlreadyExists) code = grpc::StatusCode::ALREADY_EXISTS;
  if (error.code == Code::kInvalid) code = grpc::StatusCode::INVALID_ARGUMENT;
  if (error.code == Code::kTooManyRequests) code = grpc::StatusCode::RESOURCE_EXHAUSTED;
  return {code, error.message};
}
Answer answer_of(const Status& status) { return status.ok() ? Answer::OK : answer_of(status.error()); }
Answer missing(const char* field) { return {grpc::StatusCode::INVALID_ARGUMENT, fmt::format("{} is missing", field)}; }

class IdentityService final : public v1::Identity::Service {
 public:
  explicit IdentityService(const Options& options) : options_(options) {}
  Answer GetPluginInfo(ServerContext*, const v1::GetPluginInfoRequest*, v1::GetPluginInfoResponse* out) override {
    out->set_name(options_.name);
    out->set_vendor_version("0.1.0");
    return Answer::OK;
  }
  Answer GetPluginCapabilities(ServerContext*, const v1::GetPluginCapabilitiesRequest*,
                               v1::GetPluginCapabilitiesResponse* out) override {
    for (auto type : {v1::PluginCapability::Service::CONTROLLER_SERVICE,
                      v1::PluginCapability::Service::VOLUME_ACCESSIBILITY_CONSTRAINTS})
      out->add_capabilities()->mutable_service()->set_type(type);
    out->add_capabilities()->mutable_volume_expansion()->set_type(v1::PluginCapability::VolumeExpansion::ONLINE);
    return Answer::OK;
  }
  Answer Probe(ServerContext*, const v1::ProbeRequest*, v1::ProbeResponse* out) override {
    out->mutable_ready()->set_value(true);
    return Answer::OK;
  }

 private:
  const Options& options_;
};

class ControllerService final : public v1::Controller::Service {
 public:
  ControllerService(const Options& options, Volumes& volumes) : options_(options), volumes_(volumes) {}

  Answer CreateVolume(ServerContext*, const v1::CreateVolumeRequest* in, v1::CreateVolumeResponse* out) override {
    if (in->name().empty()) return missing("name");
    if (in->volume_capabilities().empty()) return missing("volume_capabilities");
    bool block = false;
    for (const auto& capability : in->volume_capabilities()) {
      block |= capability.has_block();
      using Mode = v1::VolumeCapability::AccessMode;
      const auto mode = capability.access_mode().mode();
      if (mode == Mode::MULTI_NODE_MULTI_WRITER || mode == Mode::MULTI_NODE_SINGLE_WRITER ||
          mode == Mode::MULTI_NODE_READER_ONLY)
        return {grpc::StatusCode::INVALID_ARGUMENT, "a volume can be used on one node only"};
    }
    if (in->has_volume_content_source()) return {grpc::StatusCode::INVALID_ARGUMENT, "volumes start empty"};
    if (in->has_accessibility_requirements() && !here(in->accessibility_requirements()))
      return {grpc::StatusCode::RESOURCE_EXHAUSTED, "the volume is wanted on other nodes"};
    auto made =
        volumes_.create(in->name(), in->capacity_range().required_bytes(), in->capacity_range().limit_bytes(), block);
    if (!made.ok()) return answer_of(made.error());
    fill(*made, out->mutable_volume());
    LOG(INFO) << "volume=" << made->id << " name=" << in->name() << " capacity=" << made->capacity;
    return Answer::OK;
  }
  Answer DeleteVolume(ServerContext*, const v1::DeleteVolumeRequest* in, v1::DeleteVolumeResponse*) override {
    if (in->volume_id().empty()) return missing("volume_id");
    LOG(INFO) << "volume=" << in->volume_id() << " deleted";
    return answer_of(volumes_.remove(in->volume_id()));
  }
  Answer ValidateVolumeCapabilities(ServerContext*, const v1::ValidateVolumeCapabilitiesRequest* in,
                                    v1::ValidateVolumeCapabilitiesResponse* out) override {
    auto found = volumes_.find(in->volume_id());
    if (!found) return {grpc::StatusCode::NOT_FOUND, "there is no such volume"};
    for (const auto& capability : in->volume_capabilities()) {
      if (capability.has_block() != found->block) {
        out->set_message("the volume is of the other mode");
        return Answer::OK;
      }
      *out->mutable_confirmed()->add_volume_capabilities() = capability;
    }
    return Answer::OK;
  }
  Answer ListVolumes(ServerContext*, const v1::ListVolumesRequest* in, v1::ListVolumesResponse* out) override {
    for (const auto& v : volumes_.list()) {  // in the order of their ids: the token is the first of the next page
      if (v.ephemeral || v.id < in->starting_token()) continue;
      if (in->max_entries() > 0 && out->entries_size() >= in->max_entries()) {
        out->set_next_token(v.id);
        break;
      }
      fill(v, out->add_entries()->mutable_volume());
    }
    return Answer::OK;
  }
  Answer GetCapacity(ServerContext*, const v1::GetCapacityRequest*, v1::GetCapacityResponse* out) override {
    out->set_available_capacity(volumes_.available());
    return Answer::OK;
  }
  Answer ControllerGetCapabilities(ServerContext*, const v1::ControllerGetCapabilitiesRequest*,
                                   v1::ControllerGetCapabilitiesResponse* out) override {
    using RPC = v1::ControllerServiceCapability::RPC;
    for (auto type : {RPC::CREATE_DELETE_VOLUME, RPC::LIST_VOLUMES, RPC::GET_CAPACITY, RPC::EXPAND_VOLUME})
      out->add_capabilities()->mutable_rpc()->set_type(type);
    return Answer::OK;
  }
  Answer ControllerExpandVolume(ServerContext*, const v1::ControllerExpandVolumeRequest* in,
                                v1::ControllerExpandVolumeResponse* out) override {
    auto grown = volumes_.expand(in->volume_id(), in->capacity_range().required_bytes());
    if (!grown.ok()) return answer_of(grown.error());
    out->set_capacity_bytes(grown->capacity);
    out->set_node_expansion_required(true);
    return Answer::OK;
  }

 private:
  bool here(const v1::TopologyRequirement& wanted) const {
    if (wanted.requisite().empty() && wanted.preferred().empty()) return true;
    for (const auto* list : {&wanted.requisite(), &wanted.preferred()}) {
      for (const auto& topology : *list) {
        auto found = topology.segments().find(topology_key(options_));
        if (found != topology.segments().end() && found->second == options_.node) return true;
      }
    }
    return false;
  }
  void fill(const Volume& v, v1::Volume* out) const {
    out->set_volume_id(v.id);
    out->set_capacity_bytes(v.capacity);
    (*out->add_accessible_topology()->mutable_segments())[topology_key(options_)] = options_.node;
  }
  const Options& options_;
  Volumes& volumes_;
};

class NodeService final : public v1::Node::Service {
 public:
  NodeService(const Options& options, Volumes& volumes) : options_(options), volumes_(volumes) {}

  Answer NodeStageVolume(ServerContext*, const v1::NodeStageVolumeRequest* in, v1::NodeStageVolumeResponse*) override {
    if (in->staging_target_path().empty()) return missing("staging_target_path");
    auto found = volumes_.find(in->volume_id());
    if (!found) return {grpc::StatusCode::NOT_FOUND, fmt::format("there is no volume {}", in->volume_id())};
    if (found->block) return Answer::OK;  // published from its device
    return answer_of(volumes_.mount(in->volume_id(), in->staging_target_path(), false));
  }
  Answer NodeUnstageVolume(ServerContext*, const v1::NodeUnstageVolumeRequest* in,
                           v1::NodeUnstageVolumeResponse*) override {
    if (in->staging_target_path().empty()) return missing("staging_target_path");
    return answer_of(Volumes::unmount(in->staging_target_path()));
  }
  Answer NodePublishVolume(ServerContext*, const v1::NodePublishVolumeRequest* in,
                           v1::NodePublishVolumeResponse*) override {
    if (in->target_path().empty()) return missing("target_path");
    if (in->staging_target_path().empty()) {
      if (auto made = volumes_.create_ephemeral(in->volume_id()); !made.ok()) return answer_of(made.error());
    }
    return answer_of(volumes_.mount(in->volume_id(), in->target_path(), in->readonly()));
  }
  Answer NodeUnpublishVolume(ServerContext*, const v1::NodeUnpublishVolumeRequest* in,
                             v1::NodeUnpublishVolumeResponse*) override {
    if (in->target_path().empty()) return missing("target_path");
    if (auto gone = Volumes::unmount(in->target_path()); !gone.ok()) return answer_of(gone.error());
    auto found = volumes_.find(in->volume_id());
    return found && found->ephemeral ? answer_of(volumes_.remove(in->volume_id())) : Answer::OK;
  }
  Answer NodeGetVolumeStats(ServerContext*, const v1::NodeGetVolumeStatsRequest* in,
                            v1::NodeGetVolumeStatsResponse* out) override {
    struct statvfs info {};
    if (!volumes_.find(in->volume_id()) || statvfs(in->volume_path().c_str(), &info) != 0)
      return {grpc::StatusCode::NOT_FOUND, fmt::format("{} is not mounted at {}", in->volume_id(), in->volume_path())};
    const auto add = [&](auto unit, uint64_t total, uint64_t free, uint64_t available, uint64_t size) {
      auto* usage = out->add_usage();
      usage->set_unit(unit);
      usage->set_total(static_cast<int64_t>(total * size));
      usage->set_available(static_cast<int64_t>(available * size));
      usage->set_used(static_cast<int64_t>((total - free) * size));
    };
    add(v1::VolumeUsage::BYTES, info.f_blocks, info.f_bfree, info.f_bavail, info.f_frsize);
    add(v1::VolumeUsage::INODES, info.f_files, info.f_ffree, info.f_favail, 1);
    return Answer::OK;
  }
  Answer NodeExpandVolume(ServerContext*, const v1::NodeExpandVolumeRequest* in,
                          v1::NodeExpandVolumeResponse* out) override {
    auto found = volumes_.find(in->volume_id());
    if (!found) return {grpc::StatusCode::NOT_FOUND, fmt::format("there is no volume {}", in->volume_id())};
    out->set_capacity_bytes(found->capacity);  // a directory has the room that the disk has
    return Answer::OK;
  }
  Answer NodeGetCapabilities(ServerContext*, const v1::NodeGetCapabilitiesRequest*,
                             v1::NodeGetCapabilitiesResponse* out) override {
    using RPC = v1::NodeServiceCapability::RPC;
    for (auto type : {RPC::STAGE_UNSTAGE_VOLUME, RPC::GET_VOLUME_STATS, RPC::EXPAND_VOLUME})
      out->add_capabilities()->mutable_rpc()->set_type(type);
    return Answer::OK;
  }
  Answer NodeGetInfo(ServerContext*, const v1::NodeGetInfoRequest*, v1::NodeGetInfoResponse* out) override {
    out->set_node_id(options_.node);
    (*out->mutable_accessible_topology()->mutable_segments())[topology_key(options_)] = options_.node;
    return Answer::OK;
  }

 private:
  const Options& options_;
  Volumes& volumes_;
};

class RegistrationService final : public pluginregistration::Registration::Service {
 public:
  explicit RegistrationService(const Options& options) : options_(options) {}
  Answer GetInfo(ServerContext*, const pluginregistration::InfoRequest*, pluginregistration::PluginInfo* out) override {
    out->set_type("CSIPlugin");
    out->set_name(options_.name);
    out->set_endpoint(options_.socket);
    out->add_supported_versions("1.0.0");
    return Answer::OK;
  }
  Answer NotifyRegistrationStatus(ServerContext*, const pluginregistration::RegistrationStatus* in,
                                  pluginregistration::RegistrationStatusResponse*) override {
    LOG_IF(INFO, in->plugin_registered()) << "driver=" << options_.name << " registered";
    LOG_IF(ERROR, !in->plugin_registered()) << "driver=" << options_.name << " refused: " << in->error();
    return Answer::OK;
  }

 private:
  const Options& options_;
};

class Serving final : public Driver {
 public:
  Serving(Options options, std::unique_ptr<Volumes> volumes)
      : options_(std::move(options)),
        volumes_(std::move(volumes)),
        identity_(options_),
        controller_(options_, *volumes_),
        node_(options_, *volumes_),
        registration_(options_) {}
  ~Serving() override {
    const auto soon = std::chrono::system_clock::now() + std::chrono::seconds(2);
    if (announce_) announce_->Shutdown(soon);
    if (server_) server_->Shutdown(soon);
    std::error_code ignored;
    std::filesystem::remove(announcement(), ignored);
  }
  Status listen() {
    grpc::ServerBuilder builder;
    std::error_code ignored;
    std::filesystem::remove(options_.socket, ignored);
    builder.AddListeningPort("unix://" + options_.socket, grpc::InsecureServerCredentials());
    builder.RegisterService(&identity_);
    builder.RegisterService(&controller_);
    builder.RegisterService(&node_);
    server_ = builder.BuildAndStart();
    if (!server_) return Error{Code::kUnavailable, "cannot listen on " + options_.socket};
    if (options_.registry.empty()) return Done{};
    // Last: who finds it may call at once.
    std::filesystem::create_directories(options_.registry, ignored);
    std::filesystem::remove(announcement(), ignored);
    grpc::ServerBuilder announce;
    announce.AddListeningPort("unix://" + announcement(), grpc::InsecureServerCredentials());
    announce.RegisterService(&registration_);
    announce_ = announce.BuildAndStart();
    if (!announce_) return Error{Code::kUnavailable, "cannot listen on " + announcement()};
    return Done{};
  }

 private:
  std::string announcement() const { return options_.registry + "/" + options_.name + "-reg.sock"; }
  const Options options_;
  std::unique_ptr<Volumes> volumes_;
  IdentityService identity_;
  ControllerService controller_;
  NodeService node_;
  RegistrationService registration_;
  std::unique_ptr<grpc::Server> server_, announce_;
};

}  // namespace

Result<std::unique_ptr<Driver>> Driver::start(const Options& options) {
  auto volumes = Volumes::open(options.root);
  if (!volumes.ok()) return volumes.error();
  auto serving = std::make_unique<Serving>(options, std::move(*volumes));
  if (auto listening = serving->listen(); !listening.ok()) return listening.error();
  return std::unique_ptr<Driver>(std::move(serving));
}

}  // namespace gantry::csi_hostpath
