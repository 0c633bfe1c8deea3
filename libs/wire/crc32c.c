/* SPDX-License-Identifier: Apache-2.0
 *
 * CRC32C by the CPU's instruction where it has one (SSE4.2, ARMv8 CRC), else by table.
 */
#include <string.h>

#include "crc32c.h"
#include "postman/wire.h"

#if defined(__x86_64__)
#include <nmmintrin.h>

static bool cpu_has_crc32c(void)
{
    return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t crc32c_cpu(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t c = ~crc, word;
    for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
        memcpy(&word, p, sizeof(word));
        c = _mm_crc32_u64(c, word);
    }
    for (; len > 0; len--, p++)
        c = _mm_crc32_u8((uint32_t)c, *p);
    return ~(uint32_t)c;
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
