// Which volume fits which claim. Pure functions.
#pragma once

#include <string>

#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/storage_v1_generated.h"
#include "services/controllers/framework/view.h"

namespace gantry::controllers {

namespace core = api::core_v1;

inline constexpr const char* kBindCompleted = "pv.kubernetes.io/bind-completed";
inline constexpr const char* kBoundByController = "pv.kubernetes.io/bound-by-controller";
inline constexpr const char* kProvisionedBy = "pv.kubernetes.io/provisioned-by";
inline constexpr const char* kSelectedNode = "volume.kubernetes.io/selected-node";
inline constexpr const char* kStorageProvisioner = "volume.kubernetes.io/storage-provisioner";
inline constexpr const char* kProvisionerFinalizer = "external-provisioner.volume.kubernetes.io/finalizer";
inline constexpr const char* kNoProvisioner = "kubernetes.io/no-provisioner";

/// spec.storageClassName, or the old annotation; nullopt: the default is meant.
std::optional<std::string> class_of(const model::Object& claim);
std::string class_of_volume(const model::Object& volume);
/// The class that is marked as default, the newest of several; null when there is none.
const model::Object* default_class(const View& view);
bool waits_for_consumer(const model::Object& storage_class);

/// Bytes.
int64_t storage(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* amounts);
int64_t requested(const core::PersistentVolumeClaimSpec& spec);

/// The reference names the claim; a uid that it has must be the claim's.
bool refers(const core::ObjectReference* reference, const model::Object& claim);
/// Empty when the volume can serve the claim, else why not (class, mode, access modes, size).
std::string unsuitable(const model::Object& volume, const model::Object& claim);
/// The smallest unclaimed volume that fits, of equals the first by name; with a node, one that it can reach. Null:
/// none.
const model::Object* best_match(const View& view, const model::Object& claim, const model::Object* node);

}  // namespace gantry::controllers
