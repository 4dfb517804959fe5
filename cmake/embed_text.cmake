# Script mode: writes INPUT as an array of characters, each a hex escape. No character of the text
# can then meet CMake's list and escape rules, the C++ preprocessor or a raw literal's delimiter,
# and no text is too long (compilers need not accept a string literal above 65,536 characters).
file(READ "${INPUT}" hex HEX)
string(REGEX REPLACE "(................................)" "\\1\n" lines "${hex}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "'\\\\x\\1'," characters "${lines}")
file(WRITE "${OUTPUT}"
"// Generated from a text file; do not edit.
#include <string_view>
namespace ${NAMESPACE} {
extern const std::string_view ${VARIABLE};
constexpr char k_text[] = {
${characters}};
const std::string_view ${VARIABLE}{k_text, sizeof(k_text)};
}
")
