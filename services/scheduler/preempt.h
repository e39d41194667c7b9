// Whom a pod may drive out: what kube-scheduler's DefaultPreemption does.
// https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/
#pragma once

#include <string>
#include <vector>

#include "libs/model/selector.h"
#include "libs/projection/cache.h"
#include "services/scheduler/choose.h"

namespace gantry::scheduler {

/// A PodDisruptionBudget: how many of its pods may go now.
struct Budget {
  std::string ns;
  model::LabelSelector pods;
  int64_t allowed = 0;
};

/// Those of the API that can be read. `cache` is of PodDisruptionBudgets.
std::vector<Budget> read_budgets(const projection::Cache& cache);

inline constexpr const char* kPreemptionIsNoHelp = "Preemption is not helpful for scheduling";

struct Preemption {
  std::string node;              // empty: nothing helps, and `why_not` says why
  std::vector<PodInfo> victims;  // none: those that go already make room
  std::string why_not;
};

/// The node where the pod fits once pods of lower priority are gone, and the fewest of them: budgets are broken where
/// nothing else helps, then the least important go, then the fewest, then the youngest. Looks at some of a large
/// cluster's nodes. `cluster` changes meanwhile and is afterwards as it was. `also`: see choose().
Preemption preempt(Cluster& cluster, const PodInfo& pod, const std::vector<Budget>& budgets,
                   const NodeFilter& also = nullptr);

}  // namespace gantry::scheduler
