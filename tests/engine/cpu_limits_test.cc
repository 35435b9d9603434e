#include "engine/cpu_limits.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include <unistd.h>

#include "engine/thread_pool.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

/// A folder that stands for "/", removed at the end.
class FakeRoot {
 public:
  FakeRoot() {
    std::string name = (std::filesystem::temp_directory_path() / "quorum_cgroup_XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~FakeRoot() { std::filesystem::remove_all(path_); }
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  void Write(const std::string& file, const std::string& text) const {
    const std::filesystem::path full = path_ + "/" + file;
    std::filesystem::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  std::optional<double> Quota() const { return CgroupCpuQuota(path_); }
  int Usable() const { return UsableCpus(path_.c_str()); }

 private:
  std::string path_;
};

TEST_CASE("No cgroup files, or no limit in them, means no quota") {
  const FakeRoot root;
  CHECK_FALSE(root.Quota().has_value());
  root.Write("proc/self/cgroup", "0::/user.slice\n");
  CHECK_FALSE(root.Quota().has_value());
  root.Write("sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
  CHECK_FALSE(root.Quota().has_value());
  for (const char* broken : {"", "150000\n", "-5 100000\n", "1e5 100000\n", "100000 0\n", "junk junk\n"}) {
    root.Write("sys/fs/cgroup/user.slice/cpu.max", broken);
    CHECK_FALSE(root.Quota().has_value());
  }
  CHECK(root.Usable() == std::max(1, static_cast<int>(AllowedCpus().size())));
}

TEST_CASE("cgroup v2: the tightest limit on the way up binds") {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "0::/kube/pod/app\n");
  root.Write("sys/fs/cgroup/kube/pod/app/cpu.max", "400000 100000\n");
  CHECK(root.Quota() == 4.0);
  root.Write("sys/fs/cgroup/kube/cpu.max", "150000 100000\n");
  CHECK(root.Quota() == 1.5);
  CHECK(root.Usable() == 1);
  root.Write("sys/fs/cgroup/cpu.max", "20000 100000\n");  // a container's own limit, seen at the mount
  CHECK(root.Quota() == 0.2);
  CHECK(root.Usable() == 1);  // never zero
}

TEST_CASE("cgroup v1: cfs quota of the cpu controller, also where the container hides the path") {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "5:cpuset:/a\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\nbroken line\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
  CHECK_FALSE(root.Quota().has_value());
  root.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(root.Quota() == 2.5);
  root.Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");  // the usual link name of the same controller
  root.Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
  CHECK(root.Quota() == 1.0);
  CHECK(root.Usable() == 1);
}

TEST_CASE("The real machine offers at least one CPU and no more than the affinity mask") {
  const auto cpus = AllowedCpus();
  REQUIRE_FALSE(cpus.empty());
  CHECK(std::is_sorted(cpus.begin(), cpus.end()));
  CHECK(UsableCpus() >= 1);
  CHECK(UsableCpus() <= static_cast<int>(cpus.size()));
}

}  // namespace
}  // namespace quorum::engine
