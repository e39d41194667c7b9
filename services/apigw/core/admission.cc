#include "services/apigw/core/admission.h"

namespace gantry::apigw {

bool Admission::enter(Rank rank, const std::string& flow, std::function<void()> begin) {
  if (waiting_ >= options_.max_waiting && rank != Rank::kVital) return false;
  ++waiting_;
  switch (rank) {
    case Rank::kVital:
      vital_.push_back(std::move(begin));
      break;
    case Rank::kNormal:
      flows_[flow].push_back(std::move(begin));
      break;
    case Rank::kEvent:
      events_.push_back(std::move(begin));
      break;
  }
  wake();
  return true;
}

void Admission::finished(Rank rank) {
  --running_;
  if (rank == Rank::kEvent) --running_events_;
  if (waiting_ > 0) wake();
}

void Admission::wake() {
  if (woken_) return;
  woken_ = true;
  loop_.post(alive_.guard([this] {
    woken_ = false;
    turn();
  }));
}

void Admission::turn() {
  Begin begin;
  while (next(begin)) begin();
}

bool Admission::next(Begin& begin) {
  const auto take = [&](std::deque<Begin>& from) {
    begin = std::move(from.front());
    from.pop_front();
    --waiting_;
    ++running_;
    return true;
  };
  if (!vital_.empty()) return take(vital_);
  // Events first among what is left up to their share, or a store that is always busy would never take one.
  const size_t share = flows_.empty() && running_ == running_events_ ? options_.max_events : options_.min_events;
  if (!events_.empty() && running_events_ < share) {
    ++running_events_;
    return take(events_);
  }
  if (flows_.empty() || running_ - running_events_ >= options_.max_running) return false;
  auto flow = flows_.upper_bound(last_flow_);
  if (flow == flows_.end()) flow = flows_.begin();
  last_flow_ = flow->first;
  take(flow->second);
  if (flow->second.empty()) flows_.erase(flow);
  return true;
}

}  // namespace gantry::apigw
