/* The document of an image, as `image inspect` prints it. */
#include "swarmctl/output/doc_internal.h"
#include "swarmctl/output/output.h"

static json_t *root_fs(const Swarm__Image *i)
{
        json_t *o = json_object(), *layers = json_array();

        doc_put_str(o, "Type", "layers");
        for (size_t k = 0; k < i->n_layers; k++)
                json_array_append_new(layers, json_string(i->layers[k]->diff_id));
        doc_put(o, "Layers", layers);
        return o;
}

static json_t *blobs(const Swarm__Image *i)
{
        json_t *list = json_array();

        for (size_t k = 0; k < i->n_layers; k++) {
                json_t *o = json_object();

                doc_put_str(o, "Digest", i->layers[k]->digest);
                doc_put_str(o, "MediaType", i->layers[k]->media_type);
                doc_put_int(o, "Size", i->layers[k]->size);
                json_array_append_new(list, o);
        }
        return list;
}

int64_t image_size(const Swarm__Image *i)
{
        int64_t size = i->config_size;

        for (size_t k = 0; k < i->n_layers; k++)
                size += i->layers[k]->size;
        return size;
}

json_t *doc_image(const Swarm__Image *i, const void *config, size_t n)
{
        json_t *o = json_object(), *whole = config ? doc_parse(config, n) : NULL;
        json_t *run = json_object_get(whole, "config");

        doc_put_str(o, "Id", i->id);
        doc_put(o, "RepoTags", json_array());
        for (size_t k = 0; k < i->n_names; k++)
                json_array_append_new(json_object_get(o, "RepoTags"), json_string(i->names[k]));
        doc_put_time(o, "Created", i->created_ms);
        doc_put_str(o, "Architecture", i->arch);
        doc_put_str(o, "Os", i->os);
        doc_put_int(o, "Size", image_size(i));
        if (run)
                json_object_set(o, "Config", run);
        else
                doc_put(o, "Config", json_object());
        doc_put(o, "RootFS", root_fs(i));
        doc_put(o, "Blobs", blobs(i));
        doc_free(whole);
        return o;
}
