#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "services/nodeagent/volume/image_volumes.h"
#include "services/nodeagent/volume/mounts.h"
#include "services/nodeagent/volume/ownership.h"
#include "services/nodeagent/volume/setup.h"
#include "services/nodeagent/volume/sub_path.h"

namespace gantry::nodeagent {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class VolumeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-volume-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    paths_.root = name;
  }
  void TearDown() override {
    ASSERT_TRUE(remove_tree(paths_.root).ok());
    EXPECT_FALSE(fs::exists(paths_.root));
  }
  VolumePlan plan(VolumePlan::Kind kind) {
    VolumePlan p;
    p.kind = kind;
    p.name = p.spec_name = "v";
    p.path = paths_.volume("u1", "v");
    return p;
  }
  static std::string read(const std::string& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  static void put(const std::string& path, const std::string& text) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << text;
  }
  static struct stat info(const std::string& path) {
    struct stat out {};
    EXPECT_EQ(lstat(path.c_str(), &out), 0) << path;
    return out;
  }
  static bool may_mount() { return geteuid() == 0; }

  Paths paths_;
};

TEST_F(VolumeTest, FilesChangeAtOnce) {
  auto p = plan(VolumePlan::Kind::kFiles);
  p.files = {{"deep/a", "1", 0400}, {"b", "two", 0644}};
  ASSERT_TRUE(write_volume(p).ok());
  EXPECT_EQ(read(p.path + "/deep/a"), "1");
  EXPECT_TRUE(fs::is_symlink(p.path + "/b"));
  EXPECT_EQ(fs::status(p.path + "/deep/a").permissions(), fs::perms(0400));
  auto before = fs::read_symlink(p.path + "/..data");
  ASSERT_TRUE(write_volume(p).ok());
  EXPECT_EQ(fs::read_symlink(p.path + "/..data"), before) << "nothing changed, nothing written";
  p.files = {{"deep/a", "9", 0400}};
  ASSERT_TRUE(write_volume(p).ok());
  EXPECT_EQ(read(p.path + "/deep/a"), "9");
  EXPECT_FALSE(fs::exists(fs::symlink_status(p.path + "/b")));
  EXPECT_FALSE(fs::exists(p.path + "/" + before.string()));
  ASSERT_TRUE(remove_pod_directory(paths_, "u1").ok());
  EXPECT_FALSE(fs::exists(paths_.pod("u1")));
}

TEST_F(VolumeTest, HostPathTypes) {
  const auto base = paths_.root + "/host";
  put(base + "/file", "x");
  auto outcome = [&](const std::string& path, const char* type) {
    auto p = plan(VolumePlan::Kind::kHostPath);
    p.path = base + "/" + path;
    p.host_type = type;
    auto done = write_volume(p);
    return done.ok() ? std::string("ok") : done.error().message;
  };
  EXPECT_EQ(outcome("nothing", ""), "ok") << "not looked at";
  EXPECT_EQ(outcome("file", "File"), "ok");
  EXPECT_EQ(outcome("", "Directory"), "ok");
  EXPECT_EQ(outcome("file", "Directory"), "MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: " +
                                              base + "/file is not a directory");
  EXPECT_THAT(outcome("nothing", "Directory"), HasSubstr("nothing is not a directory"));
  EXPECT_THAT(outcome("nothing", "File"), HasSubstr("nothing is not a file"));
  EXPECT_THAT(outcome("file", "Socket"), HasSubstr("file is not a socket file"));
  EXPECT_THAT(outcome("file", "CharDevice"), HasSubstr("file is not a character device"));
  EXPECT_THAT(outcome("file", "BlockDevice"), HasSubstr("file is not a block device"));
  EXPECT_EQ(outcome("../../../dev/null", "CharDevice"), "ok");
  EXPECT_EQ(outcome("new/deep", "DirectoryOrCreate"), "ok");
  EXPECT_TRUE(fs::is_directory(base + "/new/deep"));
  EXPECT_THAT(outcome("file", "DirectoryOrCreate"), HasSubstr("is not a directory"));
  EXPECT_EQ(outcome("new/file", "FileOrCreate"), "ok");
  EXPECT_TRUE(fs::is_regular_file(base + "/new/file"));
  EXPECT_THAT(outcome("absent/file", "FileOrCreate"), HasSubstr("No such file or directory"));
}

