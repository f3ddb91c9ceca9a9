/* What tests of the database stand on: see db_fixture.h. */
#include "tests/lib/db_fixture.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "shared/base/base.h"
#include "tests/lib/sql.h"
#include "tests/lib/store_ops.h"
#include "tests/lib/unit.h"

int fixture_setup(void **state)
{
        struct fixture *f = xnew(struct fixture);

        snprintf(f->dir, sizeof(f->dir), "/tmp/swarm-db-test-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        snprintf(f->path, sizeof(f->path), "%s/swarm.db", f->dir);
        snprintf(f->wal, sizeof(f->wal), "%s/swarm.db-wal", f->dir);
        snprintf(f->incoming, sizeof(f->incoming), "%s/incoming.db", f->dir);
        f->rng.state = 1;
        *state = f;
        return 0;
}

void fixture_open(struct fixture *f)
{
        f->rig = (struct db_rig){.key = f->key, .wrapped = f->wrapped};
        if (db_rig_open(&f->rig, f->dir, &f->err) < 0)
                fail_msg("%s", f->err.text);
        f->is_open = true;
}

void fixture_close(struct fixture *f)
{
        if (f->is_open)
                db_rig_close(&f->rig);
        f->is_open = false;
}

int fixture_teardown(void **state)
{
        struct fixture *f = *state;

        fixture_close(f);
        for (size_t i = 0; i < FIXTURE_ENTRIES_MAX; i++)
                raft_bytes_unref(f->entries[i]);
        io_remove_tree(AT_FDCWD, f->dir);
        free(f);
        return 0;
}

void fixture_propose(struct fixture *f, size_t n)
{
        struct db_rig *r = &f->rig;

        for (size_t i = 0; i < n; i++) {
                while (store_change_count(r->store) < 20)
                        store_operate(r->store, &f->rng, (int64_t)r->last);
                struct raft_bytes *bytes = raft_bytes_ref(db_rig_propose(r, 1));
                assert_true(r->last < FIXTURE_ENTRIES_MAX);
                f->entries[r->last] = bytes;
                f->hash_at[r->last] = store_hash(r->store);
        }
}

void fixture_commit(struct fixture *f, size_t n)
{
        fixture_propose(f, n);
        db_rig_wait(&f->rig, &f->rig.durable, f->rig.last);
        assert_int_equal(f->rig.failure, 0);
}

void fixture_fill(struct fixture *f, uint32_t tasks)
{
        Swarm__ServiceSpec spec = SWARM__SERVICE_SPEC__INIT;
        Swarm__TaskSpec task = SWARM__TASK_SPEC__INIT;
        char name[32];

        snprintf(name, sizeof(name), "filler%llu", (unsigned long long)f->rig.last);
        spec.name = name;
        spec.task = &task;
        struct service *service = store_add_service(f->rig.store, id_make(&f->rng), &spec, 1);
        for (uint32_t i = 1; i <= tasks; i++) {
                struct task_init init = {.id = id_make(&f->rng),
                                         .spec = service->spec,
                                         .slot = i,
                                         .state = TASK_NEW,
                                         .desired = TASK_RUNNING};
                store_add_task(f->rig.store, service, &init);
        }
        fixture_commit(f, 1);
}

void fixture_wait_covered(struct fixture *f, uint64_t index)
{
        db_rig_wait(&f->rig, &f->rig.covered, index);
        assert_int_equal(f->rig.failure, 0);
}

int64_t fixture_meta(struct fixture *f, const char *key)
{
        _cleanup_free_ char *sql = xasprintf("SELECT value FROM meta WHERE key='%s'", key);

        return sql_int(f->path, sql);
}

int64_t fixture_file_size(const char *path)
{
        struct stat st;

        return stat(path, &st) < 0 ? -1 : (int64_t)st.st_size;
}

void fixture_reload(struct fixture *f)
{
        struct db_rig *r = &f->rig;

        db_set_store(r->db, NULL);
        store_free(STEAL_PTR(r->store));
        db_load(r->db);
        while (!r->loaded && !r->failure)
                loop_run(r->loop);
        assert_int_equal(r->failure, 0);
        assert_int_equal(store_hash(r->loaded), f->hash_at[r->loaded_at]);
        r->store = STEAL_PTR(r->loaded);
        for (uint64_t i = r->loaded_at + 1; i <= r->last; i++)
                assert_int_equal(
                        store_apply_entry(r->store, f->entries[i]->data, f->entries[i]->len), 0);
        assert_int_equal(store_hash(r->store), f->hash_at[r->last]);
        db_set_store(r->db, r->store);
        db_set_applied(r->db, r->last);
}

struct raft_write entries_from(uint64_t from, size_t n, uint64_t term, enum raft_entry_kind kind,
                               const char *text)
{
        struct raft_write w = {.term = term, .vote = 2, .from = from, .n_entries = n};

        w.entries = xnew_array(struct raft_entry, n + 1);
        for (size_t i = 0; i < n; i++) {
                w.entries[i].term = term;
                w.entries[i].kind = kind;
                w.entries[i].bytes = text ? raft_bytes_new(text, strlen(text)) : NULL;
        }
        return w;
}
