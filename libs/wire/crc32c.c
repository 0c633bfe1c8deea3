/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC32C by the CPU's instruction where it has one (SSE4.2, ARMv8 CRC), else by table.
 */
#include <string.h>

#include "crc32c.h"
#include "postman/wire.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>

static bool cpu_has_crc32c(void)
{
    return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_serial(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t c = crc, word;
    for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        c = _mm_crc32_u64(c, word);
    }
    for (; len > 0; len--, p++)
        c = _mm_crc32_u8((uint32_t)c, *p);
    return (uint32_t)c;
}

/* The instruction takes three cycles and the CPU starts one each cycle: three thirds of a block side by side are three
 * times as fast. A third that is followed by n bytes counts as multiplied by x^(8n) modulo the polynomial. In reflected
 * bits a carry-less product lacks one factor x, and the instruction that reduces it adds x^32: so the factor is
 * x^(8n - 33). (The method: V. Gopal et al., "Fast CRC computation for iSCSI polynomial using CRC32 instruction",
 * 2011.) */
struct third {
    size_t bytes;
    uint32_t factor; /* x^(8 * bytes - 33) mod P, reflected */
};

__attribute__((target("sse4.2,pclmul"))) static uint32_t moved(uint32_t crc, uint32_t factor)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128((int)crc), _mm_cvtsi32_si128((int)factor), 0);
    return (uint32_t)_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(product));
}

__attribute__((target("sse4.2,pclmul"))) static uint32_t crc32c_block(uint32_t crc, const uint8_t *p, struct third t)
{
    uint64_t a = crc, b = 0, c = 0, word;
    for (size_t i = 0; i < t.bytes; i += sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));
        a = _mm_crc32_u64(a, word);
        memcpy(&word, p + t.bytes + i, sizeof(word));
        b = _mm_crc32_u64(b, word);
        memcpy(&word, p + 2 * t.bytes + i, sizeof(word));
        c = _mm_crc32_u64(c, word);
    }
    uint32_t ab = moved((uint32_t)a, t.factor) ^ (uint32_t)b;
    return moved(ab, t.factor) ^ (uint32_t)c;
}

static uint32_t crc32c_cpu(uint32_t crc, const uint8_t *p, size_t len)
{
    static const struct third thirds[] = {{1024, 0x170076fa}, {256, 0xb9e02b86}};
    crc = ~crc;
    if (len >= 3 * thirds[1].bytes && __builtin_cpu_supports("pclmul"))
        for (size_t i = 0; i < sizeof(thirds) / sizeof(thirds[0]); i++)
            for (; len >= 3 * thirds[i].bytes; len -= 3 * thirds[i].bytes, p += 3 * thirds[i].bytes)
                crc = crc32c_block(crc, p, thirds[i]);
    return ~crc32c_serial(crc, p, len);
}

#elif defined(__aarch64__) && defined(__linux__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <asm/hwcap.h>
#include <sys/auxv.h>

static bool cpu_has_crc32c(void)
{
    return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0;
}

/* Assembly, because the compilers differ in how they offer the intrinsics below -march=armv8-a+crc. */
static uint32_t crc32c_cpu(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t word;
    crc = ~crc;
    for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    }
    for (; len > 0; len--, p++)
        __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)*p));
    return ~crc;
}

#else

static bool cpu_has_crc32c(void)
{
    return false;
}

static uint32_t crc32c_cpu(uint32_t crc, const uint8_t *p, size_t len)
{
    return pmw_crc32c_portable(crc, p, len);
}

#endif

uint32_t pmw_crc32c(uint32_t crc, const void *data, size_t len)
{
    return cpu_has_crc32c() ? crc32c_cpu(crc, data, len) : pmw_crc32c_portable(crc, data, len);
}
