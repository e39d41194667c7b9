#include "libs/bus/pending_requests.h"

#include <charconv>

namespace gantry::bus {

std::string PendingRequests::add(Duration timeout, Done done) {
  uint64_t token = next_++;
  Duration deadline = loop_.now() + std::max(timeout, Duration::zero());
  waiting_.emplace(token, Waiting{deadline, std::move(done)});
  deadlines_.emplace(std::pair(deadline, token), true);
  arm();
  return std::to_string(token);
}

bool PendingRequests::complete(std::string_view token, Result<std::string> result) {
  uint64_t number = 0;
  auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), number);
  if (error != std::errc() || end != token.data() + token.size()) return false;
  auto it = waiting_.find(number);
  if (it == waiting_.end()) return false;
  auto done = std::move(it->second.done);
  deadlines_.erase({it->second.deadline, number});
  waiting_.erase(it);
  done(std::move(result));
  return true;
}

void PendingRequests::fail_all(const Error& error) {
  auto waiting = std::move(waiting_);
  waiting_.clear();
  deadlines_.clear();
  timer_.reset();
  for (auto& [token, entry] : waiting) entry.done(error);
}

void PendingRequests::arm() {
  // A timer that fires early finds nothing due and arms again: cheaper than moving it with every request.
  if (deadlines_.empty()) return;
  Duration due = deadlines_.begin()->first.first;
  if (timer_ && armed_ <= due) return;
  armed_ = due;
  timer_ = loop_.after(due - loop_.now(), [this] { expire(); });
}

void PendingRequests::expire() {
  timer_.reset();
  std::vector<Done> due;
  while (!deadlines_.empty() && deadlines_.begin()->first.first <= loop_.now()) {
    auto it = waiting_.find(deadlines_.begin()->first.second);
    due.push_back(std::move(it->second.done));
    waiting_.erase(it);
    deadlines_.erase(deadlines_.begin());
  }
  arm();
  for (auto& done : due) done(Error{Code::kTimeout, "no answer on the bus in time"});  // may destroy this
}

}  // namespace gantry::bus
