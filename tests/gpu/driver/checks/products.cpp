// Products: every transposition and type against sums in f64, the order of sums, epilogues, and the time.
#include <chrono>
#include <cmath>

#include "check.h"

namespace {

constexpr int F32 = 0, F16 = 2, BF16 = 14, COMPUTE_32F = 68, TF32 = 77, NOT_SUPPORTED = 15;

float rounded(float v, int type) {
  if (type == F16) return static_cast<float>(static_cast<_Float16>(v));
  if (type == F32) return v;
  uint32_t bits;
  memcpy(&bits, &v, 4);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
  memcpy(&v, &bits, 4);
  return v;
}

uint64_t put(const std::vector<float>& values, int type) {
  if (type == F32) return upload(values);
  std::vector<uint16_t> narrow;
  for (const float v : values) {
    uint32_t bits;
    const _Float16 half = static_cast<_Float16>(v);
    uint16_t short_bits;
    memcpy(&bits, &v, 4);
    memcpy(&short_bits, &half, 2);
    narrow.push_back(type == BF16 ? static_cast<uint16_t>(bits >> 16) : short_bits);
  }
  return upload(narrow);
}

std::vector<float> take(uint64_t address, size_t count, int type) {
  if (type == F32) return download<float>(address, count);
  std::vector<float> values;
  for (const uint16_t bits : download<uint16_t>(address, count)) {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float v;
    _Float16 half;
    memcpy(&v, &wide, 4);
    memcpy(&half, &bits, 2);
    values.push_back(type == BF16 ? v : static_cast<float>(half));
  }
  return values;
}

std::vector<float> values_of(size_t count, uint32_t seed, int type) {
  std::vector<float> values = random_values(count, seed);
  for (float& v : values) v = rounded(v, type);
  return values;
}

int multiply(void* blas, bool ta, bool tb, int m, int n, int k, uint64_t a, uint64_t b, float beta,
             uint64_t c, int type, int batch = 1, int compute = COMPUTE_32F) {
  const float alpha = 1.0f;
  return cublasGemmStridedBatchedEx(blas, ta, tb, m, n, k, &alpha, reinterpret_cast<void*>(a), type,
                                    ta ? k : m, (long long)m * k, reinterpret_cast<void*>(b), type,
                                    tb ? n : k, (long long)n * k, &beta, reinterpret_cast<void*>(c), type, m,
                                    (long long)m * n, batch, compute, 0);
}

void every_transposition_and_type(void* blas) {
  const int sizes[][3] = {{1, 1, 1}, {3, 5, 7}, {17, 300, 33}, {129, 97, 515}, {16, 6, 256}};
  for (const auto& [m, n, k] : sizes) {
    for (int form = 0; form < 12; form++) {
      const bool ta = form % 2, tb = form / 2 % 2;
      const int type = form < 4 ? F32 : form < 8 ? BF16 : F16, batch = 2;
      const auto a = values_of(size_t(m) * k * batch, 1, type), b = values_of(size_t(n) * k * batch, 2, type);
      const auto c = values_of(size_t(m) * n * batch, 3, type);
      const float beta = form % 3 == 0 ? 0.0f : 0.5f;
      const uint64_t at_c = put(c, type);
      OK(multiply(blas, ta, tb, m, n, k, put(a, type), put(b, type), beta, at_c, type, batch));
      const auto got = take(at_c, c.size(), type);
      for (int s = 0; s < batch; s++) {
        const float *left = &a[size_t(s) * m * k], *right = &b[size_t(s) * n * k];
        for (int j = 0; j < n; j++) {
          for (int i = 0; i < m; i++) {
            double sum = 0;
            for (int l = 0; l < k; l++) {
              sum += double(left[ta ? i * k + l : l * m + i]) * right[tb ? l * n + j : j * k + l];
            }
            const size_t at = size_t(s) * m * n + size_t(j) * m + i;
            sum += beta * double(c[at]);
            const double tolerance = (type == F32 ? 5e-5 : type == BF16 ? 5e-3 : 1e-3) * (1 + fabs(sum));
            TRUE(fabs(got[at] - sum) <= tolerance);
          }
        }
      }
    }
  }
}

// The classic interface sums in another order from 256 columns on: one more picture in a batch may show.
void the_classic_order_depends_on_the_shape(void* blas) {
  const int m = 32, k = 700;
  const uint64_t a = upload(random_values(size_t(m) * k, 1)), b = upload(random_values(size_t(256) * k, 2));
  const uint64_t c = allocate(size_t(m) * 256 * 4);
  auto product = [&](int n) {
    OK(multiply(blas, true, false, m, n, k, a, b, 0.0f, c, F32));
    return download<float>(c, size_t(m) * 128);
  };
  const auto few = product(128), more = product(255), many = product(256);
  TRUE(few == more);
  TRUE(few != many);
}

void tf32_rounds_factors(void* blas) {
  const uint64_t a = upload(std::vector<float>{1.0f + 1.0f / 4096}), b = upload(std::vector<float>{1.0f}),
                 c = allocate(4);
  OK(multiply(blas, false, false, 1, 1, 1, a, b, 0.0f, c, F32));
  TRUE(download<float>(c, 1)[0] == 1.0f + 1.0f / 4096);
  OK(multiply(blas, false, false, 1, 1, 1, a, b, 0.0f, c, F32, 1, TF32));
  TRUE(download<float>(c, 1)[0] == 1.0f);
}

void speed(void* blas) {
  for (const int type : {F32, BF16}) {
    const int size = 768;
    const uint64_t a = put(values_of(size_t(size) * size, 1, type), type),
                   b = put(values_of(size_t(size) * size, 2, type), type);
    const uint64_t c = allocate(size_t(size) * size * 4);
    double best = 1e9;
    for (int round = 0; round < 4; round++) {
      const auto start = std::chrono::steady_clock::now();
      OK(multiply(blas, true, false, size, size, size, a, b, 0.0f, c, type));
      OK(cuCtxSynchronize());
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    printf("products: %s %.0f GFLOP/s\n", type == F32 ? "f32" : "bf16",
           2.0 * size * size * size / best * 1e-9);
  }
}

// d = epilogue(a^T b + bias) through cublasLt, as a layer of m outputs multiplies n rows.
struct Light {
  void *handle, *what, *a, *b, *d, *preference;
  int type;
  Light(int m, int n, int k, int type, int lda = 0) : type(type) {
    const int transpose = 1;
    OK(cublasLtCreate(&handle));
    OK(cublasLtMatmulDescCreate(&what, COMPUTE_32F, F32));
    OK(cublasLtMatmulDescSetAttribute(what, 3, &transpose, 4));
    OK(cublasLtMatrixLayoutCreate(&a, type, k, m, lda ? lda : k));
    OK(cublasLtMatrixLayoutCreate(&b, type, k, n, k));
    OK(cublasLtMatrixLayoutCreate(&d, type, m, n, m));
    OK(cublasLtMatmulPreferenceCreate(&preference));
  }
  struct Result {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
  };
  Result best(uint32_t reductions, uint64_t workspace = 32 << 20) {
    OK(cublasLtMatmulPreferenceSetAttribute(preference, 3, &reductions, 4));
    OK(cublasLtMatmulPreferenceSetAttribute(preference, 1, &workspace, 8));
    Result result;
    int found = 0;
    OK(cublasLtMatmulAlgoGetHeuristic(handle, what, a, b, d, d, preference, 1, &result, &found));
    SAME(found, 1);
    return result;
  }
  // Adds beta times the matrix at `at_c`, that of the result if it is 0.
  int run(const Result& result, uint64_t at_a, uint64_t at_b, uint64_t at_d, float beta = 0.0f, uint64_t at_c = 0) {
    const float alpha = 1.0f;
    static const uint64_t workspace = allocate(32 << 20);
    auto pointer = [](uint64_t at) { return reinterpret_cast<void*>(at); };
    return cublasLtMatmul(handle, what, &alpha, pointer(at_a), a, pointer(at_b), b, &beta,
                          pointer(at_c ? at_c : at_d), d,
                          pointer(at_d), d, result.algorithm, pointer(workspace), 32 << 20, nullptr);
  }
};

int parts_of(const Light::Result& result) {
  int parts = 0;
  size_t written = 0;
  OK(cublasLtMatmulAlgoConfigGetAttribute(result.algorithm, 2, &parts, 4, &written));
  return parts;
}

void the_light_order_is_the_algorithms() {
  const int m = 64, k = 1024;
  const auto a = random_values(size_t(m) * k, 1), b = random_values(size_t(512) * k, 2);
  const uint64_t at_a = put(a, F32), at_b = put(b, F32), at_d = allocate(size_t(m) * 512 * 4);
  Light few(m, 8, k, F32), many(m, 512, k, F32);
  const auto one_chain = few.best(0);
  SAME(parts_of(one_chain), 1);
  SAME(parts_of(few.best(7)), 4);
  auto product = [&](Light& light, const Light::Result& with) {
    OK(light.run(with, at_a, at_b, at_d));
    return download<float>(at_d, size_t(m) * 8);
  };
  const auto alone = product(few, one_chain);
  TRUE(alone == product(many, one_chain)); // rows of a batch as alone
  TRUE(alone != product(few, few.best(7)));
  // Without room for a workspace there is no split.
  SAME(parts_of(few.best(7, 0)), 1);
}

void epilogues() {
  const int m = 32, n = 16, k = 64;
  for (const int type : {F32, BF16}) {
    const auto a = values_of(size_t(m) * k, 1, type), b = values_of(size_t(n) * k, 2, type);
    const auto bias = values_of(m, 3, type), c = values_of(size_t(m) * n, 4, type);
    const uint64_t at_a = put(a, type), at_b = put(b, type), at_bias = put(bias, type);
    for (const uint32_t epilogue : {1u, 4u, 2u, 6u, 32u, 36u}) {
      Light light(m, n, k, type);
      OK(cublasLtMatmulDescSetAttribute(light.what, 7, &epilogue, 4));
      OK(cublasLtMatmulDescSetAttribute(light.what, 8, &at_bias, 8));
      const uint64_t at_d = put(c, type);
      OK(light.run(light.best(0), at_a, at_b, at_d, 1.0f));
      const auto got = take(at_d, c.size(), type);
      for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
          double v = c[size_t(j) * m + i];
          for (int l = 0; l < k; l++) v += double(a[size_t(i) * k + l]) * b[size_t(j) * k + l];
          if (epilogue & 4) v += bias[i];
          if (epilogue & 2) v = std::max(v, 0.0);
          if (epilogue & 32) v = 0.5 * v * (1 + tanh(0.7978845608 * (v + 0.044715 * v * v * v)));
          TRUE(fabs(got[size_t(j) * m + i] - v) <= (type == F32 ? 1e-5 : 5e-3) * (1 + fabs(v)));
        }
      }
    }
  }
}

