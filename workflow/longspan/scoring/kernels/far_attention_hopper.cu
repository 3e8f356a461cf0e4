// Far attention sums on Hopper (sm_90a): Σp and Σp² of every head in one pass, without the L x L matrix.
//
// A block is four warpgroups of 64 queries each and one that brings in key tiles by TMA, which the four share.
// While the matrix unit computes the scores of one warpgroup, those of the others go through the exponential:
// both units take the same time for a tile, and four warpgroups are enough to keep each mostly busy.
//
// Per score one FFMA, one EX2, one FADD, and one FFMA more where the key is far. No running maximum: a thread
// keeps a reference score per row, and only when a tile's sum exceeds SUM_LIMIT is the reference raised to the
// tile's maximum, the running sums rescaled, and the tile summed again. As the reference is a score that the
// row has, and no later score exceeds it by more than SUM_LIMIT, nothing overflows, and nothing that counts
// underflows.
//
// Names: row = query n, column = key i, distance = first far distance k; far: i <= n - distance.
// s scores, p = exp(s - reference), far_sum = Σp and far_square_sum = Σp² over far keys, near_sum the rest.

#include <cuda.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#ifndef HEAD_DIM
#define HEAD_DIM 128
#endif

namespace {

constexpr int WARPGROUPS = 4;
constexpr int TILE_M = 64;                       // queries of one wgmma, one tile a warpgroup
constexpr int BLOCK_M = WARPGROUPS * TILE_M;     // queries of a block
constexpr int BLOCK_N = 128;                     // keys of a tile
constexpr int STAGES = 4;                        // key tiles on their way
constexpr int THREADS = 128 * (WARPGROUPS + 1);  // the last warpgroup brings in the keys
// what a block of 640 threads starts with is 96 registers each; these take no more in all
constexpr int PRODUCER_REGISTERS = 24;
constexpr int CONSUMER_REGISTERS = 112;
constexpr int ATOM = 64;  // 16-bit elements in a 128-byte swizzled row
constexpr int ATOMS = (HEAD_DIM + ATOM - 1) / ATOM;
constexpr int Q_ATOM_BYTES = TILE_M * ATOM * 2;
constexpr int K_ATOM_BYTES = BLOCK_N * ATOM * 2;
constexpr int Q_BYTES = WARPGROUPS * ATOMS * Q_ATOM_BYTES;
constexpr int K_BYTES = ATOMS * K_ATOM_BYTES;
constexpr int SHARED_BYTES = Q_BYTES + STAGES * K_BYTES + 1024;  // the swizzle wants 1024-byte alignment
static_assert(HEAD_DIM % 16 == 0 && SHARED_BYTES <= 227 * 1024, "a wgmma takes 16 dimensions at a time");

constexpr float SUM_LIMIT = 1.099511627776e12f;  // 2^40: squares and sums of 2^20 of them stay finite
constexpr float NO_REFERENCE = -1e30f;           // below any score: the first tile always raises it

struct Problem {
  int heads, key_heads, num_tokens, distance, row_blocks;
  float scale_log2;  // scale * log2(e)
};

// ---- barriers, copies, matrix unit ---------------------------------------------------------------------

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void barrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals));
}

__device__ __forceinline__ void barrier_expect(uint64_t* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}

__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

__device__ __forceinline__ void barrier_wait(uint64_t* barrier, int parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "again:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra finished;\n"
      "bra again;\n"
      "finished:\n"
      "}\n" ::"r"(shared_address(barrier)),
      "r"(parity)
      : "memory");
}

__device__ __forceinline__ void copy_tile(uint32_t to, const CUtensorMap* map, uint64_t* barrier, int column, int token,
                                          int head, int window) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(to),
      "l"(map), "r"(shared_address(barrier)), "r"(column), "r"(token), "r"(head), "r"(window)
      : "memory");
}

// K-major operand, rows of 128 bytes swizzled in groups of 8
// low half of a descriptor, to which multiples of 16 bytes can be added
__device__ __forceinline__ uint32_t operand_address(uint32_t shared) { return shared >> 4 | 1u << 16; }

__device__ __forceinline__ uint64_t operand_descriptor(uint32_t address) {
  constexpr uint32_t high = 1024 >> 4 | 1u << 30;
  return uint64_t(high) << 32 | address;
}

// keeps the compiler from reading accumulators before the wait that precedes this
__device__ __forceinline__ void pin(float (&s)[BLOCK_N / 2]) {
#pragma unroll
  for (int e = 0; e < BLOCK_N / 2; ++e) asm volatile("" : "+f"(s[e])::"memory");
}

