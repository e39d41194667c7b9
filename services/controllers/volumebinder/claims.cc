// What becomes of one claim.
#include "libs/model/quantity.h"
#include "libs/model/workload.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/volumebinder/drivers.h"
#include "services/controllers/volumebinder/matching.h"
#include "services/controllers/volumebinder/volumebinder.h"

namespace gantry::controllers {

using api::storage_v1::StorageClass;
using model::str;
using nlohmann::json;

namespace {

constexpr WallMicros kLookAgain = 15'000'000;

class Claim {
 public:
  Claim(const View& view, const model::Object& object, WallMicros now, const Memory& memory)
      : view_(view), object_(object), claim_(*object.as<core::PersistentVolumeClaim>()), now_(now), memory_(memory) {}

  Decision run() {
    if (claim_.spec() == nullptr) return {};
    str(claim_.spec()->volume_name()).empty() ? unbound() : named();
    return std::move(decision_);
  }

 private:
  std::string_view phase() const { return claim_.status() == nullptr ? "" : str(claim_.status()->phase()); }

  void note(const char* type, const char* reason, std::string message) {
    decision_.notes.push_back({object_, type, reason, std::move(message)});
  }
  void set_phase(const char* wanted) {
    if (phase() == wanted) return;
    decision_.add(patch(object_, json{{"status", {{"phase", wanted}}}}.dump(), "status"));
  }

