// CPU versions of the kernels of candle that the program launches. Each does the whole grid's work.
//
// Parameters are those of candle-kernels 0.11; cuModuleGetFunction compares their sizes with the PTX.
#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels.h"
#include "number.h"

namespace software_cuda {
namespace {

// The launch that this thread runs.
thread_local const Launch* running = nullptr;

template <typename... P, size_t... I>
void call(void (*function)(P...), const Launch& launch, std::index_sequence<I...>) {
  std::tuple<P...> arguments;
  (memcpy(&std::get<I>(arguments), &launch.values[I], sizeof(P)), ...); // little endian
  running = &launch;
  std::apply(function, arguments);
}

template <typename... P>
void add(const std::string& name, void (*function)(P...)) {
  Kernel kernel{name, {parameter<P>()...}, nullptr};
  kernel.run = [function](const Launch& launch) { call(function, launch, std::index_sequence_for<P...>()); };
  add_kernel(kernel);
}

// Elements of a tensor in row-major order, for one of the lists of strides behind its dimensions. As in
// candle's kernels, contiguous ones are not looked up (index_select passes the dimensions of its ids: nothing
// else fits).
class Walk {
 public:
  Walk(size_t dims, const size_t* info, size_t list)
      : dims_(dims), sizes_(info), strides_(info + (list + 1) * dims), straight_(!info || contiguous()) {}
  size_t at(size_t i) const {
    if (straight_) return i;
    size_t place = 0;
    for (size_t d = dims_; d-- > 0; i /= sizes_[d]) place += i % sizes_[d] * strides_[d];
    return place;
  }

