// Priority and fairness of requests over HTTP: how many are served at once, and who is next when more come. Callers of
// a level take turns, flow by flow, so that one client's flood delays that client alone; what waits is bounded, and who
// comes beyond is told to come again. Loop's thread only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"
#include "services/apigw/authz/identity.h"

namespace gantry::apigw {

class FlowControl {
 public:
  /// A priority level: none takes another's seats.
  enum class Level : uint8_t {
    kExempt,    // operators (system:masters) and health: never wait
    kSystem,    // nodes and the cluster's own services
    kWorkload,  // everybody else
  };
  struct Options {
    size_t system_seats = 256, workload_seats = 256;
    size_t max_waiting_of_flow = 256, max_waiting = 8192;  // of each level
    Duration max_wait = std::chrono::seconds(15);
  };
  struct Counters {
    uint64_t begun = 0, waited = 0, refused = 0;
  };
  /// A level as it is now.
  struct State {
    const char* name = "";
    size_t seats = 0, used = 0, waiting = 0;  // seats: 0 = without limit
    size_t flows = 0;                         // that wait
    size_t longest = 0;                       // requests of the flow that has the most waiting
    Counters counters;
  };
  explicit FlowControl(Loop& loop) : FlowControl(loop, Options()) {}
  FlowControl(Loop& loop, Options options);
  FlowControl(const FlowControl&) = delete;
  FlowControl& operator=(const FlowControl&) = delete;

  static Level level_of(const Identity& identity);

  /// What a request holds while it is served; dropping it lets the next one begin.
  using Seat = std::shared_ptr<void>;
  struct Ticket {
    Level level = Level::kWorkload;
    std::string flow;  // callers that share a turn: user and namespace
    size_t width = 1;  // seats: what costs more takes more
    std::function<void(Seat)> begin;
    std::function<void(const Error&)> refuse;  // kTooManyRequests
  };
  /// Begins at once where there is room; otherwise begins or refuses later, or refuses at once.
  void enter(Ticket ticket);

  /// Of all levels.
  Counters counters() const;
  /// Exempt, system, workload.
  std::vector<State> levels() const;
  size_t waiting() const;
  size_t running() const;

 private:
  struct Waiting {
    Duration until;
    Ticket ticket;
  };
  struct Queue {
    size_t seats = 0, used = 0, waiting = 0;
    Counters counters;
    std::map<std::string, std::deque<Waiting>> flows;  // none is empty
    std::string last;                                  // the flow that had its turn
  };
  Queue& queue(Level level) { return queues_[level == Level::kSystem ? 0 : 1]; }
  Seat take(Level level, size_t width);
  void next(Level level);
  void expire();

  Loop& loop_;
  const Options options_;
  Queue queues_[2];
  Counters exempt_;
  Timer expiry_;
  std::shared_ptr<FlowControl*> self_;  // seats may outlive this
};

}  // namespace gantry::apigw