// s (+)= q k^T for 64 queries, 128 keys, 16 dimensions
template <bool BF16>
__device__ __forceinline__ void mma(float (&s)[BLOCK_N / 2], uint64_t q, uint64_t k, int add) {
  if constexpr (BF16) {
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
          "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
          "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
          "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
          "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, add, 1, 1, 0, 0;\n}\n"
        : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3]), "+f"(s[4]), "+f"(s[5]), "+f"(s[6]), "+f"(s[7]),
        "+f"(s[8]), "+f"(s[9]), "+f"(s[10]), "+f"(s[11]), "+f"(s[12]), "+f"(s[13]), "+f"(s[14]), "+f"(s[15]),
        "+f"(s[16]), "+f"(s[17]), "+f"(s[18]), "+f"(s[19]), "+f"(s[20]), "+f"(s[21]), "+f"(s[22]), "+f"(s[23]),
        "+f"(s[24]), "+f"(s[25]), "+f"(s[26]), "+f"(s[27]), "+f"(s[28]), "+f"(s[29]), "+f"(s[30]), "+f"(s[31]),
        "+f"(s[32]), "+f"(s[33]), "+f"(s[34]), "+f"(s[35]), "+f"(s[36]), "+f"(s[37]), "+f"(s[38]), "+f"(s[39]),
        "+f"(s[40]), "+f"(s[41]), "+f"(s[42]), "+f"(s[43]), "+f"(s[44]), "+f"(s[45]), "+f"(s[46]), "+f"(s[47]),
        "+f"(s[48]), "+f"(s[49]), "+f"(s[50]), "+f"(s[51]), "+f"(s[52]), "+f"(s[53]), "+f"(s[54]), "+f"(s[55]),
        "+f"(s[56]), "+f"(s[57]), "+f"(s[58]), "+f"(s[59]), "+f"(s[60]), "+f"(s[61]), "+f"(s[62]), "+f"(s[63])
        : "l"(q), "l"(k), "r"(add));
  } else {
    asm volatile(
        "{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {"
          "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
          "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
          "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
          "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
        "%64, %65, add, 1, 1, 0, 0;\n}\n"
        : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3]), "+f"(s[4]), "+f"(s[5]), "+f"(s[6]), "+f"(s[7]),
        "+f"(s[8]), "+f"(s[9]), "+f"(s[10]), "+f"(s[11]), "+f"(s[12]), "+f"(s[13]), "+f"(s[14]), "+f"(s[15]),
        "+f"(s[16]), "+f"(s[17]), "+f"(s[18]), "+f"(s[19]), "+f"(s[20]), "+f"(s[21]), "+f"(s[22]), "+f"(s[23]),
        "+f"(s[24]), "+f"(s[25]), "+f"(s[26]), "+f"(s[27]), "+f"(s[28]), "+f"(s[29]), "+f"(s[30]), "+f"(s[31]),
        "+f"(s[32]), "+f"(s[33]), "+f"(s[34]), "+f"(s[35]), "+f"(s[36]), "+f"(s[37]), "+f"(s[38]), "+f"(s[39]),
        "+f"(s[40]), "+f"(s[41]), "+f"(s[42]), "+f"(s[43]), "+f"(s[44]), "+f"(s[45]), "+f"(s[46]), "+f"(s[47]),
        "+f"(s[48]), "+f"(s[49]), "+f"(s[50]), "+f"(s[51]), "+f"(s[52]), "+f"(s[53]), "+f"(s[54]), "+f"(s[55]),
        "+f"(s[56]), "+f"(s[57]), "+f"(s[58]), "+f"(s[59]), "+f"(s[60]), "+f"(s[61]), "+f"(s[62]), "+f"(s[63])
        : "l"(q), "l"(k), "r"(add));
  }
}

