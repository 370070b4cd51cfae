#include "CBytes.h"

#include <pthread.h>
#include <string.h>

// CRC-32C, reflected polynomial.
#define POLYNOMIAL 0x82f63b78u

// The instruction has a latency of three cycles and a throughput of one, so three lanes run side by side and are
// joined afterwards. Joining shifts a lane's register over the bytes of the lanes behind it, which is linear and so
// can be read from a table per register byte (M. Adler, "crc32c.c", 2013, describes the technique).
#define LANE 1344 // 3 * 1344 = 4032: a 4 KiB block is one round of lanes and 64 bytes

static uint32_t slice[8][256];
static uint32_t shift_lane[4][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (int bit = 31; bit >= 0; bit--) {
        if (a >> bit & 1) product ^= b;
        b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
    }
    return product;
}

// x to the power of 8 * count, modulo the polynomial.
static uint32_t power_of_bytes(size_t count) {
    uint32_t result = 0x80000000u, square = 0x00800000u; // x^0 and x^8, reflected
    for (; count; count >>= 1) {
        if (count & 1) result = multiply(square, result);
        square = multiply(square, square);
    }
    return result;
}

static void make_tables(void) {
    for (uint32_t n = 0; n < 256; n++) {
        uint32_t c = n;
        for (int k = 0; k < 8; k++) c = c & 1 ? c >> 1 ^ POLYNOMIAL : c >> 1;
        slice[0][n] = c;
    }
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 1; k < 8; k++) slice[k][n] = slice[k - 1][n] >> 8 ^ slice[0][slice[k - 1][n] & 255];
    uint32_t power = power_of_bytes(LANE);
    for (uint32_t n = 0; n < 256; n++)
        for (int k = 0; k < 4; k++) shift_lane[k][n] = multiply(power, n << (8 * k));
}

static uint64_t load(const unsigned char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return v; // little-endian hosts only, which the build checks below
}

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "volfs is built for little-endian machines"
#endif

uint32_t volfs_crc32c_portable(uint32_t crc, const void *bytes, size_t count) {
    pthread_once(&once, make_tables);
    const unsigned char *p = bytes;
    crc = ~crc;
    for (; count >= 8; count -= 8, p += 8) {
        uint64_t v = load(p) ^ crc;
        crc = 0;
        for (int k = 0; k < 8; k++) crc ^= slice[7 - k][v >> (8 * k) & 255];
    }
    for (; count; count--, p++) crc = crc >> 8 ^ slice[0][(crc ^ *p) & 255];
    return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>
#define TARGET __attribute__((target("sse4.2")))
#define STEP8(c, v) _mm_crc32_u64((c), (v))
#define STEP1(c, v) _mm_crc32_u8((uint32_t)(c), (v))
static bool has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <sys/auxv.h>
#define TARGET __attribute__((target("+crc")))
#define STEP8(c, v) __crc32cd((uint32_t)(c), (v))
#define STEP1(c, v) __crc32cb((uint32_t)(c), (v))
static bool has_instruction(void) { return getauxval(AT_HWCAP) & (1 << 7); } // HWCAP_CRC32
#endif

#ifdef TARGET
static uint32_t shifted(uint32_t crc) {
    return shift_lane[0][crc & 255] ^ shift_lane[1][crc >> 8 & 255] ^ shift_lane[2][crc >> 16 & 255] ^
           shift_lane[3][crc >> 24];
}

TARGET static uint32_t crc32c_instruction(uint32_t crc, const unsigned char *p, size_t count) {
    uint64_t a = ~crc;
    for (; count >= 3 * LANE; count -= 3 * LANE, p += 3 * LANE) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < LANE; i += 8) {
            a = STEP8(a, load(p + i));
            b = STEP8(b, load(p + LANE + i));
            c = STEP8(c, load(p + 2 * LANE + i));
        }
        a = shifted((uint32_t)a) ^ b;
        a = shifted((uint32_t)a) ^ c;
    }
    for (; count >= 8; count -= 8, p += 8) a = STEP8(a, load(p));
    for (; count; count--, p++) a = STEP1(a, *p);
    return ~(uint32_t)a;
}
#endif

uint32_t volfs_crc32c(uint32_t crc, const void *bytes, size_t count) {
#ifdef TARGET
    pthread_once(&once, make_tables);
    if (has_instruction()) return crc32c_instruction(crc, bytes, count);
#endif
    return volfs_crc32c_portable(crc, bytes, count);
}

bool volfs_is_zero(const void *bytes, size_t count) {
    const unsigned char *p = bytes;
    // Most blocks differ from zero in their first bytes; only a block that does not is compared whole, with itself
    // moved by sixteen bytes, which lets the C library use its widest compare.
    for (size_t i = 0; i < count && i < 16; i++)
        if (p[i]) return false;
    return count <= 16 || memcmp(p, p + 16, count - 16) == 0;
}
