/* One call of a function of a library, for tests of kernels of another kind of processor, under an emulator.

   emulated LIBRARY FUNCTION [LIBRARY NAME LIBRARY ...]: of each three words, the variable of that name in the first
   library, a pointer to a function, is set to the function of that name in the second. Standard input, in numbers of 64 bits: how many buffers, and of each its
   bytes and what it holds; how many pointers, and of each the buffer and byte where it lies and the buffer that it
   points to; how many arguments, and of each 0 and a number or 1 and a buffer; then two numbers of float32, which are
   the arguments of that type. Standard output: the buffers afterwards. */

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST 256
#define ALIGNED 64

static long whole(void) {
    long read;
    if (fread(&read, sizeof read, 1, stdin) != 1) exit(3);
    return read;
}

static void *opened(const char *library) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) fprintf(stderr, "%s\n", dlerror()), exit(4);
    return handle;
}

int main(int count, char **words) {
    static char *buffers[MOST];
    static long sizes[MOST];
    long arguments[8] = {0}, number = whole();
    float floats[2];
    if (number > MOST) return 5;
    for (long i = 0; i < number; i++) {
        sizes[i] = whole();
        buffers[i] = aligned_alloc(ALIGNED, (sizes[i] / ALIGNED + 1) * ALIGNED);
        if (fread(buffers[i], 1, sizes[i], stdin) != (size_t)sizes[i]) return 3;
    }
    for (long left = whole(); left; left--) {
        char *at = buffers[whole()];
        at += whole();
        char *to = buffers[whole()];
        memcpy(at, &to, sizeof to);
    }
    for (long i = 0, given = whole(); i < given; i++) {
        long is_buffer = whole(), value = whole();
        arguments[i] = is_buffer ? (long)buffers[value] : value;
    }
    if (fread(floats, sizeof *floats, 2, stdin) != 2) return 3;
    void *library = opened(words[1]);
    for (int i = 3; i + 2 < count; i += 3)
        *(void **)dlsym(opened(words[i]), words[i + 1]) = dlsym(opened(words[i + 2]), words[i + 1]);
    void (*function)(long, long, long, long, long, long, long, long, float, float) = dlsym(library, words[2]);
    function(arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5], arguments[6],
             arguments[7], floats[0], floats[1]);
    for (long i = 0; i < number; i++) fwrite(buffers[i], 1, sizes[i], stdout);
    return 0;
}
