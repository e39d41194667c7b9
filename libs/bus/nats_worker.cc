#include "libs/bus/nats_worker.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <deque>
#include <mutex>
#include <random>
#include <unordered_map>
#include <vector>

namespace gantry::bus {
namespace {

using std::chrono::milliseconds;

constexpr int kDialTimeoutMillis = 2000;
constexpr milliseconds kMinBackoff{50}, kMaxBackoff{2000};
constexpr size_t kIncomingLimit =
    256u << 20;                              // bytes that wait for the loop; beyond, messages of subscriptions are shed
constexpr size_t kWriteBytes = 256u << 10;   // encoded before they are written
constexpr unsigned kUnackedMillis = 20'000;  // a peer that acknowledges nothing for so long is gone

void open_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    nats_Open(-1);
    nats_SetMessageDeliveryPoolSize(1);  // one thread: messages keep their order over all subscriptions
  });
}

}  // namespace

/// What libnats' threads share with the loop; outlives the worker while a callback of libnats may still run.
struct NatsWorker::Inbound : std::enable_shared_from_this<NatsWorker::Inbound> {
  struct Item {
    enum class Kind : uint8_t { kMessage, kConnection, kError } kind = Kind::kMessage;
    uint64_t sid = 0;
    NatsMsg msg;
    bool connected = false;
    size_t max_payload = 0;
    std::string text;
  };

  Inbound(UvLoop& l, Events e) : loop(&l), events(std::move(e)) {}

  void push(Item item) {
    std::lock_guard lock(mutex);
    if (loop == nullptr) return;
    size_t size = item.msg ? static_cast<size_t>(natsMsg_GetDataLength(item.msg.get())) : 0;
    if (item.kind == Item::Kind::kMessage && bytes + size > kIncomingLimit) {
      ++dropped[item.sid];
      return;
    }
    bytes += size;
    items.push_back(std::move(item));
    if (std::exchange(posted, true)) return;
    loop->post([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->drain();
    });
  }

  void drain() {
    std::deque<Item> batch;
    {
      std::lock_guard lock(mutex);
      posted = false;
      batch.swap(items);
      bytes = 0;
    }
    for (auto& item : batch) {
      if (closed) return;  // a callback destroyed the bus
      switch (item.kind) {
        case Item::Kind::kMessage:
          events.message(item.sid, item.msg.get());
          break;
        case Item::Kind::kConnection:
          events.connection(item.connected, item.max_payload, item.text);
          break;
        case Item::Kind::kError:
          events.error(item.text);
          break;
      }
    }
  }

  void connection(bool up, natsConnection* nc, std::string reason) {
    Item item;
    item.kind = Item::Kind::kConnection;
    item.connected = up;
    item.max_payload = up ? static_cast<size_t>(natsConnection_GetMaxPayload(nc)) : 0;
    item.text = std::move(reason);
    push(std::move(item));
  }

  std::mutex mutex;  // guards the next five
  UvLoop* loop;      // null once the bus is gone
  std::deque<Item> items;
  size_t bytes = 0;
  bool posted = false;
  std::unordered_map<uint64_t, uint64_t> dropped;

  Events events;        // loop's thread
  bool closed = false;  // loop's thread

  // What the worker's thread waits for.
  std::mutex work_mutex;  // guards the next three
  std::deque<Operation> operations;
  bool stopping = false;
  bool awake = true;  // the worker will look before it waits
  const int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

  ~Inbound() { close(wake_fd); }

  /// Changes what the worker waits for, and wakes it if it waits.
  template <typename F>
  void change(F change) {
    std::lock_guard lock(work_mutex);
    change();
    if (std::exchange(awake, true)) return;
    const uint64_t one = 1;
    (void)!write(wake_fd, &one, sizeof one);
  }
  /// Waits for a change or, if `socket` is not -1, for something to read there. True if there is.
  bool wait(int socket, int timeout_millis) {
    pollfd fds[2] = {{wake_fd, POLLIN, 0}, {socket, POLLIN, 0}};  // poll() looks past -1
    poll(fds, 2, timeout_millis);
    uint64_t drained = 0;
    if (fds[0].revents != 0) (void)!read(wake_fd, &drained, sizeof drained);
    return socket >= 0 && fds[1].revents != 0;
  }

