/* Philox 4x64-10 (Salmon et al. 2011), block by block as in numpy: the state is a key of two words and a counter of four,
   whose first word starts at 0 and is increased by one before each block. */

#include <stdint.h>

typedef uint64_t word __attribute__((may_alias)); /* may be read as two 32-bit halves */
typedef struct { uint64_t key[2], seen[3]; } Stream;

/* `blocks` blocks of four words, starting with block number `first` */
static inline void philox(const Stream *x, uint64_t first, long blocks, word *out) {
    for (long i = 0; i < blocks; i++, out += 4) {
        uint64_t a = first + i + 1, b = x->seen[0], c = x->seen[1], d = x->seen[2], k = x->key[0], l = x->key[1];
        for (int round = 0; round < 10; round++, k += 0x9E3779B97F4A7C15, l += 0xBB67AE8584CAA73B) {
            const unsigned __int128 one = (unsigned __int128)a * 0xD2E7470EE14C6C93;
            const unsigned __int128 other = (unsigned __int128)c * 0xCA5A826395121157;
            a = (uint64_t)(other >> 64) ^ b ^ k;
            b = (uint64_t)other;
            c = (uint64_t)(one >> 64) ^ d ^ l;
            d = (uint64_t)one;
        }
        out[0] = a;
        out[1] = b;
        out[2] = c;
        out[3] = d;
    }
}
