# Flags for Quorum's own targets, and one function that makes a folder's library.

add_library(quorum_flags INTERFACE)
target_include_directories(quorum_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(quorum_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Wold-style-cast
  -Woverloaded-virtual -Wimplicit-fallthrough
  # One answer (DESIGN 4): products and sums are contracted only where the code says fma.
  -ffp-contract=off)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  # False alarms of GCC 12 about std::string's operator+ (GCC bug 105651).
  target_compile_options(quorum_flags INTERFACE -Wno-restrict)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(quorum_flags INTERFACE -Wno-deprecated-declarations)  # in libstdc++ 12's own std::stable_sort
endif()
if(QUORUM_WERROR)
  target_compile_options(quorum_flags INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  target_compile_definitions(quorum_flags INTERFACE _GLIBCXX_ASSERTIONS)
else()
  target_compile_options(quorum_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong)
endif()
target_link_options(quorum_flags INTERFACE -Wl,-z,relro,-z,now)
if(QUORUM_SANITIZE)
  add_compile_options(-fsanitize=${QUORUM_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${QUORUM_SANITIZE})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # The checks that sanitizers add hide from g++ what was set before (GCC bug 105562).
    target_compile_options(quorum_flags INTERFACE -Wno-maybe-uninitialized)
  endif()
endif()

# quorum_library(NAME [dependencies...]): all *.cc of the current folder (not of folders below).
function(quorum_library name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC quorum_flags ${ARGN})
endfunction()