TEST_F(VolumeTest, MemoryIsMountedOnceAndTakenAway) {
  if (!may_mount()) GTEST_SKIP() << "needs root";
  auto p = plan(VolumePlan::Kind::kEmptyDir);
  p.in_memory = true;
  p.size_limit = 1 << 20;
  p.fs_group = 77;
  ASSERT_TRUE(write_volume(p).ok());
  EXPECT_TRUE(is_mount_point(p.path));
  struct statfs size {};
  ASSERT_EQ(statfs(p.path.c_str(), &size), 0);
  EXPECT_EQ(size.f_blocks * static_cast<uint64_t>(size.f_bsize), 1u << 20);
  EXPECT_EQ(info(p.path).st_gid, 77u);
  put(p.path + "/kept", "yes");
  ASSERT_TRUE(write_volume(p).ok()) << "as after a restart of the agent";
  EXPECT_EQ(read(p.path + "/kept"), "yes");
  EXPECT_EQ(mounts_below(paths_.root)->size(), 1u);
  // Whatever else somebody mounted in there goes too.
  fs::create_directories(p.path + "/more");
  ASSERT_EQ(mount("tmpfs", (p.path + "/more").c_str(), "tmpfs", 0, ""), 0);
  ASSERT_TRUE(remove_pod_directory(paths_, "u1").ok());
  EXPECT_TRUE(mounts_below(paths_.root)->empty());
  EXPECT_FALSE(fs::exists(paths_.pod("u1")));
}