  // libnats' event loop is the worker's thread: what libnats tells it, from whatever thread. `data` is this.
  int socket = -1;
  bool readable = false, writable = false;  // what libnats wants to be called for

  static natsStatus attach(void** data, void* loop, natsConnection*, natsSock fd) {
    auto* self = static_cast<Inbound*>(loop);
    *data = self;
    // On a thread of its own a blocking socket is what TLS wants: libnats turns in circles on a record that came in
    // part. And who waits for a dead peer must not wait for ever.
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kUnackedMillis, sizeof kUnackedMillis);
    self->change([&] { self->socket = fd, self->readable = true, self->writable = false; });
    return NATS_OK;
  }
  static natsStatus want_read(void* data, bool add) {
    auto* self = static_cast<Inbound*>(data);
    self->change([&] { self->readable = add; });
    return NATS_OK;
  }
  static natsStatus want_write(void* data, bool add) {
    auto* self = static_cast<Inbound*>(data);
    self->change([&] { self->writable = add; });
    return NATS_OK;
  }
  static natsStatus detach(void* data) {
    auto* self = static_cast<Inbound*>(data);
    self->change([&] { self->socket = -1, self->readable = self->writable = false; });
    return NATS_OK;
  }
};

namespace {

template <typename T>
T* from(void* closure) {
  return static_cast<std::shared_ptr<T>*>(closure)->get();
}

}  // namespace

NatsWorker::NatsWorker(UvLoop& loop, NatsOptions options, Events events)
    : options_(std::move(options)), inbound_(std::make_shared<Inbound>(loop, std::move(events))) {
  open_library();
  thread_ = std::thread([this] { run(); });
}

NatsWorker::~NatsWorker() {
  inbound_->closed = true;
  {
    std::lock_guard lock(inbound_->mutex);
    inbound_->loop = nullptr;
  }
  inbound_->change([this] { inbound_->stopping = true; });
  thread_.join();
}

void NatsWorker::push(Operation operation) {
  buffered_ += operation.data.size() + operation.subject.size();
  inbound_->change([&] { inbound_->operations.push_back(std::move(operation)); });
}

void NatsWorker::publish(std::string subject, std::string reply, std::string message_id, std::string data) {
  push({Operation::Kind::kPublish, 0, std::move(subject), std::move(reply), std::move(message_id), std::move(data)});
}
void NatsWorker::subscribe(uint64_t sid, std::string subject, std::string queue) {
  push({Operation::Kind::kSubscribe, sid, std::move(subject), std::move(queue), {}, {}});
}
void NatsWorker::unsubscribe(uint64_t sid) { push({Operation::Kind::kUnsubscribe, sid, {}, {}, {}, {}}); }

uint64_t NatsWorker::dropped(uint64_t sid) const {
  std::lock_guard lock(inbound_->mutex);
  auto it = inbound_->dropped.find(sid);
  return it == inbound_->dropped.end() ? 0 : it->second;
}

void NatsWorker::run() {
  auto& in = *inbound_;
  while (dial()) {
    perform_waiting();
    int socket = -1;
    bool write = false, more = false, idle = false;
    {
      std::lock_guard lock(in.work_mutex);
      if (in.socket < 0) continue;  // closed meanwhile, by libnats' timer
      write = in.writable;
      if (in.readable) socket = in.socket;
      more = !in.operations.empty();
      if (in.stopping && !more && !write) break;
      idle = !more && !write;
      if (idle) in.awake = false;
    }
    if (write) natsConnection_ProcessWriteEvent(connection_);
    bool readable = in.wait(socket, idle ? -1 : 0);
    {
      std::lock_guard lock(in.work_mutex);
      in.awake = true;
      readable = readable && in.readable && in.socket == socket;  // and not a new one, on which a read would wait
    }
    if (readable) natsConnection_ProcessReadEvent(connection_);
  }
  close_connection();
}

