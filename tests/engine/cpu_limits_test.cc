#include "engine/cpu_limits.h"

#include <algorithm>
#include <optional>
#include <string>

#include "engine/thread_pool.h"
#include "tests/support/catch.h"
#include "tests/support/fake_root.h"

namespace quorum::engine {
namespace {

using testing::FakeRoot;

std::optional<double> Quota(const FakeRoot& root) { return CgroupCpuQuota(root.path()); }
int Usable(const FakeRoot& root) { return UsableCpus(root.path().c_str()); }

TEST_CASE("No cgroup files, or no limit in them, means no quota") {
  const FakeRoot root;
  CHECK_FALSE(Quota(root).has_value());
  root.Write("proc/self/cgroup", "0::/user.slice\n");
  CHECK_FALSE(Quota(root).has_value());
  root.Write("sys/fs/cgroup/user.slice/cpu.max", "max 100000\n");
  CHECK_FALSE(Quota(root).has_value());
  for (const char* broken : {"", "150000\n", "-5 100000\n", "1e5 100000\n", "100000 0\n", "junk junk\n"}) {
    root.Write("sys/fs/cgroup/user.slice/cpu.max", broken);
    CHECK_FALSE(Quota(root).has_value());
  }
  CHECK(Usable(root) == std::max(1, static_cast<int>(AllowedCpus().size())));
}

TEST_CASE("cgroup v2: the tightest limit on the way up binds") {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "0::/kube/pod/app\n");
  root.Write("sys/fs/cgroup/kube/pod/app/cpu.max", "400000 100000\n");
  CHECK(Quota(root) == 4.0);
  root.Write("sys/fs/cgroup/kube/cpu.max", "150000 100000\n");
  CHECK(Quota(root) == 1.5);
  CHECK(Usable(root) == 1);
  root.Write("sys/fs/cgroup/cpu.max", "20000 100000\n");  // a container's own limit, seen at the mount
  CHECK(Quota(root) == 0.2);
  CHECK(Usable(root) == 1);  // never zero
}

TEST_CASE("cgroup v1: cfs quota of the cpu controller, also where the container hides the path") {
  const FakeRoot root;
  root.Write("proc/self/cgroup", "5:cpuset:/a\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\nbroken line\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
  CHECK_FALSE(Quota(root).has_value());
  root.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(Quota(root) == 2.5);
  root.Write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");  // the usual link name of the same controller
  root.Write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "50000\n");
  CHECK(Quota(root) == 1.0);
  CHECK(Usable(root) == 1);
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
