// Two Streams joined to each other on a loop, for tests of protocols without sockets.
#pragma once

#include <memory>
#include <string>

#include "libs/base/loop.h"
#include "libs/http/responder.h"

namespace gantry::http::testing {

/// One end. Bytes arrive on a later turn of the loop; a paused or unread end keeps them.
class FakeStream final : public Stream, public std::enable_shared_from_this<FakeStream> {
 public:
  static std::pair<std::shared_ptr<FakeStream>, std::shared_ptr<FakeStream>> pair(Loop& loop);
  explicit FakeStream(Loop& loop) : loop_(loop) {}
  ~FakeStream() override;

  void write(std::string_view bytes) override;
  size_t buffered() const override;
  void on_drained(std::function<void()> callback) override;
  void on_data(std::function<void(std::string_view)> callback) override;
  void on_close(std::function<void()> callback) override { close_ = std::move(callback); }
  void pause() override { paused_ = true; }
  void resume() override;
  void close() override;
  bool closed() const override { return closed_; }

 private:
  void deliver();
  void schedule();

  Loop& loop_;
  std::weak_ptr<FakeStream> peer_;
  std::string waiting_;  // for our reader
  std::function<void(std::string_view)> data_;
  std::function<void()> drained_, close_;
  bool paused_ = false, closed_ = false, ended_ = false, scheduled_ = false;
};

}  // namespace gantry::http::testing
