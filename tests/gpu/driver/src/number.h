// 16-bit floating-point formats.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace software_cuda {

struct f16 {
  _Float16 v;
  operator float() const { return static_cast<float>(v); }
  static f16 from(float f) { return {static_cast<_Float16>(f)}; }
};

struct bf16 {
  uint16_t bits;
  operator float() const {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float f;
    memcpy(&f, &wide, 4);
    return f;
  }
  static bf16 from(float f) { // to nearest, ties to even
    uint32_t wide;
    memcpy(&wide, &f, 4);
    if (f != f) return {0x7fff};
    return {static_cast<uint16_t>((wide + 0x7fff + ((wide >> 16) & 1)) >> 16)};
  }
};

// A number in another format, rounded once.
template <typename T, typename S>
T convert(S v) {
  if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>) {
    return T::from(static_cast<float>(v));
  } else if constexpr (std::is_same_v<S, f16> || std::is_same_v<S, bf16>) {
    return static_cast<T>(static_cast<float>(v));
  } else {
    return static_cast<T>(v);
  }
}

} // namespace software_cuda
