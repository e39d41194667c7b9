#include "services/apigw/rest/flow.h"

#include <algorithm>

namespace gantry::apigw {
namespace {

Error too_many() {
  return {
      .code = Code::kTooManyRequests, .message = "too many requests, please try again later", .retry_after_seconds = 1};
}

}  // namespace

FlowControl::FlowControl(Loop& loop, Options options)
    : loop_(loop), options_(options), self_(std::make_shared<FlowControl*>(this)) {
  queues_[0].seats = options_.system_seats;
  queues_[1].seats = options_.workload_seats;
  expiry_ = loop_.every(std::chrono::seconds(1), [this] { expire(); });
}

FlowControl::Level FlowControl::level_of(const Identity& identity) {
  if (identity.in_group("system:masters")) return Level::kExempt;
  const bool own = identity.user.starts_with("system:gantry:") || identity.in_group("system:nodes") ||
                   identity.in_group("system:serviceaccounts:kube-system");
  return own ? Level::kSystem : Level::kWorkload;
}

std::vector<FlowControl::State> FlowControl::levels() const {
  std::vector<State> out{{.name = "exempt", .counters = exempt_}};
  for (const auto& q : queues_) {
    State state{&q == &queues_[0] ? "system" : "workload", q.seats, q.used, q.waiting, q.flows.size(), 0, q.counters};
    for (const auto& [flow, line] : q.flows) state.longest = std::max(state.longest, line.size());
    out.push_back(state);
  }
  return out;
}

FlowControl::Counters FlowControl::counters() const {
  Counters all;
  for (const auto& level : levels()) {
    all.begun += level.counters.begun;
    all.waited += level.counters.waited;
    all.refused += level.counters.refused;
  }
  return all;
}

size_t FlowControl::waiting() const { return queues_[0].waiting + queues_[1].waiting; }
size_t FlowControl::running() const { return queues_[0].used + queues_[1].used; }

FlowControl::Seat FlowControl::take(Level level, size_t width) {
  queue(level).used += width;
  ++queue(level).counters.begun;
  return {nullptr, [weak = std::weak_ptr(self_), level, width](void*) {
            const auto self = weak.lock();
            if (!self) return;
            FlowControl* control = *self;
            control->queue(level).used -= width;
            if (control->queue(level).waiting == 0) return;
            control->loop_.post([weak, level] {
              if (const auto again = weak.lock()) (*again)->next(level);
            });
          }};
}

void FlowControl::enter(Ticket ticket) {
  if (ticket.level == Level::kExempt) {
    ++exempt_.begun;
    return ticket.begin(nullptr);
  }
  auto& q = queue(ticket.level);
  ticket.width = std::clamp<size_t>(ticket.width, 1, q.seats);
  if (q.waiting == 0 && q.used + ticket.width <= q.seats) {
    q.last = ticket.flow;
    return ticket.begin(take(ticket.level, ticket.width));
  }
  const auto flow = q.flows.find(ticket.flow);
  const bool full = q.waiting >= options_.max_waiting ||
                    (flow != q.flows.end() && flow->second.size() >= options_.max_waiting_of_flow);
  if (full) {
    ++q.counters.refused;
    return ticket.refuse(too_many());
  }
  ++q.waiting;
  ++q.counters.waited;
  auto& line = q.flows[ticket.flow];
  line.push_back({loop_.now() + options_.max_wait, std::move(ticket)});
}

// The flow after the last one, in the order of their names: each has its turn.
void FlowControl::next(Level level) {
  auto& q = queue(level);
  while (!q.flows.empty()) {
    auto it = q.flows.upper_bound(q.last);
    if (it == q.flows.end()) it = q.flows.begin();
    const size_t width = it->second.front().ticket.width;
    if (q.used + width > q.seats) return;  // it is next, however wide
    q.last = it->first;
    Ticket ticket = std::move(it->second.front().ticket);
    it->second.pop_front();
    if (it->second.empty()) q.flows.erase(it);
    --q.waiting;
    ticket.begin(take(level, width));
  }
}

void FlowControl::expire() {
  std::vector<Ticket> late;
  for (auto& q : queues_) {
    for (auto it = q.flows.begin(); it != q.flows.end();) {
      auto& line = it->second;
      for (; !line.empty() && line.front().until <= loop_.now(); line.pop_front(), --q.waiting, ++q.counters.refused)
        late.push_back(std::move(line.front().ticket));
      it = line.empty() ? q.flows.erase(it) : std::next(it);
    }
  }
  for (auto& ticket : late) ticket.refuse(too_many());
}

}  // namespace gantry::apigw
