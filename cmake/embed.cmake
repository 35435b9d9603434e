# quorum_embed_text(TARGET HEADER NAMESPACE CONSTANT FILE): a text file as a string constant of a generated header, cut into pieces that
# every compiler takes.
function(quorum_embed_text target header namespace constant file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "\\\\x\\1" bytes "${hex}")
  string(REGEX REPLACE "(................................................................)" "\\1\"\n    \"" bytes "${bytes}")
  string(LENGTH "${hex}" digits)
  math(EXPR size "${digits} / 2")
  file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/generated/${header} CONTENT
"// Made from ${file}.
#pragma once

#include <string_view>

namespace ${namespace} {

inline constexpr std::string_view ${constant}(
    \"${bytes}\", ${size});

}  // namespace ${namespace}
" @ONLY)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/generated)
endfunction()