/// What a connection is made with. `shared` is freed when libnats says that the connection is closed.
natsStatus NatsWorker::make_options(natsOptions** made, std::shared_ptr<Inbound>* shared) const {
  natsStatus s = natsOptions_Create(made);
  if (s != NATS_OK) return s;
  natsOptions* o = *made;
  std::vector<std::string> urls;
  for (size_t at = 0; at <= options_.url.size();) {
    auto comma = std::min(options_.url.find(',', at), options_.url.size());
    urls.push_back(options_.url.substr(at, comma - at));
    at = comma + 1;
  }
  std::vector<const char*> list;
  bool tls = false;
  for (const auto& url : urls) {
    list.push_back(url.c_str());
    tls |= url.starts_with("tls://");
  }
  s = natsOptions_SetServers(o, list.data(), static_cast<int>(list.size()));
  if (s == NATS_OK && tls) s = natsOptions_SetSecure(o, true);
  if (s == NATS_OK && !options_.ca_file.empty()) s = natsOptions_LoadCATrustedCertificates(o, options_.ca_file.c_str());
  if (s == NATS_OK && !options_.creds_file.empty())
    s = natsOptions_SetUserCredentialsFromFiles(o, options_.creds_file.c_str(), nullptr);
  natsOptions_SetName(o, options_.identity.c_str());
  natsOptions_SetTimeout(o, kDialTimeoutMillis);
  // With an event loop libnats (3.4) keeps its parser when it reconnects: the rest of a message that was cut off would
  // swallow the beginning of the next connection, and break that one too, for ever. So each connection is a new one.
  natsOptions_SetAllowReconnect(o, false);
  natsOptions_SetPingInterval(o, 10'000);
  natsOptions_SetMaxPingsOut(o, 2);
  natsOptions_SetSendAsap(o, true);
  natsOptions_SetWriteDeadline(o, 10'000);
  natsOptions_UseGlobalMessageDelivery(o, true);
  natsOptions_SetMaxPendingMsgs(o, 1 << 20);
  natsOptions_SetEventLoop(o, inbound_.get(), Inbound::attach, Inbound::want_read, Inbound::want_write,
                           Inbound::detach);
  natsOptions_SetClosedCB(
      o, [](natsConnection*, void* c) { delete static_cast<std::shared_ptr<Inbound>*>(c); }, shared);
  natsOptions_SetErrorHandler(
      o,
      [](natsConnection*, natsSubscription*, natsStatus err, void* c) {
        const char* text = nats_GetLastError(nullptr);  // this thread's: the connection's own changes as it is read
        Inbound::Item item;
        item.kind = Inbound::Item::Kind::kError;
        item.text = text && *text ? text : natsStatus_GetText(err);
        from<Inbound>(c)->push(std::move(item));
      },
      shared);
  return s;
}

/// Waits for `time`, whatever is handed over meanwhile, or until stopping: then false.
bool NatsWorker::pause(milliseconds time) {
  for (const auto until = std::chrono::steady_clock::now() + time; std::chrono::steady_clock::now() < until;) {
    {
      std::lock_guard lock(inbound_->work_mutex);
      if (inbound_->stopping) return false;
      inbound_->awake = false;
    }
    const auto left = std::chrono::duration_cast<milliseconds>(until - std::chrono::steady_clock::now());
    inbound_->wait(-1, static_cast<int>(std::max<int64_t>(1, left.count())));
    std::lock_guard lock(inbound_->work_mutex);
    inbound_->awake = true;
  }
  std::lock_guard lock(inbound_->work_mutex);
  return !inbound_->stopping;
}

/// True with a connection that stood when it was last looked at; false when stopping.
bool NatsWorker::dial() {
  if (connection_ != nullptr) {
    if (!natsConnection_IsClosed(connection_)) return true;
    const char* text = nullptr;
    natsConnection_GetLastError(connection_, &text);
    inbound_->connection(false, nullptr, text && *text ? text : "the connection broke");
    close_connection();
  }
  std::minstd_rand random(std::random_device{}());
  std::string last_reason;
  for (auto backoff = kMinBackoff;; backoff = std::min(backoff * 2, kMaxBackoff)) {
    {
      std::lock_guard lock(inbound_->work_mutex);
      if (inbound_->stopping) return false;
    }
    natsOptions* o = nullptr;
    auto* shared = new std::shared_ptr<Inbound>(inbound_);
    natsStatus s = make_options(&o, shared);
    if (s == NATS_OK) s = natsConnection_Connect(&connection_, o);
    natsOptions_Destroy(o);
    if (s == NATS_OK) {
      for (auto& [sid, sub] : subscribed_) open(sid, sub);
      inbound_->connection(true, connection_, "");
      return true;
    }
    connection_ = nullptr;
    delete shared;
    const char* detail = nats_GetLastError(nullptr);
    std::string reason = detail && *detail ? detail : natsStatus_GetText(s);
    if (std::exchange(last_reason, reason) != reason) {
      LOG(WARNING) << "identity=" << options_.identity << " cannot connect to " << options_.url << ": " << reason;
    }
    // Half to one and a half of the back-off, so that a fleet does not come back in step.
    if (!pause(backoff / 2 + milliseconds(random() % static_cast<unsigned>(backoff.count())))) return false;
  }
}

/// What was handed over. Stops when enough is encoded to be written.
void NatsWorker::perform_waiting() {
  std::deque<Operation> taken;
  {
    std::lock_guard lock(inbound_->work_mutex);
    auto& operations = inbound_->operations;
    for (size_t bytes = 0; !operations.empty() && bytes < kWriteBytes;) {
      bytes += operations.front().data.size();
      taken.push_back(std::move(operations.front()));
      operations.pop_front();
    }
  }
  for (auto& operation : taken) perform(operation);
}

void NatsWorker::open(uint64_t sid, Subscribed& sub) {
  struct Closure {
    std::shared_ptr<Inbound> inbound;
    uint64_t sid;
  };
  auto* closure = new Closure{inbound_, sid};
  auto handler = [](natsConnection*, natsSubscription*, natsMsg* msg, void* c) {
    auto* closure = static_cast<Closure*>(c);
    Inbound::Item item;
    item.sid = closure->sid;
    item.msg.reset(msg);
    closure->inbound->push(std::move(item));
  };
  natsStatus s = sub.queue.empty()
                     ? natsConnection_Subscribe(&sub.handle, connection_, sub.subject.c_str(), handler, closure)
                     : natsConnection_QueueSubscribe(&sub.handle, connection_, sub.subject.c_str(), sub.queue.c_str(),
                                                     handler, closure);
  if (s != NATS_OK) {
    sub.handle = nullptr;
    delete closure;
    LOG(ERROR) << "identity=" << options_.identity << " cannot subscribe " << sub.subject << ": "
               << natsStatus_GetText(s);
    return;
  }
  natsSubscription_SetPendingLimits(sub.handle, -1, -1);  // the bound is Inbound's
  natsSubscription_SetOnCompleteCB(
      sub.handle, [](void* c) { delete static_cast<Closure*>(c); }, closure);
}

void NatsWorker::perform(Operation& op) {
  switch (op.kind) {
    case Operation::Kind::kSubscribe: {
      auto& sub = subscribed_[op.sid];
      sub = {std::move(op.subject), std::move(op.reply_or_queue), nullptr};
      open(op.sid, sub);
      buffered_ -= sub.subject.size();
      return;
    }
    case Operation::Kind::kUnsubscribe: {
      auto it = subscribed_.find(op.sid);
      if (it == subscribed_.end()) return;
      if (it->second.handle) {
        natsSubscription_Unsubscribe(it->second.handle);
        natsSubscription_Destroy(it->second.handle);
      }
      subscribed_.erase(it);
      return;
    }
    case Operation::Kind::kPublish:
      break;
  }
  natsMsg* msg = nullptr;
  natsStatus s =
      natsMsg_Create(&msg, op.subject.c_str(), op.reply_or_queue.empty() ? nullptr : op.reply_or_queue.c_str(),
                     op.data.data(), static_cast<int>(op.data.size()));
  if (s == NATS_OK && !op.message_id.empty()) s = natsMsgHeader_Set(msg, "Nats-Msg-Id", op.message_id.c_str());
  if (s == NATS_OK) s = natsConnection_PublishMsg(connection_, msg);
  natsMsg_Destroy(msg);
  buffered_ -= op.data.size() + op.subject.size();
  if (s != NATS_OK && s != NATS_CONNECTION_DISCONNECTED && s != NATS_CONNECTION_CLOSED) {
    LOG_EVERY_N(WARNING, 100) << "identity=" << options_.identity << " subject=" << op.subject
                              << " was lost: " << natsStatus_GetText(s);
  }
}

void NatsWorker::close_connection() {
  if (connection_ == nullptr) return;
  for (auto& [sid, sub] : subscribed_) {
    natsSubscription_Destroy(sub.handle);
    sub.handle = nullptr;
  }
  natsConnection_Close(connection_);
  natsConnection_Destroy(connection_);
  connection_ = nullptr;
}

}  // namespace gantry::bus
