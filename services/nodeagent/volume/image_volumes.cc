#include "services/nodeagent/volume/image_volumes.h"

#include <fmt/format.h>
#include <sys/mount.h>

#include <cerrno>
#include <filesystem>

#include "services/nodeagent/volume/files.h"
#include "services/nodeagent/volume/mounts.h"

namespace gantry::nodeagent {

namespace {

constexpr unsigned long kFlags = MS_RDONLY | MS_NOEXEC | MS_NOSUID | MS_NODEV;

Status mount_one(const std::string& path, const FsMount& m) {
  unsigned long bind = 0;
  std::string data;
  for (const auto& option : m.options) {
    if (option == "ro" || option == "rw") continue;
    if (option == "bind" || option == "rbind") {
      bind = option == "rbind" ? MS_BIND | MS_REC : MS_BIND;
    } else {
      data += (data.empty() ? "" : ",") + option;
    }
  }
  const char* type = bind != 0 ? nullptr : m.type.c_str();
  if (::mount(m.source.c_str(), path.c_str(), type, bind != 0 ? bind : kFlags, data.c_str()) != 0)
    return disk_error("mounting the image at", path, errno);
  // A bind takes its flags only when it is mounted again.
  if (bind != 0 && ::mount(nullptr, path.c_str(), nullptr, MS_BIND | MS_REMOUNT | kFlags, nullptr) != 0)
    return disk_error("mounting the image read-only at", path, errno);
  return Done{};
}

}  // namespace

Status mount_read_only(const std::string& path, const std::vector<FsMount>& mounts) {
  if (auto made = make_directory(path, 0755); !made.ok()) return made;
  for (const auto& m : mounts) {
    auto mounted = mount_one(path, m);
    if (mounted.ok()) continue;
    (void)unmount_below(path);
    return mounted;
  }
  return Done{};
}

void ImageVolumes::mount(const std::string& pod_uid, const std::string& volume, const std::string& image,
                         std::function<void(Status)> done) {
  struct Outcome {
    bool there = false;
    Status status = Done{};
  };
  auto outcome = std::make_shared<Outcome>();
  const auto path = paths_.volume(pod_uid, volume), records = paths_.images(pod_uid);
  auto hold = [this, outcome, pod_uid, volume, image, path, done] {
    if (outcome->there || !outcome->status.ok()) return done(outcome->status);
    runtime_.hold_image(pod_uid + "/" + volume, image,
                        guard([this, outcome, path, done](Result<std::vector<FsMount>> mounts) {
                          if (!mounts.ok()) return done(mounts.error());
                          run_([outcome, path, mounts = *mounts] { outcome->status = mount_read_only(path, mounts); },
                               [outcome, done] { done(outcome->status); });
                        }));
  };
  run_(
      [outcome, path, records, volume] {
        outcome->there = is_mount_point(path);
        if (outcome->there) return;
        outcome->status = make_directory(records, 0700);
        if (outcome->status.ok()) outcome->status = write_plain(records + "/" + volume, {}, std::nullopt);
      },
      guard(hold));
}

void ImageVolumes::unmount(const std::string& pod_uid, std::function<void(Status)> done) {
  auto keys = std::make_shared<std::vector<std::string>>();
  auto outcome = std::make_shared<Status>(Done{});
  run_(
      [outcome, keys, pod_uid, paths = paths_] {
        std::error_code error;
        for (std::filesystem::directory_iterator it(paths.images(pod_uid), error), end; !error && it != end;
             it.increment(error)) {
          const auto volume = it->path().filename().string();
          // Parts of it that are bound elsewhere keep the files, not the place.
          *outcome = unmount_below(paths.volume(pod_uid, volume));
          if (!outcome->ok()) return;
          keys->push_back(pod_uid + "/" + volume);
        }
      },
      guard([this, outcome, keys, done = std::move(done)]() mutable {
        if (!outcome->ok()) return done(*outcome);
        release_next(keys, std::move(done));
      }));
}

void ImageVolumes::release_next(std::shared_ptr<std::vector<std::string>> keys, std::function<void(Status)> done) {
  if (keys->empty()) return done(Done{});
  runtime_.release_image(keys->back(), guard([this, keys, done = std::move(done)](const Status& s) mutable {
                           if (!s.ok()) return done(s);
                           keys->pop_back();
                           release_next(keys, std::move(done));
                         }));
}

}  // namespace gantry::nodeagent
