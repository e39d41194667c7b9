#include "services/controllers/job/members.h"

#include <charconv>
#include <climits>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/pods.h"
#include "services/controllers/job/policy.h"

namespace gantry::controllers {
namespace {

using api::core_v1::Pod;
using model::str;

constexpr const char* kIndex = "batch.kubernetes.io/job-completion-index";
constexpr const char* kFailures = "batch.kubernetes.io/job-index-failure-count";
constexpr const char* kIgnored = "batch.kubernetes.io/job-index-ignored-failure-count";
constexpr const char* kEnv = "JOB_COMPLETION_INDEX";

int number(std::string_view text, int fallback) {
  int value = fallback;
  auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  return read.ec == std::errc() ? value : fallback;
}

bool names(const flatbuffers::Vector<flatbuffers::Offset<api::core_v1::EnvVar>>* env, std::string_view name) {
  if (env == nullptr) return false;
  return std::any_of(env->begin(), env->end(), [&](const auto* e) { return str(e->name()) == name; });
}

/// Tells every container the index, unless it says itself what it wants.
void add_env(model::Draft& pod, const api::core_v1::PodSpec& spec) {
  for (const char* list : {"initContainers", "containers"}) {
    const auto* containers = list[0] == 'c' ? spec.containers() : spec.init_containers();
    for (flatbuffers::uoffset_t i = 0; containers != nullptr && i < containers->size(); ++i) {
      const auto* env = containers->Get(i)->env();
      if (names(env, kEnv)) continue;
      const std::string at = fmt::format("spec.{}[{}].env[", list, i);
      pod.set(at + "+].name", kEnv);
      pod.set(fmt::format("{}{}].valueFrom.fieldRef.fieldPath", at, env == nullptr ? 0 : env->size()),
              fmt::format("metadata.labels['{}']", kIndex));
    }
  }
}

}  // namespace

bool replaces_failed_only(const api::batch_v1::JobSpec& spec) {
  return str(spec.pod_replacement_policy()) == "Failed" ||
         (spec.pod_replacement_policy() == nullptr && spec.pod_failure_policy() != nullptr);
}

std::vector<JobPod> describe(const std::vector<model::Object>& pods, const api::batch_v1::JobSpec& spec) {
  const bool indexed = str(spec.completion_mode()) == "Indexed", late = replaces_failed_only(spec);
  const int completions = spec.completions().value_or(INT_MAX);
  std::vector<JobPod> out;
  out.reserve(pods.size());
  for (const model::Object& object : pods) {
    const Pod& pod = *object.as<Pod>();
    const std::string_view phase = pod.status() == nullptr ? std::string_view() : str(pod.status()->phase());
    const bool deleting = model::is_deleting(object.meta());
    JobPod p;
    p.object = object;
    if (indexed) p.index = number(model::annotation(object.meta(), kIndex), -1);
    if (p.index >= completions) p.index = -1;
    p.tracked = model::has_finalizer(object.meta(), kJobTracking);
    p.succeeded = phase == "Succeeded";
    p.failed = phase == "Failed" || (!late && deleting && !p.succeeded);
    p.active = model::pod_active(pod);
    p.terminating = deleting && !model::pod_terminal(pod);
    p.ready = p.active && model::pod_ready(pod);
    if (p.failed && spec.pod_failure_policy() != nullptr) {
      FailureVerdict verdict = judge_failure(spec.pod_failure_policy(), object);
      p.counts = verdict.counts;
      p.fails_index = verdict.fails_index;
      p.fails_job = std::move(verdict.fails_job);
    }
    out.push_back(std::move(p));
  }
  return out;
}

int counted_failures(const model::Object& pod) { return number(model::annotation(pod.meta(), kFailures), 0); }
int all_failures(const model::Object& pod) {
  return counted_failures(pod) + number(model::annotation(pod.meta(), kIgnored), 0);
}

model::Bytes make_job_pod(const model::Object& job, int index, const JobPod* replaced) {
  const auto& spec = *job.as<api::batch_v1::Job>()->spec();
  model::Draft pod = pod_from_template(job, spec.template_());
  const auto* meta = spec.template_() == nullptr ? nullptr : spec.template_()->metadata();
  if (!model::has_finalizer(meta, kJobTracking)) pod.set("metadata.finalizers[+]", kJobTracking);
  if (index < 0) {
    pod.set("metadata.generateName", name_prefix(job.name()));
    return pod.bytes();
  }
  const std::string text = std::to_string(index);
  pod.set("metadata.generateName", name_prefix(job.name(), text));
  pod.set(fmt::format("metadata.annotations[{}]", kIndex), text);
  pod.set(fmt::format("metadata.labels[{}]", kIndex), text);
  if (spec.template_() != nullptr && spec.template_()->spec() != nullptr) add_env(pod, *spec.template_()->spec());
  pod.set("spec.hostname", fmt::format("{}-{}", job.name(), index));
  if (spec.backoff_limit_per_index()) {
    int counted = 0, ignored = 0;
    if (replaced != nullptr) {
      counted = counted_failures(replaced->object);
      ignored = all_failures(replaced->object) - counted;
      ++(replaced->counts ? counted : ignored);
    }
    pod.set(fmt::format("metadata.annotations[{}]", kFailures), std::to_string(counted));
    if (ignored > 0) pod.set(fmt::format("metadata.annotations[{}]", kIgnored), std::to_string(ignored));
  }
  return pod.bytes();
}

}  // namespace gantry::controllers