template <bool BF16>
__device__ __forceinline__ void start_scores(float (&s)[BLOCK_N / 2], uint32_t q, uint32_t k) {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
  for (int step = 0; step < HEAD_DIM / 16; ++step) {
    const int atom = step / 4, inside = step % 4 * 2;  // 16 elements are 32 bytes, addresses count in 16 bytes
    mma<BF16>(s, operand_descriptor(q + atom * (Q_ATOM_BYTES >> 4) + inside),
              operand_descriptor(k + atom * (K_ATOM_BYTES >> 4) + inside), step > 0);
  }
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

__device__ __forceinline__ void finish_scores(float (&s)[BLOCK_N / 2]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  pin(s);
}

// ---- exponentials and sums -----------------------------------------------------------------------------

__device__ __forceinline__ float exp2_unit(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

struct RowSums {  // of one thread: two rows of a tile, 8 apart
  float reference[2], near_sum[2], far_sum[2], far_square_sum[2];
};

enum Kind { FAR, NEAR, MIXED };

template <Kind KIND>
__device__ __forceinline__ void sum_tile(RowSums& rows, float (&s)[BLOCK_N / 2], float scale_log2, int last_column,
                                         int last_far) {
  // last_column, last_far: of the thread's first row, relative to its first column; MIXED only
  float near_sum[2], far_sum[2], far_square_sum[2];
#pragma unroll 1
  for (int attempt = 0;; ++attempt) {
#pragma unroll
    for (int h = 0; h < 2; ++h) near_sum[h] = far_sum[h] = far_square_sum[h] = 0.f;
#pragma unroll
    for (int e = 0; e < BLOCK_N / 2; ++e) {
      const int h = e / 2 % 2, column = e / 4 * 8 + e % 2;
      const float x = fmaf(s[e], scale_log2, -rows.reference[h]);
      float p = exp2_unit(x);
      if (KIND == MIXED) {
        p = column <= last_column + 8 * h ? p : 0.f;
        const bool far = column <= last_far + 8 * h;
        const float p_far = far ? p : 0.f;
        far_sum[h] += p_far;
        far_square_sum[h] = fmaf(p_far, p_far, far_square_sum[h]);
        near_sum[h] += far ? 0.f : p;  // p - p_far would hide an overflow as inf - inf
      } else if (KIND == FAR) {
        far_sum[h] += p;
        far_square_sum[h] = fmaf(p, p, far_square_sum[h]);
      } else {
        near_sum[h] += p;
      }
    }
    float highest_sum = fmaxf(near_sum[0] + far_sum[0], near_sum[1] + far_sum[1]);
    if (KIND != NEAR) highest_sum = fmaxf(highest_sum, fmaxf(far_square_sum[0], far_square_sum[1]));
    const bool too_high = !(highest_sum <= SUM_LIMIT);
    if (attempt > 0 || !__any_sync(0xffffffffu, too_high)) break;
    float highest[2] = {rows.reference[0], rows.reference[1]};
#pragma unroll
    for (int e = 0; e < BLOCK_N / 2; ++e) {
      const int h = e / 2 % 2, column = e / 4 * 8 + e % 2;
      if (KIND != MIXED || column <= last_column + 8 * h) highest[h] = fmaxf(highest[h], s[e] * scale_log2);
    }
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const float factor = exp2_unit(rows.reference[h] - highest[h]);
      rows.near_sum[h] *= factor;
      rows.far_sum[h] *= factor;
      rows.far_square_sum[h] *= factor * factor;
      rows.reference[h] = highest[h];
    }
  }
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    rows.near_sum[h] += near_sum[h];
    rows.far_sum[h] += far_sum[h];
    rows.far_square_sum[h] += far_square_sum[h];
  }
}

// Key tiles of one tile of queries: [0, far_end) far, then mixed, [near_start, near_end) near, then mixed.
struct Tiles {
  int far_end, near_start, near_end;
  __device__ __forceinline__ Tiles(int first_row, int distance) {
    far_end = max(first_row - distance + 1, 0) / BLOCK_N;
    near_start = max(first_row + TILE_M - 1 - distance + BLOCK_N, 0) / BLOCK_N;
    near_end = (first_row + 1) / BLOCK_N;
  }
};

__device__ __forceinline__ void sum_any_tile(RowSums& rows, float (&s)[BLOCK_N / 2], const Problem& problem,
                                             const Tiles& tiles, int j, int row, int first_column) {
  if (j < tiles.far_end) {
    sum_tile<FAR>(rows, s, problem.scale_log2, 0, 0);
  } else if (j >= tiles.near_start && j < tiles.near_end) {
    sum_tile<NEAR>(rows, s, problem.scale_log2, 0, 0);
  } else {
    const int last_column = row - j * BLOCK_N - first_column;
    sum_tile<MIXED>(rows, s, problem.scale_log2, last_column, last_column - problem.distance);
  }
}

// Adds a thread's rows to its sums, merged over the four lanes that share a row.
__device__ __forceinline__ void finish_rows(const RowSums& rows, int row, int num_tokens, float& sum_p,
                                            float& sum_p2) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float reference = rows.reference[h];
    reference = fmaxf(reference, __shfl_xor_sync(0xffffffffu, reference, 1));
    reference = fmaxf(reference, __shfl_xor_sync(0xffffffffu, reference, 2));
    const float factor = exp2_unit(rows.reference[h] - reference);
    float far_sum = rows.far_sum[h] * factor;
    float all_sum = rows.near_sum[h] * factor + far_sum;
    float far_square_sum = rows.far_square_sum[h] * (factor * factor);
