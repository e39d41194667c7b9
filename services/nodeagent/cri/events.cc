#include "services/nodeagent/cri/events.h"

#include "github.com/containerd/containerd/api/events/task.pb.h"
#include "libs/base/ids.h"

namespace gantry::nodeagent {

namespace {
constexpr char kProbeTopic[] = "/gantry/subscribed";
constexpr Duration kProbePeriod = std::chrono::milliseconds(50);
constexpr Duration kRetry = std::chrono::milliseconds(250);
}  // namespace

// Owned by gRPC until OnDone.
class TaskEvents::Stream final : public grpc::ClientReadReactor<Envelope> {
 public:
  Stream(TaskEvents* owner, uint64_t generation)
      : owner_(owner),
        generation_(generation),
        alive_(owner->alive_),
        shared_(owner->calls_.shared()),
        loop_(owner->calls_.loop()) {
    for (const char* topic : {"/tasks/exit", "/tasks/oom", kProbeTopic}) {
      request_.add_filters(fmt::format("namespace==k8s.io,topic==\"{}\"", topic));
    }
    owner->calls_.prepare(context_, Duration::zero());
    owner->stub_->async()->Subscribe(&context_, &request_, this);
    StartRead(&envelope_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    loop_.post([owner = owner_, generation = generation_, weak = std::weak_ptr<bool>(alive_), envelope = envelope_] {
      if (!weak.expired()) owner->on_event(generation, envelope);
    });
    StartRead(&envelope_);
  }

  void OnDone(const grpc::Status& status) override {
    loop_.post([owner = owner_, generation = generation_, weak = std::weak_ptr<bool>(alive_), status] {
      if (!weak.expired()) owner->on_end(generation, status);
    });
    auto shared = shared_;
    shared->forget(&context_);
    delete this;
  }

 private:
  TaskEvents* owner_;
  uint64_t generation_;
  std::weak_ptr<bool> alive_;
  std::shared_ptr<GrpcCalls::Shared> shared_;
  Loop& loop_;
  grpc::ClientContext context_;
  containerd::services::events::v1::SubscribeRequest request_;
  Envelope envelope_;
};

TaskEvents::TaskEvents(GrpcCalls& calls, std::shared_ptr<grpc::Channel> channel, Callbacks callbacks)
    : calls_(calls), stub_(Events::NewStub(std::move(channel))), callbacks_(std::move(callbacks)) {}

TaskEvents::~TaskEvents() = default;

void TaskEvents::start() {
  ++generation_;
  connected_ = false;
  token_ = new_uid();
  new Stream(this, generation_);  // NOLINT: gRPC's until OnDone deletes it
  probe();
}

void TaskEvents::probe() {
  if (connected_) return;
  containerd::services::events::v1::PublishRequest request;
  request.set_topic(kProbeTopic);
  request.mutable_event()->set_type_url("gantry/probe");
  request.mutable_event()->set_value(token_);
  calls_.call(stub_->async(), &Events::Stub::async::Publish, std::move(request), std::chrono::seconds(5), [](auto) {});
  timer_ = calls_.loop().after(kProbePeriod, [this] { probe(); });
}

void TaskEvents::on_event(uint64_t generation, const Envelope& envelope) {
  if (generation != generation_) return;
  if (envelope.topic() == kProbeTopic) {
    if (connected_ || envelope.event().value() != token_) return;
    connected_ = told_ = true;
    timer_.reset();
    callbacks_.connected();
    return;
  }
  if (envelope.topic() == "/tasks/exit") {
    containerd::events::TaskExit exit;
    if (!exit.ParseFromString(envelope.event().value())) return;
    if (exit.id() == exit.container_id()) callbacks_.exited(exit.container_id());
  } else if (envelope.topic() == "/tasks/oom") {
    containerd::events::TaskOOM oom;
    if (oom.ParseFromString(envelope.event().value())) callbacks_.oom(oom.container_id());
  }
}

void TaskEvents::on_end(uint64_t generation, const grpc::Status& status) {
  if (generation != generation_) return;
  if (connected_ || !told_) callbacks_.disconnected(status.ok() ? "the event stream ended" : status.error_message());
  connected_ = false;
  told_ = true;
  timer_ = calls_.loop().after(kRetry, [this] { start(); });
}

}  // namespace gantry::nodeagent