TEST_F(VolumeTest, RemovingDoesNotReachThroughMounts) {
  if (!may_mount()) GTEST_SKIP() << "needs root";
  put(paths_.root + "/precious/file", "data");
  fs::create_directories(paths_.volume("u1", "v"));
  ASSERT_EQ(mount((paths_.root + "/precious").c_str(), paths_.volume("u1", "v").c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_TRUE(remove_pod_directory(paths_, "u1").ok());
  EXPECT_EQ(read(paths_.root + "/precious/file"), "data");
}

TEST_F(VolumeTest, PartsAreBoundAndCannotEscape) {
  if (!may_mount()) GTEST_SKIP() << "needs root";
  const auto volume = paths_.volume("u1", "v");
  put(volume + "/dir/file", "inside");
  put(paths_.root + "/outside/file", "outside");
  fs::create_directory_symlink("../../../../../outside", volume + "/climbs");
  fs::create_directory_symlink(paths_.root + "/outside", volume + "/absolute");
  fs::create_directory_symlink("dir", volume + "/within");
  chmod(volume.c_str(), 0750);
  auto stage = [&](const std::string& sub_path) -> std::string {
    Mount m{"/m", volume, false, Propagation::kPrivate, "v", paths_.part("u1", "c", 0), sub_path};
    auto done = stage_mount(m);
    if (!done.ok()) return done.error().message;
    EXPECT_EQ(m.host_path, paths_.part("u1", "c", 0));
    return "ok";
  };
  EXPECT_EQ(stage("dir"), "ok");
  EXPECT_EQ(read(paths_.part("u1", "c", 0) + "/file"), "inside");
  EXPECT_EQ(stage("dir/file"), "ok") << "a file, where a directory was mounted before";
  EXPECT_EQ(read(paths_.part("u1", "c", 0)), "inside");
  EXPECT_EQ(stage("within"), "ok");
  EXPECT_EQ(read(paths_.part("u1", "c", 0) + "/file"), "inside");
  EXPECT_EQ(stage("made/here"), "ok");
  EXPECT_EQ(info(volume + "/made/here").st_mode & 07777, 0750u);
  EXPECT_THAT(stage("climbs"), HasSubstr("leaves the volume"));
  EXPECT_THAT(stage("climbs/new"), HasSubstr("leaves the volume"));
  EXPECT_FALSE(fs::exists(paths_.root + "/outside/new"));
  EXPECT_THAT(stage("absolute/file"), HasSubstr("leaves the volume"));
  EXPECT_THAT(stage("dir/../../x"), HasSubstr("must not contain '..'"));
  EXPECT_THAT(stage("/etc"), HasSubstr("must not be an absolute path"));
}

TEST_F(VolumeTest, ReadOnlyAllTheWayDown) {
  if (!may_mount()) GTEST_SKIP() << "needs root";
  const auto volume = paths_.volume("u1", "v");
  fs::create_directories(volume + "/inner");
  ASSERT_EQ(mount("tmpfs", (volume + "/inner").c_str(), "tmpfs", 0, ""), 0);
  Mount m{"/m", volume, true, Propagation::kPrivate, "v", paths_.part("u1", "c", 0)};
  m.recursive_readonly = true;
  ASSERT_TRUE(stage_mount(m).ok());
  EXPECT_FALSE(std::ofstream(m.host_path + "/inner/x").is_open());
  EXPECT_FALSE(std::ofstream(m.host_path + "/x").is_open());
  EXPECT_TRUE(std::ofstream(volume + "/inner/x").is_open()) << "only this mount of it";
}

TEST_F(VolumeTest, AnImagesFilesAreMountedReadOnly) {
  if (!may_mount()) GTEST_SKIP() << "needs root";
  const std::string at = paths_.root + "/volume", from = paths_.root + "/layer", other = paths_.root + "/other";
  put(from + "/file", "one");
  put(other + "/more", "two");
  for (const auto& mounts : {std::vector<FsMount>{{"bind", from, {"rbind", "ro"}}},
                             std::vector<FsMount>{{"overlay", "overlay", {"lowerdir=" + from + ":" + other}}}}) {
    const auto mounted = mount_read_only(at, mounts);
    ASSERT_TRUE(mounted.ok()) << mounted.error().message;
    EXPECT_TRUE(fs::exists(at + "/file"));
    EXPECT_FALSE(write_file(at + "/new", "").ok());
    ASSERT_TRUE(unmount_below(at).ok());
  }
  EXPECT_FALSE(mount_read_only(at, {{"bind", from, {"bind"}}, {"bind", "/nowhere/at/all", {"bind"}}}).ok());
  EXPECT_FALSE(is_mount_point(at)) << "nothing stays of what could not be";
}

TEST_F(VolumeTest, GroupsOwnWhatIsThere) {
  if (!may_mount()) GTEST_SKIP() << "needs root";
  const auto volume = paths_.volume("u1", "v");
  put(volume + "/dir/file", "x");
  chmod((volume + "/dir/file").c_str(), 0600);
  fs::create_symlink("/etc/hostname", volume + "/link");
  const auto host = info("/etc/hostname");
  ASSERT_TRUE(set_ownership(volume, {2000}).ok());
  EXPECT_EQ(info(volume + "/dir/file").st_gid, 2000u);
  EXPECT_EQ(info(volume + "/dir/file").st_mode & 07777, 0660u);
  EXPECT_EQ(info(volume + "/dir").st_mode & 02070, 02070u);
  EXPECT_EQ(info("/etc/hostname").st_gid, host.st_gid) << "not through links";
  put(volume + "/late", "x");
  chown((volume + "/late").c_str(), 0, 5);
  ASSERT_TRUE(set_ownership(volume, {2000, false, true}).ok());
  EXPECT_EQ(info(volume + "/late").st_gid, 5u) << "the top is right: nothing is looked at";
  ASSERT_TRUE(set_ownership(volume, {2001, false, true}).ok());
  EXPECT_EQ(info(volume + "/late").st_gid, 2001u);
}

}  // namespace
}  // namespace gantry::nodeagent
