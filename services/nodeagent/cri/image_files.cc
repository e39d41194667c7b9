#include "services/nodeagent/cri/image_files.h"

#include <nlohmann/json.hpp>

namespace gantry::nodeagent {

namespace v1 = runtime::v1;
namespace snapshots = containerd::services::snapshots::v1;

namespace {

constexpr Duration kQuick = std::chrono::seconds(20);
// Keeps it from containerd's collector of what nobody refers to.
constexpr char kRootLabel[] = "containerd.io/gc.root";

std::string snapshot_name(const std::string& key) { return "gantry-image-volume/" + key; }

template <typename Mounts>
std::vector<FsMount> to_mounts(const Mounts& from) {
  std::vector<FsMount> out;
  for (const auto& m : from) out.push_back({m.type(), m.source(), {m.options().begin(), m.options().end()}});
  return out;
}

}  // namespace

ImageFiles::ImageFiles(GrpcCalls& calls, const std::shared_ptr<grpc::Channel>& channel,
                       v1::RuntimeService::Stub& runtime, v1::ImageService::Stub& images)
    : calls_(calls), runtime_(runtime), images_(images), snapshots_(snapshots::Snapshots::NewStub(channel)) {}

void ImageFiles::find_snapshotter(std::function<void()> next, std::function<void(const Error&)> failed) {
  if (!snapshotter_.empty()) return next();
  v1::StatusRequest request;
  request.set_verbose(true);
  calls_.call(runtime_.async(), &v1::RuntimeService::Stub::async::Status, std::move(request), kQuick,
              std::function<void(Result<v1::StatusResponse>)>([this, next, failed](Result<v1::StatusResponse> r) {
                if (!r.ok()) return failed(r.error());
                const auto found = r->info().find("config");
                const auto config =
                    found == r->info().end() ? nlohmann::json() : nlohmann::json::parse(found->second, nullptr, false);
                if (config.is_object())
                  snapshotter_ = config.value(nlohmann::json::json_pointer("/containerd/snapshotter"), "");
                if (snapshotter_.empty()) snapshotter_ = "overlayfs";  // containerd's default
                next();
              }));
}

void ImageFiles::hold(const std::string& key, const std::string& image, Runtime::Done<std::vector<FsMount>> done) {
  auto find = [this, key, image, done] {
    v1::ImageStatusRequest request;
    request.mutable_image()->set_image(image);
    request.set_verbose(true);
    calls_.call(images_.async(), &v1::ImageService::Stub::async::ImageStatus, std::move(request), kQuick,
                std::function<void(Result<v1::ImageStatusResponse>)>(
                    [this, key, image, done](Result<v1::ImageStatusResponse> r) {
                      if (!r.ok()) return done(r.error());
                      const auto found = r->info().find("info");
                      const auto info = found == r->info().end() ? nlohmann::json()
                                                                 : nlohmann::json::parse(found->second, nullptr, false);
                      const auto chain = info.is_object() ? info.value("chainID", "") : std::string();
                      if (chain.empty())
                        return done(Error{Code::kInvalid,
                                          fmt::format("the container runtime does not tell what the image {} is made "
                                                      "of: it cannot be mounted as a volume",
                                                      image)});
                      view(key, chain, done);
                    }));
  };
  find_snapshotter(find, [done](const Error& error) { done(error); });
}

void ImageFiles::view(const std::string& key, const std::string& chain, Runtime::Done<std::vector<FsMount>> done) {
  using Stub = snapshots::Snapshots::Stub;
  snapshots::ViewSnapshotRequest request;
  request.set_snapshotter(snapshotter_);
  request.set_key(snapshot_name(key));
  request.set_parent(chain);
  (*request.mutable_labels())[kRootLabel] = "true";
  calls_.call(
      snapshots_->async(), &Stub::async::View, std::move(request), kQuick,
      std::function<void(Result<snapshots::ViewSnapshotResponse>)>([this, key,
                                                                    done](Result<snapshots::ViewSnapshotResponse> r) {
        if (r.ok()) return done(to_mounts(r->mounts()));
        if (r.code() != Code::kAlreadyExists) return done(r.error());
        snapshots::MountsRequest request;
        request.set_snapshotter(snapshotter_);
        request.set_key(snapshot_name(key));
        calls_.call(snapshots_->async(), &Stub::async::Mounts, std::move(request), kQuick,
                    std::function<void(Result<snapshots::MountsResponse>)>([done](Result<snapshots::MountsResponse> r) {
                      if (!r.ok()) return done(r.error());
                      done(to_mounts(r->mounts()));
                    }));
      }));
}

void ImageFiles::release(const std::string& key, Runtime::Done<Done> done) {
  auto remove = [this, key, done] {
    snapshots::RemoveSnapshotRequest request;
    request.set_snapshotter(snapshotter_);
    request.set_key(snapshot_name(key));
    calls_.call(snapshots_->async(), &snapshots::Snapshots::Stub::async::Remove, std::move(request), kQuick,
                std::function<void(Result<google::protobuf::Empty>)>([done](Result<google::protobuf::Empty> r) {
                  if (!r.ok() && r.code() != Code::kNotFound) return done(r.error());
                  done(Done{});
                }));
  };
  find_snapshotter(remove, [done](const Error& error) { done(error); });
}

}  // namespace gantry::nodeagent
