// Depths of NATS JetStream streams and lags of their consumers as External metrics, out of the box:
//   nats_stream_messages   selector: stream            messages in it
//   nats_consumer_pending  selector: stream, consumer  messages that it has not acknowledged, delivered or not
// JetStream tells of neither by itself, so those that autoscalers name are asked for, twice a second.
#pragma once

#include <set>
#include <string>

#include "libs/bus/bus.h"
#include "libs/usage/metric_board.h"
#include "services/controllers/framework/view.h"

namespace gantry::controllers {

inline constexpr const char* kStreamMessages = "nats_stream_messages";
inline constexpr const char* kConsumerPending = "nats_consumer_pending";

struct Queue {
  std::string stream, consumer;  // consumer "": the stream itself
  auto operator<=>(const Queue&) const = default;
};

/// Those that the selectors of autoscalers in `view` name: matchLabels, or In. Names that no stream can have are left
/// out.
std::set<Queue> queues_wanted(const View& view);

/// Loop's thread only; all that it is given outlives it.
class QueueWatch {
 public:
  QueueWatch(Loop& loop, bus::Bus& bus, usage::MetricBoard& board, std::function<std::set<Queue>()> wanted,
             Duration period = std::chrono::milliseconds(500));

 private:
  void ask(const Queue& queue);
  void answered(const Queue& queue, const Result<std::string>& answer);

  Loop& loop_;
  bus::Bus& bus_;
  usage::MetricBoard& board_;
  std::function<std::set<Queue>()> wanted_;
  std::set<Queue> asked_;
  Timer timer_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace gantry::controllers
