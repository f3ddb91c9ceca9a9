/* Helpers to build JSON documents, for this folder's files. */
#pragma once

#include <jansson.h>

#include "swarmctl/output/output.h"

#define NANO_PER_MS 1000000LL

void doc_put_str(json_t *o, const char *key, const char *s);    /* broken UTF-8 becomes '?' */
void doc_put_str_if(json_t *o, const char *key, const char *s); /* left out when empty */
void doc_put_int(json_t *o, const char *key, int64_t v);
void doc_put_bool(json_t *o, const char *key, bool v);
void doc_put_time(json_t *o, const char *key, int64_t ms);
void doc_put_id(json_t *o, const char *key, const ProtobufCBinaryData *id);
/* Left out when there are none. */
void doc_put_list(json_t *o, const char *key, char *const *v, size_t n);
void doc_put(json_t *o, const char *key, json_t *take);
void doc_put_map(json_t *o, const char *key, Swarm__KeyValue *const *v, size_t n);
