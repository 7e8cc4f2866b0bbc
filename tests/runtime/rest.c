/* Philox against the published vectors, executable memory, and what the machine allows. */
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "internal.h"

/* From the file kat_vectors of Random123, D. E. Shaw Research: philox4x32 with 10 rounds. */
TEST(philox_known_answers) {
    const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        fb_philox4x32(vectors[i].key, vectors[i].counter, out);
        CHECK(memcmp(out, vectors[i].expected, sizeof out) == 0);
        memcpy(out, vectors[i].counter, sizeof out);
        fb_philox4x32(vectors[i].key, out, out); /* in place */
        CHECK(memcmp(out, vectors[i].expected, sizeof out) == 0);
    }
}

/* return 42 */
#if defined(__x86_64__)
static const unsigned char image[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};
#elif defined(__aarch64__)
static const unsigned char image[] = {0x40, 0x05, 0x80, 0x52, 0xc0, 0x03, 0x5f, 0xd6};
#endif

/* The permissions of the mapping that starts at `p`. */
static void permissions_of(const void *p, char out[5]) {
    FILE *maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    char line[512];
    strcpy(out, "none");
    while (fgets(line, sizeof line, maps) != NULL) {
        unsigned long start, end;
        char permissions[5];
        CHECK(sscanf(line, "%lx-%lx %4s", &start, &end, permissions) == 3);
        if ((uintptr_t)p >= start && (uintptr_t)p < end) strcpy(out, permissions);
    }
    fclose(maps);
}

TEST(code_runs_and_is_not_writable) {
    char permissions[5];
    void *loaded[20];
    for (int i = 0; i < 20; i++) {
        void *p = loaded[i] = fb_code_load(image, sizeof image);
        CHECK(p != NULL && (uintptr_t)p % (uintptr_t)sysconf(_SC_PAGESIZE) == 0);
        int (*function)(void);
        memcpy(&function, &p, sizeof p);
        CHECK(function() == 42);
        permissions_of(p, permissions);
        CHECK(strcmp(permissions, "r-xp") == 0);
    }
    for (int i = 0; i < 20; i++) fb_code_unload(loaded[i], sizeof image);
    permissions_of(loaded[0], permissions);
    CHECK(permissions[2] != 'x');
}

TEST(code_that_cannot_be_loaded) {
    CHECK(fb_code_load(NULL, 100) == NULL);
    CHECK(fb_code_load(image, 0) == NULL);
    CHECK(fb_code_load(image, SIZE_MAX) == NULL);
    map_budget = 0;
    CHECK(fb_code_load(image, sizeof image) == NULL);
    fb_code_unload(NULL, 100);
}

TEST(print_limits) { printf("%d %zu\n", fb_system_cpus(), fb_system_memory()); }

size_t __real_fb_system_available(void);

TEST(memory_is_known) {
    CHECK(fb_system_memory() >= (size_t)64 << 20);
    CHECK(__real_fb_system_available() >= (size_t)1 << 20);
    CHECK(__real_fb_system_available() <= (size_t)1 << 46);
}
