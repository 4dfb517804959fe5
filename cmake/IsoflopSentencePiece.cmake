# SentencePiece, optional. Sets ISOFLOP_HAVE_SENTENCEPIECE, ISOFLOP_SENTENCEPIECE_INCLUDE_DIRS and
# ISOFLOP_SENTENCEPIECE_LIBRARIES (paths, so that the exported package does not ask its users for
# it).
#
# Found by header and library. pkg-config comes second: the sentencepiece.pc of Debian 13 requires
# protobuf-lite, which programs that link the shared library do not need and the package does not
# bring. pkg-config answers where the files lie in folders that CMake does not search.
include(CheckCXXSourceCompiles)

set(ISOFLOP_HAVE_SENTENCEPIECE FALSE)
set(isoflop_sentencepiece_reason "(Debian: libsentencepiece-dev)")

# Sets <result> to whether a program compiles and links with these; asked once for each place.
function(isoflop_try_sentencepiece result include_dirs libraries)
  set(tried "${include_dirs};${libraries}")
  if(NOT ISOFLOP_SENTENCEPIECE_TRIED STREQUAL tried)
    unset(ISOFLOP_SENTENCEPIECE_LINKS CACHE)
    set(ISOFLOP_SENTENCEPIECE_TRIED "${tried}" CACHE INTERNAL "Where SentencePiece was tried")
  endif()
  set(CMAKE_CXX_STANDARD 20)
  set(CMAKE_REQUIRED_INCLUDES ${include_dirs})
  set(CMAKE_REQUIRED_LIBRARIES ${libraries})
  set(CMAKE_REQUIRED_QUIET TRUE)
  check_cxx_source_compiles("
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>
int main() { return sentencepiece::SentencePieceProcessor().GetPieceSize(); }
" ISOFLOP_SENTENCEPIECE_LINKS)
  set(${result} "${ISOFLOP_SENTENCEPIECE_LINKS}" PARENT_SCOPE)
endfunction()

# isoflop_use_sentencepiece(<include directories> <libraries>): takes them where they work.
macro(isoflop_use_sentencepiece include_dirs libraries)
  isoflop_try_sentencepiece(isoflop_sentencepiece_works "${include_dirs}" "${libraries}")
  if(isoflop_sentencepiece_works)
    set(ISOFLOP_HAVE_SENTENCEPIECE TRUE)
    set(ISOFLOP_SENTENCEPIECE_INCLUDE_DIRS "${include_dirs}")
    set(ISOFLOP_SENTENCEPIECE_LIBRARIES "${libraries}")
  else()
    set(isoflop_sentencepiece_reason "that works (a program with ${libraries} does not build)")
  endif()
endmacro()

find_path(ISOFLOP_SENTENCEPIECE_INCLUDE_DIR sentencepiece_processor.h)
find_library(ISOFLOP_SENTENCEPIECE_LIBRARY sentencepiece)
find_library(ISOFLOP_SENTENCEPIECE_TRAIN_LIBRARY sentencepiece_train)
mark_as_advanced(ISOFLOP_SENTENCEPIECE_INCLUDE_DIR ISOFLOP_SENTENCEPIECE_LIBRARY ISOFLOP_SENTENCEPIECE_TRAIN_LIBRARY)
if(ISOFLOP_SENTENCEPIECE_INCLUDE_DIR AND ISOFLOP_SENTENCEPIECE_LIBRARY AND ISOFLOP_SENTENCEPIECE_TRAIN_LIBRARY)
  isoflop_use_sentencepiece("${ISOFLOP_SENTENCEPIECE_INCLUDE_DIR}"
                            "${ISOFLOP_SENTENCEPIECE_TRAIN_LIBRARY};${ISOFLOP_SENTENCEPIECE_LIBRARY}")
endif()
if(NOT ISOFLOP_HAVE_SENTENCEPIECE)
  find_package(PkgConfig QUIET)
  if(PkgConfig_FOUND)
    pkg_check_modules(SENTENCEPIECE QUIET sentencepiece)
  endif()
  if(SENTENCEPIECE_FOUND)
    isoflop_use_sentencepiece("${SENTENCEPIECE_INCLUDE_DIRS}" "${SENTENCEPIECE_LINK_LIBRARIES}")
  endif()
endif()

if(ISOFLOP_HAVE_SENTENCEPIECE)
  list(JOIN ISOFLOP_SENTENCEPIECE_LIBRARIES ", " isoflop_sentencepiece_files)
  message(STATUS "SentencePiece: found (${isoflop_sentencepiece_files})")
else()
  message(STATUS "SentencePiece: not found ${isoflop_sentencepiece_reason}; tokenizers byte and char still work")
endif()
