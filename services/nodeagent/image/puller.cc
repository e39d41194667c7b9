#include "services/nodeagent/image/puller.h"

#include <fmt/format.h>

namespace gantry::nodeagent {

struct ImagePuller::Pull {
  Request request;
  Done done;
  std::vector<RegistryAuth> auths;  // left to try; none: anonymous
  size_t tried = 0;
  Duration asked{}, started{};
};

namespace {

// 1.2s, 350ms, 1m5s, as Go prints a duration.
std::string took(Duration d) {
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(d).count();
  if (ms < 1'000) return fmt::format("{}ms", ms);
  std::string seconds = fmt::format("{}", static_cast<double>(ms % 60'000) / 1'000) + "s";
  if (ms < 60'000) return seconds;
  return fmt::format("{}m{}", ms / 60'000, seconds);
}

}  // namespace

void ImagePuller::ensure(Request request, Done done) {
  auto pull = std::make_shared<Pull>();
  pull->request = std::move(request);
  pull->done = std::move(done);
  const auto& image = pull->request.image;
  const auto fail = [this, pull](const char* reason, Error error) {
    loop_.post(guard([pull, reason, error] { pull->done({{}, reason, error}); }));
  };
  const auto reference = parse_image(image);
  // An image may be named by its id, too.
  if (!reference.ok() && !image.starts_with("sha256:")) {
    auto message = fmt::format("Failed to apply default image tag \"{0}\": couldn't parse image name \"{0}\": {1}",
                               image, reference.error().message);
    pull->request.record(true, "InspectFailed", message);
    return fail("InvalidImageName", {Code::kInvalid, std::move(message)});
  }
  if (reference.ok()) pull->auths = pull->request.credentials.find(*reference);
  if (pull->request.policy == "Always") return enqueue(pull);
  runtime_.find_image(
      image, guard([this, pull](Result<std::optional<Image>> found) {
        const auto& request = pull->request;
        if (!found.ok()) return pull->done({{}, "ImageInspectError", found.error()});
        if (*found) {
          request.record(false, "Pulled",
                         fmt::format("Container image \"{}\" already present on machine", request.image));
          return pull->done({std::move(**found), "", {}});
        }
        if (request.policy == "Never") {
          auto message = fmt::format("Container image \"{}\" is not present with pull policy of Never", request.image);
          request.record(true, "ErrImageNeverPull", message);
          return pull->done({{}, "ErrImageNeverPull", {Code::kInvalid, std::move(message)}});
        }
        enqueue(pull);
      }));
}

void ImagePuller::enqueue(std::shared_ptr<Pull> pull) {
  pull->asked = loop_.now();
  queue_.push_back(std::move(pull));
  next();
}

void ImagePuller::next() {
  while (!queue_.empty() && (parallel_ == 0 || pulling_ < parallel_)) {
    auto pull = std::move(queue_.front());
    queue_.pop_front();
    ++pulling_;
    pull->started = loop_.now();
    pull->request.record(false, "Pulling", fmt::format("Pulling image \"{}\"", pull->request.image));
    attempt(pull);
  }
}

void ImagePuller::attempt(const std::shared_ptr<Pull>& pull) {
  const auto* auth = pull->tried < pull->auths.size() ? &pull->auths[pull->tried] : nullptr;
  runtime_.pull_image(pull->request.image, pull->request.sandbox, auth,
                      guard([this, pull](Result<std::string> id) { on_pulled(pull, std::move(id)); }));
}

void ImagePuller::on_pulled(const std::shared_ptr<Pull>& pull, Result<std::string> id) {
  const auto& image = pull->request.image;
  if (!id.ok()) {
    // The next credential may be the right one.
    if (++pull->tried < pull->auths.size() && id.code() != Code::kUnavailable) return attempt(pull);
    pull->request.record(true, "Failed", fmt::format("Failed to pull image \"{}\": {}", image, id.error().message));
    return finish(pull, {{}, "ErrImagePull", id.error()});
  }
  // How large it is, and who it wants to run as.
  runtime_.find_image(*id, guard([this, pull, id = *id](Result<std::optional<Image>> found) {
    Image known;
    known.id = id;
    if (found.ok() && *found) known = std::move(**found);
    const auto now = loop_.now();
    pull->request.record(
        false, "Pulled",
        fmt::format("Successfully pulled image \"{}\" in {} ({} including waiting). "
                    "Image size: {} bytes.",
                    pull->request.image, took(now - pull->started), took(now - pull->asked), known.size));
    finish(pull, {std::move(known), "", {}});
  }));
}

void ImagePuller::finish(const std::shared_ptr<Pull>& pull, Outcome outcome) {
  --pulling_;
  auto alive = std::weak_ptr<bool>(alive_);
  pull->done(std::move(outcome));
  if (!alive.expired()) next();
}

}  // namespace gantry::nodeagent
