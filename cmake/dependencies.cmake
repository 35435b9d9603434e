# Everything from the distribution's packages (scripts/packages.txt); nothing is fetched while configuring.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(CURL REQUIRED)
# quorum_find_library(NAME header library): by header and library, where Debian's own description of the package asks for
# development files that nothing here includes (oneDNN for OpenCL's, SentencePiece for protobuf's).
function(quorum_find_library name header library)
  find_path(${name}_INCLUDE_DIR ${header} REQUIRED)
  find_library(${name}_LIBRARY ${library} REQUIRED)
  add_library(quorum::${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(quorum::${name} INTERFACE ${${name}_INCLUDE_DIR})
  target_link_libraries(quorum::${name} INTERFACE ${${name}_LIBRARY})
endfunction()

quorum_find_library(DNNL dnnl.hpp dnnl)
quorum_find_library(SENTENCEPIECE sentencepiece_processor.h sentencepiece)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(HTTPLIB REQUIRED IMPORTED_TARGET cpp-httplib)
pkg_check_modules(PROMETHEUS REQUIRED IMPORTED_TARGET prometheus-cpp-core)

message(STATUS "cpp-httplib ${HTTPLIB_VERSION}, PCRE2 ${PCRE2_VERSION}, fmt ${fmt_VERSION}, "
               "spdlog ${spdlog_VERSION}, nlohmann/json ${nlohmann_json_VERSION}, oneDNN ${DNNL_LIBRARY}")
