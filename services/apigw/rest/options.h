// The query parameters of reads: ListOptions and GetOptions of the Kubernetes API. Pure, thread-safe.
#pragma once

#include <chrono>

#include "libs/bus/command.h"
#include "services/apigw/core/api.h"
#include "services/apigw/rest/route.h"

namespace gantry::apigw {

/// As the API reads booleans: present is true, unless it says false or 0.
bool query_flag(const http::Query& query, std::string_view name);

/// Into a Get. kBadRequest.
Status read_get_options(const http::Query& query, bus::Command& command);
/// Into a List or DeleteCollection. kBadRequest, or kInvalid for what does not go together.
Status read_list_options(const model::Kind& kind, const http::Query& query, bus::Command& command);

struct WatchOptions {
  WatchRequest request;
  bool bookmarks = false;
  bool streaming_list = false;      // wants to know where the initial events end
  std::chrono::seconds timeout{0};  // 0: as the server likes
};
/// kBadRequest, kInvalid.
Result<WatchOptions> read_watch_options(const Route& route, const http::Query& query);

}  // namespace gantry::apigw