// A result may lie elsewhere than what is added, which stays as it was; and a descriptor and layouts may be changed
// between products: another bias, another number of columns.
void what_is_added_lies_elsewhere() {
  const int m = 32, k = 64;
  for (const int type : {F32, BF16}) {
    const auto a = values_of(size_t(m) * k, 1, type), b = values_of(size_t(16) * k, 2, type);
    const auto c = values_of(size_t(m) * 16, 3, type);
    const uint64_t at_a = put(a, type), at_b = put(b, type), at_c = put(c, type);
    const uint32_t with_bias = 4;
    Light light(m, 8, k, type);
    OK(cublasLtMatmulDescSetAttribute(light.what, 7, &with_bias, 4));
    Light::Result algorithm;
    int found = 0;
    SAME(cublasLtMatmulAlgoGetHeuristic(light.handle, light.what, light.a, light.b, light.d, light.d,
                                        light.preference, 1, &algorithm, &found),
         NOT_SUPPORTED);
    OK(cublasLtMatmulDescSetAttribute(light.what, 8, &at_a, 8));
    algorithm = light.best(0);
    for (const uint64_t n : {8, 16}) {
      const auto bias = values_of(m, 10 + static_cast<uint32_t>(n), type);
      const uint64_t at_bias = put(bias, type), at_d = put(std::vector<float>(size_t(m) * 16, -1.0f), type);
      OK(cublasLtMatmulDescSetAttribute(light.what, 8, &at_bias, 8));
      OK(cublasLtMatrixLayoutSetAttribute(light.b, 3, &n, 8));
      OK(cublasLtMatrixLayoutSetAttribute(light.d, 3, &n, 8));
      OK(light.run(algorithm, at_a, at_b, at_d, 1.0f, at_c));
      const auto got = take(at_d, c.size(), type);
      for (size_t j = 0; j < 16; j++) {
        for (size_t i = 0; i < size_t(m); i++) {
          double v = c[j * m + i] + double(bias[i]);
          for (int l = 0; l < k; l++) v += double(a[i * k + l]) * b[j * k + l];
          if (j >= n) v = -1.0;
          TRUE(fabs(got[j * m + i] - v) <= (type == F32 ? 1e-5 : 5e-3) * (1 + fabs(v)));
        }
      }
      TRUE(take(at_c, c.size(), type) == c);
    }
  }
}

