/*
 * The state tables: written a slice at a time, read at start and after a snapshot was put in their
 * place. They have columns for people beside the packed message, which alone is read back.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "manager/store/db_file_internal.h"
#include "shared/base/mem.h"
#include "shared/base/str.h"
#include "shared/wire/wire.h"
#include "shared/wire/wire_json.h"

const char *const db_table_names[DB_TABLES] = {
        [ROW_CLUSTER] = "cluster", [ROW_NODES] = "nodes", [ROW_SERVICES] = "services",
        [ROW_SPECS] = "specs",     [ROW_TASKS] = "tasks", [ROW_IMAGES] = "images"};

/* --- reading ------------------------------------------------------------------------------------
 */
static int load_table(struct db_file *f, struct store *store, enum row_table table, struct err *err)
{
        const char *name = db_table_names[table];
        _cleanup_free_ char *sql =
                xasprintf("SELECT row,%s FROM %s ORDER BY row",
                          table == ROW_CLUSTER ? "opened(message)" : "message", name);
        sqlite3_stmt *stmt = NULL;
        int code = sqlite3_prepare_v2(f->sqlite, sql, -1, &stmt, NULL), r = 0;

        while (r == 0 && code != SQLITE_DONE) {
                if (code == SQLITE_OK || code == SQLITE_ROW)
                        code = sqlite3_step(stmt);
                if (code == SQLITE_DONE)
                        break;
                if (code != SQLITE_ROW) {
                        r = db_file_failed_open(f, code, err);
                        break;
                }
                int64_t row = sqlite3_column_int64(stmt, 0);
                r = store_load_row(store, table, (uint64_t)row, sqlite3_column_blob(stmt, 1),
                                   (size_t)sqlite3_column_bytes(stmt, 1));
                if (r < 0) {
                        char what[64];

                        snprintf(what, sizeof(what), "table %s: row %lld", name, (long long)row);
                        r = db_file_unreadable(f, r, what, err);
                }
        }
        sqlite3_finalize(stmt);
        return r;
}

/* An entry that is not the user's is nothing here but a number. */
static int apply(struct store *store, sqlite3_stmt *stmt)
{
        if (sqlite3_column_int(stmt, 1) != RAFT_ENTRY_DATA)
                return 0;
        return store_apply_entry(store, sqlite3_column_blob(stmt, 2),
                                 (size_t)sqlite3_column_bytes(stmt, 2));
}

/* The log between what the tables cover and their newest row; without a gap. */
static int replay(struct db_file *f, struct store *store, struct err *err)
{
        sqlite3_stmt *stmt = NULL;
        uint64_t expected = f->covered + 1;
        int code = sqlite3_prepare_v2(
                f->sqlite,
                "SELECT idx,kind,opened(bytes) FROM log WHERE idx>?1 AND idx<=?2 ORDER BY idx", -1,
                &stmt, NULL);
        int r = 0;

        if (code == SQLITE_OK) {
                sqlite3_bind_int64(stmt, 1, (int64_t)f->covered);
                sqlite3_bind_int64(stmt, 2, (int64_t)f->newest_row);
        }
        store_set_recovering(store, true);
        while (r == 0 && (code == SQLITE_OK || code == SQLITE_ROW)) {
                code = sqlite3_step(stmt);
                if (code != SQLITE_ROW || (uint64_t)sqlite3_column_int64(stmt, 0) != expected)
                        break;
                r = apply(store, stmt);
                if (r < 0)
                        r = db_file_unreadable_entry(f, r, expected, err);
                expected++;
        }
        store_set_recovering(store, false);
        if (r == 0 && code != SQLITE_DONE && code != SQLITE_ROW)
                r = db_file_failed_open(f, code, err);
        else if (r == 0 && expected <= f->newest_row)
                r = err_set(err, EUCLEAN, "database %s: log: entry %llu is missing", f->path,
                            (unsigned long long)expected);
        sqlite3_finalize(stmt);
        return r;
}

int db_file_load(struct db_file *f, struct store *store, struct err *err)
{
        static const enum row_table order[DB_TABLES] = {ROW_CLUSTER,  ROW_NODES, ROW_SPECS,
                                                        ROW_SERVICES, ROW_TASKS, ROW_IMAGES};

        for (size_t i = 0; i < DB_TABLES; i++) {
                int r = load_table(f, store, order[i], err);

                if (r < 0)
                        return r;
        }
        return replay(f, store, err);
}

/* --- writing ------------------------------------------------------------------------------------
 */
static void bind_id(sqlite3_stmt *stmt, int column, struct id id)
{
        sqlite3_bind_text(stmt, column, ID_S(id), ID_TEXT_LEN, SQLITE_TRANSIENT);
}

static void bind_text(sqlite3_stmt *stmt, int column, const char *s)
{
        if (!str_is_empty(s))
                sqlite3_bind_text(stmt, column, s, -1, SQLITE_TRANSIENT);
}

