/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * Runs a fuzz target without libFuzzer: on the files and folders named, on the target's own seeds,
 * and on deterministic mutations of all of these: MUTATIONS, or as many as the target says. When an
 * input crashes it, the input's bytes are left in the file fuzz-crash in the working folder, to be
 * named as an argument or put into the corpus. */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "lib/random.h"

#define MUTATIONS       200000u
#define INPUTS_MAX      4096u
#define INPUT_MAX_BYTES (1u << 20)
#define GROW_MAX_BYTES  64u

struct input {
    uint8_t *data;
    size_t size;
};

static struct input inputs[INPUTS_MAX];
static uint32_t input_count;

static bool add_input(const uint8_t *data, size_t size)
{
    if (input_count == INPUTS_MAX) {
        fprintf(stderr, "more than %u inputs\n", INPUTS_MAX);
        return false;
    }
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "out of memory\n");
        return false;
    }
    if (size != 0) {
        memcpy(copy, data, size);
    }
    inputs[input_count].data = copy;
    inputs[input_count].size = size;
    input_count++;
    return true;
}

static bool add_file(const char *path)
{
    static uint8_t bytes[INPUT_MAX_BYTES];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return false;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    bool fine = !ferror(file);
    fclose(file);
    return fine && add_input(bytes, size);
}

static bool add_path(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        perror(path);
        return false;
    }
    if (!S_ISDIR(info.st_mode)) {
        return add_file(path);
    }
    struct dirent **names;
    int count = scandir(path, &names, NULL, alphasort);
    bool fine = count >= 0;
    for (int i = 0; i < count; i++) {
        char full[4096];
        snprintf(full, sizeof full, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.') {
            fine = add_file(full) && fine;
        }
        free(names[i]);
    }
    if (count >= 0) {
        free(names);
    }
    return fine;
}

/* A sanitizer's runtime has it, and ends without a signal. */
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

/* What is running, for save_running. */
static const uint8_t *running_data;
static size_t running_size;

/* Only calls that are safe in a signal handler. */
static void save_running(void)
{
    int file = open("fuzz-crash", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file >= 0 && write(file, running_data, running_size) == (ssize_t)running_size) {
        static const char told[] = "the input is in fuzz-crash\n";
        ssize_t ignored = write(STDERR_FILENO, told, sizeof told - 1); /* dying anyway */
        (void)ignored;
    }
}

static void on_crash(int number)
{
    save_running();
    signal(number, SIG_DFL);
    raise(number);
}

/* Exactly `size` bytes of the heap, so that a sanitizer sees a read past the end. */
static bool run(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        fprintf(stderr, "out of memory\n");
        return false;
    }
    if (size != 0) {
        memcpy(copy, data, size);
    }
    running_data = copy;
    running_size = size;
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    return true;
}

/* One to four changes: a bit, a byte, a small number, a cut, a piece from elsewhere, growth. */
static size_t mutate(struct test_random *random, uint8_t *data, size_t size)
{
    uint32_t changes = 1 + test_random_below(random, 4);
    for (uint32_t i = 0; i < changes; i++) {
        uint32_t how = test_random_below(random, 8);
        uint32_t at = size ? test_random_below(random, (uint32_t)size) : 0;
        uint64_t value = test_random_next(random);
        if (size == 0 || how == 0) {
            size_t grow = 1 + (value >> 8) % (GROW_MAX_BYTES / 4);
            memmove(data + at + grow, data + at, size - at);
            memset(data + at, (int)(value & 0xff), grow);
            size += grow;
        } else if (how == 1) {
            size = at;
        } else if (how == 2) {
            size_t piece = (value >> 32) % (size - at);
            memmove(data + at, data + (uint32_t)value % (size - piece), piece);
        } else if (how == 3) {
            data[at] = (uint8_t)(value & 3);
        } else if (how < 6) {
            data[at] = (uint8_t)value;
        } else {
            data[at] ^= (uint8_t)(1u << (value & 7));
        }
    }
    return size;
}

static bool run_mutations(uint32_t count)
{
    uint8_t *bytes = malloc(INPUT_MAX_BYTES + 4 * GROW_MAX_BYTES);
    bool fine = bytes != NULL;
    for (uint32_t i = 0; i < count && fine; i++) {
        struct test_random random = {i};
        const struct input *from = &inputs[i % input_count];
        if (from->size != 0) {
            memcpy(bytes, from->data, from->size);
        }
        fine = run(bytes, mutate(&random, bytes, from->size));
    }
    free(bytes);
    return fine;
}

int main(int argc, char **argv)
{
    bool fine = add_input(NULL, 0);
    signal(SIGABRT, on_crash);
    signal(SIGSEGV, on_crash);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(save_running);
    }
    for (int i = 1; i < argc; i++) {
        fine = add_path(argv[i]) && fine;
    }
    if (kith_fuzz_seed) {
        uint8_t seed[KITH_FUZZ_SEED_MAX];
        size_t size = kith_fuzz_seed(0, seed);
        for (uint32_t i = 1; size != 0 && fine; i++) {
            fine = add_input(seed, size);
            size = kith_fuzz_seed(i, seed);
        }
    }
    for (uint32_t i = 0; i < input_count && fine; i++) {
        fine = run(inputs[i].data, inputs[i].size);
    }
    uint32_t mutations = &kith_fuzz_mutations ? kith_fuzz_mutations : MUTATIONS;
    fine = fine && run_mutations(mutations);
    printf("%u inputs and %u mutations\n", input_count, mutations);
    for (uint32_t i = 0; i < input_count; i++) {
        free(inputs[i].data);
    }
    return fine ? 0 : 1;
}