void what_the_light_interface_rejects() {
  // Odd leading dimensions leave accesses of one element; such a product works, with an algorithm of its own.
  Light odd(8, 8, 7, BF16), even(16, 16, 64, BF16);
  const uint64_t memory = allocate(1 << 16);
  OK(cuMemsetD8Async(memory, 0, 1 << 16, nullptr));
  const auto fast = even.best(0), any = odd.best(0);
  OK(odd.run(any, memory + 2, memory + 512, memory + 1024));
  OK(even.run(fast, memory, memory + 4096, memory + 8192));
  SAME(even.run(fast, memory + 2, memory + 4096, memory + 8192), NOT_SUPPORTED);
  SAME(odd.run(fast, memory, memory + 4096, memory + 8192), NOT_SUPPORTED);
  SAME(cublasLtMatmulAlgoCheck(odd.handle, odd.what, odd.a, odd.b, odd.d, odd.d, fast.algorithm, nullptr),
       NOT_SUPPORTED);
  const int f32_bias = F32;
  const uint32_t with_bias = 4;
  OK(cublasLtMatmulDescSetAttribute(even.what, 7, &with_bias, 4));
  OK(cublasLtMatmulDescSetAttribute(even.what, 8, &memory, 8));
  OK(cublasLtMatmulDescSetAttribute(even.what, 26, &f32_bias, 4));
  SAME(even.run(fast, memory, memory + 4096, memory + 8192), NOT_SUPPORTED);
}

} // namespace

int main() {
  open_device();
  void* blas;
  OK(cublasCreate_v2(&blas));
  every_transposition_and_type(blas);
  the_classic_order_depends_on_the_shape(blas);
  tf32_rounds_factors(blas);
  the_light_order_is_the_algorithms();
  epilogues();
  what_is_added_lies_elsewhere();
  what_the_light_interface_rejects();
  speed(blas);
  OK(cublasDestroy_v2(blas));
}
