#include "cli/demo_model.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "engine/base/mapped_file.h"

// The assembler puts the file among the constants: compilers take minutes for megabytes of literals.
asm(".section .rodata\n"
    ".balign 64\n"
    ".global quorum_demo_model_begin\n"
    ".global quorum_demo_model_end\n"
    "quorum_demo_model_begin:\n"
    ".incbin \"" QUORUM_DEMO_MODEL
    "\"\n"
    "quorum_demo_model_end:\n"
    ".byte 0\n"
    ".previous\n");
extern "C" const char quorum_demo_model_begin[];
extern "C" const char quorum_demo_model_end[];

namespace quorum::cli {

const char* const kDemoQuestions =
    "Sum 47+8    Sort dcab    Reverse hello    Date 2024-01-31    Close ([{    Recall a3 k7 q1 k    Max 17 93 4    "
    "Shift abc";

Result<std::string> DemoModelPath() {
  static const Result<std::string> made = []() -> Result<std::string> {
    const int fd = ::memfd_create("quorum-committee", MFD_CLOEXEC);
    if (fd < 0) return Internal(std::string("no memory for the demo model: ") + std::strerror(errno));
    for (const char* at = quorum_demo_model_begin; at < quorum_demo_model_end;) {
      const ssize_t n = ::write(fd, at, static_cast<std::size_t>(quorum_demo_model_end - at));
      if (n < 0) return Internal(std::string("no memory for the demo model: ") + std::strerror(errno));
      at += n;
    }
    const std::string path = "--demo";
    MappedFile::Name(path, "/proc/self/fd/" + std::to_string(fd));
    return path;
  }();
  return made;
}

}  // namespace quorum::cli
