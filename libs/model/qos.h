// A pod's quality of service class, by which the API shows it, quotas count it and nodes choose whom to end first.
#pragma once

#include <cstdint>

#include "schemas/api/core_v1_generated.h"

namespace gantry::model {

enum class Qos : uint8_t { kGuaranteed, kBurstable, kBestEffort };
/// By the cpu and memory that the pod as a whole asks for, if it does, else its containers. A limit counts as a request
/// that is not said. What cannot be read counts as not said.
Qos pod_qos(const api::core_v1::PodSpec& spec);
/// As status.qosClass has it.
const char* qos_name(Qos qos);

}  // namespace gantry::model