 private:
  bool contiguous() const {
    size_t stride = 1;
    for (size_t d = dims_; d-- > 0; stride *= sizes_[d]) {
      if (sizes_[d] > 1 && strides_[d] != stride) return false;
    }
    return true;
  }
  size_t dims_;
  const size_t *sizes_, *strides_;
  bool straight_;
};

template <typename S, typename T>
void cast(size_t count, size_t dims, const size_t* info, const S* x, T* y) {
  const Walk walk(dims, info, 0);
  for (size_t i = 0; i < count; i++) y[i] = convert<T>(x[walk.at(i)]);
}

template <typename T>
void copy(size_t count, size_t dims, const size_t* info, const T* x, T* y) {
  const Walk walk(dims, info, 0);
  for (size_t i = 0; i < count; i++) y[i] = x ? x[walk.at(i)] : y[i];
}

template <typename T>
void fill(T* y, T value, size_t count) {
  for (size_t i = 0; i < count; i++) y[i] = value;
}

template <typename T>
void const_set(size_t count, size_t dims, const size_t* info, T value, T* y) {
  const Walk walk(dims, info, 0);
  for (size_t i = 0; i < count; i++) y[walk.at(i)] = value;
}

template <typename T>
void copy2d(const T* x, T* y, uint32_t rows, uint32_t columns, uint32_t x_stride, uint32_t y_stride) {
  // One thread for each element: a grid that is too small copies less, as on a card.
  const size_t threads = size_t(running->grid[0]) * running->block[0];
  const size_t count = std::min(size_t(rows) * columns, threads);
  for (size_t i = 0; i < count; i++) {
    y[i / columns * y_stride + i % columns] = x[i / columns * x_stride + i % columns];
  }
}

template <typename T>
void affine(size_t count, size_t dims, const size_t* info, const T* x, T* y, T mul, T add) {
  const Walk walk(dims, info, 0);
  for (size_t i = 0; i < count; i++) {
    const float v = static_cast<float>(x ? x[walk.at(i)] : y[i]);
    const T product = convert<T>(v * static_cast<float>(mul)); // a 16-bit format rounds twice
    y[i] = convert<T>(static_cast<float>(product) + static_cast<float>(add));
  }
}

enum class Binary { Add, Sub, Mul, Div, Maximum, Minimum };

template <typename T, Binary OP>
void binary(size_t count, size_t dims, const size_t* info, const T* a, const T* b, T* y) {
  const Walk left(dims, info, 0), right(dims, info, 1);
  for (size_t i = 0; i < count; i++) {
    const float p = static_cast<float>(a[left.at(i)]), q = static_cast<float>(b[right.at(i)]);
    y[i] = convert<T>(OP == Binary::Add       ? p + q
                      : OP == Binary::Sub     ? p - q
                      : OP == Binary::Mul     ? p * q
                      : OP == Binary::Div     ? p / q
                      : OP == Binary::Maximum ? fmaxf(p, q)
                                              : fminf(p, q));
  }
}

enum class Unary { Neg, Exp, Log, Sqr, Sqrt, Recip, Abs, Relu };

template <typename T, Unary OP>
void unary(size_t count, size_t dims, const size_t* info, const T* x, T* y) {
  const Walk walk(dims, info, 0);
  for (size_t i = 0; i < count; i++) {
    const float v = static_cast<float>(x ? x[walk.at(i)] : y[i]);
    y[i] = convert<T>(OP == Unary::Neg     ? -v
                      : OP == Unary::Exp   ? expf(v)
                      : OP == Unary::Log   ? logf(v)
                      : OP == Unary::Sqr   ? v * v
                      : OP == Unary::Sqrt  ? sqrtf(v)
                      : OP == Unary::Recip ? 1.0f / v
                      : OP == Unary::Abs   ? fabsf(v)
                                           : fmaxf(v, 0.0f));
  }
}

// Each block sums `each` neighbouring elements: its threads their share, then pairs of threads.
template <typename T>
void fast_sum(size_t count, size_t each, size_t dims, const size_t* info, const T* x, T* y) {
  const Walk walk(dims, info, 0);
  const size_t threads = running->block[0];
  std::vector<float> sums(threads);
  for (size_t block = 0; block < running->grid[0]; block++) {
    std::fill(sums.begin(), sums.end(), 0.0f);
    const size_t end = std::min((block + 1) * each, count);
    for (size_t i = block * each; i < end; i++) {
      sums[(i - block * each) % threads] += static_cast<float>(x[walk.at(i)]);
    }
    for (size_t step = threads / 2; step > 0; step /= 2) {
      for (size_t t = 0; t < step; t++) sums[t] += sums[t + step];
    }
    y[block] = convert<T>(sums[0]);
  }
}

template <typename T>
void fast_sum_small(size_t count, size_t each, size_t dims, const size_t* info, const T* x, T* y) {
  const Walk walk(dims, info, 0);
  for (size_t i = 0; i < count; i++) {
    float sum = 0.0f;
    for (size_t l = 0; l < each; l++) sum += static_cast<float>(x[walk.at(i * each + l)]);
    y[i] = convert<T>(sum);
  }
}

template <typename I, typename T>
void index_select(size_t count, size_t dims, const size_t* info, const I* ids, const T* x, T* y, size_t,
                  size_t rows, size_t picked, size_t width) {
  const Walk walk(dims, info, 0);
  for (size_t i = 0; i < count; i++) {
    const I id = ids[i / width % picked];
    if (static_cast<size_t>(id) >= rows) throw std::runtime_error("index_select: a row that there is not");
    y[i] = x[walk.at(i / (picked * width) * rows * width + static_cast<size_t>(id) * width + i % width)];
  }
}

template <typename T>
void add_for(const std::string& type) {
  add("ucopy_" + type, copy<T>);
  add("fill_" + type, fill<T>);
  add("const_set_" + type, const_set<T>);
  add("copy2d_" + type, copy2d<T>);
  add("is_u32_" + type, index_select<uint32_t, T>);
}

template <typename T>
void add_arithmetic(const std::string& type) {
  add("affine_" + type, affine<T>);
  add("badd_" + type, binary<T, Binary::Add>);
  add("bsub_" + type, binary<T, Binary::Sub>);
  add("bmul_" + type, binary<T, Binary::Mul>);
  add("bdiv_" + type, binary<T, Binary::Div>);
  add("bmaximum_" + type, binary<T, Binary::Maximum>);
  add("bminimum_" + type, binary<T, Binary::Minimum>);
  add("uneg_" + type, unary<T, Unary::Neg>);
  add("uexp_" + type, unary<T, Unary::Exp>);
  add("ulog_" + type, unary<T, Unary::Log>);
  add("usqr_" + type, unary<T, Unary::Sqr>);
  add("usqrt_" + type, unary<T, Unary::Sqrt>);
  add("urecip_" + type, unary<T, Unary::Recip>);
  add("uabs_" + type, unary<T, Unary::Abs>);
  add("urelu_" + type, unary<T, Unary::Relu>);
  add("fast_sum_" + type, fast_sum<T>);
  add("fast_sum_small_" + type, fast_sum_small<T>);
}

template <typename S>
void add_casts_from(const std::string& type) {
  add("cast_" + type + "_f32", cast<S, float>);
  add("cast_" + type + "_bf16", cast<S, bf16>);
  add("cast_" + type + "_f16", cast<S, f16>);
  add("cast_" + type + "_u8", cast<S, uint8_t>);
  add("cast_" + type + "_u32", cast<S, uint32_t>);
  add("cast_" + type + "_i64", cast<S, int64_t>);
}

} // namespace

void add_candle_kernels() {
  add_for<float>("f32");
  add_for<bf16>("bf16");
  add_for<f16>("f16");
  add_for<uint8_t>("u8");
  add_for<uint32_t>("u32");
  add_for<int16_t>("i16");
  add_for<int64_t>("i64");
  add_arithmetic<float>("f32");
  add_arithmetic<bf16>("bf16");
  add_arithmetic<f16>("f16");
  add_casts_from<float>("f32");
  add_casts_from<bf16>("bf16");
  add_casts_from<f16>("f16");
  add_casts_from<uint8_t>("u8");
  add_casts_from<uint32_t>("u32");
  add_casts_from<int64_t>("i64");
}

} // namespace software_cuda
