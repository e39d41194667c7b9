// What becomes of one PersistentVolume.
#include "libs/model/json.h"
#include "libs/model/workload.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/volumebinder/drivers.h"
#include "services/controllers/volumebinder/matching.h"
#include "services/controllers/volumebinder/volumebinder.h"

namespace gantry::controllers {

using model::str;
using nlohmann::json;

namespace {

constexpr WallMicros kLookAgain = 15'000'000;

/// What was read is a later object of the same name. In doubt it is not.
bool is_another(const bus::CommandOutcome& read, std::string_view uid) {
  const model::Kind& kind = *model::Schema::get().by_resource("persistentvolumeclaims");
  if (!read.uid.empty()) return read.uid != uid;
  return !read.object.empty() && model::verify(*kind.type, read.object) &&
         model::Object(kind, read.object).uid() != uid;
}

class Volume {
 public:
  Volume(const View& view, const model::Object& object, WallMicros now, const Memory& memory)
      : view_(view), object_(object), volume_(*object.as<core::PersistentVolume>()), now_(now), memory_(memory) {}

  Decision run() {
    if (volume_.spec() != nullptr) decide();
    return std::move(decision_);
  }

 private:
  std::string_view phase() const { return volume_.status() == nullptr ? "" : str(volume_.status()->phase()); }

  void note(const char* type, const char* reason, std::string message) {
    decision_.notes.push_back({object_, type, reason, std::move(message)});
  }
  void set_phase(const char* wanted, const std::string& message = "") {
    if (phase() == wanted) return;
    json status{{"phase", wanted}, {"lastPhaseTransitionTime", model::format_time(now_ / 1'000'000)}};
    if (!message.empty()) status["message"] = message;
    decision_.add(patch(object_, json{{"status", std::move(status)}}.dump(), "status"));
  }

  void decide() {
    const auto* reference = volume_.spec()->claim_ref();
    if (reference == nullptr) return set_phase("Available");
    const model::Object* claim =
        view_.find("persistentvolumeclaims", str(reference->namespace_()), str(reference->name()));
    if (str(reference->uid()).empty()) return claim == nullptr ? set_phase("Available") : void();  // the claim's turn
    if (claim == nullptr || claim->uid() != str(reference->uid())) return gone(*reference);
    const std::string_view name = str(claim->as<core::PersistentVolumeClaim>()->spec()->volume_name());
    if (name == object_.name()) return set_phase("Bound");
    if (name.empty()) return;  // the claim's turn
    // The claim took another: let go of it, or of a volume that was made for nothing.
    if (model::lookup(object_.meta()->annotations(), kProvisionedBy) != nullptr && deletes()) return reclaim();
    if (model::lookup(object_.meta()->annotations(), kBoundByController) == nullptr) return;
    auto command = patch(object_, json{{"spec", {{"claimRef", nullptr}}},
                                       {"metadata", {{"annotations", {{kBoundByController, nullptr}}}}}}
                                      .dump());
    command.revision = object_.revision();
    decision_.add(std::move(command));
  }

  bool deletes() const { return str(volume_.spec()->persistent_volume_reclaim_policy()) == "Delete"; }

  // The view has no such claim: whether there is none, apigw knows.
  void gone(const core::ObjectReference& reference) {
    if (memory_.answers.empty() || asked() == nullptr) {
      if (answer_to(memory_, "DeleteVolume") != nullptr) return reclaim();
      bus::Command command;
      command.verb = bus::Verb::Get;
      command.resource = "persistentvolumeclaims";
      command.ns = str(reference.namespace_());
      command.name = str(reference.name());
      if (settled()) return;
      decision_.add(std::move(command));
      return;
    }
    const Answer& answer = *asked();
    const bool absent =
        answer.result.ok() ? is_another(*answer.result, str(reference.uid())) : answer.result.code() == Code::kNotFound;
    if (!absent) {  // the view is behind, and will learn
      decision_.wake(now_ + kLookAgain);
      return;
    }
    if (phase() != "Released" && phase() != "Failed") return set_phase("Released");
    reclaim();
  }

  const Answer* asked() const {
    for (const Answer& answer : memory_.answers) {
      if (answer.command.verb == bus::Verb::Get && answer.command.resource == "persistentvolumeclaims") return &answer;
    }
    return nullptr;
  }

  /// Released, and nothing is to be done about it.
  bool settled() const {
    if (holds_on()) return false;
    if (phase() == "Failed") return true;
    return phase() == "Released" && !(deletes() && (volume_.spec()->csi() == nullptr || ours()));
  }
  bool ours() const {
    return volume_.spec()->csi() != nullptr &&
           model::annotation(object_.meta(), kProvisionedBy) == str(volume_.spec()->csi()->driver());
  }

  /// Deleted by its user, and kept by our finalizer.
  bool holds_on() const {
    return model::is_deleting(object_.meta()) && model::has_finalizer(object_.meta(), kProvisionerFinalizer);
  }

  void reclaim() {
    if (!deletes()) return holds_on() ? forget() : void();
    const auto* csi = volume_.spec()->csi();
    if (csi == nullptr) {
      const std::string why = "no driver deletes volumes of this kind";
      note("Warning", "VolumeFailedDelete", why);
      return set_phase("Failed", why);
    }
    if (!ours()) return;  // whoever made it
    if (const Answer* answer = answer_to(memory_, "DeleteVolume"); answer != nullptr && answer->result.ok())
      return forget();
    const auto* affinity =
        volume_.spec()->node_affinity() == nullptr ? nullptr : volume_.spec()->node_affinity()->required();
    const std::string driver(str(csi->driver())), node = node_with(view_, driver, affinity, "");
    if (node.empty()) {
      decision_.wake(now_ + kLookAgain);
      return note("Warning", "VolumeFailedDelete", fmt::format("no node that has the volume runs driver {}", driver));
    }
    Planned planned{call_driver(node, driver, "DeleteVolume", {{"volume_id", std::string(str(csi->volume_handle()))}})};
    planned.on_failure = {object_, "Warning", "VolumeFailedDelete", "{}"};
    decision_.commands.push_back(std::move(planned));
  }

  // The storage is gone: now the object, and the finalizer that kept it until here.
  void forget() {
    if (!model::is_deleting(object_.meta())) {
      decision_.add(remove(object_));
      return;
    }
    json left = json::array();
    if (object_.meta()->finalizers() != nullptr) {
      for (const auto* f : *object_.meta()->finalizers()) {
        if (str(f) != kProvisionerFinalizer) left.push_back(std::string(str(f)));
      }
    }
    auto command = patch(object_, json{{"metadata", {{"finalizers", std::move(left)}}}}.dump());
    command.revision = object_.revision();
    decision_.add(std::move(command));
  }

  const View& view_;
  const model::Object& object_;
  const core::PersistentVolume& volume_;
  const WallMicros now_;
  const Memory& memory_;
  Decision decision_;
};

}  // namespace

Decision decide_volume(const View& view, const model::Object& volume, WallMicros now, const Memory& memory) {
  return Volume(view, volume, now, memory).run();
}

}  // namespace gantry::controllers
