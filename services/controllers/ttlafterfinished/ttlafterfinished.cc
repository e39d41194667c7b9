#include "services/controllers/ttlafterfinished/ttlafterfinished.h"

#include "libs/model/workload.h"
#include "schemas/api/batch_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {

using api::batch_v1::Job;
using model::str;

void TtlAfterFinishedController::keys_for(const View&, std::string_view, const projection::Change& change,
                                          std::vector<std::string>& keys) const {
  if (!change.after) return;
  const auto* spec = change.after.as<Job>()->spec();
  if (spec != nullptr && spec->ttl_seconds_after_finished()) keys.push_back(make_key(change.after));
}

Decision TtlAfterFinishedController::decide(const View& view, const std::string& key, WallMicros now,
                                            const Memory&) const {
  Decision decision;
  const model::Object* job = view.find("jobs", key);
  if (job == nullptr || model::is_deleting(job->meta())) return decision;
  const auto* spec = job->as<Job>()->spec();
  const auto* status = job->as<Job>()->status();
  if (spec == nullptr || !spec->ttl_seconds_after_finished() || status == nullptr || status->conditions() == nullptr)
    return decision;
  for (const auto* c : *status->conditions()) {
    const bool ended = str(c->type()) == "Complete" || str(c->type()) == "Failed";
    if (!ended || str(c->status()) != "True") continue;
    const int64_t until = c->last_transition_time().value_or(0) + *spec->ttl_seconds_after_finished();
    if (until * 1'000'000 > now) {
      decision.wake(until * 1'000'000);
    } else {
      bus::Command command = remove(*job, "Foreground");
      command.revision = job->revision();  // a longer time may have been given
      decision.add(std::move(command));
    }
    return decision;
  }
  return decision;
}

}  // namespace gantry::controllers