#pragma unroll
    for (int lanes = 1; lanes <= 2; lanes *= 2) {
      all_sum += __shfl_xor_sync(0xffffffffu, all_sum, lanes);
      far_sum += __shfl_xor_sync(0xffffffffu, far_sum, lanes);
      far_square_sum += __shfl_xor_sync(0xffffffffu, far_square_sum, lanes);
    }
    if (row + 8 * h < num_tokens && threadIdx.x % 4 == 0) {
      sum_p += far_sum / all_sum;
      sum_p2 += far_square_sum / (all_sum * all_sum);
    }
  }
}

// ---- the kernel ----------------------------------------------------------------------------------------

template <bool BF16>
__global__ void __launch_bounds__(THREADS, 1)
    far_attention(const __grid_constant__ CUtensorMap q_map, const __grid_constant__ CUtensorMap k_map,
                  const Problem problem, float* __restrict__ partial_sums) {
  extern __shared__ uint8_t shared_bytes[];
  const uint32_t q_tiles = (shared_address(shared_bytes) + 1023) & ~1023u, k_tiles = q_tiles + Q_BYTES;
  __shared__ uint64_t q_full, k_full[STAGES], k_empty[STAGES];

  // heads of one key head lie side by side, long rows first: neighbours read the same keys
  const int group = problem.heads / problem.key_heads;
  int rest = blockIdx.x;
  const int head_in_group = rest % group;
  rest /= group;
  const int row_block = problem.row_blocks - 1 - rest % problem.row_blocks;
  rest /= problem.row_blocks;
  const int key_head = rest % problem.key_heads, window = rest / problem.key_heads;
  const int head = key_head * group + head_in_group;
  const int first_row = problem.distance + row_block * BLOCK_M;
  const int block_tiles = (min(first_row + BLOCK_M, problem.num_tokens) + BLOCK_N - 1) / BLOCK_N;

  if (threadIdx.x == 0) {
    barrier_init(&q_full, 1);
    for (int stage = 0; stage < STAGES; ++stage) {
      barrier_init(&k_full[stage], 1);
      barrier_init(&k_empty[stage], WARPGROUPS);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();

  // through a shuffle, so that the compiler knows it to be the same for the whole warp
  const int warpgroup = __shfl_sync(0xffffffffu, threadIdx.x / 128, 0);
  if (warpgroup == WARPGROUPS) {  // the producer
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(PRODUCER_REGISTERS));
    if (threadIdx.x % 128 == 0) {
      barrier_expect(&q_full, Q_BYTES);
      for (int g = 0; g < WARPGROUPS; ++g)
        for (int atom = 0; atom < ATOMS; ++atom)
          copy_tile(q_tiles + (g * ATOMS + atom) * Q_ATOM_BYTES, &q_map, &q_full, atom * ATOM,
                    first_row + g * TILE_M, head, window);
      for (int j = 0; j < block_tiles; ++j) {
        const int stage = j % STAGES, round = j / STAGES;
        if (round > 0) barrier_wait(&k_empty[stage], (round - 1) & 1);
        barrier_expect(&k_full[stage], K_BYTES);
        for (int atom = 0; atom < ATOMS; ++atom)
          copy_tile(k_tiles + stage * K_BYTES + atom * K_ATOM_BYTES, &k_map, &k_full[stage], atom * ATOM, j * BLOCK_N,
                    key_head, window);
      }
    }
    return;
  }
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(CONSUMER_REGISTERS));

  const int warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  const int group_row = first_row + warpgroup * TILE_M;
  const int row = group_row + warp * 16 + lane / 4, first_column = lane % 4 * 2;
  const Tiles tiles(group_row, problem.distance);
  const int group_tiles = min((group_row + TILE_M + BLOCK_N - 1) / BLOCK_N, block_tiles);
  const uint32_t q_tile = operand_address(q_tiles + warpgroup * ATOMS * Q_ATOM_BYTES);
  const uint32_t k_first = operand_address(k_tiles);

  RowSums rows = {{NO_REFERENCE, NO_REFERENCE}};
  float s[BLOCK_N / 2];
  int stage = 0, parity = 0;
  barrier_wait(&q_full, 0);
#pragma unroll 1
  for (int j = 0; j < group_tiles; ++j) {
    barrier_wait(&k_full[stage], parity);
    start_scores<BF16>(s, q_tile, k_first + stage * (K_BYTES >> 4));
    finish_scores(s);
    if (threadIdx.x % 128 == 0) barrier_arrive(&k_empty[stage]);
    stage = stage + 1 == STAGES ? 0 : stage + 1;
    parity ^= stage == 0;
    sum_any_tile(rows, s, problem, tiles, j, row, first_column);
    pin(s);
  }
  if (threadIdx.x % 128 == 0) {
    for (int j = group_tiles; j < block_tiles; ++j) {  // tiles that only later warpgroups need
      barrier_wait(&k_full[j % STAGES], j / STAGES & 1);
      barrier_arrive(&k_empty[j % STAGES]);
    }
  }

  float sum_p = 0.f, sum_p2 = 0.f;
  finish_rows(rows, row, problem.num_tokens, sum_p, sum_p2);
#pragma unroll
  for (int lanes = 4; lanes < 32; lanes *= 2) {
    sum_p += __shfl_xor_sync(0xffffffffu, sum_p, lanes);
    sum_p2 += __shfl_xor_sync(0xffffffffu, sum_p2, lanes);
  }
  if (lane == 0) {  // one slot a warp, so that the order of additions is fixed
    const int slots = problem.row_blocks * WARPGROUPS * 4;
    const int slot = (row_block * WARPGROUPS + warpgroup) * 4 + warp;
    float* out = partial_sums + (size_t(window) * problem.heads + head) * 2 * slots;
    out[slot] = sum_p;
    out[slots + slot] = sum_p2;
  }
}

