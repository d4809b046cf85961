"""Fixed parts of the C source code."""

from string import Template

DENSE = Template("""\
static void $name(const $kind *x, int inputs, int outputs, const $weight *weight,
    const float *bias, ${scale}int relu, float *restrict y)
{
    int i, o;
    for (o = 0; o < outputs; o++)
        y[o] = 0.0f;
    for (i = 0; i < inputs; i++, weight += outputs) {
        const float value = (float)x[i];
        if (value == 0.0f)
            continue; /* black pixels, and what ReLU has set to 0 */
        for (o = 0; o < outputs; o++)
            y[o] += value * weight[o];
    }
    for (o = 0; o < outputs; o++) {
        y[o] = $result;
        if (relu && y[o] < 0.0f)
            y[o] = 0.0f;
    }
}""")
"""A dense layer. Weights of one input are neighbours: compilers vectorise the inner loop."""

CLASS = """\
int model_class(const model_input inputs[MODEL_INPUTS])
{
    float outputs[MODEL_OUTPUTS];
    int o, best = 0;
    model_run(inputs, outputs);
    for (o = 1; o < MODEL_OUTPUTS; o++)
        if (outputs[o] > outputs[best])
            best = o;
    return best;
}"""

TEST = Template("""\
/* Compares the model on this device with the student it was made from. Compile and run:
 *     cc -O2 -std=c99 -o test model.c test.c -lm && ./test
 */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "model.h"

#define COUNT $count
#define DIFFERENCE $difference /* allowed, as a share of the largest output (of 1 at least) */

$inputs

$outputs

int main(void)
{
    float outputs[MODEL_OUTPUTS], largest = 0.0f;
    int n, o, failures = 0;
    long runs = 0;
    clock_t start;

    for (n = 0; n < COUNT; n++) {
        float size = 1.0f, difference = 0.0f;
        model_run(inputs[n], outputs);
        for (o = 0; o < MODEL_OUTPUTS; o++) {
            size = fmaxf(size, fabsf(expected[n][o]));
            /* the comparison is false for NAN, too */
            if (!(fabsf(outputs[o] - expected[n][o]) <= difference))
                difference = fabsf(outputs[o] - expected[n][o]);
        }
        if (!(difference <= DIFFERENCE * size))
            failures++;
        if (!(difference / size <= largest))
            largest = difference / size;
    }
    printf("%d of %d inputs differ, by up to %.2g of the largest output\\n", failures, COUNT,
           (double)largest);

    start = clock();
    while (clock() - start < CLOCKS_PER_SEC / 5) {
        model_run(inputs[runs % COUNT], outputs);
        runs++;
    }
    printf("%.4g microseconds per input\\n",
           1e6 * (double)(clock() - start) / CLOCKS_PER_SEC / (double)runs);
    return failures != 0;
}
""")
"""The program that compares outputs with the student's."""

README = Template("""\
# $title

A network of dense layers in C99, without a library, dynamic memory or files.
It has $weights of constants, and $buffers of memory between the layers.

| file | content |
| --- | --- |
| `model.h` | what your program includes: sizes, the type of the inputs, `model_run` |
| `model.c` | the weights and the code |
| `test.c` | $count inputs with the student's outputs; compares them, and measures the time |

```bash
cc -O2 -std=c99 -o test model.c test.c -lm && ./test
```

On the $samples test samples: $result.

TODO: intended use, data, limits, licence.
""")
