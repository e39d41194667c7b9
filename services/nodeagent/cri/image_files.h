// An image's files for a volume: a read-only snapshot on top of its layers, made at containerd's own interface. CRI's
// image mounts do the same, from containerd 2.1 on.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cri.grpc.pb.h"
#include "github.com/containerd/containerd/api/services/snapshots/v1/snapshots.grpc.pb.h"
#include "services/nodeagent/cri/grpc_calls.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// Loop's thread only; what is passed by reference outlives it.
class ImageFiles {
 public:
  ImageFiles(GrpcCalls& calls, const std::shared_ptr<grpc::Channel>& channel,
             runtime::v1::RuntimeService::Stub& runtime, runtime::v1::ImageService::Stub& images);

  /// See Runtime. kInvalid when containerd does not say what the image is made of.
  void hold(const std::string& key, const std::string& image, Runtime::Done<std::vector<FsMount>> done);
  void release(const std::string& key, Runtime::Done<Done> done);

 private:
  /// Calls `next` once it is known which snapshotter the images are in; `failed` when it cannot be.
  void find_snapshotter(std::function<void()> next, std::function<void(const Error&)> failed);
  void view(const std::string& key, const std::string& chain, Runtime::Done<std::vector<FsMount>> done);

  GrpcCalls& calls_;
  runtime::v1::RuntimeService::Stub& runtime_;
  runtime::v1::ImageService::Stub& images_;
  std::unique_ptr<containerd::services::snapshots::v1::Snapshots::Stub> snapshots_;
  std::string snapshotter_;
};

}  // namespace gantry::nodeagent
