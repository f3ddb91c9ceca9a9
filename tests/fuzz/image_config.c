/* Fuzz: the config of an image, from any bytes. */
#include <stddef.h>
#include <stdint.h>

#include "shared/image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
        struct image_config *c;
        struct err err = {0};

        if (image_config_parse(data, n, &c, &err) == 0)
                image_config_free(c);
        return 0;
}
