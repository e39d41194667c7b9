// What each metric of an autoscaler says: how many replicas it asks for, and its part of the status. Pure functions.
#pragma once

#include <nlohmann/json.hpp>

#include "libs/usage/metric_board.h"
#include "libs/usage/usage_board.h"
#include "schemas/api/autoscaling_v2_generated.h"
#include "services/controllers/autoscaling/measure.h"

namespace gantry::controllers {

/// What is known of what programs use and tell.
class Measurements {
 public:
  virtual ~Measurements() = default;
  virtual std::optional<usage::PodMeasured> pod(std::string_view uid) const = 0;
  /// Samples of a metric that was pushed in namespace `ns`; "": that this process measured itself.
  virtual void pushed(std::string_view ns, std::string_view name,
                      const std::function<void(const usage::Sample&)>& visit) const = 0;
};

struct Metric {
  Result<Proposal> proposal = Error{};
  std::string name;    // as conditions and events call it
  std::string reason;  // of a failure, e.g. FailedGetResourceMetric
  nlohmann::json status;
};

/// What an autoscaler looks at, at one moment.
struct Scene {
  const Measurements& measurements;
  std::string_view ns;
  const api::autoscaling_v2::HorizontalPodAutoscalerSpec& spec;
  const std::vector<model::Object>& pods;  // of the target
  int32_t current = 0;                     // replicas that the target is to have
  int32_t reported = 0;                    // and has, as its status says
  int64_t now = 0;                         // unix seconds
};

/// `wanted` null: cpu at 80 %, as Kubernetes takes it without metrics.
Metric read_metric(const Scene& scene, const api::autoscaling_v2::MetricSpec* wanted);

}  // namespace gantry::controllers
