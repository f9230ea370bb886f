# Options for the compilation of llama.cpp in CI, where time is short. The library that the tests load has the same code.

# The Python bindings load only libllama: the library that llama.cpp's own programs share is left out.
set(LLAMA_BUILD_COMMON OFF)

# libllama is some 190 small files with the same large headers; compiled in batches, they need a third of the time.
cmake_language(DEFER CALL set_target_properties llama PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 24)
