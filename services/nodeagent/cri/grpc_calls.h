// gRPC calls whose answers arrive on the loop. The gRPC library's own threads never see our state.
#pragma once

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <type_traits>

#include "libs/base/loop.h"
#include "libs/base/result.h"

namespace gantry::nodeagent {

/// kNotFound, kUnavailable, kTimeout and kAlreadyExists as they are, the rest kInternal with the server's message.
Error grpc_error(const grpc::Status& status);

/// Every call under way. Destroying it cancels them and waits until gRPC has let go of each; no callback comes after.
/// Loop's thread only. The loop outlives it.
class GrpcCalls {
 public:
  explicit GrpcCalls(Loop& loop) : loop_(loop), shared_(std::make_shared<Shared>()) {}
  ~GrpcCalls();
  GrpcCalls(const GrpcCalls&) = delete;

  /// Metadata that goes with every call, e.g. containerd-namespace.
  void add_metadata(std::string key, std::string value) { metadata_.emplace_back(std::move(key), std::move(value)); }

  /// call(stub->async(), &Async::Method, request, deadline, done). A zero deadline is none.
  template <typename Async, typename Class, typename Request, typename Response>
  void call(Async* async,
            void (Class::*method)(grpc::ClientContext*, const Request*, Response*, std::function<void(grpc::Status)>),
            std::type_identity_t<Request> request, Duration deadline,
            std::type_identity_t<std::function<void(Result<Response>)>> done) {
    struct Call {
      grpc::ClientContext context;
      Request request;
      Response response;
      std::function<void(Result<Response>)> done;
    };
    auto call = std::make_shared<Call>();
    call->request = std::move(request);
    call->done = std::move(done);
    prepare(call->context, deadline);
    auto shared = shared_;
    auto* loop = &loop_;
    (async->*method)(&call->context, &call->request, &call->response, [call, shared, loop](grpc::Status status) {
      loop->post([call, weak = std::weak_ptr<Shared>(shared), status = std::move(status)] {
        // Taken here: what `done` holds is the loop's, and gRPC's thread may be the last to let go of the call.
        auto done = std::move(call->done);
        auto alive = weak.lock();
        if (!alive || alive->closed) return;
        if (status.ok()) {
          done(std::move(call->response));
        } else {
          done(grpc_error(status));
        }
      });
      shared->forget(&call->context);
    });
  }

  /// For streams: sets deadline and metadata and tracks `context` until released.
  void prepare(grpc::ClientContext& context, Duration deadline);

  struct Shared {
    std::mutex mutex;  // guards contexts: gRPC's threads take themselves out
    std::condition_variable empty;
    std::set<grpc::ClientContext*> contexts;
    bool closed = false;  // loop's thread only
    void forget(grpc::ClientContext* context);
  };
  std::shared_ptr<Shared> shared() const { return shared_; }
  Loop& loop() { return loop_; }

 private:
  Loop& loop_;
  std::shared_ptr<Shared> shared_;
  std::vector<std::pair<std::string, std::string>> metadata_;
};

}  // namespace gantry::nodeagent
