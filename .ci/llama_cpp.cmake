# Options for the compilation of llama.cpp in CI, where time is short. The library that the tests load has the same code.

# The Python bindings load only libllama: the library that llama.cpp's own programs share is left out.
set(LLAMA_BUILD_COMMON OFF)

# The tests run models of two layers, so the speed of the library does not matter: most of libllama only builds graphs.
set(CMAKE_C_FLAGS_RELEASE "-O1 -DNDEBUG")
set(CMAKE_CXX_FLAGS_RELEASE "-O1 -DNDEBUG")
cmake_language(DEFER CALL target_compile_options llama PRIVATE -O0)

# libllama is some 190 small files with the same large headers: compiled in batches, and the headers once.
cmake_language(DEFER CALL set_target_properties llama PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 48)
cmake_language(DEFER CALL target_precompile_headers llama PRIVATE <algorithm> <functional> <map> <memory> <regex> <set>
  <sstream> <string> <unordered_map> <vector>)
