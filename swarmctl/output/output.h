/*
 * output: what swarmctl prints. Objects as JSON documents with Docker's field names (jansson's
 * home), listings as aligned columns, and `--format`: "table", "table TEMPLATE", "json" or a
 * TEMPLATE of text and {{.Dotted.Paths}}, {{json .Path}}, {{index .Path "key"}}, without logic.
 * Text that came from the cluster never reaches the terminal with control characters.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "shared/base/buf.h"
#include "shared/base/err.h"
#include "shared/base/id.h"

typedef struct json_t json_t; /* as jansson.h has it */

#define ID_SHORT_LEN       12
#define TEMPLATE_PARTS_MAX 256
#define TEMPLATE_DEPTH_MAX 16

/* --- text --------------------------------------------------------------------------------------
 */

/* Appends s with control characters and broken UTF-8 as '?'. */
void text_put_n(struct buf *b, const void *p, size_t n);
static inline void text_put(struct buf *b, const char *s)
{
        text_put_n(b, s, strlen(s));
}
char *text_safe(const char *s); /* the same as a copy */
/* Columns that s takes on a terminal (wide characters and combining ones are not told apart). */
size_t text_width(const char *s);
/* Text of an id field, shortened to ID_SHORT_LEN if asked to; "" when it is no id. */
struct id_text text_id(const ProtobufCBinaryData *id, bool is_short);
/* "3 minutes ago"; "" when then_ms is 0. */
const char *text_ago(int64_t then_ms, int64_t now_ms, char ret[64]);
/* "Running": the first letter large, '_' and '-' kept. */
char *text_capital(const char *s);
/* RFC 3339 with fractions, UTC; "0001-01-01T00:00:00Z" for 0, as Go's zero time. */
#define TEXT_TIME_MAX 40
const char *text_time(int64_t ms, char ret[TEXT_TIME_MAX]);
const char *text_time_us(int64_t us, char ret[TEXT_TIME_MAX]);

/* --- templates ---------------------------------------------------------------------------------
 */

struct template;

/* -EINVAL with a text. In the text outside of {{}}, \t and \n stand for tab and newline. */
int template_parse(const char *text, struct template **ret, struct err *err);
void template_free(struct template *t);
/* Appends the text. A path is looked for in row (may be NULL), then in doc (may be NULL); a first
 * name that is in neither is -EINVAL, anything missing deeper is "<no value>". */
int template_run(const struct template *t, json_t *row, json_t *doc, struct buf *out,
                 struct err *err);
/* The line of titles above a table of such lines: a path's last name where titles has none. */
void template_titles(const struct template *t, json_t *titles, struct buf *out);

/* --- listings ----------------------------------------------------------------------------------
 */

struct column {
        const char *field; /* "CurrentState", for templates and JSON */
        const char *title; /* "CURRENT STATE" */
        bool is_extra;     /* not in the default table */
};

struct listing;

/* columns: ended by an entry without a field; they must outlive the listing. format: NULL is
 * "table". -EINVAL with a text. */
int listing_new(const struct column *columns, const char *format, struct listing **ret,
                struct err *err);
void listing_free(struct listing *l);
/* Begins a row. doc: the whole object for dotted paths, taken; may be NULL. */
void listing_add(struct listing *l, json_t *take_doc);
/* Sets a field of the newest row. The field must be one of the columns (asserted). */
void listing_set(struct listing *l, const char *field, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
int listing_print(const struct listing *l, struct buf *out, struct err *err);

static inline void listing_cleanup(struct listing **l)
{
        listing_free(*l);
}
#define _cleanup_listing_ __attribute__((cleanup(listing_cleanup)))

/* --- documents ---------------------------------------------------------------------------------
 */

json_t *doc_service(const Swarm__Service *s);
json_t *doc_spec(const Swarm__ServiceSpec *s);
json_t *doc_task_spec(const Swarm__TaskSpec *s);
json_t *doc_resources(const Swarm__Resources *r);
json_t *doc_task(const Swarm__Task *t);
json_t *doc_node(const Swarm__Node *n);
json_t *doc_manager(const Swarm__Manager *m);
json_t *doc_info(const Swarm__Info *i, const Swarm__Cluster *c);
/* config: the image's config blob, n bytes; NULL: without. */
json_t *doc_image(const Swarm__Image *i, const void *config, size_t n);
int64_t image_size(const Swarm__Image *i); /* bytes of its blobs */
json_t *doc_event(const Swarm__Event *e);
json_t *doc_version(const char *client, const Swarm__Info *server); /* server: NULL: none */
/* Parses JSON from outside (an image's config); NULL when it is none. */
json_t *doc_parse(const void *p, size_t n);
void doc_free(json_t *doc); /* NULL is fine */

/* What `inspect` prints of docs, which are taken: an array (format NULL: indented; "json": on one
 * line), or a template's text for each. */
struct inspection {
        json_t *docs;
};
void inspection_init(struct inspection *i);
void inspection_add(struct inspection *i, json_t *take_doc);
int inspection_print(const struct inspection *i, const char *format, struct buf *out,
                     struct err *err);
void inspection_done(struct inspection *i);
#define _cleanup_inspection_ __attribute__((cleanup(inspection_done)))

/* `--pretty` */
void pretty_service(const Swarm__Service *s, int64_t now_ms, struct buf *out);
void pretty_node(const Swarm__Node *n, struct buf *out);

/* Writes what was collected to standard output and empties b. */
void output_flush(struct buf *b);
