"""Dialects of C that kernels are rendered in: for each a prelude of a dozen macros, and the flags that keep it exact.

The text of a kernel is the same in all of them; what differs is how a function is declared, how the parallel loop is
spread over work-items, and what the correctly rounded functions are called. Imports nothing of the package.
Read next: `cfamily.py` (the text of a kernel), `ccompile.py` (the compilers), `device/opencl.py`, `device/cuda.py`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """A dialect: its name, prelude, the compiler's flags without which results differ, and whether it has slots.

    `slots`: each kernel also gets a function with the runtime's calling convention, named after it with `_slots`.
    """

    name: str
    prelude: str
    flags: tuple[str, ...]
    slots: bool = False


C99 = Dialect("C99", r"""
#include <float.h>
#include <math.h>
#include <stdint.h>
#if FLT_EVAL_METHOD != 0 || defined(__FAST_MATH__)
#error "float and double must be computed as they are: no -ffast-math, and on x86 SSE2 instead of the x87"
#endif
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif
typedef int8_t i8;
typedef uint8_t u8;
typedef int16_t i16;
typedef uint16_t u16;
typedef int32_t i32;
typedef uint32_t u32;
typedef int64_t i64;
typedef uint64_t u64;
typedef float f32;
typedef double f64;
#define KERNEL void
#define GLOBAL
#define FUNCTION static inline
#define PARALLEL(i, first, last) for (i64 i = (first); i < (last); ++i)
#define F32(name) name##f
#define F64(name) name
#define I64(x) INT64_C(x)
#define U64(x) UINT64_C(x)
FUNCTION u32 AS_U32(f32 x) { union { f32 from; u32 to; } v; v.from = x; return v.to; }
FUNCTION f32 AS_F32(u32 x) { union { u32 from; f32 to; } v; v.from = x; return v.to; }
FUNCTION u64 AS_U64(f64 x) { union { f64 from; u64 to; } v; v.from = x; return v.to; }
FUNCTION f64 AS_F64(u64 x) { union { u64 from; f64 to; } v; v.from = x; return v.to; }
""", ("-std=c99", "-ffp-contract=off"), slots=True)  # fmt: skip

OPENCL = Dialect("OpenCL C", r"""
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#pragma OPENCL FP_CONTRACT OFF
typedef char i8;
typedef uchar u8;
typedef short i16;
typedef ushort u16;
typedef int i32;
typedef uint u32;
typedef long i64;
typedef ulong u64;
typedef float f32;
typedef double f64;
#define KERNEL __kernel void
#define GLOBAL __global
#define FUNCTION static
#define PARALLEL(i, first, last) const i64 i = (first) + (i64)get_global_id(0); if (i < (last))
#define F32(name) name
#define F64(name) name
#define I64(x) x##L
#define U64(x) x##UL
#define AS_U32(x) as_uint(x)
#define AS_F32(x) as_float(x)
#define AS_U64(x) as_ulong(x)
#define AS_F64(x) as_double(x)
""", ("-cl-std=CL1.2", "-cl-fp32-correctly-rounded-divide-sqrt"))  # fmt: skip

GPU = r"""
typedef signed char i8;
typedef unsigned char u8;
typedef short i16;
typedef unsigned short u16;
typedef int i32;
typedef unsigned int u32;
typedef long long i64;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
#define KERNEL extern "C" __global__ void
#define GLOBAL
#define FUNCTION static __device__ __forceinline__
#define PARALLEL(i, first, last) \
    const i64 i = (first) + (i64)blockIdx.x * blockDim.x + threadIdx.x; if (i < (last))
#define F32(name) name##f
#define F64(name) name
#define I64(x) x##LL
#define U64(x) x##ULL
#define AS_U32(x) __float_as_uint(x)
#define AS_F32(x) __uint_as_float(x)
#define AS_U64(x) (u64)__double_as_longlong(x)
#define AS_F64(x) __longlong_as_double((i64)(x))
"""

CUDA = Dialect("CUDA C", GPU, ("--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"))
HIP = Dialect(
    "HIP",
    "\n#include <hip/hip_runtime.h>" + GPU,
    ("-ffp-contract=off", "-fhip-fp32-correctly-rounded-divide-sqrt"),
)
