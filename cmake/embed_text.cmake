# Script mode: writes INPUT as adjacent string literals in which every byte is a hex escape. No
# character of the text can then meet CMake's list and escape rules, the C++ preprocessor or a raw
# literal's delimiter. Each chunk stays far below the length at which compilers give up on a
# literal; an escape cannot swallow the next byte, because that byte begins with its own backslash.
file(READ "${INPUT}" hex HEX)
string(LENGTH "${hex}" hex_length)
set(chunks "")
set(position 0)
while(position LESS hex_length)
  string(SUBSTRING "${hex}" ${position} 8000 chunk)
  string(REGEX REPLACE "(..)" "\\\\x\\1" escaped "${chunk}")
  string(APPEND chunks "    \"${escaped}\"\n")
  math(EXPR position "${position} + 8000")
endwhile()
file(WRITE "${OUTPUT}"
"// Generated from a text file; do not edit.
#include <string_view>
namespace ${NAMESPACE} {
extern const std::string_view ${VARIABLE};
constexpr char k_text[] = \"\"
${chunks};
const std::string_view ${VARIABLE}{k_text, sizeof(k_text) - 1};
}
")
