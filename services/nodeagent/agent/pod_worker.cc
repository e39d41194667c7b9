#include "services/nodeagent/agent/pod_worker.h"

#include "services/nodeagent/agent/termination_message.h"

namespace gantry::nodeagent {

using model::str;

namespace {
constexpr Duration kObserveRetry = std::chrono::seconds(1);

bool shows_itself(const core::PodSpec& spec) {
  if (spec.volumes() == nullptr) return false;
  return std::any_of(spec.volumes()->begin(), spec.volumes()->end(), [](const auto* v) {
    if (v->downward_api() != nullptr) return true;
    const auto* sources = v->projected() == nullptr ? nullptr : v->projected()->sources();
    return sources != nullptr && std::any_of(sources->begin(), sources->end(),
                                             [](const auto* source) { return source->downward_api() != nullptr; });
  });
}

bool same_words(const model::Object& a, const model::Object& b) {
  const auto same = [](const auto* x, const auto* y) {
    const size_t n = x == nullptr ? 0 : x->size();
    if (n != (y == nullptr ? 0 : y->size())) return false;
    for (flatbuffers::uoffset_t i = 0; i < n; ++i) {
      if (str(x->Get(i)->key()) != str(y->Get(i)->key()) || str(x->Get(i)->value()) != str(y->Get(i)->value()))
        return false;
    }
    return true;
  };
  return same(a.meta()->labels(), b.meta()->labels()) && same(a.meta()->annotations(), b.meta()->annotations());
}
}  // namespace

PodWorker::PodWorker(WorkerContext& context, std::string uid, RuntimePod observed)
    : context_(context),
      uid_(std::move(uid)),
      observed_(std::move(observed)),
      prober_(
          context.loop, context.runtime, context.probes,
          [this](const std::string& id, const ProbeResults& results) {
            memory_.probes[id] = results;
            wake();
          },
          [this](const std::string& container, const std::string& kind, const std::string& message) {
            record(true, "Unhealthy", fmt::format("{} probe failed: {}", kind, message));
          }),
      trace_(context.loop) {
  observed_.uid = uid_;
  wake();
}

PodWorker::~PodWorker() = default;

std::string PodWorker::log() const {
  if (pod_) return fmt::format("pod={}/{} uid={} ", pod_.ns(), pod_.name(), uid_);
  return fmt::format("pod={}/{} uid={} ", observed_.ns, observed_.name, uid_);
}

std::string PodWorker::address() const {
  const bool host = spec()->spec() != nullptr && spec()->spec()->host_network().value_or(false);
  const auto& ips = host ? context_.node.host_ips : memory_.pod_ips;
  return ips.empty() ? std::string() : ips[0];
}

void PodWorker::set_pod(model::Object pod) {
  note_resize(pod);
  // Files of the downward API show labels and annotations as they are now.
  if (pod_ && pod && shows_itself(*pod.as<core::Pod>()->spec()) && !same_words(pod_, pod)) {
    volumes_stale_ = memory_.in_flight.count("prepare") != 0;
    memory_.prepared = false;
  }
  pod_ = std::move(pod);
  desired_ = shown_anew_ = true;
  if (observed_.name.empty()) {
    observed_.ns = pod_.ns();
    observed_.name = pod_.name();
  }
  probe();  // probes point into the pod's buffer
  wake();
}

void PodWorker::terminate(Termination why) {
  if (!pod_ || memory_.terminal || memory_.termination) return;
  memory_.termination = std::move(why);
  wake();
}

void PodWorker::probe() {
  const bool ending =
      memory_.terminal || !desired_ || spec()->metadata()->deletion_timestamp().has_value() || memory_.termination;
  prober_.reconcile(*spec(), observed_, address(), context_.loop.wall(), ending, memory_.hooking);
}

void PodWorker::set_mirror(model::Object mirror) {
  mirror_ = std::move(mirror);
  if (!mirror_) return;
  shown_anew_ = true;
  if (memory_.last.phase.empty()) memory_.last = decode_status(*mirror_.as<core::Pod>());
  wake();
}

bool PodWorker::ended() const {
  const bool over = !desired_ || memory_.terminal;
  return over && std::none_of(observed_.containers.begin(), observed_.containers.end(), [](const Container& c) {
           return c.state == ContainerState::kRunning || c.state == ContainerState::kUnknown;
         });
}

void PodWorker::set_gone() {
  desired_ = false;
  wake();
}

bool PodWorker::refers_to(const std::string& resource, const std::string& name) const {
  if (!pod_) return false;
  auto all = references(*spec(), !context_.disk);
  return std::find(all.begin(), all.end(), Reference{resource, name}) != all.end();
}

void PodWorker::reference_changed(const std::string& resource, const std::string& ns, const std::string& name) {
  if (!pod_ || pod_.ns() != ns || !refers_to(resource, name)) return;
  if (memory_.prepare_failure) memory_.prepare_failure->retry_at = 0;
  for (auto& [_, failure] : memory_.launch_failures) {
    if (failure.reason == "CreateContainerConfigError") failure.retry_at = 0;
  }
  volumes_stale_ = memory_.in_flight.count("prepare") != 0;
  memory_.prepared = false;  // volumes are written again; containers that run are not touched
  wake();
}

void PodWorker::retry_volumes() {
  if (!memory_.prepare_failure) return;
  memory_.prepare_failure->retry_at = 0;
  wake();
}

void PodWorker::wake() {
  if (woken_ || finished_) return;
  woken_ = true;
  context_.loop.post(guard([this] { decide(); }));
}

void PodWorker::decide() {
  woken_ = false;
  if (finished_) return;
  resize();
  PodInput input{spec(), desired_, &observed_, context_.node.host_ips, context_.loop.wall()};
  auto decision = nodeagent::decide(input, memory_);
  if (pod_ && desired_ && shown() != nullptr) {
    const auto uid = std::string(api_uid());
    context_.statuses.set(
        uid_, std::string(pod_.ns()), std::string(pod_.name()),
        encode_status(pod_.ns(), pod_.name(), uid, decision.status, shown()), uid,
        fmt::format("pods/{}/{}@{}", pod_.ns(), pod_.name(), (static_pod() ? mirror_ : pod_).revision()));
    correct_api();
    if (!trace_.done()) follow_readiness();
  }
  if (decision.finished) {
    finished_ = true;
    context_.statuses.forget(uid_);
    context_.loop.post([&context = context_, uid = uid_] { context.finished(uid); });
    return;
  }
  if (pod_) probe();
  for (const auto& note : decision.notes) record(note.warning, note.reason, note.message);
  requeue_.reset();
  if (decision.requeue_at) {
    auto delay = std::max<int64_t>(0, *decision.requeue_at - context_.loop.wall());
    requeue_ = context_.loop.after(Duration(delay), [this] { wake(); });
  }
  for (const auto& action : decision.actions) act(action);
}

void PodWorker::follow_readiness() {
  const auto& status = memory_.last;
  const bool ready = std::any_of(status.conditions.begin(), status.conditions.end(),
                                 [](const auto& c) { return c.type == "Ready" && c.status; });
  if (!ready && !memory_.terminal) return;
  for (const auto& c : status.containers) trace_.end("probes", c.name);
  trace_.begin("report");
  trace_.ready();
  context_.statuses.when_settled(uid_, guard([this] {
                                   trace_.end("report");
                                   if (context_.traced) context_.traced(trace());
                                 }));
}

void PodWorker::correct_api() {
  if (!std::exchange(shown_anew_, false)) return;
  const auto in_api = decode_status(*shown());
  const auto ready = [](const PodStatusValue& status) {
    return std::any_of(status.conditions.begin(), status.conditions.end(),
                       [](const auto& c) { return c.type == "Ready" && c.status; });
  };
  if (ready(in_api) == ready(memory_.last) || in_api.phase == "Succeeded" || in_api.phase == "Failed") return;
  // What is on its way already is not sent twice.
  context_.statuses.resend(uid_);
}

void PodWorker::observe() {
  if (observing_) {
    observe_again_ = true;
    return;
  }
  observing_ = true;
  observe_again_ = false;
  reobserve_.reset();
  context_.runtime.observe(uid_, guard([this, covered = completed_](Result<RuntimePod> result) {
                             on_observed(std::move(result), covered);
                           }));
}

void PodWorker::on_observed(Result<RuntimePod> result, std::set<std::string> covered) {
  observing_ = false;
  if (!result.ok()) {
    // What runs is not known: nothing is decided, what is under way stays so.
    LOG_EVERY_N(WARNING, 20) << log() << "observing: " << result.error().message;
    reobserve_ = context_.loop.after(kObserveRetry, [this] { observe(); });
    return;
  }
  auto ns = observed_.ns, name = observed_.name;
  observed_ = std::move(*result);
  observed_.uid = uid_;
  if (observed_.name.empty()) {
    observed_.ns = ns;
    observed_.name = name;
  }
  for (const auto& key : covered) {
    completed_.erase(key);
    memory_.in_flight.erase(key);
    memory_.uncreated.erase(key);
  }
  collect_messages();
  if (observe_again_) observe();
  wake();
}

void PodWorker::complete(const std::string& key) {
  completed_.insert(key);
  observe();
}

// What containers left in their termination message files, or else at the end of their logs.
void PodWorker::collect_messages() {
  for (const auto& c : observed_.containers) {
    if (c.state != ContainerState::kExited || memory_.termination_messages.count(c.id)) continue;
    auto& message = memory_.termination_messages[c.id];
    if (context_.disk) message = termination_message(c);
  }
}

void PodWorker::record(bool warning, const std::string& reason, const std::string& message) {
  if (pod_ && context_.record) context_.record(pod_, warning, reason, message);
}

FindReference PodWorker::find_reference() const {
  return [&store = context_.references](std::string_view resource, std::string_view ns, std::string_view name) {
    return store.find(resource, ns, name);
  };
}

// A runtime or gateway that is away is not the pod's failure: it is tried again when it is back.
void PodWorker::failed(std::optional<Failure>& failure, const char* reason, const Error& error) {
  if (!failure) failure.emplace();
  failure->fail(reason, error.message, context_.loop.wall());
  if (error.code == Code::kUnavailable) {
    failure->times = 0;
    failure->retry_at = context_.loop.wall() + 1'000'000;
  }
}

void PodWorker::act(const Action& action) {
  using Kind = Action::Kind;
  VLOG(1) << log() << action.key;
  switch (action.kind) {
    case Kind::kPrepare:
      return prepare(action);
    case Kind::kRunSandbox:
      return run_sandbox(action);
    case Kind::kStopSandbox:
      return stop_sandbox(action);
    case Kind::kRemoveSandbox:
      return remove_sandbox(action);
    case Kind::kLaunch:
      return launch(action);
    case Kind::kStart:
      return start(action);
    case Kind::kPreStop:
      return pre_stop(action);
    case Kind::kStopContainer:
      return stop_container(action);
    case Kind::kRemoveContainer:
      return remove_container(action);
    case Kind::kRelease:
      return release(action);
    case Kind::kCleanup:
      return cleanup(action);
    case Kind::kConfirmDelete:
      return confirm(action);
  }
}

}  // namespace gantry::nodeagent
