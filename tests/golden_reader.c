/* Golden files read without Python: the weights made again by the formula, bit by bit, and a convolution checked.
 *
 *   golden_reader check FILE...             operands' bits and a conv2d golden file's output, to 1e-5
 *   golden_reader bits NAME SEED DIM...     a checksum of the tensor by formula, and its first values
 *
 * C99 and the standard library only. The formula is explained in mobilevit_np/golden/formula.py. Assumes a
 * little-endian machine with IEEE floats, as safetensors do.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { int axes; long dim[8], size; const char *data; } Tensor;

static uint32_t mix(uint32_t x) {
    x = (x ^ x >> 16) * 2146121005u;
    x = (x ^ x >> 15) * 2221713035u;
    return x ^ x >> 16;
}

static int ends(const char *name, const char *leaf) {
    const char *dot = strrchr(name, '.');
    return strcmp(dot ? dot + 1 : name, leaf) == 0;
}

static float formula(const char *name, uint32_t seed, uint32_t i, const Tensor *t) {
    uint32_t h = 2166136261u, fan = 1, m = 1;
    for (const char *c = name; *c; c++) h = (h ^ (unsigned char)*c) * 16777619u;
    int32_t u = (int32_t)(mix(mix(h + seed * 2654435769u) + i) >> 16), k = u - 32768;
    if (ends(name, "running_var") || (ends(name, "weight") && t->axes == 1)) return (float)(98304 + u) / 131072;
    if (ends(name, "bias") || ends(name, "running_mean")) return (float)k / 131072;
    if (ends(name, "pixel_values")) return (float)u / 65536;
    if (!ends(name, "weight")) return (float)k / 16384;
    for (int a = 1; a < t->axes; a++) fan *= (uint32_t)t->dim[a];
    while (m < 255 && (m + 1) * (m + 1) * fan <= 262144u) m++;
    return (float)(k * (int32_t)m) / 8388608;
}

static void die(const char *file, const char *what) { printf("%s: %s\n", file, what); exit(1); }

/* The tensor called `name` in a safetensors file that was read whole; 0 where there is none of that dtype. */
static int find(const char *file, const char *name, const char *dtype, Tensor *t) {
    uint64_t header;
    char key[300], *at, *end;
    memcpy(&header, file, 8);
    snprintf(key, sizeof key, "\"%s\":{\"dtype\":\"%s\",\"shape\":[", name, dtype);
    if (!(at = strstr(file + 8, key)) || at > file + 8 + header) return 0;
    t->axes = 0, t->size = 1;
    for (at += strlen(key); *at != ']'; at = *end == ',' ? end + 1 : end)
        t->size *= t->dim[t->axes++] = strtol(at, &end, 10);
    t->data = file + 8 + header + strtol(strstr(at, "[") + 1, NULL, 10);
    return 1;
}

/* A whole number among the arguments in the metadata, which is JSON inside a JSON text. */
static long argument(const char *file, const char *name, long otherwise) {
    char key[80], *at;
    snprintf(key, sizeof key, "\\\"%s\\\":", name);
    return (at = strstr(file + 8, key)) ? strtol(at + strlen(key), NULL, 10) : otherwise;
}

static void check_bits(const char *path, const char *file, const char *prefix, const char *name, Tensor *t) {
    char full[300];
    snprintf(full, sizeof full, "%s.%s", prefix, name);
    for (long i = 0; i < t->size; i++) {
        float made = formula(full, (uint32_t)argument(file, "seed", 0), (uint32_t)i, t);
        if (memcmp(&made, t->data + 4 * i, 4)) die(path, "an operand isn't the formula's");
    }
}

static double convolve(const char *file, const Tensor *x, const Tensor *w, const Tensor *bias, const Tensor *out) {
    long stride = argument(file, "stride", 1), pad = argument(file, "padding", 0), groups = argument(file, "groups", 1);
    long dilation = argument(file, "dilation", 1), C = x->dim[1], H = x->dim[2], W = x->dim[3], O = w->dim[0];
    const float *px = (const float *)x->data, *pw = (const float *)w->data;
    double worst = 0, largest = 0, expected;
    for (long i = 0; i < out->size; i++) {
        long col = i % out->dim[3], row = i / out->dim[3] % out->dim[2];
        long o = i / out->dim[3] / out->dim[2] % O, b = i / out->dim[3] / out->dim[2] / O;
        double sum = bias ? ((const float *)bias->data)[o] : 0;
        for (long c = 0; c < w->dim[1]; c++)
            for (long y = 0; y < w->dim[2]; y++)
                for (long z = 0; z < w->dim[3]; z++) {
                    long r = row * stride - pad + y * dilation, s = col * stride - pad + z * dilation;
                    long channel = o / (O / groups) * w->dim[1] + c;
                    if (r < 0 || r >= H || s < 0 || s >= W) continue;
                    sum += (double)px[((b * C + channel) * H + r) * W + s]
                         * pw[((o * w->dim[1] + c) * w->dim[2] + y) * w->dim[3] + z];
                }
        memcpy(&expected, out->data + 8 * i, 8);
        largest = fmax(largest, fabs(expected)), worst = fmax(worst, fabs(sum - expected));
    }
    return worst / largest;
}

static void check(const char *path) {
    FILE *stream = fopen(path, "rb");
    char *file = calloc(1, 1 << 20), prefix[200] = "";
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    Tensor x, weight, bias, output;
    if (!stream || !file || fread(file, 1, (1 << 20) - 1, stream) < 8) die(path, "can't read it");
    fclose(stream);
    strncat(prefix, base, strcspn(base, ".") < 199 ? strcspn(base, ".") : 199);
    if (!find(file, "x", "F32", &x) || !find(file, "weight", "F32", &weight) || !find(file, "output", "F64", &output))
        die(path, "it lacks x, weight or output");
    int biased = find(file, "bias", "F32", &bias);
    check_bits(path, file, prefix, "x", &x);
    check_bits(path, file, prefix, "weight", &weight);
    if (biased) check_bits(path, file, prefix, "bias", &bias);
    double error = convolve(file, &x, &weight, biased ? &bias : NULL, &output);
    if (!(error <= 1e-5)) die(path, "the convolution differs");
    printf("%s: operands bit by bit, output to %.0e\n", base, error);
    free(file);
}

int main(int count, char **arguments) {
    if (count > 3 && !strcmp(arguments[1], "bits")) {
        Tensor t = {.axes = count - 4, .size = 1};
        uint32_t sum = 0, bits;
        for (int a = 0; a < t.axes; a++) t.size *= t.dim[a] = atol(arguments[4 + a]);
        for (long i = 0; i < t.size; i++) {
            float value = formula(arguments[2], (uint32_t)atol(arguments[3]), (uint32_t)i, &t);
            memcpy(&bits, &value, 4);
            sum = sum * 31u + bits;
        }
        printf("%u\n", sum);
        return 0;
    }
    if (count < 3 || strcmp(arguments[1], "check")) die(arguments[0], "usage: check FILE... | bits NAME SEED DIM...");
    for (int i = 2; i < count; i++) check(arguments[i]);
    return 0;
}