  // Without a volume: one that points here, one that fits, or a new one.
  void unbound() {
    const model::Object* pointing = nullptr;
    view_.each_by("persistentvolumes", kByClaim, make_key(object_), [&](const model::Object& volume) {
      if (pointing == nullptr && refers(volume.as<core::PersistentVolume>()->spec()->claim_ref(), object_))
        pointing = &volume;
    });
    if (pointing != nullptr) return take(*pointing);
    if (model::is_deleting(object_.meta())) return abandon();
    const auto wanted = class_of(object_);
    if (!wanted) {
      if (const model::Object* standard = default_class(view_)) {
        auto command = patch(object_, json{{"spec", {{"storageClassName", standard->name()}}}}.dump());
        command.revision = object_.revision();
        decision_.add(std::move(command));
        return;
      }
    }
    const std::string name = wanted.value_or("");
    const model::Object* storage_class = name.empty() ? nullptr : view_.find("storageclasses", "", name);
    const std::string selected(model::annotation(object_.meta(), kSelectedNode));
    const model::Object* node = selected.empty() ? nullptr : view_.find("nodes", "", selected);
    if (!selected.empty() && node == nullptr) {  // it is gone: another will be chosen
      decision_.add(patch(object_, json{{"metadata", {{"annotations", {{kSelectedNode, nullptr}}}}}}.dump()));
      return;
    }
    if (storage_class != nullptr && waits_for_consumer(*storage_class) && selected.empty()) {
      return note("Normal", "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
    }
    if (const model::Object* match = best_match(view_, object_, node)) return bind(*match, true);
    if (name.empty()) {
      return note("Normal", "FailedBinding",
                  "no persistent volumes available for this claim and no storage class is set");
    }
    if (storage_class == nullptr)
      return note("Warning", "ProvisioningFailed", fmt::format("storageclass.storage.k8s.io \"{}\" not found", name));
    provision(*storage_class, selected);
  }

  // Deleted while a volume was being made for it: what came of that is taken in, to be reclaimed as any other. The
  // annotation holds the claim until here (volumeprotection).
  void abandon() {
    if (model::annotation(object_.meta(), kStorageProvisioner).empty()) return;
    const Answer* answer = answer_to(memory_, "CreateVolume");
    const model::Object* storage_class = view_.find("storageclasses", "", class_of(object_).value_or(""));
    if (answer != nullptr && answer->result.ok() && storage_class != nullptr)
      return make(*storage_class, body_of(*answer));
    decision_.add(patch(object_, json{{"metadata", {{"annotations", {{kStorageProvisioner, nullptr}}}}}}.dump()));
  }

  // The volume's side first, guarded by its revision: two claims never get the same.
  void bind(const model::Object& volume, bool ours) {
    json change{{"spec",
                 {{"claimRef",
                   {{"apiVersion", "v1"},
                    {"kind", "PersistentVolumeClaim"},
                    {"namespace", object_.ns()},
                    {"name", object_.name()},
                    {"uid", object_.uid()},
                    {"resourceVersion", std::to_string(object_.revision())}}}}}};
    if (ours) change["metadata"] = {{"annotations", {{kBoundByController, "yes"}}}};
    auto command = patch(volume, change.dump());
    command.revision = volume.revision();
    decision_.add(std::move(command));
  }

  void take(const model::Object& volume) {
    const auto& reference = *volume.as<core::PersistentVolume>()->spec()->claim_ref();
    if (auto why = unsuitable(volume, object_); !why.empty()) {
      note("Warning", "VolumeMismatch", fmt::format("Cannot bind to requested volume \"{}\": {}", volume.name(), why));
      return;
    }
    if (str(reference.uid()).empty()) return bind(volume, false);
    auto command =
        patch(object_, json{{"metadata", {{"annotations", {{kBindCompleted, "yes"}, {kBoundByController, "yes"}}}}},
                            {"spec", {{"volumeName", volume.name()}}}}
                           .dump());
    command.revision = object_.revision();
    decision_.add(std::move(command));
  }

  // With a volume's name, from here or from its user.
  void named() {
    const std::string_view name = str(claim_.spec()->volume_name());
    const bool completed = model::lookup(object_.meta()->annotations(), kBindCompleted) != nullptr;
    const model::Object* volume = view_.find("persistentvolumes", "", name);
    if (volume == nullptr) {
      if (!completed) return set_phase("Pending");
      if (phase() != "Lost") {
        note("Warning", "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
      }
      return set_phase("Lost");
    }
    const auto* reference = volume->as<core::PersistentVolume>()->spec()->claim_ref();
    if (reference == nullptr && !model::is_deleting(volume->meta())) {
      if (auto why = unsuitable(*volume, object_); !why.empty() && !completed) {
        note("Warning", "VolumeMismatch", fmt::format("Cannot bind to requested volume \"{}\": {}", name, why));
        return set_phase("Pending");
      }
      return bind(*volume, false);
    }
    if (!refers(reference, object_)) {
      if (completed) {
        note("Warning", "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
        return set_phase("Lost");
      }
      note("Warning", "FailedBinding", fmt::format("volume \"{}\" already bound to a different claim.", name));
      return set_phase("Pending");
    }
    if (str(reference->uid()).empty()) return bind(*volume, false);
    if (!completed) {
      decision_.add(patch(object_, json{{"metadata", {{"annotations", {{kBindCompleted, "yes"}}}}}}.dump()));
      return;
    }
    bound(*volume);
  }

  void bound(const model::Object& volume) {
    const auto* v = volume.as<core::PersistentVolume>()->spec();
    if (phase() != "Bound") {
      json modes = json::array();
      if (v->access_modes() != nullptr) {
        for (const auto* mode : *v->access_modes()) modes.push_back(std::string(str(mode)));
      }
      decision_.add(patch(object_,
                          json{{"status",
                                {{"phase", "Bound"},
                                 {"accessModes", std::move(modes)},
                                 {"capacity", {{"storage", capacity_of(volume)}}}}}}
                              .dump(),
                          "status"));
      return;
    }
    grow(volume);
  }

  static std::string capacity_of(const model::Object& volume) {
    const auto* amounts = volume.as<core::PersistentVolume>()->spec()->capacity();
    return std::string(amounts == nullptr ? "0" : str(model::lookup(amounts, "storage")));
  }

  void grow(const model::Object& volume) {
    const auto* v = volume.as<core::PersistentVolume>()->spec();
    const int64_t has = storage(v->capacity()), wants = requested(*claim_.spec()),
                  told = storage(claim_.status()->capacity());
    if (has > told && !waits_for_node()) return wait_for_node();
    if (wants <= has || v->csi() == nullptr) return;
    const model::Object* storage_class = view_.find("storageclasses", "", class_of(object_).value_or(""));
    if (storage_class == nullptr || !storage_class->as<StorageClass>()->allow_volume_expansion().value_or(false))
      return;
    const std::string_view driver = str(v->csi()->driver());
    if (const Answer* answer = answer_to(memory_, "ControllerExpandVolume"); answer != nullptr && answer->result.ok()) {
      const int64_t got = std::strtoll(body_of(*answer).value("capacity_bytes", "0").c_str(), nullptr, 10);
      const std::string amount = model::Quantity::from_bytes(std::max(got, wants)).to_string();
      decision_.add(patch(volume, json{{"spec", {{"capacity", {{"storage", amount}}}}}}.dump()));
      if (body_of(*answer).value("node_expansion_required", false)) return wait_for_node();
      decision_.add(patch(object_, json{{"status", {{"capacity", {{"storage", amount}}}}}}.dump(), "status"));
      return note("Normal", "VolumeResizeSuccessful", "Resize volume succeeded");
    }
    const auto* affinity = v->node_affinity() == nullptr ? nullptr : v->node_affinity()->required();
    const std::string node = node_with(view_, driver, affinity, "");
    if (node.empty()) {
      decision_.wake(now_ + kLookAgain);
      return note("Warning", "VolumeResizeFailed", fmt::format("no node has driver {}", driver));
    }
    Planned planned{call_driver(node, driver, "ControllerExpandVolume",
                                {{"volume_id", std::string(str(v->csi()->volume_handle()))},
                                 {"capacity_range", {{"required_bytes", std::to_string(wants)}}}})};
    planned.on_failure = {object_, "Warning", "VolumeResizeFailed",
                          fmt::format("resize volume \"{}\" by resizer \"{}\" failed: {{}}", volume.name(), driver)};
    decision_.commands.push_back(std::move(planned));
  }

  bool waits_for_node() const {
    const auto* conditions = claim_.status()->conditions();
    return conditions != nullptr && std::any_of(conditions->begin(), conditions->end(), [](const auto* c) {
             return str(c->type()) == "FileSystemResizePending" && str(c->status()) == "True";
           });
  }

  // The node that mounts it does the rest, and then tells the new capacity.
  void wait_for_node() {
    note("Normal", "FileSystemResizeRequired", "Require file system resize of volume on node");
    decision_.add(patch(
        object_,
        json{{"status",
              {{"conditions",
                json::array(
                    {{{"type", "FileSystemResizePending"},
                      {"status", "True"},
                      {"message",
                       "Waiting for user to (re-)start a pod to finish file system resize of volume on node."}}})}}}}
            .dump(),
        "status"));
  }

  void provision(const model::Object& storage_class, const std::string& selected) {
    const std::string driver(str(storage_class.as<StorageClass>()->provisioner()));
    if (driver == kNoProvisioner) {
      return note("Normal", "FailedBinding",
                  "no persistent volumes available for this claim and its storage class makes none");
    }
    if (model::annotation(object_.meta(), kStorageProvisioner) != driver) {
      decision_.add(patch(object_, json{{"metadata", {{"annotations", {{kStorageProvisioner, driver}}}}}}.dump()));
      return;
    }
    if (const Answer* answer = answer_to(memory_, "CreateVolume")) {
      if (answer->result.ok()) return make(storage_class, body_of(*answer));
      if (answer->result.code() == Code::kTooManyRequests && !selected.empty()) {
        // No room there: the scheduler chooses again.
        note("Warning", "ProvisioningFailed", answer->result.error().message);
        decision_.add(patch(object_, json{{"metadata", {{"annotations", {{kSelectedNode, nullptr}}}}}}.dump()));
        return;
      }
    }
    const std::string node = node_with(view_, driver, nullptr, selected);
    if (node.empty()) {
      decision_.wake(now_ + kLookAgain);
      return note(
          "Normal", "ExternalProvisioning",
          fmt::format("Waiting for a volume to be created either by the external provisioner '{}' or manually by "
                      "the system administrator. If volume creation is delayed, please verify that the "
                      "provisioner is running and correctly registered.",
                      driver));
    }
    if (memory_.failures == 0) {
      note("Normal", "Provisioning",
           fmt::format("External provisioner is provisioning volume for claim \"{}\"", make_key(object_)));
    }
    Planned planned{call_driver(node, driver, "CreateVolume", creation(view_, object_, storage_class, node))};
    planned.on_failure = {
        object_, "Warning", "ProvisioningFailed",
        fmt::format("failed to provision volume with StorageClass \"{}\": {{}}", storage_class.name())};
    decision_.commands.push_back(std::move(planned));
  }

  void make(const model::Object& storage_class, const json& answer) {
    const json made = made_volume(object_, storage_class, answer);
    bus::Command command;
    command.verb = bus::Verb::Create;
    command.resource = "persistentvolumes";
    command.json = made.dump();
    Planned planned{std::move(command)};
    planned.on_success = {object_, "Normal", "ProvisioningSucceeded",
                          fmt::format("Successfully provisioned volume pvc-{}", object_.uid())};
    decision_.commands.push_back(std::move(planned));
  }

  const View& view_;
  const model::Object& object_;
  const core::PersistentVolumeClaim& claim_;
  const WallMicros now_;
  const Memory& memory_;
  Decision decision_;
};

}  // namespace

Decision decide_claim(const View& view, const model::Object& claim, WallMicros now, const Memory& memory) {
  return Claim(view, claim, now, memory).run();
}

}  // namespace gantry::controllers
