#include "services/nodeagent/volume/csi/grpc_transport.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/generic/generic_stub.h>

#include <map>

#include "csi.pb.h"
#include "registration.pb.h"
#include "services/nodeagent/cri/grpc_calls.h"

namespace gantry::nodeagent {

namespace {

namespace pb = google::protobuf;

const char* code_name(grpc::StatusCode code) {
  static constexpr const char* kNames[] = {
      "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
      "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
      "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
      "DataLoss", "Unauthenticated"};
  return code >= 0 && static_cast<size_t>(code) < std::size(kNames) ? kNames[code] : "Unknown";
}

Error error_of(const grpc::Status& status) {
  Error error = grpc_error(status);
  if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) error.code = Code::kTooManyRequests;
  error.message = fmt::format("rpc error: code = {} desc = {}", code_name(status.error_code()), status.error_message());
  return error;
}

/// Channels stay for the life of the process (see cri_runtime.cc: gRPC 1.51 may abort when the last one goes).
std::shared_ptr<grpc::Channel> channel_to(const std::string& socket) {
  static auto& channels = *new std::map<std::string, std::shared_ptr<grpc::Channel>>;
  auto& channel = channels[socket];
  if (channel) return channel;
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  channel = grpc::CreateCustomChannel("unix://" + socket, grpc::InsecureChannelCredentials(), arguments);
  return channel;
}

class GrpcTransport final : public CsiTransport {
 public:
  explicit GrpcTransport(Loop& loop) : calls_(loop) {
    // Else a static link may leave the messages out.
    csi::v1::NodeGetInfoRequest::descriptor();
    pluginregistration::InfoRequest::descriptor();
  }

  void call(const std::string& socket, const std::string& method, std::string request, Duration deadline,
            std::function<void(Result<std::string>)> done) override {
    std::string full = method;
    std::replace(full.begin(), full.end(), '/', '.');
    const auto* descriptor = pb::DescriptorPool::generated_pool()->FindMethodByName(full);
    if (descriptor == nullptr) return refuse(std::move(done), fmt::format("{} is no method of CSI", method));
    auto call = std::make_shared<Call>();
    call->output = descriptor->output_type();
    call->done = std::move(done);
    std::unique_ptr<pb::Message> input(make(descriptor->input_type()));
    pb::util::JsonParseOptions lenient;
    lenient.ignore_unknown_fields = true;
    const auto parsed = pb::util::JsonStringToMessage(request, input.get(), lenient);
    if (!parsed.ok())
      return refuse(std::move(call->done), fmt::format("{}: {}", method, std::string(parsed.message())));
    const grpc::Slice bytes(input->SerializeAsString());
    call->request = grpc::ByteBuffer(&bytes, 1);
    call->stub = std::make_unique<grpc::GenericStub>(channel_to(socket));
    calls_.prepare(call->context, deadline);
    auto shared = calls_.shared();
    auto* loop = &calls_.loop();
    call->stub->UnaryCall(
        &call->context, "/" + method, grpc::StubOptions(), &call->request, &call->response,
        [call, shared, loop](grpc::Status status) {
          loop->post([call, weak = std::weak_ptr<GrpcCalls::Shared>(shared), status = std::move(status)] {
            auto done = std::move(call->done);
            auto alive = weak.lock();
            if (!alive || alive->closed) return;
            done(status.ok() ? call->answer() : Result<std::string>(error_of(status)));
          });
          shared->forget(&call->context);
        });
  }

 private:
  static pb::Message* make(const pb::Descriptor* type) {
    return pb::MessageFactory::generated_factory()->GetPrototype(type)->New();
  }

  struct Call {
    grpc::ClientContext context;
    grpc::ByteBuffer request, response;
    std::unique_ptr<grpc::GenericStub> stub;
    const pb::Descriptor* output = nullptr;
    std::function<void(Result<std::string>)> done;

    Result<std::string> answer() const {
      std::vector<grpc::Slice> slices;
      if (!response.Dump(&slices).ok()) return Error{Code::kInternal, "the driver's answer cannot be read"};
      std::string bytes;
      for (const auto& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
      std::unique_ptr<pb::Message> message(make(output));
      std::string json;
      pb::util::JsonPrintOptions options;
      options.preserve_proto_field_names = true;
      if (!message->ParseFromString(bytes) || !pb::util::MessageToJsonString(*message, &json, options).ok())
        return Error{Code::kInternal, "the driver's answer is not well-formed"};
      return json;
    }
  };

  void refuse(std::function<void(Result<std::string>)> done, std::string message) {
    calls_.loop().post([done = std::move(done), message = std::move(message)] {
      done(Error{Code::kInvalid, message});
    });
  }

  GrpcCalls calls_;
};

}  // namespace

std::unique_ptr<CsiTransport> make_grpc_transport(Loop& loop) { return std::make_unique<GrpcTransport>(loop); }

}  // namespace gantry::nodeagent
