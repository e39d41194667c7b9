// From what the core answers to an HTTP response: encoding, compression, and lists in pieces that a slow reader paces.
// Loop's thread only.
#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "libs/base/loop.h"
#include "libs/http/message.h"
#include "libs/http/responder.h"
#include "services/apigw/core/alive.h"
#include "services/apigw/core/api.h"
#include "services/apigw/render/render.h"

namespace gantry::apigw {

/// What of a request matters for its response.
struct ResponseStyle {
  Shape shape;
  bool gzip = false;
  int ok = 200;  // status of an object that is answered
};

/// Long answers take turns: one piece a turn of the loop, whoever's it is.
class Turns {
 public:
  explicit Turns(Loop& loop) : loop_(loop) {}
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;
  /// Runs `piece` later, after those that wait already.
  void add(std::function<void()> piece);

 private:
  void run();
  Loop& loop_;
  std::deque<std::function<void()>> waiting_;
  Alive alive_;
};

/// `kind`: what the items of a list are.
void send_answer(Loop& loop, Turns& turns, std::shared_ptr<http::Responder> responder, const ResponseStyle& style,
                 const model::Kind& kind, Answer answer);
/// A Status.
void send_failure(http::Responder& responder, const Error& error, const Shape& shape = {});

}  // namespace gantry::apigw