using EncodeTiled = CUresult (*)(CUtensorMap*, CUtensorMapDataType, cuuint32_t, void*, const cuuint64_t*,
                                 const cuuint64_t*, const cuuint32_t*, const cuuint32_t*, CUtensorMapInterleave,
                                 CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

// strides in elements: window, head, token
bool make_map(EncodeTiled encode, CUtensorMap* map, const void* data, bool bf16, int windows, int heads,
              int num_tokens, const int64_t* strides, int box_rows) {
  const cuuint64_t sizes[4] = {HEAD_DIM, cuuint64_t(num_tokens), cuuint64_t(heads), cuuint64_t(windows)};
  const cuuint64_t byte_strides[3] = {cuuint64_t(strides[2]) * 2, cuuint64_t(strides[1]) * 2,
                                      cuuint64_t(strides[0]) * 2};
  const cuuint32_t box[4] = {ATOM, cuuint32_t(box_rows), 1, 1}, steps[4] = {1, 1, 1, 1};
  return encode(map, bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 4,
                const_cast<void*>(data), sizes, byte_strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

}  // namespace

extern "C" {

// Slots of partial sums that one head of one window fills.
int far_attention_slots(int num_tokens, int distance) {
  return (num_tokens - distance + BLOCK_M - 1) / BLOCK_M * WARPGROUPS * 4;
}

// partial_sums: float32 [windows, heads, 2, slots]. Returns nullptr, or what went wrong.
const char* far_attention_launch(const void* q, const void* k, float* partial_sums, int windows, int heads,
                                 int key_heads, int num_tokens, int distance, const int64_t* q_strides,
                                 const int64_t* k_strides, float scale, int bf16, int device, void* stream) {
  if (cudaError_t error = cudaSetDevice(device)) return cudaGetErrorString(error);
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
  if (cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
                                                           cudaEnableDefault, &found))
    return cudaGetErrorString(error);
  if (found != cudaDriverEntryPointSuccess) return "the driver lacks cuTensorMapEncodeTiled";
  const auto encode = reinterpret_cast<EncodeTiled>(entry);
  CUtensorMap q_map, k_map;
  if (!make_map(encode, &q_map, q, bf16, windows, heads, num_tokens, q_strides, TILE_M) ||
      !make_map(encode, &k_map, k, bf16, windows, key_heads, num_tokens, k_strides, BLOCK_N))
    return "cuTensorMapEncodeTiled refused the layout";
  const Problem problem = {heads,    key_heads, num_tokens,
                           distance, (num_tokens - distance + BLOCK_M - 1) / BLOCK_M, scale * 1.4426950408889634f};
  const auto kernel = bf16 ? far_attention<true> : far_attention<false>;
  if (cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, SHARED_BYTES))
    return cudaGetErrorString(error);
  kernel<<<windows * heads * problem.row_blocks, THREADS, SHARED_BYTES, static_cast<cudaStream_t>(stream)>>>(
      q_map, k_map, problem, partial_sums);
  if (cudaError_t error = cudaGetLastError()) return cudaGetErrorString(error);
  return nullptr;
}
}
