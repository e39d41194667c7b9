#include "services/nodeagent/cri/grpc_calls.h"

namespace gantry::nodeagent {

Error grpc_error(const grpc::Status& status) {
  Error error{Code::kInternal, status.error_message()};
  switch (status.error_code()) {
    case grpc::StatusCode::NOT_FOUND:
      error.code = Code::kNotFound;
      break;
    case grpc::StatusCode::ALREADY_EXISTS:
      error.code = Code::kAlreadyExists;
      break;
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::CANCELLED:
      error.code = Code::kUnavailable;
      break;
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      error.code = Code::kTimeout;
      break;
    default:
      break;
  }
  return error;
}

GrpcCalls::~GrpcCalls() {
  shared_->closed = true;
  std::unique_lock lock(shared_->mutex);
  for (auto* context : shared_->contexts) context->TryCancel();
  shared_->empty.wait(lock, [&] { return shared_->contexts.empty(); });
}

void GrpcCalls::prepare(grpc::ClientContext& context, Duration deadline) {
  for (const auto& [key, value] : metadata_) context.AddMetadata(key, value);
  if (deadline > Duration::zero()) context.set_deadline(std::chrono::system_clock::now() + deadline);
  std::lock_guard lock(shared_->mutex);
  shared_->contexts.insert(&context);
}

void GrpcCalls::Shared::forget(grpc::ClientContext* context) {
  std::lock_guard lock(mutex);
  contexts.erase(context);
  if (contexts.empty()) empty.notify_all();
}

}  // namespace gantry::nodeagent