static void bind_json(sqlite3_stmt *stmt, int column, const ProtobufCMessage *m)
{
        _cleanup_buf_ struct buf json = {0};

        wire_json(m, &json);
        sqlite3_bind_text64(stmt, column, buf_str(&json), json.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}

static void bind_node(sqlite3_stmt *stmt, const struct db_row *r, const Swarm__Node *m,
                      const char *name)
{
        bind_id(stmt, 2, r->id);
        bind_text(stmt, 3, name);
        bind_text(stmt, 4, r->state);
        bind_text(stmt, 5, node_role_name(m->role));
        bind_text(stmt, 6, node_availability_name(m->availability));
        sqlite3_bind_int64(stmt, 7, r->time_ms);
        bind_json(stmt, 8, &m->base);
}

static void bind_service(sqlite3_stmt *stmt, const struct db_row *r, const Swarm__Service *m,
                         const char *name)
{
        bind_id(stmt, 2, r->id);
        bind_text(stmt, 3, name);
        sqlite3_bind_int64(stmt, 4, (int64_t)m->spec_version);
        bind_text(stmt, 5, r->state);
        sqlite3_bind_int(stmt, 6, m->is_removing);
        sqlite3_bind_int64(stmt, 7, r->time_ms);
}

static void bind_spec(sqlite3_stmt *stmt, const struct db_row *r, const Swarm__SpecVersion *m,
                      const char *name)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        const Swarm__ServiceSpec *spec =
                wire_unpack(&arena, &swarm__service_spec__descriptor, m->spec.data, m->spec.len);

        bind_id(stmt, 2, r->id);
        bind_text(stmt, 3, name);
        sqlite3_bind_int64(stmt, 4, (int64_t)m->spec_version);
        if (spec)
                bind_json(stmt, 5, &spec->base);
}

static void bind_task(sqlite3_stmt *stmt, const struct db_row *r, const Swarm__Task *m,
                      const char *name)
{
        struct id node;

        bind_id(stmt, 2, r->id);
        bind_text(stmt, 3, name);
        sqlite3_bind_int64(stmt, 4, (int64_t)m->slot);
        if (wire_get_id(&m->node_id, &node) == 0)
                bind_id(stmt, 5, node);
        sqlite3_bind_int64(stmt, 6, (int64_t)m->spec_version);
        sqlite3_bind_text(stmt, 7, r->state, -1, SQLITE_STATIC);
        sqlite3_bind_text(stmt, 8, r->desired, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 9, r->time_ms);
        bind_text(stmt, 10, m->error);
}

/* The columns but row and message. Returns the column of the message. */
static int bind_columns(sqlite3_stmt *stmt, const struct db_row *r, const void *m, const char *name)
{
        switch (r->table) {
        case ROW_CLUSTER: {
                struct id id;

                if (wire_get_id(&((const Swarm__Cluster *)m)->id, &id) == 0)
                        bind_id(stmt, 2, id);
                sqlite3_bind_int64(stmt, 3, r->time_ms);
                return 4;
        }
        case ROW_NODES: bind_node(stmt, r, m, name); return 9;
        case ROW_SERVICES: bind_service(stmt, r, m, name); return 8;
        case ROW_SPECS: bind_spec(stmt, r, m, name); return 6;
        case ROW_TASKS: bind_task(stmt, r, m, name); return 11;
        case ROW_IMAGES:
                bind_text(stmt, 2, ((const Swarm__Image *)m)->id);
                bind_text(stmt, 3, name);
                sqlite3_bind_int64(stmt, 4, r->time_ms);
                bind_json(stmt, 5, m);
                return 6;
        }
        abort();
}

static int write_row(struct db_file *f, const struct db_slice *slice, const struct db_row *r,
                     struct wire_arena *arena)
{
        static const ProtobufCMessageDescriptor *const descriptors[] = {
                [ROW_CLUSTER] = &swarm__cluster__descriptor,
                [ROW_NODES] = &swarm__node__descriptor,
                [ROW_SERVICES] = &swarm__service__descriptor,
                [ROW_SPECS] = &swarm__spec_version__descriptor,
                [ROW_TASKS] = &swarm__task__descriptor,
                [ROW_IMAGES] = &swarm__image__descriptor,
        };
        int which = (int)r->table + (r->is_deletion ? SQL_DELETE : SQL_PUT);
        sqlite3_stmt *stmt = f->statements[which];

        sqlite3_bind_int64(stmt, 1, (int64_t)r->row);
        if (!r->is_deletion) {
                const uint8_t *p = slice->bytes.data + r->message;

                wire_arena_reset(arena);
                const void *m = wire_unpack(arena, descriptors[r->table], p, r->message_len);
                if (!m) /* we packed it: only the arena's limit can be in the way */
                        return -EFBIG;
                int column = bind_columns(stmt, r, m, (char *)slice->bytes.data + r->name);
                sqlite3_bind_blob64(stmt, column, p, r->message_len, SQLITE_STATIC);
        }
        return db_file_run(f, which);
}

int db_file_write_slice(struct db_file *f, const struct db_slice *slice)
{
        _cleanup_arena_ struct wire_arena arena = {0};
        int r = db_file_set_newest_row(f, slice->newest_row);

        for (size_t i = 0; r == 0 && i < slice->n; i++)
                r = write_row(f, slice, &slice->rows[i], &arena);
        if (r == 0 && slice->covered)
                r = db_file_set_covered(f, slice->covered);
        return r;
}
